//! Pools: a file system on a file of ours or on a device, or a subvolume of somebody else's file system.

use std::fs;
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use lxd_model::config::Config;
use lxd_model::units::parse_bytes;
use lxd_sys::command::Command;
use lxd_sys::loops::Loop;
use lxd_sys::mount::{self, BindOptions, Options};
use lxd_sys::{btrfs, path};

use super::{MKFS, volumes};
use crate::config;
use crate::drivers::{Place, directory};
use crate::error::StorageError;
use crate::tools;

const GIB: u64 = 1 << 30;

/// What a pool's file system is on.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Backing {
    /// A file of ours.
    Loop(PathBuf),
    /// A device, as the user named it.
    Device(PathBuf),
    /// A device, by the UUID of what is on it.
    Uuid(String),
    /// A directory of a btrfs.
    Directory(PathBuf),
}

impl Backing {
    fn of(place: &Place, config: &Config) -> Self {
        let ours = loop_file(place);
        match config.get("source").map(String::as_str) {
            None | Some("") => Self::Loop(ours),
            Some(source) if Path::new(source) == ours => Self::Loop(ours),
            Some(source) if is_block_device(Path::new(source)) => Self::Device(source.into()),
            Some(source) if is_uuid(source) => Self::Uuid(source.to_owned()),
            Some(source) => Self::Directory(source.into()),
        }
    }
}

/// Whether what the configuration names is free for a pool.
pub(super) fn check(place: &Place, config: &Config) -> Result<(), StorageError> {
    match Backing::of(place, config) {
        Backing::Loop(file) if file.exists() => Err(StorageError::refused(format!(
            "Loop file {:?} exists already",
            file.display().to_string()
        ))),
        Backing::Loop(_) => Ok(()),
        // What is there already is for the program to refuse, in its words.
        Backing::Device(device) if btrfs::superblock(&device).is_some() => format_device(place, &device),
        Backing::Device(_) => Ok(()),
        Backing::Uuid(_) => Err(StorageError::refused("Invalid \"source\" property")),
        Backing::Directory(source) => check_directory(place, &source),
    }
}

/// Makes what the configuration asks for, and mounts it.
pub(super) fn create(place: &Place, config: &Config) -> Result<Config, StorageError> {
    let mut config = config.clone();
    match config.get("source").cloned() {
        Some(source) => config.insert("volatile.initial_source".into(), source),
        None => config.remove("volatile.initial_source"),
    };
    let root = place.root();
    let existed = root.exists();
    directory::make_directory(&root, 0o711)?;
    let backing = Backing::of(place, &config);
    let made = make(place, &mut config, &backing).and_then(|()| {
        mount(place, &config).inspect_err(|_| {
            let _ = unmake(place, &config);
        })
    });
    match made {
        Ok(()) => Ok(config),
        Err(error) => {
            if !existed {
                let _ = fs::remove_dir(&root);
            }
            Err(error)
        }
    }
}

/// Makes the file system or subvolume, and notes in the configuration where it is; on failure nothing is left.
fn make(place: &Place, config: &mut Config, backing: &Backing) -> Result<(), StorageError> {
    match backing {
        Backing::Loop(file) => {
            let size = match config.get("size").filter(|size| !size.is_empty()) {
                Some(size) => u64::try_from(parse_bytes(size)?).unwrap_or(0),
                None => {
                    let size = default_size(&place.lxd_dir)?;
                    config.insert("size".into(), format!("{}GiB", size / GIB));
                    size
                }
            };
            config.insert("source".into(), file.display().to_string());
            make_file(file, size)?;
            format_as("sparse file", place, file).inspect_err(|_| drop(fs::remove_file(file)))
        }
        Backing::Device(device) => {
            config.remove("size");
            format_device(place, device)?;
            // Names of devices change, so that the UUID is kept where one can mount by it.
            let uuid = btrfs::superblock(device).map(|block| block.uuid);
            if let Some(uuid) = uuid.filter(|uuid| Path::new("/dev/disk/by-uuid").join(uuid).exists()) {
                config.insert("source".into(), uuid);
            }
            Ok(())
        }
        Backing::Uuid(_) => Err(StorageError::refused("Invalid \"source\" property")),
        Backing::Directory(source) => {
            config.remove("size");
            make_subvolume(source)
        }
    }
}

/// Takes away what [`make`] made.
fn unmake(place: &Place, config: &Config) -> Result<(), StorageError> {
    match Backing::of(place, config) {
        Backing::Loop(file) => remove_file(&file),
        Backing::Directory(source) if btrfs::is_subvolume(&source) => volumes::remove(&source),
        Backing::Directory(_) => Ok(()),
        Backing::Device(_) | Backing::Uuid(_) => Ok(()),
    }
}

