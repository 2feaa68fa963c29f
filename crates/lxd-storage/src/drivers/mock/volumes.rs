//! Content of mock volumes: copies.

use std::path::Path;

use crate::drivers::directory::make_directory;
use crate::drivers::{Place, VolumeSource, copy, copy_extras};
use crate::error::StorageError;
use crate::volume::{Volume, VolumeType};
use crate::watch::Watch;

pub(super) fn make_directories(root: &Path) -> Result<(), StorageError> {
    make_directory(root, 0o711)?;
    for kind in VolumeType::ALL {
        for (name, mode) in [Some(kind.directory()), kind.snapshots_directory()]
            .into_iter()
            .flatten()
        {
            make_directory(&root.join(name), mode)?;
        }
    }
    Ok(())
}

pub(super) fn fill(
    place: &Place,
    staged: &Path,
    source: &VolumeSource,
    watch: &Watch,
) -> Result<(), StorageError> {
    let (from, base) = match source {
        VolumeSource::Empty => return make_directory(&staged.join("rootfs"), 0o755),
        VolumeSource::Tree { view, .. } => {
            copy_extras(view.directory(), staged, watch)?;
            return copy(view.rootfs(), &staged.join("rootfs"), None, watch);
        }
        VolumeSource::Image { fingerprint } => (place.volume(&Volume::image(fingerprint)), None),
        VolumeSource::Volume(volume) => (place.volume(volume), None),
        VolumeSource::Changed { from, base } => (place.volume(from), Some(place.volume(base))),
    };
    copy(&from, staged, base.as_deref(), watch)
}
