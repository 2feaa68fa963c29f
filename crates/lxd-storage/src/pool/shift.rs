//! Owners of files on disk, changed where mounts can't map ids.

use lxd_sys::path::{Extent, Moment, Owners, ShiftOptions, shift_tree};

use super::access::Access;
use super::{Inner, Pool};
use crate::error::StorageError;
use crate::volume::{Volume, VolumeType};
use crate::watch::Watch;

impl Pool {
    /// Whether mounts of this pool's volumes can map ids.
    ///
    /// # Errors
    /// The one who asks the file system died.
    pub async fn maps_ids(&self) -> Result<bool, StorageError> {
        self.blocking(|pool| Ok(pool.driver.maps_ids(&pool.place))).await
    }

    /// The moment on the pool's file system.
    ///
    /// # Errors
    /// The pool can't be written to.
    pub async fn moment(&self) -> Result<Moment, StorageError> {
        self.blocking(|pool| {
            let staging = pool.staging()?;
            let file = tempfile::tempfile_in(&staging);
            file.and_then(Moment::now)
                .map_err(|e| StorageError::io("asking for the time of", &staging, e))
        })
        .await
    }

    /// Changes the owners of all files in the root of an instance that does not run, or in a volume that nobody uses.
    ///
    /// # Errors
    /// Somebody uses it; a file can't be changed; the caller has cancelled. A part is done then.
    pub async fn shift(
        &self,
        volume: &Volume,
        owners: Owners,
        extent: Extent,
        watch: Watch,
    ) -> Result<(), StorageError> {
        let volume = volume.clone();
        self.blocking(move |pool| Inner::shift(pool, &volume, (&owners, extent), &watch))
            .await
    }
}

impl Inner {
    fn shift(
        self: &std::sync::Arc<Self>,
        volume: &Volume,
        (owners, extent): (&Owners, Extent),
        watch: &Watch,
    ) -> Result<(), StorageError> {
        let options = ShiftOptions {
            owners,
            extent,
            progress: &|files| watch.advance(files),
        };
        if volume.kind == VolumeType::Custom {
            self.require(volume)?;
            shift_tree(&self.place.volume(volume), &options)?;
            return Ok(());
        }
        let access = Access::begin(self, volume)?;
        if access.is_running() {
            return Err(self.busy(volume));
        }
        shift_tree(access.rootfs(), &options)?;
        Ok(())
    }
}
