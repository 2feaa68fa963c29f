//! User namespaces as carriers of an id map: made without a program of their own, kept alive by a file descriptor.
#![allow(unsafe_code)] // clone(2) with a stack of its own has no safe wrapper.

use std::ffi::c_void;
use std::fs::{self, File};
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::Path;
use std::ptr;

use rustix::process::{Pid, Signal};

use crate::mount::{self, MountError};

#[cfg(test)]
mod tests;

/// The number of lines that the kernel accepts in one `uid_map` or `gid_map` (user_namespaces(7)).
const LINES_MAX: usize = 340;

/// Enough for one read(2) and one exit; the child calls nothing else.
const CHILD_STACK: usize = 16 * 1024;

/// `count` ids from `inside` on in the namespace, that are `outside` and up in the parent namespace.
///
/// For an idmapped mount `inside` are the ids on disk and `outside` those seen through the mount.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct IdRange {
    /// First id inside the namespace.
    pub inside: u32,
    /// First id in the parent namespace.
    pub outside: u32,
    /// How many ids.
    pub count: u32,
}

impl IdRange {
    fn end(&self) -> u64 {
        u64::from(self.inside) + u64::from(self.count)
    }
}

/// The maps of a user namespace, in the kernel's order of lines.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct IdMap {
    /// Lines of `uid_map`.
    pub uids: Vec<IdRange>,
    /// Lines of `gid_map`.
    pub gids: Vec<IdRange>,
}

impl IdMap {
    /// The usual map of one range for both kinds: ids 0 to `count` inside are `outside` and up.
    pub fn shifted(outside: u32, count: u32) -> Self {
        let range = IdRange {
            inside: 0,
            outside,
            count,
        };
        Self {
            uids: vec![range],
            gids: vec![range],
        }
    }

    /// The same map, in which the host's root has a place as well: behind the last id inside.
    ///
    /// overlayfs works on its upper layer with the credentials of whoever mounted it. When these have no id in the
    /// upper layer's map it can't make its work directory, and the mount silently turns out read-only.
    pub fn with_root_outside(&self) -> Self {
        Self {
            uids: add_root(&self.uids),
            gids: add_root(&self.gids),
        }
    }
}

fn add_root(ranges: &[IdRange]) -> Vec<IdRange> {
    let mut all = ranges.to_vec();
    if ranges.iter().any(|range| range.outside == 0 && range.count > 0) {
        return all;
    }
    let end = ranges.iter().map(IdRange::end).max().unwrap_or(0);
    if let Ok(inside) = u32::try_from(end)
        && inside < u32::MAX
    {
        all.push(IdRange {
            inside,
            outside: 0,
            count: 1,
        });
    }
    all
}

