//! Mounts by file descriptor (open_tree, move_mount, mount_setattr) and the few classic calls that have no such form.
#![allow(unsafe_code)] // mount_setattr(2) has no wrapper in rustix.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, StatxAttributes, StatxFlags};
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MountPropagationFlags, MoveMountFlags, OpenTreeFlags,
    UnmountFlags,
};

mod info;
mod options;
mod overlay;
mod private;
#[cfg(test)]
mod tests;

pub use info::{Mount, mounts, mounts_beneath, parse_mountinfo};
pub use options::{Options, filesystem, propagate, propagation, remount};
pub use overlay::{Overlay, OverlayMaps, overlay_view};
pub use private::{freeze_all, private_namespace};

/// A mount call that failed.
#[derive(Debug, thiserror::Error)]
pub enum MountError {
    /// A system call on a path.
    #[error("{doing} {}", path.display())]
    Call {
        /// What was being done, as the beginning of a sentence.
        doing: &'static str,
        /// To which path.
        path: PathBuf,
        /// The kernel's answer.
        #[source]
        source: io::Error,
    },
    /// Configuring a new file system.
    #[error("mounting {fstype}: {step}{log}")]
    Configure {
        /// The type of file system.
        fstype: &'static str,
        /// The option or step that failed.
        step: String,
        /// What the kernel logged for it, with a leading separator, or nothing.
        log: String,
        /// The kernel's answer.
        #[source]
        source: io::Error,
    },
    /// The kernel mounted it, but read-only (overlayfs does so when it can't use its work directory).
    #[error("{fstype} for {} came out read-only", target.display())]
    ReadOnly {
        /// The type of file system.
        fstype: &'static str,
        /// Where it should have gone.
        target: PathBuf,
    },
}

impl MountError {
    pub(crate) fn call(doing: &'static str, path: &Path, source: impl Into<io::Error>) -> Self {
        Self::Call {
            doing,
            path: path.to_path_buf(),
            source: source.into(),
        }
    }
}

/// How mounts and unmounts beneath a mount travel to its peers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Propagation {
    /// To and from the peers.
    Shared,
    /// Only from the master.
    Slave,
    /// Not at all.
    Private,
}

/// What [`bind`] makes of the source.
#[derive(Debug, Clone, Copy, Default)]
pub struct BindOptions<'a> {
    /// The mounts beneath the source come along.
    pub recursive: bool,
    /// No writing through the new mount.
    pub read_only: bool,
    /// Ids are mapped by this user namespace (see [`crate::userns::create`]).
    pub userns: Option<BorrowedFd<'a>>,
}

/// A detached copy of the mount at `path`, of the subtree from `path` on (open_tree(2)).
pub fn open_tree(path: &Path, recursive: bool) -> Result<OwnedFd, MountError> {
    let mut flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    if recursive {
        flags |= OpenTreeFlags::AT_RECURSIVE;
    }
    rustix::mount::open_tree(CWD, path, flags).map_err(|e| MountError::call("cloning the mount at", path, e))
}

/// Puts a detached mount at `target`.
pub fn attach(tree: BorrowedFd<'_>, target: &Path) -> Result<(), MountError> {
    rustix::mount::move_mount(tree, "", CWD, target, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)
        .map_err(|e| MountError::call("mounting on", target, e))
}

/// Gives a detached mount the id map of `userns` (Linux 5.12 and later, file system permitting).
pub fn set_idmap(tree: BorrowedFd<'_>, userns: BorrowedFd<'_>, recursive: bool) -> Result<(), MountError> {
    let attributes = MountAttributes {
        set: libc::MOUNT_ATTR_IDMAP,
        userns: userns.as_raw_fd() as u64,
        ..Default::default()
    };
    mount_setattr(tree, &attributes, recursive)
        .map_err(|e| MountError::call("mapping the ids of the mount", &descriptor_path(tree), e))
}

/// Makes a detached or attached mount read-only.
pub fn set_read_only(tree: BorrowedFd<'_>, recursive: bool) -> Result<(), MountError> {
    let attributes = MountAttributes {
        set: libc::MOUNT_ATTR_RDONLY,
        ..Default::default()
    };
    mount_setattr(tree, &attributes, recursive)
        .map_err(|e| MountError::call("making read-only the mount", &descriptor_path(tree), e))
}

