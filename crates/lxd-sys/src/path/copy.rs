//! Copying trees with everything that a root file system has, sharing blocks where the file system can.

use std::collections::{HashMap, HashSet};
use std::ffi::{CStr, OsStr, OsString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, SeekFrom, Stat, Timespec, Timestamps, XattrFlags};
use rustix::io::Errno;

use super::reuse;
use super::{DEPTH_MAX, Entry, PathError, chown_at, entries, is_mount_point, open_directory, proc_path};

/// Files up to this size are copied through the buffer, which is quicker than asking for anything cleverer.
const SMALL: u64 = 64 * 1024;

/// How much is copied between two looks at the callback.
const CHUNK: usize = 4 * 1024 * 1024;

/// What [`copy_tree`] is to do and whom to tell.
pub struct CopyOptions<'a> {
    /// Called with the bytes of content copied since the last call; `false` stops the copy with [`PathError::Cancelled`].
    pub progress: &'a mut dyn FnMut(u64) -> bool,
    /// Whether to try sharing blocks (FICLONE) at all.
    pub reflink: bool,
}

/// What was copied.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Copied {
    /// Names made.
    pub entries: u64,
    /// Bytes of content, holes left out, shared ones included.
    pub bytes: u64,
    /// Files that share their blocks with the source.
    pub reflinked: u64,
    /// Files that are those of the base.
    pub reused: u64,
}

/// Makes the directory `target` a copy of the directory `source`: owners, modes, times, extended attributes (so ACLs and capabilities too), hard
/// links, holes, devices. `target` may exist; what is in it must not collide. Other mounts in the source are left out.
///
/// On failure what was made so far stays: copy into a staging directory.
pub fn copy_tree(source: &Path, target: &Path, options: CopyOptions<'_>) -> Result<Copied, PathError> {
    copy(source, target, None, options)
}

/// The same, but a file that the directory `base` has at the same place with the same content, owner, mode, time and attributes is not
/// copied: the target gets a hard link to it. So `base` must be about to go, and nobody may write to it meanwhile. A `base` that is not
/// there, or on another file system, is no error.
pub fn copy_tree_reusing(
    source: &Path,
    target: &Path,
    base: &Path,
    options: CopyOptions<'_>,
) -> Result<Copied, PathError> {
    let base = open_directory(CWD, base).ok();
    copy(source, target, base.as_ref().map(AsFd::as_fd), options)
}

fn copy(
    source: &Path,
    target: &Path,
    base: Option<BorrowedFd<'_>>,
    options: CopyOptions<'_>,
) -> Result<Copied, PathError> {
    let from = open_directory(CWD, source).map_err(|e| PathError::call("opening", source, e))?;
    match rustix::fs::mkdirat(CWD, target, Mode::from_raw_mode(0o700)) {
        Ok(()) | Err(Errno::EXIST) => {}
        Err(e) => return Err(PathError::call("creating the directory", target, e)),
    }
    let to = open_directory(CWD, target).map_err(|e| PathError::call("opening", target, e))?;
    let stat = rustix::fs::fstat(&from).map_err(|e| PathError::call("examining", source, e))?;
    let mut copy = Copy {
        top: to.as_fd(),
        device: stat.st_dev,
        links: HashMap::new(),
        reused: HashSet::new(),
        progress: options.progress,
        reflink: options.reflink,
        range: true,
        done: Copied::default(),
        buffer: vec![0; SMALL as usize],
        listing: Vec::new(),
    };
    copy.directory(
        from.as_fd(),
        to.as_fd(),
        &Place {
            source,
            relative: Path::new(""),
            depth: 0,
            base,
        },
    )?;
    finish(from.as_fd(), to.as_fd(), &stat).map_err(|e| PathError::call("copying", source, e))?;
    Ok(copy.done)
}

