//! Making the process: clone without copying memory, set it up, exec.
#![allow(unsafe_code, reason = "clone with shared memory has no safe wrapper")]

use std::ffi::{CString, c_char, c_int, c_void};
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};

/// Enough for the child's few frames; it runs a dozen system calls on it and then execs.
const STACK: usize = 64 * 1024;

/// The steps a child can fail in, by the number it reports.
const STEPS: [&str; 7] = [
    "executing it",
    "entering a namespace",
    "starting a session",
    "starting a process group",
    "passing file descriptors",
    "taking the terminal",
    "changing the directory",
];

/// What is to be executed, and as what.
pub(super) struct Image {
    pub(super) program: CString,
    pub(super) argv: Vec<CString>,
    pub(super) env: Vec<CString>,
    pub(super) cwd: Option<CString>,
    pub(super) session: bool,
    pub(super) group: bool,
    pub(super) terminal: bool,
    pub(super) umask: Option<u32>,
}

/// Everything the child reads, and the error it writes; lives in memory that both share until exec.
struct Plan<'a> {
    image: &'a Image,
    argv: &'a [*const c_char],
    env: &'a [*const c_char],
    fds: &'a [(RawFd, RawFd)],
    namespaces: &'a [RawFd],
    failed_step: usize,
    errno: c_int,
}

/// Starts the program with exactly the descriptors `fds` (ours, the child's number). Gives the process id and its pidfd.
pub(super) fn start(
    image: &Image,
    fds: Vec<(OwnedFd, RawFd)>,
    namespaces: &[OwnedFd],
) -> Result<(i32, OwnedFd), (&'static str, io::Error)> {
    let highest = fds.iter().map(|(_, target)| *target).max().unwrap_or(2);
    // A source whose number is also somebody's target would be overwritten on the way: lift all of them above.
    let lifted: Vec<(OwnedFd, RawFd)> = fds
        .into_iter()
        .map(|(fd, target)| {
            if fd.as_raw_fd() > highest {
                return Ok((fd, target));
            }
            Ok((rustix::io::fcntl_dupfd_cloexec(&fd, highest + 1)?, target))
        })
        .collect::<io::Result<_>>()
        .map_err(|e| ("duplicating descriptors", e))?;
    let numbers: Vec<(RawFd, RawFd)> = lifted
        .iter()
        .map(|(fd, target)| (fd.as_raw_fd(), *target))
        .collect();
    let namespaces: Vec<RawFd> = namespaces.iter().map(AsRawFd::as_raw_fd).collect();
    let argv = pointers(&image.argv);
    let env = pointers(&image.env);
    let mut plan = Plan {
        image,
        argv: &argv,
        env: &env,
        fds: &numbers,
        namespaces: &namespaces,
        failed_step: 0,
        errno: 0,
    };
    let (pid, pidfd) = clone_child(&mut plan).map_err(|e| ("cloning", e))?;
    if plan.errno != 0 {
        let _ = rustix::process::waitid(
            rustix::process::WaitId::PidFd(std::os::fd::AsFd::as_fd(&pidfd)),
            rustix::process::WaitIdOptions::EXITED,
        );
        let step = STEPS.get(plan.failed_step).copied().unwrap_or(STEPS[0]);
        return Err((step, io::Error::from_raw_os_error(plan.errno)));
    }
    Ok((pid, pidfd))
}

fn pointers(strings: &[CString]) -> Vec<*const c_char> {
    strings
        .iter()
        .map(|s| s.as_ptr())
        .chain(std::iter::once(std::ptr::null()))
        .collect()
}

