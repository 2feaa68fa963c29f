//! Snapshots of custom volumes: taken, listed, described, renamed, deleted; by hand, by a schedule, by their age.

mod create;
mod delete;
mod rename;
mod restore;
mod schedule;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use lxd_api::Time;
use lxd_api::storage_volumes::{StorageVolumeSnapshot, StorageVolumeSnapshotPut};
use lxd_db::cluster::storage_volumes::StorageVolume as Row;
use lxd_db::cluster::storage_volumes::snapshots::{self as rows, Snapshot};
use lxd_db::cluster::{Tx, VolumeType};
use lxd_model::config::Config;
use lxd_model::names;
use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use create::create;
pub use delete::delete;
pub use rename::rename;
pub(super) use restore::restore;
pub(crate) use schedule::spawn;

use super::home::Home;
use super::{Path, find, kind_of};
use crate::app::App;
use crate::ctx::Ctx;
use crate::error::{Error, Result};
use crate::etag::{self, Tagged};
use crate::events::{Action, Lifecycle};
use crate::operations::{Kind, Options, Works};

/// The kinds of works of this noun.
pub(super) fn works(works: &mut Works) {
    works.add::<create::Create>();
    works.add::<delete::Delete>();
    works.add::<rename::Rename>();
    works.add::<restore::Restore>();
}

/// A snapshot as works record it: all that its row holds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Saved {
    pub(super) name: String,
    pub(super) description: String,
    pub(super) expires_at: Time,
    pub(super) config: Config,
}

impl From<Snapshot> for Saved {
    fn from(row: Snapshot) -> Self {
        Self {
            name: row.name,
            description: row.description,
            expires_at: Time::from(row.expires_at),
            config: row.config,
        }
    }
}

impl Saved {
    /// The snapshots of a volume, oldest first.
    ///
    /// # Errors
    /// The database can't be read.
    pub(super) async fn all(tx: &mut Tx, volume_id: i64) -> Result<Vec<Self>> {
        let all = rows::list(tx, &[volume_id]).await?;
        Ok(all.into_iter().map(Self::from).collect())
    }

    /// Makes the row.
    ///
    /// # Errors
    /// The name is taken; the database can't be written.
    pub(super) async fn insert(&self, tx: &mut Tx, volume_id: i64) -> Result<()> {
        let expires_at = self.expires_at.timestamp();
        let (name, description) = (&self.name, &self.description);
        rows::create(tx, volume_id, name, description, expires_at, &self.config).await?;
        Ok(())
    }
}

/// The snapshots of a volume, oldest first, with the volume's project.
///
/// # Errors
/// There is no such pool, type or volume; the caller may not see the project.
pub async fn list(app: &Arc<App>, ctx: &Ctx, path: Path<'_>) -> Result<Vec<StorageVolumeSnapshot>> {
    ctx.require_project()?;
    let mut tx = app.cluster.read().await?;
    let volume = match find(&mut tx, ctx, path).await {
        // A volume that is not there has none, says the reference.
        Err(error) if error.text() == "Storage pool volume not found" => return Ok(Vec::new()),
        found => found?,
    };
    let all = rows::list(&mut tx, &[volume.id]).await?;
    Ok(all.into_iter().map(|row| listed(&volume, row)).collect())
}

/// One snapshot.
///
/// # Errors
/// Not found; the caller may not see the project.
pub async fn get(
    app: &Arc<App>,
    ctx: &Ctx,
    path: Path<'_>,
    name: &str,
) -> Result<Tagged<StorageVolumeSnapshot>> {
    ctx.require_project()?;
    let mut tx = app.cluster.read().await?;
    let volume = find(&mut tx, ctx, path).await?;
    let row = rows::get(&mut tx, volume.id, name).await?;
    let writable = writable(&row);
    Ok(Tagged::new(wire(&volume, row), &writable))
}

/// Replaces description and expiry of a snapshot.
///
/// # Errors
/// Not found; `If-Match` does not match; it is an instance's.
pub async fn update(
    app: &Arc<App>,
    ctx: &Ctx,
    path: Path<'_>,
    name: &str,
    put: StorageVolumeSnapshotPut,
    if_match: Option<&str>,
) -> Result<()> {
    change(app, ctx, (path, name), if_match, |_| Ok(put)).await
}

