//! Sizes of root disks, where pools can limit them.

use lxd_model::devices::{Devices, property, root_disk};
use lxd_model::units::parse_bytes;
use lxd_storage::Volume;

use super::record::Record;
use crate::app::App;
use crate::error::{Context as _, Error, Result};

/// Limits the root of a new instance: by its own size, or by what the pool gives to new volumes.
///
/// # Errors
/// The size is less than what is there; the disk.
pub(super) async fn of_new(app: &App, record: &Record) -> Result<()> {
    let pool = app.pools.get(record.pool())?;
    let config = pool.config();
    let size = match size_of(&record.devices) {
        "" => config.get("volume.size").map_or("", String::as_str),
        size => size,
    };
    match size {
        "" => Ok(()),
        size => limit(app, record, size).await,
    }
}

/// Limits the root of an instance that is about to start, if it has a size of its own. One that came to a pool which can't do
/// that starts nevertheless.
///
/// # Errors
/// The size is less than what is there; the disk.
pub(super) async fn of_starting(app: &App, record: &Record) -> Result<()> {
    let bytes = parsed(size_of(&record.devices))?;
    if bytes.is_none() {
        return Ok(());
    }
    let volume = Volume::container(&record.row.project, &record.row.name);
    let is_limited = app.pools.get(record.pool())?.limit(&volume, bytes).await?;
    warn_unless(is_limited, record);
    Ok(())
}

/// Lets a change of the size take effect. No size is no limit.
///
/// # Errors
/// As [`of_new`].
pub(super) async fn follow(app: &App, old: &Record, new: &Record) -> Result<()> {
    let (before, after) = (size_of(&old.devices), size_of(&new.devices));
    if before == after {
        return Ok(());
    }
    let device = root_disk(&new.devices).map_or("root", |(name, _)| name);
    let done = limit(app, new, after).await;
    done.with_context(|| format!("Failed to update device {device:?}"))
}

fn size_of(devices: &Devices) -> &str {
    root_disk(devices).map_or("", |(_, root)| property(root, "size"))
}

async fn limit(app: &App, record: &Record, size: &str) -> Result<()> {
    let bytes = parsed(size)?;
    let volume = Volume::container(&record.row.project, &record.row.name);
    let is_limited = app.pools.get(record.pool())?.limit_as_asked(&volume, bytes).await;
    warn_unless(is_limited.map_err(Error::from)? || bytes.is_none(), record);
    Ok(())
}

fn parsed(size: &str) -> Result<Option<u64>> {
    if size.is_empty() {
        return Ok(None);
    }
    Ok(u64::try_from(parse_bytes(size)?).ok().filter(|bytes| *bytes > 0))
}

fn warn_unless(is_limited: bool, record: &Record) {
    if !is_limited {
        let instance = record.key();
        tracing::warn!(%instance, pool = record.pool(), "The pool can't limit the size of the root disk");
    }
}
