//! Begins a program's life in the container's control groups.
//!
//! To move another process into a group, the kernel waits until no process anywhere is between fork and exit: a grace
//! period, 7 to 15 ms on an idle machine. A process that moves one thread of its own (`0` written to `tasks`, version 1), and
//! one that is made in a group (`CLONE_INTO_CGROUP`, version 2), need not wait. So a child of this program goes there and
//! starts the program from there, which inherits the groups; then the child ends, and the program's parent is this process.
#![allow(unsafe_code, reason = "clone, pipes and waiting for a child")]

use std::ffi::CString;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::path::Path;

use crate::exec;

/// `CLONE_INTO_CGROUP` of linux/sched.h.
const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;

/// What the child says when it could not, and nothing has been started.
const COULD_NOT: i32 = -1;

/// Runs `start` in a child inside the groups. It returns the process it started, which is a child of this one then. `None`:
/// nothing was started, as the groups don't take the child or `start` failed there; it is for liblxc to move the program,
/// which limits on the number of processes don't refuse.
pub(crate) fn inside(
    legacy: &[String],
    unified: &str,
    start: impl FnOnce() -> Option<i32>,
) -> Result<Option<i32>, String> {
    if legacy.is_empty() && unified.is_empty() {
        return Ok(None);
    }
    let Ok((mut reading, writing)) = prepare() else {
        return Ok(None);
    };
    let leaf = match unified {
        "" => None,
        folder => match leaf(Path::new(folder)) {
            Ok(leaf) => Some(leaf),
            Err(_) => return Ok(None),
        },
    };
    // SAFETY: this process has one thread, so that the child may do all that it may.
    match unsafe { fork_into(leaf.as_ref()) } {
        Err(_) => Ok(None),
        Ok(0) => {
            let entered = legacy.iter().all(|folder| enter(Path::new(folder)).is_ok());
            let pid = entered.then(start).flatten().unwrap_or(COULD_NOT);
            let said = File::from(writing).write_all(&pid.to_ne_bytes());
            // SAFETY: ends this process without the exit handlers, which are its parent's.
            unsafe { libc::_exit(i32::from(said.is_err())) }
        }
        Ok(child) => {
            drop(writing);
            let mut said = [0; 4];
            let told = reading.read_exact(&mut said);
            exec::wait(child).map_err(|e| format!("waiting for process {child}: {e}"))?;
            // Nobody knows whether the program runs, so it can't be started again.
            told.map_err(|_| "The process that was to start the program has died".to_owned())?;
            let pid = i32::from_ne_bytes(said);
            Ok((pid != COULD_NOT).then_some(pid))
        }
    }
}

/// A pipe from the child; and what the child leaves behind becomes this process's.
fn prepare() -> io::Result<(File, OwnedFd)> {
    let mut ends = [-1; 2];
    // SAFETY: plain system calls; there is room for two descriptors, which nobody else owns.
    unsafe {
        exec::check(libc::prctl(libc::PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0))?;
        exec::check(libc::pipe2(ends.as_mut_ptr(), libc::O_CLOEXEC))?;
        Ok((File::from_raw_fd(ends[0]), OwnedFd::from_raw_fd(ends[1])))
    }
}

/// The group of version 2 for what is not the container's init's: a child of its own, as liblxc makes, for a group that hands
/// controllers to its children takes no process itself.
fn leaf(group: &Path) -> io::Result<OwnedFd> {
    let path = group.join(".lxc");
    match std::fs::create_dir(&path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    let path = CString::new(path.into_os_string().into_encoded_bytes())?;
    let flags = libc::O_PATH | libc::O_DIRECTORY | libc::O_CLOEXEC;
    // SAFETY: the path is NUL-terminated; the result is checked before it is owned.
    unsafe { exec::owned(libc::open(path.as_ptr(), flags)) }
}

/// Moves the calling thread, the only one, into a group of version 1.
fn enter(folder: &Path) -> io::Result<()> {
    File::options()
        .write(true)
        .open(folder.join("tasks"))?
        .write_all(b"0")
}

/// As fork, into a group if one is given.
///
/// # Safety
/// The process has one thread.
unsafe fn fork_into(group: Option<&OwnedFd>) -> io::Result<libc::pid_t> {
    // SAFETY: numbers and null pointers, for which zero is a value.
    let mut arguments: libc::clone_args = unsafe { std::mem::zeroed() };
    arguments.exit_signal = libc::SIGCHLD as u64;
    if let Some(group) = group {
        arguments.flags = CLONE_INTO_CGROUP;
        arguments.cgroup = group.as_raw_fd() as u64;
    }
    let size = std::mem::size_of::<libc::clone_args>();
    // SAFETY: `arguments` is as long as `size` says; without shared memory the child goes on with its own stack.
    let pid = unsafe { libc::syscall(libc::SYS_clone3, &raw mut arguments, size) };
    exec::check(pid as libc::c_int)?;
    Ok(pid as libc::pid_t)
}
