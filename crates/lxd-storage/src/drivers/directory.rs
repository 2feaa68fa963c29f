//! Pools that are a directory of a file system that somebody else made.

use std::fs;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

use lxd_model::config::Config;
use lxd_sys::mount::{self, BindOptions};
use lxd_sys::path;
use rustix::fs::{IFlags, ioctl_getflags, ioctl_setflags};

use super::{Place, Resources, STAGING};
use crate::error::StorageError;
use crate::volume::VolumeType;

/// Whether the pool's place, or the given source, is an empty directory that may become one.
pub(super) fn check(place: &Place, config: &Config) -> Result<PathBuf, StorageError> {
    let root = place.root();
    let source = match config.get("source").filter(|source| !source.is_empty()) {
        None => root.clone(),
        Some(source) => {
            check_source(place, Path::new(source))?;
            PathBuf::from(source)
        }
    };
    if source.exists() && !is_empty(&source)? {
        return Err(StorageError::refused(format!(
            "Source path '{}' isn't empty",
            source.display()
        )));
    }
    Ok(source)
}

/// Creates the pool at its place, or binds the given source there.
pub(super) fn create(place: &Place, config: &Config) -> Result<Config, StorageError> {
    let root = place.root();
    let source = check(place, config)?;
    let existed = root.exists();
    make_directory(&root, 0o711)?;
    let made = || -> Result<(), StorageError> {
        bind(&source, &root)?;
        make_volume_directories(&root)
    };
    if let Err(error) = made() {
        undo(&root, existed);
        return Err(error);
    }
    let mut config = config.clone();
    config.insert("source".into(), source.display().to_string());
    Ok(config)
}

/// Binds the source again and makes directories that are missing.
pub(super) fn mount(place: &Place, config: &Config) -> Result<(), StorageError> {
    let root = place.root();
    make_directory(&root, 0o711)?;
    let source = config
        .get("source")
        .filter(|source| !source.is_empty())
        .map_or_else(|| root.clone(), PathBuf::from);
    bind(&source, &root)?;
    make_volume_directories(&root)
}

pub(super) fn unmount(place: &Place) -> Result<(), StorageError> {
    Ok(mount::detach(&place.root())?)
}

/// Removes what we put into the source, and our place; the source itself stays if it is not ours.
pub(super) fn delete(place: &Place) -> Result<(), StorageError> {
    let root = place.root();
    let mut errors: Vec<StorageError> = Vec::new();
    // Mounts beneath first, or their content would be removed through them.
    let keep = mount::is_mountpoint(&root);
    for mounted in mount::mounts_beneath(&root)?
        .iter()
        .rev()
        .filter(|mounted| mounted.target != root)
    {
        errors.extend(mount::detach(&mounted.target).err().map(StorageError::from));
    }
    if errors.is_empty() {
        errors.extend(path::remove_contents(&root).err().map(StorageError::from));
    }
    if keep {
        errors.extend(mount::detach(&root).err().map(StorageError::from));
    }
    if errors.is_empty() {
        errors.extend(path::remove_tree(&root).err().map(StorageError::from));
    }
    StorageError::collect(errors)
}

pub(super) fn resources(place: &Place) -> Result<Resources, StorageError> {
    let root = place.root();
    let stat = rustix::fs::statvfs(&root).map_err(|e| StorageError::io("examining the pool at", &root, e))?;
    let block = stat.f_frsize;
    Ok(Resources {
        space_total: stat.f_blocks * block,
        space_used: stat.f_blocks.saturating_sub(stat.f_bfree) * block,
        space_free: stat.f_bavail * block,
        inodes_total: stat.f_files,
        inodes_used: stat.f_files.saturating_sub(stat.f_ffree),
    })
}

/// A directory as it is on disk, without what is mounted on names in it.
pub(super) struct Raw {
    tree: OwnedFd,
}

impl Raw {
    pub(super) fn open(directory: &Path) -> Result<Self, StorageError> {
        Ok(Self {
            tree: mount::open_tree(directory, false)?,
        })
    }

