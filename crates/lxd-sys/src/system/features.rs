//! What the running kernel can do that containers profit from.
#![allow(unsafe_code, reason = "asking seccomp(2)")]

use std::path::Path;

use super::{kernel, version_of};
use crate::userns;

/// Features of the running kernel, asked for where it can be asked and else known from its version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KernelFeatures {
    /// Mounts can shift ids on the file system asked about (asked by trying).
    pub idmapped_mounts: bool,
    /// Addresses of another namespace can be asked for by its id (4.20).
    pub netnsid_getifaddrs: bool,
    /// System calls can be answered by another process (asked).
    pub seccomp_listener: bool,
    /// That process can let them through after all (5.5).
    pub seccomp_listener_continue: bool,
    /// The shiftfs file system is there (asked).
    pub shiftfs: bool,
    /// Device events can be sent into a namespace (4.18).
    pub uevent_injection: bool,
    /// File capabilities work in user namespaces (4.14).
    pub unpriv_fscaps: bool,
}

impl KernelFeatures {
    /// Asks the kernel; idmapped mounts on the file system of `path`.
    pub fn probe(path: &Path) -> Self {
        let version = version_of(&kernel().release);
        let seccomp_listener = has_seccomp_listener();
        Self {
            idmapped_mounts: userns::idmapped_mounts_supported(path),
            netnsid_getifaddrs: version >= (4, 20),
            seccomp_listener,
            seccomp_listener_continue: seccomp_listener && version >= (5, 5),
            shiftfs: has_file_system("shiftfs"),
            uevent_injection: version >= (4, 18),
            unpriv_fscaps: version >= (4, 14),
        }
    }
}

fn has_file_system(name: &str) -> bool {
    let known = std::fs::read_to_string("/proc/filesystems").unwrap_or_default();
    known
        .lines()
        .any(|line| line.split_whitespace().last() == Some(name))
}

fn has_seccomp_listener() -> bool {
    let mut sizes = [0_u16; 3];
    // SAFETY: SECCOMP_GET_NOTIF_SIZES fills three 16-bit numbers and changes nothing.
    let answer = unsafe {
        libc::syscall(
            libc::SYS_seccomp,
            libc::SECCOMP_GET_NOTIF_SIZES,
            0,
            sizes.as_mut_ptr(),
        )
    };
    answer == 0
}
