//! How images come in: sent by the client, or fetched by the daemon.

use std::sync::Arc;

use lxd_api::images::ImagesPost;

use super::receive::Upload;
use super::remote::Protocol;
use super::works::{Import, ImportRequest};
use super::{fetch, publish, send, writable_project};
use crate::app::App;
use crate::ctx::Ctx;
use crate::error::{Context as _, Error, Result};
use crate::operations::{self, Kind, Operation, Options};

/// Makes an image of files that have arrived. Those that could not be received are a failed operation, as what is
/// wrong with them is.
///
/// # Errors
/// There is no such project; the caller may not; the daemon is stopping.
pub async fn import(
    app: &Arc<App>,
    ctx: &Ctx,
    upload: Result<Upload>,
    request: ImportRequest,
) -> Result<Operation> {
    let project = holder(app, ctx).await?;
    let upload = match upload {
        Ok(upload) => upload,
        Err(error) => return fail(app, ctx, error),
    };
    let mut options = Options::task(Kind::ImageDownload);
    if !request.secret.is_empty() {
        options = options.metadata("secret", request.secret.as_str());
    }
    let work = Import::new(project, upload, request);
    let (app, owned) = (Arc::clone(app), ctx.clone());
    let operations = Arc::clone(&app.operations);
    operations.spawn(ctx, options, move |operation| async move {
        operations::run_in(&app, &owned, &operation, work).await?.named()
    })
}

/// Refuses callers that may not bring images in, before they send any.
///
/// # Errors
/// There is no such project; the caller may not.
pub async fn holder(app: &Arc<App>, ctx: &Ctx) -> Result<String> {
    ctx.require_project()?;
    let mut tx = app.cluster.read().await?;
    writable_project(&mut tx, ctx).await
}

/// Makes an image of something that the daemon gets by itself: an instance, or an image of another server.
///
/// # Errors
/// A source of no known type; there is no such instance; the caller may not. What this server can't fetch is a failed
/// operation.
pub async fn import_from(app: &Arc<App>, ctx: &Ctx, post: ImagesPost) -> Result<Operation> {
    holder(app, ctx).await?;
    let source = post.source.clone().unwrap_or_default();
    if source.mode == "push" {
        return send::expect(app, ctx, &post);
    }
    let reason = match source.r#type.as_str() {
        "container" | "instance" | "virtual-machine" | "snapshot" if source.name.is_empty() => {
            Error::bad_request("No source provided")
        }
        "container" | "instance" | "virtual-machine" | "snapshot" => {
            return publish::publish(app, ctx, post).await;
        }
        "image" if source.alias.is_empty() && source.fingerprint.is_empty() => {
            Error::bad_request("must specify one of alias or fingerprint for init from image")
        }
        "image" => match Protocol::parse(&source.protocol) {
            Some(protocol) => return start(app, ctx, &post, protocol),
            None => Error::bad_request(format!("Unsupported protocol: {}", source.protocol)),
        },
        "url" if source.url.is_empty() => Error::bad_request("Missing URL"),
        "url" => return start(app, ctx, &post, Protocol::Direct),
        _ => return Err(Error::refused("Invalid images JSON")),
    };
    fail(app, ctx, reason)
}

fn start(app: &Arc<App>, ctx: &Ctx, post: &ImagesPost, protocol: Protocol) -> Result<Operation> {
    fetch::start(app, ctx, fetch::of_post(post, protocol))
}

/// An operation that has failed.
fn fail(app: &Arc<App>, ctx: &Ctx, error: Error) -> Result<Operation> {
    let options = Options::task(Kind::ImageDownload);
    app.operations
        .spawn(ctx, options, |_| async { Err(error) })
        .context("Failed starting the operation")
}