/// Makes `target` a directory with owner, mode, times and attributes of the directory `source`, and nothing in it.
pub fn copy_directory(source: &Path, target: &Path) -> Result<(), PathError> {
    let failed = |e: Errno| PathError::call("copying", source, e);
    let from = open_directory(CWD, source).map_err(failed)?;
    rustix::fs::mkdirat(CWD, target, Mode::from_raw_mode(0o700))
        .map_err(|e| PathError::call("creating the directory", target, e))?;
    let to = open_directory(CWD, target).map_err(|e| PathError::call("opening", target, e))?;
    let stat = rustix::fs::fstat(&from).map_err(failed)?;
    finish(from.as_fd(), to.as_fd(), &stat).map_err(failed)
}

/// Where the walk is.
struct Place<'a> {
    source: &'a Path,
    relative: &'a Path,
    depth: usize,
    /// What the base has there, for directories; the directory that it is in, for what is in it.
    base: Option<BorrowedFd<'a>>,
}

struct Copy<'a> {
    top: BorrowedFd<'a>,
    device: u64,
    /// First copies of files with several names, by device and inode, relative to the top.
    links: HashMap<(u64, u64), PathBuf>,
    /// Files of the base that have their second name already.
    reused: HashSet<u64>,
    progress: &'a mut dyn FnMut(u64) -> bool,
    reflink: bool,
    range: bool,
    done: Copied,
    buffer: Vec<u8>,
    listing: Vec<u8>,
}

