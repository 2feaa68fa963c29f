//! Sizes of volumes that are directories: each volume is a project of its own, where the file system has project quotas.
//!
//! A volume's project is noted on its directory and inherited by all that is made in it. Numbers come from the file system's
//! own for directories, with the highest bit set, so that nobody has to remember them; others, such as the reference's, are kept.

use std::path::Path;
use std::time::Duration;

use lxd_sys::quota;

use super::{Place, VolumeSource};
use crate::error::StorageError;
use crate::volume::Volume;

/// Added to numbers of ours.
const OURS: u32 = 1 << 31;

/// Numbers that are tried until one is free.
const TRIES: u32 = 1000;

/// How often is looked whether removed files are gone, and how long after each other.
const LOOKS: u32 = 5;
const BETWEEN_LOOKS: Duration = Duration::from_millis(20);

/// Lets an empty directory be a project, before it is filled: that of the volume that it is to replace, whose limit it
/// thereby has, or else a new one. Nothing where there are no quotas.
pub(super) fn begin(place: &Place, staged: &Path, source: &VolumeSource) -> Result<(), StorageError> {
    if !quota::is_enforced(staged) {
        return Ok(());
    }
    let replaced = match source {
        VolumeSource::Changed { base, .. } | VolumeSource::Tree { base: Some(base), .. } => {
            Some(place.volume(base))
        }
        _ => None,
    };
    let project = match replaced.filter(|path| path.exists()) {
        Some(path) => quota::project(&path)?,
        None => 0,
    };
    let project = match project {
        0 => unused(staged)?,
        project => project,
    };
    Ok(quota::set_project(staged, project)?)
}

/// Limits a volume, or lets it grow again. Gives whether that is possible here.
pub(super) fn limit(place: &Place, volume: &Volume, bytes: Option<u64>) -> Result<bool, StorageError> {
    let directory = place.volume(volume);
    if !quota::is_enforced(&directory) {
        return Ok(false);
    }
    let mut project = quota::project(&directory)?;
    if project == 0 {
        if bytes.is_none() {
            return Ok(true);
        }
        project = unused(&directory)?;
        quota::set_project_of_tree(&directory, project)?;
    }
    quota::limit(&directory, project, bytes)?;
    Ok(true)
}

/// Bytes of a volume, where the file system has counted them.
pub(super) fn usage(place: &Place, volume: &Volume) -> Result<Option<u64>, StorageError> {
    let directory = place.volume(volume);
    // A row may be without its files.
    if !directory.exists() {
        return Ok(None);
    }
    match quota::project(&directory)? {
        0 => Ok(None),
        // Quotas may have been switched off since.
        project => Ok(quota::usage(&directory, project).ok().map(|usage| usage.bytes)),
    }
}

/// Does what needs room in a volume that may be full, with its limit lifted meanwhile: XFS stops root, too. Nobody else writes in
/// it at the time. A start sets the limit again if the daemon dies before this does.
pub(super) fn unlimited<T>(
    directory: &Path,
    work: impl FnOnce() -> Result<T, StorageError>,
) -> Result<T, StorageError> {
    let project = quota::project(directory)?;
    if project == 0 || !quota::is_enforced(directory) {
        return work();
    }
    let Some(bytes) = quota::limit_of(directory, project)? else {
        return work();
    };
    quota::limit(directory, project, None)?;
    let done = work();
    let limited = quota::limit(directory, project, Some(bytes));
    let done = done?;
    limited?;
    Ok(done)
}

/// Lets what the daemon writes beside an instance's root not count, from now on: XFS stops root, too, at a full volume, whose
/// `backup.yaml` must be written nevertheless. The root was made before, and hands its project down itself.
pub(crate) fn count_root_only(directory: &Path) -> Result<(), StorageError> {
    Ok(quota::end_inheritance(directory)?)
}

/// The project of a directory that is about to be removed, 0 for none.
pub(crate) fn of_removed(directory: &Path) -> u32 {
    quota::project(directory).unwrap_or_default()
}

/// Lifts the limit of a project whose files are gone; not that of one which a volume in the place of the removed one has. XFS
/// counts removed files a little longer. What is left goes when the number is given away again.
pub(crate) fn forget(near: &Path, project: u32) -> Result<(), StorageError> {
    if project == 0 || !quota::is_enforced(near) {
        return Ok(());
    }
    for attempt in 0..LOOKS {
        if quota::usage(near, project)?.inodes == 0 {
            return Ok(quota::limit(near, project, None)?);
        }
        if attempt + 1 < LOOKS {
            std::thread::sleep(BETWEEN_LOOKS);
        }
    }
    Ok(())
}

/// Lets a file be of the project of a directory that it is about to be moved into; it could not be moved otherwise.
pub(crate) fn adopt(file: &Path, directory: &Path) -> Result<(), StorageError> {
    match quota::project(directory)? {
        0 => Ok(()),
        project => Ok(quota::set_project(file, project)?),
    }
}

/// A number that no file has. Limits that an earlier volume had under it are gone.
fn unused(directory: &Path) -> Result<u32, StorageError> {
    let stat = rustix::fs::stat(directory).map_err(|e| StorageError::io("examining", directory, e))?;
    let number = u32::try_from(stat.st_ino & u64::from(!OURS)).unwrap_or_default();
    for attempt in 0..TRIES {
        let project = OURS | (number.wrapping_add(attempt) & !OURS);
        // The highest of all is no project.
        if project != u32::MAX && quota::usage(directory, project)?.inodes == 0 {
            quota::limit(directory, project, None)?;
            return Ok(project);
        }
    }
    Err(StorageError::refused(format!(
        "No project number is free for {}",
        directory.display()
    )))
}
