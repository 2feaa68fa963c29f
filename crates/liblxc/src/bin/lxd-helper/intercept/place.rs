//! The place of a process: its mount namespace, its root, its working directory; and the rights that count there.
#![allow(unsafe_code, reason = "namespaces, chroot, capabilities, file system ids")]

use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};

use liblxc::intercepted::{At, Caller};

/// `CAP_MKNOD` of linux/capability.h.
pub(super) const CAP_MKNOD: u32 = 27;
/// `CAP_SYS_ADMIN` of linux/capability.h.
pub(super) const CAP_SYS_ADMIN: u32 = 21;

/// `_LINUX_CAPABILITY_VERSION_3` of linux/capability.h.
const CAPABILITY_VERSION: u32 = 0x2008_0522;

/// Where this process has gone, and what it can go back to.
pub(super) struct Place {
    host: OwnedFd,
    mounts: OwnedFd,
    root: OwnedFd,
    base: OwnedFd,
    /// The user namespace of the process.
    pub(super) users: OwnedFd,
}

impl Place {
    /// Goes where a process is, which is named by its folder in `/proc`.
    pub(super) fn enter(process: &OwnedFd, at: Option<At>) -> io::Result<Self> {
        let base = match at.unwrap_or(At::Cwd) {
            At::Cwd => c"cwd".to_owned(),
            At::Descriptor(number) => c_string(format!("fd/{number}").into_bytes())?,
        };
        let directory = libc::O_PATH | libc::O_DIRECTORY;
        let place = Self {
            host: open(libc::AT_FDCWD, c"/proc/self/ns/mnt", libc::O_RDONLY)?,
            mounts: open(process.as_raw_fd(), c"ns/mnt", libc::O_RDONLY)?,
            root: open(process.as_raw_fd(), c"root", directory)?,
            base: open(process.as_raw_fd(), &base, directory)?,
            users: open(process.as_raw_fd(), c"ns/user", libc::O_RDONLY)?,
        };
        place.enter_again()?;
        Ok(place)
    }

    /// Goes there again after [`Place::leave`].
    pub(super) fn enter_again(&self) -> io::Result<()> {
        // SAFETY: plain system calls on open descriptors.
        unsafe {
            check(libc::setns(self.mounts.as_raw_fd(), libc::CLONE_NEWNS))?;
            check(libc::fchdir(self.root.as_raw_fd()))?;
            check(libc::chroot(c".".as_ptr()))?;
            check(libc::fchdir(self.base.as_raw_fd()))
        }
    }

    /// Goes back to the host, into a mount namespace of its own from which nothing spreads.
    pub(super) fn leave(&self) -> io::Result<()> {
        let flags = libc::MS_REC | libc::MS_PRIVATE;
        let none = std::ptr::null();
        // SAFETY: plain system calls; setting propagation reads only the target.
        unsafe {
            check(libc::setns(self.host.as_raw_fd(), libc::CLONE_NEWNS))?;
            check(libc::unshare(libc::CLONE_NEWNS))?;
            check(libc::mount(none, c"/".as_ptr(), none, flags, std::ptr::null()))
        }
    }
}

/// Takes on a caller's rights to files, and keeps one capability of the host's.
pub(super) fn become_caller(caller: &Caller, capability: u32) -> io::Result<()> {
    // SAFETY: the list of groups is as long as it says; the others are plain system calls, of this thread alone, and there
    // is no other.
    unsafe {
        check(libc::syscall(libc::SYS_setgroups, caller.groups.len(), caller.groups.as_ptr()) as i32)?;
        libc::umask(caller.umask as libc::mode_t & 0o777);
        libc::setfsgid(caller.gid);
        libc::setfsuid(caller.uid);
        // They tell the old id: asked again, they tell whether it worked.
        if libc::setfsuid(caller.uid) as u32 != caller.uid || libc::setfsgid(caller.gid) as u32 != caller.gid
        {
            return Err(io::ErrorKind::PermissionDenied.into());
        }
    }
    keep_effective(1 << capability)
}

/// Takes on root's rights again.
pub(super) fn become_root() -> io::Result<()> {
    // SAFETY: plain system calls.
    unsafe {
        libc::setfsuid(0);
        libc::setfsgid(0);
    }
    keep_effective(u64::MAX)
}

/// Makes those of the permitted capabilities effective that are in the mask.
fn keep_effective(mask: u64) -> io::Result<()> {
    let header = [CAPABILITY_VERSION, 0];
    // Effective, permitted, inheritable; the lower and then the upper 32.
    let mut sets = [[0_u32; 3]; 2];
    // SAFETY: both are laid out as the kernel's structures of this version.
    check(unsafe { libc::syscall(libc::SYS_capget, header.as_ptr(), sets.as_mut_ptr()) } as i32)?;
    sets[0][0] = sets[0][1] & (mask & 0xffff_ffff) as u32;
    sets[1][0] = sets[1][1] & (mask >> 32) as u32;
    // SAFETY: as above.
    check(unsafe { libc::syscall(libc::SYS_capset, header.as_ptr(), sets.as_ptr()) } as i32)
}

pub(super) fn c_string(bytes: Vec<u8>) -> io::Result<CString> {
    CString::new(bytes).map_err(|_| io::ErrorKind::InvalidInput.into())
}

pub(super) fn open(folder: RawFd, path: &CStr, flags: libc::c_int) -> io::Result<OwnedFd> {
    // SAFETY: the path is NUL-terminated; the result is checked before it is owned.
    owned(unsafe { libc::openat(folder, path.as_ptr(), flags | libc::O_CLOEXEC) }.into())
}

pub(super) fn stat(file: &OwnedFd) -> io::Result<libc::stat> {
    // SAFETY: an all-zero stat is valid, and the descriptor is open.
    unsafe {
        let mut stat: libc::stat = std::mem::zeroed();
        check(libc::fstat(file.as_raw_fd(), &raw mut stat))?;
        Ok(stat)
    }
}

/// Takes over a new descriptor that a system call returned.
pub(super) fn owned(fd: libc::c_long) -> io::Result<OwnedFd> {
    let fd = RawFd::try_from(fd).unwrap_or(-1);
    check(fd)?;
    // SAFETY: just checked; callers pass what a system call has just opened.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

pub(super) fn check(result: libc::c_int) -> io::Result<()> {
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(())
    }
}
