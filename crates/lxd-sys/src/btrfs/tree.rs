//! Searching the file system's own trees, and the path of an inode.

use std::os::fd::BorrowedFd;

use rustix::io::Errno;
use rustix::ioctl::opcode;

use super::{MAGIC, call};

/// The tree of all trees.
pub(super) const ROOTS: u64 = 1;
/// The tree of quota groups.
pub(super) const QUOTAS: u64 = 8;

/// `struct btrfs_ioctl_search_args`
#[repr(C)]
struct SearchArgs {
    tree: u64,
    objects: [u64; 2],
    offsets: [u64; 2],
    transactions: [u64; 2],
    types: [u32; 2],
    items: u32,
    unused: u32,
    more: [u64; 4],
    buffer: [u8; BUFFER],
}

const BUFFER: usize = 4096 - 104;

/// `struct btrfs_ioctl_search_header` is as long.
const HEADER: usize = 32;

/// `struct btrfs_ioctl_ino_lookup_args`
#[repr(C)]
struct LookupArgs {
    tree: u64,
    inode: u64,
    name: [u8; 4080],
}

/// Something in a tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Item {
    pub(super) offset: u64,
    pub(super) data: Vec<u8>,
}

/// All items of one object and type.
pub(super) fn search(fd: BorrowedFd<'_>, tree: u64, object: u64, kind: u32) -> Result<Vec<Item>, Errno> {
    between(fd, tree, (object, kind), [0, u64::MAX])
}

/// The item of one key.
pub(super) fn find(
    fd: BorrowedFd<'_>,
    tree: u64,
    (object, kind): (u64, u32),
    offset: u64,
) -> Result<Option<Item>, Errno> {
    Ok(between(fd, tree, (object, kind), [offset, offset])?
        .into_iter()
        .next())
}

fn between(
    fd: BorrowedFd<'_>,
    tree: u64,
    (object, kind): (u64, u32),
    offsets: [u64; 2],
) -> Result<Vec<Item>, Errno> {
    let mut found = Vec::new();
    let mut args = Box::new(SearchArgs {
        tree,
        objects: [object; 2],
        offsets,
        transactions: [0, u64::MAX],
        types: [kind; 2],
        items: 4096,
        unused: 0,
        more: [0; 4],
        buffer: [0; BUFFER],
    });
    loop {
        args.items = 4096;
        call(fd, opcode::read_write::<SearchArgs>(MAGIC, 17), &mut *args)?;
        if args.items == 0 {
            return Ok(found);
        }
        let last = parse(&args.buffer, args.items, &mut found).ok_or(Errno::IO)?;
        match last.checked_add(1) {
            Some(next) if next <= offsets[1] => args.offsets[0] = next,
            _ => return Ok(found),
        }
    }
}

/// Takes the kernel's answer apart; gives the last offset.
fn parse(buffer: &[u8], items: u32, found: &mut Vec<Item>) -> Option<u64> {
    let mut rest = buffer;
    let mut last = None;
    for _ in 0..items {
        let (header, tail) = rest.split_at_checked(HEADER)?;
        let offset = u64::from_ne_bytes(header.get(16..24)?.try_into().ok()?);
        let length = u32::from_ne_bytes(header.get(28..32)?.try_into().ok()?);
        let (data, tail) = tail.split_at_checked(usize::try_from(length).ok()?)?;
        found.push(Item {
            offset,
            data: data.to_vec(),
        });
        last = Some(offset);
        rest = tail;
    }
    last
}

/// The path of a directory's inode in a subvolume, with a slash at its end unless it is the subvolume's root.
pub(super) fn path_of(fd: BorrowedFd<'_>, tree: u64, inode: u64) -> Result<Vec<u8>, Errno> {
    let mut args = Box::new(LookupArgs {
        tree,
        inode,
        name: [0; 4080],
    });
    call(fd, opcode::read_write::<LookupArgs>(MAGIC, 18), &mut *args)?;
    let end = args.name.iter().position(|b| *b == 0).unwrap_or(args.name.len());
    Ok(args.name.get(..end).unwrap_or_default().to_vec())
}

/// The id of the subvolume that an open file belongs to.
pub(super) fn id_of(fd: BorrowedFd<'_>) -> Result<u64, Errno> {
    let mut args = Box::new(LookupArgs {
        tree: 0,
        inode: super::FIRST_INODE,
        name: [0; 4080],
    });
    call(fd, opcode::read_write::<LookupArgs>(MAGIC, 18), &mut *args)?;
    Ok(args.tree)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_of_the_kernel_are_taken_apart() {
        let mut buffer = vec![0; 100];
        buffer[16..24].copy_from_slice(&7_u64.to_ne_bytes());
        buffer[28..32].copy_from_slice(&3_u32.to_ne_bytes());
        buffer[32..35].copy_from_slice(b"abc");
        let mut found = Vec::new();
        assert_eq!(parse(&buffer, 1, &mut found), Some(7));
        assert_eq!(
            found,
            [Item {
                offset: 7,
                data: b"abc".to_vec()
            }]
        );
        buffer[28..32].copy_from_slice(&300_u32.to_ne_bytes());
        assert_eq!(parse(&buffer, 1, &mut found), None);
    }
}
