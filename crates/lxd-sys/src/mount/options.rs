//! Mount options as mount(8) takes them, for file systems and for bind mounts.

use std::ffi::CString;
use std::os::fd::BorrowedFd;
use std::path::Path;

use rustix::mount::{MountFlags, MountPropagationFlags};

use super::{MountAttributes, MountError, descriptor_path, mount_setattr};

/// A word, what it is in mount(2), and in mount_setattr(2) (none where a mount can't have it by itself).
const FLAGS: [(&str, MountFlags, u64); 10] = [
    ("ro", MountFlags::RDONLY, libc::MOUNT_ATTR_RDONLY),
    ("nosuid", MountFlags::NOSUID, libc::MOUNT_ATTR_NOSUID),
    ("nodev", MountFlags::NODEV, libc::MOUNT_ATTR_NODEV),
    ("noexec", MountFlags::NOEXEC, libc::MOUNT_ATTR_NOEXEC),
    ("noatime", MountFlags::NOATIME, libc::MOUNT_ATTR_NOATIME),
    ("nodiratime", MountFlags::NODIRATIME, libc::MOUNT_ATTR_NODIRATIME),
    ("relatime", MountFlags::RELATIME, 0),
    (
        "strictatime",
        MountFlags::STRICTATIME,
        libc::MOUNT_ATTR_STRICTATIME,
    ),
    ("sync", MountFlags::SYNCHRONOUS, 0),
    ("dirsync", MountFlags::DIRSYNC, 0),
];

/// Words that ask for what is so anyway.
const DEFAULTS: [&str; 8] = [
    "defaults", "rw", "suid", "dev", "exec", "atime", "diratime", "async",
];

/// A comma-separated list of options, taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    flags: MountFlags,
    attributes: u64,
    /// What only the file system knows.
    data: Vec<String>,
}

impl Options {
    /// Takes a list apart.
    pub fn parse(text: &str) -> Self {
        let mut options = Self {
            flags: MountFlags::empty(),
            attributes: 0,
            data: Vec::new(),
        };
        for word in text.split(',').map(str::trim).filter(|word| !word.is_empty()) {
            match FLAGS.iter().find(|(name, ..)| *name == word) {
                Some((_, flag, attribute)) => {
                    options.flags |= *flag;
                    options.attributes |= attribute;
                }
                None if DEFAULTS.contains(&word) => {}
                None => options.data.push(word.to_owned()),
            }
        }
        options
    }

    /// Adds read-only.
    pub fn read_only(mut self, is_read_only: bool) -> Self {
        if is_read_only {
            self.flags |= MountFlags::RDONLY;
            self.attributes |= libc::MOUNT_ATTR_RDONLY;
        }
        self
    }

    /// Gives a detached copy of a mount those options that a mount can have by itself.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn apply(&self, tree: BorrowedFd<'_>, recursive: bool) -> Result<(), MountError> {
        if self.attributes == 0 {
            return Ok(());
        }
        let times = libc::MOUNT_ATTR_NOATIME | libc::MOUNT_ATTR_STRICTATIME;
        let attributes = MountAttributes {
            set: self.attributes,
            // The times are one field, which must be cleared to be set.
            clear: if self.attributes & times == 0 {
                0
            } else {
                libc::MOUNT_ATTR__ATIME
            },
            ..Default::default()
        };
        mount_setattr(tree, &attributes, recursive)
            .map_err(|e| MountError::call("changing the options of the mount", &descriptor_path(tree), e))
    }
}

/// Mounts a file system of a device.
///
/// # Errors
/// The kernel refuses.
pub fn filesystem(source: &Path, target: &Path, fstype: &str, options: &Options) -> Result<(), MountError> {
    let data = options.data.join(",");
    let call = |e: std::io::Error| MountError::call("mounting a device on", target, e);
    let data = CString::new(data).map_err(|e| call(e.into()))?;
    rustix::mount::mount(source, target, fstype, options.flags, data.as_c_str()).map_err(|e| call(e.into()))
}

/// Changes the options of a file system that is mounted at `target`.
///
/// # Errors
/// The kernel refuses.
pub fn remount(target: &Path, options: &Options) -> Result<(), MountError> {
    let call = |e: std::io::Error| MountError::call("changing the options of", target, e);
    let data = CString::new(options.data.join(",")).map_err(|e| call(e.into()))?;
    rustix::mount::mount_remount(target, options.flags, data.as_c_str()).map_err(|e| call(e.into()))
}

/// Changes how mounts travel, by the word of mount(8), such as `rslave`.
///
/// # Errors
/// There is no such word; the kernel refuses.
pub fn propagate(target: &Path, word: &str) -> Result<(), MountError> {
    let call = |e: std::io::Error| MountError::call("changing the propagation of", target, e);
    let flags = propagation(word).ok_or_else(|| call(std::io::ErrorKind::InvalidInput.into()))?;
    rustix::mount::mount_change(target, flags).map_err(|e| call(e.into()))
}

/// The flags of a word of mount(8), if it is one.
pub fn propagation(word: &str) -> Option<MountPropagationFlags> {
    let (recursive, name) = match word {
        "rshared" | "rslave" | "rprivate" | "runbindable" => (MountPropagationFlags::REC, word.get(1..)?),
        _ => (MountPropagationFlags::empty(), word),
    };
    let flag = match name {
        "shared" => MountPropagationFlags::SHARED,
        "slave" => MountPropagationFlags::DOWNSTREAM,
        "private" => MountPropagationFlags::PRIVATE,
        "unbindable" => MountPropagationFlags::UNBINDABLE,
        _ => return None,
    };
    Some(flag | recursive)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_taken_apart() {
        let options = Options::parse("rw,nosuid, noatime,,commit=30,discard").read_only(true);
        assert_eq!(
            options.flags,
            MountFlags::NOSUID | MountFlags::NOATIME | MountFlags::RDONLY
        );
        assert_eq!(options.data, ["commit=30", "discard"]);
        assert_eq!(Options::parse("defaults").attributes, 0);
    }

    #[test]
    fn words_of_propagation() {
        assert_eq!(
            propagation("rslave"),
            Some(MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC)
        );
        assert_eq!(propagation("private"), Some(MountPropagationFlags::PRIVATE));
        for bad in ["", "r", "shred", "rr"] {
            assert_eq!(propagation(bad), None, "{bad}");
        }
    }
}
