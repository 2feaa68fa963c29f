//! Storage drivers: what a pool's kind must be able to do. No driver's name is compared outside its folder.

use std::fmt;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use lxd_model::config::{Config, Table};
use lxd_sys::path::{CopyOptions, copy_tree, copy_tree_reusing};
use lxd_sys::userns::IdMap;

use crate::error::StorageError;
use crate::volume::{Volume, VolumeType};
use crate::watch::Watch;

#[cfg(test)]
mod conformance;
mod dir;
mod directory;
pub mod id_maps;
pub mod mock;
mod overlay;

/// What a driver is, as data.
#[derive(Debug)]
pub struct DriverInfo {
    /// The name in `lxc storage create POOL DRIVER`.
    pub name: &'static str,
    /// For `storage_supported_drivers`.
    pub version: &'static str,
    /// Whether pools are on the network, the same for all cluster members.
    pub remote: bool,
    /// Whether unpacked images are volumes that users see (`lxc storage volume list`), with database rows.
    pub image_volumes_listed: bool,
    /// Whether a new instance shares the image's data instead of having a copy.
    pub shares_image: bool,
    /// Whether the root's ids are mapped by the mount whatever the file system can do.
    pub always_maps_ids: bool,
    /// Whether usage of a volume is known without walking all of it.
    pub knows_usage: bool,
    /// Pool configuration.
    pub pool_keys: &'static Table,
    /// Volume configuration.
    pub volume_keys: &'static Table,
}

/// Where a pool is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The state directory of the daemon.
    pub lxd_dir: PathBuf,
    /// The pool's name.
    pub name: String,
}

/// Where half-made and half-removed volumes are; the name tells what may go after a crash.
pub(crate) const STAGING: &str = ".lxd-staging";

impl Place {
    /// `storage-pools/NAME`
    pub fn root(&self) -> PathBuf {
        self.lxd_dir.join("storage-pools").join(&self.name)
    }

    /// A volume's directory.
    pub fn volume(&self, volume: &Volume) -> PathBuf {
        self.root().join(volume.relative_path())
    }

    /// Where an idmapped root is mounted for its container. The volume's own directory (mode 0100, owner 0) can't be entered by the
    /// root of a user namespace, and liblxc resolves the path inside of it.
    pub fn entrance(&self, volume: &Volume) -> PathBuf {
        self.entrances().join(match &volume.snapshot {
            None => volume.name.clone(),
            Some(snapshot) => format!("{}@{snapshot}", volume.name),
        })
    }

    /// The directory of all of them: `roots/POOL`.
    pub(crate) fn entrances(&self) -> PathBuf {
        self.lxd_dir.join("roots").join(&self.name)
    }

    pub(crate) fn staging(&self) -> PathBuf {
        self.root().join(STAGING)
    }

    pub(crate) fn images(&self) -> PathBuf {
        self.root().join(VolumeType::Image.directory().0)
    }
}

/// Space and inodes of a pool.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Resources {
    /// Bytes.
    pub space_total: u64,
    /// Bytes.
    pub space_used: u64,
    /// Bytes that we may still write.
    pub space_free: u64,
    /// Files; 0 where the file system has no such limit.
    pub inodes_total: u64,
    /// Files.
    pub inodes_used: u64,
}

/// What a new volume begins with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum VolumeSource {
    /// Nothing but an empty root.
    Empty,
    /// An image that the pool has unpacked.
    Image {
        /// Its fingerprint.
        fingerprint: String,
    },
    /// Another volume of the same pool.
    Volume(Volume),
    /// The same for a volume that replaces `base`: files that did not change are shared with it.
    Changed {
        /// Whose content it gets.
        from: Volume,
        /// What it replaces; about to go.
        base: Volume,
    },
    /// A root file system that is somewhere else, with what belongs to it.
    Tree {
        /// Where it is.
        view: Arc<View>,
        /// A volume of this pool that is about to go: files that did not change are shared with it.
        base: Option<Volume>,
    },
}

