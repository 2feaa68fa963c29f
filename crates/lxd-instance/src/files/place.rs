//! Where an instance's files are, for a process that is to go there.

use std::any::Any;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use lxd_sys::userns::IdMap;
use lxd_sys::{mount, process, userns};
use rustix::fs::{Mode, OFlags};

use super::Guard;
use crate::error::Error;

/// A root, and the namespaces that one has to join to see it as the instance does.
pub struct Place {
    pub(super) root: OwnedFd,
    pub(super) mounts: Option<OwnedFd>,
    pub(super) users: Option<OwnedFd>,
    pub(super) init: Option<i32>,
    pub(super) guard: Option<Guard>,
}

impl Place {
    /// The root of a running process.
    pub(crate) fn of_process(pid: i32) -> io::Result<Self> {
        let users = process::namespace(pid, "user")?;
        let is_own = File::open("/proc/self/ns/user")?.metadata()?.ino() == users.metadata()?.ino();
        Ok(Self {
            root: open(Path::new(&format!("/proc/{pid}/root")))?,
            mounts: Some(process::namespace(pid, "mnt")?.into()),
            users: (!is_own).then(|| users.into()),
            init: Some(pid),
            guard: None,
        })
    }

    /// The mounted root of a stopped instance. `ids` is the map that the files' owners on disk have gone through; `guard`
    /// keeps the root mounted.
    ///
    /// # Errors
    /// The kernel's.
    pub fn of_root<G: Any + Send + Sync>(
        rootfs: &Path,
        ids: Option<&IdMap>,
        guard: G,
    ) -> Result<Self, Error> {
        let failed = |error: Box<dyn std::error::Error>| Error::Protocol(error.to_string());
        let root = mount::open_tree(rootfs, false).map_err(|e| failed(e.into()))?;
        // Nobody has looked at what is in there.
        mount::set_harmless(root.as_fd()).map_err(|e| failed(e.into()))?;
        let users = ids.map(userns::create).transpose();
        Ok(Self {
            root,
            mounts: None,
            users: users.map_err(|e| failed(e.into()))?,
            init: None,
            guard: Some(Box::new(guard)),
        })
    }
}

fn open(path: &Path) -> io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    Ok(rustix::fs::open(path, flags, Mode::empty())?)
}
