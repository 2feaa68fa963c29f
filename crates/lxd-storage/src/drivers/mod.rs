//! Storage drivers: what a pool's kind must be able to do. No driver's name is compared outside its folder.

use std::fmt;
use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use lxd_model::config::{Config, Table};
use lxd_sys::path::{CopyOptions, copy_tree, copy_tree_reusing};
use lxd_sys::userns::IdMap;

use crate::error::StorageError;
use crate::tools;
use crate::volume::{Volume, VolumeType};
use crate::watch::Watch;

mod btrfs;
#[cfg(test)]
mod conformance;
mod custom;
mod dir;
mod directory;
pub mod id_maps;
pub mod mock;
mod overlay;
pub(crate) mod projects;

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
    /// Whether usage of a volume, where it is known at all, is known without walking over its files.
    pub knows_usage: bool,
    /// Whether a size that can't be kept is refused. It is ignored otherwise, as the reference does.
    pub refuses_sizes: bool,
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

    /// The mount that is the root, if that is one of its own.
    pub(crate) fn mount(&self) -> Option<BorrowedFd<'_>> {
        self.held.as_ref().map(AsFd::as_fd)
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

    /// Whether a pool could be made: what is where it would be is nobody's. Changes nothing.
    fn check_pool(&self, place: &Place, config: &Config) -> Result<(), StorageError>;

    /// Makes the pool's storage, after checking as [`Self::check_pool`] does, and leaves it mounted; on failure nothing is left.
    /// Returns the configuration with what was decided (such as `source`).
    fn create_pool(&self, place: &Place, config: &Config) -> Result<Config, StorageError>;

    /// Removes the pool's storage with all in it.
    fn delete_pool(&self, place: &Place, config: &Config) -> Result<(), StorageError>;

    /// Lets another configuration of the pool count, which is valid and has the same source. Most need nothing for that.
    fn update_pool(&self, _place: &Place, _old: &Config, _new: &Config) -> Result<(), StorageError> {
        Ok(())
    }

    /// Makes the pool's storage accessible at its place. Being so already is fine.
    fn mount_pool(&self, place: &Place, config: &Config) -> Result<(), StorageError>;

    /// Undoes [`Self::mount_pool`].
    fn unmount_pool(&self, place: &Place, config: &Config) -> Result<(), StorageError>;

    /// Space and inodes.
    fn resources(&self, place: &Place) -> Result<Resources, StorageError>;

    /// Lets `staged`, an empty directory in the pool, be what volumes of this driver are, still empty.
    fn prepare_volume(&self, _staged: &Path) -> Result<(), StorageError> {
        Ok(())
    }

    /// Lets nobody write any more into a volume that is complete and in its place, if it is one that never changes.
    fn seal_volume(&self, _place: &Place, _volume: &Volume) -> Result<(), StorageError> {
        Ok(())
    }

    /// Undoes that for a directory that is about to be moved or filled.
    fn unseal(&self, _directory: &Path) -> Result<(), StorageError> {
        Ok(())
    }

    /// Removes the directory of a volume, or of one in the making, for good. Not being there is fine.
    fn remove_directory(&self, directory: &Path) -> Result<(), StorageError> {
        Ok(lxd_sys::path::remove_tree(directory)?)
    }

    /// Limits what a volume may take, or nothing any more. Gives whether that is possible here: by project quotas, unless the driver
    /// has something of its own.
    fn limit_volume(&self, place: &Place, volume: &Volume, bytes: Option<u64>) -> Result<bool, StorageError> {
        projects::limit(place, volume, bytes)
    }

    /// Fills `staged`, an empty directory in the pool that becomes the volume's directory.
    fn fill_volume(
        &self,
        place: &Place,
        staged: &Path,
        source: &VolumeSource,
        watch: &Watch,
    ) -> Result<(), StorageError>;

    /// The same for a volume that a user made: the directory itself is the content, no root of an instance is in it. A block
    /// volume's has one file in it. Whoever can do better than copying does.
    fn fill_custom(
        &self,
        place: &Place,
        staged: &Path,
        source: &VolumeSource,
        watch: &Watch,
    ) -> Result<(), StorageError> {
        self.prepare_volume(staged)?;
        projects::begin(place, staged, source)?;
        custom::fill(place, staged, source, watch)
    }

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

    /// Where the root of a volume that was made empty, and is not mounted, can be filled without mounting it, if not in its
    /// `rootfs`: that saves the detour by the mount.
    fn bare_root(&self, _directory: &Path) -> Option<PathBuf> {
        None
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

    /// The form of its own that it has for volumes, if it has one.
    fn streams(&self) -> Option<&dyn Streams> {
        None
    }
}