/// Makes device nodes and set-user-ID bits of a detached or attached mount mean nothing.
pub fn set_harmless(tree: BorrowedFd<'_>) -> Result<(), MountError> {
    let attributes = MountAttributes {
        set: libc::MOUNT_ATTR_NODEV | libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NOEXEC,
        ..Default::default()
    };
    mount_setattr(tree, &attributes, false)
        .map_err(|e| MountError::call("restricting the mount", &descriptor_path(tree), e))
}

/// Makes `source` (directory or file) visible at `target`, which exists.
pub fn bind(source: &Path, target: &Path, options: BindOptions<'_>) -> Result<(), MountError> {
    let tree = open_tree(source, options.recursive)?;
    if let Some(userns) = options.userns {
        set_idmap(tree.as_fd(), userns, options.recursive)?;
    }
    if options.read_only {
        set_read_only(tree.as_fd(), options.recursive)?;
    }
    attach(tree.as_fd(), target)
}

/// Mounts a tmpfs with options such as `("size", "100k")`, `("mode", "0711")`.
pub fn tmpfs(target: &Path, options: &[(&str, &str)]) -> Result<(), MountError> {
    let context = FsContext::open("tmpfs")?;
    context.set("source", "tmpfs")?;
    for (key, value) in options {
        context.set(key, value)?;
    }
    attach(context.create()?.as_fd(), target)
}

/// Changes the propagation of the mount at `target`, with `recursive` of those beneath it too.
pub fn set_propagation(target: &Path, propagation: Propagation, recursive: bool) -> Result<(), MountError> {
    let mut flags = match propagation {
        Propagation::Shared => MountPropagationFlags::SHARED,
        // "Downstream" is rustix's word for MS_SLAVE.
        Propagation::Slave => MountPropagationFlags::DOWNSTREAM,
        Propagation::Private => MountPropagationFlags::PRIVATE,
    };
    if recursive {
        flags |= MountPropagationFlags::REC;
    }
    rustix::mount::mount_change(target, flags)
        .map_err(|e| MountError::call("changing the propagation of", target, e))
}

/// Makes `directory` a shared mount point of itself, unless it is a mount already (then only shared); gives whether it
/// made one.
pub fn make_shared_mount(directory: &Path) -> Result<bool, MountError> {
    let is_new = !is_mountpoint(directory);
    if is_new {
        bind(
            directory,
            directory,
            BindOptions {
                recursive: true,
                ..Default::default()
            },
        )?;
    }
    set_propagation(directory, Propagation::Shared, false)?;
    Ok(is_new)
}

/// Whether a directory is mounted on itself, as [`make_shared_mount`] does it, and not a file system of its own.
pub fn is_mounted_on_itself(directory: &Path) -> Result<bool, MountError> {
    let all = mounts()?;
    let Some(top) = all.iter().rev().find(|mount| mount.target == directory) else {
        return Ok(false);
    };
    let Some(below) = all.iter().find(|mount| mount.id == top.parent) else {
        return Ok(false);
    };
    let Ok(inside) = directory.strip_prefix(&below.target) else {
        return Ok(false);
    };
    Ok(top.source == below.source && top.fstype == below.fstype && top.root == below.root.join(inside))
}

/// Unmounts; fails while the mount is busy.
pub fn unmount(target: &Path) -> Result<(), MountError> {
    rustix::mount::unmount(target, UnmountFlags::NOFOLLOW)
        .map_err(|e| MountError::call("unmounting", target, e))
}

/// Takes the mount, with everything beneath it, out of the tree at once; the kernel ends it when its last user has gone.
/// Not being a mount point is no error.
pub fn detach(target: &Path) -> Result<(), MountError> {
    match rustix::mount::unmount(target, UnmountFlags::DETACH | UnmountFlags::NOFOLLOW) {
        Ok(()) | Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOENT) => Ok(()),
        Err(e) => Err(MountError::call("detaching", target, e)),
    }
}

