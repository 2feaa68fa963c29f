//! `btrfs`: every volume is a subvolume, made of another by a snapshot; on disk as in the reference.
//!
//! Snapshots and unpacked images are read-only subvolumes. What instances have made in theirs (nested subvolumes) goes with
//! them into snapshots, copies and the bin.

use std::path::{Path, PathBuf};

use lxd_model::config::Config;
use lxd_sys::btrfs;
use lxd_sys::command::Command;
use lxd_sys::userns::IdMap;

use super::dir::Dir;
use super::{
    Driver, DriverInfo, Mounted, Place, Resources, Streams, View, VolumeSource, custom, directory,
    load_module,
};
use crate::config;
use crate::error::StorageError;
use crate::tools;
use crate::volume::{Volume, VolumeType};
use crate::watch::Watch;

mod pools;
mod quotas;
mod streams;
mod volumes;

pub(super) const NAME: &str = "btrfs";

/// The program that makes file systems.
const MKFS: &str = "mkfs.btrfs";
/// The program for all else.
const TOOL: &str = "btrfs";

pub(super) static INFO: DriverInfo = DriverInfo {
    name: NAME,
    version: "",
    remote: false,
    image_volumes_listed: true,
    shares_image: false,
    always_maps_ids: false,
    knows_usage: true,
    refuses_sizes: false,
    pool_keys: &config::BTRFS_POOL,
    volume_keys: &config::BTRFS_VOLUME,
};

/// The driver of one pool.
#[derive(Debug, Default)]
pub(super) struct Btrfs {
    /// Roots are made accessible as those of plain directories.
    roots: Dir,
}

/// Whether pools can be here: the kernel has btrfs, and its programs are installed.
pub(super) fn check() -> Result<(), StorageError> {
    if !btrfs::is_in_kernel() {
        load_module(NAME)?;
    }
    for tool in [TOOL, MKFS] {
        if !tools::is_installed(tool) {
            return Err(StorageError::refused(format!(
                "Required tool '{tool}' is missing"
            )));
        }
    }
    Ok(())
}

/// The version of the programs; none if pools can't be here.
pub(super) fn version() -> Option<String> {
    check().ok()?;
    let output = tools::run(Command::new(TOOL).arg("version"), &Watch::none()).ok()??;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    // "btrfs-progs v6.2", and lines about how it was built.
    let version = text.lines().next()?.rsplit_once('v')?.1.trim();
    Some(version.to_owned())
}

impl Driver for Btrfs {
    fn info(&self) -> &'static DriverInfo {
        &INFO
    }

    fn check_pool(&self, place: &Place, config: &Config) -> Result<(), StorageError> {
        check()?;
        pools::check(place, config)
    }

    fn create_pool(&self, place: &Place, config: &Config) -> Result<Config, StorageError> {
        self.check_pool(place, config)?;
        pools::create(place, config)
    }

    fn delete_pool(&self, place: &Place, config: &Config) -> Result<(), StorageError> {
        pools::delete(place, config)
    }

    fn update_pool(&self, place: &Place, old: &Config, new: &Config) -> Result<(), StorageError> {
        pools::update(place, old, new)
    }

    fn mount_pool(&self, place: &Place, config: &Config) -> Result<(), StorageError> {
        pools::mount(place, config)
    }

    fn unmount_pool(&self, place: &Place, _config: &Config) -> Result<(), StorageError> {
        directory::unmount(place)
    }

    fn resources(&self, place: &Place) -> Result<Resources, StorageError> {
        directory::resources(place)
    }

    fn prepare_volume(&self, staged: &Path) -> Result<(), StorageError> {
        volumes::make_empty(staged)
    }

    fn fill_volume(
        &self,
        place: &Place,
        staged: &Path,
        source: &VolumeSource,
        watch: &Watch,
    ) -> Result<(), StorageError> {
        volumes::fill(place, staged, source, watch)
    }

    fn fill_custom(
        &self,
        place: &Place,
        staged: &Path,
        source: &VolumeSource,
        watch: &Watch,
    ) -> Result<(), StorageError> {
        match source {
            VolumeSource::Volume(_) | VolumeSource::Changed { .. } => {
                volumes::fill(place, staged, source, watch)
            }
            _ => {
                volumes::make_empty(staged)?;
                custom::fill(place, staged, source, watch)
            }
        }
    }

    fn seal_volume(&self, place: &Place, volume: &Volume) -> Result<(), StorageError> {
        if volume.snapshot.is_none() && volume.kind != VolumeType::Image {
            return Ok(());
        }
        volumes::set_read_only(&place.volume(volume), true)
    }

    fn unseal(&self, directory: &Path) -> Result<(), StorageError> {
        volumes::set_read_only(directory, false)
    }

    fn remove_directory(&self, directory: &Path) -> Result<(), StorageError> {
        volumes::remove(directory)
    }

    fn mount_volume(
        &self,
        place: &Place,
        volume: &Volume,
        ids: Option<&IdMap>,
    ) -> Result<Mounted, StorageError> {
        self.roots.mount_volume(place, volume, ids)
    }

    fn maps_ids(&self, place: &Place) -> bool {
        self.roots.maps_ids(place)
    }

    fn unmount_volume(&self, place: &Place, volume: &Volume) -> Result<(), StorageError> {
        self.roots.unmount_volume(place, volume)
    }

    fn view_volume(&self, place: &Place, volume: &Volume) -> Result<View, StorageError> {
        self.roots.view_volume(place, volume)
    }

    fn is_mounted(&self, place: &Place, volume: &Volume) -> bool {
        self.roots.is_mounted(place, volume)
    }

    fn usage(&self, place: &Place, volume: &Volume) -> Result<Option<u64>, StorageError> {
        quotas::usage(&place.volume(volume))
    }

    fn limit_volume(&self, place: &Place, volume: &Volume, bytes: Option<u64>) -> Result<bool, StorageError> {
        quotas::limit(place, &place.volume(volume), bytes)
    }

    fn find_image(&self, place: &Place, fingerprint: &str) -> Result<Option<PathBuf>, StorageError> {
        self.roots.find_image(place, fingerprint)
    }

    fn release_image(&self, place: &Place, fingerprint: &str) -> Result<Option<PathBuf>, StorageError> {
        self.roots.find_image(place, fingerprint)
    }

    fn release_volume(&self, _place: &Place, _removed: &Path) -> Result<Vec<PathBuf>, StorageError> {
        Ok(Vec::new())
    }

    fn streams(&self) -> Option<&dyn Streams> {
        Some(self)
    }
}
