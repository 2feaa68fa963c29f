//! `mock`: a pool in a temporary place that needs no privileges and fails on demand, for tests of other crates.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use lxd_model::config::Config;
use lxd_sys::userns::IdMap;
use parking_lot::Mutex;

use super::{Driver, DriverInfo, Mounted, Place, Resources, View, VolumeSource};
use crate::config;
use crate::error::StorageError;
use crate::volume::Volume;
use crate::watch::Watch;

mod mounts;
mod volumes;

static INFO: DriverInfo = DriverInfo {
    name: "mock",
    version: "1",
    remote: false,
    image_volumes_listed: false,
    shares_image: false,
    always_maps_ids: true,
    knows_usage: true,
    refuses_sizes: false,
    pool_keys: &config::DIR_POOL,
    volume_keys: &config::DIR_VOLUME,
};

/// The driver of one pool. Mounts are only remembered.
#[derive(Debug, Default)]
pub struct Mock {
    mounted: Mutex<HashSet<Volume>>,
    failing: Mutex<HashSet<&'static str>>,
}

impl Mock {
    /// The named function ("fill_volume") fails from now on, until it is called again with `false`.
    pub fn fail(&self, function: &'static str, yes: bool) {
        let mut failing = self.failing.lock();
        if yes {
            failing.insert(function)
        } else {
            failing.remove(function)
        };
    }

    fn check(&self, function: &'static str) -> Result<(), StorageError> {
        if self.failing.lock().contains(function) {
            return Err(StorageError::refused(format!("{function} was told to fail")));
        }
        Ok(())
    }
}

impl Driver for Mock {
    fn info(&self) -> &'static DriverInfo {
        &INFO
    }

    fn check_pool(&self, _place: &Place, _config: &Config) -> Result<(), StorageError> {
        self.check("check_pool")
    }

    fn create_pool(&self, place: &Place, config: &Config) -> Result<Config, StorageError> {
        self.check("create_pool")?;
        volumes::make_directories(&place.root())?;
        let mut config = config.clone();
        config
            .entry("source".into())
            .or_insert_with(|| place.root().display().to_string());
        Ok(config)
    }

    fn delete_pool(&self, place: &Place, _config: &Config) -> Result<(), StorageError> {
        self.check("delete_pool")?;
        Ok(lxd_sys::path::remove_tree(&place.root())?)
    }

    fn mount_pool(&self, place: &Place, _config: &Config) -> Result<(), StorageError> {
        self.check("mount_pool")?;
        volumes::make_directories(&place.root())
    }

    fn unmount_pool(&self, _place: &Place, _config: &Config) -> Result<(), StorageError> {
        self.check("unmount_pool")
    }

    fn resources(&self, _place: &Place) -> Result<Resources, StorageError> {
        self.check("resources")?;
        Ok(Resources {
            space_total: 1 << 40,
            space_used: 1 << 30,
            space_free: 1 << 39,
            inodes_total: 1000,
            inodes_used: 10,
        })
    }

    fn fill_volume(
        &self,
        place: &Place,
        staged: &Path,
        source: &VolumeSource,
        watch: &Watch,
    ) -> Result<(), StorageError> {
        self.check("fill_volume")?;
        volumes::fill(place, staged, source, watch)
    }

    fn mount_volume(
        &self,
        place: &Place,
        volume: &Volume,
        ids: Option<&IdMap>,
    ) -> Result<Mounted, StorageError> {
        self.check("mount_volume")?;
        mounts::mount(self, place, volume, ids)
    }

    fn unmount_volume(&self, _place: &Place, volume: &Volume) -> Result<(), StorageError> {
        self.check("unmount_volume")?;
        mounts::unmount(self, volume);
        Ok(())
    }

    fn view_volume(&self, place: &Place, volume: &Volume) -> Result<View, StorageError> {
        self.check("view_volume")?;
        Ok(View::plain(place.volume(volume)))
    }

    fn is_mounted(&self, _place: &Place, volume: &Volume) -> bool {
        mounts::is_mounted(self, volume)
    }

    fn usage(&self, place: &Place, volume: &Volume) -> Result<Option<u64>, StorageError> {
        self.check("usage")?;
        Ok(Some(lxd_sys::path::disk_usage(&place.volume(volume))?))
    }

    fn find_image(&self, place: &Place, fingerprint: &str) -> Result<Option<PathBuf>, StorageError> {
        let image = place.volume(&Volume::image(fingerprint));
        Ok(image.is_dir().then_some(image))
    }

    fn release_image(&self, place: &Place, fingerprint: &str) -> Result<Option<PathBuf>, StorageError> {
        self.check("release_image")?;
        self.find_image(place, fingerprint)
    }

    fn release_volume(&self, _place: &Place, _removed: &Path) -> Result<Vec<PathBuf>, StorageError> {
        self.check("release_volume")?;
        Ok(Vec::new())
    }
}
