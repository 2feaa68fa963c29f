//! Subvolumes: made, snapshotted, deleted, sealed, and looked at; with those that lie in them.

use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};

use rustix::io::Errno;
use rustix::ioctl::opcode;

use super::{
    FIRST_INODE, MAGIC, NameArgs, call, inode_at, is_btrfs, joined, le64, open, parent, put_name, tree,
};
use crate::path::PathError;

/// `BTRFS_SUBVOL_RDONLY`
const READ_ONLY: u64 = 1 << 1;

/// `BTRFS_ROOT_REF_KEY`: a subvolume in another.
const ROOT_REF: u32 = 156;

/// `struct btrfs_ioctl_vol_args_v2`
#[repr(C)]
struct SnapshotArgs {
    fd: i64,
    transaction: u64,
    flags: u64,
    unused: [u64; 4],
    name: [u8; 4040],
}

/// `struct btrfs_ioctl_get_subvol_info_args`
#[repr(C)]
struct InfoArgs {
    tree: u64,
    name: [u8; 256],
    parent: u64,
    directory: u64,
    generation: u64,
    flags: u64,
    uuids: [[u8; 16]; 3],
    transactions: [u64; 4],
    times: [[u64; 2]; 4],
    reserved: [u64; 8],
}

/// What the kernel says of a subvolume.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Info {
    /// Its id, unique in the file system.
    pub id: u64,
    /// Whether nobody can write into it.
    pub read_only: bool,
    /// Its own UUID.
    pub uuid: [u8; 16],
    /// The UUID of what it was sent from, all zero if it was not received.
    pub received_uuid: [u8; 16],
}

/// Whether the path, not following a link at its end, is the root of a subvolume.
pub fn is_subvolume(path: &Path) -> bool {
    inode_at(path).is_ok_and(|inode| inode == FIRST_INODE) && is_btrfs(path)
}

/// Makes an empty subvolume, of mode 0755.
///
/// # Errors
/// Something is there already; it is no btrfs; the disk is full.
pub fn create(path: &Path) -> Result<(), PathError> {
    named(path, "creating the subvolume", 14)
}

/// Deletes a subvolume with all in it, but those that lie in it, which must be gone. Its space comes back later.
///
/// # Errors
/// It is no subvolume; others lie in it; somebody sends it.
pub fn delete(path: &Path) -> Result<(), PathError> {
    named(path, "deleting the subvolume", 15)
}

fn named(path: &Path, doing: &'static str, number: u8) -> Result<(), PathError> {
    let done = || -> Result<(), Errno> {
        let (above, name) = parent(path)?;
        let mut args = NameArgs::new(name)?;
        call(above.as_fd(), opcode::write::<NameArgs>(MAGIC, number), &mut args)
    };
    done().map_err(|e| PathError::call(doing, path, e))
}

/// Makes a snapshot of a subvolume, not of those that lie in it: empty directories stand for them.
///
/// # Errors
/// Something is there already; another file system; the disk is full.
pub fn snapshot(from: &Path, to: &Path, read_only: bool) -> Result<(), PathError> {
    let done = || -> Result<(), Errno> {
        let source = open(from)?;
        let (above, name) = parent(to)?;
        let mut args = Box::new(SnapshotArgs {
            fd: i64::from(std::os::fd::AsRawFd::as_raw_fd(&source)),
            transaction: 0,
            flags: if read_only { READ_ONLY } else { 0 },
            unused: [0; 4],
            name: [0; 4040],
        });
        put_name(&mut args.name, name)?;
        call(
            above.as_fd(),
            opcode::write::<SnapshotArgs>(MAGIC, 23),
            &mut *args,
        )
    };
    done().map_err(|e| PathError::call("making a snapshot at", to, e))
}

/// Whether nobody can write into the subvolume.
///
/// # Errors
/// It is no subvolume.
pub fn is_read_only(path: &Path) -> Result<bool, PathError> {
    flags(path).map(|(_, flags)| flags & READ_ONLY != 0)
}

/// Lets nobody write into the subvolume, or everybody again.
///
/// # Errors
/// It is no subvolume; somebody sends it.
pub fn set_read_only(path: &Path, yes: bool) -> Result<(), PathError> {
    let (fd, old) = flags(path)?;
    let mut new = if yes { old | READ_ONLY } else { old & !READ_ONLY };
    if new == old {
        return Ok(());
    }
    call(fd.as_fd(), opcode::write::<u64>(MAGIC, 26), &mut new)
        .map_err(|e| PathError::call("changing whether one can write into", path, e))
}

fn flags(path: &Path) -> Result<(std::os::fd::OwnedFd, u64), PathError> {
    let asked = || -> Result<_, Errno> {
        let fd = open(path)?;
        let mut flags = 0_u64;
        call(fd.as_fd(), opcode::read::<u64>(MAGIC, 25), &mut flags)?;
        Ok((fd, flags))
    };
    asked().map_err(|e| PathError::call("examining the subvolume", path, e))
}

/// What the kernel says of a subvolume.
///
/// # Errors
/// It is no subvolume.
pub fn info(path: &Path) -> Result<Info, PathError> {
    let asked = || -> Result<Info, Errno> {
        let fd = open(path)?;
        let mut args = Box::new(InfoArgs {
            tree: 0,
            name: [0; 256],
            parent: 0,
            directory: 0,
            generation: 0,
            flags: 0,
            uuids: [[0; 16]; 3],
            transactions: [0; 4],
            times: [[0; 2]; 4],
            reserved: [0; 8],
        });
        call(fd.as_fd(), opcode::read::<InfoArgs>(MAGIC, 60), &mut *args)?;
        let [uuid, _, received_uuid] = args.uuids;
        Ok(Info {
            id: args.tree,
            // Here it is the bit of the tree's own item (BTRFS_ROOT_SUBVOL_RDONLY).
            read_only: args.flags & 1 != 0,
            uuid,
            received_uuid,
        })
    };
    asked().map_err(|e| PathError::call("examining the subvolume", path, e))
}

/// The subvolumes that lie in one, as paths beneath it, each after the one that it lies in.
///
/// # Errors
/// It is no subvolume.
pub fn nested(path: &Path) -> Result<Vec<PathBuf>, PathError> {
    let asked = || -> Result<Vec<PathBuf>, Errno> {
        let fd = open(path)?;
        let mut found = Vec::new();
        let mut waiting = vec![(tree::id_of(fd.as_fd())?, PathBuf::new())];
        while let Some((id, below)) = waiting.pop() {
            for (child, name) in children(fd.as_fd(), id)? {
                let place = joined(&below, &name);
                found.push(place.clone());
                waiting.push((child, place));
            }
        }
        found.sort();
        Ok(found)
    };
    asked().map_err(|e| PathError::call("looking for subvolumes in", path, e))
}

/// The ids of subvolumes directly in one, and where they are in it.
fn children(fd: BorrowedFd<'_>, id: u64) -> Result<Vec<(u64, Vec<u8>)>, Errno> {
    let mut found = Vec::new();
    for item in tree::search(fd, tree::ROOTS, id, ROOT_REF)? {
        // `struct btrfs_root_ref`: the directory, a sequence number, the length of the name that follows.
        let (Some(directory), Some(name)) = (le64(&item.data, 0), item.data.get(18..)) else {
            return Err(Errno::IO);
        };
        let mut place = match tree::path_of(fd, id, directory) {
            // The directory is about to go.
            Err(Errno::NOENT) => continue,
            found => found?,
        };
        place.extend_from_slice(name);
        found.push((item.offset, place));
    }
    Ok(found)
}