/// Why a user namespace could not be made.
#[derive(Debug, thiserror::Error)]
pub enum UsernsError {
    /// The map can't be given to the kernel.
    #[error("id map has {lines} lines; the kernel takes 1 to {LINES_MAX}")]
    Lines {
        /// The number of lines given.
        lines: usize,
    },
    /// The process that the namespace is made with could not be started.
    #[error("making a user namespace")]
    Clone(#[source] io::Error),
    /// The kernel refused the map (overlapping ranges, ids out of range) or `/proc` is not there.
    #[error("writing {file} with {map:?}")]
    Map {
        /// `uid_map` or `gid_map`.
        file: &'static str,
        /// What was written.
        map: String,
        /// The kernel's answer.
        #[source]
        source: io::Error,
    },
    /// The namespace could not be opened.
    #[error("opening the new user namespace")]
    Open(#[source] io::Error),
}

/// Makes a user namespace with `map` and returns a descriptor that keeps it alive. Takes about a quarter of a millisecond.
///
/// A tiny child holds the namespace while the map is written. It shares our memory (so nothing is copied, however large
/// the process) but has a stack of its own, takes no signal and makes only two system calls, so it is safe beside other threads.
pub fn create(map: &IdMap) -> Result<OwnedFd, UsernsError> {
    for ranges in [&map.uids, &map.gids] {
        if ranges.is_empty() || ranges.len() > LINES_MAX {
            return Err(UsernsError::Lines { lines: ranges.len() });
        }
    }
    let holder = Holder::start().map_err(UsernsError::Clone)?;
    for (file, ranges) in [("uid_map", &map.uids), ("gid_map", &map.gids)] {
        let text: String = ranges
            .iter()
            .map(|r| format!("{} {} {}\n", r.inside, r.outside, r.count))
            .collect();
        // One write(2): the kernel takes the whole map at once or not at all.
        fs::write(holder.proc_path(file), &text).map_err(|source| UsernsError::Map {
            file,
            map: text,
            source,
        })?;
    }
    File::open(holder.proc_path("ns/user"))
        .map(OwnedFd::from)
        .map_err(UsernsError::Open)
}

/// Whether a clone of the mount at `path` (a directory) can be given an id map. The answer is a property of the kernel and of
/// the file system; callers keep it.
///
/// The probe uses a namespace that has a map: with an empty one the kernel answers differently.
pub fn idmapped_mounts_supported(path: &Path) -> bool {
    let probe = || -> Result<(), MountError> {
        let tree = mount::open_tree(path, false)?;
        let Ok(userns) = create(&IdMap::shifted(1_000_000, 65536)) else {
            return Err(MountError::call(
                "making a user namespace to probe",
                path,
                io::Error::from(io::ErrorKind::Unsupported),
            ));
        };
        mount::set_idmap(tree.as_fd(), userns.as_fd(), false)
    };
    probe().is_ok()
}

/// A child in a new user namespace; killed and reaped on drop.
struct Holder {
    pid: Pid,
    // The child runs on it until it has been reaped.
    _stack: Vec<u8>,
    // Its end tells the child to leave, should we be killed before we can kill it.
    _alive: OwnedFd,
}

impl Holder {
    fn start() -> io::Result<Self> {
        let (read, write) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
        let mut stack = vec![0_u8; CHILD_STACK];
        let ends = [read.as_raw_fd(), write.as_raw_fd()];
        let flags = libc::CLONE_NEWUSER | libc::CLONE_VM;
        let blocked = SignalsBlocked::new()?;
        // SAFETY: both offsets lie within the stack, which lives in `Holder` until the child has been reaped and which nobody
        // else uses; `ends` is copied to its top, above the child's frames. `hold` neither allocates, nor locks, nor writes
        // thread-local storage.
        let pid = unsafe {
            let top = stack.as_mut_ptr().add(CHILD_STACK - 64).cast::<[i32; 2]>();
            ptr::write_unaligned(top, ends);
            let base = stack.as_mut_ptr().add((CHILD_STACK - 128) & !15).cast::<c_void>();
            libc::clone(hold, base, flags, top.cast::<c_void>())
        };
        let failure = io::Error::last_os_error();
        drop(blocked);
        match Pid::from_raw(pid) {
            Some(pid) if pid.as_raw_nonzero().get() > 0 => Ok(Self {
                pid,
                _stack: stack,
                _alive: write,
            }),
            _ => Err(failure),
        }
    }

    fn proc_path(&self, file: &str) -> String {
        format!("/proc/{}/{file}", self.pid.as_raw_nonzero())
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        // The child is ours and not reaped yet, so its pid can't be another process's. Failing means that it is dead already.
        let _ = rustix::process::kill_process(self.pid, Signal::KILL);
        let pid = self.pid.as_raw_nonzero().get();
        loop {
            let mut status = 0;
            // SAFETY: `status` is valid for the call. __WALL because the child's exit signal is none.
            let reaped = unsafe { libc::waitpid(pid, &raw mut status, libc::__WALL) };
            if reaped == pid || io::Error::last_os_error().kind() != io::ErrorKind::Interrupted {
                break;
            }
        }
    }
}

/// What the child does: wait until it is killed, or until the parent is gone.
extern "C" fn hold(ends: *mut c_void) -> libc::c_int {
    // SAFETY: `ends` points into the child's own stack area, written before clone(2). The calls below succeed, and so
    // never write errno, which the child shares with the thread that made it.
    unsafe {
        let [read, write] = ptr::read_unaligned(ends.cast::<[i32; 2]>());
        libc::syscall(libc::SYS_close, write);
        let mut byte = 0_u8;
        libc::syscall(libc::SYS_read, read, &raw mut byte, 1);
        libc::syscall(libc::SYS_exit, 0);
    }
    0
}

/// All signals blocked for this thread, so that the child, which inherits the mask, never runs one of our handlers.
struct SignalsBlocked(libc::sigset_t);

impl SignalsBlocked {
    fn new() -> io::Result<Self> {
        let mut all = MaybeUninit::<libc::sigset_t>::uninit();
        let mut old = MaybeUninit::<libc::sigset_t>::uninit();
        // SAFETY: both sets are initialized by the calls before they are read.
        unsafe {
            libc::sigfillset(all.as_mut_ptr());
            match libc::pthread_sigmask(libc::SIG_SETMASK, all.as_ptr(), old.as_mut_ptr()) {
                0 => Ok(Self(old.assume_init())),
                errno => Err(io::Error::from_raw_os_error(errno)),
            }
        }
    }
}

impl Drop for SignalsBlocked {
    fn drop(&mut self) {
        // SAFETY: the set is the one that the kernel gave us.
        unsafe {
            libc::pthread_sigmask(libc::SIG_SETMASK, &raw const self.0, ptr::null_mut());
        }
    }
}
