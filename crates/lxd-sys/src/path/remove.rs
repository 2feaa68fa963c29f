//! Removing trees by descriptor: no path is resolved twice, so nobody can swap a link in.

use std::ffi::OsStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags};
use rustix::io::Errno;

use super::{Entry, PathError, entries};

/// Levels walked with descriptors open; what lies deeper is first renamed to the top.
const LEVELS: usize = 64;

/// Removes whatever is at `path`, with all beneath it. A missing path is fine; a mount point in it is an error.
pub fn remove_tree(path: &Path) -> Result<(), PathError> {
    remove_at(CWD, path.as_os_str(), path)
}

/// Removes all that is in the directory at `path`, but not itself. A missing directory is fine.
pub fn remove_contents(path: &Path) -> Result<(), PathError> {
    match open(CWD, path.as_os_str()) {
        Ok(top) => Remover {
            top: top.as_fd(),
            path,
            buffer: Vec::new(),
            moved: 0,
        }
        .contents(),
        Err(Errno::NOENT) => Ok(()),
        Err(e) => Err(PathError::call("opening", path, e)),
    }
}

/// The same for a name in an open directory; `path` is for messages.
pub(super) fn remove_at(base: BorrowedFd<'_>, name: &OsStr, path: &Path) -> Result<(), PathError> {
    match rustix::fs::unlinkat(base, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => return Ok(()),
        Err(Errno::ISDIR | Errno::PERM) => {}
        Err(e) => return Err(PathError::call("removing", path, e)),
    }
    let top = match open(base, name) {
        Ok(top) => top,
        Err(Errno::NOENT) => return Ok(()),
        Err(e) => return Err(PathError::call("removing", path, e)),
    };
    Remover {
        top: top.as_fd(),
        path,
        buffer: Vec::new(),
        moved: 0,
    }
    .contents()?;
    match rustix::fs::unlinkat(base, name, AtFlags::REMOVEDIR) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(e) => Err(PathError::call("removing", path, e)),
    }
}

fn open<P: rustix::path::Arg>(base: BorrowedFd<'_>, name: P) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(base, name, flags, Mode::empty())
}

struct Remover<'a> {
    top: BorrowedFd<'a>,
    path: &'a Path,
    buffer: Vec<u8>,
    moved: u64,
}

impl Remover<'_> {
    /// Until the top is empty: a round ends with what was too deep lying at the top.
    fn contents(&mut self) -> Result<(), PathError> {
        loop {
            let before = self.moved;
            rustix::fs::seek(self.top, rustix::fs::SeekFrom::Start(0))
                .map_err(|e| PathError::call("listing", self.path, e))?;
            self.directory(self.top, self.path, 0)?;
            if self.moved == before {
                return Ok(());
            }
        }
    }

    fn directory(&mut self, fd: BorrowedFd<'_>, path: &Path, depth: usize) -> Result<(), PathError> {
        let found = entries(fd, &mut self.buffer).map_err(|e| PathError::call("listing", path, e))?;
        for entry in found {
            self.entry(fd, &entry, path, depth)?;
        }
        Ok(())
    }

    fn entry(
        &mut self,
        fd: BorrowedFd<'_>,
        entry: &Entry,
        path: &Path,
        depth: usize,
    ) -> Result<(), PathError> {
        let name = entry.name.as_c_str();
        if entry.file_type != FileType::Directory {
            match rustix::fs::unlinkat(fd, name, AtFlags::empty()) {
                Ok(()) | Err(Errno::NOENT) => return Ok(()),
                Err(Errno::ISDIR) => {}
                Err(e) => return Err(PathError::call("removing", &entry.path_in(path), e)),
            }
        }
        let below = entry.path_in(path);
        let child = match open(fd, name) {
            Ok(child) => child,
            Err(Errno::NOENT) => return Ok(()),
            Err(e) => return Err(PathError::call("removing", &below, e)),
        };
        if depth >= LEVELS {
            return self.lift(fd, name, &below);
        }
        self.directory(child.as_fd(), &below, depth + 1)?;
        match rustix::fs::unlinkat(fd, name, AtFlags::REMOVEDIR) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            // A directory deeper down was lifted to the top, which can't leave this one filled: somebody writes here.
            Err(e) => Err(PathError::call("removing", &below, e)),
        }
    }

    /// Moves a directory to the top, where the next round finds it.
    fn lift(&mut self, fd: BorrowedFd<'_>, name: &std::ffi::CStr, path: &Path) -> Result<(), PathError> {
        loop {
            self.moved += 1;
            let lifted = PathBuf::from(format!(".removing-{}", self.moved));
            let flags = rustix::fs::RenameFlags::NOREPLACE;
            match rustix::fs::renameat_with(fd, OsStr::from_bytes(name.to_bytes()), self.top, &lifted, flags)
            {
                Ok(()) => return Ok(()),
                Err(Errno::EXIST) => {}
                Err(e) => return Err(PathError::call("removing", path, e)),
            }
        }
    }
}
