//! Mounting in the place of a container's process, and the calls of the kernel's mount interface that this takes.
#![allow(unsafe_code, reason = "system calls without a wrapper in libc")]

use std::ffi::CStr;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};

use liblxc::intercepted::{Caller, Mount};

use super::place::{CAP_SYS_ADMIN, Place, become_caller, become_root, c_string, check, open, owned, stat};

// linux/mount.h
const FSOPEN_CLOEXEC: u32 = 1;
const FSCONFIG_SET_FLAG: u32 = 0;
const FSCONFIG_SET_STRING: u32 = 1;
const FSCONFIG_CMD_CREATE: u32 = 6;
const FSMOUNT_CLOEXEC: u32 = 1;
const MOUNT_ATTR_RDONLY: u32 = 0x1;
const MOUNT_ATTR_NOSUID: u32 = 0x2;
const MOUNT_ATTR_NODEV: u32 = 0x4;
const MOUNT_ATTR_NOEXEC: u32 = 0x8;
const MOUNT_ATTR_NOATIME: u32 = 0x10;
const MOUNT_ATTR_STRICTATIME: u32 = 0x20;
const MOUNT_ATTR_NODIRATIME: u32 = 0x80;
const MOUNT_ATTR_IDMAP: u64 = 0x10_0000;
const MOVE_MOUNT_F_EMPTY_PATH: u32 = 0x4;
const MOVE_MOUNT_T_EMPTY_PATH: u32 = 0x40;
const OPEN_TREE_CLONE: u32 = 1;

/// `struct mount_attr` of linux/mount.h.
#[repr(C)]
struct MountAttr {
    set: u64,
    clear: u64,
    propagation: u64,
    users: u64,
}

/// Mounts a file system in the caller's mount namespace. Device nodes in it don't work, whoever made them.
pub(super) fn mount(place: &Place, caller: &Caller, wanted: &Mount) -> io::Result<()> {
    let (kind, target) = (c_string(wanted.kind.clone())?, c_string(wanted.target.clone())?);
    become_caller(caller, CAP_SYS_ADMIN)?;
    let target = open(libc::AT_FDCWD, &target, libc::O_PATH | libc::O_DIRECTORY)?;
    may_use(wanted)?;
    become_root()?;
    let mut new = Detached::new(&kind)?;
    if !wanted.source.is_empty() {
        new.set(b"source", Some(&wanted.source))?;
    }
    let options = wanted.options.split(|byte| *byte == b',');
    for option in options.filter(|option| !option.is_empty()) {
        match option.iter().position(|byte| *byte == b'=') {
            Some(at) => new.set(&option[..at], Some(&option[at + 1..]))?,
            None => new.set(option, None)?,
        }
    }
    let has = |flag: libc::c_ulong| libc::c_ulong::from(wanted.flags) & flag != 0;
    for (flag, name) in [
        (libc::MS_RDONLY, "ro"),
        (libc::MS_SYNCHRONOUS, "sync"),
        (libc::MS_DIRSYNC, "dirsync"),
    ] {
        if has(flag) {
            new.set(name.as_bytes(), None)?;
        }
    }
    let mounted = new.mount(attributes(has))?;
    if wanted.shift {
        shift(&mounted, &place.users)?;
    }
    attach(&mounted, &target)
}

/// A block device must be one that the caller could open itself.
fn may_use(wanted: &Mount) -> io::Result<()> {
    let source = c_string(wanted.source.clone())?;
    let Ok(held) = open(libc::AT_FDCWD, &source, libc::O_PATH) else {
        // Not a path: what it means is the file system's business.
        return Ok(());
    };
    if stat(&held)?.st_mode & libc::S_IFMT != libc::S_IFBLK {
        return Ok(());
    }
    let access = match libc::c_ulong::from(wanted.flags) & libc::MS_RDONLY {
        0 => libc::O_RDWR,
        _ => libc::O_RDONLY,
    };
    open(libc::AT_FDCWD, &source, access).map(drop)
}

