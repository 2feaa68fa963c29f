//! Sizes of volumes of files, where pools can limit them.

use lxd_model::config::Config;
use lxd_model::units::parse_bytes;
use lxd_storage::{Pool, Volume};

use crate::error::Result;

/// Limits a volume to the size that its configuration says, or to none. Pools that can't do not mind.
///
/// # Errors
/// The size makes no sense, or is less than what is there; the disk.
pub(super) async fn limit(pool: &Pool, volume: &Volume, config: &Config) -> Result<()> {
    let size = config.get("size").map_or("", String::as_str);
    let bytes = u64::try_from(parse_bytes(size)?).ok().filter(|bytes| *bytes > 0);
    if !pool.limit(volume, bytes).await? && bytes.is_some() {
        tracing::debug!(
            volume = volume.name,
            pool = pool.name(),
            "The pool can't limit the size"
        );
    }
    Ok(())
}
