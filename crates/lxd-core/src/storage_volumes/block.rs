//! Volumes that are a block device: one file of a fixed size in the volume's directory.

use lxd_model::config::Config;
use lxd_model::units;
use lxd_storage::{Pool, Volume};

use crate::error::Result;

/// What a block volume has where nothing is said.
const DEFAULT_SIZE: u64 = 10 << 30;

/// The bytes that a new block volume has.
///
/// # Errors
/// The size makes no sense.
pub(super) fn size(config: &Config) -> Result<u64> {
    let given = config
        .get("size")
        .map_or(Ok(0), |size| units::parse_bytes(size))?;
    Ok(u64::try_from(given)
        .ok()
        .filter(|bytes| *bytes > 0)
        .unwrap_or(DEFAULT_SIZE))
}

/// Makes the file of a block volume, or lets it grow.
///
/// # Errors
/// It has more bytes already; the size makes no sense; the disk.
pub(super) async fn grow(pool: &Pool, volume: &Volume, size: &str) -> Result<()> {
    let bytes = u64::try_from(units::parse_bytes(size)?).unwrap_or(0);
    Ok(pool.resize_block(volume, bytes).await?)
}
