//! Changing the owners in a tree from one id map to another, in place and by several threads; one that was killed can be ended.

use std::collections::{BTreeMap, HashSet};
use std::ffi::{CString, OsStr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::{Condvar, Mutex};
use rustix::fs::{
    AtFlags, CWD, FileType, Mode, OFlags, Statx, StatxAttributes, StatxFlags, Timestamps, XattrFlags,
};
use rustix::io::Errno;

use super::owners::{self, Owners};
use super::{DEPTH_MAX, PathError, chown_at, entries, open_directory, proc_path};

/// Says what a file was before its change began: who finds it there makes the change anew.
const MARK: &str = "trusted.lxd.shift";

/// Room for the names of a file's attributes, and for the value of each.
const ATTRIBUTES_MAX: usize = 64 * 1024;

/// How many files are changed between two looks at the callback.
const BATCH: u64 = 256;

/// A moment by the clock of a file system: all that is changed later has a later change time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment {
    /// Seconds since 1970.
    pub seconds: i64,
    /// Nanoseconds.
    pub nanoseconds: u32,
}

impl Moment {
    /// Now, on the file system of an open file, whose times are changed for it. Waits for the clock's next tick.
    ///
    /// # Errors
    /// The file's times can't be changed.
    pub fn now(file: impl AsFd) -> std::io::Result<Self> {
        let now = rustix::fs::Timespec {
            tv_sec: 0,
            tv_nsec: rustix::fs::UTIME_NOW,
        };
        let look = || -> rustix::io::Result<Self> {
            let times = Timestamps {
                last_access: now,
                last_modification: now,
            };
            rustix::fs::futimens(&file, &times)?;
            let stat = rustix::fs::statx(&file, "", AtFlags::EMPTY_PATH, StatxFlags::CTIME)?;
            Ok(Self::of(&stat))
        };
        let before = look()?;
        while look()? <= before {
            std::thread::sleep(std::time::Duration::from_micros(500));
        }
        Ok(before)
    }

    fn of(stat: &Statx) -> Self {
        Self {
            seconds: stat.stx_ctime.tv_sec,
            nanoseconds: stat.stx_ctime.tv_nsec,
        }
    }
}

/// Which files [`shift_tree`] changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extent {
    /// All of them.
    Whole,
    /// Those that were not changed since: the end of a shift that was stopped.
    Rest(Moment),
    /// Those that were changed since, back to what they were: the undoing of a shift that was stopped.
    Back(Moment),
}

/// What [`shift_tree`] is to do, and whom to tell.
pub struct ShiftOptions<'a> {
    /// How ids become other ids.
    pub owners: &'a Owners,
    /// Which part of the tree.
    pub extent: Extent,
    /// Called with the number of files looked at since the last call, from any thread; `false` ends the work with
    /// [`PathError::Cancelled`].
    pub progress: &'a (dyn Fn(u64) -> bool + Sync),
}

/// Changes owners, groups, access control lists and capabilities of everything in a tree that nobody else uses. Links are not
/// followed, other mounts left out. The top comes last, and what was done before is on disk when this ends.
///
/// On failure a part is done: [`Extent`] says how that goes on.
///
/// # Errors
/// A file can't be changed; the callback asked to stop; the tree is too deep.
pub fn shift_tree(top: &Path, options: &ShiftOptions<'_>) -> Result<u64, PathError> {
    let failed = |e: Errno| PathError::call("opening", top, e);
    let root = open_directory(CWD, top).map_err(failed)?;
    let first = Directory {
        fd: rustix::io::fcntl_dupfd_cloexec(&root, 0).map_err(failed)?,
        path: top.to_path_buf(),
        depth: 0,
    };
    let shift = Shift {
        options,
        state: Mutex::new(State {
            waiting: vec![(Arc::new(first), c".".to_owned())],
            ..State::default()
        }),
        changed: Condvar::new(),
        links: Mutex::default(),
    };
    let threads = std::thread::available_parallelism().map_or(1, |n| n.get().min(4));
    std::thread::scope(|scope| {
        for _ in 1..threads {
            scope.spawn(|| shift.run());
        }
        shift.run();
    });
    let state = shift.state.into_inner();
    if let Some(error) = state.error {
        return Err(error);
    }
    let worker = Worker::new(options);
    worker.change(root.as_fd(), c".", top)?;
    // The journal of a file system keeps the order: with the top everything is there.
    rustix::fs::fsync(&root).map_err(|e| PathError::call("writing", top, e))?;
    Ok(state.done + 1)
}

