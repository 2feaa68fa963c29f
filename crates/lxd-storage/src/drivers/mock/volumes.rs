//! Content of mock volumes: copies.

use std::path::Path;

use lxd_sys::path::{CopyOptions, copy_tree};

use crate::drivers::directory::make_directory;
use crate::drivers::{Place, VolumeSource};
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
    let from = match source {
        VolumeSource::Empty => return make_directory(&staged.join("rootfs"), 0o755),
        VolumeSource::Image { fingerprint } => place.volume(&Volume::image(fingerprint)),
        VolumeSource::Volume(volume) => place.volume(volume),
    };
    copy_tree(
        &from,
        staged,
        CopyOptions {
            progress: &mut |bytes| watch.advance(bytes),
            reflink: true,
        },
    )?;
    Ok(())
}