/// The files of a volume, to be read: with ids as on disk, whether its instance runs or not. What it shows of files that change
/// meanwhile is undefined, so whoever runs in it is better frozen.
#[derive(Debug)]
pub struct View {
    /// Keeps the mount that is seen.
    held: Option<OwnedFd>,
    directory: PathBuf,
    rootfs: PathBuf,
}

impl View {
    /// A view of a volume's directory as it is.
    pub(crate) fn plain(directory: PathBuf) -> Self {
        let rootfs = directory.join("rootfs");
        Self {
            held: None,
            directory,
            rootfs,
        }
    }

    /// A view whose root is a detached mount, or a directory beneath it.
    pub(crate) fn mounted(directory: PathBuf, mount: OwnedFd, below: &str) -> Self {
        let rootfs = PathBuf::from(format!("/proc/self/fd/{}", mount.as_raw_fd())).join(below);
        Self {
            held: Some(mount),
            directory,
            rootfs,
        }
    }

    /// The root file system.
    pub fn rootfs(&self) -> &Path {
        &self.rootfs
    }

    /// The volume's directory, with `metadata.yaml`, `templates` and `backup.yaml`. Its `rootfs` is not for reading.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Whether the root is a mount of its own.
    pub fn is_mount(&self) -> bool {
        self.held.is_some()
    }
}

impl PartialEq for View {
    fn eq(&self, other: &Self) -> bool {
        self.rootfs == other.rootfs
    }
}

impl Eq for View {}

/// A root file system that is ready.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mounted {
    /// Where the container finds it: [`Place::entrance`] if ids are mapped, else `rootfs` in the volume.
    pub rootfs: PathBuf,
    /// Whether ids are mapped by the mount. If not, and a map was asked for, files must be shifted on disk.
    pub mapped: bool,
}

/// A kind of pool. All functions block; `place` and `config` are the pool's.
pub trait Driver: Send + Sync + fmt::Debug {
    /// What it is.
    fn info(&self) -> &'static DriverInfo;

    /// Makes the pool's storage and leaves it mounted; returns the configuration with what was decided (such as `source`).
    fn create_pool(&self, place: &Place, config: &Config) -> Result<Config, StorageError>;

    /// Removes the pool's storage with all in it.
    fn delete_pool(&self, place: &Place, config: &Config) -> Result<(), StorageError>;

    /// Makes the pool's storage accessible at its place. Being so already is fine.
    fn mount_pool(&self, place: &Place, config: &Config) -> Result<(), StorageError>;

    /// Undoes [`Self::mount_pool`].
    fn unmount_pool(&self, place: &Place, config: &Config) -> Result<(), StorageError>;

    /// Space and inodes.
    fn resources(&self, place: &Place) -> Result<Resources, StorageError>;

    /// Fills `staged`, an empty directory in the pool that becomes the volume's directory.
    fn fill_volume(
        &self,
        place: &Place,
        staged: &Path,
        source: &VolumeSource,
        watch: &Watch,
    ) -> Result<(), StorageError>;

    /// Makes the volume's root accessible at its place, for writing, with ids mapped if `ids` is given.
    fn mount_volume(
        &self,
        place: &Place,
        volume: &Volume,
        ids: Option<&IdMap>,
    ) -> Result<Mounted, StorageError>;

    /// Whether [`Self::mount_volume`] can map ids here.
    fn maps_ids(&self, place: &Place) -> bool {
        self.info().always_maps_ids || id_maps::are_mapped(&place.root())
    }

    /// Undoes [`Self::mount_volume`]; not being mounted is fine.
    fn unmount_volume(&self, place: &Place, volume: &Volume) -> Result<(), StorageError>;

    /// The volume's root to be read, whether it is mounted or not.
    fn view_volume(&self, place: &Place, volume: &Volume) -> Result<View, StorageError>;

