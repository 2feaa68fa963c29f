//! Storage volumes: the roots of instances, unpacked images, and what users make.

pub mod backups;
mod copy;
mod custom;
pub(crate) mod daemon;
mod defaults;
#[cfg(test)]
mod full_tests;
mod home;
#[cfg(test)]
mod migration_tests;
mod receive;
mod refresh;
mod relocate;
mod send;
mod size;
pub mod snapshots;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod transfer_tests;
mod users;
mod works;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use lxd_api::storage_volumes::{
    StorageVolume, StorageVolumePut, StorageVolumeState, StorageVolumeStateUsage,
};
use lxd_db::cluster::projects::{self, Effective, Feature};
use lxd_db::cluster::storage_volumes as rows;
use lxd_db::cluster::storage_volumes::StorageVolume as Row;
use lxd_db::cluster::{ContentType, Tx, VolumeType, storage_pools, used_by};
use lxd_model::ErrorKind;
use lxd_model::config::Config;
use lxd_storage::{Volume, VolumeType as DiskType};
use serde_json::Value;

use crate::app::App;
use crate::ctx::{Ctx, DEFAULT_PROJECT};
use crate::error::{Context as _, Error, Result};
use crate::etag::{self, Tagged};
use crate::events::{Action, Lifecycle};

use home::Home;

pub use custom::{create, delete};
pub use relocate::{Moved, rename};
pub(crate) use works::works;

/// Where a volume is, as URLs say it: the names of its pool, its type and itself.
pub type Path<'a> = [&'a str; 3];

/// Looks after snapshots and backups by the clock, until the daemon stops.
pub(crate) fn spawn(app: &Arc<App>) {
    snapshots::spawn(app);
    backups::spawn_expiry(app);
}

