//! What images are made of: an instance that does not run, or one of its snapshots.

use std::sync::Arc;

use lxd_db::cluster::instances::snapshots;
use lxd_instance::Key;
use lxd_model::ErrorKind;
use lxd_storage::View;
use lxd_sys::userns::IdMap;

use super::record::Record;
use super::runtime::Guard;
use super::shift::on_disk;
use super::snapshots::Root;
use crate::app::App;
use crate::ctx::Ctx;
use crate::error::{Error, Result};

/// The files of an instance or snapshot. Nobody changes the instance while this is there.
pub(crate) struct Published {
    /// The files.
    pub(crate) view: Arc<View>,
    /// The instance's architecture, for volumes that don't say.
    pub(crate) architecture: String,
    /// The ids that the files have on disk, if they are not those of the inside.
    pub(crate) ids: Option<IdMap>,
    _guard: Guard,
}

/// Looks for what an image is to be made of.
///
/// # Errors
/// Not found.
pub(crate) async fn find(app: &App, ctx: &Ctx, name: &str) -> Result<()> {
    let (instance, snapshot) = split(name);
    let mut tx = app.cluster.read().await?;
    let record = Record::load(&mut tx, &ctx.project, instance).await?;
    if let Some(snapshot) = snapshot {
        let found = snapshots::get(&mut tx, record.row.id, snapshot).await;
        found.map_err(|error| match error.kind() {
            ErrorKind::NotFound => Error::not_found("Instance not found"),
            _ => error.into(),
        })?;
    }
    Ok(())
}

/// Opens what an image is to be made of.
///
/// # Errors
/// It is gone, or runs; a snapshot was asked for and none is named.
pub(crate) async fn open(app: &Arc<App>, ctx: &Ctx, name: &str, must_be_snapshot: bool) -> Result<Published> {
    let (instance, snapshot) = split(name);
    if must_be_snapshot && snapshot.is_none() {
        return Err(Error::bad_request("Not a snapshot"));
    }
    let key = Key::new(&ctx.project, instance);
    let guard = app.instances.lock(&key).await;
    if snapshot.is_none() && app.instances.registry.phase(&key).is_running() {
        return Err(Error::bad_request("Cannot export a running instance as an image"));
    }
    let mut tx = app.cluster.read().await?;
    let record = Record::load(&mut tx, &key.project, &key.name).await?;
    let ids = match snapshot {
        Some(snapshot) => on_disk(&snapshots::get(&mut tx, record.row.id, snapshot).await?.config)?,
        None => on_disk(&record.config)?,
    };
    drop(tx);
    let root = Root::of(&record);
    let volume = match snapshot {
        Some(snapshot) => root.snapshot(snapshot),
        None => root.volume(),
    };
    Ok(Published {
        view: Arc::new(app.pools.get(&root.pool)?.view(&volume).await?),
        architecture: record.row.architecture,
        ids,
        _guard: guard,
    })
}

fn split(name: &str) -> (&str, Option<&str>) {
    match name.split_once('/') {
        Some((instance, snapshot)) => (instance, Some(snapshot)),
        None => (name, None),
    }
}
