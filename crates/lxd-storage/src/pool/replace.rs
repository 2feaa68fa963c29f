//! A volume whose content is exchanged as a whole: after a crash it is the old or the new one.

use std::path::PathBuf;
use std::sync::Arc;

use rustix::fs::{CWD, RenameFlags};

use super::Inner;
use super::access::Idle;
use super::volumes::{Removal, rename_new};
use crate::drivers::VolumeSource;
use crate::error::StorageError;
use crate::volume::Volume;
use crate::watch::Watch;

impl Inner {
    /// Fills a new directory and exchanges it with the volume's. The old one is kept under the token, unless one is kept there
    /// already: whoever repeats a replacement means to go back to the first.
    pub(super) fn replace_volume(
        &self,
        volume: &Volume,
        source: &VolumeSource,
        token: &str,
        watch: &Watch,
    ) -> Result<(), StorageError> {
        let target = self.place.volume(volume);
        if target.symlink_metadata().is_err() {
            return Err(self.not_found(volume));
        }
        drop(self.idle(volume)?);
        let staged = self.fill(volume, |staged| self.fill_kind(volume, staged, source, watch))?;
        let idle = self.idle(volume)?;
        self.driver.unseal(&target)?;
        rustix::fs::renameat_with(CWD, staged.path(), CWD, &target, RenameFlags::EXCHANGE)
            .map_err(|e| StorageError::io("replacing", &target, e))?;
        self.driver.seal_volume(&self.place, volume)?;
        drop(idle);
        let kept = self.kept(token)?;
        if kept.symlink_metadata().is_err() {
            staged.publish(&kept)?;
        }
        Ok(())
    }

    /// Brings back what was replaced under a token. Nothing kept is fine.
    pub(super) fn put_back(self: &Arc<Self>, volume: &Volume, token: &str) -> Result<(), StorageError> {
        let (kept, target) = (self.kept(token)?, self.place.volume(volume));
        if kept.symlink_metadata().is_err() {
            return Ok(());
        }
        let idle = self.idle(volume)?;
        if target.symlink_metadata().is_err() {
            rename_new(&kept, &target)?;
            return self.driver.seal_volume(&self.place, volume);
        }
        self.driver.unseal(&target)?;
        rustix::fs::renameat_with(CWD, &kept, CWD, &target, RenameFlags::EXCHANGE)
            .map_err(|e| StorageError::io("replacing", &target, e))?;
        self.driver.seal_volume(&self.place, volume)?;
        drop(idle);
        self.forget_replaced(token)
    }

    /// Removes what was replaced under a token. Nothing kept is fine.
    pub(super) fn forget_replaced(self: &Arc<Self>, token: &str) -> Result<(), StorageError> {
        let kept = self.kept(token)?;
        if kept.symlink_metadata().is_err() {
            return Ok(());
        }
        let discarded = self.discard(&kept)?;
        let images = self.driver.release_volume(&self.place, &discarded)?;
        let mut trash = vec![discarded];
        for image in images {
            trash.push(self.discard(&image)?);
        }
        self.remove_behind(Removal { trash });
        Ok(())
    }

    fn kept(&self, token: &str) -> Result<PathBuf, StorageError> {
        Ok(self.staging()?.join(format!("kept-{token}")))
    }

    /// Waits for the daemon's own readers, and holds off new ones; refuses a volume that somebody else has mounted.
    fn idle(&self, volume: &Volume) -> Result<Idle<'_>, StorageError> {
        let idle = self.wait_for_readers(volume)?;
        if self.driver.is_mounted(&self.place, volume) {
            return Err(self.busy(volume));
        }
        Ok(idle)
    }
}
