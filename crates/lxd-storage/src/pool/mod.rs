//! A pool for asynchronous callers: each call runs where it may block.

use std::collections::HashMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use lxd_model::ErrorKind;
use lxd_model::config::Config;
use lxd_sys::userns::IdMap;
use parking_lot::{Condvar, Mutex, RwLock};
use tokio::task::spawn_blocking;

use crate::config;
use crate::drivers::{Driver, DriverInfo, Mounted, Place, Resources, View, VolumeSource};
use crate::error::StorageError;
use crate::images::ImageFiles;
use crate::volume::Volume;
use crate::watch::Watch;

mod access;
mod backups;
mod custom;
mod images;
mod registry;
mod replace;
mod scan;
mod shift;
mod streams;
#[cfg(test)]
mod tests;
mod transfer;
mod volumes;

pub use access::Access;
pub use custom::{BLOCK_FILE, CustomPart};
pub use registry::Pools;
pub use scan::OnDisk;
pub use streams::{Held, StreamHeader, StreamNames};
pub(crate) use transfer::MEMBERS;

/// What [`Pool::clean_leftovers`] found.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Cleaned {
    /// Half-made or half-removed volumes.
    pub directories: usize,
    /// Mounts that belong to nobody.
    pub mounts: usize,
}

/// A pool that is mounted. Cheap to clone; clones are the same pool.
#[derive(Clone)]
pub struct Pool {
    inner: Arc<Inner>,
}

/// The blocking side.
struct Inner {
    place: Place,
    driver: Arc<dyn Driver>,
    config: RwLock<Config>,
    /// One lock for each image: held for writing while it is unpacked or taken away, for reading while volumes are made from it.
    images: Mutex<HashMap<String, Arc<RwLock<()>>>>,
    /// Volumes whose root is accessed by the daemon, and by how many.
    readers: Mutex<HashMap<Volume, usize>>,
    readers_changed: Condvar,
    /// Removals that go on behind the answer.
    removing: Mutex<usize>,
    removing_changed: Condvar,
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool")
            .field("name", &self.inner.place.name)
            .field("driver", &self.inner.driver)
            .finish_non_exhaustive()
    }
}

impl Pool {
    pub(crate) fn new(place: Place, driver: Arc<dyn Driver>, config: Config) -> Self {
        let inner = Inner {
            place,
            driver,
            config: RwLock::new(config),
            images: Mutex::default(),
            readers: Mutex::default(),
            readers_changed: Condvar::new(),
            removing: Mutex::new(0),
            removing_changed: Condvar::new(),
        };
        Self {
            inner: Arc::new(inner),
        }
    }

    /// The pool's name.
    pub fn name(&self) -> &str {
        &self.inner.place.name
    }

