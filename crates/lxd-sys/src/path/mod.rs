//! Directories as roots that no path leads out of; recursive copy, removal and size of trees.

use std::ffi::{CString, OsStr, OsString};
use std::fs::File;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use rustix::fs::{
    AtFlags, CWD, FileType, Mode, OFlags, RawDir, ResolveFlags, Stat, StatxAttributes, StatxFlags, Timestamps,
};

mod copy;
mod owners;
mod remove;
mod reuse;
mod shift;
#[cfg(test)]
mod tests;
mod usage;
mod walk;

pub use copy::{Copied, CopyOptions, copy_directory, copy_tree, copy_tree_reusing};
pub use owners::Owners;
pub use remove::{remove_contents, remove_tree};
pub use shift::{Extent, Moment, ShiftOptions, shift_tree};
pub use usage::disk_usage;
pub use walk::{Node, walk};

/// How deep a tree may be for [`copy_tree`] and [`disk_usage`]: each level holds descriptors open.
pub const DEPTH_MAX: usize = 512;

/// A file operation that failed.
#[derive(Debug, thiserror::Error)]
pub enum PathError {
    /// A system call on a path.
    #[error("{doing} {}", path.display())]
    Call {
        /// What was being done, as the beginning of a sentence.
        doing: &'static str,
        /// To which path.
        path: PathBuf,
        /// The kernel's answer.
        #[source]
        source: io::Error,
    },
    /// A path, or a symbolic link in it, leads out of its root.
    #[error("{} leads out of {}", path.display(), root.display())]
    Escapes {
        /// The path.
        path: PathBuf,
        /// The root it was to be resolved in.
        root: PathBuf,
    },
    /// The tree has more than [`DEPTH_MAX`] levels.
    #[error("{} is more than {DEPTH_MAX} directories deep", path.display())]
    TooDeep {
        /// Where it was given up.
        path: PathBuf,
    },
    /// The caller's callback asked to stop.
    #[error("cancelled")]
    Cancelled,
}

impl PathError {
    pub(crate) fn call(doing: &'static str, path: &Path, source: impl Into<io::Error>) -> Self {
        Self::Call {
            doing,
            path: path.to_path_buf(),
            source: source.into(),
        }
    }

    /// The kernel's answer, where there was one.
    pub fn io_kind(&self) -> Option<io::ErrorKind> {
        match self {
            Self::Call { source, .. } => Some(source.kind()),
            _ => None,
        }
    }
}

/// How symbolic links in a path are resolved. No link ever leads out of the root.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Links {
    /// As a process chrooted to the root sees them: absolute links begin at the root.
    InRoot,
    /// Links that stay beneath the root are followed, absolute ones and those that leave it are errors.
    Beneath,
    /// Any link in the path is an error.
    Refused,
}

/// A directory, by descriptor, in which paths are resolved without a way out.
#[derive(Debug)]
pub struct Root {
    fd: OwnedFd,
    path: PathBuf,
    links: Links,
}

/// The directory that a name is in.
enum Above<'a> {
    Root(BorrowedFd<'a>),
    Opened(OwnedFd),
}

impl AsFd for Above<'_> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Root(fd) => *fd,
            Self::Opened(fd) => fd.as_fd(),
        }
    }
}

/// What to make with [`Root::create_special`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Special {
    /// A named pipe.
    Fifo,
    /// A socket without anybody behind it.
    Socket,
    /// A character device.
    Character {
        /// Device number.
        major: u32,
        /// Device number.
        minor: u32,
    },
    /// A block device.
    Block {
        /// Device number.
        major: u32,
        /// Device number.
        minor: u32,
    },
}

impl Root {
    /// Opens the directory at `path`.
    pub fn open(path: &Path, links: Links) -> Result<Self, PathError> {
        let fd = open_directory(CWD, path).map_err(|e| PathError::call("opening", path, e))?;
        Ok(Self {
            fd,
            path: path.to_path_buf(),
            links,
        })
    }

    /// The descriptor of the root.
    pub fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// Where the root was when it was opened.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Opens a file or directory in the root; `mode` counts when `flags` create.
    pub fn open_file(&self, path: &Path, flags: OFlags, mode: Mode) -> Result<File, PathError> {
        self.resolve(path, flags, mode).map(File::from)
    }

