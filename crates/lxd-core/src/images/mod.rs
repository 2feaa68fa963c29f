//! Images: what instances are made of.

pub mod aliases;
mod export;
mod fetch;
#[cfg(test)]
mod full_tests;
mod import;
mod locks;
mod publish;
mod receive;
mod refresh;
mod remote;
mod resolve;
mod send;
mod tasks;
#[cfg(test)]
mod tests;
mod tokens;
mod works;

use std::collections::BTreeMap;
use std::sync::Arc;

use lxd_api::Time;
use lxd_api::images::{Image, ImageAlias, ImagePut, ImageSource};
use lxd_db::cluster::Tx;
use lxd_db::cluster::images as rows;
use lxd_db::cluster::images::Image as Row;
use lxd_db::cluster::projects::{self, Feature};
use lxd_model::{ErrorKind, images};
use serde::Deserialize;

use crate::app::App;
use crate::ctx::Ctx;
use crate::error::{Context as _, Error, Result};
use crate::etag::{self, Tagged};
use crate::events::{Action, Lifecycle};
use crate::operations::{self, Kind, Operation, Options};

pub use export::{Export, Exported, export};
pub(crate) use fetch::{Fetch, follows, run as bring};
pub use import::{holder, import, import_from};
pub(crate) use locks::Writing;
pub use locks::{Locks, Reading};
pub use receive::{FirstPart, Upload, invalid_form};
pub(crate) use receive::{clean, within_room};
pub use refresh::refresh;
pub(crate) use remote::target as server;
pub(crate) use remote::{Protocol, Wish};
pub use resolve::{prepare, resolve};
pub use send::send;
pub use tasks::refresh_all;
pub(crate) use tasks::spawn;
pub use tokens::{secret, sender};
pub(crate) use works::works;
pub use works::{ImportRequest, Origin, Stated};

/// The profiles of instances made of an image, unless it says others.
const DEFAULT_PROFILES: [&str; 1] = ["default"];

/// A change of an image. What is not there stays as it is for a PATCH; for a PUT only the profiles do.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Change {
    auto_update: Option<bool>,
    properties: Option<BTreeMap<String, Option<String>>>,
    public: Option<bool>,
    expires_at: Option<Time>,
    profiles: Option<Vec<String>>,
}

/// The URL of an image of a project.
pub fn url(project: &str, fingerprint: &str) -> String {
    crate::urls::object(project, &["images", fingerprint])
}

/// The project whose images a project uses: its own, or the default project's.
///
/// # Errors
/// There is no such project.
pub async fn project_of(tx: &mut Tx, project: &str) -> Result<String> {
    projects::effective(tx, project, Feature::Images)
        .await
        .context("Check if project has images: fetch project")
}

/// The project's images by fingerprint; only the public ones for whom may not see the project.
///
/// # Errors
/// There is no such project.
pub async fn list(app: &Arc<App>, ctx: &Ctx) -> Result<Vec<Image>> {
    let is_trusted = ctx.require_project().is_ok();
    let mut tx = app.cluster.read().await?;
    let project = project_of(&mut tx, &ctx.project).await?;
    let mut all = rows::list(&mut tx, Some(&project)).await?;
    all.retain(|image| is_trusted || image.content.public);
    all.sort_by(|a, b| a.content.fingerprint.cmp(&b.content.fingerprint));
    Ok(all.into_iter().map(wire).collect())
}

/// The URLs of the same images.
///
/// # Errors
/// As [`list`].
pub async fn urls(app: &Arc<App>, ctx: &Ctx) -> Result<Vec<String>> {
    let is_trusted = ctx.require_project().is_ok();
    let mut tx = app.cluster.read().await?;
    let project = project_of(&mut tx, &ctx.project).await?;
    let all = rows::fingerprints(&mut tx, &project, !is_trusted).await?;
    Ok(all
        .iter()
        .map(|fingerprint| crate::urls::plain(&["images", fingerprint]))
        .collect())
}

/// One image, by its fingerprint or the beginning of it. With the secret of a token for it anybody may see it.
///
/// # Errors
/// Not found, also for what the caller may not see; several images begin so.
pub async fn get(
    app: &Arc<App>,
    ctx: &Ctx,
    fingerprint: &str,
    secret: Option<&str>,
) -> Result<Tagged<Image>> {
    let image = wire(visible(app, ctx, fingerprint, secret).await?);
    let writable = ImagePut::from(&image);
    Ok(Tagged::new(image, &writable))
}

/// Replaces what can be changed of an image. A property that is empty is none.
///
/// # Errors
/// Not found; `If-Match` does not match; a profile that does not exist; the caller may not.
pub async fn update(
    app: &Arc<App>,
    ctx: &Ctx,
    fingerprint: &str,
    change: Change,
    if_match: Option<&str>,
) -> Result<()> {
    apply(app, ctx, fingerprint, if_match, |old| ImagePut {
        auto_update: change.auto_update.unwrap_or_default(),
        properties: change
            .properties
            .unwrap_or_default()
            .into_iter()
            .filter_map(|(key, value)| Some((key, value.filter(|value| !value.is_empty())?)))
            .collect(),
        public: change.public.unwrap_or_default(),
        expires_at: change.expires_at.unwrap_or_default(),
        profiles: change.profiles.unwrap_or(old.profiles),
    })
    .await
}