fn attributes(has: impl Fn(libc::c_ulong) -> bool) -> u32 {
    let map = [
        (libc::MS_RDONLY, MOUNT_ATTR_RDONLY),
        (libc::MS_NOSUID, MOUNT_ATTR_NOSUID),
        (libc::MS_NOEXEC, MOUNT_ATTR_NOEXEC),
        (libc::MS_NODIRATIME, MOUNT_ATTR_NODIRATIME),
    ];
    let mut all = MOUNT_ATTR_NODEV;
    for (flag, attribute) in map {
        if has(flag) {
            all |= attribute;
        }
    }
    // These two are values of one field.
    if has(libc::MS_NOATIME) {
        all |= MOUNT_ATTR_NOATIME;
    } else if has(libc::MS_STRICTATIME) {
        all |= MOUNT_ATTR_STRICTATIME;
    }
    all
}

fn shift(mounted: &OwnedFd, users: &OwnedFd) -> io::Result<()> {
    let attr = MountAttr {
        set: MOUNT_ATTR_IDMAP,
        clear: 0,
        propagation: 0,
        users: users.as_raw_fd() as u64,
    };
    let size = std::mem::size_of::<MountAttr>();
    // SAFETY: the structure is the kernel's and outlives the call.
    check(unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            mounted.as_raw_fd(),
            c"".as_ptr(),
            libc::AT_EMPTY_PATH,
            &raw const attr,
            size,
        )
    } as i32)
}

/// A file system that is being set up.
pub(super) struct Detached(OwnedFd);

impl Detached {
    pub(super) fn new(kind: &CStr) -> io::Result<Self> {
        // SAFETY: the name is NUL-terminated.
        owned(unsafe { libc::syscall(libc::SYS_fsopen, kind.as_ptr(), FSOPEN_CLOEXEC) }).map(Self)
    }

    fn set(&mut self, key: &[u8], value: Option<&[u8]>) -> io::Result<()> {
        let key = c_string(key.to_vec())?;
        let value = value.map(|value| c_string(value.to_vec())).transpose()?;
        let command = value.as_ref().map_or(FSCONFIG_SET_FLAG, |_| FSCONFIG_SET_STRING);
        let value = value.as_ref().map_or(std::ptr::null(), |value| value.as_ptr());
        self.configure(command, key.as_ptr(), value)
    }

    fn configure(
        &self,
        command: u32,
        key: *const libc::c_char,
        value: *const libc::c_char,
    ) -> io::Result<()> {
        // SAFETY: both texts are NUL-terminated or null, as the command wants them.
        check(unsafe { libc::syscall(libc::SYS_fsconfig, self.0.as_raw_fd(), command, key, value, 0) } as i32)
    }

    /// Makes the mount, which is nowhere yet.
    pub(super) fn mount(self, attributes: u32) -> io::Result<OwnedFd> {
        self.configure(FSCONFIG_CMD_CREATE, std::ptr::null(), std::ptr::null())?;
        // SAFETY: plain system call on an open descriptor.
        owned(unsafe { libc::syscall(libc::SYS_fsmount, self.0.as_raw_fd(), FSMOUNT_CLOEXEC, attributes) })
    }
}

/// Puts a detached mount on what a descriptor holds.
pub(super) fn attach(mount: &OwnedFd, target: &OwnedFd) -> io::Result<()> {
    let flags = MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH;
    // SAFETY: empty paths, open descriptors.
    check(unsafe {
        libc::syscall(
            libc::SYS_move_mount,
            mount.as_raw_fd(),
            c"".as_ptr(),
            target.as_raw_fd(),
            c"".as_ptr(),
            flags,
        )
    } as i32)
}

/// A detached mount of what a path shows.
pub(super) fn detached_tree(folder: RawFd, path: &CStr) -> io::Result<OwnedFd> {
    let flags = OPEN_TREE_CLONE as libc::c_int | libc::O_CLOEXEC;
    // SAFETY: the path is NUL-terminated.
    owned(unsafe { libc::syscall(libc::SYS_open_tree, folder, path.as_ptr(), flags) })
}
