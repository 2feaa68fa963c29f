//! Project quotas of ext4 and XFS: how much all files of one number may take.
#![allow(
    unsafe_code,
    reason = "the ioctls of linux/fs.h, and quotactl_fd(2), which has no wrapper"
)]

use std::ffi::c_void;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;

use rustix::fs::{CWD, FileType, Mode, OFlags};
use rustix::io::Errno;
use rustix::ioctl::opcode;

use crate::path::{Node, PathError, walk};

/// `FS_XFLAG_PROJINHERIT`: what is made in a directory is of its project.
const INHERIT: u32 = 0x200;

/// `PRJQUOTA`
const PROJECT: u32 = 2;
/// `Q_GETQUOTA`
const GET: u32 = 0x80_0007;
/// `Q_SETQUOTA`
const SET: u32 = 0x80_0008;
/// `Q_XGETQSTATV`
const STATE: u32 = (b'X' as u32) << 8 | 8;

/// `QIF_BLIMITS`
const SPACE_LIMITS: u32 = 1;
/// Limits are counted in these.
const BLOCK: u64 = 1024;
/// `FS_QUOTA_PDQ_ENFD`
const ENFORCED: u16 = 1 << 5;
/// `FS_QSTATV_VERSION1`
const STATE_VERSION: u8 = 1;

/// `struct fsxattr`
#[repr(C)]
#[derive(Default)]
struct Attributes {
    flags: u32,
    extent_size: u32,
    extents: u32,
    project: u32,
    copy_extent_size: u32,
    padding: [u8; 8],
}

/// `struct if_dqblk`
#[repr(C)]
#[derive(Default)]
struct Quota {
    hard_blocks: u64,
    soft_blocks: u64,
    space: u64,
    hard_inodes: u64,
    soft_inodes: u64,
    inodes: u64,
    block_time: u64,
    inode_time: u64,
    valid: u32,
}

/// The beginning of `struct fs_quota_statv`, which has 160 bytes.
#[repr(C)]
struct State {
    version: u8,
    padding: u8,
    flags: u16,
    rest: [u64; 19],
}

/// What the files of a project take.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// Bytes on disk.
    pub bytes: u64,
    /// Files, directories and all else.
    pub inodes: u64,
}

/// Whether limits of projects are kept on the file system of a directory.
pub fn is_enforced(directory: &Path) -> bool {
    let mut state = State {
        version: STATE_VERSION,
        padding: 0,
        flags: 0,
        rest: [0; 19],
    };
    let asked = open(directory).and_then(|fd| control(&fd, STATE, 0, &mut state));
    asked.is_ok() && state.flags & ENFORCED != 0
}

/// The project of a file or directory; 0 for none, also where there are no projects.
///
/// # Errors
/// It can't be opened.
pub fn project(path: &Path) -> Result<u32, PathError> {
    let fd = open(path).map_err(|e| PathError::call("opening", path, e))?;
    Ok(attributes(&fd).map_or(0, |found| found.project))
}

/// Lets a file or directory, and what will be made in it, be of a project. Sockets, nodes and links can't be.
///
/// # Errors
/// The file system has no projects.
pub fn set_project(path: &Path, project: u32) -> Result<(), PathError> {
    let done = open(path).and_then(|fd| assign(&fd, project));
    done.map_err(|e| PathError::call("setting the project of", path, e))
}

/// Lets what will be made in a directory, and moved into it, be of no project from now on. The directory and all that is in it
/// keep theirs.
///
/// # Errors
/// It can't be opened; the file system does not take the change.
pub fn end_inheritance(directory: &Path) -> Result<(), PathError> {
    let fail = |e| PathError::call("ending the inheritance of the project of", directory, e);
    let fd = open(directory).map_err(fail)?;
    match attributes(&fd) {
        Ok(mut found) if found.flags & INHERIT != 0 => {
            found.flags &= !INHERIT;
            set_attributes(&fd, &mut found).map_err(fail)
        }
        // Where there are no projects nothing is inherited.
        _ => Ok(()),
    }
}

/// [`set_project`] for all that is in a directory, too, which comes last.
///
/// # Errors
/// As [`set_project`].
pub fn set_project_of_tree(top: &Path, project: u32) -> Result<(), PathError> {
    walk(top, &mut |node: &Node<'_>| {
        let is_file = matches!(node.file_type(), FileType::RegularFile | FileType::Directory);
        if !is_file || node.is_mount_point || node.path.as_os_str().is_empty() {
            return Ok(());
        }
        let Some(file) = node.open()? else {
            return Ok(());
        };
        let fd = OwnedFd::from(file);
        assign(&fd, project).map_err(|e| PathError::call("setting the project of", node.path, e))
    })?;
    set_project(top, project)
}

