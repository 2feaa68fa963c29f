//! System calls that seccomp has held up for another process to answer: what the kernel says about one.
#![allow(unsafe_code, reason = "ioctls of linux/seccomp.h")]

use std::os::fd::{AsRawFd, BorrowedFd};

/// `SECCOMP_IOCTL_NOTIF_ID_VALID`.
const ID_VALID: libc::Ioctl = 0x4008_2102;
/// The same with the direction that kernels before 5.17 knew it by.
const ID_VALID_BEFORE: libc::Ioctl = 0x8008_2102_u32 as libc::Ioctl;

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
    }
}
