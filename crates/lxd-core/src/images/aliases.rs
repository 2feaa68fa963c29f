//! Aliases of images: names that users give them.

use std::collections::BTreeSet;
use std::sync::Arc;

use lxd_api::images::{ImageAlias, ImageAliasesEntry, ImageAliasesEntryPut, ImageAliasesPost};
use lxd_db::cluster::Tx;
use lxd_db::cluster::images::aliases as rows;
use lxd_db::cluster::images::aliases::Alias as Row;
use lxd_model::names;
use serde_json::Value;

use super::{by_prefix, project_of, writable_project};
use crate::app::App;
use crate::ctx::Ctx;
use crate::error::{Error, Result};
use crate::etag::{self, Tagged};
use crate::events::{Action, Lifecycle};

/// The URL of an alias of a project.
pub fn url(project: &str, name: &str) -> String {
    crate::urls::object(project, &["images", "aliases", name])
}

/// The project's aliases, by name.
///
/// # Errors
/// The caller may not see the project; there is none.
pub async fn list(app: &Arc<App>, ctx: &Ctx) -> Result<Vec<ImageAliasesEntry>> {
    ctx.require_project()?;
    let mut tx = app.cluster.read().await?;
    let project = project_of(&mut tx, &ctx.project).await?;
    let all = rows::list(&mut tx, &project).await?;
    Ok(all.into_iter().map(wire).collect())
}

/// One alias; only of a public image for whom may not see the project.
///
/// # Errors
/// Not found.
pub async fn get(app: &Arc<App>, ctx: &Ctx, name: &str) -> Result<Tagged<ImageAliasesEntry>> {
    let mut tx = app.cluster.read().await?;
    let project = project_of(&mut tx, &ctx.project).await?;
    let row = rows::get(&mut tx, &project, name).await?;
    if !row.public && ctx.require_project().is_err() {
        return Err(lxd_model::images::alias_not_found().into());
    }
    let alias = wire(row);
    let writable = ImageAliasesEntryPut::from(&alias);
    Ok(Tagged::new(alias, &writable))
}

/// Makes an alias; gives its URL.
///
/// # Errors
/// Name or image is missing; the name is taken; there is no such image; the caller may not.
pub async fn create(app: &Arc<App>, ctx: &Ctx, post: ImageAliasesPost) -> Result<String> {
    ctx.require_project()?;
    if post.target.is_empty() {
        return Err(Error::bad_request("name and target are required"));
    }
    names::image_alias(&post.name)?;
    let mut tx = app.cluster.begin().await?;
    let project = writable_project(&mut tx, ctx).await?;
    if is_taken(&mut tx, &project, &post.name).await? {
        return Err(lxd_model::images::alias_exists(&post.name).into());
    }
    let image = by_prefix(&mut tx, &project, &post.target).await?;
    let new = [(post.name.as_str(), post.description.as_str())];
    rows::create_all(&mut tx, &project, image.id, &new).await?;
    tx.commit().await?;
    let event = Lifecycle::new(Action::ImageAliasCreated, url(&project, &post.name));
    tell(
        app,
        ctx,
        &project,
        event.with("target", image.content.fingerprint),
    );
    Ok(url(&project, &post.name))
}

/// What became of the aliases that an image was to get.
#[derive(Debug, Default)]
pub(super) struct Given<'a> {
    /// Those that it has got.
    pub(super) aliases: &'a [ImageAlias],
    /// Why it has got none: one of them it can't have.
    pub(super) refused: Option<Error>,
}

/// Gives an image aliases: all of them, or none.
///
/// # Errors
/// The database can't be read or written.
pub(super) async fn give<'a>(
    tx: &mut Tx,
    project: &str,
    image: i64,
    wanted: &'a [ImageAlias],
) -> Result<Given<'a>> {
    if wanted.is_empty() {
        return Ok(Given::default());
    }
    let all = rows::list(tx, project).await?;
    let mut taken: BTreeSet<&str> = all.iter().map(|alias| alias.name.as_str()).collect();
    for alias in wanted {
        let mut refused = names::image_alias(&alias.name).err().map(Error::from);
        if !taken.insert(&alias.name) {
            refused = Some(Error::conflict(format!("Alias already exists: {}", alias.name)));
        }
        if refused.is_some() {
            return Ok(Given {
                aliases: &[],
                refused,
            });
        }
    }
    let new: Vec<(&str, &str)> = wanted
        .iter()
        .map(|alias| (alias.name.as_str(), alias.description.as_str()))
        .collect();
    rows::create_all(tx, project, image, &new).await?;
    Ok(Given {
        aliases: wanted,
        refused: None,
    })
}

