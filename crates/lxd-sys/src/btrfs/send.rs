//! The stream of a read-only subvolume, as `btrfs send` writes it.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::path::Path;

use rustix::io::Errno;
use rustix::ioctl::opcode;

use super::{MAGIC, call, open, tree};
use crate::path::PathError;

/// `struct btrfs_ioctl_send_args`
#[repr(C)]
struct SendArgs {
    out: i64,
    sources: u64,
    source_ids: *mut u64,
    parent: u64,
    flags: u64,
    version: u32,
    reserved: [u8; 28],
}

/// Writes what makes a read-only subvolume, from nothing or from another one that the receiver has too. Blocks until all
/// is written.
///
/// # Errors
/// One of them can be written to; the reader went away.
pub fn send(path: &Path, parent: Option<&Path>, out: BorrowedFd<'_>) -> Result<(), PathError> {
    let sent = || -> Result<(), Errno> {
        let root = open(path)?;
        let mut source = match parent {
            Some(parent) => tree::id_of(open(parent)?.as_fd())?,
            None => 0,
        };
        let mut args = SendArgs {
            out: i64::from(out.as_raw_fd()),
            sources: u64::from(parent.is_some()),
            source_ids: &raw mut source,
            parent: source,
            flags: 0,
            version: 0,
            reserved: [0; 28],
        };
        call(root.as_fd(), opcode::write::<SendArgs>(MAGIC, 38), &mut args)
    };
    sent().map_err(|e| PathError::call("sending the subvolume", path, e))
}
