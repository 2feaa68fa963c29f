//! `lxc copy` and `move` of instances from one server to another: who connects to whom, and the way through this client.

use lxd_api::instance_snapshots::InstanceSnapshotPost;
use lxd_api::instances::{InstancePost, InstancePostTarget, InstancesPost};
use lxd_client::{Background, Client, path};

use super::copy::TRANSFERRING;
use super::storage_volume_migration::{Listening, give_up, lines_between, operation_url, refused, secrets};
use crate::context::{Context, Resource};
use crate::error::Result;

/// Copies an instance to another server. The request says what the copy is to be.
pub(super) async fn copy(
    cx: &Context,
    (source, target): (&Resource, &Client),
    mut post: InstancesPost,
) -> Result<()> {
    post.source.r#type = "migration".into();
    post.source.source = String::new();
    post.source.project = String::new();
    if let Some(image) = post.config.get("volatile.base_image") {
        post.source.base_image.clone_from(image);
    }
    match cx.text("mode") {
        "push" => push(cx, source, target, post).await,
        "relay" => relay(cx, source, target, post).await,
        // So the reference takes all other words.
        _ => pull(cx, source, target, post).await,
    }
}

async fn pull(cx: &Context, source: &Resource, target: &Client, mut post: InstancesPost) -> Result<()> {
    let place = Listening::of(&source.client, "source").await?;
    let offered = offer(source, &post, None).await?;
    post.source.mode = "pull".into();
    post.source.certificate.clone_from(&place.certificate);
    post.source.secrets = secrets(&offered);
    let mut reasons = Vec::new();
    for address in &place.addresses {
        post.source.operation = operation_url(address, &offered);
        let taken = async {
            let started = target.create_instance(&post).await?;
            cx.wait(&started, TRANSFERRING).await
        };
        match taken.await {
            // A move deletes the source next: whoever sends must have ended.
            Ok(_) => return cx.wait(&offered, "").await.map(drop),
            Err(error) => reasons.push((address, error)),
        }
    }
    give_up(&offered).await;
    Err(refused("Failed instance creation:", reasons))
}

async fn push(cx: &Context, source: &Resource, target: &Client, mut post: InstancesPost) -> Result<()> {
    let place = Listening::of(target, "target").await?;
    post.source.mode = "push".into();
    let wanted = target.create_instance(&post).await?;
    let mut reasons = Vec::new();
    for address in &place.addresses {
        let to = InstancePostTarget {
            certificate: place.certificate.clone(),
            operation: operation_url(address, &wanted),
            secrets: secrets(&wanted),
        };
        let given = async {
            let started = offer(source, &post, Some(to)).await?;
            cx.wait(&started, TRANSFERRING).await
        };
        match given.await {
            Ok(_) => return cx.wait(&wanted, "").await.map(drop),
            Err(error) => reasons.push((address, error)),
        }
    }
    give_up(&wanted).await;
    Err(refused("Failed instance migration:", reasons))
}

async fn relay(cx: &Context, source: &Resource, target: &Client, mut post: InstancesPost) -> Result<()> {
    let offered = offer(source, &post, None).await?;
    post.source.mode = "push".into();
    let wanted = match target.create_instance(&post).await {
        Ok(wanted) => wanted,
        Err(error) => {
            give_up(&offered).await;
            return Err(error.into());
        }
    };
    let done = async {
        // Dropped, and so aborted, with this.
        let _lines = lines_between(((&source.client, &offered), (target, &wanted))).await?;
        cx.wait(&wanted, TRANSFERRING).await?;
        cx.wait(&offered, "").await.map(drop)
    };
    let done = done.await;
    if done.is_err() {
        give_up(&offered).await;
        give_up(&wanted).await;
    }
    done
}

/// Asks the server that has the instance, or the snapshot, to give it away.
async fn offer(
    source: &Resource,
    post: &InstancesPost,
    target: Option<InstancePostTarget>,
) -> Result<Background> {
    if let Some((instance, snapshot)) = source.name.split_once('/') {
        let wish = InstanceSnapshotPost {
            live: post.source.live && post.stateful,
            migration: true,
            name: post.name.clone(),
            target: target.unwrap_or_default(),
        };
        let at = path(&["instances", instance, "snapshots", snapshot]);
        return Ok(source.client.start(&at, &wish).await?);
    }
    let wish = InstancePost {
        allow_inconsistent: post.source.allow_inconsistent,
        container_only: post.source.instance_only,
        instance_only: post.source.instance_only,
        live: Some(post.source.live),
        migration: true,
        target,
        ..InstancePost::default()
    };
    Ok(source
        .client
        .start(&path(&["instances", &source.name]), &wish)
        .await?)
}
