//! System calls that seccomp has held up for another process to answer: what the kernel says about one.
#![allow(unsafe_code, reason = "ioctls of linux/seccomp.h")]

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

/// `SECCOMP_IOCTL_NOTIF_ID_VALID`.
const ID_VALID: libc::Ioctl = 0x4008_2102;
/// The same with the direction that kernels before 5.17 knew it by.
const ID_VALID_BEFORE: libc::Ioctl = 0x8008_2102_u32 as libc::Ioctl;

/// `SECCOMP_IOCTL_NOTIF_ADDFD`.
const ADD_FD: libc::Ioctl = 0x4018_2103;

/// `struct seccomp_notif_addfd` of linux/seccomp.h.
#[repr(C)]
struct AddFd {
    id: u64,
    flags: u32,
    source: u32,
    target: u32,
    target_flags: u32,
}

/// Gives the process whose call waits a descriptor, which is closed when it executes another program. Its number there.
///
/// # Errors
/// The call waits no more; the process may have no more descriptors; the kernel is older than 5.9.
pub fn give(listener: BorrowedFd<'_>, id: u64, fd: BorrowedFd<'_>) -> io::Result<i32> {
    let request = AddFd {
        id,
        flags: 0,
        source: fd.as_raw_fd().cast_unsigned(),
        target: 0,
        target_flags: libc::O_CLOEXEC.cast_unsigned(),
    };
    // SAFETY: the structure is the kernel's and outlives the call.
    match unsafe { libc::ioctl(listener.as_raw_fd(), ADD_FD, &raw const request) } {
        number if number >= 0 => Ok(number),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Whether the call of this id still waits for its answer: whether what was read about its process was about it, and not
/// about another one with the same number.
pub fn is_waiting(listener: BorrowedFd<'_>, id: u64) -> bool {
    [ID_VALID, ID_VALID_BEFORE].into_iter().any(|request| {
        // SAFETY: both requests read one u64.
        unsafe { libc::ioctl(listener.as_raw_fd(), request, &raw const id) == 0 }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd;

    #[test]
    fn what_is_no_listener_knows_no_call() {
        let file = std::fs::File::open("/dev/null").unwrap();
        assert!(!is_waiting(file.as_fd(), 1));
        assert!(give(file.as_fd(), 1, file.as_fd()).is_err());
    }
}