    /// Whether something is mounted on the volume's root.
    fn is_mounted(&self, place: &Place, volume: &Volume) -> bool;

    /// Bytes on disk that belong to this volume alone, where that can be known.
    fn usage(&self, place: &Place, volume: &Volume) -> Result<Option<u64>, StorageError>;

    /// The directory of an unpacked image. A deleted one that is still there for its users comes back.
    fn find_image(&self, place: &Place, fingerprint: &str) -> Result<Option<PathBuf>, StorageError>;

    /// Takes away an unpacked image: returns its directory when it is to be removed, none if volumes still need it.
    fn release_image(&self, place: &Place, fingerprint: &str) -> Result<Option<PathBuf>, StorageError>;

    /// Called with the directory of a volume that is about to be removed from disk; returns what else may go.
    fn release_volume(&self, place: &Place, removed: &Path) -> Result<Vec<PathBuf>, StorageError>;
}

/// Drivers of the reference that are not built.
const ELSEWHERE: [&str; 5] = ["btrfs", "zfs", "lvm", "ceph", "cephfs"];

/// The driver of this name.
pub fn load(name: &str) -> Result<Arc<dyn Driver>, StorageError> {
    match name {
        dir::NAME => Ok(Arc::new(dir::Dir::default())),
        overlay::NAME => Ok(Arc::new(overlay::Overlay::default())),
        name if ELSEWHERE.contains(&name) => Err(StorageError::DriverUnavailable {
            driver: name.to_owned(),
        }),
        name => Err(StorageError::UnknownDriver {
            driver: name.to_owned(),
        }),
    }
}

/// All drivers that work on this host, for `GET /1.0`.
pub fn supported() -> [&'static DriverInfo; 2] {
    [&dir::INFO, &overlay::INFO]
}

/// Makes the mount point of [`Place::entrance`].
fn make_entrance(place: &Place, volume: &Volume) -> Result<PathBuf, StorageError> {
    let entrance = place.entrance(volume);
    let pool = place.entrances();
    make_parent(&place.lxd_dir.join("roots"))?;
    make_parent(&pool)?;
    make_parent(&entrance)?;
    Ok(entrance)
}

/// Unmounts and removes it; not being there is fine.
fn remove_entrance(place: &Place, volume: &Volume) -> Result<(), StorageError> {
    let entrance = place.entrance(volume);
    lxd_sys::mount::detach(&entrance)?;
    match std::fs::remove_dir(&entrance) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(StorageError::io("removing", &entrance, e)),
        _ => Ok(()),
    }
}

/// Copies a tree, sharing with `base` what is the same there.
fn copy(from: &Path, to: &Path, base: Option<&Path>, watch: &Watch) -> Result<(), StorageError> {
    let options = CopyOptions {
        progress: &mut |bytes| watch.advance(bytes),
        reflink: true,
    };
    match base {
        None => copy_tree(from, to, options)?,
        Some(base) => copy_tree_reusing(from, to, base, options)?,
    };
    Ok(())
}

/// Copies what belongs to a root file system: `metadata.yaml` and `templates`.
fn copy_extras(from: &Path, to: &Path, watch: &Watch) -> Result<(), StorageError> {
    for name in ["metadata.yaml", "templates"] {
        let (from, to) = (from.join(name), to.join(name));
        if from.is_dir() {
            copy(&from, &to, None, watch)?;
        } else if from.is_file() {
            std::fs::copy(&from, &to).map_err(|e| StorageError::io("copying", &from, e))?;
        }
    }
    Ok(())
}

/// A directory that instances' paths lead through.
pub(crate) fn make_parent(path: &Path) -> Result<(), StorageError> {
    directory::make_directory(path, 0o711)
}

/// A directory for the daemon only.
pub(crate) fn make_private(path: &Path) -> Result<(), StorageError> {
    directory::make_directory(path, 0o700)
}
