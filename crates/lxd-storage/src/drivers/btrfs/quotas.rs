//! Sizes of volumes: limits and usage by quota groups, which the file system counts from the first limit on.

use std::path::Path;

use lxd_sys::btrfs;

use crate::drivers::Place;
use crate::error::StorageError;

/// Bytes that belong to the volume alone; none where the file system does not count.
pub(super) fn usage(volume: &Path) -> Result<Option<u64>, StorageError> {
    if !btrfs::is_subvolume(volume) {
        return Ok(None);
    }
    Ok(btrfs::usage(volume)?.map(|usage| usage.exclusive))
}

/// Limits what a volume refers to.
pub(super) fn limit(place: &Place, volume: &Path, bytes: Option<u64>) -> Result<bool, StorageError> {
    if !btrfs::is_subvolume(volume) {
        return Ok(false);
    }
    let known = btrfs::usage(volume)?;
    match (known, bytes) {
        // Nothing was ever limited here.
        (None, None) => return Ok(true),
        (Some(usage), wanted) if usage.limit == wanted => return Ok(true),
        (Some(usage), Some(bytes)) if usage.referenced > bytes => {
            return Err(StorageError::refused(format!(
                "The size of {bytes} bytes is less than the {} that {} has: Disk quota exceeded",
                usage.referenced,
                volume.display()
            )));
        }
        (Some(_), _) => {}
        (None, Some(_)) => btrfs::enable_quotas(&place.root())?,
    }
    btrfs::limit(&place.root(), volume, bytes)?;
    Ok(true)
}

/// Lets a new volume have the limit of another one, or none: the kernel gives a snapshot the limit of what it is made from.
pub(super) fn set_as(place: &Place, volume: &Path, other: Option<&Path>) -> Result<(), StorageError> {
    let Some(own) = btrfs::usage(volume)? else {
        return Ok(());
    };
    let wanted = match other.filter(|other| btrfs::is_subvolume(other)) {
        Some(other) => btrfs::usage(other)?.and_then(|usage| usage.limit),
        None => None,
    };
    if own.limit != wanted {
        btrfs::limit(&place.root(), volume, wanted)?;
    }
    Ok(())
}
