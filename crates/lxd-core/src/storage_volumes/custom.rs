//! Volumes that users make.

use std::sync::Arc;

use lxd_api::storage_volumes::StorageVolumesPost;
use lxd_db::cluster::storage_volumes as rows;
use lxd_db::cluster::{ContentType, VolumeType, storage_pools, used_by};
use lxd_model::names;

use super::home::{self, Home};
use super::{Path, copy, custom_holder, daemon, defaults, find, receive, tell, validate, works};
use crate::app::App;
use crate::ctx::Ctx;
use crate::error::{Error, Result};
use crate::events::{Action, Lifecycle};
use crate::operations::Operation;

/// Makes an empty volume in a pool at once, or a copy of another one, which is an operation.
///
/// # Errors
/// A bad name, type, key or value; the name is taken; the source is not found; the caller may not.
pub async fn create(
    app: &Arc<App>,
    ctx: &Ctx,
    pool: &str,
    mut post: StorageVolumesPost,
) -> Result<Option<Operation>> {
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
    let is_copy = matches!(post.source.r#type.as_str(), "copy" | "migration");
    let existing = rows::get(&mut tx, key).await.ok();
    if existing.is_some() && !(is_copy && post.source.refresh) {
        return Err(Error::conflict("Volume by that name already exists"));
    }
    drop(tx);
    match post.source.r#type.as_str() {
        "" => {}
        "copy" if post.source.name.is_empty() => {}
        "copy" => {
            let to = Home::new(pool, &project, name);
            return copy::copy(app, ctx, to, post).await.map(Some);
        }
        "migration" => {
            let to = Home::new(pool, &project, name);
            return receive::receive(app, ctx, (to, existing), post).await.map(Some);
        }
        other => return Err(Error::bad_request(format!("Unknown source type {other:?}"))),
    }
    let home = Home::new(pool, &project, name);
    let content = ContentType::from_word(&post.content_type).unwrap_or(ContentType::Filesystem);
    validate(app, &home, &home.volume(), &post.config, content)?;
    post.config.retain(|_, value| !value.is_empty());
    defaults::fill(&home.pool(app)?, &mut post.config, content == ContentType::Block);
    let event = Lifecycle::new(Action::StorageVolumeCreated, home.url());
    let work = works::Create::new(home.clone(), post);
    home::run(app, ctx, vec![home], work, None).await?;
    app.events
        .lifecycle(&project, &event.with("type", "custom").by(ctx));
    Ok(None)
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
        word if ContentType::from_word(word).is_some() => Ok(()),
        // The reference blames itself.
        _ => Err(Error::internal("Invalid volume content type name")),
    }
}

/// Deletes a volume that nothing uses, or what a pool has unpacked of an image.
///
/// # Errors
/// Not found; an instance's volume; it is in use; the caller may not.
pub async fn delete(app: &Arc<App>, ctx: &Ctx, path: Path<'_>) -> Result<()> {
    let [pool, kind, name] = path;
    ctx.require_project()?;
    if name.contains('/') {
        return Err(Error::bad_request(format!("Invalid storage volume {name:?}")));
    }
    let mut tx = app.cluster.read().await?;
    let row = find(&mut tx, ctx, path).await?;
    if !matches!(row.kind, VolumeType::Custom | VolumeType::Image) {
        let text = format!("Storage volumes of type {kind:?} cannot be deleted with the storage API");
        return Err(Error::bad_request(text));
    }
    ctx.in_project(row.project.clone()).require_project()?;
    refuse_used(app, &mut tx, &row).await?;
    drop(tx);
    let home = Home::new(pool, &row.project, &row.name);
    let work = works::Delete {
        id: row.id,
        home: home.clone(),
        is_image: row.kind == VolumeType::Image,
    };
    home::run(app, ctx, vec![home], work, None).await?;
    tell(app, ctx, &row, Action::StorageVolumeDeleted);
    Ok(())
}

async fn refuse_used(app: &App, tx: &mut lxd_db::cluster::Tx, row: &rows::StorageVolume) -> Result<()> {
    let is_own = row.kind == VolumeType::Custom && daemon::uses(app, &Home::of(row));
    if is_own {
        return Err(Error::bad_request("The storage volume is still in use"));
    }
    if row.kind == VolumeType::Custom
        && !used_by::storage_volume(tx, &row.project, &row.pool, &row.name)
            .await?
            .is_empty()
    {
        return Err(Error::bad_request("The storage volume is still in use"));
    }
    Ok(())
}
