//! Changes what a running container sees: mounts moved to their places, mounts taken away, events of the kernel told.
//!
//! The daemon opens the container's namespaces and hands them over as descriptors 3 and up, so that no process id is
//! resolved here. Everything is done with the rights of the container's own root, so a path inside can lead nowhere else.
#![allow(unsafe_code, reason = "setns, identity, mount, one netlink socket")]

use std::ffi::CString;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::path::Path;

/// Where containers find what the daemon puts into their folder of shared mounts.
const SHARED: &str = "/dev/.lxd-mounts";

/// Moves `SHARED/name` to `target`, which is made if it is not there.
pub(crate) fn mount(
    name: &str,
    target: &str,
    kind: &str,
    propagation: &str,
    spaces: &str,
) -> Result<(), String> {
    enter(spaces)?;
    let target = Path::new(target);
    make(target, kind == "file").map_err(|e| format!("creating {}: {e}", target.display()))?;
    let shared = format!("{SHARED}/{name}");
    call(Some(&shared), target, libc::MS_MOVE)
        .map_err(|e| format!("moving the mount to {}: {e}", target.display()))?;
    let flags = match propagation {
        "" => return Ok(()),
        word => flags(word).ok_or_else(|| format!("unknown propagation {word:?}"))?,
    };
    call(None, target, flags).map_err(|e| format!("changing the propagation of {}: {e}", target.display()))
}

/// Takes the mount at `target` away, and the place that was made for it if `removes`. Nothing there is fine.
pub(crate) fn unmount(target: &str, removes: bool, spaces: &str) -> Result<(), String> {
    enter(spaces)?;
    let path = c_string(target).map_err(|e| e.to_string())?;
    // SAFETY: the path is NUL-terminated and outlives the call.
    if unsafe { libc::umount2(path.as_ptr(), libc::MNT_DETACH) } < 0 {
        let error = io::Error::last_os_error();
        if !matches!(error.raw_os_error(), Some(libc::EINVAL | libc::ENOENT)) {
            return Err(format!("unmounting {target}: {error}"));
        }
    }
    if removes {
        forget(Path::new(target));
    }
    Ok(())
}

/// Removes an empty folder or file that a mount was on. Whatever is not empty, busy or read-only was not made for it.
fn forget(target: &Path) {
    let _ = match target.symlink_metadata() {
        Ok(found) if found.is_dir() => std::fs::remove_dir(target),
        Ok(found) if found.is_file() && found.len() == 0 => std::fs::remove_file(target),
        _ => Ok(()),
    };
}

/// Tells processes inside what the kernel has told the host: the event's header, then its `KEY=value` lines.
pub(crate) fn uevent(lines: &[&str], spaces: &str) -> Result<(), String> {
    enter(spaces)?;
    let mut message = Vec::new();
    for line in lines {
        message.extend_from_slice(line.as_bytes());
        message.push(0);
    }
    send(&message).map_err(|e| format!("sending an event: {e}"))
}

/// Enters the namespaces behind descriptors 3 and up, in order; `spaces` has a letter for each. The user namespace
/// comes first and brings its root's identity.
fn enter(spaces: &str) -> Result<(), String> {
    let fail = |what: &str| format!("{what}: {}", io::Error::last_os_error());
    for (fd, letter) in (3..).zip(spaces.chars()) {
        // SAFETY: plain system calls without pointers but an empty list; this process has one thread.
        unsafe {
            if libc::setns(fd, 0) < 0 {
                return Err(fail("entering a namespace"));
            }
            if letter == 'u'
                && (libc::setgroups(0, std::ptr::null()) < 0
                    || libc::setresgid(0, 0, 0) < 0
                    || libc::setresuid(0, 0, 0) < 0)
            {
                return Err(fail("becoming root inside"));
            }
        }
    }
    // SAFETY: plain system call.
    unsafe { libc::umask(0o022) };
    Ok(())
}

fn make(target: &Path, is_file: bool) -> io::Result<()> {
    if target.exists() {
        return Ok(());
    }
    if !is_file {
        return std::fs::create_dir_all(target);
    }
    if let Some(parent) = target.parent() {
        std::fs::create_dir_all(parent)?;
    }
    std::fs::File::create(target).map(drop)
}

fn call(source: Option<&str>, target: &Path, flags: libc::c_ulong) -> io::Result<()> {
    let source = source.map(c_string).transpose()?;
    let target = c_string(&target.to_string_lossy())?;
    let source = source.as_ref().map_or(std::ptr::null(), |text| text.as_ptr());
    // SAFETY: both paths are NUL-terminated or null and outlive the call; no file system and no data are given.
    let done = unsafe { libc::mount(source, target.as_ptr(), std::ptr::null(), flags, std::ptr::null()) };
    if done < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

fn flags(word: &str) -> Option<libc::c_ulong> {
    let (recursive, name) = match word.strip_prefix('r') {
        Some(name) => (libc::MS_REC, name),
        None => (0, word),
    };
    let flag = match name {
        "shared" => libc::MS_SHARED,
        "slave" => libc::MS_SLAVE,
        "private" => libc::MS_PRIVATE,
        "unbindable" => libc::MS_UNBINDABLE,
        _ => return None,
    };
    Some(flag | recursive)
}

fn send(message: &[u8]) -> io::Result<()> {
    let (family, kind) = (libc::AF_NETLINK, libc::SOCK_RAW | libc::SOCK_CLOEXEC);
    // SAFETY: the descriptor is checked before it is owned; the header and the message are valid for the lengths given.
    let sent = unsafe {
        let fd = libc::socket(family, kind, libc::NETLINK_KOBJECT_UEVENT);
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        let socket = OwnedFd::from_raw_fd(fd);
        let length = 16 + message.len();
        let mut bytes = Vec::with_capacity(length);
        // struct nlmsghdr: length, type, flags, sequence, port.
        bytes.extend_from_slice(&(length as u32).to_ne_bytes());
        bytes.extend_from_slice(&0u16.to_ne_bytes());
        bytes.extend_from_slice(&((libc::NLM_F_REQUEST | libc::NLM_F_ACK) as u16).to_ne_bytes());
        bytes.extend_from_slice(&[0; 8]);
        bytes.extend_from_slice(message);
        libc::send(socket.as_raw_fd(), bytes.as_ptr().cast(), bytes.len(), 0)
    };
    if sent < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

fn c_string(text: &str) -> io::Result<CString> {
    CString::new(text).map_err(io::Error::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_propagation() {
        assert_eq!(flags("rshared"), Some(libc::MS_SHARED | libc::MS_REC));
        assert_eq!(flags("slave"), Some(libc::MS_SLAVE));
        assert_eq!(flags("nonsense"), None);
    }

    #[test]
    fn places_are_made_where_they_are_missing() {
        let folder = tempfile::tempdir().unwrap();
        let (file, deep) = (folder.path().join("a/b"), folder.path().join("c/d"));
        make(&file, true).unwrap();
        make(&deep, false).unwrap();
        std::fs::write(&file, "kept").unwrap();
        make(&file, true).unwrap();
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "kept");
        assert!(deep.is_dir());
        forget(&file);
        assert!(file.exists(), "it is not empty");
        forget(&deep);
        assert!(!deep.exists());
    }
}
