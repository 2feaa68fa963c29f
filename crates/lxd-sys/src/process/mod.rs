//! What `/proc` tells about processes that somebody else started, and finding them again after a restart.
//!
//! [`crate::command::Process`] holds, watches and signals such a process by its pidfd.
#![allow(unsafe_code, reason = "pidfd_send_signal with any number")]

mod parse;

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::path::Path;

pub use crate::command::Process;
pub use parse::{Stat, Status};

/// The ids of all processes, in no order.
///
/// # Errors
/// When `/proc` can't be read.
pub fn list() -> io::Result<Vec<i32>> {
    let names = std::fs::read_dir("/proc")?.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    Ok(names.filter_map(|name| name.parse().ok()).collect())
}

/// The arguments of a process as it shows them, separated by NUL bytes. Empty for kernel threads and zombies.
///
/// # Errors
/// [`io::ErrorKind::NotFound`] when there is no such process.
pub fn command_line(pid: i32) -> io::Result<Vec<u8>> {
    gone(std::fs::read(format!("/proc/{pid}/cmdline")))
}

/// Parent, state and start time of a process.
///
/// # Errors
/// [`io::ErrorKind::NotFound`] when there is no such process.
pub fn stat(pid: i32) -> io::Result<Stat> {
    let text = gone(std::fs::read(format!("/proc/{pid}/stat")))?;
    parse::stat(&String::from_utf8_lossy(&text)).ok_or_else(|| malformed(pid, "stat"))
}

/// Signals that a process blocks, and its ids in its pid namespaces.
///
/// # Errors
/// [`io::ErrorKind::NotFound`] when there is no such process.
pub fn status(pid: i32) -> io::Result<Status> {
    let text = gone(std::fs::read(format!("/proc/{pid}/status")))?;
    parse::status(&String::from_utf8_lossy(&text)).ok_or_else(|| malformed(pid, "status"))
}

/// The children of a process's main thread.
///
/// # Errors
/// [`io::ErrorKind::NotFound`] when there is no such process.
pub fn children(pid: i32) -> io::Result<Vec<i32>> {
    match std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")) {
        Ok(text) => Ok(text
            .split_whitespace()
            .filter_map(|word| word.parse().ok())
            .collect()),
        // Kernels without CONFIG_PROC_CHILDREN lack the file.
        Err(error) if error.kind() == io::ErrorKind::NotFound && exists(pid) => {
            let all = list()?.into_iter();
            Ok(all
                .filter(|child| stat(*child).is_ok_and(|s| s.parent == pid))
                .collect())
        }
        Err(error) => gone(Err(error)),
    }
}

/// The text of `/proc/PID/cgroup`: one line `ID:CONTROLLERS:PATH` for each hierarchy.
///
/// # Errors
/// [`io::ErrorKind::NotFound`] when there is no such process.
pub fn cgroups(pid: i32) -> io::Result<String> {
    gone(std::fs::read_to_string(format!("/proc/{pid}/cgroup")))
}

/// A namespace of a process, such as `net` or `user`. Holding it keeps the namespace alive.
///
/// # Errors
/// [`io::ErrorKind::NotFound`] when there is no such process.
pub fn namespace(pid: i32, kind: &str) -> io::Result<File> {
    gone(File::open(format!("/proc/{pid}/ns/{kind}")))
}

/// Sends a signal by its number, real-time signals included. A process that has ended already is no error.
///
/// # Errors
/// What the kernel answers, such as `EINVAL` for a number that is none.
pub fn signal(pidfd: BorrowedFd<'_>, number: i32) -> io::Result<()> {
    let none = std::ptr::null::<libc::siginfo_t>();
    // SAFETY: plain system call on an open descriptor; no siginfo is a documented choice.
    let sent = unsafe { libc::syscall(libc::SYS_pidfd_send_signal, pidfd.as_raw_fd(), number, none, 0) };
    match io::Error::last_os_error() {
        error if sent < 0 && error.raw_os_error() != Some(libc::ESRCH) => Err(error),
        _ => Ok(()),
    }
}

/// Whether there is such a process; it may be a zombie.
pub fn exists(pid: i32) -> bool {
    Path::new(&format!("/proc/{pid}")).exists()
}

/// `/proc` answers `ESRCH` for a process that ends between opening and reading.
fn gone<T>(result: io::Result<T>) -> io::Result<T> {
    result.map_err(|error| match error.raw_os_error() {
        Some(libc::ESRCH) => io::ErrorKind::NotFound.into(),
        _ => error,
    })
}

fn malformed(pid: i32, file: &str) -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidData,
        format!("/proc/{pid}/{file} is malformed"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::{Command, Stream};

    #[test]
    fn this_process_is_found() {
        let pid = i32::try_from(std::process::id()).unwrap();
        assert!(list().unwrap().contains(&pid));
        let own = stat(pid).unwrap();
        assert!(own.start_time > 0 && own.parent > 0);
        assert_eq!(stat(pid).unwrap(), own);
        assert_eq!(status(pid).unwrap().namespace_pids.first(), Some(&pid));
        assert!(!command_line(pid).unwrap().is_empty());
        assert!(cgroups(pid).unwrap().contains(":/"));
        namespace(pid, "net").unwrap();
    }

    #[test]
    fn no_process_is_an_error_that_says_so() {
        // No pid reaches the kernel's maximum of 2^22.
        let none = 1 << 22;
        for kind in [
            stat(none).unwrap_err().kind(),
            status(none).unwrap_err().kind(),
            command_line(none).unwrap_err().kind(),
            children(none).unwrap_err().kind(),
            namespace(none, "net").unwrap_err().kind(),
        ] {
            assert_eq!(kind, io::ErrorKind::NotFound);
        }
    }

    #[tokio::test]
    async fn a_child_is_among_the_children() {
        let mut child = Command::new("cat").stdin(Stream::Pipe).spawn().unwrap();
        let parent = stat(child.pid()).unwrap().parent;
        assert_eq!(parent, i32::try_from(std::process::id()).unwrap());
        assert!(signal(child.process().pidfd(), 0).is_ok() && signal(child.process().pidfd(), 999).is_err());
        drop(child.take_stdin());
        child.wait().await.unwrap();
        assert!(!exists(child.pid()));
    }
}