/// Tells of the aliases that an image was given.
pub(super) fn given(app: &App, ctx: &Ctx, (project, fingerprint): (&str, &str), aliases: &[ImageAlias]) {
    for alias in aliases {
        let event = Lifecycle::new(Action::ImageAliasCreated, url(project, &alias.name));
        tell(app, ctx, project, event.with("target", fingerprint));
    }
}

/// Makes an alias stand for another image, and changes its description.
///
/// # Errors
/// Not found; `If-Match` does not match; there is no such image; the caller may not.
pub async fn update(
    app: &Arc<App>,
    ctx: &Ctx,
    name: &str,
    put: ImageAliasesEntryPut,
    if_match: Option<&str>,
) -> Result<()> {
    change(app, ctx, name, if_match, |_| Ok(put)).await
}

/// Changes what is named of an alias.
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
    change(app, ctx, name, if_match, |old| crate::patch::merge(old, patch)).await
}

async fn change(
    app: &Arc<App>,
    ctx: &Ctx,
    name: &str,
    if_match: Option<&str>,
    new: impl FnOnce(&ImageAliasesEntryPut) -> Result<ImageAliasesEntryPut>,
) -> Result<()> {
    ctx.require_project()?;
    let mut tx = app.cluster.begin().await?;
    let (project, row) = find(&mut tx, ctx, name).await?;
    let id = row.id;
    let old = ImageAliasesEntryPut::from(&wire(row));
    etag::check(if_match, &old)?;
    let new = new(&old)?;
    if new.target.is_empty() {
        return Err(Error::bad_request("The target field is required"));
    }
    let image = by_prefix(&mut tx, &project, &new.target).await?;
    rows::update(&mut tx, id, image.id, &new.description).await?;
    tx.commit().await?;
    let event = Lifecycle::new(Action::ImageAliasUpdated, url(&project, name));
    tell(
        app,
        ctx,
        &project,
        event.with("target", image.content.fingerprint),
    );
    Ok(())
}

/// Renames an alias; gives its new URL.
///
/// # Errors
/// Not found; the name is taken or missing; the caller may not.
pub async fn rename(app: &Arc<App>, ctx: &Ctx, name: &str, new_name: &str) -> Result<String> {
    ctx.require_project()?;
    names::image_alias(new_name)?;
    let mut tx = app.cluster.begin().await?;
    let project = writable_project(&mut tx, ctx).await?;
    if is_taken(&mut tx, &project, new_name).await? {
        return Err(lxd_model::images::alias_exists(new_name).into());
    }
    let row = rows::get(&mut tx, &project, name).await?;
    rows::rename(&mut tx, row.id, new_name).await?;
    tx.commit().await?;
    let event = Lifecycle::new(Action::ImageAliasRenamed, url(&project, new_name));
    tell(app, ctx, &project, event.with("old_name", name));
    Ok(url(&project, new_name))
}

/// Deletes an alias.
///
/// # Errors
/// Not found; the caller may not.
pub async fn delete(app: &Arc<App>, ctx: &Ctx, name: &str) -> Result<()> {
    ctx.require_project()?;
    let mut tx = app.cluster.begin().await?;
    let project = writable_project(&mut tx, ctx).await?;
    rows::delete(&mut tx, &project, name).await?;
    tx.commit().await?;
    tell(
        app,
        ctx,
        &project,
        Lifecycle::new(Action::ImageAliasDeleted, url(&project, name)),
    );
    Ok(())
}

async fn is_taken(tx: &mut Tx, project: &str, name: &str) -> Result<bool> {
    match rows::get(tx, project, name).await {
        Ok(_) => Ok(true),
        Err(lxd_db::Error::NotFound { .. }) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

async fn find(tx: &mut Tx, ctx: &Ctx, name: &str) -> Result<(String, Row)> {
    let project = writable_project(tx, ctx).await?;
    let row = rows::get(tx, &project, name).await?;
    Ok((project, row))
}

fn tell(app: &App, ctx: &Ctx, project: &str, event: Lifecycle) {
    app.events.lifecycle(project, &event.by(ctx));
}

fn wire(row: Row) -> ImageAliasesEntry {
    ImageAliasesEntry {
        description: row.description,
        target: row.target,
        name: row.name,
        r#type: row.kind.as_str().to_owned(),
    }
}