    /// Opens a regular file for reading, and nothing else (a pipe would block, a device act).
    pub fn open_regular(&self, path: &Path) -> Result<File, PathError> {
        let file = self.open_file(path, OFlags::RDONLY | OFlags::NONBLOCK, Mode::empty())?;
        let stat = rustix::fs::fstat(&file).map_err(|e| self.failed("examining", path, e))?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            let kind = if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
                io::ErrorKind::IsADirectory
            } else {
                io::ErrorKind::InvalidInput
            };
            return Err(self.failed_io("reading as a file", path, kind.into()));
        }
        Ok(file)
    }

    /// Creates a file that must not be there yet.
    pub fn create_file(&self, path: &Path, mode: u32) -> Result<File, PathError> {
        let (parent, name) = self.above(path)?;
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        rustix::fs::openat(&parent, name, flags, Mode::from_raw_mode(mode))
            .map(File::from)
            .map_err(|e| self.failed("creating", path, e))
    }

    /// Creates one directory.
    pub fn create_directory(&self, path: &Path, mode: u32) -> Result<(), PathError> {
        let (parent, name) = self.above(path)?;
        rustix::fs::mkdirat(&parent, name, Mode::from_raw_mode(mode))
            .map_err(|e| self.failed("creating the directory", path, e))
    }

    /// Creates a directory and those above it that are missing; existing ones are fine.
    pub fn create_directories(&self, path: &Path, mode: u32) -> Result<(), PathError> {
        let mut done = PathBuf::new();
        for part in path.components() {
            done.push(part);
            match self.create_directory(&done, mode) {
                Err(PathError::Call { source, .. }) if source.kind() == io::ErrorKind::AlreadyExists => {}
                result => result?,
            }
        }
        let flags = OFlags::PATH | OFlags::DIRECTORY;
        self.resolve(path, flags, Mode::empty()).map(drop)
    }

    /// Creates a symbolic link that says `target`, whatever that is.
    pub fn symlink(&self, target: &OsStr, path: &Path) -> Result<(), PathError> {
        let (parent, name) = self.above(path)?;
        rustix::fs::symlinkat(target, &parent, name).map_err(|e| self.failed("linking", path, e))
    }

    /// Makes `path` another name of `existing`, a non-directory that is not followed if it is a symbolic link.
    pub fn hard_link(&self, existing: &Path, path: &Path) -> Result<(), PathError> {
        let (from, from_name) = self.above(existing)?;
        let (to, to_name) = self.above(path)?;
        rustix::fs::linkat(&from, from_name, &to, to_name, AtFlags::empty())
            .map_err(|e| self.failed("hard linking", path, e))
    }

    /// Creates a pipe, socket or device node.
    pub fn create_special(&self, path: &Path, kind: Special, mode: u32) -> Result<(), PathError> {
        let (parent, name) = self.above(path)?;
        let (file_type, device) = match kind {
            Special::Fifo => (FileType::Fifo, 0),
            Special::Socket => (FileType::Socket, 0),
            Special::Character { major, minor } => {
                (FileType::CharacterDevice, rustix::fs::makedev(major, minor))
            }
            Special::Block { major, minor } => (FileType::BlockDevice, rustix::fs::makedev(major, minor)),
        };
        rustix::fs::mknodat(&parent, name, file_type, Mode::from_raw_mode(mode), device)
            .map_err(|e| self.failed("creating the node", path, e))
    }

    /// Renames within the root, replacing what is at `to`.
    pub fn rename(&self, from: &Path, to: &Path) -> Result<(), PathError> {
        let (old, old_name) = self.above(from)?;
        let (new, new_name) = self.above(to)?;
        rustix::fs::renameat(&old, old_name, &new, new_name).map_err(|e| self.failed("renaming", from, e))
    }

    /// Removes a non-directory.
    pub fn remove_file(&self, path: &Path) -> Result<(), PathError> {
        let (parent, name) = self.above(path)?;
        rustix::fs::unlinkat(&parent, name, AtFlags::empty()).map_err(|e| self.failed("removing", path, e))
    }

    /// Removes whatever is at `path`, with all beneath it. A missing path is fine.
    pub fn remove_tree(&self, path: &Path) -> Result<(), PathError> {
        let (parent, name) = self.above(path)?;
        remove::remove_at(parent.as_fd(), name, &self.path.join(path))
    }

    /// What is at `path`; a symbolic link at its end is not followed.
    pub fn stat(&self, path: &Path) -> Result<Stat, PathError> {
        let (parent, name) = self.above(path)?;
        rustix::fs::statat(&parent, name, AtFlags::SYMLINK_NOFOLLOW)
            .map_err(|e| self.failed("examining", path, e))
    }

    /// What a symbolic link says.
    pub fn read_link(&self, path: &Path) -> Result<OsString, PathError> {
        let (parent, name) = self.above(path)?;
        rustix::fs::readlinkat(&parent, name, Vec::new())
            .map(|target| OsString::from_vec(target.into_bytes()))
            .map_err(|e| self.failed("reading the link", path, e))
    }

    /// Owner of what is at `path`, not following a link at its end.
    pub fn set_owner(&self, path: &Path, uid: u32, gid: u32) -> Result<(), PathError> {
        let (parent, name) = self.above(path)?;
        chown_at(parent.as_fd(), name, uid, gid).map_err(|e| self.failed("changing the owner of", path, e))
    }

    /// Permission bits of what is at `path`, which is no symbolic link.
    pub fn set_mode(&self, path: &Path, mode: u32) -> Result<(), PathError> {
        let (parent, name) = self.above(path)?;
        // No fchmodat2(2) everywhere yet: a path through /proc does not follow anything that somebody swaps in meanwhile.
        let node = rustix::fs::openat(
            &parent,
            name,
            OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC,
            Mode::empty(),
        );
        node.and_then(|node| rustix::fs::chmod(proc_path(node.as_fd()), Mode::from_raw_mode(mode)))
            .map_err(|e| self.failed("changing the mode of", path, e))
    }

    /// Access and modification time, not following a link at its end.
    pub fn set_times(&self, path: &Path, times: &Timestamps) -> Result<(), PathError> {
        let (parent, name) = self.above(path)?;
        rustix::fs::utimensat(&parent, name, times, AtFlags::SYMLINK_NOFOLLOW)
            .map_err(|e| self.failed("changing the times of", path, e))
    }

    /// Sets an extended attribute of what is at `path`, not following a link at its end.
    pub fn set_xattr(&self, path: &Path, name: &OsStr, value: &[u8]) -> Result<(), PathError> {
        let (parent, file) = self.above(path)?;
        let node = proc_path(parent.as_fd()).join(file);
        rustix::fs::lsetxattr(&node, name, value, rustix::fs::XattrFlags::empty())
            .map_err(|e| self.failed("setting an extended attribute of", path, e))
    }

    /// A directory in the root as a root of its own: who works in it for long need not resolve its path each time.
    pub fn directory(&self, path: &Path) -> Result<Self, PathError> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY;
        Ok(Self {
            fd: self.resolve(path, flags, Mode::empty())?,
            path: self.path.join(path.strip_prefix("/").unwrap_or(path)),
            links: self.links,
        })
    }

    /// The directory above `path`, opened, and the last name. `path` must end in a name.
    pub fn parent(&self, path: &Path) -> Result<(OwnedFd, OsString), PathError> {
        let (above, name) = self.split(path)?;
        let fd = self.resolve(above, OFlags::PATH | OFlags::DIRECTORY, Mode::empty())?;
        Ok((fd, name.to_owned()))
    }

    /// The same; nothing is opened for what lies in the root itself.
    fn above<'a>(&'a self, path: &'a Path) -> Result<(Above<'a>, &'a OsStr), PathError> {
        let (above, name) = self.split(path)?;
        if above.as_os_str().is_empty() {
            return Ok((Above::Root(self.fd.as_fd()), name));
        }
        let fd = self.resolve(above, OFlags::PATH | OFlags::DIRECTORY, Mode::empty())?;
        Ok((Above::Opened(fd), name))
    }

    fn split<'a>(&self, path: &'a Path) -> Result<(&'a Path, &'a OsStr), PathError> {
        let relative = path.strip_prefix("/").unwrap_or(path);
        match (relative.parent(), relative.file_name()) {
            (Some(above), Some(name)) => Ok((above, name)),
            _ => Err(self.failed_io("resolving", path, io::ErrorKind::InvalidInput.into())),
        }
    }

    fn resolve(&self, path: &Path, flags: OFlags, mode: Mode) -> Result<OwnedFd, PathError> {
        let links = match self.links {
            Links::InRoot => ResolveFlags::IN_ROOT,
            Links::Beneath => ResolveFlags::BENEATH,
            Links::Refused => ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS,
        };
        let relative = path.strip_prefix("/").unwrap_or(path);
        let relative = if relative.as_os_str().is_empty() {
            Path::new(".")
        } else {
            relative
        };
        let resolve = links | ResolveFlags::NO_MAGICLINKS;
        loop {
            match rustix::fs::openat2(&self.fd, relative, flags | OFlags::CLOEXEC, mode, resolve) {
                Ok(fd) => return Ok(fd),
                // A rename elsewhere got between; the kernel can't tell whether `..` was safe.
                Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => {}
                Err(rustix::io::Errno::XDEV) => {
                    return Err(PathError::Escapes {
                        path: path.to_path_buf(),
                        root: self.path.clone(),
                    });
                }
                Err(e) => return Err(self.failed("opening", path, e)),
            }
        }
    }

    fn failed(&self, doing: &'static str, path: &Path, errno: rustix::io::Errno) -> PathError {
        self.failed_io(doing, path, errno.into())
    }

    fn failed_io(&self, doing: &'static str, path: &Path, source: io::Error) -> PathError {
        PathError::Call {
            doing,
            path: self.path.join(path.strip_prefix("/").unwrap_or(path)),
            source,
        }
    }
}

