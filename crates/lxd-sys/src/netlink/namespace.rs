//! Doing something inside another network namespace, on a short-lived thread.
#![allow(unsafe_code, reason = "setns of one thread")]

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

/// Runs `work` on a thread of its own that has entered the namespace. Sockets opened there stay in it, and threads and
/// processes started there too.
///
/// # Errors
/// When the thread can't be made, or the namespace can't be entered.
pub fn in_namespace<T, F>(netns: BorrowedFd<'_>, work: F) -> io::Result<T>
where
    T: Send,
    F: FnOnce() -> T + Send,
{
    on_thread(move || {
        // SAFETY: changes only this thread, which ends right after.
        if unsafe { libc::setns(netns.as_raw_fd(), libc::CLONE_NEWNET) } != 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(work())
    })
}

/// Runs `work` on a thread of its own in a new network namespace, which ends with the last process, socket or descriptor
/// in it.
///
/// # Errors
/// When the thread or the namespace can't be made.
pub fn in_new_namespace<T, F>(work: F) -> io::Result<T>
where
    T: Send,
    F: FnOnce() -> T + Send,
{
    on_thread(move || {
        // SAFETY: changes only this thread, which ends right after.
        if unsafe { libc::unshare(libc::CLONE_NEWNET) } != 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(work())
    })
}

/// A new network namespace, with nothing but a loopback that is down; it lives as long as this descriptor.
///
/// # Errors
/// When it can't be made.
pub fn new_namespace() -> io::Result<OwnedFd> {
    in_new_namespace(current_namespace)?
}

/// The network namespace of the calling thread.
///
/// # Errors
/// When `/proc` is not mounted.
pub fn current_namespace() -> io::Result<OwnedFd> {
    Ok(File::open("/proc/thread-self/ns/net")?.into())
}

fn on_thread<T, F>(work: F) -> io::Result<T>
where
    T: Send,
    F: FnOnce() -> io::Result<T> + Send,
{
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new()
            .name("netns".into())
            .spawn_scoped(scope, work)?;
        thread
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}