fn clone_child(plan: &mut Plan<'_>) -> io::Result<(i32, OwnedFd)> {
    let mut stack: Vec<MaybeUninit<u128>> = Vec::with_capacity(STACK / 16);
    let mut pidfd: c_int = -1;
    let mut all = MaybeUninit::<libc::sigset_t>::uninit();
    let mut before = MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: both sets are valid for writing. With every signal blocked no handler of ours can run in the child while it
    // shares our memory; the child resets handlers before it unblocks.
    unsafe {
        libc::sigfillset(all.as_mut_ptr());
        libc::pthread_sigmask(libc::SIG_SETMASK, all.as_ptr(), before.as_mut_ptr());
    }
    // SAFETY: CLONE_VFORK suspends this thread until the child has exec'ed or exited, so `plan` and the stack outlive the
    // child's use of them; the child calls only async-signal-safe functions and allocates nothing. The stack's end is
    // 16-byte aligned because its elements are.
    let pid = unsafe {
        libc::clone(
            child,
            stack.as_mut_ptr().add(stack.capacity()).cast::<c_void>(),
            libc::CLONE_VM | libc::CLONE_VFORK | libc::CLONE_PIDFD | libc::SIGCHLD,
            std::ptr::from_mut(plan).cast::<c_void>(),
            std::ptr::from_mut(&mut pidfd),
        )
    };
    let error = io::Error::last_os_error();
    // SAFETY: `before` was filled by the call above.
    unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, before.as_ptr(), std::ptr::null_mut()) };
    if pid < 0 {
        return Err(error);
    }
    // SAFETY: the kernel stored a new descriptor there that nobody else owns.
    Ok((pid, unsafe { OwnedFd::from_raw_fd(pidfd) }))
}

/// The child between clone and exec. Shares the parent's memory: no allocation, no lock, no panic.
extern "C" fn child(argument: *mut c_void) -> c_int {
    // SAFETY: the argument is the parent's `Plan`, which is suspended until we exec or exit.
    let plan = unsafe { &mut *argument.cast::<Plan<'_>>() };
    // SAFETY: see `set_up`.
    let step = unsafe { set_up(plan) };
    // SAFETY: errno is thread-local memory that the suspended parent does not use meanwhile.
    plan.errno = unsafe { *libc::__errno_location() };
    plan.failed_step = step;
    // SAFETY: ends only this process, without running exit handlers.
    unsafe { libc::_exit(127) }
}

/// Does all the wishes and execs; returns the number of the step that failed.
///
/// # Safety
/// To be called only in the cloned child: changes descriptors, signals and the working directory of the process.
unsafe fn set_up(plan: &Plan<'_>) -> usize {
    let image = plan.image;
    // SAFETY: plain system calls on values and pointers that the parent prepared and keeps alive.
    unsafe {
        // The kernel's own struct: SIG_DFL, no flags, nothing masked are all zero. The C library's call would refuse the
        // two real-time signals it keeps for itself, which may be ignored in us.
        let default = [0_u64; 4];
        for signal in 1..=64 {
            libc::syscall(
                libc::SYS_rt_sigaction,
                signal,
                default.as_ptr(),
                std::ptr::null::<c_void>(),
                8_usize,
            );
        }
        let none: libc::sigset_t = std::mem::zeroed();
        libc::sigprocmask(libc::SIG_SETMASK, &raw const none, std::ptr::null_mut());
        for fd in plan.namespaces {
            if libc::setns(*fd, 0) != 0 {
                return 1;
            }
        }
        if image.session && libc::setsid() < 0 {
            return 2;
        }
        if image.group && !image.session && libc::setpgid(0, 0) != 0 {
            return 3;
        }
        if let Some(mask) = image.umask {
            libc::umask(mask);
        }
        // Whatever is open, by us or by a library that forgot O_CLOEXEC, ends with exec.
        if libc::syscall(libc::SYS_close_range, 3, u32::MAX, libc::CLOSE_RANGE_CLOEXEC) != 0 {
            return 4;
        }
        for (from, to) in plan.fds {
            if libc::dup2(*from, *to) < 0 {
                return 4;
            }
        }
        if image.terminal && libc::ioctl(0, libc::TIOCSCTTY, 0) != 0 {
            return 5;
        }
        if let Some(cwd) = &image.cwd
            && libc::chdir(cwd.as_ptr()) != 0
        {
            return 6;
        }
        libc::execve(image.program.as_ptr(), plan.argv.as_ptr(), plan.env.as_ptr());
    }
    0
}
