//! Mounts of mock volumes: remembered, not made.

use lxd_sys::userns::IdMap;

use super::Mock;
use crate::drivers::{Mounted, Place};
use crate::error::StorageError;
use crate::volume::Volume;

pub(super) fn mount(
    mock: &Mock,
    place: &Place,
    volume: &Volume,
    ids: Option<&IdMap>,
) -> Result<Mounted, StorageError> {
    mock.mounted.lock().insert(volume.clone());
    Ok(Mounted {
        rootfs: place.volume(volume).join("rootfs"),
        mapped: ids.is_some(),
    })
}

pub(super) fn unmount(mock: &Mock, volume: &Volume) {
    mock.mounted.lock().remove(volume);
}

pub(super) fn is_mounted(mock: &Mock, volume: &Volume) -> bool {
    mock.mounted.lock().contains(volume)
}
