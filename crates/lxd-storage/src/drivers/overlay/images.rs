//! Unpacked images, and who uses them.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};

use super::mounts::{LOWER, STATE};
use crate::drivers::Place;
use crate::error::StorageError;
use crate::volume::{Volume, VolumeType};

/// Prefix of images that were deleted while volumes still need them.
const DELETED: &str = ".deleted-";

/// The image's directory; one that was deleted but is still in use comes back, for the same fingerprint means the same content.
pub(super) fn find(place: &Place, fingerprint: &str) -> Result<Option<PathBuf>, StorageError> {
    let image = place.volume(&Volume::image(fingerprint));
    if image.is_dir() {
        return Ok(Some(image));
    }
    let deleted = deleted(place, fingerprint);
    if !deleted.is_dir() {
        return Ok(None);
    }
    fs::rename(&deleted, &image).map_err(|e| StorageError::io("renaming", &deleted, e))?;
    Ok(Some(image))
}

/// Where the image is, deleted or not, without changing that.
pub(super) fn existing(place: &Place, fingerprint: &str) -> Result<PathBuf, StorageError> {
    let image = place.volume(&Volume::image(fingerprint));
    [image, deleted(place, fingerprint)]
        .into_iter()
        .find(|path| path.is_dir())
        .ok_or_else(|| StorageError::VolumeNotFound {
            kind: "image",
            name: fingerprint.to_owned(),
            pool: place.name.clone(),
        })
}

/// The image is not wanted any more: its directory if nobody uses it, else it is renamed and stays.
pub(super) fn release(place: &Place, fingerprint: &str) -> Result<Option<PathBuf>, StorageError> {
    let image = place.volume(&Volume::image(fingerprint));
    if !image.is_dir() {
        return Ok(None);
    }
    if !users(place)?.contains(fingerprint) {
        return Ok(Some(image));
    }
    let deleted = deleted(place, fingerprint);
    fs::rename(&image, &deleted).map_err(|e| StorageError::io("renaming", &image, e))?;
    Ok(None)
}

/// A volume goes, and with it the deleted image that only it used.
pub(super) fn release_by(place: &Place, removed: &Path) -> Result<Vec<PathBuf>, StorageError> {
    let Some(fingerprint) = lower_of(removed) else {
        return Ok(Vec::new());
    };
    let deleted = deleted(place, &fingerprint);
    if !deleted.is_dir() {
        return Ok(Vec::new());
    }
    // The link must not count any more, whatever happens to the rest of the volume.
    let link = removed.join(STATE).join(LOWER);
    fs::remove_file(&link).map_err(|e| StorageError::io("removing", &link, e))?;
    Ok(if users(place)?.contains(&fingerprint) {
        Vec::new()
    } else {
        vec![deleted]
    })
}

/// The fingerprint of the image beneath a volume.
pub(super) fn lower_of(volume: &Path) -> Option<String> {
    let link = fs::read_link(volume.join(STATE).join(LOWER)).ok()?;
    link.to_str().map(str::to_owned)
}

/// Fingerprints that volumes, snapshots and volumes in the making refer to.
fn users(place: &Place) -> Result<HashSet<String>, StorageError> {
    let mut found = HashSet::new();
    let root = place.root();
    for volume in children(&root.join(VolumeType::Container.directory().0))?
        .into_iter()
        .chain(children(&place.staging())?)
    {
        found.extend(lower_of(&volume));
    }
    if let Some((snapshots, _)) = VolumeType::Container.snapshots_directory() {
        for instance in children(&root.join(snapshots))? {
            found.extend(children(&instance)?.iter().filter_map(|volume| lower_of(volume)));
        }
    }
    Ok(found)
}

fn children(directory: &Path) -> Result<Vec<PathBuf>, StorageError> {
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(StorageError::io("listing", directory, e)),
    };
    entries
        .map(|entry| {
            entry
                .map(|e| e.path())
                .map_err(|e| StorageError::io("listing", directory, e))
        })
        .collect()
}

fn deleted(place: &Place, fingerprint: &str) -> PathBuf {
    place.images().join(format!("{DELETED}{fingerprint}"))
}
