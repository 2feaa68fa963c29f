//! Runs a program inside a container, on the daemon's pipes or on a terminal of the container's own.
#![allow(unsafe_code, reason = "terminals and waiting for a child")]

use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::path::Path;

use liblxc::container::{self, Attach, Container};
use liblxc::protocol::{Exec, Reply, Terminal};

use crate::groups;
use crate::socket::Socket;

/// `TIOCGPTPEER` of linux/tty.h: opens the slave of a master without a path.
const TIOCGPTPEER: libc::c_ulong = 0x5441;

/// Serves one request on standard input. What goes wrong is told to the daemon on that same socket.
pub(crate) fn serve() -> Result<(), String> {
    let socket = Socket::take_stdin().map_err(|e| format!("taking the socket: {e}"))?;
    let (body, stdio) = socket
        .receive()
        .map_err(|e| format!("receiving the request: {e}"))?;
    let exec = Exec::decode(&body).map_err(|e| e.to_string())?;
    match run(&socket, &exec, stdio) {
        Ok(code) => socket.send(&Reply::Exited(code), &[]),
        Err(reason) => socket.send(&Reply::Failed(reason), &[]),
    }
    .map_err(|e| format!("sending the answer: {e}"))
}

fn run(socket: &Socket, exec: &Exec, stdio: Vec<OwnedFd>) -> Result<i32, String> {
    let lxcpath = Path::new(&exec.lxcpath);
    // Without its own log the library writes to standard error, which may be the user's terminal.
    let _ = container::log_to(&exec.name, lxcpath, Path::new(&exec.log), c"ERROR");
    let container = Container::new(&exec.name, lxcpath).map_err(|e| e.to_string())?;
    container
        .load_config(Path::new(&exec.config))
        .map_err(|e| e.to_string())?;
    let mut master = None;
    let ends = match exec.terminal {
        Some(terminal) => {
            let devpts = container.devpts().map_err(|e| e.to_string())?;
            let (m, slave) =
                open_terminal(&devpts, terminal).map_err(|e| format!("opening a terminal: {e}"))?;
            master = Some(m);
            vec![slave]
        }
        None => stdio,
    };
    let [stdin, stdout, stderr] = match ends.as_slice() {
        [terminal] => [terminal.as_fd(); 3],
        [stdin, stdout, stderr] => [stdin.as_fd(), stdout.as_fd(), stderr.as_fd()],
        _ => return Err(format!("three file descriptors wanted, {} came", ends.len())),
    };
    let stdio = [stdin, stdout, stderr];
    let attached = groups::inside(&exec.legacy, &exec.unified, || {
        attach(&container, exec, stdio, socket, true).ok()
    })?;
    let pid = match attached {
        Some(pid) => pid,
        None => attach(&container, exec, stdio, socket, false)?,
    };
    drop(ends);
    let pidfd = pidfd(pid).map_err(|e| format!("watching process {pid}: {e}"))?;
    let sent: Vec<BorrowedFd<'_>> = [&pidfd].into_iter().chain(&master).map(AsFd::as_fd).collect();
    // The daemon may be gone by now. The program runs on, and somebody must wait for it.
    let _ = socket.send(&Reply::Running(pid), &sent);
    drop(master);
    wait(pid).map_err(|e| format!("waiting for process {pid}: {e}"))
}

fn attach(
    container: &Container,
    exec: &Exec,
    stdio: [BorrowedFd<'_>; 3],
    socket: &Socket,
    inside_groups: bool,
) -> Result<i32, String> {
    let c_string = |text: String| CString::new(text).map_err(|e| format!("{e} in an argument"));
    let argv = exec
        .argv
        .iter()
        .cloned()
        .map(c_string)
        .collect::<Result<Vec<_>, _>>()?;
    let pairs = exec
        .environment
        .iter()
        .map(|(key, value)| c_string(format!("{key}={value}")));
    let environment = pairs.collect::<Result<Vec<_>, _>>()?;
    let cwd = c_string(exec.cwd.clone())?;
    let attach = Attach {
        argv: &argv,
        environment: &environment,
        cwd: &cwd,
        uid: exec.uid,
        gid: exec.gid,
        stdio,
        controlling_terminal: exec.terminal.is_some(),
        wait_for: socket.as_fd(),
        inside_groups,
    };
    container.attach(&attach).map_err(|e| e.to_string())
}

/// Opens a pair of terminal ends in the container's devpts, so that its path means the same inside.
fn open_terminal(devpts: &OwnedFd, terminal: Terminal) -> io::Result<(OwnedFd, OwnedFd)> {
    let flags = libc::O_RDWR | libc::O_NOCTTY | libc::O_CLOEXEC;
    // SAFETY: the path is NUL-terminated; the result is checked before it is owned.
    let master = unsafe { owned(libc::openat(devpts.as_raw_fd(), c"ptmx".as_ptr(), flags)) }?;
    let unlock: libc::c_int = 0;
    // SAFETY: the ioctl reads one int.
    check(unsafe { libc::ioctl(master.as_raw_fd(), libc::TIOCSPTLCK, &raw const unlock) })?;
    // SAFETY: the ioctl takes open flags and returns a new descriptor or -1.
    let slave = unsafe { owned(libc::ioctl(master.as_raw_fd(), TIOCGPTPEER, flags)) }?;
    if terminal.width > 0 && terminal.height > 0 {
        let size = libc::winsize {
            ws_row: terminal.height,
            ws_col: terminal.width,
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        // SAFETY: the ioctl reads one winsize.
        check(unsafe { libc::ioctl(master.as_raw_fd(), libc::TIOCSWINSZ, &raw const size) })?;
    }
    // The device belongs to whoever opened it, which is nobody inside the container. The group stays `tty`.
    // SAFETY: plain system call on an open descriptor.
    check(unsafe { libc::fchown(slave.as_raw_fd(), terminal.owner, u32::MAX) })?;
    Ok((master, slave))
}

/// The child as a descriptor, which names it also after its number was given to another.
fn pidfd(pid: i32) -> io::Result<OwnedFd> {
    // SAFETY: plain system call; the child is not reaped yet, so the number is its own.
    unsafe { owned(libc::syscall(libc::SYS_pidfd_open, pid, 0) as libc::c_int) }
}

/// Waits for a child and returns its code as a shell would.
pub(crate) fn wait(pid: i32) -> io::Result<i32> {
    let mut status = 0;
    loop {
        // SAFETY: `status` is a valid place for one int.
        if unsafe { libc::waitpid(pid, &raw mut status, 0) } == pid {
            break;
        }
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    }
    if libc::WIFEXITED(status) {
        Ok(libc::WEXITSTATUS(status))
    } else {
        Ok(128 + libc::WTERMSIG(status))
    }
}

pub(crate) fn check(result: libc::c_int) -> io::Result<()> {
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(())
    }
}

/// Takes over a descriptor that a system call returned.
///
/// # Safety
/// `fd` is -1 or a descriptor that nobody else owns.
pub(crate) unsafe fn owned(fd: libc::c_int) -> io::Result<OwnedFd> {
    check(fd)?;
    // SAFETY: just checked, and the caller's promise.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}
