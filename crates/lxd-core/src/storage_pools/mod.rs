//! Storage pools: where volumes and unpacked images are.

#[cfg(test)]
mod tests;
mod works;

use std::sync::Arc;

use lxd_api::resources::{ResourcesStoragePool, ResourcesStoragePoolInodes, ResourcesStoragePoolSpace};
use lxd_api::storage_pools::{StoragePool, StoragePoolPut, StoragePoolsPost};
use lxd_db::cluster::State;
use lxd_db::cluster::storage_pools as rows;
use lxd_db::cluster::storage_pools::StoragePool as Row;
use lxd_db::cluster::{Tx, used_by};
use lxd_model::{ErrorKind, names};
use serde_json::Value;

use crate::app::App;
use crate::ctx::Ctx;
use crate::error::{Error, Result};
use crate::etag::{self, Tagged};
use crate::events::{Action, Lifecycle};
use crate::operations;

pub(crate) use works::works;

/// The URL of a pool.
pub fn url(name: &str) -> String {
    crate::urls::plain(&["storage-pools", name])
}

/// The URLs of all pools, by name.
///
/// # Errors
/// The caller is not trusted.
pub async fn urls(app: &Arc<App>, ctx: &Ctx) -> Result<Vec<String>> {
    ctx.require_trusted()?;
    let mut tx = app.cluster.read().await?;
    let all = rows::list(&mut tx, app.cluster.node_id()).await?;
    Ok(all.iter().map(|pool| url(&pool.name)).collect())
}

/// All pools, by name.
///
/// # Errors
/// The caller is not trusted.
pub async fn list(app: &Arc<App>, ctx: &Ctx) -> Result<Vec<StoragePool>> {
    ctx.require_trusted()?;
    let mut tx = app.cluster.read().await?;
    let mut pools = Vec::new();
    for row in rows::list(&mut tx, app.cluster.node_id()).await? {
        let users = users(&mut tx, ctx, &row.name).await?;
        pools.push(wire(ctx, row, users));
    }
    Ok(pools)
}

/// One pool.
///
/// # Errors
/// Not found; the caller is not trusted.
pub async fn get(app: &Arc<App>, ctx: &Ctx, name: &str) -> Result<Tagged<StoragePool>> {
    ctx.require_trusted()?;
    let mut tx = app.cluster.read().await?;
    let row = rows::get(&mut tx, name, app.cluster.node_id()).await?;
    let users = users(&mut tx, ctx, name).await?;
    let pool = wire(ctx, row, users);
    let writable = StoragePoolPut::from(&pool);
    Ok(Tagged::new(pool, &writable))
}

/// The space and inodes of a pool.
///
/// # Errors
/// Not found (with the reference's status for it); the caller is not trusted.
pub async fn resources(app: &Arc<App>, ctx: &Ctx, name: &str) -> Result<ResourcesStoragePool> {
    ctx.require_trusted()?;
    let pool = app
        .pools
        .get(name)
        .map_err(|error| Error::from(error).with_kind(ErrorKind::Internal))?;
    let found = pool.resources().await?;
    Ok(ResourcesStoragePool {
        space: ResourcesStoragePoolSpace {
            used: found.space_used,
            total: found.space_total,
        },
        inodes: ResourcesStoragePoolInodes {
            used: found.inodes_used,
            total: found.inodes_total,
        },
    })
}

/// Makes a pool; gives its URL.
///
/// # Errors
/// A bad name, driver, key or value; the name is taken; the source can't be used; the caller may not.
pub async fn create(app: &Arc<App>, ctx: &Ctx, mut post: StoragePoolsPost) -> Result<String> {
    ctx.require_admin()?;
    if post.name.is_empty() {
        return Err(Error::bad_request("No name provided"));
    }
    if post.name.contains('/') {
        return Err(Error::bad_request("Storage pool names may not contain slashes"));
    }
    if post.driver.is_empty() {
        return Err(Error::bad_request("No driver provided"));
    }
    let mut tx = app.cluster.read().await?;
    if rows::id(&mut tx, &post.name).await.is_ok() {
        return Err(Error::conflict(
            "The storage pool already exists: The record already exists",
        ));
    }
    drop(tx);
    // From here on the reference answers with its status for internal errors.
    let refused = |error: Error| error.with_kind(ErrorKind::Internal);
    names::storage_pool(&post.name).map_err(|error| refused(error.into()))?;
    lxd_storage::Pools::validate(&post.driver, &post.config).map_err(|error| refused(error.into()))?;
    post.config.retain(|_, value| !value.is_empty());
    let name = post.name.clone();
    operations::run(app, ctx, works::Create::new(post)).await?;
    let event = Lifecycle::new(Action::StoragePoolCreated, url(&name)).with("driver", driver(app, &name));
    app.events.lifecycle("default", &event.by(ctx));
    Ok(url(&name))
}