impl Copy<'_> {
    fn directory(
        &mut self,
        from: BorrowedFd<'_>,
        to: BorrowedFd<'_>,
        place: &Place<'_>,
    ) -> Result<(), PathError> {
        if place.depth > DEPTH_MAX {
            return Err(PathError::TooDeep {
                path: place.source.to_path_buf(),
            });
        }
        let found = match entries(from, &mut self.listing) {
            // It was removed while it was open.
            Err(Errno::NOENT) => Vec::new(),
            found => found.map_err(|e| PathError::call("listing", place.source, e))?,
        };
        for entry in found {
            let source = entry.path_in(place.source);
            let relative = entry.path_in(place.relative);
            let below = Place {
                source: &source,
                relative: &relative,
                depth: place.depth + 1,
                base: place.base,
            };
            self.entry(from, to, &entry, &below)?;
        }
        Ok(())
    }

    fn entry(
        &mut self,
        from: BorrowedFd<'_>,
        to: BorrowedFd<'_>,
        entry: &Entry,
        place: &Place<'_>,
    ) -> Result<(), PathError> {
        let failed = |e: Errno| match e {
            Errno::CANCELED => PathError::Cancelled,
            e => PathError::call("copying", place.source, e),
        };
        let name = entry.name.as_c_str();
        // Whoever uses the source may remove things meanwhile: the copy is one without them.
        let stat = match rustix::fs::statat(from, name, AtFlags::SYMLINK_NOFOLLOW) {
            Err(Errno::NOENT) => return Ok(()),
            found => found.map_err(failed)?,
        };
        if stat.st_dev != self.device && is_mount_point(from, name) {
            // A mount point is copied as the empty directory that it covers.
            if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
                rustix::fs::mkdirat(to, name, Mode::from_raw_mode(0o755)).map_err(failed)?;
            }
            return Ok(());
        }
        self.done.entries += 1;
        if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
            let source = match open_nofollow(from, name, OFlags::RDONLY | OFlags::DIRECTORY) {
                Err(Errno::NOENT) => return Ok(()),
                found => found.map_err(failed)?,
            };
            rustix::fs::mkdirat(to, name, Mode::from_raw_mode(0o700)).map_err(failed)?;
            let target = open_nofollow(to, name, OFlags::RDONLY | OFlags::DIRECTORY).map_err(failed)?;
            let base = place
                .base
                .and_then(|base| open_nofollow(base, name, OFlags::RDONLY | OFlags::DIRECTORY).ok());
            let below = Place {
                base: base.as_ref().map(AsFd::as_fd),
                ..*place
            };
            self.directory(source.as_fd(), target.as_fd(), &below)?;
            return finish(source.as_fd(), target.as_fd(), &stat).map_err(failed);
        }
        match self.leaf(from, to, (entry, &stat), place) {
            Err(Errno::NOENT) if is_gone(from, entry) => {
                self.links.retain(|_, first| first != place.relative)
            }
            result => result.map_err(failed)?,
        }
        // An empty step lets the callback end a copy of many small files.
        if self.done.entries.is_multiple_of(256) && !(self.progress)(0) {
            return Err(PathError::Cancelled);
        }
        Ok(())
    }

    /// What is no directory.
    // Never inlined into the recursion, whose frames would carry its variables.
    #[inline(never)]
    fn leaf(
        &mut self,
        from: BorrowedFd<'_>,
        to: BorrowedFd<'_>,
        (entry, stat): (&Entry, &Stat),
        place: &Place<'_>,
    ) -> rustix::io::Result<()> {
        let name = entry.name.as_c_str();
        if stat.st_nlink > 1 {
            if let Some(first) = self.links.get(&(stat.st_dev, stat.st_ino)) {
                return rustix::fs::linkat(self.top, first, to, name, AtFlags::empty());
            }
            self.links
                .insert((stat.st_dev, stat.st_ino), place.relative.to_path_buf());
        }
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => {
                let base = place.base;
                let is_there = base.is_some_and(|base| self.reuse((base, from, to), name, stat));
                if !is_there {
                    self.file(from, to, name, stat)?;
                }
            }
            other => copy_node(from, to, name, (stat, other))?,
        }
        Ok(())
    }

    fn file(
        &mut self,
        from: BorrowedFd<'_>,
        to: BorrowedFd<'_>,
        name: &CStr,
        stat: &Stat,
    ) -> rustix::io::Result<()> {
        let source = open_nofollow(from, name, OFlags::RDONLY | OFlags::NONBLOCK)?;
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let target = rustix::fs::openat(to, name, flags, Mode::from_raw_mode(0o600))?;
        self.content(&source, &target, stat)?;
        finish(source.as_fd(), target.as_fd(), stat)
    }

    /// Links the base's file if it is the same as the source's. Whatever speaks against it leads to a copy.
    fn reuse(
        &mut self,
        (base, from, to): (BorrowedFd<'_>, BorrowedFd<'_>, BorrowedFd<'_>),
        name: &CStr,
        stat: &Stat,
    ) -> bool {
        let Ok(old) = rustix::fs::statat(base, name, AtFlags::SYMLINK_NOFOLLOW) else {
            return false;
        };
        if !reuse::looks_same(&old, stat) || self.reused.contains(&old.st_ino) {
            return false;
        }
        let flags = OFlags::RDONLY | OFlags::NONBLOCK;
        let (Ok(ours), Ok(theirs)) = (open_nofollow(base, name, flags), open_nofollow(from, name, flags))
        else {
            return false;
        };
        let is_same = reuse::is_same(ours.as_fd(), theirs.as_fd(), &mut self.buffer).unwrap_or(false)
            && rustix::fs::linkat(base, name, to, name, AtFlags::empty()).is_ok();
        if is_same {
            self.reused.insert(old.st_ino);
            self.done.reused += 1;
        }
        is_same
    }

    fn content(&mut self, source: &OwnedFd, target: &OwnedFd, stat: &Stat) -> rustix::io::Result<()> {
        let size = u64::try_from(stat.st_size).unwrap_or(0);
        if size == 0 {
            return Ok(());
        }
        if self.reflink {
            match rustix::fs::ioctl_ficlone(target, source) {
                Ok(()) => {
                    self.done.reflinked += 1;
                    return self.tell(size);
                }
                // Another file system, or one that can't: don't ask again for each file.
                Err(Errno::OPNOTSUPP | Errno::XDEV | Errno::INVAL | Errno::NOTTY | Errno::NOSYS) => {
                    self.reflink = false
                }
                Err(e) => return Err(e),
            }
        }
        let sparse = u64::try_from(stat.st_blocks).unwrap_or(0) * 512 < size;
        if !sparse {
            return self.range(source, target, (0, size), size <= SMALL);
        }
        let mut position = 0;
        while position < size {
            let data = match rustix::fs::seek(source, SeekFrom::Data(position)) {
                Ok(data) => data,
                Err(Errno::NXIO) => break,
                Err(e) => return Err(e),
            };
            let end = rustix::fs::seek(source, SeekFrom::Hole(data))?.min(size);
            self.range(source, target, (data, end), end - data <= SMALL)?;
            position = end;
        }
        rustix::fs::ftruncate(target, size)
    }

    /// Copies the bytes from `start` to `end` to the same place.
    fn range(
        &mut self,
        source: &OwnedFd,
        target: &OwnedFd,
        (start, end): (u64, u64),
        small: bool,
    ) -> rustix::io::Result<()> {
        let mut position = start;
        while position < end {
            let want = usize::try_from(end - position).unwrap_or(CHUNK).min(CHUNK);
            let copied = if self.range && !small {
                let (mut read_at, mut write_at) = (position, position);
                match rustix::fs::copy_file_range(
                    source,
                    Some(&mut read_at),
                    target,
                    Some(&mut write_at),
                    want,
                ) {
                    Ok(n) => n,
                    Err(Errno::XDEV | Errno::OPNOTSUPP | Errno::INVAL | Errno::NOSYS) => {
                        self.range = false;
                        continue;
                    }
                    Err(Errno::INTR) => continue,
                    Err(e) => return Err(e),
                }
            } else {
                self.through_buffer(source, target, position, want)?
            };
            if copied == 0 {
                // The file has become shorter since; what is there is a copy of some moment.
                break;
            }
            position += copied as u64;
            self.tell(copied as u64)?;
        }
        Ok(())
    }

    fn through_buffer(
        &mut self,
        source: &OwnedFd,
        target: &OwnedFd,
        position: u64,
        want: usize,
    ) -> rustix::io::Result<usize> {
        let room = want.min(self.buffer.len());
        let (buffer, _) = self.buffer.split_at_mut(room);
        let count = rustix::io::retry_on_intr(|| rustix::io::pread(source, &mut *buffer, position))?;
        let mut rest = buffer.get(..count).unwrap_or_default();
        let mut at = position;
        while !rest.is_empty() {
            let written = rustix::io::retry_on_intr(|| rustix::io::pwrite(target, rest, at))?;
            rest = rest.get(written..).unwrap_or_default();
            at += written as u64;
        }
        Ok(count)
    }

    /// Counts, and asks whether to go on.
    fn tell(&mut self, bytes: u64) -> rustix::io::Result<()> {
        self.done.bytes += bytes;
        if (self.progress)(bytes) {
            Ok(())
        } else {
            Err(Errno::CANCELED)
        }
    }
}

