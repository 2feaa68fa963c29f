//! Images that are pushed from one server to another: announced there, then sent by the server that has them.

use std::sync::Arc;

use lxd_api::images::{ImageExportPost, ImagesPost};
use lxd_client::{Background, Client, Upload, UploadPart};
use lxd_model::operations::OperationType as Kind;
use lxd_storage::images::ImageFiles;
use serde_json::{Value, json};

use super::{find, remote, works};
use crate::app::{App, blocking};
use crate::ctx::Ctx;
use crate::error::{Error, Result};
use crate::operations::{self, Operation, Options};

/// Announces an image that another server will send: an operation of class token, whose secret lets it.
///
/// # Errors
/// No fingerprint is said; the daemon is stopping.
pub fn expect(app: &Arc<App>, ctx: &Ctx, post: &ImagesPost) -> Result<Operation> {
    let source = post.source.clone().unwrap_or_default();
    let aliases = if post.aliases.is_empty() {
        Value::Null
    } else {
        json!(post.aliases)
    };
    let options = Options::token(Kind::ImageToken)
        .resource("images", &source.fingerprint)
        .metadata("aliases", aliases)
        .metadata("expires_at", json!(post.expires_at))
        .metadata("properties", json!(post.properties))
        .metadata("public", post.public)
        .metadata("secret", operations::secret());
    app.operations.token(ctx, options)
}

/// Sends an image to another server, which expects it, as an operation.
///
/// # Errors
/// Not found; the caller may not; the daemon is stopping.
pub async fn send(app: &Arc<App>, ctx: &Ctx, fingerprint: &str, post: ImageExportPost) -> Result<Operation> {
    ctx.require_project()?;
    let mut tx = app.cluster.read().await?;
    let (_, row) = find(&mut tx, ctx, fingerprint).await?;
    drop(tx);
    let is_disk = row.content.kind == lxd_db::cluster::InstanceType::VirtualMachine;
    let fingerprint = row.content.fingerprint;
    let app = Arc::clone(app);
    let operations = Arc::clone(&app.operations);
    let options = Options::task(Kind::ImageDownload).may_cancel();
    operations.spawn(ctx, options, move |operation| async move {
        let sending = transfer(&app, (&fingerprint, is_disk), &post);
        tokio::select! {
            sent = sending => sent,
            () = operation.cancel_token().cancelled() => Err(super::fetch::cancelled()),
        }
    })
}

/// Sends the files and waits until the other server has taken them in.
async fn transfer(
    app: &Arc<App>,
    (fingerprint, is_disk): (&str, bool),
    post: &ImageExportPost,
) -> Result<()> {
    let client = remote::target(app, &post.target, &post.certificate).await?;
    let client = client.in_project(&post.project);
    let reading = app.images.read(fingerprint).await;
    let (owner, name) = (Arc::clone(app), fingerprint.to_owned());
    let upload = match blocking(move || Ok(works::files(&owner, &name))).await? {
        ImageFiles::Unified(path) => {
            let upload = Upload::file(&path).await?;
            upload.header("x-lxd-filename", fingerprint)?
        }
        ImageFiles::Split { metadata, rootfs } => {
            let name = if is_disk { "rootfs.img" } else { "rootfs" };
            let part = |name, path| UploadPart { name, path };
            Upload::files(&[part("metadata", metadata), part(name, rootfs)]).await?
        }
    };
    let mut upload = upload
        .header("x-lxd-fingerprint", fingerprint)?
        .header("x-lxd-secret", &post.secret)?;
    if !post.profiles.is_empty() {
        let profiles: Vec<String> = post
            .profiles
            .iter()
            .map(|name| format!("profile={}", crate::urls::escape_query(name)))
            .collect();
        upload = upload.header("x-lxd-profiles", &profiles.join("&"))?;
    }
    let background = client.upload("/1.0/images", upload).await?;
    drop(reading);
    wait(&client, &background).await
}

/// Waits for an operation of a server that does not know this one, by the secret that the operation shows.
async fn wait(client: &Client, background: &Background) -> Result<()> {
    let Some(operation) = background.operation() else {
        return Ok(());
    };
    let secret = operation.metadata["secret"].as_str().unwrap_or_default();
    let path = lxd_client::path(&["operations", &operation.id, "wait"]);
    let path = format!("{path}?secret={secret}");
    let ended: lxd_api::operations::Operation = client.get(&path).await?;
    if ended.err.is_empty() {
        Ok(())
    } else {
        Err(Error::internal(ended.err))
    }
}
