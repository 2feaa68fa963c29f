//! Volumes that users make.

use std::sync::Arc;

use lxd_api::storage_volumes::{StorageVolumePost, StorageVolumesPost};
use lxd_db::cluster::storage_volumes as rows;
use lxd_db::cluster::{ContentType, VolumeType, storage_pools, used_by};
use lxd_model::{ErrorKind, names};
use lxd_storage::Volume;

use super::{Path, custom_holder, find, kind_of, tell, works};
use crate::app::App;
use crate::ctx::Ctx;
use crate::error::{Error, Result};
use crate::events::{Action, Lifecycle};
use crate::operations;

/// Makes an empty volume in a pool.
///
/// # Errors
/// A bad name, type, key or value; the name is taken; a source, which this server does not copy from yet; the caller
/// may not.
pub async fn create(app: &Arc<App>, ctx: &Ctx, pool: &str, mut post: StorageVolumesPost) -> Result<()> {
    check_post(&post)?;
    let mut tx = app.cluster.read().await?;
    storage_pools::id(&mut tx, pool).await?;
    let project = custom_holder(&mut tx, ctx).await?;
    let name = post.name.as_str();
    let key = rows::Key {
        pool,
        project: &project,
        kind: VolumeType::Custom,
        name,
    };
    if rows::get(&mut tx, key).await.is_ok() {
        return Err(Error::conflict("Volume by that name already exists"));
    }
    drop(tx);
    match post.source.r#type.as_str() {
        "" => {}
        "copy" | "migration" => {
            return Err(Error::not_implemented(
                "Copying storage volumes is not implemented by this server yet",
            ));
        }
        other => return Err(Error::bad_request(format!("Unknown source type {other:?}"))),
    }
    post.config.retain(|_, value| !value.is_empty());
    let valid = app
        .pools
        .get(pool)?
        .validate_volume(&Volume::custom(&project, name), &post.config);
    // The reference answers with its status for internal errors.
    valid.map_err(|error| Error::from(error).with_kind(ErrorKind::Internal))?;
    let parts = ["storage-pools", pool, "volumes", "custom", name];
    let event = Lifecycle::new(
        Action::StorageVolumeCreated,
        crate::urls::object(&project, &parts),
    );
    let work = works::Create::new(pool.to_owned(), project.clone(), post);
    operations::run(app, ctx, work).await?;
    app.events
        .lifecycle(&project, &event.with("type", "custom").by(ctx));
    Ok(())
}

fn check_post(post: &StorageVolumesPost) -> Result<()> {
    names::storage_volume(&post.name)?;
    match post.r#type.as_str() {
        "" => {
            return Err(Error::bad_request(
                "You must provide a storage volume type of the storage volume",
            ));
        }
        "custom" => {}
        kind => {
            let text = format!("Currently not allowed to create storage volumes of type {kind:?}");
            return Err(Error::bad_request(text));
        }
    }
    match post.content_type.as_str() {
        "" => Ok(()),
        word => match ContentType::from_word(word) {
            Some(ContentType::Filesystem) => Ok(()),
            Some(ContentType::Block) => Err(Error::not_implemented(
                "Block volumes are not implemented by this server yet",
            )),
            None => Err(Error::bad_request("Invalid volume content type name")),
        },
    }
}

/// Gives a volume that nothing uses another name; gives its new URL.
///
/// # Errors
/// Not found; a volume of an instance or an image; a bad name; the name is taken; it is in use; the caller may not.
pub async fn rename(app: &Arc<App>, ctx: &Ctx, path: Path<'_>, post: StorageVolumePost) -> Result<String> {
    let [pool, kind, _] = path;
    if kind_of(kind)? != VolumeType::Custom {
        let text = format!("Renaming storage volumes of type {kind:?} is not allowed");
        return Err(Error::bad_request(text));
    }
    names::storage_volume(&post.name)?;
    let moves = post.migration
        || !post.project.is_empty() && post.project != ctx.project
        || !post.pool.is_empty() && post.pool != pool;
    if moves {
        return Err(Error::not_implemented(
            "Moving storage volumes is not implemented by this server yet",
        ));
    }
    let mut tx = app.cluster.read().await?;
    let project = custom_holder(&mut tx, ctx).await?;
    let row = find(&mut tx, ctx, path).await?;
    let taken = rows::Key {
        pool,
        project: &project,
        kind: VolumeType::Custom,
        name: &post.name,
    };
    if rows::get(&mut tx, taken).await.is_ok() {
        return Err(Error::conflict("Volume by that name already exists"));
    }
    refuse_used(&mut tx, &row).await?;
    drop(tx);
    let work = works::Rename {
        id: row.id,
        pool: pool.to_owned(),
        project: project.clone(),
        name: row.name.clone(),
        new_name: post.name.clone(),
    };
    operations::run(app, ctx, work).await?;
    let parts = ["storage-pools", pool, "volumes", "custom", &post.name];
    let url = crate::urls::object(&project, &parts);
    let event = Lifecycle::new(Action::StorageVolumeRenamed, url.clone()).with("old_name", row.name);
    app.events.lifecycle(&project, &event.by(ctx));
    Ok(url)
}

/// Deletes a volume that nothing uses, or what a pool has unpacked of an image.
///
/// # Errors
/// Not found; an instance's volume; it is in use; the caller may not.
pub async fn delete(app: &Arc<App>, ctx: &Ctx, path: Path<'_>) -> Result<()> {
    let [pool, kind, _] = path;
    ctx.require_project()?;
    if !matches!(kind_of(kind)?, VolumeType::Custom | VolumeType::Image) {
        let text = format!("Storage volumes of type {kind:?} cannot be deleted with the storage API");
        return Err(Error::bad_request(text));
    }
    let mut tx = app.cluster.read().await?;
    let row = find(&mut tx, ctx, path).await?;
    ctx.in_project(row.project.clone()).require_project()?;
    refuse_used(&mut tx, &row).await?;
    drop(tx);
    let work = works::Delete {
        id: row.id,
        pool: pool.to_owned(),
        project: row.project.clone(),
        name: row.name.clone(),
        is_image: row.kind == VolumeType::Image,
    };
    operations::run(app, ctx, work).await?;
    tell(app, ctx, &row, Action::StorageVolumeDeleted);
    Ok(())
}

async fn refuse_used(tx: &mut lxd_db::cluster::Tx, row: &rows::StorageVolume) -> Result<()> {
    if row.kind == VolumeType::Custom
        && !used_by::storage_volume(tx, &row.project, &row.pool, &row.name)
            .await?
            .is_empty()
    {
        return Err(Error::bad_request("The storage volume is still in use"));
    }
    Ok(())
}
