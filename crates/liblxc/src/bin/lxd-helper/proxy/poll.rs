//! Waiting for many descriptors at once: epoll, with a process and signals among them.
#![allow(unsafe_code, reason = "epoll, pidfd and signalfd")]

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};

use super::place::check;

/// What one may wait for.
pub(super) const READ: u32 = libc::EPOLLIN as u32;
pub(super) const WRITE: u32 = libc::EPOLLOUT as u32;

/// Events that are taken at once.
const BATCH: usize = 64;

/// An epoll instance.
pub(super) struct Poll(OwnedFd);

impl Poll {
    pub(super) fn new() -> io::Result<Self> {
        // SAFETY: plain system call that returns a new descriptor or -1.
        unsafe { owned(libc::epoll_create1(libc::EPOLL_CLOEXEC)) }.map(Self)
    }

    /// Changes what is waited for from `old` to `new`. Nothing at all means that not even an error is reported.
    pub(super) fn change(&self, fd: RawFd, token: u64, old: u32, new: u32) -> io::Result<()> {
        let operation = match (old, new) {
            (old, new) if old == new => return Ok(()),
            (0, _) => libc::EPOLL_CTL_ADD,
            (_, 0) => libc::EPOLL_CTL_DEL,
            _ => libc::EPOLL_CTL_MOD,
        };
        let mut event = libc::epoll_event {
            events: new,
            u64: token,
        };
        // SAFETY: the event is valid for the call.
        check(unsafe { libc::epoll_ctl(self.0.as_raw_fd(), operation, fd, &raw mut event) })
    }

    /// Waits for events, at most `timeout` milliseconds, for ever if negative. Gives their tokens.
    pub(super) fn wait(&self, timeout: i32) -> io::Result<Vec<(u64, u32)>> {
        let mut events = [libc::epoll_event { events: 0, u64: 0 }; BATCH];
        // SAFETY: the buffer is valid for the number given.
        let count =
            unsafe { libc::epoll_wait(self.0.as_raw_fd(), events.as_mut_ptr(), BATCH as i32, timeout) };
        match usize::try_from(count) {
            Ok(count) => Ok(events[..count]
                .iter()
                .map(|event| (event.u64, event.events))
                .collect()),
            Err(_) => match io::Error::last_os_error() {
                error if error.kind() == io::ErrorKind::Interrupted => Ok(Vec::new()),
                error => Err(error),
            },
        }
    }
}

/// A descriptor that becomes readable when the process ends.
pub(super) fn process(pid: i32) -> io::Result<OwnedFd> {
    // SAFETY: plain system call that returns a new descriptor or -1.
    unsafe { owned(libc::syscall(libc::SYS_pidfd_open, pid, 0) as libc::c_int) }
}

/// A descriptor that becomes readable when somebody asks this process to end.
pub(super) fn signals() -> io::Result<OwnedFd> {
    // SAFETY: the set is initialized before it is used; this process has one thread.
    unsafe {
        let mut set: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut set);
        for signal in [libc::SIGTERM, libc::SIGINT, libc::SIGHUP] {
            libc::sigaddset(&raw mut set, signal);
        }
        check(libc::sigprocmask(
            libc::SIG_BLOCK,
            &raw const set,
            std::ptr::null_mut(),
        ))?;
        owned(libc::signalfd(
            -1,
            &raw const set,
            libc::SFD_CLOEXEC | libc::SFD_NONBLOCK,
        ))
    }
}

/// Takes over a descriptor that a system call returned.
///
/// # Safety
/// `fd` is -1 or a descriptor that nobody else owns.
pub(super) unsafe fn owned(fd: libc::c_int) -> io::Result<OwnedFd> {
    check(fd)?;
    // SAFETY: just checked, and the caller's promise.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}
