//! btrfs by ioctl: subvolumes, snapshots, what lies nested in them, quota groups, streams; no process for any of it.
#![allow(unsafe_code, reason = "the ioctls of linux/btrfs.h")]

use std::ffi::{OsStr, c_void};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, Mode, OFlags};
use rustix::io::Errno;
use rustix::ioctl::{Opcode, opcode};

use crate::path::PathError;

mod quota;
mod send;
mod subvolumes;
mod superblock;
#[cfg(test)]
mod tests;
mod tree;

pub use quota::{Usage, enable_quotas, forget, limit, usage};
pub use send::send;
pub use subvolumes::{
    Info, create, delete, info, is_read_only, is_subvolume, nested, set_read_only, snapshot,
};
pub use superblock::{Superblock, find_by_uuid, superblock, uuid_text};

/// The kernel's letter for these ioctls.
const MAGIC: u8 = 0x94;

/// The inode of a subvolume's root.
const FIRST_INODE: u64 = 256;

/// `f_type` of statfs(2).
const FILESYSTEM: u64 = 0x9123_683E;

/// `struct btrfs_ioctl_vol_args`
#[repr(C)]
struct NameArgs {
    fd: i64,
    name: [u8; 4088],
}

impl NameArgs {
    fn new(name: &OsStr) -> Result<Self, Errno> {
        let mut args = Self {
            fd: 0,
            name: [0; 4088],
        };
        put_name(&mut args.name, name)?;
        Ok(args)
    }
}

/// Whether the path is on btrfs.
pub fn is_btrfs(path: &Path) -> bool {
    rustix::fs::statfs(path).is_ok_and(|stat| u64::try_from(stat.f_type).is_ok_and(|t| t == FILESYSTEM))
}

/// Whether the kernel has it.
pub fn is_in_kernel() -> bool {
    std::fs::read_to_string("/proc/filesystems").is_ok_and(|text| {
        text.lines()
            .any(|line| line.split_whitespace().last() == Some("btrfs"))
    })
}

/// Lets the file system, mounted at `path`, fill its device, which has grown.
///
/// # Errors
/// The kernel refuses.
pub fn fill_device(path: &Path) -> Result<(), PathError> {
    let failed = |e: Errno| PathError::call("growing the file system at", path, e);
    let root = open(path).map_err(failed)?;
    let mut args = NameArgs::new(OsStr::new("max")).map_err(failed)?;
    call(root.as_fd(), opcode::write::<NameArgs>(MAGIC, 3), &mut args).map_err(failed)
}

/// Makes all that was written so far durable.
///
/// # Errors
/// The kernel refuses.
pub fn sync(path: &Path) -> Result<(), PathError> {
    let failed = |e: Errno| PathError::call("writing out the file system at", path, e);
    let root = open(path).map_err(failed)?;
    rustix::fs::syncfs(&root).map_err(failed)
}

fn open(path: &Path) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(CWD, path, flags, Mode::empty())
}

/// The directory above, opened, and the last name.
fn parent(path: &Path) -> Result<(OwnedFd, &OsStr), Errno> {
    let name = path.file_name().ok_or(Errno::INVAL)?;
    let above = path.parent().filter(|above| !above.as_os_str().is_empty());
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let fd = rustix::fs::openat(CWD, above.unwrap_or(Path::new(".")), flags, Mode::empty())?;
    Ok((fd, name))
}

fn put_name(to: &mut [u8], name: &OsStr) -> Result<(), Errno> {
    let bytes = name.as_bytes();
    // The last byte stays 0.
    let room = to.len().saturating_sub(1);
    let place = to
        .get_mut(..bytes.len())
        .filter(|_| bytes.len() <= room)
        .ok_or(Errno::NAMETOOLONG)?;
    place.copy_from_slice(bytes);
    Ok(())
}

/// What is at a path, links not followed.
fn inode_at(path: &Path) -> Result<u64, Errno> {
    Ok(rustix::fs::statat(CWD, path, AtFlags::SYMLINK_NOFOLLOW)?.st_ino)
}

/// Calls the kernel with the structure that belongs to the request.
fn call<T>(fd: BorrowedFd<'_>, request: Opcode, argument: &mut T) -> Result<(), Errno> {
    // SAFETY: every caller gives the structure whose size is part of the request's number.
    let result = unsafe {
        libc::ioctl(
            fd.as_raw_fd(),
            request as _,
            (&raw mut *argument).cast::<c_void>(),
        )
    };
    if result >= 0 {
        return Ok(());
    }
    Err(Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::IO))
}

/// A little-endian number in an item of a tree.
fn le64(item: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(item.get(at..at + 8)?.try_into().ok()?))
}

fn joined(base: &Path, below: &[u8]) -> PathBuf {
    base.join(OsStr::from_bytes(below))
}