fn make_file(file: &Path, size: u64) -> Result<(), StorageError> {
    let failed = |e| StorageError::io("creating the file", file, e);
    if let Some(parent) = file.parent() {
        crate::drivers::make_private(parent)?;
    }
    let mut options = fs::OpenOptions::new();
    let opened = options.write(true).create_new(true).mode(0o600).open(file);
    opened.and_then(|file| file.set_len(size)).map_err(failed)
}

fn format_device(place: &Place, device: &Path) -> Result<(), StorageError> {
    format_as("block device", place, device)
}

fn format_as(what: &str, place: &Place, device: &Path) -> Result<(), StorageError> {
    let command = Command::new(MKFS).arg("-L").arg(place.name.as_str()).arg(device);
    tools::run_for_user(command)
        .map_err(|error| StorageError::refused(format!("Failed to format {what}: {error}")))
}

/// A fifth of what is free, but at least 5 and at most 30 GiB, in whole ones.
fn default_size(lxd_dir: &Path) -> Result<u64, StorageError> {
    let stat = rustix::fs::statvfs(lxd_dir).map_err(|e| StorageError::io("examining", lxd_dir, e))?;
    // As the reference counts: with what only root may use.
    let free = stat.f_bfree.saturating_mul(stat.f_frsize);
    Ok((free / 5 / GIB).clamp(5, 30) * GIB)
}

/// A path on btrfs where nothing is yet, or an empty subvolume.
fn check_directory(place: &Place, source: &Path) -> Result<(), StorageError> {
    let root = place.root();
    let refused = |text: String| Err(StorageError::refused(text));
    let state = fs::canonicalize(&place.lxd_dir).unwrap_or_else(|_| place.lxd_dir.clone());
    let not_btrfs = "Provided path does not reside on a btrfs filesystem";
    if btrfs::is_subvolume(source) && source != root {
        // The reference looks for subvolumes only, and later removes all else that was there.
        return match btrfs::nested(source)?.is_empty() && directory::is_empty(source)? {
            true => Ok(()),
            false => refused("Requested btrfs subvolume exists but is not empty".into()),
        };
    }
    if source.exists() && !btrfs::is_btrfs(source) {
        return refused(not_btrfs.into());
    }
    if source.starts_with(&state) || source.starts_with(&place.lxd_dir) {
        if source != root {
            let (state, root) = (place.lxd_dir.display().to_string(), root.display().to_string());
            return refused(format!("Only allowed source path under {state:?} is {root:?}"));
        }
        return match source.parent().is_some_and(btrfs::is_btrfs) {
            true if !source.exists() || directory::is_empty(source)? => Ok(()),
            true => refused("Requested btrfs subvolume exists but is not empty".into()),
            false => refused(not_btrfs.into()),
        };
    }
    let above = source.parent().filter(|above| !above.as_os_str().is_empty());
    let above = above.unwrap_or(Path::new("."));
    // As the program says it.
    let reason = if source.exists() {
        format!("target path already exists: {}", source.display())
    } else if !above.is_dir() {
        format!("cannot access '{}': No such file or directory", above.display())
    } else if !btrfs::is_btrfs(above) {
        format!("not a btrfs filesystem: {}", above.display())
    } else {
        return Ok(());
    };
    refused(format!(
        "Failed to run: btrfs subvolume create {}: exit status 1 (ERROR: {reason})",
        source.display()
    ))
}

/// Lets an empty subvolume be there.
fn make_subvolume(source: &Path) -> Result<(), StorageError> {
    if btrfs::is_subvolume(source) {
        return Ok(());
    }
    // The pool's own place may be there as a directory.
    match fs::remove_dir(source) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
            return Err(StorageError::io("replacing", source, e));
        }
        _ => {}
    }
    Ok(btrfs::create(source)?)
}

/// Makes the pool's place show it. Being mounted already is fine.
pub(super) fn mount(place: &Place, config: &Config) -> Result<(), StorageError> {
    let root = place.root();
    directory::make_directory(&root, 0o711)?;
    if !mount::is_mountpoint(&root) {
        mount_backing(&Backing::of(place, config), &root, config)?;
    }
    directory::make_volume_directories(&root)
}

fn mount_backing(backing: &Backing, root: &Path, config: &Config) -> Result<(), StorageError> {
    let options = Options::parse(config::BTRFS_POOL.value(config, "btrfs.mount_options"));
    let filesystem = |device: &Path| mount::filesystem(device, root, super::NAME, &options);
    let foreign = |source: &Path| StorageError::refused(format!("Source path {source:?} isn't btrfs"));
    match backing {
        Backing::Loop(path) | Backing::Device(path) if path.exists() && btrfs::superblock(path).is_none() => {
            return Err(foreign(path));
        }
        Backing::Directory(source) if source != root && !btrfs::is_subvolume(source) => {
            return Err(foreign(source));
        }
        Backing::Loop(file) => {
            let device = Loop::attach(file)?;
            filesystem(device.path())?;
        }
        Backing::Device(device) => filesystem(device)?,
        Backing::Uuid(uuid) => {
            let device = btrfs::find_by_uuid(uuid).ok_or_else(|| {
                StorageError::refused(format!(
                    "Failed to mount pool: no block device has the UUID {uuid:?}"
                ))
            })?;
            filesystem(&device)?;
        }
        Backing::Directory(source) if source == root => {}
        Backing::Directory(source) => {
            let options = BindOptions {
                recursive: true,
                ..Default::default()
            };
            mount::bind(source, root, options)?;
        }
    }
    Ok(())
}