struct Directory {
    fd: OwnedFd,
    path: PathBuf,
    depth: usize,
}

#[derive(Default)]
struct State {
    /// Directories that nobody has gone through, each by the one that it is in.
    waiting: Vec<(Arc<Directory>, CString)>,
    /// Threads that go through one, and may find more.
    busy: usize,
    error: Option<PathError>,
    done: u64,
}

/// What the threads share.
struct Shift<'a> {
    options: &'a ShiftOptions<'a>,
    state: Mutex<State>,
    changed: Condvar,
    /// Files with several names that were changed by one of them.
    links: Mutex<HashSet<(u64, u64)>>,
}

impl Shift<'_> {
    fn run(&self) {
        let worker = Worker::new(self.options);
        let mut listing = Vec::new();
        while let Some((parent, name)) = self.take() {
            let result = self.directory(&worker, &parent, &name, &mut listing);
            let mut state = self.state.lock();
            state.busy -= 1;
            if let Err(error) = result {
                state.error.get_or_insert(error);
                state.waiting.clear();
            }
            self.changed.notify_all();
        }
    }

    /// The next directory; none when there will be no more.
    fn take(&self) -> Option<(Arc<Directory>, CString)> {
        let mut state = self.state.lock();
        loop {
            if state.error.is_some() {
                return None;
            }
            if let Some(next) = state.waiting.pop() {
                state.busy += 1;
                return Some(next);
            }
            if state.busy == 0 {
                return None;
            }
            self.changed.wait(&mut state);
        }
    }

    fn directory(
        &self,
        worker: &Worker<'_>,
        parent: &Directory,
        name: &CString,
        listing: &mut Vec<u8>,
    ) -> Result<(), PathError> {
        let path = below(&parent.path, name);
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = match rustix::fs::openat(&parent.fd, name, flags, Mode::empty()) {
            Ok(fd) => fd,
            Err(Errno::NOENT) => return Ok(()),
            Err(e) => return Err(PathError::call("opening", &path, e)),
        };
        if parent.depth > DEPTH_MAX {
            return Err(PathError::TooDeep { path });
        }
        let listed = entries(fd.as_fd(), listing).map_err(|e| PathError::call("listing", &path, e))?;
        let here = Arc::new(Directory {
            fd,
            path,
            depth: parent.depth + 1,
        });
        let mut found = Vec::new();
        let mut count = 0;
        for entry in listed {
            count += 1;
            if count % BATCH == 0 {
                self.tell(BATCH)?;
            }
            if self.entry(worker, &here, &entry.name)? {
                found.push((Arc::clone(&here), entry.name));
            }
        }
        self.tell(count % BATCH)?;
        self.state.lock().waiting.append(&mut found);
        Ok(())
    }

    /// Changes one thing; says whether it is a directory to go through.
    fn entry(&self, worker: &Worker<'_>, parent: &Directory, name: &CString) -> Result<bool, PathError> {
        let path = || below(&parent.path, name);
        let flags = AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT;
        let stat = match rustix::fs::statx(&parent.fd, name, flags, StatxFlags::BASIC_STATS) {
            Ok(stat) => stat,
            Err(Errno::NOENT) => return Ok(false),
            Err(e) => return Err(PathError::call("examining", &path(), e)),
        };
        if stat.stx_attributes.contains(StatxAttributes::MOUNT_ROOT) {
            return Ok(false);
        }
        let is_directory = file_type(&stat) == FileType::Directory;
        let device = u64::from(stat.stx_dev_major) << 32 | u64::from(stat.stx_dev_minor);
        if !is_directory && stat.stx_nlink > 1 && !self.links.lock().insert((device, stat.stx_ino)) {
            return Ok(false);
        }
        worker.node(parent.fd.as_fd(), name, (&stat, &path))?;
        Ok(is_directory)
    }

    fn tell(&self, count: u64) -> Result<(), PathError> {
        self.state.lock().done += count;
        match (self.options.progress)(count) {
            true => Ok(()),
            false => Err(PathError::Cancelled),
        }
    }
}

/// Changes single things.
struct Worker<'a> {
    owners: &'a Owners,
    /// The way back, where that is wanted.
    back: Option<Owners>,
    extent: Extent,
}