/// Changes some fields and properties of an image; a property that is `null` or empty is taken away.
///
/// # Errors
/// As [`update`].
pub async fn patch(
    app: &Arc<App>,
    ctx: &Ctx,
    fingerprint: &str,
    change: Change,
    if_match: Option<&str>,
) -> Result<()> {
    apply(app, ctx, fingerprint, if_match, |mut old| {
        for (key, value) in change.properties.unwrap_or_default() {
            match value.filter(|value| !value.is_empty()) {
                Some(value) => drop(old.properties.insert(key, value)),
                None => drop(old.properties.remove(&key)),
            }
        }
        ImagePut {
            auto_update: change.auto_update.unwrap_or(old.auto_update),
            public: change.public.unwrap_or(old.public),
            expires_at: change.expires_at.unwrap_or(old.expires_at),
            profiles: change.profiles.unwrap_or(old.profiles),
            properties: old.properties,
        }
    })
    .await
}

async fn apply(
    app: &Arc<App>,
    ctx: &Ctx,
    fingerprint: &str,
    if_match: Option<&str>,
    change: impl FnOnce(ImagePut) -> ImagePut,
) -> Result<()> {
    ctx.require_project()?;
    let mut tx = app.cluster.begin().await?;
    let (project, row) = find(&mut tx, ctx, fingerprint).await?;
    let (id, found) = (row.id, row.content.fingerprint.clone());
    let old = ImagePut::from(&wire(row));
    etag::check(if_match, &old)?;
    let new = change(old);
    let content = rows::Content {
        public: new.public,
        auto_update: new.auto_update,
        expires_at: new.expires_at.timestamp(),
        properties: new.properties,
        profiles: new.profiles,
    };
    rows::update(&mut tx, id, &content)
        .await
        .map_err(|error| match error {
            lxd_db::Error::NoProfile { name } => {
                Error::bad_request(format!("Profile '{name}' doesn't exist"))
            }
            other => other.into(),
        })?;
    tx.commit().await?;
    let event = Lifecycle::new(Action::ImageUpdated, url(&project, &found));
    app.events.lifecycle(&project, &event.by(ctx));
    Ok(())
}

/// Deletes an image. Instances that were made of it go on.
///
/// # Errors
/// Not found; several images begin so; the caller may not; the daemon is stopping.
pub async fn delete(app: &Arc<App>, ctx: &Ctx, fingerprint: &str) -> Result<Operation> {
    ctx.require_project()?;
    let mut tx = app.cluster.read().await?;
    let (project, row) = find(&mut tx, ctx, fingerprint).await?;
    drop(tx);
    let fingerprint = row.content.fingerprint;
    let options = Options::task(Kind::ImageDelete).resource("images", &fingerprint);
    operations::start(app, ctx, options, works::Delete::new(project, fingerprint))
}

/// An image that the caller wants to change, and the project that holds it, which the caller must be allowed to see.
async fn find(tx: &mut Tx, ctx: &Ctx, fingerprint: &str) -> Result<(String, Row)> {
    let project = writable_project(tx, ctx).await?;
    let row = by_prefix(tx, &project, fingerprint).await?;
    Ok((project, row))
}

async fn writable_project(tx: &mut Tx, ctx: &Ctx) -> Result<String> {
    ctx.require_project()?;
    let project = project_of(tx, &ctx.project).await?;
    ctx.in_project(project.clone()).require_project()?;
    Ok(project)
}

/// The image whose fingerprint begins so, whatever the case.
async fn by_prefix(tx: &mut Tx, project: &str, fingerprint: &str) -> Result<Row> {
    if !images::is_fingerprint_prefix(fingerprint) {
        return Err(images::not_found().into());
    }
    rows::get(tx, project, &fingerprint.to_ascii_lowercase())
        .await
        .map_err(|error| match error {
            // The reference answers with its status for internal errors.
            lxd_db::Error::Ambiguous { .. } => Error::from(error).with_kind(ErrorKind::Internal),
            other => other.into(),
        })
}

/// An image that the caller may see: of a project of theirs, public, or by a token's secret.
async fn visible(app: &App, ctx: &Ctx, fingerprint: &str, secret: Option<&str>) -> Result<Row> {
    let mut tx = app.cluster.read().await?;
    let project = project_of(&mut tx, &ctx.project).await?;
    let row = by_prefix(&mut tx, &project, fingerprint).await?;
    let is_seen = row.content.public
        || ctx.require_project().is_ok()
        || secret.is_some_and(|secret| tokens::redeem(app, &ctx.project, &row.content.fingerprint, secret));
    if is_seen {
        Ok(row)
    } else {
        // Only what the caller knows already is repeated.
        Err(Error::not_found(format!("Image {fingerprint:?} not found")))
    }
}

fn wire(row: Row) -> Image {
    let content = row.content;
    let alias = |alias: rows::aliases::Alias| ImageAlias {
        name: alias.name,
        description: alias.description,
    };
    let source = |source: rows::Source| ImageSource {
        alias: source.alias,
        certificate: source.certificate,
        // Not recorded: the image's own type says it.
        image_type: String::new(),
        protocol: source.protocol.as_str().to_owned(),
        server: source.server,
    };
    Image {
        auto_update: content.auto_update,
        properties: content.properties,
        public: content.public,
        expires_at: content.expires_at.into(),
        profiles: content.profiles,
        aliases: row.aliases.into_iter().map(alias).collect(),
        architecture: content.architecture,
        cached: content.cached,
        filename: content.filename,
        fingerprint: content.fingerprint,
        size: content.size,
        update_source: content.source.map(source),
        r#type: content.kind.as_str().to_owned(),
        created_at: content.created_at.into(),
        last_used_at: row.last_used_at.into(),
        uploaded_at: row.uploaded_at.into(),
    }
}
