//! Whether two files are the same in everything that a copy would carry over.

use std::os::fd::BorrowedFd;

use rustix::fs::{FileType, Stat};
use rustix::io::Errno;

/// Attributes of a file larger than this count as different.
const NAMES_MAX: usize = 4096;
const VALUE_MAX: usize = 4096;

/// Whether type, size, owner, mode and time are the same.
pub(super) fn looks_same(a: &Stat, b: &Stat) -> bool {
    let facts = |stat: &Stat| {
        (
            stat.st_mode,
            stat.st_uid,
            stat.st_gid,
            stat.st_size,
            stat.st_mtime,
            stat.st_mtime_nsec,
        )
    };
    FileType::from_raw_mode(a.st_mode) == FileType::RegularFile && facts(a) == facts(b)
}

/// Whether content and extended attributes are the same. Bytes are compared, since programs may set the times of a file as they like.
pub(super) fn is_same(a: BorrowedFd<'_>, b: BorrowedFd<'_>, buffer: &mut [u8]) -> rustix::io::Result<bool> {
    Ok(has_same_content(a, b, buffer)? && has_same_attributes(a, b)?)
}

fn has_same_content(a: BorrowedFd<'_>, b: BorrowedFd<'_>, buffer: &mut [u8]) -> rustix::io::Result<bool> {
    let (left, right) = buffer.split_at_mut(buffer.len() / 2);
    let mut position = 0;
    loop {
        let count = read_full(a, left, position)?;
        if read_full(b, right, position)? != count || left.get(..count) != right.get(..count) {
            return Ok(false);
        }
        if count < left.len() {
            return Ok(true);
        }
        position += count as u64;
    }
}

fn read_full(file: BorrowedFd<'_>, buffer: &mut [u8], position: u64) -> rustix::io::Result<usize> {
    let mut done = 0;
    while let Some(room) = buffer.get_mut(done..).filter(|room| !room.is_empty()) {
        match rustix::io::retry_on_intr(|| rustix::io::pread(file, &mut *room, position + done as u64))? {
            0 => break,
            count => done += count,
        }
    }
    Ok(done)
}

fn has_same_attributes(a: BorrowedFd<'_>, b: BorrowedFd<'_>) -> rustix::io::Result<bool> {
    let (Some(names), Some(others)) = (names(a)?, names(b)?) else {
        return Ok(false);
    };
    if names != others {
        return Ok(false);
    }
    for name in &names {
        match (value(a, name)?, value(b, name)?) {
            (Some(one), Some(other)) if one == other => {}
            _ => return Ok(false),
        }
    }
    Ok(true)
}

/// The names of a file's attributes, sorted; none if there are too many.
fn names(file: BorrowedFd<'_>) -> rustix::io::Result<Option<Vec<Vec<u8>>>> {
    let mut list = [0_u8; NAMES_MAX];
    let length = match rustix::fs::flistxattr(file, &mut list[..]) {
        Ok(length) => length,
        Err(Errno::OPNOTSUPP) => 0,
        Err(Errno::RANGE) => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut names: Vec<Vec<u8>> = list
        .get(..length)
        .unwrap_or_default()
        .split(|byte| *byte == 0)
        .filter(|name| !name.is_empty())
        .map(<[u8]>::to_vec)
        .collect();
    names.sort();
    Ok(Some(names))
}

fn value(file: BorrowedFd<'_>, name: &[u8]) -> rustix::io::Result<Option<Vec<u8>>> {
    let mut value = [0_u8; VALUE_MAX];
    match rustix::fs::fgetxattr(file, name, &mut value[..]) {
        Ok(length) => Ok(value.get(..length).map(<[u8]>::to_vec)),
        Err(Errno::RANGE) => Ok(None),
        Err(error) => Err(error),
    }
}
