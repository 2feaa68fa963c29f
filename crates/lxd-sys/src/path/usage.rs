//! The disk space of a tree.

use std::collections::HashSet;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags};
use rustix::io::Errno;

use super::{DEPTH_MAX, PathError, entries, is_mount_point};

/// Bytes on disk of the tree at `path`, on its file system only, a file of several names counted once. A missing path is 0.
pub fn disk_usage(path: &Path) -> Result<u64, PathError> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let top = match rustix::fs::openat(CWD, path, flags, Mode::empty()) {
        Ok(top) => top,
        Err(Errno::NOENT) => return Ok(0),
        Err(e) => return Err(PathError::call("opening", path, e)),
    };
    let stat = rustix::fs::fstat(&top).map_err(|e| PathError::call("examining", path, e))?;
    let mut walk = Walk {
        device: stat.st_dev,
        bytes: blocks(&stat),
        seen: HashSet::new(),
        buffer: Vec::new(),
    };
    walk.directory(top.as_fd(), path, 0)?;
    Ok(walk.bytes)
}

struct Walk {
    device: u64,
    bytes: u64,
    seen: HashSet<(u64, u64)>,
    buffer: Vec<u8>,
}

impl Walk {
    fn directory(&mut self, fd: BorrowedFd<'_>, path: &Path, depth: usize) -> Result<(), PathError> {
        if depth > DEPTH_MAX {
            return Err(PathError::TooDeep {
                path: path.to_path_buf(),
            });
        }
        let found = entries(fd, &mut self.buffer).map_err(|e| PathError::call("listing", path, e))?;
        for entry in found {
            let stat = match rustix::fs::statat(fd, &entry.name, AtFlags::SYMLINK_NOFOLLOW) {
                Ok(stat) => stat,
                // The tree may be in use.
                Err(Errno::NOENT) => continue,
                Err(e) => return Err(PathError::call("examining", &entry.path_in(path), e)),
            };
            let is_elsewhere = stat.st_dev != self.device && is_mount_point(fd, &entry.name);
            if is_elsewhere || (stat.st_nlink > 1 && self.counted(&stat)) {
                continue;
            }
            self.bytes += blocks(&stat);
            if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
                let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                match rustix::fs::openat(fd, &entry.name, flags, Mode::empty()) {
                    Ok(child) => self.directory(child.as_fd(), &entry.path_in(path), depth + 1)?,
                    Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => {}
                    Err(e) => return Err(PathError::call("opening", &entry.path_in(path), e)),
                }
            }
        }
        Ok(())
    }

    fn counted(&mut self, stat: &rustix::fs::Stat) -> bool {
        FileType::from_raw_mode(stat.st_mode) != FileType::Directory
            && !self.seen.insert((stat.st_dev, stat.st_ino))
    }
}

/// `st_blocks` counts units of 512 bytes, whatever the block size.
fn blocks(stat: &rustix::fs::Stat) -> u64 {
    u64::try_from(stat.st_blocks).unwrap_or(0) * 512
}