    /// What its driver is.
    pub fn driver(&self) -> &'static DriverInfo {
        self.inner.driver.info()
    }

    /// The configuration as it is in force.
    pub fn config(&self) -> Config {
        self.inner.config.read().clone()
    }

    /// `LXD_DIR/storage-pools/NAME`
    pub fn root(&self) -> PathBuf {
        self.inner.place.root()
    }

    /// A volume's directory.
    pub fn volume_path(&self, volume: &Volume) -> PathBuf {
        self.inner.place.volume(volume)
    }

    /// Puts another configuration into force, after checking it. The source can't change.
    pub async fn update(&self, config: Config) -> Result<(), StorageError> {
        config::validate_pool(self.driver(), &config)?;
        self.blocking(move |pool| {
            let old = pool.config.read().clone();
            if old.get("source") != config.get("source") {
                return Err(StorageError::refused(
                    "Pool source cannot be changed when not in pending state",
                ));
            }
            pool.driver.update_pool(&pool.place, &old, &config)?;
            *pool.config.write() = config;
            Ok(())
        })
        .await
    }

    /// Checks the configuration of a volume of this pool.
    pub fn validate_volume(
        &self,
        volume: &Volume,
        is_block: bool,
        config: &Config,
    ) -> Result<(), StorageError> {
        Ok(config::validate_volume(self.driver(), volume, is_block, config)?)
    }

    /// Space and inodes.
    pub async fn resources(&self) -> Result<Resources, StorageError> {
        self.blocking(|pool| pool.driver.resources(&pool.place)).await
    }

    /// Whether the pool has the image unpacked.
    pub async fn has_image(&self, fingerprint: &str) -> Result<bool, StorageError> {
        let fingerprint = fingerprint.to_owned();
        self.blocking(move |pool| Ok(pool.place.volume(&Volume::image(&fingerprint)).is_dir()))
            .await
    }

    /// Unpacks the image unless the pool has it already; several callers wait for the first. Returns the members left out if it was
    /// unpacked now, none if it was there.
    pub async fn ensure_image(
        &self,
        fingerprint: &str,
        files: ImageFiles,
        watch: Watch,
    ) -> Result<Option<Vec<String>>, StorageError> {
        let fingerprint = fingerprint.to_owned();
        self.blocking(move |pool| pool.ensure_image(&fingerprint, &files, &watch))
            .await
    }

    /// Takes the unpacked image away. Where volumes share its data it stays on disk, unseen, until the last of them has gone. Not having
    /// it is fine.
    pub async fn delete_image(&self, fingerprint: &str) -> Result<(), StorageError> {
        let fingerprint = fingerprint.to_owned();
        self.blocking(move |pool| pool.delete_image(&fingerprint)).await
    }

    /// Makes a volume: all of it or nothing. For instances the directory has mode 0100 and owner 0, and the symbolic link beneath
    /// LXD_DIR is made too.
    pub async fn create_volume(
        &self,
        volume: &Volume,
        source: VolumeSource,
        watch: Watch,
    ) -> Result<(), StorageError> {
        let volume = volume.clone();
        self.blocking(move |pool| pool.create_volume(&volume, &source, &watch))
            .await
    }

    /// Makes a volume as a copy of one in another pool (or in this one), whether that is mounted or not.
    pub async fn copy_volume_from(
        &self,
        source: &Pool,
        from: &Volume,
        to: &Volume,
        watch: Watch,
    ) -> Result<(), StorageError> {
        let source = self.source_of(source, from, None).await?;
        self.create_volume(to, source, watch).await
    }

    /// Makes an instance's volume, which must not be mounted, equal to another one of this pool or of another, such as a snapshot of
    /// its own: all of it or nothing. What it was is kept under the token, a file name of the caller's choice, until
    /// [`Self::put_back`] or [`Self::forget_replaced`]. Files that did not change are shared between both meanwhile, so nobody may
    /// write into the volume before one of these.
    pub async fn replace_volume(
        &self,
        volume: &Volume,
        (source, from): (&Pool, &Volume),
        token: &str,
        watch: Watch,
    ) -> Result<(), StorageError> {
        let source = self.source_of(source, from, Some(volume)).await?;
        let (volume, token) = (volume.clone(), token.to_owned());
        self.blocking(move |pool| pool.replace_volume(&volume, &source, &token, &watch))
            .await
    }

    /// Brings back what [`Self::replace_volume`] has replaced. Nothing kept is fine.
    pub async fn put_back(&self, volume: &Volume, token: &str) -> Result<(), StorageError> {
        let (volume, token) = (volume.clone(), token.to_owned());
        self.blocking(move |pool| pool.put_back(&volume, &token)).await
    }

    /// Removes what [`Self::replace_volume`] has replaced. Nothing kept is fine.
    pub async fn forget_replaced(&self, token: &str) -> Result<(), StorageError> {
        let token = token.to_owned();
        self.blocking(move |pool| pool.forget_replaced(&token)).await
    }

    /// The files of a volume as they are on disk, whether it is mounted or not.
    pub async fn view(&self, volume: &Volume) -> Result<View, StorageError> {
        let volume = volume.clone();
        self.blocking(move |pool| pool.view(&volume)).await
    }

    async fn source_of(
        &self,
        source: &Pool,
        from: &Volume,
        base: Option<&Volume>,
    ) -> Result<VolumeSource, StorageError> {
        let (from, base) = (from.clone(), base.cloned());
        if !Arc::ptr_eq(&self.inner, &source.inner) {
            let view = Arc::new(source.view(&from).await?);
            return Ok(VolumeSource::Tree { view, base });
        }
        self.blocking(move |pool| pool.require(&from).map(|()| from))
            .await
            .map(|from| match base {
                None => VolumeSource::Volume(from),
                Some(base) => VolumeSource::Changed { from, base },
            })
    }

    /// Renames a volume that is not mounted, with its snapshots and links.
    pub async fn rename_volume(&self, from: &Volume, to: &Volume) -> Result<(), StorageError> {
        let (from, to) = (from.clone(), to.clone());
        self.blocking(move |pool| pool.rename_volume(&from, &to)).await
    }

    /// Removes a volume with its snapshots: at once for everybody who looks, while its space comes back behind the answer ([`Self::settle`]). Not being
    /// there is fine.
    pub async fn delete_volume(&self, volume: &Volume) -> Result<(), StorageError> {
        let volume = volume.clone();
        // The removal begins in the same step, so that it goes on if our caller is cancelled here.
        self.blocking(move |pool| {
            let removal = pool.take_away(&volume)?;
            pool.remove_behind(removal);
            Ok(())
        })
        .await
    }

    /// Waits until all removals have ended.
    pub async fn settle(&self) -> Result<(), StorageError> {
        self.blocking(|pool| {
            pool.settle();
            Ok(())
        })
        .await
    }

    /// Mounts the root of an instance that is about to start. With `ids` the files on disk keep the ids of the inside. What a killed
    /// daemon left mounted there is replaced; so the instance must not run.
    pub async fn mount_instance(&self, volume: &Volume, ids: Option<IdMap>) -> Result<Mounted, StorageError> {
        let volume = volume.clone();
        self.blocking(move |pool| pool.mount_instance(&volume, ids.as_ref()))
            .await
    }

    /// Unmounts the root of an instance that has stopped. Not being mounted is fine.
    pub async fn unmount_instance(&self, volume: &Volume) -> Result<(), StorageError> {
        let volume = volume.clone();
        self.blocking(move |pool| pool.unmount_instance(&volume)).await
    }

    /// Whether the root is mounted now (by anybody). For drivers without mounts this is never so.
    pub async fn is_mounted(&self, volume: &Volume) -> Result<bool, StorageError> {
        let volume = volume.clone();
        self.blocking(move |pool| Ok(pool.driver.is_mounted(&pool.place, &volume)))
            .await
    }

    /// Gives the daemon access to the root of an instance, for templates and files: ids as on disk if it is stopped, as the
    /// running instance's mount shows them if it runs. Ends when dropped.
    pub async fn access(&self, volume: &Volume) -> Result<Access, StorageError> {
        let volume = volume.clone();
        self.blocking(move |pool| Access::begin(pool, &volume)).await
    }

    /// Limits what a volume may take, or nothing any more. Gives whether that is possible here.
    ///
    /// # Errors
    /// There is no such volume; the disk.
    pub async fn limit(&self, volume: &Volume, bytes: Option<u64>) -> Result<bool, StorageError> {
        let volume = volume.clone();
        self.blocking(move |pool| {
            pool.require(&volume)?;
            pool.driver.limit_volume(&pool.place, &volume, bytes)
        })
        .await
    }

    /// The same for a size that a user has asked for.
    ///
    /// # Errors
    /// As [`Self::limit`]; the pool can't limit sizes, and its driver refuses them then.
    pub async fn limit_as_asked(&self, volume: &Volume, bytes: Option<u64>) -> Result<bool, StorageError> {
        let is_limited = self.limit(volume, bytes).await?;
        if is_limited || bytes.is_none() || !self.driver().refuses_sizes {
            return Ok(is_limited);
        }
        Err(StorageError::Refused {
            message: format!(
                "Sizes can't be limited in storage pool {:?}: its file system has no project quotas (mount option \"prjquota\" of \
ext4 or XFS)",
                self.name()
            ),
            kind: ErrorKind::BadRequest,
        })
    }

    /// Bytes on disk of the volume alone, where the driver knows.
    pub async fn usage(&self, volume: &Volume) -> Result<Option<u64>, StorageError> {
        let volume = volume.clone();
        self.blocking(move |pool| pool.driver.usage(&pool.place, &volume))
            .await
    }

    /// The same for many; those that can't be looked at have none.
    ///
    /// # Errors
    /// The work died.
    pub async fn usages(&self, volumes: Vec<Volume>) -> Result<Vec<Option<u64>>, StorageError> {
        self.blocking(move |pool| {
            let one = |volume: &Volume| match pool.driver.usage(&pool.place, volume) {
                Ok(usage) => usage,
                Err(error) => {
                    tracing::debug!(volume = volume.name, %error, "The usage of a volume is not known");
                    None
                }
            };
            Ok(volumes.iter().map(one).collect())
        })
        .await
    }

    /// Writes `backup.yaml` (mode 0400) into an instance's volume, replacing it in one step.
    pub async fn write_backup_file(&self, volume: &Volume, content: Vec<u8>) -> Result<(), StorageError> {
        let volume = volume.clone();
        self.blocking(move |pool| pool.write_backup_file(&volume, &content))
            .await
    }

    /// For the start of the daemon: removes what a killed one left half done, and mounts of instances that are not in `running`.
    pub async fn clean_leftovers(&self, running: Vec<Volume>) -> Result<Cleaned, StorageError> {
        self.blocking(move |pool| pool.clean_leftovers(&running)).await
    }

    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Arc<Inner>) -> Result<T, StorageError> + Send + 'static,
    ) -> Result<T, StorageError> {
        let inner = Arc::clone(&self.inner);
        spawn_blocking(move || work(&inner))
            .await
            .unwrap_or_else(|e| Err(StorageError::Panicked(e.to_string())))
    }
}
