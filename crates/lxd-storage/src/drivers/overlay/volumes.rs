//! Content of overlay volumes: an empty layer on an image, or a copy of another's layer.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use lxd_sys::path::{CopyOptions, copy_tree, disk_usage, remove_tree};

use super::images;
use super::mounts::{LOWER, SCRATCH, STATE, UPPER, WORK};
use crate::drivers::directory::{Raw, make_directory};
use crate::drivers::{Place, VolumeSource};
use crate::error::StorageError;
use crate::volume::Volume;
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
        VolumeSource::Volume(volume) => {
            // Without what is mounted there: the layer, not the merged tree.
            let from = Raw::open(&place.volume(volume))?;
            copy(&from.path(), staged, watch)?;
            let work = staged.join(STATE).join(WORK);
            remove_tree(&work)?;
            make_directory(&work, 0o700)
        }
    }
}

pub(super) fn usage(place: &Place, volume: &Volume) -> Result<u64, StorageError> {
    Ok(disk_usage(&place.volume(volume).join(STATE).join(UPPER))?)
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
    for name in ["metadata.yaml", "templates"] {
        let (from, to) = (image.join(name), staged.join(name));
        if from.is_dir() {
            copy(&from, &to, watch)?;
        } else if from.is_file() {
            fs::copy(&from, &to).map_err(|e| StorageError::io("copying", &from, e))?;
        }
    }
    // Owner, mode and attributes of the merged root are those of the upper layer's: a copy of the root without anything in it.
    let upper = staged.join(STATE).join(UPPER);
    lxd_sys::path::copy_directory(&image.join("rootfs"), &upper)?;
    Ok(())
}

fn copy(from: &Path, to: &Path, watch: &Watch) -> Result<(), StorageError> {
    copy_tree(
        from,
        to,
        CopyOptions {
            progress: &mut |bytes| watch.advance(bytes),
            reflink: true,
        },
    )?;
    Ok(())
}
