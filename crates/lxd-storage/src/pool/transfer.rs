//! Volumes of instances on their way to another server or from one, as directories with all that is in them.

use std::fs;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use lxd_sys::mount;

use super::{Access, Inner, Pool};
use crate::drivers::View;
use crate::error::StorageError;
use crate::rsync::{Rsync, RsyncFeatures};
use crate::volume::Volume;

/// What a volume has beside its root.
pub(crate) const MEMBERS: [&str; 5] = ["backup.yaml", "metadata.yaml", "rootfs", "state", "templates"];

impl Pool {
    /// Starts to send an instance's volume or snapshot, whether it is mounted or not.
    ///
    /// # Errors
    /// It is not there; rsync is not installed.
    pub async fn send_instance(
        &self,
        volume: &Volume,
        features: RsyncFeatures,
    ) -> Result<Rsync, StorageError> {
        let volume = volume.clone();
        self.blocking(move |pool| {
            let view = pool.view(&volume)?;
            let limit = pool.config.read().get("rsync.bwlimit").cloned();
            let namespace = view.is_mount().then(|| assembled(&view)).transpose()?;
            Rsync::send_instance(view, namespace, (features, &limit.unwrap_or_default()))
        })
        .await
    }

    /// Starts to make an instance's volume, which nobody uses, what the other side sends. Nothing outside of it can be written
    /// to meanwhile. [`Self::received`] comes next.
    ///
    /// # Errors
    /// It is not there, or in use; rsync is not installed.
    pub async fn receive_instance(
        &self,
        volume: &Volume,
        features: RsyncFeatures,
    ) -> Result<Rsync, StorageError> {
        let volume = volume.clone();
        self.blocking(move |pool| {
            pool.require(&volume)?;
            let access = Access::begin(pool, &volume)?;
            if access.is_running() {
                return Err(pool.busy(&volume));
            }
            let namespace = confined(&access.directory())?;
            Rsync::receive_instance(access, namespace, features)
        })
        .await
    }

    /// Looks at a volume that came from another server, and makes its directory what it must be here.
    ///
    /// # Errors
    /// It has no root, or a link instead of one.
    pub async fn received(&self, volume: &Volume) -> Result<(), StorageError> {
        let volume = volume.clone();
        self.blocking(move |pool| pool.make_own(&volume)).await
    }
}

impl Inner {
    fn make_own(&self, volume: &Volume) -> Result<(), StorageError> {
        let directory = self.place.volume(volume);
        let has_root = directory.join("rootfs").symlink_metadata();
        if !has_root.is_ok_and(|found| found.is_dir()) {
            return Err(StorageError::refused("What came has no root file system"));
        }
        let failed = |e| StorageError::io("changing the mode of", &directory, e);
        std::os::unix::fs::chown(&directory, Some(0), Some(0)).map_err(failed)?;
        fs::set_permissions(&directory, fs::Permissions::from_mode(0o100)).map_err(failed)
    }
}

/// A namespace in which the volume's directory has its root in it.
fn assembled(view: &View) -> Result<OwnedFd, StorageError> {
    mount::private_namespace(|| match view.mount() {
        None => Ok(()),
        Some(root) => Ok(mount::attach(root, &view.directory().join("rootfs"))?),
    })
}

/// A namespace in which nothing but the directory can be written to, and nothing that is the driver's own in it.
fn confined(directory: &Path) -> Result<OwnedFd, StorageError> {
    mount::private_namespace(|| {
        let own = mount::open_tree(directory, true)?;
        mount::freeze_all()?;
        mount::attach(own.as_fd(), directory)?;
        let failed = |e| StorageError::io("reading", directory, e);
        for entry in fs::read_dir(directory).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let is_member = MEMBERS.iter().any(|member| entry.file_name() == *member);
            if !is_member && entry.file_type().map_err(failed)?.is_dir() {
                mount::tmpfs(&entry.path(), &[("size", "4k")])?;
            }
        }
        Ok(())
    })
}
