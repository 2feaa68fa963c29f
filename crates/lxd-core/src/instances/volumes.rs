//! Volumes that users made, made ready for an instance: whose ids their files have, and who else has them.

use std::sync::Arc;

use lxd_db::cluster::projects::{self, Feature};
use lxd_db::cluster::storage_volumes::{self as rows, StorageVolume as Row};
use lxd_db::cluster::{ContentType, Tx, VolumeType, used_by};
use lxd_instance::ports::CustomVolume;
use lxd_instance::{Instance, Key};
use lxd_model::ErrorKind;
use lxd_model::config::{Config, is_true};
use lxd_model::idmap::IdMap;
use lxd_storage::Volume;
use serde::{Deserialize, Serialize};

use super::record::{Record, kernel_map};
use super::shift::{Change, map};
use crate::app::App;
use crate::ctx::Ctx;
use crate::error::{Context as _, Error, Result};
use crate::operations::{self, OnCrash, Step, Task, Work, Works};
use crate::steps;

/// The key that says which map the ids on disk are of.
const LAST: &str = "volatile.idmap.last";

/// The key that says whose ids the volume is used with.
const NEXT: &str = "volatile.idmap.next";

/// Mounts map the ids.
const SHIFTED: &str = "security.shifted";

/// Nobody maps the ids.
const UNMAPPED: &str = "security.unmapped";

/// The kinds of works of this file.
pub(super) fn works(works: &mut Works) {
    works.add::<ShiftVolume>();
}

/// Checks a change of what a volume says of ids. What the server has noted of those on disk stays: without it the files would
/// be shifted twice.
///
/// # Errors
/// Both keys are on; an instance that runs uses the volume.
pub(crate) async fn check_change(app: &App, tx: &mut Tx, row: &Row, new: &mut Config) -> Result<()> {
    let is_on = |key: &str| new.get(key).is_some_and(|value| is_true(value));
    if is_on(SHIFTED) && is_on(UNMAPPED) {
        return Err(Error::internal(
            "security.unmapped and security.shifted are mutually exclusive",
        ));
    }
    if new.get(SHIFTED) != row.config.get(SHIFTED) {
        let users = used_by::storage_volume(tx, &row.project, &row.pool, &row.name).await?;
        let is_running = |user: &used_by::User| match user {
            used_by::User::Instance { project, name } => {
                let phase = app.instances.registry.phase(&Key::new(project, name));
                phase.is_running()
            }
            _ => false,
        };
        if users.iter().any(is_running) {
            return Err(Error::internal(
                "Cannot modify shifting with running instances using the volume",
            ));
        }
    }
    for key in [LAST, NEXT] {
        if let Some(value) = row.config.get(key) {
            new.entry(key.to_owned()).or_insert_with(|| value.clone());
        }
    }
    Ok(())
}

/// Finds a volume for a disk of an instance, and gives its files the ids of the instance where mounts can't.
///
/// # Errors
/// Not found; it holds blocks; other instances use it with other ids; its files can't be changed.
pub(super) async fn make_ready(
    app: &Arc<App>,
    instance: &Instance,
    (pool, name): (&str, &str),
) -> Result<CustomVolume> {
    if let Some((volume, _)) = name.split_once('/') {
        // The reference's words for a snapshot, which is no disk of anybody.
        let text = format!("Failed mounting volume: Unknown storage type prefix {volume:?} found");
        return Err(Error::internal(text));
    }
    let mut tx = app.cluster.read().await?;
    let home = projects::effective(&mut tx, &instance.key.project, Feature::StorageVolumes).await?;
    let key = rows::Key {
        pool,
        project: &home,
        kind: VolumeType::Custom,
        name,
    };
    let row = match rows::get(&mut tx, key).await {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            return Err(Error::not_found(
                "Failed loading custom volume: Storage volume not found",
            ));
        }
        found => found?,
    };
    if row.content_type == ContentType::Block {
        return Err(Error::bad_request(
            "Custom block volumes cannot be used on containers",
        ));
    }
    let path = app.pools.get(pool)?.volume_path(&Volume::custom(&home, name));
    let is_on = |key: &str| row.config.get(key).is_some_and(|value| is_true(value));
    if is_on(UNMAPPED) {
        return Ok(CustomVolume {
            path,
            needs_idmap: false,
        });
    }
    let wanted = match is_on(SHIFTED) {
        true if instance.idmap.is_some() && !app.pools.get(pool)?.maps_ids().await? => {
            return Err(Error::bad_request(
                "idmapping abilities are required but aren't supported on system",
            ));
        }
        true => IdMap::default(),
        false => used(instance)?,
    };
    let needs_idmap = shift(app, tx, (&row, instance), wanted).await.with_context(|| {
        format!("Failed mounting volume: Failed shifting storage volume {name:?} of type \"custom\" on storage pool {pool:?}")
    })?;
    Ok(CustomVolume { path, needs_idmap })
}

