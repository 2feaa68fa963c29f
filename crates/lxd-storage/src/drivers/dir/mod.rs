//! `dir`: every volume is a plain directory, as in the reference.

use std::path::{Path, PathBuf};

use lxd_model::config::Config;
use lxd_sys::userns::IdMap;
use parking_lot::Mutex;

use super::id_maps::IdMaps;
use super::{Driver, DriverInfo, Mounted, Place, Resources, View, VolumeSource, directory, projects};
use crate::config;
use crate::error::StorageError;
use crate::volume::Volume;
use crate::watch::Watch;

mod mounts;
mod volumes;

pub(super) const NAME: &str = "dir";

pub(super) static INFO: DriverInfo = DriverInfo {
    name: NAME,
    version: "1",
    remote: false,
    image_volumes_listed: false,
    shares_image: false,
    always_maps_ids: false,
    knows_usage: true,
    refuses_sizes: false,
    pool_keys: &config::DIR_POOL,
    volume_keys: &config::DIR_VOLUME,
};

/// The driver of one pool.
#[derive(Debug, Default)]
pub(super) struct Dir {
    maps: IdMaps,
    /// Whether the pool's file system takes id maps; known once it was tried.
    maps_ids: Mutex<Option<bool>>,
}

impl Driver for Dir {
    fn info(&self) -> &'static DriverInfo {
        &INFO
    }

    fn check_pool(&self, place: &Place, config: &Config) -> Result<(), StorageError> {
        directory::check(place, config).map(drop)
    }

    fn create_pool(&self, place: &Place, config: &Config) -> Result<Config, StorageError> {
        directory::create(place, config)
    }

    fn delete_pool(&self, place: &Place, _config: &Config) -> Result<(), StorageError> {
        directory::delete(place)
    }

    fn mount_pool(&self, place: &Place, config: &Config) -> Result<(), StorageError> {
        directory::mount(place, config)
    }

    fn unmount_pool(&self, place: &Place, _config: &Config) -> Result<(), StorageError> {
        directory::unmount(place)
    }

    fn resources(&self, place: &Place) -> Result<Resources, StorageError> {
        directory::resources(place)
    }

    fn fill_volume(
        &self,
        place: &Place,
        staged: &Path,
        source: &VolumeSource,
        watch: &Watch,
    ) -> Result<(), StorageError> {
        projects::begin(place, staged, source)?;
        // What replaces a volume has its project, and so its limit, while both are there.
        projects::unlimited(staged, || volumes::fill(place, staged, source, watch))
    }

    fn mount_volume(
        &self,
        place: &Place,
        volume: &Volume,
        ids: Option<&IdMap>,
    ) -> Result<Mounted, StorageError> {
        mounts::mount(self, place, volume, ids)
    }

    fn maps_ids(&self, place: &Place) -> bool {
        mounts::maps_ids(self, place)
    }

    fn unmount_volume(&self, place: &Place, volume: &Volume) -> Result<(), StorageError> {
        mounts::unmount(place, volume)
    }

    fn view_volume(&self, place: &Place, volume: &Volume) -> Result<View, StorageError> {
        volumes::view(place, volume)
    }

    fn is_mounted(&self, place: &Place, volume: &Volume) -> bool {
        mounts::is_mounted(place, volume)
    }

    fn usage(&self, place: &Place, volume: &Volume) -> Result<Option<u64>, StorageError> {
        // As in the reference without project quotas nothing: a walk over every file is no answer to `lxc info`.
        projects::usage(place, volume)
    }

    fn find_image(&self, place: &Place, fingerprint: &str) -> Result<Option<PathBuf>, StorageError> {
        let image = place.volume(&Volume::image(fingerprint));
        Ok(image.is_dir().then_some(image))
    }

    fn release_image(&self, place: &Place, fingerprint: &str) -> Result<Option<PathBuf>, StorageError> {
        self.find_image(place, fingerprint)
    }

    fn release_volume(&self, _place: &Place, _removed: &Path) -> Result<Vec<PathBuf>, StorageError> {
        Ok(Vec::new())
    }
}