    pub(super) fn path(&self) -> PathBuf {
        PathBuf::from(format!("/proc/self/fd/{}/.", self.tree.as_raw_fd()))
    }
}

fn check_source(place: &Place, source: &Path) -> Result<(), StorageError> {
    let shown = source.display();
    if !source.is_absolute() || !source.exists() {
        return Err(StorageError::refused(format!(
            "Source path '{shown}' doesn't exist"
        )));
    }
    let real = fs::canonicalize(source).map_err(|e| StorageError::io("resolving", source, e))?;
    let state = fs::canonicalize(&place.lxd_dir).unwrap_or_else(|_| place.lxd_dir.clone());
    if real.starts_with(&state) && real != state.join("storage-pools").join(&place.name) {
        return Err(StorageError::refused(format!(
            "Source path '{shown}' is within the LXD directory"
        )));
    }
    if !real.is_dir() {
        return Err(StorageError::refused(format!(
            "Source path '{shown}' isn't a directory"
        )));
    }
    Ok(())
}

pub(super) fn is_empty(directory: &Path) -> Result<bool, StorageError> {
    let mut entries = fs::read_dir(directory).map_err(|e| StorageError::io("listing", directory, e))?;
    Ok(entries.next().is_none())
}

fn bind(source: &Path, root: &Path) -> Result<(), StorageError> {
    if source == root || mount::is_mountpoint(root) {
        return Ok(());
    }
    if !source.is_dir() {
        return Err(StorageError::refused(format!(
            "Source path '{}' doesn't exist",
            source.display()
        )));
    }
    Ok(mount::bind(
        source,
        root,
        BindOptions {
            recursive: true,
            ..Default::default()
        },
    )?)
}

pub(super) fn make_volume_directories(root: &Path) -> Result<(), StorageError> {
    make_directory(&root.join("buckets"), 0o711)?;
    for kind in VolumeType::ALL {
        for (name, mode) in [Some(kind.directory()), kind.snapshots_directory()]
            .into_iter()
            .flatten()
        {
            make_directory(&root.join(name), mode)?;
        }
    }
    let staging = root.join(STAGING);
    make_directory(&staging, 0o700)?;
    keep_apart(&staging);
    Ok(())
}

/// Tells the file system that the directories that will be made in this one have nothing to do with each other, so that it
/// spreads them over the disk, where it knows how to (ext4's flag "top of directory hierarchies"). A volume is then seldom made
/// where another was deleted a moment ago: for each file there ext4 would look at every inode freed within the last minutes.
fn keep_apart(directory: &Path) {
    let spread = || -> std::io::Result<()> {
        let directory = fs::File::open(directory)?;
        let flags = ioctl_getflags(&directory)?;
        Ok(ioctl_setflags(&directory, flags | IFlags::TOPDIR)?)
    };
    if let Err(error) = spread() {
        tracing::debug!(%error, path = %directory.display(), "New volumes are not spread over the disk");
    }
}

/// Makes a directory with exactly this mode; an existing one stays as it is.
pub(crate) fn make_directory(path: &Path, mode: u32) -> Result<(), StorageError> {
    match fs::DirBuilder::new().mode(mode).create(path) {
        Ok(()) => fs::set_permissions(path, fs::Permissions::from_mode(mode))
            .map_err(|e| StorageError::io("changing the mode of", path, e)),
        Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => Ok(()),
        Err(e) => Err(StorageError::io("creating the directory", path, e)),
    }
}

fn undo(root: &Path, existed: bool) {
    let undone = || -> Result<(), StorageError> {
        if mount::is_mountpoint(root) {
            path::remove_contents(root)?;
            mount::detach(root)?;
        }
        if existed {
            Ok(())
        } else {
            Ok(path::remove_tree(root)?)
        }
    };
    if let Err(error) = undone() {
        tracing::warn!(%error, "Undoing the creation of a pool");
    }
}