/// The map of an instance: what runs may have another one than it will start with.
fn used(instance: &Instance) -> Result<IdMap> {
    let current = map(&instance.config, "volatile.idmap.current")?;
    match kernel_map(&current) == instance.idmap {
        true => Ok(current),
        false => map(&instance.config, "volatile.idmap.next"),
    }
}

/// Lets the files have the wanted ids, by a mount or on disk; says whether the mount must map them.
async fn shift(
    app: &Arc<App>,
    mut tx: Tx,
    (row, instance): (&Row, &Instance),
    wanted: IdMap,
) -> Result<bool> {
    let (last, next) = (map(&row.config, LAST)?, map(&row.config, NEXT)?);
    let is_new = !row.config.contains_key(NEXT);
    let is_shifted = row.config.get(SHIFTED).is_some_and(|value| is_true(value));
    if (is_new || next != wanted) && !is_shifted {
        others_agree(app, &mut tx, (row, instance), &wanted).await?;
    }
    drop(tx);
    let pool = app.pools.get(&row.pool)?;
    let is_mapped = last.0.is_empty() && pool.maps_ids().await?;
    let to = match is_mapped || (last != wanted && pool.maps_ids().await?) {
        true => IdMap::default(),
        false => wanted.clone(),
    };
    if to != last {
        let change = Change::new(&pool, (&row.project, &row.name, true), (last, to.clone())).await?;
        let work = ShiftVolume {
            id: row.id,
            change,
            next: wanted,
        };
        operations::run(app, &Ctx::daemon(&row.project), work).await?;
    } else if is_new || next != wanted {
        let mut tx = app.cluster.begin().await?;
        rows::change_config(&mut tx, row.id, &noted(&to, &wanted)).await?;
        tx.commit().await?;
    }
    Ok(to.0.is_empty())
}

/// What is noted of the ids of a volume.
fn noted(on_disk: &IdMap, used: &IdMap) -> Config {
    [(LAST, on_disk), (NEXT, used)]
        .map(|(key, map)| (key.to_owned(), map.to_json()))
        .into()
}

/// Refuses a volume whose other users have other ids, now or at their next start: they would not own its files.
async fn others_agree(
    app: &App,
    tx: &mut Tx,
    (row, instance): (&Row, &Instance),
    wanted: &IdMap,
) -> Result<()> {
    let users = used_by::storage_volume(tx, &row.project, &row.pool, &row.name).await?;
    for user in users {
        let used_by::User::Instance { project, name, .. } = &user else {
            continue;
        };
        if (project, name) == (&instance.key.project, &instance.key.name) {
            continue;
        }
        let other = Record::load(tx, project, name).await?;
        let has_same = |key: &str| Ok::<_, Error>(map(&other.config, key)? == *wanted);
        let is_running = app.instances.registry.phase(&other.key()).is_running();
        if !has_same("volatile.idmap.next")? || (is_running && !has_same("volatile.idmap.current")?) {
            return Err(Error::internal(format!(
                "Idmaps of container {name:?} and storage volume {:?} are not identical",
                row.name
            )));
        }
    }
    Ok(())
}

/// A change of the ids in the files of a volume. What was begun is ended, after a crash, too.
#[derive(Serialize, Deserialize)]
pub(super) struct ShiftVolume {
    /// The volume's row.
    id: i64,
    change: Change,
    /// The map that it is used with.
    next: IdMap,
}

impl Work for ShiftVolume {
    const KIND: &'static str = "instances.shift_volume";
    const ON_CRASH: OnCrash = OnCrash::Undo;

    fn steps() -> &'static [Step<Self>] {
        steps![Self;
            "files": Self::run => Self::settle;
        ]
    }
}

impl ShiftVolume {
    async fn run(&mut self, task: &Task) -> Result<()> {
        self.change.run(task).await?;
        self.note(task).await
    }

    async fn settle(&mut self, task: &Task) -> Result<()> {
        let mut tx = task.app.cluster.read().await?;
        let (pool, project, name) = self.change.place();
        let key = rows::Key {
            pool,
            project,
            kind: VolumeType::Custom,
            name,
        };
        let Ok(row) = rows::get(&mut tx, key).await else {
            return Ok(());
        };
        drop(tx);
        if map(&row.config, LAST)? == self.change.to {
            return Ok(());
        }
        match self.change.settle(task).await? {
            true => self.note(task).await,
            false => Ok(()),
        }
    }

    async fn note(&self, task: &Task) -> Result<()> {
        let mut tx = task.app.cluster.begin().await?;
        rows::change_config(&mut tx, self.id, &noted(&self.change.to, &self.next)).await?;
        Ok(tx.commit().await?)
    }
}
