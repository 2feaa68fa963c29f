//! Content of `dir` volumes: copies, sharing blocks where the file system can.

use std::path::Path;

use lxd_sys::path::{CopyOptions, copy_tree};

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
    let volume = match source {
        VolumeSource::Empty => return make_directory(&staged.join("rootfs"), 0o755),
        VolumeSource::Image { fingerprint } => Volume::image(fingerprint),
        VolumeSource::Volume(volume) => volume.clone(),
    };
    // The mount of a running source would show its files with the ids of the inside.
    let from = Raw::open(&place.volume(&volume))?;
    copy_tree(
        &from.path(),
        staged,
        CopyOptions {
            progress: &mut |bytes| watch.advance(bytes),
            reflink: true,
        },
    )?;
    Ok(())
}
