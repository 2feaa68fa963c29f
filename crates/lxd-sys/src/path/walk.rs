//! Going through a tree that somebody else may be changing, without a way out of it.

use std::ffi::{CStr, OsStr, OsString};
use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;

use super::{DEPTH_MAX, PathError, entries, is_mount_point, open_directory, proc_path};

/// Room for the names of a file's extended attributes at first.
const NAMES: usize = 1024;

/// Room for the value of one, at most: the kernel's limit.
const VALUE_MAX: usize = 64 * 1024;

/// One thing in a tree.
pub struct Node<'a> {
    /// Where it is, from the top of the tree.
    pub path: &'a Path,
    /// What it is; for a mount point the directory that is mounted there.
    pub stat: &'a Stat,
    /// Whether another file system is mounted on it; nothing beneath it is visited.
    pub is_mount_point: bool,
    parent: BorrowedFd<'a>,
    name: &'a CStr,
}

impl Node<'_> {
    /// What kind of thing it is.
    pub fn file_type(&self) -> FileType {
        FileType::from_raw_mode(self.stat.st_mode)
    }

    /// Opens a regular file for reading. None if it is another thing by now, or gone.
    pub fn open(&self) -> Result<Option<File>, PathError> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = match rustix::fs::openat(self.parent, self.name, flags, Mode::empty()) {
            Ok(file) => File::from(file),
            Err(Errno::NOENT | Errno::LOOP | Errno::NXIO) => return Ok(None),
            Err(e) => return Err(PathError::call("opening", self.path, e)),
        };
        let stat = rustix::fs::fstat(&file).map_err(|e| PathError::call("examining", self.path, e))?;
        let is_same = (stat.st_dev, stat.st_ino) == (self.stat.st_dev, self.stat.st_ino);
        Ok(is_same.then_some(file))
    }

    /// What a symbolic link says.
    pub fn read_link(&self) -> Result<OsString, PathError> {
        let read = rustix::fs::readlinkat(self.parent, self.name, Vec::new());
        let read = read.map_err(|e| PathError::call("reading the link", self.path, e))?;
        Ok(OsString::from_vec(read.into_bytes()))
    }

    /// The extended attributes whose names are wanted.
    pub fn xattrs(&self, wanted: impl Fn(&[u8]) -> bool) -> Result<Vec<(OsString, Vec<u8>)>, PathError> {
        let failed = |e: Errno| PathError::call("reading the attributes of", self.path, e);
        let node = proc_path(self.parent).join(OsStr::from_bytes(self.name.to_bytes()));
        let mut names = vec![0_u8; NAMES];
        let length = match rustix::fs::llistxattr(&node, &mut names[..]) {
            Ok(0) | Err(Errno::OPNOTSUPP | Errno::NOENT) => return Ok(Vec::new()),
            Err(Errno::RANGE) => {
                names.resize(VALUE_MAX, 0);
                rustix::fs::llistxattr(&node, &mut names[..]).map_err(failed)?
            }
            result => result.map_err(failed)?,
        };
        let names = names.get(..length).unwrap_or_default();
        let mut found = Vec::new();
        for name in names
            .split(|byte| *byte == 0)
            .filter(|name| !name.is_empty() && wanted(name))
        {
            let name = OsStr::from_bytes(name);
            let mut value = vec![0_u8; VALUE_MAX];
            match rustix::fs::lgetxattr(&node, name, &mut value[..]) {
                Ok(length) => {
                    value.truncate(length);
                    found.push((name.to_owned(), value));
                }
                Err(Errno::NODATA | Errno::OPNOTSUPP) => {}
                Err(e) => return Err(failed(e)),
            }
        }
        Ok(found)
    }
}

/// Visits the directory `top` itself, with an empty path, and then everything beneath it, directories before what they
/// hold, names in order. What disappears meanwhile is left out.
pub fn walk<E: From<PathError>>(
    top: &Path,
    visit: &mut dyn FnMut(&Node<'_>) -> Result<(), E>,
) -> Result<(), E> {
    let root = open_directory(CWD, top).map_err(|e| PathError::call("opening", top, e))?;
    let stat = rustix::fs::fstat(&root).map_err(|e| PathError::call("examining", top, e))?;
    visit(&Node {
        path: Path::new(""),
        stat: &stat,
        is_mount_point: false,
        parent: root.as_fd(),
        name: c".",
    })?;
    let mut walk = Walk {
        device: stat.st_dev,
        buffer: Vec::new(),
        visit,
    };
    walk.directory(root.as_fd(), Path::new(""), 0)
}

struct Walk<'a, E> {
    device: u64,
    buffer: Vec<u8>,
    visit: &'a mut dyn FnMut(&Node<'_>) -> Result<(), E>,
}

impl<E: From<PathError>> Walk<'_, E> {
    fn directory(&mut self, parent: BorrowedFd<'_>, relative: &Path, depth: usize) -> Result<(), E> {
        if depth > DEPTH_MAX {
            let path: PathBuf = relative.to_path_buf();
            return Err(PathError::TooDeep { path }.into());
        }
        let listed = entries(parent, &mut self.buffer);
        let mut listed = listed.map_err(|e| PathError::call("listing", relative, e))?;
        listed.sort_by(|a, b| a.name.cmp(&b.name));
        for entry in listed {
            let path = entry.path_in(relative);
            let stat = match rustix::fs::statat(parent, &entry.name, AtFlags::SYMLINK_NOFOLLOW) {
                Ok(stat) => stat,
                Err(Errno::NOENT) => continue,
                Err(e) => return Err(PathError::call("examining", &path, e).into()),
            };
            let is_mount_point = stat.st_dev != self.device && is_mount_point(parent, &entry.name);
            let is_directory = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
            (self.visit)(&Node {
                path: &path,
                stat: &stat,
                is_mount_point,
                parent,
                name: &entry.name,
            })?;
            if !is_directory || is_mount_point {
                continue;
            }
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            match rustix::fs::openat(parent, &entry.name, flags, Mode::empty()) {
                Ok(child) => self.directory(child.as_fd(), &path, depth + 1)?,
                Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => {}
                Err(e) => return Err(PathError::call("opening", &path, e).into()),
            }
        }
        Ok(())
    }
}
