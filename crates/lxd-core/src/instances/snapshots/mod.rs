//! Snapshots of instances: taken, listed, renamed, restored, deleted; by hand, by a schedule, by their age.

mod create;
mod delete;
mod rename;
mod restore;
mod rows;
mod schedule;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use lxd_api::Time;
use lxd_api::instance_snapshots::{InstanceSnapshot, InstanceSnapshotPut};
use lxd_db::cluster::instances::snapshots::{self, Snapshot};
use lxd_db::cluster::storage_volumes::snapshots as volume_snapshots;
use serde_json::Value;

#[cfg(test)]
pub(super) use create::Create;
pub use create::create;
pub(super) use create::{New, run_locked as take_locked};
pub(crate) use create::{check_allowed, expiry, next_name};
pub use delete::delete;
pub(super) use delete::run as remove;
pub use rename::rename;
pub use restore::Wish;
pub(super) use restore::restore;
pub(super) use rows::{Root, Saved, root_at};
pub(super) use schedule::{at_startup, spawn};

use super::list::wire_snapshot as wire;
use super::record::Record;
use crate::app::App;
use crate::ctx::Ctx;
use crate::error::{Context as _, Result};
use crate::etag::{self, Tagged};
use crate::events::{Action, Lifecycle};
use crate::operations::{Kind, Operation, Options, Works};

/// The kinds of works of this noun.
pub(super) fn works(works: &mut Works) {
    works.add::<create::Create>();
    works.add::<delete::Delete>();
    works.add::<rename::Rename>();
    works.add::<restore::Restore>();
}

/// The URL of a snapshot.
pub fn url(project: &str, instance: &str, name: &str) -> String {
    crate::urls::object(project, &["instances", instance, "snapshots", name])
}

/// The snapshots of an instance, oldest first.
///
/// # Errors
/// Not found; the caller may not see the project.
pub async fn list(app: &Arc<App>, ctx: &Ctx, instance: &str) -> Result<Vec<InstanceSnapshot>> {
    ctx.require_project()?;
    let mut tx = app.cluster.read().await?;
    let record = Record::load(&mut tx, &ctx.project, instance).await?;
    let rows = snapshots::list(&mut tx, &[record.row.id]).await?;
    let all = rows.into_iter().map(|row| wire(&record, row)).collect();
    Ok(with_sizes(app, &record, all).await)
}

/// One snapshot.
///
/// # Errors
/// Not found; the caller may not see the project.
pub async fn get(app: &Arc<App>, ctx: &Ctx, instance: &str, name: &str) -> Result<Tagged<InstanceSnapshot>> {
    let (record, row) = find(app, ctx, instance, name).await?;
    let writable = writable(&row);
    let mut found = with_sizes(app, &record, vec![wire(&record, row)]).await;
    Ok(Tagged::new(found.remove(0), &writable))
}

/// Adds what snapshots use, where that is known without a walk over their files.
async fn with_sizes(app: &App, record: &Record, mut all: Vec<InstanceSnapshot>) -> Vec<InstanceSnapshot> {
    let root = Root::of(record);
    let Some(pool) = app
        .pools
        .get(&root.pool)
        .ok()
        .filter(|pool| pool.driver().knows_usage)
    else {
        return all;
    };
    let volumes = all.iter().map(|one| root.snapshot(&one.name)).collect();
    let usages = pool.usages(volumes).await.unwrap_or_default();
    for (one, usage) in all.iter_mut().zip(usages) {
        one.size = usage.map_or(one.size, |bytes| i64::try_from(bytes).unwrap_or(i64::MAX));
    }
    all
}

/// Replaces what can be written of a snapshot, as an operation.
///
/// # Errors
/// Not found; `If-Match` does not match.
pub async fn update(
    app: &Arc<App>,
    ctx: &Ctx,
    (instance, name): (&str, &str),
    put: InstanceSnapshotPut,
    if_match: Option<&str>,
) -> Result<Operation> {
    let (record, row) = find(app, ctx, instance, name).await?;
    etag::check(if_match, &writable(&row))?;
    let options = options(Kind::SnapshotUpdate, instance);
    let app = Arc::clone(app);
    let operations = Arc::clone(&app.operations);
    operations.spawn(ctx, options, move |_| async move {
        let _guard = app.instances.lock(&record.key()).await;
        let expires_at = put.expires_at.timestamp();
        let mut tx = app.cluster.begin().await?;
        snapshots::update(&mut tx, row.id, &row.description, expires_at).await?;
        if let Some(volume) = Root::of(&record).volume_id(&mut tx).await
            && let Ok(found) = volume_snapshots::get(&mut tx, volume, &row.name).await
        {
            volume_snapshots::update(&mut tx, found.id, &found.description, expires_at).await?;
        }
        tx.commit().await?;
        super::backup_file::refresh(&app, &record.key()).await?;
        let key = record.key();
        tell(
            &app,
            (&key.project, &key.name),
            &row.name,
            Action::InstanceSnapshotUpdated,
        );
        Ok(())
    })
}

/// Changes what is named of a snapshot, as an operation.
///
/// # Errors
/// As [`update`].
pub async fn patch(
    app: &Arc<App>,
    ctx: &Ctx,
    (instance, name): (&str, &str),
    patch: Value,
    if_match: Option<&str>,
) -> Result<Operation> {
    let (_, row) = find(app, ctx, instance, name).await?;
    let put = crate::patch::merge(&writable(&row), patch)?;
    update(app, ctx, (instance, name), put, if_match).await
}

async fn find(app: &Arc<App>, ctx: &Ctx, instance: &str, name: &str) -> Result<(Record, Snapshot)> {
    ctx.require_project()?;
    let mut tx = app.cluster.read().await?;
    let record = Record::load(&mut tx, &ctx.project, instance).await?;
    let row = snapshots::get(&mut tx, record.row.id, name).await;
    let row = row.with_context(|| {
        format!(
            "Failed to fetch snapshot {name:?} of instance {instance:?} in project {:?}",
            ctx.project
        )
    })?;
    Ok((record, row))
}

fn writable(row: &Snapshot) -> InstanceSnapshotPut {
    InstanceSnapshotPut {
        expires_at: Time::from(row.expires_at),
    }
}

fn options(kind: Kind, instance: &str) -> Options {
    Options::task(kind).resource("instances", instance)
}

/// Tells the world what happened to a snapshot.
pub(super) fn tell(app: &App, (project, instance): (&str, &str), name: &str, action: Action) {
    let event = Lifecycle::new(action, url(project, instance, name));
    app.events.lifecycle(project, &event);
}
