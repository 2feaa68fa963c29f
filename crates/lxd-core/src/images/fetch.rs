//! Bringing in an image of another server: once, however many ask for it at the same time.

use std::collections::BTreeMap;
use std::sync::Arc;

use lxd_api::images::{Image, ImageAlias, ImagesPost};
use lxd_db::cluster::images as rows;
use lxd_db::cluster::images::Image as Row;
use lxd_db::cluster::{Tx, projects};
use lxd_model::ErrorKind;

use super::remote::{Found, Protocol, Wish};
use super::works::{Import, ImportRequest, Origin, profiles_or_default};
use super::{aliases, by_prefix, project_of, url};
use crate::app::App;
use crate::ctx::Ctx;
use crate::error::{Error, Result};
use crate::events::{Action, Lifecycle};
use crate::operations::{self, Kind, Operation, Options};

/// An image that is to come in, and what becomes of it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Fetch {
    /// Which one.
    pub(crate) wish: Wish,
    /// Whether it follows its source from now on.
    pub(crate) auto_update: bool,
    /// Whether it was fetched for an instance, and may be forgotten.
    pub(crate) cached: bool,
    /// Whether a version that is here already is good enough.
    pub(crate) may_be_old: bool,
    /// Whether anyone may use it.
    pub(crate) public: bool,
    /// What goes before the file name that it has.
    pub(crate) filename: Option<String>,
    /// What goes before its own properties.
    pub(crate) properties: BTreeMap<String, String>,
    /// The profiles for its instances; none: the default one.
    pub(crate) profiles: Option<Vec<String>>,
    /// Aliases that it gets in the moment in which it is there.
    pub(crate) aliases: Vec<ImageAlias>,
}

/// Makes an image of what a client names on another server, as an operation.
///
/// # Errors
/// The daemon is stopping. What is wrong with the source is a failed operation.
pub(super) fn start(app: &Arc<App>, ctx: &Ctx, fetch: Fetch) -> Result<Operation> {
    let (app, owned) = (Arc::clone(app), ctx.clone());
    let operations = Arc::clone(&app.operations);
    let options = Options::task(Kind::ImageDownload).may_cancel();
    operations.spawn(ctx, options, move |operation| async move {
        let (row, refused) = bring(&app, &owned, &operation, &fetch).await?;
        operation.remove_metadata("download_progress");
        operation.update_metadata([
            ("fingerprint".to_owned(), row.content.fingerprint.into()),
            ("size".to_owned(), row.content.size.to_string().into()),
        ]);
        refused.map_or(Ok(()), Err)
    })
}

/// What a client asks for, as a thing to fetch.
pub(super) fn of_post(post: &ImagesPost, protocol: Protocol) -> Fetch {
    let source = post.source.clone().unwrap_or_default();
    let name = match source.fingerprint.as_str() {
        "" => source.alias,
        fingerprint => fingerprint.to_owned(),
    };
    let (server, name) = match protocol {
        Protocol::Direct => (source.url, String::new()),
        _ => (source.server, name),
    };
    // Who says anything of an image says its file name, too, as with the reference.
    let says_more = post.public
        || post.auto_update
        || !post.filename.is_empty()
        || !post.properties.is_empty()
        || !post.profiles.is_empty();
    Fetch {
        wish: Wish {
            server,
            protocol,
            certificate: source.certificate,
            secret: source.secret,
            project: source.project,
            name,
            kind: source.image_type,
        },
        auto_update: post.auto_update,
        cached: false,
        may_be_old: false,
        public: post.public,
        filename: says_more.then(|| post.filename.clone()),
        properties: post.properties.clone(),
        profiles: Some(post.profiles.clone()).filter(|profiles| !profiles.is_empty()),
        aliases: post.aliases.clone(),
    }
}

/// Brings an image into the context's project, as a part of an operation, unless it is there.
///
/// # Errors
/// There is no such image; it can't be fetched; cancelled.
pub(crate) async fn run(app: &Arc<App>, ctx: &Ctx, operation: &Operation, fetch: &Fetch) -> Result<Row> {
    Ok(bring(app, ctx, operation, fetch).await?.0)
}

