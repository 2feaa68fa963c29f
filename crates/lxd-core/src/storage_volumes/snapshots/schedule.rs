//! Snapshots of custom volumes by the clock: scheduled ones are taken, expired ones go.

use std::sync::Arc;

use jiff::tz::TimeZone;
use lxd_db::cluster::VolumeType;
use lxd_db::cluster::storage_volumes::snapshots as rows;
use lxd_db::cluster::storage_volumes::{self as volumes, Filter, StorageVolume as Row};
use lxd_model::config::schedule;

use super::Saved;
use crate::app::App;
use crate::ctx::Ctx;
use crate::error::Result;
use crate::instances::snapshots::{expiry, next_name};
use crate::storage_volumes::home::Home;
use crate::timers;

/// Looks once a minute, at its beginning, until the daemon stops.
pub(crate) fn spawn(app: &Arc<App>) {
    const FAILURE: &str = "Failed looking after snapshots of volumes";
    // Neither waits for the other, nor the next minute for either.
    timers::each_minute(app, FAILURE, |app| async move { take_due(&app).await });
    timers::each_minute(app, FAILURE, |app| async move { prune(&app).await });
}

/// Takes the snapshots that are due in this minute.
///
/// # Errors
/// The database can't be read. What one volume suffers is logged and keeps no other one waiting.
pub(super) async fn take_due(app: &Arc<App>) -> Result<()> {
    let now = TimeZone::system().to_datetime(app.clock.now());
    for volume in all(app).await? {
        let wanted = volume.config.get("snapshots.schedule");
        if !wanted.is_some_and(|wanted| schedule::is_due(wanted, now, volume.id)) {
            continue;
        }
        if app.shutdown.is_cancelled() {
            return Ok(());
        }
        if let Err(error) = take(app, &volume).await {
            tracing::error!(
                volume = volume.name,
                err = error.text(),
                "Failed taking a scheduled snapshot"
            );
        }
    }
    Ok(())
}

/// The custom volumes that this server looks after.
async fn all(app: &App) -> Result<Vec<Row>> {
    let mut tx = app.cluster.read().await?;
    let filter = Filter {
        kind: Some(VolumeType::Custom),
        ..Filter::default()
    };
    Ok(volumes::list(&mut tx, filter).await?)
}

async fn take(app: &Arc<App>, volume: &Row) -> Result<()> {
    let mut tx = app.cluster.read().await?;
    let existing = Saved::all(&mut tx, volume.id).await?;
    drop(tx);
    let taken = existing.iter().map(|one| one.name.as_str());
    let new = Saved {
        name: next_name(app, &volume.config, taken)?,
        description: volume.description.clone(),
        expires_at: expiry(app, &volume.config)?,
        config: volume.config.clone(),
    };
    let ctx = Ctx::daemon(&volume.project);
    super::create::run(app, &ctx, Home::of(volume), new, None).await
}

/// Deletes the snapshots that have expired.
///
/// # Errors
/// As [`take_due`].
pub(super) async fn prune(app: &Arc<App>) -> Result<()> {
    let now = app.clock.now();
    let volumes = all(app).await?;
    let ids: Vec<i64> = volumes.iter().map(|volume| volume.id).collect();
    let mut tx = app.cluster.read().await?;
    let snapshots = rows::list(&mut tx, &ids).await?;
    drop(tx);
    // The reference writes "never" in more ways than one; all are before 1970.
    let is_expired =
        |one: &rows::Snapshot| one.expires_at > jiff::Timestamp::UNIX_EPOCH && one.expires_at <= now;
    for snapshot in snapshots.into_iter().filter(is_expired) {
        let Some(volume) = volumes.iter().find(|volume| volume.id == snapshot.volume_id) else {
            continue;
        };
        if app.shutdown.is_cancelled() {
            return Ok(());
        }
        let (ctx, name) = (Ctx::daemon(&volume.project), snapshot.name.clone());
        if let Err(error) = super::delete::run(app, &ctx, Home::of(volume), snapshot.into(), None).await {
            let volume = volume.name.as_str();
            tracing::error!(
                volume,
                snapshot = name,
                err = error.text(),
                "Failed deleting an expired snapshot"
            );
        }
    }
    Ok(())
}
