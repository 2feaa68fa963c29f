//! Warnings: what is wrong with this server, remembered until somebody or something resolves it.

mod entity;
mod host;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use lxd_api::Time;
use lxd_api::warnings::{Warning, WarningPut};
use lxd_db::cluster::warnings as rows;
use lxd_db::cluster::warnings::{Key, Status as RowStatus, Warning as Row};
use lxd_model::warnings::{Status, WarningType};
use serde_json::Value;

use entity::Entities;
pub(crate) use host::look;

use crate::app::App;
use crate::ctx::{Ctx, DEFAULT_PROJECT};
use crate::error::{Error, Result};
use crate::etag::{self, Tagged};
use crate::events::{Action, Lifecycle};
use crate::timers;

const DAY: Duration = Duration::from_hours(24);

/// The URL of a warning.
pub fn url(uuid: &str) -> String {
    crate::urls::plain(&["warnings", uuid])
}

/// The warnings of a project, or of all projects and of none, by UUID. For admins only.
///
/// # Errors
/// Forbidden; the database can't be read.
pub async fn list(app: &Arc<App>, ctx: &Ctx, project: Option<&str>) -> Result<Vec<Warning>> {
    ctx.require_admin()?;
    let mut tx = app.cluster.read().await?;
    let all = rows::list(&mut tx, project).await?;
    let entities = Entities::load(&mut tx, &all, app.cluster.node_id()).await?;
    Ok(all.into_iter().map(|row| wire(row, &entities)).collect())
}

/// One warning.
///
/// # Errors
/// Forbidden; not found.
pub async fn get(app: &Arc<App>, ctx: &Ctx, uuid: &str) -> Result<Tagged<Warning>> {
    ctx.require_admin()?;
    let mut tx = app.cluster.read().await?;
    let row = rows::get(&mut tx, uuid).await?;
    let entities = Entities::load(&mut tx, std::slice::from_ref(&row), app.cluster.node_id()).await?;
    let warning = wire(row, &entities);
    let writable = WarningPut::from(&warning);
    Ok(Tagged::new(warning, &writable))
}

/// Says how far a warning is dealt with: `acknowledged`, or `new` again.
///
/// # Errors
/// Forbidden; not found; another status; `If-Match` does not match.
pub async fn update(
    app: &Arc<App>,
    ctx: &Ctx,
    uuid: &str,
    put: WarningPut,
    if_match: Option<&str>,
) -> Result<()> {
    ctx.require_admin()?;
    let mut tx = app.cluster.begin().await?;
    let old = WarningPut {
        status: rows::get(&mut tx, uuid).await?.status.as_str().into(),
    };
    etag::check(if_match, &old)?;
    let (status, action) = match Status::parse(&put.status) {
        Some(Status::Acknowledged) => (RowStatus::Acknowledged, Action::WarningAcknowledged),
        Some(Status::New) => (RowStatus::New, Action::WarningReset),
        Some(Status::Resolved) => {
            return Err(Error::forbidden(
                "Status may only be set to \"acknowledge\" or \"new\"",
            ));
        }
        None => {
            return Err(Error::bad_request(format!(
                "Invalid warning type {:?}",
                put.status
            )));
        }
    };
    rows::set_status(&mut tx, uuid, status).await?;
    tx.commit().await?;
    tell(app, ctx, action, uuid);
    Ok(())
}

/// The same with a PATCH.
///
/// # Errors
/// As [`update`].
pub async fn patch(
    app: &Arc<App>,
    ctx: &Ctx,
    uuid: &str,
    patch: Value,
    if_match: Option<&str>,
) -> Result<()> {
    let old = WarningPut::from(&get(app, ctx, uuid).await?.value);
    update(app, ctx, uuid, crate::patch::merge(&old, patch)?, if_match).await
}

/// Deletes a warning.
///
/// # Errors
/// Forbidden; not found.
pub async fn delete(app: &Arc<App>, ctx: &Ctx, uuid: &str) -> Result<()> {
    ctx.require_admin()?;
    let mut tx = app.cluster.begin().await?;
    rows::delete(&mut tx, uuid).await?;
    tx.commit().await?;
    tell(app, ctx, Action::WarningDeleted, uuid);
    Ok(())
}