/// The same; says also why the image could not get all of its aliases.
async fn bring(
    app: &Arc<App>,
    ctx: &Ctx,
    operation: &Operation,
    fetch: &Fetch,
) -> Result<(Row, Option<Error>)> {
    let mut tx = app.cluster.read().await?;
    let project = project_of(&mut tx, &ctx.project).await?;
    if fetch.may_be_old
        && let Some(row) = good_enough(app, &mut tx, &project, &fetch.wish).await?
    {
        return Ok((row, None));
    }
    drop(tx);
    let found = tokio::select! {
        found = fetch.wish.find(app) => found?,
        () = operation.cancel_token().cancelled() => return Err(cancelled()),
    };
    let fingerprint = found.image.fingerprint.as_str();
    // Whoever wants the same image waits here, and then finds it.
    let _turn = tokio::select! {
        turn = app.downloads.write(fingerprint) => turn,
        () = operation.cancel_token().cancelled() => return Err(cancelled()),
    };
    let mut tx = app.cluster.read().await?;
    let holders = rows::projects_of(&mut tx, fingerprint).await?;
    drop(tx);
    let ctx = ctx.in_project(project.clone());
    let named = if holders.contains(&project) {
        adopt(app, &ctx, fetch, &found).await?
    } else if let Some(named) = share(app, &ctx, holders.first(), (fetch, &found)).await? {
        named
    } else {
        let upload = found.fetch(app, operation).await?;
        let import = Import::new(project.clone(), upload, request(fetch, &found));
        operations::run(app, &ctx, import).await?.named()
    };
    let mut tx = app.cluster.read().await?;
    Ok((by_prefix(&mut tx, &project, fingerprint).await?, named.err()))
}

/// What a download ends with that was cancelled, in the reference's words.
pub(super) fn cancelled() -> Error {
    Error::internal("context canceled")
}

/// Whether images that are fetched for instances follow their sources.
///
/// # Errors
/// The database can't be read.
pub(crate) async fn follows(app: &App, ctx: &Ctx) -> Result<bool> {
    let mut tx = app.cluster.read().await?;
    let wanted = setting(app, &mut tx, &ctx.project, "images.auto_update_cached").await?;
    Ok(matches!(
        wanted.to_ascii_lowercase().as_str(),
        "true" | "1" | "yes" | "on"
    ))
}

/// The value of a key that a project may set for itself.
pub(super) async fn setting(app: &App, tx: &mut Tx, project: &str, key: &str) -> Result<String> {
    let own = projects::get(tx, project).await?.config;
    Ok(match own.get(key) {
        Some(value) if !value.is_empty() => value.clone(),
        _ => app.config.get(key),
    })
}

/// An image that is here already and follows the same source: instances needn't wait for news of it.
async fn good_enough(app: &App, tx: &mut Tx, project: &str, wish: &Wish) -> Result<Option<Row>> {
    let interval = setting(app, tx, project, "images.auto_update_interval").await?;
    if interval.parse::<i64>().unwrap_or_default() <= 0 || !wish.secret.is_empty() {
        return Ok(None);
    }
    let source = rows::Source {
        server: wish.server.clone(),
        protocol: wish.protocol.into(),
        certificate: wish.certificate.clone(),
        alias: wish.name.clone(),
    };
    let all = rows::of_source(tx, project, &source).await?;
    let fits = |row: &Row| {
        let content = &row.content;
        content.auto_update
            && app.facts.architectures.contains(&content.architecture)
            && (wish.kind.is_empty() || wish.kind == content.kind.as_str())
    };
    Ok(all.into_iter().find(fits))
}

