//! Quota groups: how much a subvolume may refer to, and how much it does.

use std::os::fd::AsFd;
use std::path::Path;

use rustix::io::Errno;
use rustix::ioctl::opcode;

use super::{MAGIC, call, le64, open, tree};
use crate::path::PathError;

/// `BTRFS_QUOTA_CTL_ENABLE`
const ENABLE: u64 = 1;

/// `BTRFS_QGROUP_INFO_KEY`
const INFO: u32 = 242;
/// `BTRFS_QGROUP_LIMIT_KEY`
const LIMIT: u32 = 244;

/// `BTRFS_QGROUP_LIMIT_MAX_RFER`
const REFERENCED: u64 = 1;

/// `struct btrfs_ioctl_quota_ctl_args`
#[repr(C)]
struct ControlArgs {
    command: u64,
    status: u64,
}

/// `struct btrfs_ioctl_qgroup_create_args`
#[repr(C)]
struct CreateArgs {
    create: u64,
    group: u64,
}

/// `struct btrfs_ioctl_qgroup_limit_args`
#[repr(C)]
struct LimitArgs {
    group: u64,
    flags: u64,
    max_referenced: u64,
    max_exclusive: u64,
    reserved: [u64; 2],
}

/// What the quota group of a subvolume counts, in bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// All that can be reached in it.
    pub referenced: u64,
    /// What belongs to no other subvolume.
    pub exclusive: u64,
    /// What may be reached in it; none for no limit.
    pub limit: Option<u64>,
}

/// Lets the file system count from now on. Doing so already is fine.
///
/// # Errors
/// The kernel refuses.
pub fn enable_quotas(path: &Path) -> Result<(), PathError> {
    let enabled = || -> Result<(), Errno> {
        let root = open(path)?;
        let mut args = ControlArgs {
            command: ENABLE,
            status: 0,
        };
        match call(
            root.as_fd(),
            opcode::read_write::<ControlArgs>(MAGIC, 40),
            &mut args,
        ) {
            Err(Errno::EXIST) => Ok(()),
            done => done,
        }
    };
    enabled().map_err(|e| PathError::call("enabling quotas at", path, e))
}

/// What a subvolume's group counts; none where the file system does not count or has no group for it. It lags behind
/// by what is not yet on disk.
///
/// # Errors
/// It is no subvolume.
pub fn usage(path: &Path) -> Result<Option<Usage>, PathError> {
    let asked = || -> Result<Option<Usage>, Errno> {
        let root = open(path)?;
        let group = tree::id_of(root.as_fd())?;
        let Some(item) = maybe(tree::find(root.as_fd(), tree::QUOTAS, (0, INFO), group))? else {
            return Ok(None);
        };
        let limit = maybe(tree::find(root.as_fd(), tree::QUOTAS, (0, LIMIT), group))?;
        let limit = limit.and_then(|item| {
            let set = le64(&item.data, 0)? & REFERENCED != 0;
            le64(&item.data, 8).filter(|bytes| set && *bytes != u64::MAX)
        });
        let (referenced, exclusive) = (le64(&item.data, 8), le64(&item.data, 24));
        Ok(Some(Usage {
            referenced: referenced.ok_or(Errno::IO)?,
            exclusive: exclusive.ok_or(Errno::IO)?,
            limit,
        }))
    };
    asked().map_err(|e| PathError::call("asking for the usage of", path, e))
}

/// Where quotas are off there is no such tree.
fn maybe(found: Result<Option<tree::Item>, Errno>) -> Result<Option<tree::Item>, Errno> {
    match found {
        Err(Errno::NOENT) => Ok(None),
        found => found,
    }
}

/// Removes the group of a subvolume that has just been deleted; newer kernels do so by themselves. `top` is another subvolume of the
/// file system. No group, or none that may go yet, is fine.
pub fn forget(top: &Path, id: u64) {
    let removed = || -> Result<(), Errno> {
        let root = open(top)?;
        let mut args = CreateArgs { create: 0, group: id };
        call(root.as_fd(), opcode::write::<CreateArgs>(MAGIC, 42), &mut args)
    };
    if let Err(error) = removed() {
        tracing::debug!(id, %error, "The quota group of a subvolume stays");
    }
}

/// Limits what can be reached in a subvolume, or nothing any more. Quotas must be enabled. `top` is another subvolume of the
/// file system: through one that has reached its own limit nothing can be changed.
///
/// # Errors
/// It is no subvolume; quotas are off.
pub fn limit(top: &Path, path: &Path, bytes: Option<u64>) -> Result<(), PathError> {
    let limited = || -> Result<(), Errno> {
        let group = tree::id_of(open(path)?.as_fd())?;
        let root = open(top)?;
        let mut args = LimitArgs {
            group,
            flags: REFERENCED,
            // All bits take the limit away.
            max_referenced: bytes.unwrap_or(u64::MAX),
            max_exclusive: 0,
            reserved: [0; 2],
        };
        let request = opcode::read::<LimitArgs>(MAGIC, 43);
        match call(root.as_fd(), request, &mut args) {
            // Subvolumes have groups by themselves, but for those from before quotas whose groups were destroyed.
            Err(Errno::NOENT) => {
                let mut create = CreateArgs { create: 1, group };
                call(root.as_fd(), opcode::write::<CreateArgs>(MAGIC, 42), &mut create)?;
                call(root.as_fd(), request, &mut args)
            }
            done => done,
        }
    };
    limited().map_err(|e| PathError::call("limiting the size of", path, e))
}
