//! Where this process stands: its session, its namespaces, its ids, its limits.
#![allow(
    unsafe_code,
    reason = "namespaces, ids and limits of this process, which has one thread"
)]

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

use liblxc::proxy::Ids;

/// Becomes independent of whoever started it: a session of its own, the log in place of the daemon's streams, and as many
/// descriptors as it may have.
pub(super) fn detach(log: &File) -> io::Result<()> {
    // SAFETY: plain system calls on open descriptors; a leader of a session already is one, which is as good.
    unsafe {
        libc::setsid();
        for target in [1, 2] {
            check(libc::dup2(log.as_raw_fd(), target))?;
        }
        let mut limit = libc::rlimit {
            rlim_cur: 0,
            rlim_max: 0,
        };
        check(libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit))?;
        limit.rlim_cur = limit.rlim_max;
        check(libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit))
    }
}

/// Both sides: the namespaces of the host, where this process begins, and those of the container.
pub(super) struct Sides {
    host: [OwnedFd; 2],
    inside: [OwnedFd; 2],
}

impl Sides {
    /// Takes the container's network and mount namespaces.
    pub(super) fn new(inside: Vec<OwnedFd>) -> io::Result<Self> {
        let own = |kind: &str| File::open(format!("/proc/self/ns/{kind}")).map(OwnedFd::from);
        let inside = <[OwnedFd; 2]>::try_from(inside)
            .map_err(|fds| io::Error::other(format!("{} descriptors came, not 2", fds.len())))?;
        Ok(Self {
            host: [own("net")?, own("mnt")?],
            inside,
        })
    }

    /// Moves to one side; to its files only where paths matter there.
    pub(super) fn enter(&self, inside: bool, files: bool) -> io::Result<()> {
        let [net, mnt] = if inside { &self.inside } else { &self.host };
        // SAFETY: plain system calls on open descriptors; nothing else in this process depends on where it stands.
        unsafe {
            check(libc::setns(net.as_raw_fd(), libc::CLONE_NEWNET))?;
            if files {
                check(libc::setns(mnt.as_raw_fd(), libc::CLONE_NEWNS))?;
            }
        }
        Ok(())
    }
}

/// Does something with a file-creation mask and with the file-system ids of somebody, who then is the one that the
/// kernel asks whether they may.
pub(super) fn as_creator<T>(ids: Ids, mode: u32, work: impl FnOnce() -> T) -> T {
    // SAFETY: these calls can't fail; everything is put back.
    unsafe {
        let mask = libc::umask(!mode & 0o777);
        let gid = libc::setfsgid(ids.gid);
        let uid = libc::setfsuid(ids.uid);
        let done = work();
        libc::setfsuid(uid.unsigned_abs());
        libc::setfsgid(gid.unsigned_abs());
        libc::umask(mask);
        done
    }
}

/// Becomes this user for good.
pub(super) fn become_user(ids: Ids) -> io::Result<()> {
    if ids == Ids::default() {
        return Ok(());
    }
    // SAFETY: plain system calls; the empty list of groups needs no memory.
    unsafe {
        check(libc::setgroups(0, std::ptr::null()))?;
        check(libc::setresgid(ids.gid, ids.gid, ids.gid))?;
        check(libc::setresuid(ids.uid, ids.uid, ids.uid))
    }
}

/// Turns the answer of a system call into a result.
pub(super) fn check(result: libc::c_int) -> io::Result<()> {
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(())
    }
}