fn is_gone(directory: BorrowedFd<'_>, entry: &Entry) -> bool {
    let found = rustix::fs::statat(directory, entry.name.as_c_str(), AtFlags::SYMLINK_NOFOLLOW);
    matches!(found, Err(Errno::NOENT))
}

/// Owner, attributes, mode, times: in this order, since a change of owner clears capabilities and setuid bits, and all change the times.
// Never inlined into the recursion, whose frames would carry its buffer.
#[inline(never)]
fn finish(from: BorrowedFd<'_>, to: BorrowedFd<'_>, stat: &Stat) -> rustix::io::Result<()> {
    rustix::fs::fchown(
        to,
        Some(rustix::fs::Uid::from_raw(stat.st_uid)),
        Some(rustix::fs::Gid::from_raw(stat.st_gid)),
    )?;
    let mut list = [0_u8; 4096];
    match rustix::fs::flistxattr(from, &mut list[..]) {
        Ok(0) | Err(Errno::OPNOTSUPP) => {}
        Ok(length) => copy_xattrs(
            list.get(..length).unwrap_or_default(),
            &proc_path(from),
            &proc_path(to),
        )?,
        Err(Errno::RANGE) => {
            let mut long = vec![0; rustix::fs::flistxattr(from, &mut [0_u8; 0][..])?];
            let length = rustix::fs::flistxattr(from, &mut long[..])?;
            copy_xattrs(
                long.get(..length).unwrap_or_default(),
                &proc_path(from),
                &proc_path(to),
            )?;
        }
        Err(e) => return Err(e),
    }
    rustix::fs::fchmod(to, Mode::from_raw_mode(stat.st_mode))?;
    rustix::fs::futimens(to, &times(stat))
}