fn driver(app: &App, name: &str) -> String {
    app.pools
        .get(name)
        .map(|pool| pool.driver().name.to_owned())
        .unwrap_or_default()
}

/// Replaces the description and configuration of a pool.
///
/// # Errors
/// Not found; `If-Match` does not match; a bad key or value; what can't be changed any more.
pub async fn update(
    app: &Arc<App>,
    ctx: &Ctx,
    name: &str,
    put: StoragePoolPut,
    if_match: Option<&str>,
) -> Result<()> {
    change(app, ctx, name, if_match, |_| Ok(put)).await
}

/// Changes some keys of a pool.
///
/// # Errors
/// As [`update`].
pub async fn patch(
    app: &Arc<App>,
    ctx: &Ctx,
    name: &str,
    patch: Value,
    if_match: Option<&str>,
) -> Result<()> {
    let emptied = crate::patch::emptied(&patch);
    let merged = |old: &StoragePoolPut| -> Result<StoragePoolPut> {
        let mut new: StoragePoolPut = crate::patch::merge(old, patch)?;
        // They are judged, too, before they go.
        new.config.extend(emptied);
        Ok(new)
    };
    change(app, ctx, name, if_match, merged).await
}

async fn change(
    app: &Arc<App>,
    ctx: &Ctx,
    name: &str,
    if_match: Option<&str>,
    new: impl FnOnce(&StoragePoolPut) -> Result<StoragePoolPut>,
) -> Result<()> {
    ctx.require_admin()?;
    let mut tx = app.cluster.begin().await?;
    let row = rows::get(&mut tx, name, app.cluster.node_id()).await?;
    let old = StoragePoolPut {
        config: row.config,
        description: row.description,
    };
    etag::check(if_match, &old)?;
    let mut new = new(&old)?;
    let valid = lxd_storage::Pools::validate(&row.driver, &new.config);
    valid.map_err(|error| Error::from(error).with_kind(ErrorKind::BadRequest))?;
    new.config.retain(|_, value| !value.is_empty());
    if old.config.get("source") != new.config.get("source") {
        return Err(Error::refused(
            "Pool source cannot be changed when not in pending state",
        ));
    }
    rows::update(
        &mut tx,
        row.id,
        app.cluster.node_id(),
        &new.description,
        &new.config,
    )
    .await?;
    app.pools.get(name)?.update(new.config).await?;
    tx.commit().await?;
    app.events.lifecycle(
        "default",
        &Lifecycle::new(Action::StoragePoolUpdated, url(name)).by(ctx),
    );
    Ok(())
}

/// Deletes a pool that nothing uses.
///
/// # Errors
/// Not found; it is in use; the caller may not.
pub async fn delete(app: &Arc<App>, ctx: &Ctx, name: &str) -> Result<()> {
    ctx.require_admin()?;
    let mut tx = app.cluster.read().await?;
    let row = rows::get(&mut tx, name, app.cluster.node_id()).await?;
    let users = used_by::storage_pool(&mut tx, name).await?;
    drop(tx);
    let is_image = |user: &used_by::User| matches!(user, used_by::User::Image { .. });
    if !users.iter().all(is_image) {
        return Err(Error::bad_request("The storage pool is currently in use"));
    }
    operations::run(
        app,
        ctx,
        works::Delete {
            name: name.to_owned(),
            driver: row.driver,
        },
    )
    .await?;
    app.events.lifecycle(
        "default",
        &Lifecycle::new(Action::StoragePoolDeleted, url(name)).by(ctx),
    );
    Ok(())
}

/// The users of a pool that the caller may see.
async fn users(tx: &mut Tx, ctx: &Ctx, name: &str) -> Result<Vec<String>> {
    let users = used_by::storage_pool(tx, name).await?;
    let is_seen = |user: &&used_by::User| ctx.may_see_project(crate::urls::project_of(user));
    Ok(users.iter().filter(is_seen).map(crate::urls::user).collect())
}

fn wire(ctx: &Ctx, row: Row, used_by: Vec<String>) -> StoragePool {
    // Paths on the host are none of a restricted caller's business.
    let config = if ctx.is_admin() {
        row.config
    } else {
        Default::default()
    };
    let member = |(name, _): (String, State)| if name.is_empty() { "none".to_owned() } else { name };
    StoragePool {
        config,
        description: row.description,
        name: row.name,
        driver: row.driver,
        used_by,
        status: row.state.as_str().to_owned(),
        locations: row.nodes.into_iter().map(member).collect(),
    }
}
