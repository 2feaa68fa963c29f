//! A process that was started or found, watched and signalled through its pidfd.
#![allow(unsafe_code, reason = "registering a descriptor with the runtime")]

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::process::{Pid, PidfdFlags, Signal, WaitId, WaitIdOptions};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// With this exit code.
    Code(i32),
    /// By this signal.
    Signal(i32),
}

impl Exit {
    /// Whether it ended with exit code 0.
    pub fn is_success(self) -> bool {
        self == Self::Code(0)
    }
}

/// A process held by its pidfd, so that a signal never reaches another one that got the same number.
#[derive(Debug)]
pub struct Process {
    pid: i32,
    pidfd: OwnedFd,
    group: bool,
}

impl Process {
    pub(super) fn new(pid: i32, pidfd: OwnedFd, group: bool) -> Self {
        Self { pid, pidfd, group }
    }

    /// Takes hold of a running process that somebody else started. Check afterwards, by `/proc/PID`, that it is the one
    /// you mean: the pidfd then stays with that one.
    ///
    /// # Errors
    /// [`io::ErrorKind::NotFound`] (`ESRCH`) when there is none.
    pub fn adopt(pid: i32) -> io::Result<Self> {
        let raw = Pid::from_raw(pid).ok_or(io::ErrorKind::InvalidInput)?;
        match rustix::process::pidfd_open(raw, PidfdFlags::empty()) {
            Ok(pidfd) => Ok(Self {
                pid,
                pidfd,
                group: false,
            }),
            Err(rustix::io::Errno::SRCH) => Err(io::ErrorKind::NotFound.into()),
            Err(e) => Err(e.into()),
        }
    }

    /// The process id.
    pub fn pid(&self) -> i32 {
        self.pid
    }

    /// The pidfd, readable once the process has ended.
    pub fn pidfd(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }

    /// Sends a signal. A process that has ended already is no error.
    ///
    /// # Errors
    /// What the kernel answers, such as `EPERM`.
    pub fn signal(&self, signal: Signal) -> io::Result<()> {
        match rustix::process::pidfd_send_signal(&self.pidfd, signal) {
            Ok(()) | Err(rustix::io::Errno::SRCH) => Ok(()),
            Err(e) => Err(e.into()),
        }
    }

    /// Kills the process, and its group when it was started with one of its own.
    ///
    /// # Errors
    /// What the kernel answers, such as `EPERM`.
    pub fn kill(&self) -> io::Result<()> {
        // The group is named by number: send only while its leader is unreaped, when the number can't be another's.
        if self.group
            && !self.has_ended()
            && let Some(pid) = Pid::from_raw(self.pid)
        {
            let _ = rustix::process::kill_process_group(pid, Signal::KILL);
        }
        self.signal(Signal::KILL)
    }

    /// Whether it has ended (it may still be a zombie).
    pub fn has_ended(&self) -> bool {
        let mut fds = [rustix::event::PollFd::new(
            &self.pidfd,
            rustix::event::PollFlags::IN,
        )];
        matches!(rustix::event::poll(&mut fds, Some(&rustix::event::Timespec::default())), Ok(n) if n > 0)
    }

    /// Waits for its end, without reaping it.
    ///
    /// # Errors
    /// When the runtime can't watch the descriptor.
    pub async fn ended(&self) -> io::Result<()> {
        if self.has_ended() {
            return Ok(());
        }
        // A duplicate, so that several tasks may wait: epoll takes each descriptor number once.
        let copy = self.pidfd.try_clone()?;
        // SAFETY: an owned descriptor is open, and stays the same one, for as long as the registration owns it.
        let watched = unsafe { AsyncFd::register_with_interest(copy, Interest::READABLE)? };
        let _ready = watched.readable().await?;
        Ok(())
    }
}

/// A child of ours.
#[derive(Debug)]
pub struct Child {
    process: Option<Process>,
    pid: i32,
    exit: Option<Exit>,
    kill_on_drop: bool,
    /// Our ends of the streams that were asked for as pipes.
    stdin: Option<OwnedFd>,
    stdout: Option<OwnedFd>,
    stderr: Option<OwnedFd>,
}

impl Child {
    pub(super) fn new(process: Process, ours: [Option<OwnedFd>; 3]) -> Self {
        let [stdin, stdout, stderr] = ours;
        Self {
            pid: process.pid,
            process: Some(process),
            exit: None,
            kill_on_drop: false,
            stdin,
            stdout,
            stderr,
        }
    }

    /// The process id.
    pub fn pid(&self) -> i32 {
        self.pid
    }

    /// The process.
    #[expect(
        clippy::expect_used,
        reason = "only `into_process` and `drop` take it, and both end the child"
    )]
    pub fn process(&self) -> &Process {
        self.process
            .as_ref()
            .expect("a child holds its process until it is given away")
    }

    /// Whether to kill the process when this value is dropped. Dropped or not, it is always reaped.
    pub fn kill_on_drop(&mut self, yes: bool) {
        self.kill_on_drop = yes;
    }

    /// Our end of its standard input, when that is a pipe (blocking; see [`tokio::net::unix::pipe::Sender`]).
    pub fn take_stdin(&mut self) -> Option<OwnedFd> {
        self.stdin.take()
    }

    /// Our end of its standard output, when that is a pipe.
    pub fn take_stdout(&mut self) -> Option<OwnedFd> {
        self.stdout.take()
    }

    /// Our end of its standard error, when that is a pipe.
    pub fn take_stderr(&mut self) -> Option<OwnedFd> {
        self.stderr.take()
    }

    /// Sends a signal.
    ///
    /// # Errors
    /// What the kernel answers.
    pub fn signal(&self, signal: Signal) -> io::Result<()> {
        self.process().signal(signal)
    }

    /// Waits for its end and reaps it; afterwards gives the same answer again.
    ///
    /// # Errors
    /// When the runtime can't watch the descriptor.
    pub async fn wait(&mut self) -> io::Result<Exit> {
        if self.exit.is_none() {
            self.process().ended().await?;
        }
        self.wait_blocking()
    }

    /// Like [`Child::wait`], for a thread of its own.
    ///
    /// # Errors
    /// What the kernel answers.
    pub fn wait_blocking(&mut self) -> io::Result<Exit> {
        if let Some(exit) = self.exit {
            return Ok(exit);
        }
        let exit = reap(self.process().pidfd())?;
        self.exit = Some(exit);
        Ok(exit)
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        let Some(process) = self.process.take() else {
            return;
        };
        if self.exit.is_some() {
            return;
        }
        if self.kill_on_drop {
            let _ = process.kill();
        }
        // Nobody waits any more, but a zombie must not stay.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move {
                if process.ended().await.is_ok() {
                    let _ = reap(process.pidfd());
                }
            });
        } else if process.has_ended() {
            let _ = reap(process.pidfd());
        }
    }
}

fn reap(pidfd: BorrowedFd<'_>) -> io::Result<Exit> {
    loop {
        match rustix::process::waitid(WaitId::PidFd(pidfd), WaitIdOptions::EXITED) {
            Ok(Some(status)) => {
                return Ok(match (status.exit_status(), status.terminating_signal()) {
                    (Some(code), _) => Exit::Code(code),
                    (None, signal) => Exit::Signal(signal.unwrap_or_default()),
                });
            }
            Ok(None) | Err(rustix::io::Errno::INTR) => {}
            Err(e) => return Err(e.into()),
        }
    }
}