/// Copies the attributes whose names stand in `list`, each ended by a NUL. The paths go through /proc, so they mean exactly the open files.
fn copy_xattrs(list: &[u8], from: &Path, to: &Path) -> rustix::io::Result<()> {
    let mut value = vec![0_u8; 1024];
    for name in list.split(|b| *b == 0).filter(|name| !name.is_empty()) {
        let name = OsStr::from_bytes(name);
        let length = loop {
            match rustix::fs::getxattr(from, name, &mut value[..]) {
                Err(Errno::RANGE) if value.len() < 1 << 20 => value.resize(value.len() * 8, 0),
                result => break result?,
            }
        };
        match rustix::fs::setxattr(
            to,
            name,
            value.get(..length).unwrap_or_default(),
            XattrFlags::empty(),
        ) {
            // The target's file system has none of this kind, as with `cp -a`.
            Ok(()) | Err(Errno::OPNOTSUPP) => {}
            Err(e) => return Err(e),
        }
    }
    Ok(())
}

/// Symbolic links, devices, pipes, sockets.
#[inline(never)]
fn copy_node(
    from: BorrowedFd<'_>,
    to: BorrowedFd<'_>,
    name: &CStr,
    (stat, file_type): (&Stat, FileType),
) -> rustix::io::Result<()> {
    if file_type == FileType::Symlink {
        let target = rustix::fs::readlinkat(from, name, Vec::new())?;
        rustix::fs::symlinkat(OsString::from_vec(target.into_bytes()), to, name)?;
    } else {
        rustix::fs::mknodat(
            to,
            name,
            file_type,
            Mode::from_raw_mode(stat.st_mode),
            stat.st_rdev,
        )?;
    }
    chown_at(to, name, stat.st_uid, stat.st_gid)?;
    let last = OsStr::from_bytes(name.to_bytes());
    let (source, target) = (proc_path(from).join(last), proc_path(to).join(last));
    let mut list = [0_u8; 1024];
    if let Ok(length @ 1..) = rustix::fs::llistxattr(&source, &mut list[..]) {
        let mut value = [0_u8; 4096];
        for name in list
            .get(..length)
            .unwrap_or_default()
            .split(|b| *b == 0)
            .filter(|n| !n.is_empty())
        {
            let name = OsStr::from_bytes(name);
            let size = rustix::fs::lgetxattr(&source, name, &mut value[..])?;
            rustix::fs::lsetxattr(
                &target,
                name,
                value.get(..size).unwrap_or_default(),
                XattrFlags::empty(),
            )?;
        }
    }
    if file_type != FileType::Symlink {
        rustix::fs::chmodat(to, name, Mode::from_raw_mode(stat.st_mode), AtFlags::empty())?;
    }
    rustix::fs::utimensat(to, name, &times(stat), AtFlags::SYMLINK_NOFOLLOW)
}

fn open_nofollow(base: BorrowedFd<'_>, name: &CStr, flags: OFlags) -> rustix::io::Result<OwnedFd> {
    rustix::fs::openat(
        base,
        name,
        flags | OFlags::NOFOLLOW | OFlags::CLOEXEC,
        Mode::empty(),
    )
}

fn times(stat: &Stat) -> Timestamps {
    Timestamps {
        last_access: Timespec {
            tv_sec: stat.st_atime,
            tv_nsec: stat.st_atime_nsec as i64,
        },
        last_modification: Timespec {
            tv_sec: stat.st_mtime,
            tv_nsec: stat.st_mtime_nsec as i64,
        },
    }
}
