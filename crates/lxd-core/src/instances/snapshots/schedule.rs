//! Snapshots by the clock: scheduled ones are taken, expired ones go.

use std::sync::Arc;

use jiff::tz::TimeZone;
use lxd_db::cluster::instances::{Filter, snapshots};
use lxd_instance::Key;
use lxd_model::config::schedule;

use super::{New, Saved};
use crate::app::App;
use crate::ctx::Ctx;
use crate::error::Result;
use crate::instances::record::Record;
use crate::timers;

/// Looks once a minute, at its beginning, until the daemon stops.
pub(in crate::instances) fn spawn(app: &Arc<App>) {
    const FAILURE: &str = "Failed looking after snapshots";
    // Neither waits for the other, nor the next minute for either.
    timers::each_minute(app, FAILURE, |app| async move { take_due(&app).await });
    timers::each_minute(app, FAILURE, |app| async move { prune(&app).await });
}

/// Takes the snapshots that are due in this minute.
///
/// # Errors
/// The database can't be read. What one instance suffers is logged and keeps no other one waiting.
pub(super) async fn take_due(app: &Arc<App>) -> Result<()> {
    let mut tx = app.cluster.read().await?;
    let filter = Filter {
        node_id: Some(app.cluster.node_id()),
        ..Filter::default()
    };
    let records = Record::list(&mut tx, filter).await?;
    drop(tx);
    let now = TimeZone::system().to_datetime(app.clock.now());
    for record in records.iter().filter(|record| is_due(app, record, now)) {
        if app.shutdown.is_cancelled() {
            return Ok(());
        }
        take_one(app, record).await;
    }
    Ok(())
}

fn is_due(app: &App, record: &Record, now: jiff::civil::DateTime) -> bool {
    let Some(wanted) = record.config.get("snapshots.schedule") else {
        return false;
    };
    let is_awake = app.instances.registry.phase(&record.key()).is_running()
        || record
            .config
            .get("snapshots.schedule.stopped")
            .is_some_and(|value| lxd_model::config::is_true(value));
    is_awake && schedule::is_due(wanted, now, record.row.id)
}

async fn take_one(app: &Arc<App>, record: &Record) {
    let key = record.key();
    if let Err(error) = automatic(app, record).await {
        tracing::error!(instance = %key, err = error.text(), "Failed taking a scheduled snapshot");
    }
}

/// Takes a snapshot that nobody asked for by name.
async fn automatic(app: &Arc<App>, record: &Record) -> Result<()> {
    let key = record.key();
    let _guard = app.instances.lock(&key).await;
    let new = next(app, record).await?;
    super::take_locked(app, &Ctx::daemon(&key.project), &key, new, None).await
}

async fn next(app: &Arc<App>, record: &Record) -> Result<New> {
    let mut tx = app.cluster.read().await?;
    let existing = Saved::all(&mut tx, record.row.id).await?;
    Ok(New {
        name: super::next_name(app, &record.config, existing.iter().map(|one| one.name.as_str()))?,
        expires_at: super::expiry(app, &record.config)?,
        stateful: false,
    })
}

/// Takes the snapshot that an instance's schedule wants before a start. The caller has the right to change the instance.
///
/// # Errors
/// The pattern or expiry makes no sense; the snapshot can't be taken.
pub(in crate::instances) async fn at_startup(app: &Arc<App>, record: &Record) -> Result<()> {
    let wanted = record.config.get("snapshots.schedule");
    if !wanted.is_some_and(|wanted| schedule::has_startup(wanted)) {
        return Ok(());
    }
    let new = next(app, record).await?;
    super::take_locked(app, &Ctx::daemon(&record.row.project), &record.key(), new, None).await
}

/// Deletes the snapshots that have expired.
///
/// # Errors
/// As [`take_due`].
pub(super) async fn prune(app: &Arc<App>) -> Result<()> {
    let mut tx = app.cluster.read().await?;
    let expired = snapshots::expired(&mut tx, app.cluster.node_id(), app.clock.now()).await?;
    drop(tx);
    for (project, instance, name) in expired {
        if app.shutdown.is_cancelled() {
            return Ok(());
        }
        let (ctx, key) = (Ctx::daemon(&project), Key::new(&project, &instance));
        if let Err(error) = super::remove(app, &ctx, &key, &name, None).await {
            tracing::error!(instance = %key, snapshot = name, err = error.text(), "Failed deleting an expired snapshot");
        }
    }
    Ok(())
}
