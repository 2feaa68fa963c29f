//! Unpacked images of a pool.

use std::sync::Arc;

use parking_lot::RwLock;

use super::Inner;
use crate::error::StorageError;
use crate::images::{ImageFiles, Limits, unpack};
use crate::volume::Volume;
use crate::watch::Watch;

impl Inner {
    pub(super) fn image_lock(&self, fingerprint: &str) -> Arc<RwLock<()>> {
        let mut locks = self.images.lock();
        // Locks that only this map holds are of no more use.
        locks.retain(|_, lock| Arc::strong_count(lock) > 1);
        Arc::clone(locks.entry(fingerprint.to_owned()).or_default())
    }

    pub(super) fn ensure_image(
        &self,
        fingerprint: &str,
        files: &ImageFiles,
        watch: &Watch,
    ) -> Result<Option<Vec<String>>, StorageError> {
        let lock = self.image_lock(fingerprint);
        let _alone = lock.write();
        if self.driver.find_image(&self.place, fingerprint)?.is_some() {
            return Ok(None);
        }
        let limits = Limits::for_free_space(self.driver.resources(&self.place)?.space_free);
        let staged = self.stage()?;
        self.driver.prepare_volume(staged.path())?;
        let unpacked = unpack(files, staged.path(), limits, watch)?;
        let volume = Volume::image(fingerprint);
        staged.publish(&self.place.volume(&volume))?;
        // An image that can still be written to does no harm: nobody does.
        self.driver.seal_volume(&self.place, &volume)?;
        Ok(Some(unpacked.skipped))
    }

    pub(super) fn delete_image(self: &Arc<Self>, fingerprint: &str) -> Result<(), StorageError> {
        let lock = self.image_lock(fingerprint);
        let _alone = lock.write();
        let Some(image) = self.driver.release_image(&self.place, fingerprint)? else {
            return Ok(());
        };
        let trash = self.discard(&image)?;
        self.remove_behind(super::volumes::Removal { trash: vec![trash] });
        Ok(())
    }
}
