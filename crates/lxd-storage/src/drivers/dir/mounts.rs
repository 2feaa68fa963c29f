//! Roots of `dir` volumes: the directory itself, or an idmapped mount of it elsewhere.

use std::os::fd::AsFd;
use std::path::PathBuf;

use lxd_sys::mount::{self, BindOptions};
use lxd_sys::userns::IdMap;

use super::Dir;
use crate::drivers::{Mounted, Place, id_maps, make_entrance, remove_entrance};
use crate::error::StorageError;
use crate::volume::Volume;

pub(super) fn mount(
    driver: &Dir,
    place: &Place,
    volume: &Volume,
    ids: Option<&IdMap>,
) -> Result<Mounted, StorageError> {
    let rootfs = rootfs(place, volume);
    let Some(ids) = ids.filter(|_| maps_ids(driver, place)) else {
        return unmapped(place, volume, rootfs);
    };
    let userns = driver.maps.userns(ids)?;
    let entrance = make_entrance(place, volume)?;
    mount::bind(
        &rootfs,
        &entrance,
        BindOptions {
            userns: Some(userns.as_fd()),
            ..Default::default()
        },
    )?;
    Ok(Mounted {
        rootfs: entrance,
        mapped: true,
    })
}

/// The directory itself, unless its files belong to ids that can't get through the volume's own directory: those of a
/// container whose files another daemon has shifted.
fn unmapped(place: &Place, volume: &Volume, rootfs: PathBuf) -> Result<Mounted, StorageError> {
    let owner = rustix::fs::stat(&rootfs).map_err(|e| StorageError::io("examining", &rootfs, e))?;
    if owner.st_uid == 0 {
        return Ok(Mounted {
            rootfs,
            mapped: false,
        });
    }
    let entrance = make_entrance(place, volume)?;
    mount::bind(&rootfs, &entrance, BindOptions::default())?;
    Ok(Mounted {
        rootfs: entrance,
        mapped: false,
    })
}

pub(super) fn unmount(place: &Place, volume: &Volume) -> Result<(), StorageError> {
    remove_entrance(place, volume)
}

pub(super) fn is_mounted(place: &Place, volume: &Volume) -> bool {
    mount::is_mountpoint(&place.entrance(volume))
}

fn rootfs(place: &Place, volume: &Volume) -> PathBuf {
    place.volume(volume).join("rootfs")
}

pub(super) fn maps_ids(driver: &Dir, place: &Place) -> bool {
    *driver
        .maps_ids
        .lock()
        .get_or_insert_with(|| id_maps::are_mapped(&place.root()))
}
