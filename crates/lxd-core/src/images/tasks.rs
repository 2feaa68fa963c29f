//! What happens to images by the clock: those that follow a source are looked after, those that nobody used go.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use lxd_db::cluster::images as rows;
use lxd_db::cluster::images::Image as Row;
use lxd_db::cluster::projects;

use super::works::Delete;
use super::{fetch, refresh};
use crate::app::App;
use crate::ctx::Ctx;
use crate::error::Result;
use crate::operations::{self, Kind, Options};

/// How often is looked.
const INTERVAL: Duration = Duration::from_secs(3600);
/// How much too early a look may come.
const SLACK: SignedDuration = SignedDuration::from_mins(5);
const DAY: SignedDuration = SignedDuration::from_hours(24);

/// Looks once an hour, and at once, until the daemon stops.
pub(crate) fn spawn(app: &Arc<App>) {
    let (app, shutdown) = (Arc::downgrade(app), app.shutdown.clone());
    tokio::spawn(async move {
        let mut tick = tokio::time::interval(INTERVAL);
        let mut seen = Seen::default();
        loop {
            tokio::select! {
                _ = tick.tick() => {}
                () = shutdown.cancelled() => return,
            }
            let Some(app) = app.upgrade() else { return };
            if let Err(error) = seen.look(&app).await {
                tracing::error!(err = error.text(), "Failed looking after images");
            }
        }
    });
}

/// Looks for newer versions of all images that follow a source, whenever that was done last, and waits for the end.
///
/// # Errors
/// The caller may not; the database can't be read; the daemon is stopping.
pub async fn refresh_all(app: &Arc<App>, ctx: &Ctx) -> Result<()> {
    ctx.require_trusted()?;
    let mut tx = app.cluster.read().await?;
    let mut all = rows::list(&mut tx, None).await?;
    drop(tx);
    all.retain(follows);
    update(app, all).await
}

/// When was looked last.
#[derive(Default)]
struct Seen {
    updated: HashMap<String, Timestamp>,
    pruned: Option<Timestamp>,
}

impl Seen {
    async fn look(&mut self, app: &Arc<App>) -> Result<()> {
        let now = app.clock.now();
        // First what goes, so that nobody looks for newer versions of it.
        if self
            .pruned
            .is_none_or(|last| now.duration_since(last) + SLACK >= DAY)
        {
            prune(app, now).await?;
            self.pruned = Some(now);
        }
        let due = self.due(app, now).await?;
        update(app, due).await
    }

    /// The images that follow a source and have not been looked after for their project's interval.
    async fn due(&mut self, app: &App, now: Timestamp) -> Result<Vec<Row>> {
        let mut tx = app.cluster.read().await?;
        let all = rows::list(&mut tx, None).await?;
        let mut due = Vec::new();
        for project in projects::names(&mut tx).await? {
            let is_own = |row: &&Row| row.project == project && follows(row);
            let own: Vec<Row> = all.iter().filter(is_own).cloned().collect();
            if own.is_empty() {
                continue;
            }
            let hours = fetch::setting(app, &mut tx, &project, "images.auto_update_interval").await?;
            let hours = hours.parse::<i64>().unwrap_or_default();
            let last = self.updated.get(&project);
            let is_due = last.is_none_or(|last| {
                now.duration_since(*last) + SLACK >= SignedDuration::from_hours(hours.min(1 << 20))
            });
            if hours > 0 && is_due {
                due.extend(own);
                self.updated.insert(project, now);
            }
        }
        Ok(due)
    }
}

fn follows(row: &Row) -> bool {
    row.content.auto_update && row.content.source.is_some()
}

/// Looks for newer versions, one after another.
async fn update(app: &Arc<App>, images: Vec<Row>) -> Result<()> {
    in_background(app, Kind::ImagesUpdate, images).await
}

/// Removes images that were fetched for instances and have not been used for some days.
///
/// # Errors
/// The database can't be read; the daemon is stopping.
pub(super) async fn prune(app: &Arc<App>, now: Timestamp) -> Result<()> {
    let mut tx = app.cluster.read().await?;
    let mut old = Vec::new();
    let mut days_of: HashMap<String, i64> = HashMap::new();
    for row in rows::list(&mut tx, None).await? {
        if !row.content.cached {
            continue;
        }
        let days = match days_of.get(&row.project) {
            Some(days) => *days,
            None => {
                let days = fetch::setting(app, &mut tx, &row.project, "images.remote_cache_expiry").await?;
                let days = days.parse::<i64>().unwrap_or_default().min(1 << 20);
                days_of.insert(row.project.clone(), days);
                days
            }
        };
        let used = row.last_used_at.max(row.uploaded_at);
        if days > 0 && now.duration_since(used) >= DAY * i32::try_from(days).unwrap_or(i32::MAX) {
            old.push(row);
        }
    }
    drop(tx);
    in_background(app, Kind::ImagesExpire, old).await
}

async fn forget(app: &Arc<App>, row: &Row) -> Result<()> {
    let work = Delete::new(row.project.clone(), row.content.fingerprint.clone());
    operations::run(app, &Ctx::daemon(&row.project), work)
        .await
        .map(drop)
}

/// Looks for a newer version of each image, or forgets it, as an operation of the daemon's own if there are any, and waits
/// for its end.
async fn in_background(app: &Arc<App>, kind: Kind, images: Vec<Row>) -> Result<()> {
    if images.is_empty() {
        return Ok(());
    }
    let ctx = Ctx::daemon("");
    let operation = app.operations.begin(&ctx, Options::task(kind).project(""))?;
    for row in &images {
        if app.shutdown.is_cancelled() || operation.cancel_token().is_cancelled() {
            break;
        }
        if kind == Kind::ImagesUpdate {
            refresh::follow(app, &Ctx::daemon(&row.project), &operation, row).await;
        } else if let Err(error) = forget(app, row).await {
            let fingerprint = &row.content.fingerprint;
            tracing::error!(err = error.text(), fingerprint, "Failed forgetting an image");
        }
    }
    app.operations.finish(&operation);
    Ok(())
}
