//! Files as this program's own root shows them, and failures as the daemon is told them.

use std::ffi::OsStr;
use std::fs::{File, Metadata};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::protocol::{Attributes, Kind, Reply};
use rustix::fs::{AtFlags, CWD, Gid, Mode, OFlags, Uid};
use rustix::io::Errno;

/// What the kernel refused.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Failed {
    doing: &'static str,
    errno: Errno,
}

impl Failed {
    /// A failure of what was being done.
    pub(crate) fn new(doing: &'static str, errno: Errno) -> Self {
        Self { doing, errno }
    }

    /// Makes failures of system calls.
    pub(crate) fn doing(doing: &'static str) -> impl FnOnce(Errno) -> Self {
        move |errno| Self { doing, errno }
    }

    /// Makes failures of the standard library's calls.
    pub(crate) fn io(doing: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |error| {
            let errno = Errno::from_io_error(&error).unwrap_or(Errno::IO);
            Self { doing, errno }
        }
    }

    /// The kernel's answer.
    pub(crate) fn errno(self) -> Errno {
        self.errno
    }

    /// What the daemon is told.
    pub(crate) fn reply(self) -> Reply {
        Reply::Failed {
            doing: self.doing.to_owned(),
            errno: self.errno.raw_os_error(),
        }
    }
}

/// A path as it came, seen from the root.
pub(crate) fn path(bytes: &[u8]) -> PathBuf {
    Path::new("/").join(OsStr::from_bytes(bytes))
}

/// Opens a regular file: never a pipe, which would wait for somebody, nor a device, which would act. The flags are
/// checked against what is there before and after.
pub(crate) fn open(path: &Path, flags: OFlags, mode: u32) -> Result<File, Failed> {
    match std::fs::metadata(path) {
        Ok(found) => check(&found)?,
        // It may be about to be made.
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(Failed::io("stat")(error)),
    }
    let flags = flags | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    let opened = rustix::fs::openat(CWD, path, flags, Mode::from_raw_mode(mode));
    let file = File::from(opened.map_err(Failed::doing("open"))?);
    check(&file.metadata().map_err(Failed::io("stat"))?)?;
    Ok(file)
}

fn check(found: &Metadata) -> Result<(), Failed> {
    if found.is_dir() {
        Err(Failed::new("open", Errno::ISDIR))
    } else if found.is_file() {
        Ok(())
    } else {
        Err(Failed::new("open", Errno::OPNOTSUPP))
    }
}

/// What the daemon is told of something.
pub(crate) fn attributes(found: &Metadata) -> Attributes {
    let kind = match found.file_type() {
        kind if kind.is_file() => Kind::File,
        kind if kind.is_dir() => Kind::Directory,
        kind if kind.is_symlink() => Kind::Link,
        _ => Kind::Other,
    };
    Attributes {
        kind,
        uid: found.uid(),
        gid: found.gid(),
        mode: found.mode() & 0o7777,
        size: found.size(),
        modified: found.mtime(),
    }
}

/// Changes the owner of what is at a path, not of what a link there leads to.
pub(crate) fn set_owner(path: &Path, uid: Option<u32>, gid: Option<u32>) -> Result<(), Failed> {
    let (uid, gid) = (uid.map(Uid::from_raw), gid.map(Gid::from_raw));
    rustix::fs::chownat(CWD, path, uid, gid, AtFlags::SYMLINK_NOFOLLOW).map_err(Failed::doing("chown"))
}
