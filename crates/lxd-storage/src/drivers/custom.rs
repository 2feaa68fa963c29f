//! Content of volumes that users made: the volume's directory itself, without the root of an instance in it.

use std::path::Path;

use super::directory::Raw;
use super::{Place, VolumeSource, copy};
use crate::error::StorageError;
use crate::watch::Watch;

/// Fills a directory with plain copies of what the source has, its owner and mode too.
pub(super) fn fill(
    place: &Place,
    staged: &Path,
    source: &VolumeSource,
    watch: &Watch,
) -> Result<(), StorageError> {
    let (volume, base) = match source {
        VolumeSource::Empty => return Ok(()),
        VolumeSource::Image { .. } => {
            return Err(StorageError::refused("Custom volumes can't be made of images"));
        }
        VolumeSource::Tree { view, base } => {
            let base = base.as_ref().map(|base| place.volume(base));
            return copy(view.rootfs(), staged, base.as_deref(), watch);
        }
        VolumeSource::Volume(volume) => (volume, None),
        VolumeSource::Changed { from, base } => (from, Some(place.volume(base))),
    };
    let from = Raw::open(&place.volume(volume))?;
    copy(&from.path(), staged, base.as_deref(), watch)
}
