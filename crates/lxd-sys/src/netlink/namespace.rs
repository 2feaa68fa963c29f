//! Doing something inside another network namespace, on a short-lived thread.
#![allow(unsafe_code, reason = "setns of one thread")]

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

/// Runs `work` on a thread of its own that has entered the namespace. Sockets opened there stay in it.
///
/// # Errors
/// When the thread can't be made, or the namespace can't be entered.
pub fn in_namespace<T, F>(netns: BorrowedFd<'_>, work: F) -> io::Result<T>
where
    T: Send,
    F: FnOnce() -> T + Send,
{
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new()
            .name("netns".into())
            .stack_size(128 * 1024)
            .spawn_scoped(scope, || {
                // SAFETY: changes only this thread, which ends right after.
                if unsafe { libc::setns(netns.as_raw_fd(), libc::CLONE_NEWNET) } != 0 {
                    return Err(io::Error::last_os_error());
                }
                Ok(work())
            })?;
        thread
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}