impl<'a> Worker<'a> {
    fn new(options: &'a ShiftOptions<'a>) -> Self {
        Self {
            owners: options.owners,
            back: matches!(options.extent, Extent::Back(_)).then(|| options.owners.clone().reversed()),
            extent: options.extent,
        }
    }

    fn change(&self, parent: BorrowedFd<'_>, name: &std::ffi::CStr, path: &Path) -> Result<(), PathError> {
        let stat = rustix::fs::statx(parent, name, AtFlags::SYMLINK_NOFOLLOW, StatxFlags::BASIC_STATS)
            .map_err(|e| PathError::call("examining", path, e))?;
        self.node(parent, name, (&stat, &|| path.to_path_buf()))
    }

    fn node(
        &self,
        parent: BorrowedFd<'_>,
        name: &std::ffi::CStr,
        (stat, path): (&Statx, &dyn Fn() -> PathBuf),
    ) -> Result<(), PathError> {
        let failed = |e: Errno| PathError::call("changing the owner of", &path(), e);
        // Links can have none of the attributes that matter here.
        let node = Node {
            parent,
            name,
            file: (file_type(stat) != FileType::Symlink)
                .then(|| proc_path(parent).join(OsStr::from_bytes(name.to_bytes()))),
        };
        let mut attributes = node.attributes().map_err(failed)?;
        let marked = attributes
            .remove(MARK)
            .filter(|_| self.extent != Extent::Whole)
            .and_then(|mark| Before::decode(&mark));
        let is_marked = marked.is_some();
        if !is_marked && !self.is_wanted(stat) {
            return Ok(());
        }
        let owners = match (&self.back, is_marked) {
            (None, _) => Some(self.owners),
            // The mark says what it was.
            (Some(_), true) => None,
            (Some(back), false) => Some(back),
        };
        let before = marked.unwrap_or_else(|| Before {
            uid: stat.stx_uid,
            gid: stat.stx_gid,
            mode: u32::from(stat.stx_mode) & 0o7777,
            attributes: attributes.into_iter().collect(),
        });
        let after = before.with(owners);
        apply(&node, (&before, &after), (file_type(stat), is_marked)).map_err(failed)
    }

    /// Whether a file is in the part that is to be changed. A clock that was put back is no reason to leave ids that can only be
    /// old, or to take those back.
    fn is_wanted(&self, stat: &Statx) -> bool {
        let is_done =
            |since| Moment::of(stat) > since && !self.owners.must_be_old(stat.stx_uid, stat.stx_gid);
        match self.extent {
            Extent::Whole => true,
            Extent::Rest(since) => !is_done(since),
            Extent::Back(since) => is_done(since),
        }
    }
}

fn apply(
    node: &Node<'_>,
    (before, after): (&Before, &Before),
    (kind, is_marked): (FileType, bool),
) -> rustix::io::Result<()> {
    if before == after && !is_marked {
        return Ok(());
    }
    // A change of the owner takes these bits and capabilities away.
    let has_bits = kind == FileType::RegularFile && before.mode & 0o6000 != 0;
    let needs_mark = has_bits || !before.attributes.is_empty();
    if needs_mark && !is_marked {
        node.mark(&before.encode())?;
    }
    chown_at(node.parent, node.name, after.uid, after.gid)?;
    let Some(file) = &node.file else { return Ok(()) };
    if has_bits {
        let mode = Mode::from_raw_mode(before.mode);
        rustix::fs::chmodat(node.parent, node.name, mode, AtFlags::empty())?;
    }
    for (name, value) in &after.attributes {
        rustix::fs::lsetxattr(file, name.as_str(), value, XattrFlags::empty())?;
    }
    if needs_mark || is_marked {
        match rustix::fs::lremovexattr(file, MARK) {
            Ok(()) | Err(Errno::NODATA | Errno::OPNOTSUPP) => {}
            Err(e) => return Err(e),
        }
    }
    Ok(())
}

/// One thing, by the directory that it is in.
struct Node<'a> {
    parent: BorrowedFd<'a>,
    name: &'a std::ffi::CStr,
    /// The path for attributes, if it can have some.
    file: Option<PathBuf>,
}