/// Changes what is named of a snapshot.
///
/// # Errors
/// As [`update`].
pub async fn patch(
    app: &Arc<App>,
    ctx: &Ctx,
    path: Path<'_>,
    name: &str,
    patch: Value,
    if_match: Option<&str>,
) -> Result<()> {
    change(app, ctx, (path, name), if_match, |old| {
        crate::patch::merge(old, patch)
    })
    .await
}

async fn change(
    app: &Arc<App>,
    ctx: &Ctx,
    (path, name): (Path<'_>, &str),
    if_match: Option<&str>,
    new: impl FnOnce(&StorageVolumeSnapshotPut) -> Result<StorageVolumeSnapshotPut>,
) -> Result<()> {
    let (volume, row) = custom(app, ctx, path, name).await?;
    let old = writable(&row);
    etag::check(if_match, &old)?;
    let put = new(&old)?;
    let mut tx = app.cluster.begin().await?;
    let expires_at = put.expires_at.unwrap_or_else(Time::never).timestamp();
    rows::update(&mut tx, row.id, &put.description, expires_at).await?;
    tx.commit().await?;
    let home = Home::of(&volume);
    tell(app, ctx, &home, &row.name, Action::StorageVolumeSnapshotUpdated);
    Ok(())
}

/// A snapshot of a custom volume that the caller may change.
async fn custom(app: &App, ctx: &Ctx, path: Path<'_>, name: &str) -> Result<(Row, Snapshot)> {
    let volume = custom_volume(app, ctx, path).await?;
    let mut tx = app.cluster.read().await?;
    let row = rows::get(&mut tx, volume.id, name).await?;
    Ok((volume, row))
}

/// A custom volume that the caller may change.
pub(super) async fn custom_volume(app: &App, ctx: &Ctx, path: Path<'_>) -> Result<Row> {
    let [_, kind, _] = path;
    ctx.require_project()?;
    if kind_of(kind)? != VolumeType::Custom {
        return Err(Error::bad_request(format!(
            "Invalid storage volume type {kind:?}"
        )));
    }
    let mut tx = app.cluster.read().await?;
    let volume = find(&mut tx, ctx, path).await?;
    ctx.in_project(volume.project.clone()).require_project()?;
    Ok(volume)
}

fn writable(row: &Snapshot) -> StorageVolumeSnapshotPut {
    StorageVolumeSnapshotPut {
        description: row.description.clone(),
        expires_at: Some(Time::from(row.expires_at)),
    }
}

/// A snapshot as the API shows it.
pub(super) fn wire(volume: &Row, row: Snapshot) -> StorageVolumeSnapshot {
    StorageVolumeSnapshot {
        description: row.description,
        expires_at: Some(Time::from(row.expires_at)),
        name: row.name,
        config: row.config.into_iter().collect(),
        content_type: volume.content_type.as_str().to_owned(),
        created_at: Time::never(),
    }
}

/// A snapshot in a list, which the reference shows in another way than one alone.
fn listed(volume: &Row, row: Snapshot) -> StorageVolumeSnapshot {
    let wire = wire(volume, row);
    StorageVolumeSnapshot {
        name: format!("{}/{}", volume.name, wire.name),
        expires_at: wire.expires_at.filter(|time| !time.is_never()),
        content_type: String::new(),
        ..wire
    }
}

/// An operation on a volume's snapshots; the reference names the volume under either word.
fn options(kind: Kind, home: &Home, noun: &str) -> Options {
    Options::task(kind).resource(noun, &home.name)
}

/// The name of a snapshot that is renamed, which may be more than that of a new one may.
fn check_new_name(name: &str) -> Result<()> {
    names::storage_volume(name)?;
    Ok(())
}

fn tell(app: &App, ctx: &Ctx, home: &Home, name: &str, action: Action) {
    let event = Lifecycle::new(action, home.url_of("snapshots", name)).by(ctx);
    let event = match action {
        Action::StorageVolumeSnapshotCreated => event.with("type", "custom"),
        _ => event,
    };
    app.events.lifecycle(&home.project, &event);
}
