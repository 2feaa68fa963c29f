//! Secrets that let others fetch an image once, or send one.

use std::sync::Arc;
use std::time::Duration;

use lxd_model::operations::OperationType as Kind;
use serde_json::Value;
use subtle::ConstantTimeEq as _;

use super::works::ImportRequest;
use super::{find, holder, url};
use crate::app::App;
use crate::ctx::Ctx;
use crate::error::Result;
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
    redeemed(app, project, (fingerprint, secret), false).is_some()
}

/// The token that a secret for an image belongs to: one for who fetches it, or for who sends it.
fn redeemed(
    app: &App,
    project: &str,
    (fingerprint, secret): (&str, &str),
    for_sending: bool,
) -> Option<Operation> {
    let path = crate::urls::plain(&["images", fingerprint]);
    let is_it = |operation: &Operation| {
        operation.kind() == Some(Kind::ImageToken)
            && operation.project() == project
            && operation.metadata().contains_key("public") == for_sending
            && operation
                .wire()
                .resources
                .values()
                .flatten()
                .any(|url| *url == path)
            && matches!(operation.metadata().get("secret"),
                Some(Value::String(own)) if bool::from(own.as_bytes().ct_eq(secret.as_bytes())))
    };
    let operation = app.operations.running().into_iter().find(is_it)?;
    let (operations, used) = (Arc::clone(&app.operations), operation.clone());
    tokio::spawn(async move {
        tokio::time::sleep(GRACE).await;
        operations.finish_token(&used);
    });
    Some(operation)
}

/// Who may bring an image in: the caller, or whoever knows the secret of an announcement (see [`super::expect`]), for whom
/// the daemon does it. What was announced goes into the request.
///
/// # Errors
/// There is no such project; the caller may not.
pub async fn sender(app: &Arc<App>, ctx: &Ctx, request: &mut ImportRequest, secret: &str) -> Result<Ctx> {
    let announced = Some((request.fingerprint.as_str(), secret)).filter(|_| !secret.is_empty());
    let announced = announced.and_then(|wanted| redeemed(app, &ctx.project, wanted, true));
    let Some(operation) = announced else {
        holder(app, ctx).await?;
        return Ok(ctx.clone());
    };
    let said = Value::Object(operation.metadata());
    request.public = said["public"] == true;
    request.properties = serde_json::from_value(said["properties"].clone()).unwrap_or_default();
    request.aliases = serde_json::from_value(said["aliases"].clone()).unwrap_or_default();
    request.secret = secret.to_owned();
    Ok(Ctx::daemon(&ctx.project))
}