/// What a project takes on the file system of a directory; nothing if it was never seen.
///
/// # Errors
/// The file system does not count.
pub fn usage(directory: &Path, project: u32) -> Result<Usage, PathError> {
    let mut quota = Quota::default();
    let asked = open(directory).and_then(|fd| control(&fd, GET, project, &mut quota));
    match asked {
        Ok(()) => Ok(Usage {
            bytes: quota.space,
            inodes: quota.inodes,
        }),
        Err(Errno::NOENT) => Ok(Usage::default()),
        Err(e) => Err(PathError::call("reading the quota of a project at", directory, e)),
    }
}

/// What a project may take on the file system of a directory, if that is limited.
///
/// # Errors
/// The file system does not count.
pub fn limit_of(directory: &Path, project: u32) -> Result<Option<u64>, PathError> {
    let mut quota = Quota::default();
    let asked = open(directory).and_then(|fd| control(&fd, GET, project, &mut quota));
    match asked {
        Ok(()) => Ok((quota.hard_blocks > 0).then(|| quota.hard_blocks.saturating_mul(BLOCK))),
        Err(Errno::NOENT) => Ok(None),
        Err(e) => Err(PathError::call("reading the limit of a project at", directory, e)),
    }
}

/// Limits what a project may take on the file system of a directory, or nothing any more.
///
/// # Errors
/// The file system can't.
pub fn limit(directory: &Path, project: u32, bytes: Option<u64>) -> Result<(), PathError> {
    let mut quota = Quota {
        // None is 0 for the kernel.
        hard_blocks: bytes.map_or(0, |bytes| bytes.div_ceil(BLOCK).max(1)),
        valid: SPACE_LIMITS,
        ..Quota::default()
    };
    let done = open(directory).and_then(|fd| control(&fd, SET, project, &mut quota));
    done.map_err(|e| PathError::call("limiting a project at", directory, e))
}

fn open(path: &Path) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    rustix::fs::openat(CWD, path, flags, Mode::empty())
}

fn attributes(fd: &OwnedFd) -> Result<Attributes, Errno> {
    let mut found = Attributes::default();
    ioctl(fd, opcode::read::<Attributes>(b'X', 31), &mut found)?;
    Ok(found)
}

fn assign(fd: &OwnedFd, project: u32) -> Result<(), Errno> {
    let mut found = attributes(fd)?;
    let is_directory =
        rustix::fs::fstat(fd).is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Directory);
    let inherits = is_directory && project != 0;
    let flags = match inherits {
        true => found.flags | INHERIT,
        false => found.flags & !INHERIT,
    };
    if (found.project, found.flags) == (project, flags) {
        return Ok(());
    }
    (found.project, found.flags) = (project, flags);
    set_attributes(fd, &mut found)
}

fn set_attributes(fd: &OwnedFd, attributes: &mut Attributes) -> Result<(), Errno> {
    ioctl(fd, opcode::write::<Attributes>(b'X', 32), attributes)
}

fn ioctl<T>(fd: &OwnedFd, request: rustix::ioctl::Opcode, argument: &mut T) -> Result<(), Errno> {
    let argument = std::ptr::from_mut(argument).cast::<c_void>();
    // SAFETY: the argument is the structure that the request names, and lives longer than the call.
    let result = unsafe { libc::ioctl(fd.as_raw_fd(), request as _, argument) };
    outcome(result.into())
}

fn control<T>(fd: &OwnedFd, command: u32, project: u32, argument: &mut T) -> Result<(), Errno> {
    let command = command << 8 | PROJECT;
    let argument = std::ptr::from_mut(argument);
    // SAFETY: the argument is the structure that the command names, and lives longer than the call.
    let result = unsafe { libc::syscall(libc::SYS_quotactl_fd, fd.as_raw_fd(), command, project, argument) };
    outcome(result)
}

fn outcome(result: i64) -> Result<(), Errno> {
    match result {
        -1 => Err(Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::IO)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_projects_there_are_none() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(project(dir.path()).unwrap(), 0);
        assert!(project(&dir.path().join("none")).is_err());
        end_inheritance(dir.path()).unwrap();
        assert!(end_inheritance(&dir.path().join("none")).is_err());
        if is_enforced(dir.path()) {
            return;
        }
        assert!(limit(dir.path(), 7, Some(1 << 20)).is_err());
        assert!(limit_of(dir.path(), 7).is_err());
        assert!(!is_enforced(Path::new("/proc")));
    }

    #[test]
    fn structures_are_as_large_as_the_kernels() {
        assert_eq!(size_of::<Attributes>(), 28);
        assert_eq!(size_of::<Quota>(), 72);
        assert_eq!(size_of::<State>(), 160);
    }
}