/// One name in a directory.
pub(crate) struct Entry {
    pub(crate) name: CString,
    /// As the directory says; unknown on some file systems.
    pub(crate) file_type: FileType,
}

impl Entry {
    pub(crate) fn path_in(&self, directory: &Path) -> PathBuf {
        directory.join(OsStr::from_bytes(self.name.as_bytes()))
    }
}

/// The names in a directory, all at once, so that they may be removed or added to meanwhile.
pub(crate) fn entries(directory: BorrowedFd<'_>, buffer: &mut Vec<u8>) -> rustix::io::Result<Vec<Entry>> {
    let mut found = Vec::new();
    buffer.clear();
    buffer.reserve(32 * 1024);
    let room: &mut [MaybeUninit<u8>] = buffer.spare_capacity_mut();
    let mut raw = RawDir::new(directory, room);
    while let Some(entry) = raw.next() {
        let entry = entry?;
        let name = entry.file_name();
        if name != c"." && name != c".." {
            found.push(Entry {
                name: name.to_owned(),
                file_type: entry.file_type(),
            });
        }
    }
    Ok(found)
}

/// Whether another file system is mounted on a name. What only has another device may be a part of the same one: a subvolume.
pub(crate) fn is_mount_point(directory: BorrowedFd<'_>, name: &std::ffi::CStr) -> bool {
    let flags = AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT;
    rustix::fs::statx(directory, name, flags, StatxFlags::TYPE)
        .is_ok_and(|stat| stat.stx_attributes.contains(StatxAttributes::MOUNT_ROOT))
}

/// Opens a directory for listing and as a base, not following a link at the end of a relative path.
pub(crate) fn open_directory<P: rustix::path::Arg>(
    base: BorrowedFd<'_>,
    path: P,
) -> rustix::io::Result<OwnedFd> {
    rustix::fs::openat(
        base,
        path,
        OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC,
        Mode::empty(),
    )
}

pub(crate) fn chown_at<P: rustix::path::Arg>(
    base: BorrowedFd<'_>,
    path: P,
    uid: u32,
    gid: u32,
) -> rustix::io::Result<()> {
    let (uid, gid) = (rustix::fs::Uid::from_raw(uid), rustix::fs::Gid::from_raw(gid));
    rustix::fs::chownat(base, path, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)
}

/// The path of a descriptor, for calls that know paths only.
pub(crate) fn proc_path(fd: BorrowedFd<'_>) -> PathBuf {
    use std::os::fd::AsRawFd;
    PathBuf::from(format!("/proc/self/fd/{}", fd.as_raw_fd()))
}