/// Warns about this server, or counts warnings that are there already.
///
/// # Errors
/// The database can't be written.
async fn warn(app: &App, all: &[(WarningType, String)]) -> Result<()> {
    let mut tx = app.cluster.begin().await?;
    for (kind, message) in all {
        let key = Key {
            node_id: Some(app.cluster.node_id()),
            project: None,
            entity: None,
            type_code: kind.id(),
        };
        rows::upsert(&mut tx, key, &uuid::Uuid::new_v4().to_string(), message).await?;
    }
    Ok(tx.commit().await?)
}

/// Warns about anything: see [`Key`].
///
/// # Errors
/// The database can't be written.
pub async fn add(app: &App, key: Key<'_>, message: &str) -> Result<()> {
    let mut tx = app.cluster.begin().await?;
    rows::upsert(&mut tx, key, &uuid::Uuid::new_v4().to_string(), message).await?;
    Ok(tx.commit().await?)
}

/// Resolves what was warned of this server before it started, and did not come again since.
///
/// # Errors
/// The database can't be written.
pub(crate) async fn settle(app: &App, started: Timestamp) -> Result<()> {
    let mut tx = app.cluster.begin().await?;
    rows::resolve_older(&mut tx, app.cluster.node_id(), started).await?;
    Ok(tx.commit().await?)
}

/// Forgets, each day, what has been resolved for one.
pub(crate) fn spawn(app: &Arc<App>) {
    timers::every(app, DAY, "Failed pruning resolved warnings", async |app| {
        let before = Timestamp::now() - DAY;
        let mut tx = app.cluster.begin().await?;
        rows::delete_resolved(&mut tx, before).await?;
        Ok(tx.commit().await?)
    });
}

/// What `POST /internal/testing/warnings` adds.
#[derive(Debug, Clone, Default, serde::Deserialize)]
#[serde(default)]
pub struct TestWarning {
    /// The number of the type.
    pub type_code: i64,
    /// The words.
    pub message: String,
    /// The project it is about.
    pub project: String,
    /// The number of the sort of thing that it is about.
    pub entity_type_code: i64,
    /// The id of the thing's row.
    pub entity_id: i64,
}

/// Adds a warning as a test wishes.
///
/// # Errors
/// Forbidden; an unknown type, project or sort of thing.
pub async fn add_for_test(app: &Arc<App>, ctx: &Ctx, test: TestWarning) -> Result<()> {
    ctx.require_admin()?;
    let refused = |reason: String| Error::refused(format!("Failed to create warning: {reason}"));
    if test.type_code != 0 && WarningType::from_id(test.type_code).is_none() {
        return Err(refused(format!("Unknown warning type code {}", test.type_code)));
    }
    let mut tx = app.cluster.read().await?;
    let known = lxd_db::cluster::projects::names(&mut tx).await?;
    drop(tx);
    if !test.project.is_empty() && !known.contains(&test.project) {
        return Err(refused(format!("Unknown project {:?}", test.project)));
    }
    let entity = (test.entity_id != 0).then_some((test.entity_type_code, test.entity_id));
    if entity.is_some_and(|(code, _)| !entity::is_known(code)) {
        return Err(refused(format!(
            "Unknown entity type code {}",
            test.entity_type_code
        )));
    }
    let project = (!test.project.is_empty()).then_some(test.project.as_str());
    add(
        app,
        Key {
            node_id: None,
            project,
            entity,
            type_code: test.type_code,
        },
        &test.message,
    )
    .await
}

fn tell(app: &App, ctx: &Ctx, action: Action, uuid: &str) {
    app.events
        .lifecycle(DEFAULT_PROJECT, &Lifecycle::new(action, url(uuid)).by(ctx));
}

fn wire(row: Row, entities: &Entities) -> Warning {
    let kind = WarningType::from_id(row.type_code);
    Warning {
        entity_url: row.entity.map_or_else(String::new, |entity| entities.url(entity)),
        status: row.status.as_str().into(),
        uuid: row.uuid,
        location: row.node,
        project: row.project,
        r#type: kind.map_or("Undefined warning", WarningType::as_str).into(),
        count: row.count,
        first_seen_at: Time::from(row.first_seen_at),
        last_seen_at: Time::from(row.last_seen_at),
        last_message: row.last_message,
        severity: kind.map_or("low", |kind| kind.severity().as_str()).into(),
    }
}