/// Lets a larger `size` count, and other options of the mount. (The reference notes the size and leaves it at that; a smaller one
/// is only noted here too.)
pub(super) fn update(place: &Place, old: &Config, new: &Config) -> Result<(), StorageError> {
    let options = |config| config::BTRFS_POOL.value(config, "btrfs.mount_options");
    if options(old) != options(new) {
        mount::remount(&place.root(), &Options::parse(options(new)))?;
    }
    let size = |config: &Config| config.get("size").map(|size| parse_bytes(size)).transpose();
    match (Backing::of(place, old), size(old)?, size(new)?) {
        (Backing::Loop(file), before, Some(after)) if before.is_none_or(|before| after > before) => {
            grow(&place.root(), &file, u64::try_from(after).unwrap_or(0))
        }
        _ => Ok(()),
    }
}

/// The file grows, its device, and what is on it; it may be as large already.
fn grow(root: &Path, file: &Path, size: u64) -> Result<(), StorageError> {
    let failed = |e| StorageError::io("growing", file, e);
    let opened = fs::OpenOptions::new().write(true).open(file).map_err(failed)?;
    if opened.metadata().map_err(failed)?.len() >= size {
        return Ok(());
    }
    opened.set_len(size).map_err(failed)?;
    let mounts = mount::mounts_beneath(root)?;
    if let Some(mounted) = mounts.iter().rev().find(|mounted| mounted.target == root) {
        Loop::of_device(Path::new(&mounted.source))?.grow()?;
        btrfs::fill_device(root)?;
    }
    Ok(())
}

/// Removes the pool with all in it. Whatever is gone already is fine.
pub(super) fn delete(place: &Place, config: &Config) -> Result<(), StorageError> {
    let root = place.root();
    let backing = Backing::of(place, config);
    let mut errors: Vec<StorageError> = Vec::new();
    for mounted in mount::mounts_beneath(&root)?
        .iter()
        .rev()
        .filter(|mounted| mounted.target != root)
    {
        errors.extend(mount::detach(&mounted.target).err().map(StorageError::from));
    }
    StorageError::collect(errors)?;
    match &backing {
        Backing::Loop(file) => {
            detach_all(&root)?;
            remove_file(file)?;
        }
        Backing::Device(_) | Backing::Uuid(_) => {
            if mount::is_mountpoint(&root) {
                empty(&root)?;
            }
            detach_all(&root)?;
        }
        Backing::Directory(source) if *source == root => volumes::remove(&root)?,
        Backing::Directory(source) => {
            detach_all(&root)?;
            // What the user has given stays, without what was in it.
            if btrfs::is_subvolume(source) {
                empty(source)?;
            }
        }
    }
    match path::remove_tree(&root) {
        // A daemon before this one has mounted it beneath a mount of ours, out of reach. It goes with the machine.
        Err(error) if error.io_kind() == Some(std::io::ErrorKind::ResourceBusy) => {
            tracing::warn!(
                pool = place.name,
                "An older mount of the pool stays until the next boot"
            );
            Ok(())
        }
        removed => Ok(removed?),
    }
}

/// Unmounts whatever is at the place, be it mounted several times over each other.
fn detach_all(root: &Path) -> Result<(), StorageError> {
    while mount::is_mountpoint(root) {
        mount::detach(root)?;
    }
    Ok(())
}

/// Removes all subvolumes and directories of a file system that stays.
fn empty(root: &Path) -> Result<(), StorageError> {
    let nested = btrfs::nested(root)?;
    for below in &nested {
        volumes::set_read_only(&root.join(below), false)?;
    }
    for below in nested.iter().rev() {
        btrfs::delete(&root.join(below))?;
    }
    Ok(path::remove_contents(root)?)
}

fn remove_file(file: &Path) -> Result<(), StorageError> {
    match fs::remove_file(file) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(StorageError::io("removing", file, e)),
        _ => Ok(()),
    }
}

fn loop_file(place: &Place) -> PathBuf {
    place.lxd_dir.join("disks").join(format!("{}.img", place.name))
}

/// Five groups of hexadecimal digits.
fn is_uuid(text: &str) -> bool {
    text.len() == 36
        && text.split('-').count() == 5
        && text.bytes().all(|b| b.is_ascii_hexdigit() || b == b'-')
}

fn is_block_device(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|found| found.file_type().is_block_device())
}