impl Node<'_> {
    /// The attributes that hold ids, and the mark.
    fn attributes(&self) -> rustix::io::Result<BTreeMap<String, Vec<u8>>> {
        let mut found = BTreeMap::new();
        let Some(file) = &self.file else { return Ok(found) };
        let mut small = [0_u8; 512];
        let mut large = Vec::new();
        let names: &[u8] = match rustix::fs::llistxattr(file, &mut small[..]) {
            Ok(length) => small.get(..length).unwrap_or_default(),
            Err(Errno::OPNOTSUPP | Errno::NOENT) => &[],
            Err(Errno::RANGE) => {
                large.resize(ATTRIBUTES_MAX, 0);
                let length = rustix::fs::llistxattr(file, &mut large[..])?;
                large.get(..length).unwrap_or_default()
            }
            Err(e) => return Err(e),
        };
        for name in names.split(|byte| *byte == 0) {
            let Ok(name) = std::str::from_utf8(name) else {
                continue;
            };
            if name != MARK && !owners::ATTRIBUTES.contains(&name) {
                continue;
            }
            let mut value = vec![0_u8; ATTRIBUTES_MAX];
            match rustix::fs::lgetxattr(file, name, &mut value[..]) {
                Ok(length) => {
                    value.truncate(length);
                    found.insert(name.to_owned(), value);
                }
                Err(Errno::NODATA | Errno::OPNOTSUPP) => {}
                Err(e) => return Err(e),
            }
        }
        Ok(found)
    }

    /// Notes what the file was. A file system that has no such attributes, or no room, goes without.
    fn mark(&self, value: &[u8]) -> rustix::io::Result<()> {
        let Some(file) = &self.file else { return Ok(()) };
        match rustix::fs::lsetxattr(file, MARK, value, XattrFlags::empty()) {
            Ok(()) | Err(Errno::OPNOTSUPP | Errno::NOSPC | Errno::TOOBIG | Errno::RANGE) => Ok(()),
            Err(e) => Err(e),
        }
    }
}

/// A file as it was.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Before {
    uid: u32,
    gid: u32,
    mode: u32,
    attributes: Vec<(String, Vec<u8>)>,
}

impl Before {
    /// The same with other ids; none leaves it as it is.
    fn with(&self, owners: Option<&Owners>) -> Self {
        let Some(owners) = owners else { return self.clone() };
        let new =
            |(name, value): &(String, Vec<u8>)| (name.clone(), owners.attribute(name.as_bytes(), value));
        Self {
            uid: owners.user(self.uid),
            gid: owners.group(self.gid),
            mode: self.mode,
            attributes: self.attributes.iter().map(new).collect(),
        }
    }

    fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        let number = |out: &mut Vec<u8>, n: u32| out.extend_from_slice(&n.to_le_bytes());
        for n in [self.uid, self.gid, self.mode] {
            number(&mut out, n);
        }
        for (name, value) in &self.attributes {
            for bytes in [name.as_bytes(), value.as_slice()] {
                number(&mut out, u32::try_from(bytes.len()).unwrap_or(0));
                out.extend_from_slice(bytes);
            }
        }
        out
    }

    fn decode(mut bytes: &[u8]) -> Option<Self> {
        fn number(bytes: &mut &[u8]) -> Option<u32> {
            let (first, rest) = bytes.split_first_chunk::<4>()?;
            *bytes = rest;
            Some(u32::from_le_bytes(*first))
        }
        fn text(bytes: &mut &[u8]) -> Option<Vec<u8>> {
            let length = usize::try_from(number(bytes)?).ok()?;
            let (first, rest) = bytes.split_at_checked(length)?;
            *bytes = rest;
            Some(first.to_vec())
        }
        let (uid, gid, mode) = (number(&mut bytes)?, number(&mut bytes)?, number(&mut bytes)?);
        let mut attributes = Vec::new();
        while !bytes.is_empty() {
            let name = String::from_utf8(text(&mut bytes)?).ok()?;
            attributes.push((name, text(&mut bytes)?));
        }
        Some(Self {
            uid,
            gid,
            mode,
            attributes,
        })
    }
}

fn file_type(stat: &Statx) -> FileType {
    FileType::from_raw_mode(stat.stx_mode.into())
}

fn below(directory: &Path, name: &std::ffi::CStr) -> PathBuf {
    match name.to_bytes() {
        b"." => directory.to_path_buf(),
        name => directory.join(OsStr::from_bytes(name)),
    }
}

#[cfg(test)]
mod tests;