/// A part of a volume in the driver's own form: the volume itself, or what lies in it and is sent on its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// Where it is in the volume: `/`, `/rootfs/var/lib/thing`.
    pub path: String,
    /// Whether nobody could write into it. (For snapshots this is so by being one.)
    pub read_only: bool,
    /// The file system's name for it.
    pub uuid: String,
    /// Where it is held.
    pub held: PathBuf,
}

/// What a driver can do that has a form of its own for volumes, which only pools of its kind understand.
pub trait Streams {
    /// Holds a volume as it is now: its parts, in the directory `into`, the volume itself first.
    fn hold(&self, volume: &Path, into: &Path) -> Result<Vec<Part>, StorageError>;

    /// Writes what makes a part that is held, from nothing or from one that the receiver has got before.
    fn send(&self, part: &Path, parent: Option<&Path>, out: &File) -> Result<(), StorageError>;

    /// Makes in the directory `into` what a stream says, from nothing or from others in there, and gives its place. The
    /// stream is not trusted.
    fn receive(&self, stream: &mut dyn Read, into: &Path, watch: &Watch) -> Result<PathBuf, StorageError>;

    /// Lets `staged`, an empty directory, be the volume of these parts, the volume itself first.
    fn assemble(&self, staged: &Path, parts: &[Part]) -> Result<(), StorageError>;
}

/// Drivers of the reference that are not built, with what each needs: a module of the kernel and programs, and what the reference
/// says of one that is missing.
const ELSEWHERE: [Needs; 4] = [
    ("ceph", None, &[("ceph", "'ceph'"), ("rbd", "'rbd'")]),
    ("cephfs", None, &[("ceph", "'ceph'"), ("rbd", "'rbd'")]),
    ("lvm", None, &[("lvm", "\"lvm\"")]),
    ("zfs", Some("zfs"), &[("zpool", "'zpool'"), ("zfs", "'zfs'")]),
];

/// A driver, a module, and programs with their names in quotation marks.
type Needs = (
    &'static str,
    Option<&'static str>,
    &'static [(&'static str, &'static str)],
);

/// The driver of this name.
pub fn load(name: &str) -> Result<Arc<dyn Driver>, StorageError> {
    match name {
        btrfs::NAME => Ok(Arc::new(btrfs::Btrfs::default())),
        dir::NAME => Ok(Arc::new(dir::Dir::default())),
        overlay::NAME => Ok(Arc::new(overlay::Overlay::default())),
        name => Err(not_built(name)),
    }
}

/// Says what is missing here, before it says that all of it is.
fn not_built(name: &str) -> StorageError {
    let driver = name.to_owned();
    let Some((_, module, programs)) = ELSEWHERE.iter().find(|(other, ..)| *other == name) else {
        return StorageError::UnknownDriver { driver };
    };
    if let Some(module) = module
        && let Err(reason) = load_module(module)
    {
        return reason;
    }
    match programs.iter().find(|(program, _)| !tools::is_installed(program)) {
        Some((_, shown)) => StorageError::refused(format!("Required tool {shown} is missing")),
        None => StorageError::DriverUnavailable { driver },
    }
}

/// Whether the kernel has a module, or gets it now. The reason is worded as the reference words it.
fn load_module(module: &str) -> Result<(), StorageError> {
    if Path::new("/sys/module").join(module).exists() {
        return Ok(());
    }
    let failed = |reason: &str| StorageError::refused(format!("Error loading {module:?} module: {reason}"));
    if !tools::is_installed("modprobe") {
        return Err(failed(&format!(
            "Failed to run: modprobe -b {module}: exec: \"modprobe\": executable file not found in $PATH"
        )));
    }
    let command = lxd_sys::command::Command::new("modprobe").args(["-b", module]);
    tools::run_for_user(command).map_err(|error| failed(&error.to_string()))
}

/// A driver that works on this host.
#[derive(Debug)]
pub struct Supported {
    /// What it is.
    pub info: &'static DriverInfo,
    /// The version of what it works with.
    pub version: String,
}

/// All drivers that work on this host, for `GET /1.0`. Blocks.
pub fn supported() -> Vec<Supported> {
    let own = |info: &'static DriverInfo| {
        let version = info.version.to_owned();
        Supported { info, version }
    };
    let btrfs = btrfs::version().map(|version| Supported {
        info: &btrfs::INFO,
        version,
    });
    btrfs
        .into_iter()
        .chain([own(&dir::INFO), own(&overlay::INFO)])
        .collect()
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
