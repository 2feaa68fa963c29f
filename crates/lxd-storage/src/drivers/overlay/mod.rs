//! `overlay`: every instance is a writable layer on the image, which is unpacked once in the pool.
//!
//! A volume's directory has `rootfs` (where the overlay is mounted), `metadata.yaml`, `templates` and `overlay`, in which are
//! `upper` and `work` (the layer), `scratch` (a mount point for the moment of mounting) and `lower`, a symbolic link that says the
//! fingerprint of the image below. These links are the only record of who uses an image.

use std::path::{Path, PathBuf};

use lxd_model::config::Config;
use lxd_sys::userns::IdMap;

use super::id_maps::IdMaps;
use super::{Driver, DriverInfo, Mounted, Place, Resources, View, VolumeSource, directory, projects};
use crate::config;
use crate::error::StorageError;
use crate::volume::Volume;
use crate::watch::Watch;

mod images;
mod mounts;
mod volumes;

pub(super) const NAME: &str = "overlay";

pub(super) static INFO: DriverInfo = DriverInfo {
    name: NAME,
    version: "1",
    remote: false,
    image_volumes_listed: true,
    shares_image: true,
    always_maps_ids: true,
    knows_usage: false,
    refuses_sizes: true,
    pool_keys: &config::OVERLAY_POOL,
    volume_keys: &config::OVERLAY_VOLUME,
};

/// The driver of one pool.
#[derive(Debug, Default)]
pub(super) struct Overlay {
    maps: IdMaps,
}

impl Driver for Overlay {
    fn info(&self) -> &'static DriverInfo {
        &INFO
    }

    fn check_pool(&self, place: &Place, config: &Config) -> Result<(), StorageError> {
        directory::check(place, config).map(drop)
    }

    fn create_pool(&self, place: &Place, config: &Config) -> Result<Config, StorageError> {
        let config = directory::create(place, config)?;
        if let Err(error) = mounts::probe(&place.root()) {
            directory::delete(place)?;
            return Err(error);
        }
        Ok(config)
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

    fn bare_root(&self, directory: &Path) -> Option<PathBuf> {
        Some(directory.join(mounts::STATE).join(mounts::UPPER))
    }

    fn unmount_volume(&self, place: &Place, volume: &Volume) -> Result<(), StorageError> {
        mounts::unmount(place, volume)
    }

    fn view_volume(&self, place: &Place, volume: &Volume) -> Result<View, StorageError> {
        mounts::view(place, volume)
    }

    fn is_mounted(&self, place: &Place, volume: &Volume) -> bool {
        mounts::is_mounted(place, volume)
    }

    fn usage(&self, place: &Place, volume: &Volume) -> Result<Option<u64>, StorageError> {
        match projects::usage(place, volume)? {
            Some(bytes) => Ok(Some(bytes)),
            None => volumes::usage(place, volume).map(Some),
        }
    }

    fn find_image(&self, place: &Place, fingerprint: &str) -> Result<Option<PathBuf>, StorageError> {
        images::find(place, fingerprint)
    }

    fn release_image(&self, place: &Place, fingerprint: &str) -> Result<Option<PathBuf>, StorageError> {
        images::release(place, fingerprint)
    }

    fn release_volume(&self, place: &Place, removed: &Path) -> Result<Vec<PathBuf>, StorageError> {
        images::release_by(place, removed)
    }
}
