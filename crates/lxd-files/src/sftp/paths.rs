//! Requests about paths.

use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{AtFlags, CWD, Mode, OFlags, RenameFlags, Timespec, Timestamps};
use rustix::io::Errno;

use super::packet::{Attributes, Fields, Packet, Status};
use super::{ATTRS, Answer, EXTENDED_REPLY, NAME, Refusal, ok};
use crate::files::{self, Failed};

fn path(fields: &mut Fields<'_>) -> Result<PathBuf, Status> {
    fields.byte_string().map(files::path)
}

pub(super) fn stat(id: u32, fields: &mut Fields<'_>, follow: bool) -> Answer {
    let path = path(fields)?;
    let found = if follow {
        std::fs::metadata(&path)
    } else {
        std::fs::symlink_metadata(&path)
    };
    let found = found.map_err(Failed::io("stat"))?;
    Ok(Packet::answer(ATTRS, id).attributes(&found))
}

pub(super) fn set(id: u32, fields: &mut Fields<'_>) -> Answer {
    let (path, wanted) = (path(fields)?, fields.attributes()?);
    apply(&path, wanted)?;
    ok(id)
}

/// Sets what a client wants of what is at a path. As with other servers, links are followed.
pub(super) fn apply(path: &Path, wanted: Attributes) -> Result<(), Failed> {
    if let Some(size) = wanted.size {
        let file = files::open(path, OFlags::WRONLY, 0)?;
        rustix::fs::ftruncate(&file, size).map_err(Failed::doing("truncate"))?;
    }
    if let Some((uid, gid)) = wanted.ids {
        let (uid, gid) = (rustix::fs::Uid::from_raw(uid), rustix::fs::Gid::from_raw(gid));
        rustix::fs::chown(path, Some(uid), Some(gid)).map_err(Failed::doing("chown"))?;
    }
    if let Some(mode) = wanted.mode {
        rustix::fs::chmod(path, Mode::from_raw_mode(mode & 0o7777)).map_err(Failed::doing("chmod"))?;
    }
    if let Some(times) = wanted.times {
        rustix::fs::utimensat(CWD, path, &timestamps(times), AtFlags::empty())
            .map_err(Failed::doing("utimes"))?;
    }
    Ok(())
}

/// Access and modification time as the kernel wants them.
pub(super) fn timestamps((accessed, modified): (u32, u32)) -> Timestamps {
    let time = |seconds: u32| Timespec {
        tv_sec: seconds.into(),
        tv_nsec: 0,
    };
    Timestamps {
        last_access: time(accessed),
        last_modification: time(modified),
    }
}

pub(super) fn remove(id: u32, fields: &mut Fields<'_>) -> Answer {
    rustix::fs::unlink(path(fields)?).map_err(Failed::doing("remove"))?;
    ok(id)
}

pub(super) fn make_directory(id: u32, fields: &mut Fields<'_>) -> Answer {
    let (path, wanted) = (path(fields)?, fields.attributes()?);
    let mode = Mode::from_raw_mode(wanted.mode.unwrap_or(0o755) & 0o7777);
    rustix::fs::mkdir(path, mode).map_err(Failed::doing("mkdir"))?;
    ok(id)
}

pub(super) fn remove_directory(id: u32, fields: &mut Fields<'_>) -> Answer {
    rustix::fs::rmdir(path(fields)?).map_err(Failed::doing("rmdir"))?;
    ok(id)
}

/// The path without `.` and `..`; links are left alone, as what is there need not exist.
pub(super) fn real_path(id: u32, fields: &mut Fields<'_>) -> Answer {
    let mut clean = PathBuf::from("/");
    for part in path(fields)?.components() {
        match part {
            Component::Normal(name) => clean.push(name),
            Component::ParentDir => {
                clean.pop();
            }
            _ => {}
        }
    }
    Ok(name(id, &clean))
}

pub(super) fn read_link(id: u32, fields: &mut Fields<'_>) -> Answer {
    let target = std::fs::read_link(path(fields)?).map_err(Failed::io("readlink"))?;
    Ok(name(id, &target))
}

/// The draft has the arguments the other way round, but everybody sends what the link says first.
pub(super) fn make_link(id: u32, fields: &mut Fields<'_>) -> Answer {
    let (target, path) = (fields.byte_string()?, path(fields)?);
    rustix::fs::symlink(target, path).map_err(Failed::doing("symlink"))?;
    ok(id)
}

pub(super) fn hard_link(id: u32, fields: &mut Fields<'_>) -> Answer {
    let (old, new) = (path(fields)?, path(fields)?);
    rustix::fs::link(old, new).map_err(Failed::doing("link"))?;
    ok(id)
}

/// Without `replace`, a file that is there is in the way, as version 3 has it.
pub(super) fn rename(id: u32, fields: &mut Fields<'_>, replace: bool) -> Answer {
    let (old, new) = (path(fields)?, path(fields)?);
    let renamed = if replace {
        rustix::fs::rename(old, new)
    } else {
        match rustix::fs::renameat_with(CWD, &old, CWD, &new, RenameFlags::NOREPLACE) {
            // File systems that can't tell.
            Err(Errno::INVAL) if std::fs::symlink_metadata(&new).is_err() => rustix::fs::rename(old, new),
            renamed => renamed,
        }
    };
    renamed.map_err(Failed::doing("rename"))?;
    ok(id)
}

pub(super) fn statvfs(id: u32, fields: &mut Fields<'_>) -> Answer {
    let found = rustix::fs::statvfs(path(fields)?).map_err(Failed::doing("statvfs"))?;
    let numbers = [
        found.f_bsize,
        found.f_frsize,
        found.f_blocks,
        found.f_bfree,
        found.f_bavail,
        found.f_files,
        found.f_ffree,
        found.f_favail,
        found.f_fsid,
        found.f_flag.bits() & 3,
        found.f_namemax,
    ];
    let packet = Packet::answer(EXTENDED_REPLY, id);
    Ok(numbers.into_iter().fold(packet, Packet::long))
}

fn name(id: u32, path: &Path) -> Packet {
    let bytes = path.as_os_str().as_bytes();
    Packet::answer(NAME, id)
        .number(1)
        .byte_string(bytes)
        .byte_string(bytes)
        .number(0)
}

impl From<io::Error> for Refusal {
    fn from(error: io::Error) -> Self {
        Self::Failed(Failed::io("access")(error))
    }
}
