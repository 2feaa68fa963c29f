//! Volumes as subvolumes: empty ones, snapshots of others with what is nested in them, and their end.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use lxd_sys::btrfs;
use lxd_sys::path::{Links, Root, remove_tree};

use super::quotas;
use crate::drivers::directory::{Raw, make_directory};
use crate::drivers::{Part, Place, VolumeSource, copy, copy_extras};
use crate::error::StorageError;
use crate::volume::Volume;
use crate::watch::Watch;

const ROOT: &str = "rootfs";

/// The mode that staged directories have.
const STAGED: u32 = 0o711;

/// Puts an empty subvolume in the place of an empty directory.
pub(super) fn make_empty(staged: &Path) -> Result<(), StorageError> {
    make_room(staged)?;
    btrfs::create(staged)?;
    fs::set_permissions(staged, fs::Permissions::from_mode(STAGED))
        .map_err(|e| StorageError::io("changing the mode of", staged, e))
}

pub(super) fn fill(
    place: &Place,
    staged: &Path,
    source: &VolumeSource,
    watch: &Watch,
) -> Result<(), StorageError> {
    let volume = match source {
        VolumeSource::Empty => {
            make_empty(staged)?;
            return make_directory(&staged.join(ROOT), 0o755);
        }
        VolumeSource::Tree { view, base } => {
            // Nothing is shared with what it replaces: no file has names in two subvolumes.
            make_empty(staged)?;
            let base = base.as_ref().map(|base| place.volume(base));
            quotas::set_as(place, staged, base.as_deref())?;
            copy_extras(view.directory(), staged, watch)?;
            return copy(view.rootfs(), &staged.join(ROOT), None, watch);
        }
        VolumeSource::Image { fingerprint } => Volume::image(fingerprint),
        VolumeSource::Volume(volume) => volume.clone(),
        VolumeSource::Changed { from, .. } => from.clone(),
    };
    let from = place.volume(&volume);
    let base = match source {
        VolumeSource::Changed { base, .. } => Some(place.volume(base)),
        _ => None,
    };
    if btrfs::is_subvolume(&from) {
        make_room(staged)?;
        snapshot(&from, staged)?;
        return quotas::set_as(place, staged, base.as_deref());
    }
    // Somebody has made it as a plain directory.
    make_empty(staged)?;
    let raw = Raw::open(&from)?;
    copy(&raw.path(), staged, None, watch)
}

fn make_room(staged: &Path) -> Result<(), StorageError> {
    fs::remove_dir(staged).map_err(|e| StorageError::io("replacing", staged, e))
}

/// A snapshot that can be written to, with snapshots of all subvolumes that lie in the source; of these, those stay
/// read-only that were.
fn snapshot(from: &Path, to: &Path) -> Result<(), StorageError> {
    btrfs::snapshot(from, to, false)?;
    let nested = btrfs::nested(from)?;
    for below in &nested {
        let target = to.join(below);
        // The kernel leaves an empty directory where a subvolume was.
        match fs::remove_dir(&target) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                return Err(StorageError::io("replacing", &target, e));
            }
            _ => {}
        }
        btrfs::snapshot(&from.join(below), &target, false)?;
    }
    for below in nested.iter().rev() {
        if btrfs::is_read_only(&from.join(below))? {
            btrfs::set_read_only(&to.join(below), true)?;
        }
    }
    Ok(())
}

/// Lets the staged directory be snapshots of parts that are elsewhere.
pub(super) fn assemble(staged: &Path, parts: &[Part]) -> Result<(), StorageError> {
    let place_of = |part: &Part| match part.path.trim_start_matches('/') {
        "" => staged.to_owned(),
        below => staged.join(below),
    };
    for part in parts {
        let place = place_of(part);
        if place != staged {
            // Neither the header nor a link in a stream may lead elsewhere.
            let below = Path::new(part.path.trim_start_matches('/'));
            Root::open(staged, Links::Refused)?.parent(below)?;
        }
        match fs::remove_dir(&place) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                return Err(StorageError::io("replacing", &place, e));
            }
            _ => {}
        }
        btrfs::snapshot(&part.held, &place, false)?;
    }
    let sealed = |part: &&Part| part.read_only && part.path != "/";
    for part in parts.iter().rev().filter(sealed) {
        btrfs::set_read_only(&place_of(part), true)?;
    }
    Ok(())
}

/// Lets nobody write into a volume, or everybody again; a plain directory stays as it is.
pub(super) fn set_read_only(directory: &Path, yes: bool) -> Result<(), StorageError> {
    if btrfs::is_subvolume(directory) {
        btrfs::set_read_only(directory, yes)?;
    }
    Ok(())
}

/// Removes a volume's directory whatever it is, and the subvolumes in it. Not being there is fine.
pub(super) fn remove(directory: &Path) -> Result<(), StorageError> {
    if !btrfs::is_subvolume(directory) {
        return remove_plain(directory);
    }
    let nested = btrfs::nested(directory)?;
    if !nested.is_empty() {
        btrfs::set_read_only(directory, false)?;
        for below in &nested {
            btrfs::set_read_only(&directory.join(below), false)?;
        }
        for below in nested.iter().rev() {
            delete(&directory.join(below))?;
        }
    }
    delete(directory)
}

/// Deletes one subvolume, and what the file system counts of it.
fn delete(subvolume: &Path) -> Result<(), StorageError> {
    let counted = match btrfs::usage(subvolume)? {
        Some(_) => Some(btrfs::info(subvolume)?.id),
        None => None,
    };
    btrfs::delete(subvolume)?;
    if let (Some(id), Some(above)) = (counted, subvolume.parent()) {
        btrfs::forget(above, id);
    }
    Ok(())
}

/// A staging directory may hold subvolumes of a work that was interrupted.
fn remove_plain(directory: &Path) -> Result<(), StorageError> {
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        let path = entry.path();
        if btrfs::is_subvolume(&path) {
            remove(&path)?;
        } else if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            for entry in fs::read_dir(&path).into_iter().flatten().flatten() {
                if btrfs::is_subvolume(&entry.path()) {
                    remove(&entry.path())?;
                }
            }
        }
    }
    Ok(remove_tree(directory)?)
}
