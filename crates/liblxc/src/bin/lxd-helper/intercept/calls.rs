//! The calls themselves: device nodes, attributes, scheduling.
#![allow(unsafe_code, reason = "system calls without a wrapper in this program")]

use std::ffi::CStr;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

use liblxc::intercepted::Caller;

use super::mount::{Detached, attach, detached_tree};
use super::place::{
    CAP_MKNOD, CAP_SYS_ADMIN, Place, become_caller, become_root, c_string, check, open, stat,
};

/// Makes a device node. Where the file system takes none that can be opened, such as a tmpfs of the container's own, a file
/// is made and a node is mounted on it.
pub(super) fn node(
    place: &Place,
    caller: &Caller,
    path: &[u8],
    (mode, major, minor): (u32, u32, u32),
) -> io::Result<()> {
    let path = c_string(path.to_vec())?;
    become_caller(caller, CAP_MKNOD)?;
    make(&path, mode, libc::makedev(major, minor))?;
    // A whiteout of overlayfs is never opened.
    if (major, minor) == (0, 0) {
        return Ok(());
    }
    become_root()?;
    let flags = libc::O_RDONLY | libc::O_NONBLOCK | libc::O_NOCTTY | libc::O_NOFOLLOW;
    match open(libc::AT_FDCWD, &path, flags) {
        Err(error) if error.raw_os_error() == Some(libc::EACCES) => {}
        _ => return Ok(()),
    }
    // SAFETY: the path is NUL-terminated.
    check(unsafe { libc::unlink(path.as_ptr()) })?;
    become_caller(caller, CAP_MKNOD)?;
    make(&path, libc::S_IFREG | (mode & 0o7777), 0)?;
    become_root()?;
    mount_node(place, caller, &path, (mode, libc::makedev(major, minor))).inspect_err(|_| {
        // SAFETY: the path is NUL-terminated.
        unsafe { libc::unlink(path.as_ptr()) };
    })
}

fn make(path: &CStr, mode: u32, device: libc::dev_t) -> io::Result<()> {
    // SAFETY: the path is NUL-terminated.
    check(unsafe { libc::mknod(path.as_ptr(), mode as libc::mode_t, device) })
}

/// Mounts a device node on a file. The node is in a file system of the host's that nobody else sees.
fn mount_node(
    place: &Place,
    caller: &Caller,
    path: &CStr,
    (mode, device): (u32, libc::dev_t),
) -> io::Result<()> {
    let target = open(libc::AT_FDCWD, path, libc::O_PATH | libc::O_NOFOLLOW)?;
    place.leave()?;
    let memory = Detached::new(c"tmpfs")?.mount(0)?;
    // Only what is mounted somewhere can be cloned. This namespace ends with this process.
    let spot = open(libc::AT_FDCWD, c"/dev", libc::O_PATH)?;
    attach(&memory, &spot)?;
    // SAFETY: the name is NUL-terminated, the descriptor is open.
    unsafe {
        libc::umask(0);
        check(libc::mknodat(
            memory.as_raw_fd(),
            c"node".as_ptr(),
            mode as libc::mode_t & !(caller.umask as libc::mode_t),
            device,
        ))?;
        check(libc::fchownat(
            memory.as_raw_fd(),
            c"node".as_ptr(),
            caller.uid,
            caller.gid,
            0,
        ))?;
    }
    let tree = detached_tree(memory.as_raw_fd(), c"node")?;
    place.enter_again()?;
    attach(&tree, &target)
}

/// Sets an attribute that only the host's root may set, on a directory or file that the caller may write to.
pub(super) fn attribute(
    caller: &Caller,
    path: &[u8],
    (name, value): (&[u8], &[u8]),
    flags: u32,
) -> io::Result<()> {
    let (path, name) = (c_string(path.to_vec())?, c_string(name.to_vec())?);
    become_caller(caller, CAP_SYS_ADMIN)?;
    let file = writable(&path)?;
    // SAFETY: the name is NUL-terminated, the value as long as it says.
    check(unsafe {
        libc::fsetxattr(
            file.as_raw_fd(),
            name.as_ptr(),
            value.as_ptr().cast(),
            value.len(),
            flags as libc::c_int,
        )
    })
}

/// Opens a directory or file that may be written to, so that attributes can be set.
fn writable(path: &CStr) -> io::Result<OwnedFd> {
    // As a mere path it opens nothing that would notice, and takes no attribute.
    let file = open(libc::AT_FDCWD, path, libc::O_PATH)?;
    let found = stat(&file)?;
    if found.st_mode & libc::S_IFMT == libc::S_IFREG {
        let opened = open(libc::AT_FDCWD, path, libc::O_WRONLY | libc::O_NONBLOCK)?;
        let now = stat(&opened)?;
        return match (now.st_dev, now.st_ino) == (found.st_dev, found.st_ino) {
            true => Ok(opened),
            false => Err(io::Error::from_raw_os_error(libc::EPERM)),
        };
    }
    let effective = libc::AT_EMPTY_PATH | libc::AT_EACCESS;
    // SAFETY: an empty path, an open descriptor.
    let may_write = unsafe {
        libc::syscall(
            libc::SYS_faccessat2,
            file.as_raw_fd(),
            c"".as_ptr(),
            libc::W_OK,
            effective,
        )
    };
    check(may_write as i32)?;
    // From the descriptor that was checked.
    open(file.as_raw_fd(), c".", libc::O_RDONLY | libc::O_DIRECTORY)
}

/// Sets how a process is scheduled. The caller's number of it is understood in the caller's pid namespace.
pub(super) fn scheduler(
    process: &OwnedFd,
    (pid, on_host): (u32, bool),
    policy: u32,
    priority: u32,
) -> io::Result<()> {
    let parameter = libc::sched_param {
        sched_priority: priority as libc::c_int,
    };
    let set = || {
        // SAFETY: the parameter outlives the call.
        check(unsafe {
            libc::sched_setscheduler(pid as libc::pid_t, policy as libc::c_int, &raw const parameter)
        })
    };
    if on_host {
        return set();
    }
    let pids = open(process.as_raw_fd(), c"ns/pid", libc::O_RDONLY)?;
    // SAFETY: this program has one thread. The child only makes a system call and ends; its status is waited for.
    unsafe {
        check(libc::setns(pids.as_raw_fd(), libc::CLONE_NEWPID))?;
        let child = libc::fork();
        check(child)?;
        if child == 0 {
            let errno = set().err().and_then(|error| error.raw_os_error()).unwrap_or(0);
            libc::_exit(errno);
        }
        let mut status = 0;
        check(libc::waitpid(child, &raw mut status, 0))?;
        match (libc::WIFEXITED(status), libc::WEXITSTATUS(status)) {
            (true, 0) => Ok(()),
            (true, errno) => Err(io::Error::from_raw_os_error(errno)),
            _ => Err(io::Error::from_raw_os_error(libc::ESRCH)),
        }
    }
}