fn request(fetch: &Fetch, found: &Found) -> ImportRequest {
    let is_direct = fetch.wish.protocol == Protocol::Direct;
    let said = &found.image;
    ImportRequest {
        filename: fetch.filename.clone().unwrap_or_else(|| said.filename.clone()),
        public: fetch.public,
        properties: fetch.properties.clone(),
        fingerprint: said.fingerprint.clone(),
        profiles: fetch.profiles.clone(),
        aliases: fetch.aliases.clone(),
        origin: Some(origin(fetch, found, (!is_direct).then(|| said.clone()))),
        ..ImportRequest::default()
    }
}

fn origin(fetch: &Fetch, found: &Found, image: Option<Image>) -> Origin {
    let name = match found.is_aliased {
        true => fetch.wish.name.clone(),
        false => String::new(),
    };
    Origin {
        // A fingerprint never means another image.
        auto_update: fetch.auto_update && !(fetch.cached && name.is_empty()),
        source: Wish {
            name,
            // Records are no place for secrets.
            secret: String::new(),
            ..fetch.wish.clone()
        },
        cached: fetch.cached,
        image,
    }
}

/// Notes what was asked for at an image that the project has already, and gives it more aliases; the inner result says
/// whether it could get all of them.
async fn adopt(app: &App, ctx: &Ctx, fetch: &Fetch, found: &Found) -> Result<Result<()>> {
    let fingerprint = found.image.fingerprint.as_str();
    let mut tx = app.cluster.begin().await?;
    let row = by_prefix(&mut tx, &ctx.project, fingerprint).await?;
    let id = row.id;
    if let Some(filename) = &fetch.filename {
        let mut content = row.content;
        content.properties.extend(fetch.properties.clone());
        let new = rows::Content {
            public: fetch.public,
            auto_update: fetch.auto_update,
            expires_at: content.expires_at,
            properties: content.properties,
            profiles: fetch.profiles.clone().unwrap_or(content.profiles),
        };
        rows::update(&mut tx, id, &new).await?;
        rows::set_filename(&mut tx, id, filename).await?;
        if content.source.is_none()
            && let Some(source) = origin(fetch, found, None).row()
        {
            rows::set_source(&mut tx, id, &source).await?;
        }
    }
    let given = aliases::give(&mut tx, &ctx.project, id, &fetch.aliases).await?;
    tx.commit().await?;
    aliases::given(app, ctx, (&ctx.project, fingerprint), given.aliases);
    Ok(given.refused.map_or(Ok(()), Err))
}

/// Makes another project's image this one's as well, if that is possible; the inner result is as [`adopt`]'s.
async fn share(
    app: &App,
    ctx: &Ctx,
    holder: Option<&String>,
    (fetch, found): (&Fetch, &Found),
) -> Result<Option<Result<()>>> {
    let Some(holder) = holder else { return Ok(None) };
    let fingerprint = found.image.fingerprint.as_str();
    let _alone = app.images.write(fingerprint).await;
    let mut tx = app.cluster.begin().await?;
    let twin = match by_prefix(&mut tx, holder, fingerprint).await {
        Ok(twin) => twin,
        // It was deleted meanwhile.
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let origin = origin(fetch, found, None);
    let mut new = twin.content;
    new.public = fetch.public;
    new.cached = origin.cached;
    new.auto_update = origin.auto_update;
    new.source = origin.row();
    new.profiles = profiles_or_default(fetch.profiles.clone());
    new.properties.extend(fetch.properties.clone());
    if let Some(filename) = &fetch.filename {
        new.filename.clone_from(filename);
    }
    let id = rows::create(&mut tx, &ctx.project, app.cluster.node_id(), &new).await?;
    let given = aliases::give(&mut tx, &ctx.project, id, &fetch.aliases).await?;
    tx.commit().await?;
    let event = Lifecycle::new(Action::ImageCreated, url(&ctx.project, fingerprint));
    let event = event.with("type", new.kind.as_str()).by(ctx);
    app.events.lifecycle(&ctx.project, &event);
    aliases::given(app, ctx, (&ctx.project, fingerprint), given.aliases);
    Ok(Some(given.refused.map_or(Ok(()), Err)))
}
