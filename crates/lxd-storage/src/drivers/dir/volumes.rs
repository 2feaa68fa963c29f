//! Content of `dir` volumes: copies, sharing blocks where the file system can.

use std::path::{Path, PathBuf};

use lxd_sys::mount;

use crate::drivers::directory::{Raw, make_directory};
use crate::drivers::{Place, View, VolumeSource, copy, copy_extras};
use crate::error::StorageError;
use crate::volume::Volume;
use crate::watch::Watch;

const ROOT: &str = "rootfs";

pub(super) fn fill(
    place: &Place,
    staged: &Path,
    source: &VolumeSource,
    watch: &Watch,
) -> Result<(), StorageError> {
    let root_of = |base: &Volume| -> PathBuf { place.volume(base).join(ROOT) };
    let (volume, base) = match source {
        VolumeSource::Empty => return make_directory(&staged.join(ROOT), 0o755),
        VolumeSource::Tree { view, base } => {
            copy_extras(view.directory(), staged, watch)?;
            let base = base.as_ref().map(root_of);
            return copy(view.rootfs(), &staged.join(ROOT), base.as_deref(), watch);
        }
        VolumeSource::Image { fingerprint } => (Volume::image(fingerprint), None),
        VolumeSource::Volume(volume) => (volume.clone(), None),
        VolumeSource::Changed { from, base } => (from.clone(), Some(place.volume(base))),
    };
    // The mount of a running source would show its files with the ids of the inside.
    let from = Raw::open(&place.volume(&volume))?;
    copy(&from.path(), staged, base.as_deref(), watch)
}

pub(super) fn view(place: &Place, volume: &Volume) -> Result<View, StorageError> {
    let directory = place.volume(volume);
    let root = mount::open_tree(&directory.join(ROOT), false)?;
    Ok(View::mounted(directory, root, "."))
}
