//! How large volumes are: the file of block volumes, what a file system may take where its driver can limit that.

use lxd_db::cluster::ContentType;
use lxd_model::config::Config;
use lxd_model::units;
use lxd_storage::{Pool, Volume};

use crate::error::Result;

/// What a block volume has where nothing is said.
const DEFAULT_BLOCK: u64 = 10 << 30;

/// The bytes that a configuration asks for; none for nothing and zero.
///
/// # Errors
/// The size makes no sense.
pub(super) fn configured(config: &Config) -> Result<Option<u64>> {
    let given = config
        .get("size")
        .map_or(Ok(0), |size| units::parse_bytes(size))?;
    Ok(u64::try_from(given).ok().filter(|bytes| *bytes > 0))
}

/// Gives a volume that has just been made its size. Drivers that can't limit file systems let them be.
///
/// # Errors
/// The size makes no sense; the disk.
pub(super) async fn set(pool: &Pool, volume: &Volume, config: &Config, content: ContentType) -> Result<()> {
    let wanted = configured(config)?;
    match content {
        ContentType::Block => Ok(pool.resize_block(volume, wanted.unwrap_or(DEFAULT_BLOCK)).await?),
        ContentType::Filesystem if wanted.is_some() => {
            Ok(pool.limit_as_asked(volume, wanted).await.map(drop)?)
        }
        ContentType::Filesystem => Ok(()),
    }
}

/// Gives a volume that has another size already a new one.
///
/// # Errors
/// A block volume would shrink; the size makes no sense; the disk.
pub(super) async fn change(
    pool: &Pool,
    volume: &Volume,
    config: &Config,
    content: ContentType,
) -> Result<()> {
    let wanted = configured(config)?;
    match (content, wanted) {
        (ContentType::Block, Some(bytes)) => Ok(pool.resize_block(volume, bytes).await?),
        // It stays as large as it is.
        (ContentType::Block, None) => Ok(()),
        (ContentType::Filesystem, wanted) => Ok(pool.limit_as_asked(volume, wanted).await.map(drop)?),
    }
}
