//! Access of the daemon itself to the roots of instances.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use lxd_sys::userns::IdMap;

use super::Inner;
use crate::drivers::Mounted;
use crate::error::StorageError;
use crate::volume::Volume;

/// How long a start waits for the daemon's own readers of the root.
const PATIENCE: Duration = Duration::from_secs(10);

/// Holds off new readers as long as it lives.
pub(super) type Idle<'a> = parking_lot::MutexGuard<'a, std::collections::HashMap<Volume, usize>>;

/// Access to a volume's root, until it is dropped.
pub struct Access {
    pool: Arc<Inner>,
    volume: Volume,
    rootfs: PathBuf,
    running: bool,
}

impl std::fmt::Debug for Access {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Access")
            .field("rootfs", &self.rootfs)
            .field("running", &self.running)
            .finish_non_exhaustive()
    }
}

impl Access {
    pub(super) fn begin(pool: &Arc<Inner>, volume: &Volume) -> Result<Self, StorageError> {
        let rootfs = pool.place.volume(volume).join("rootfs");
        let mut readers = pool.readers.lock();
        let count = readers.get(volume).copied().unwrap_or(0);
        let running = count == 0 && pool.driver.is_mounted(&pool.place, volume);
        if !running {
            if count == 0 {
                pool.driver.mount_volume(&pool.place, volume, None)?;
            }
            readers.insert(volume.clone(), count + 1);
        }
        Ok(Self {
            pool: Arc::clone(pool),
            volume: volume.clone(),
            rootfs,
            running,
        })
    }

    /// The root file system.
    pub fn rootfs(&self) -> &Path {
        &self.rootfs
    }

    /// Whether this is the mount of the running instance, which may show mapped ids.
    pub fn is_running(&self) -> bool {
        self.running
    }

    /// Whether ids are shown as the running instance's processes have them on the host, and not as on disk.
    pub fn shows_mapped_ids(&self) -> bool {
        // Where only another place has the mapped mount, this one is the disk itself.
        self.running && lxd_sys::mount::is_mountpoint(&self.rootfs)
    }

    /// The volume's directory, with `metadata.yaml`, `templates` and `backup.yaml`.
    pub fn directory(&self) -> PathBuf {
        self.pool.place.volume(&self.volume)
    }
}

impl Drop for Access {
    fn drop(&mut self) {
        if self.running {
            return;
        }
        let mut readers = self.pool.readers.lock();
        match readers.get_mut(&self.volume) {
            Some(count) if *count > 1 => *count -= 1,
            _ => {
                readers.remove(&self.volume);
                // A detach: it does not wait for anybody.
                if let Err(error) = self.pool.driver.unmount_volume(&self.pool.place, &self.volume) {
                    tracing::warn!(volume = self.volume.name, %error, "The root of a stopped instance stays mounted");
                }
                self.pool.readers_changed.notify_all();
            }
        }
    }
}

impl Inner {
    pub(super) fn mount_instance(
        &self,
        volume: &Volume,
        ids: Option<&IdMap>,
    ) -> Result<Mounted, StorageError> {
        let _idle = self.wait_for_readers(volume)?;
        self.driver.unmount_volume(&self.place, volume)?;
        self.driver.mount_volume(&self.place, volume, ids)
    }

    pub(super) fn unmount_instance(&self, volume: &Volume) -> Result<(), StorageError> {
        let readers = self.readers.lock();
        if readers.contains_key(volume) {
            // The mount is the readers', who end it.
            return Ok(());
        }
        self.driver.unmount_volume(&self.place, volume)
    }

    /// Holds off new readers as long as the result lives.
    pub(super) fn wait_for_readers(&self, volume: &Volume) -> Result<Idle<'_>, StorageError> {
        let mut readers = self.readers.lock();
        let late = self.readers_changed.wait_while_for(
            &mut readers,
            |readers| readers.contains_key(volume),
            PATIENCE,
        );
        if late.timed_out() {
            return Err(self.busy(volume));
        }
        Ok(readers)
    }
}
