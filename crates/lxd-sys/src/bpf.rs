//! Programs in the kernel that decide which devices a control group of version 2 may use.
#![allow(unsafe_code, reason = "bpf(2) has no wrapper")]

use std::ffi::CStr;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

// linux/bpf.h
const PROG_LOAD: libc::c_int = 5;
const PROG_ATTACH: libc::c_int = 8;
const PROG_DETACH: libc::c_int = 9;
const TYPE_CGROUP_DEVICE: u32 = 15;
const ATTACH_CGROUP_DEVICE: u32 = 6;

/// The size of an instruction, in bytes.
pub const INSTRUCTION: usize = 8;

/// The attributes of `BPF_PROG_LOAD`, as far as every kernel with device programs knows them.
#[repr(C)]
struct Load {
    kind: u32,
    count: u32,
    instructions: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log: u64,
    kernel_version: u32,
    flags: u32,
}

/// The attributes of `BPF_PROG_ATTACH` and `BPF_PROG_DETACH`.
#[repr(C)]
struct Attach {
    target: u32,
    program: u32,
    kind: u32,
    flags: u32,
    replaced: u32,
}

/// Loads a device program: whole instructions as the kernel's verifier wants them.
///
/// # Errors
/// The kernel refuses the program.
pub fn load_device_program(instructions: &[u8], license: &CStr, flags: u32) -> io::Result<OwnedFd> {
    let count = instructions.len() / INSTRUCTION;
    let attributes = Load {
        kind: TYPE_CGROUP_DEVICE,
        count: u32::try_from(count).map_err(|_| io::Error::from_raw_os_error(libc::E2BIG))?,
        instructions: instructions.as_ptr() as u64,
        license: license.as_ptr() as u64,
        log_level: 0,
        log_size: 0,
        log: 0,
        kernel_version: 0,
        flags,
    };
    let fd = call(PROG_LOAD, &attributes)?;
    // SAFETY: the kernel has just opened it for this process.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Lets a device program decide for a control group: with the flags of linux/bpf.h, in the place of another program where
/// they ask for that.
///
/// # Errors
/// The kernel refuses.
pub fn attach_device_program(
    group: BorrowedFd<'_>,
    program: BorrowedFd<'_>,
    flags: u32,
    replaced: Option<BorrowedFd<'_>>,
) -> io::Result<()> {
    call(PROG_ATTACH, &attach(group, Some(program), flags, replaced)).map(drop)
}

/// Takes a device program away from a control group.
///
/// # Errors
/// The kernel refuses.
pub fn detach_device_program(group: BorrowedFd<'_>, program: Option<BorrowedFd<'_>>) -> io::Result<()> {
    call(PROG_DETACH, &attach(group, program, 0, None)).map(drop)
}

fn attach(
    group: BorrowedFd<'_>,
    program: Option<BorrowedFd<'_>>,
    flags: u32,
    replaced: Option<BorrowedFd<'_>>,
) -> Attach {
    let number = |fd: Option<BorrowedFd<'_>>| fd.map_or(0, |fd| fd.as_raw_fd().cast_unsigned());
    Attach {
        target: group.as_raw_fd().cast_unsigned(),
        program: number(program),
        kind: ATTACH_CGROUP_DEVICE,
        flags,
        replaced: number(replaced),
    }
}

fn call<T>(command: libc::c_int, attributes: &T) -> io::Result<RawFd> {
    let size = std::mem::size_of::<T>();
    // SAFETY: the attributes are the kernel's layout for the command, as long as said, and what they point to outlives
    // the call.
    let result = unsafe { libc::syscall(libc::SYS_bpf, command, std::ptr::from_ref(attributes), size) };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    RawFd::try_from(result).map_err(|_| io::ErrorKind::InvalidData.into())
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use super::*;

    /// `r0 = 1; exit`: everything is allowed.
    const ALLOW: [u8; 16] = [0xb7, 0, 0, 0, 1, 0, 0, 0, 0x95, 0, 0, 0, 0, 0, 0, 0];

    #[test]
    fn only_whole_programs_are_loaded_and_only_groups_take_them() {
        let wrong = load_device_program(&ALLOW[..8], c"GPL", 0);
        assert!(wrong.is_err(), "a program without an end");
        let Ok(program) = load_device_program(&ALLOW, c"GPL", 0) else {
            eprintln!("not run: this takes root's rights and a kernel with device programs");
            return;
        };
        let file = std::fs::File::open("/dev/null").unwrap();
        assert!(attach_device_program(file.as_fd(), program.as_fd(), 0, None).is_err());
        assert!(detach_device_program(file.as_fd(), Some(program.as_fd())).is_err());
    }
}