/// Detaches every mount at or beneath `root`, the youngest first, stacked ones too. Goes on after a failure; returns how many
/// were detached and the failures.
pub fn detach_beneath(root: &Path) -> (usize, Vec<MountError>) {
    let found = match mounts_beneath(root) {
        Ok(found) => found,
        Err(e) => return (0, vec![e]),
    };
    let mut failures = Vec::new();
    let mut detached = 0;
    for mount in found.iter().rev() {
        match detach(&mount.target) {
            Ok(()) => detached += 1,
            Err(e) => failures.push(e),
        }
    }
    (detached, failures)
}

/// Whether `path` itself is the root of a mount. A missing path is not.
pub fn is_mountpoint(path: &Path) -> bool {
    rustix::fs::statx(
        CWD,
        path,
        AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT,
        StatxFlags::TYPE,
    )
    .is_ok_and(|stat| stat.stx_attributes.contains(StatxAttributes::MOUNT_ROOT))
}

/// A file system that is being configured (fsopen(2)).
pub(crate) struct FsContext {
    fstype: &'static str,
    fd: OwnedFd,
}

impl FsContext {
    pub(crate) fn open(fstype: &'static str) -> Result<Self, MountError> {
        match rustix::mount::fsopen(fstype, FsOpenFlags::FSOPEN_CLOEXEC) {
            Ok(fd) => Ok(Self { fstype, fd }),
            Err(e) => Err(MountError::Configure {
                fstype,
                step: "opening the file system type".into(),
                log: String::new(),
                source: e.into(),
            }),
        }
    }

    pub(crate) fn set(&self, key: &str, value: &str) -> Result<(), MountError> {
        rustix::mount::fsconfig_set_string(self.fd.as_fd(), key, value)
            .map_err(|e| self.error(format!("{key}={value}"), e))
    }

    pub(crate) fn set_fd(&self, key: &str, fd: BorrowedFd<'_>) -> Result<(), MountError> {
        rustix::mount::fsconfig_set_fd(self.fd.as_fd(), key, fd)
            .map_err(|e| self.error(format!("{key}={}", descriptor_path(fd).display()), e))
    }

    /// The detached mount of the file system.
    pub(crate) fn create(&self) -> Result<OwnedFd, MountError> {
        rustix::mount::fsconfig_create(self.fd.as_fd())
            .map_err(|e| self.error("creating the file system".into(), e))?;
        rustix::mount::fsmount(
            self.fd.as_fd(),
            FsMountFlags::FSMOUNT_CLOEXEC,
            MountAttrFlags::empty(),
        )
        .map_err(|e| self.error("making the mount".into(), e))
    }

    /// The kernel leaves sentences for humans on the descriptor: one read(2), one message.
    fn error(&self, step: String, source: rustix::io::Errno) -> MountError {
        let mut log = String::new();
        let mut buffer = [0_u8; 1024];
        while let Ok(n @ 1..) = rustix::io::read(&self.fd, &mut buffer) {
            let line = String::from_utf8_lossy(buffer.get(..n).unwrap_or_default())
                .trim_end()
                .to_owned();
            log.push_str(": ");
            log.push_str(&line);
        }
        MountError::Configure {
            fstype: self.fstype,
            step,
            log,
            source: source.into(),
        }
    }
}

/// `struct mount_attr` of mount_setattr(2), version 0.
#[repr(C)]
#[derive(Default)]
struct MountAttributes {
    set: u64,
    clear: u64,
    propagation: u64,
    userns: u64,
}

fn mount_setattr(tree: BorrowedFd<'_>, attributes: &MountAttributes, recursive: bool) -> io::Result<()> {
    let flags = libc::AT_EMPTY_PATH | if recursive { libc::AT_RECURSIVE } else { 0 };
    // SAFETY: the path is a NUL-terminated constant and the structure lives through the call, with its true size.
    let result = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            tree.as_raw_fd(),
            c"".as_ptr(),
            flags,
            std::ptr::from_ref(attributes),
            size_of::<MountAttributes>(),
        )
    };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// The path behind a descriptor, for messages.
fn descriptor_path(fd: BorrowedFd<'_>) -> PathBuf {
    let link = PathBuf::from(format!("/proc/self/fd/{}", fd.as_raw_fd()));
    std::fs::read_link(&link).unwrap_or(link)
}
