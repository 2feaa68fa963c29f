//! Secrets that let others fetch an image once, and what needs another server.

use std::sync::Arc;
use std::time::Duration;

use lxd_model::operations::OperationType as Kind;
use serde_json::Value;
use subtle::ConstantTimeEq as _;

use super::{find, url};
use crate::app::App;
use crate::ctx::Ctx;
use crate::error::{Error, Result};
use crate::events::{Action, Lifecycle};
use crate::operations::{self, Operation, Options};

/// How long a secret goes on to work after its first use: whoever has it looks at the image, then fetches it.
const GRACE: Duration = Duration::from_secs(5);

/// Makes a secret with which anybody may see and fetch an image: an operation of class token that ends with its use.
///
/// # Errors
/// Not found; the caller may not; the daemon is stopping.
pub async fn secret(app: &Arc<App>, ctx: &Ctx, fingerprint: &str) -> Result<Operation> {
    ctx.require_project()?;
    let mut tx = app.cluster.read().await?;
    let (project, row) = find(&mut tx, ctx, fingerprint).await?;
    drop(tx);
    let fingerprint = row.content.fingerprint;
    let options = Options::token(Kind::ImageToken)
        .resource("images", &fingerprint)
        .metadata("secret", operations::secret());
    let operation = app.operations.token(ctx, options)?;
    let event = Lifecycle::new(Action::ImageSecretCreated, url(&project, &fingerprint));
    app.events.lifecycle(&project, &event.by(ctx));
    Ok(operation)
}

/// Whether a secret is good for an image; from its first use on it is for some more seconds only.
pub(super) fn redeem(app: &App, project: &str, fingerprint: &str, secret: &str) -> bool {
    let path = crate::urls::plain(&["images", fingerprint]);
    let is_it = |operation: &Operation| {
        operation.kind() == Some(Kind::ImageToken)
            && operation.project() == project
            && operation
                .wire()
                .resources
                .values()
                .flatten()
                .any(|url| *url == path)
            && matches!(operation.metadata().get("secret"),
                Some(Value::String(own)) if bool::from(own.as_bytes().ct_eq(secret.as_bytes())))
    };
    let Some(operation) = app.operations.running().into_iter().find(is_it) else {
        return false;
    };
    let operations = Arc::clone(&app.operations);
    tokio::spawn(async move {
        tokio::time::sleep(GRACE).await;
        operations.finish_token(&operation);
    });
    true
}

/// Looks whether the server that an image came from has a newer one.
///
/// # Errors
/// Not found; the caller may not; the daemon is stopping. An image that did not come from a server is a failed
/// operation.
pub async fn refresh(app: &Arc<App>, ctx: &Ctx, fingerprint: &str) -> Result<Operation> {
    ctx.require_project()?;
    let mut tx = app.cluster.read().await?;
    let (project, row) = find(&mut tx, ctx, fingerprint).await?;
    drop(tx);
    let error = match row.content.source {
        None => Error::bad_request(format!(
            "Failed to update image {fingerprint:?} in project {project:?}: Image source not found"
        )),
        Some(_) => Error::not_implemented("Refreshing images is not implemented by this server yet"),
    };
    let options = Options::task(Kind::ImageRefresh);
    app.operations.spawn(ctx, options, |_| async { Err(error) })
}

/// Sends an image to another server.
///
/// # Errors
/// Not found; the caller may not; this server can't do it yet.
pub async fn send(app: &Arc<App>, ctx: &Ctx, fingerprint: &str) -> Result<Operation> {
    ctx.require_project()?;
    let mut tx = app.cluster.read().await?;
    find(&mut tx, ctx, fingerprint).await?;
    Err(Error::not_implemented(
        "Sending images to other servers is not implemented by this server yet",
    ))
}