/// The URL of a volume.
pub fn url(volume: &StorageVolume, pool: &str) -> String {
    let (name, snapshot) = match volume.name.split_once('/') {
        Some((name, snapshot)) => (name, Some(snapshot)),
        None => (volume.name.as_str(), None),
    };
    let mut parts = vec!["storage-pools", pool, "volumes", &volume.r#type, name];
    parts.extend(snapshot.into_iter().flat_map(|snapshot| ["snapshots", snapshot]));
    crate::urls::object(&volume.project, &parts)
}

/// The URL of something that belongs to a volume, as lists of them have it: a snapshot, a backup; by its noun and its name.
pub fn url_of([pool, kind, volume]: Path<'_>, noun: &str, name: &str) -> String {
    crate::urls::plain(&["storage-pools", pool, "volumes", kind, volume, noun, name])
}

/// The volumes of a pool that the context's project has, or those of all projects; of one type or of every.
///
/// # Errors
/// There is no such pool, project or type; the caller may not see the project.
pub async fn list(
    app: &Arc<App>,
    ctx: &Ctx,
    pool: &str,
    kind: Option<&str>,
    all_projects: bool,
) -> Result<Vec<StorageVolume>> {
    ctx.require_trusted()?;
    if !all_projects {
        ctx.require_project()?;
    }
    let kind = kind.map(kind_of).transpose()?;
    let mut tx = app.cluster.read().await?;
    storage_pools::id(&mut tx, pool).await?;
    let homes = projects::effective_all(&mut tx, &ctx.project).await?;
    let filter = rows::Filter {
        pool: Some(pool),
        kind,
        project: None,
    };
    let mut volumes = Vec::new();
    let all = rows::list(&mut tx, filter).await?;
    let mut snapshots = snapshots_of(&mut tx, &all).await?;
    for row in all {
        let is_wanted = ctx.may_see_project(&row.project)
            && (all_projects || row.project == holder(&homes, &ctx.project, row.kind));
        if is_wanted {
            let users = user_urls(app, &mut tx, ctx, &row).await?;
            let mut own = snapshots.remove(&row.id).unwrap_or_default();
            own.sort_by(|a, b| a.name.cmp(&b.name));
            let own: Vec<StorageVolume> = own.into_iter().map(|one| snapshot_wire(&row, one)).collect();
            volumes.push(wire(row, users));
            volumes.extend(own);
        }
    }
    Ok(volumes)
}

/// The snapshots of volumes, by the ids of these.
async fn snapshots_of(tx: &mut Tx, volumes: &[Row]) -> Result<HashMap<i64, Vec<rows::snapshots::Snapshot>>> {
    let ids: Vec<i64> = volumes.iter().map(|row| row.id).collect();
    let mut found: HashMap<i64, Vec<rows::snapshots::Snapshot>> = HashMap::new();
    for snapshot in rows::snapshots::list(tx, &ids).await? {
        found.entry(snapshot.volume_id).or_default().push(snapshot);
    }
    Ok(found)
}

/// A snapshot in a list of volumes.
fn snapshot_wire(row: &Row, snapshot: rows::snapshots::Snapshot) -> StorageVolume {
    let used_by = match row.kind {
        VolumeType::Container | VolumeType::VirtualMachine => {
            vec![crate::urls::object(
                &row.project,
                &["instances", &row.name, "snapshots", &snapshot.name],
            )]
        }
        VolumeType::Custom | VolumeType::Image => Vec::new(),
    };
    let named = Row {
        name: format!("{}/{}", row.name, snapshot.name),
        description: snapshot.description,
        config: snapshot.config,
        ..row.clone()
    };
    wire(named, used_by)
}

/// One volume.
///
/// # Errors
/// There is no such pool or type; not found; the caller may not see the project.
pub async fn get(app: &Arc<App>, ctx: &Ctx, path: Path<'_>) -> Result<Tagged<StorageVolume>> {
    ctx.require_project()?;
    let mut tx = app.cluster.read().await?;
    let row = find(&mut tx, ctx, path).await?;
    let users = user_urls(app, &mut tx, ctx, &row).await?;
    let volume = wire(row, users);
    let writable = StorageVolumePut::from(&volume);
    Ok(Tagged::new(volume, &writable))
}

/// How much room a volume takes.
///
/// # Errors
/// Not found; the pool does not know; the caller may not see the project.
pub async fn state(app: &Arc<App>, ctx: &Ctx, path: Path<'_>) -> Result<StorageVolumeState> {
    ctx.require_project()?;
    let mut tx = app.cluster.read().await?;
    let found = find(&mut tx, ctx, path).await;
    drop(tx);
    let [pool, kind, name] = path;
    let row = found.map_err(|error| match error.kind() {
        ErrorKind::NotFound => Error::not_found(format!(
            "Storage volume {name:?} in project {:?} of type {kind:?} does not exist on pool {pool:?}: Storage volume not \
             found",
            ctx.project
        )),
        _ => error,
    })?;
    let used = app.pools.get(pool)?.usage(&on_disk(&row)).await?;
    let used = used.ok_or_else(|| Error::refused("Not supported"))?;
    Ok(StorageVolumeState {
        usage: Some(StorageVolumeStateUsage {
            used,
            total: size::configured(&row.config)?
                .and_then(|bytes| i64::try_from(bytes).ok())
                .unwrap_or(0),
        }),
    })
}

/// Replaces the description and configuration of a volume.
///
/// # Errors
/// Not found; `If-Match` does not match; a bad key or value; the caller may not.
pub async fn update(
    app: &Arc<App>,
    ctx: &Ctx,
    path: Path<'_>,
    put: StorageVolumePut,
    if_match: Option<&str>,
) -> Result<()> {
    if put.restore.is_empty() {
        return change(app, ctx, path, if_match, |_| Ok(put)).await;
    }
    let volume = snapshots::custom_volume(app, ctx, path).await?;
    snapshots::restore(app, ctx, &volume, &put.restore).await?;
    if put.config.is_empty() {
        return Ok(());
    }
    let put = StorageVolumePut {
        restore: String::new(),
        ..put
    };
    change(app, ctx, path, None, |_| Ok(put)).await
}

/// Changes the description or some keys of a volume that a user made.
///
/// # Errors
/// As [`update`]; it is no such volume.
pub async fn patch(
    app: &Arc<App>,
    ctx: &Ctx,
    path: Path<'_>,
    patch: Value,
    if_match: Option<&str>,
) -> Result<()> {
    let [_, kind, _] = path;
    if kind_of(kind)? != VolumeType::Custom {
        return Err(Error::bad_request(format!(
            "Invalid storage volume type {kind:?}"
        )));
    }
    let emptied = crate::patch::emptied(&patch);
    let merged = |old: &StorageVolumePut| -> Result<StorageVolumePut> {
        let mut new: StorageVolumePut = crate::patch::merge(old, patch)?;
        // They are judged, too, before they go.
        new.config.extend(emptied);
        Ok(new)
    };
    change(app, ctx, path, if_match, merged).await
}

async fn change(
    app: &Arc<App>,
    ctx: &Ctx,
    path: Path<'_>,
    if_match: Option<&str>,
    new: impl FnOnce(&StorageVolumePut) -> Result<StorageVolumePut>,
) -> Result<()> {
    let [pool, kind, _] = path;
    ctx.require_project()?;
    let mut tx = app.cluster.begin().await?;
    let row = find(&mut tx, ctx, path).await?;
    ctx.in_project(row.project.clone()).require_project()?;
    if row.kind == VolumeType::Image {
        return Err(Error::bad_request(format!(
            "Invalid storage volume type {kind:?}"
        )));
    }
    let old = StorageVolumePut {
        config: row.config.clone(),
        description: row.description.clone(),
        restore: String::new(),
    };
    etag::check(if_match, &old)?;
    let mut new = new(&old)?;
    validate(
        app,
        &Home::of(&row),
        &on_disk(&row),
        &new.config,
        row.content_type,
    )?;
    new.config.retain(|_, value| !value.is_empty());
    let is_on = |key: &str| {
        new.config
            .get(key)
            .is_some_and(|value| lxd_model::config::is_true(value))
    };
    if is_on("security.shifted") && is_on("security.unmapped") {
        return Err(Error::refused(
            "security.unmapped and security.shifted are mutually exclusive",
        ));
    }
    if row.kind != VolumeType::Custom && old.config.get("size") != new.config.get("size") {
        return Err(Error::refused(
            "Volume \"size\" property is not valid for volume type",
        ));
    }
    validate(
        app,
        &Home::of(&row),
        &on_disk(&row),
        &new.config,
        row.content_type,
    )?;
    crate::instances::check_volume_ids(app, &mut tx, &row, &mut new.config).await?;
    if row.kind == VolumeType::Custom && old.config.get("size") != new.config.get("size") {
        size::change(
            &app.pools.get(pool)?,
            &on_disk(&row),
            &new.config,
            row.content_type,
        )
        .await?;
    }
    rows::update(&mut tx, row.id, &new.description, &new.config).await?;
    tx.commit().await?;
    tell(app, ctx, &row, Action::StorageVolumeUpdated);
    Ok(())
}

/// Checks the configuration of a volume. The reference answers with its status for internal errors.
fn validate(app: &App, home: &Home, volume: &Volume, config: &Config, content: ContentType) -> Result<()> {
    let is_block = content == ContentType::Block;
    let valid = home.pool(app)?.validate_volume(volume, is_block, config);
    valid.map_err(|error| Error::from(error).with_kind(ErrorKind::Internal))
}

/// The volume that a path means in the context's project.
async fn find(tx: &mut Tx, ctx: &Ctx, [pool, kind, name]: Path<'_>) -> Result<Row> {
    let kind = kind_of(kind)?;
    let homes = projects::effective_all(tx, &ctx.project).await;
    let homes = homes.with_context(|| format!("Failed to load project {:?}", ctx.project))?;
    storage_pools::id(tx, pool).await?;
    let key = rows::Key {
        pool,
        project: holder(&homes, &ctx.project, kind),
        kind,
        name,
    };
    Ok(rows::get(tx, key).await?)
}

/// The project that holds a project's volumes of a type. Unpacked images are nobody's, and recorded in the default one.
fn holder<'a>(homes: &'a Effective, project: &'a str, kind: VolumeType) -> &'a str {
    match kind {
        VolumeType::Container | VolumeType::VirtualMachine => project,
        VolumeType::Custom => &homes.storage_volumes,
        VolumeType::Image => DEFAULT_PROJECT,
    }
}

/// The project that holds the context's custom volumes, which the caller must be allowed to see.
async fn custom_holder(tx: &mut Tx, ctx: &Ctx) -> Result<String> {
    ctx.require_project()?;
    let holder = projects::effective(tx, &ctx.project, Feature::StorageVolumes).await;
    let holder = holder.with_context(|| format!("Failed to load project {:?}", ctx.project))?;
    ctx.in_project(holder.clone()).require_project()?;
    Ok(holder)
}

fn kind_of(word: &str) -> Result<VolumeType> {
    VolumeType::from_word(word).ok_or_else(|| Error::bad_request("Invalid storage volume type name"))
}

/// A volume as the pool knows it.
fn on_disk(row: &Row) -> Volume {
    match row.kind {
        VolumeType::Container => Volume::instance(DiskType::Container, &row.project, &row.name),
        VolumeType::VirtualMachine => Volume::instance(DiskType::VirtualMachine, &row.project, &row.name),
        VolumeType::Custom => Volume::custom(&row.project, &row.name),
        VolumeType::Image => Volume::image(&row.name),
    }
}

/// The users of a volume that the caller may see.
async fn user_urls(app: &App, tx: &mut Tx, ctx: &Ctx, row: &Row) -> Result<Vec<String>> {
    Ok(match row.kind {
        VolumeType::Container | VolumeType::VirtualMachine => {
            vec![crate::urls::object(&row.project, &["instances", &row.name])]
        }
        VolumeType::Image => vec![crate::urls::plain(&["images", &row.name])],
        VolumeType::Custom => {
            let users = used_by::storage_volume(tx, &row.project, &row.pool, &row.name).await?;
            let is_seen = |user: &&used_by::User| ctx.may_see_project(crate::urls::project_of(user));
            let own = daemon::uses(app, &Home::of(row)).then(|| "/1.0".to_owned());
            let users = users.iter().filter(is_seen).map(crate::urls::user);
            own.into_iter().chain(users).collect()
        }
    })
}

fn tell(app: &App, ctx: &Ctx, row: &Row, action: Action) {
    let parts = [
        "storage-pools",
        &row.pool,
        "volumes",
        row.kind.as_str(),
        &row.name,
    ];
    let event = Lifecycle::new(action, crate::urls::object(&row.project, &parts));
    app.events.lifecycle(&row.project, &event.by(ctx));
}

fn wire(row: Row, used_by: Vec<String>) -> StorageVolume {
    StorageVolume {
        config: row.config.into_iter().collect::<BTreeMap<_, _>>(),
        description: row.description,
        restore: String::new(),
        name: row.name,
        r#type: row.kind.as_str().to_owned(),
        used_by,
        location: row.node,
        content_type: row.content_type.as_str().to_owned(),
        project: row.project,
        created_at: lxd_api::Time::never(),
    }
}
