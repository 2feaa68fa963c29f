//! Content of overlay volumes: an empty layer on an image, or a copy of another's layer.

use std::os::unix::fs::symlink;
use std::path::Path;

use lxd_sys::path::{disk_usage, remove_tree};

use super::images;
use super::mounts::{LOWER, SCRATCH, STATE, UPPER, WORK};
use crate::drivers::directory::{Raw, make_directory};
use crate::drivers::{Place, VolumeSource, copy, copy_extras};
use crate::error::StorageError;
use crate::volume::{Volume, VolumeType};
use crate::watch::Watch;

pub(super) fn fill(
    place: &Place,
    staged: &Path,
    source: &VolumeSource,
    watch: &Watch,
) -> Result<(), StorageError> {
    match source {
        VolumeSource::Empty => {
            make_layer(staged)?;
            make_directory(&staged.join(STATE).join(UPPER), 0o755)
        }
        VolumeSource::Image { fingerprint } => {
            make_layer(staged)?;
            from_image(place, staged, fingerprint, watch)
        }
        VolumeSource::Volume(volume) => copy_layer(place, staged, (volume, None), watch),
        VolumeSource::Changed { from, base } => copy_layer(place, staged, (from, Some(base)), watch),
        VolumeSource::Tree { view, base } => {
            make_layer(staged)?;
            copy_extras(view.directory(), staged, watch)?;
            let upper_of = |volume: &Volume| place.volume(volume).join(STATE).join(UPPER);
            let base = base.as_ref().map(upper_of);
            copy(
                view.rootfs(),
                &staged.join(STATE).join(UPPER),
                base.as_deref(),
                watch,
            )
        }
    }
}

pub(super) fn usage(place: &Place, volume: &Volume) -> Result<u64, StorageError> {
    let directory = place.volume(volume);
    // Nothing of an instance is in those that users made.
    let own = match volume.kind {
        VolumeType::Custom => directory,
        _ => directory.join(STATE).join(UPPER),
    };
    Ok(disk_usage(&own)?)
}

/// Copies a volume without what is mounted there: the layer, not the merged tree.
fn copy_layer(
    place: &Place,
    staged: &Path,
    (volume, base): (&Volume, Option<&Volume>),
    watch: &Watch,
) -> Result<(), StorageError> {
    let from = Raw::open(&place.volume(volume))?;
    let base = base.map(|base| place.volume(base));
    copy(&from.path(), staged, base.as_deref(), watch)?;
    let work = staged.join(STATE).join(WORK);
    remove_tree(&work)?;
    make_directory(&work, 0o700)
}

fn make_layer(staged: &Path) -> Result<(), StorageError> {
    make_directory(&staged.join("rootfs"), 0o755)?;
    let state = staged.join(STATE);
    make_directory(&state, 0o700)?;
    make_directory(&state.join(WORK), 0o700)?;
    make_directory(&state.join(SCRATCH), 0o700)
}

fn from_image(place: &Place, staged: &Path, fingerprint: &str, watch: &Watch) -> Result<(), StorageError> {
    // First of all the link, which keeps the image from being removed.
    let link = staged.join(STATE).join(LOWER);
    symlink(fingerprint, &link).map_err(|e| StorageError::io("linking", &link, e))?;
    let image = images::existing(place, fingerprint)?;
    copy_extras(&image, staged, watch)?;
    // Owner, mode and attributes of the merged root are those of the upper layer's: a copy of the root without anything in it.
    let upper = staged.join(STATE).join(UPPER);
    lxd_sys::path::copy_directory(&image.join("rootfs"), &upper)?;
    Ok(())
}
