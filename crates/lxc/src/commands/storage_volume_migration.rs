//! `lxc storage volume copy` and `move` from one server to another: who connects to whom, and the way through this client.

use std::collections::BTreeMap;

use futures::{SinkExt as _, StreamExt as _};
use lxd_api::server::Server;
use lxd_api::storage_volumes::{StorageVolumePost, StorageVolumePostTarget, StorageVolumesPost};
use lxd_client::{Background, Client, Message, WebSocket, path};

use super::storage_volume_transfer::End;
use crate::context::Context;
use crate::error::{Error, Result};

/// What the progress of a copy is called.
const TITLE: &str = "Copying the storage volume: ";

/// What stands before the reasons when no address has worked.
const FAILED: &str = "Failed storage volume creation:";

/// What the names of websockets stand for.
const WEBSOCKETS: [&str; 2] = ["control", "fs"];

/// Copies a volume to another server. The request says what the copy is to be.
pub(super) async fn copy(
    cx: &Context,
    (source, target): (&End, &End),
    mut post: StorageVolumesPost,
) -> Result<()> {
    post.source.r#type = "migration".into();
    post.source.name = String::new();
    post.source.pool = String::new();
    post.source.project = String::new();
    match cx.text("mode") {
        "push" => push(cx, source, target, post).await,
        "relay" => relay(cx, source, target, post).await,
        // So the reference takes all other words.
        _ => pull(cx, source, target, post).await,
    }
}

async fn pull(cx: &Context, source: &End, target: &End, mut post: StorageVolumesPost) -> Result<()> {
    let place = Listening::of(&source.client, "source").await?;
    let offered = offer(source, &post, None).await?;
    post.source.mode = "pull".into();
    post.source.certificate.clone_from(&place.certificate);
    post.source.secrets = secrets(&offered);
    let mut reasons = Vec::new();
    for address in &place.addresses {
        post.source.operation = operation_url(address, &offered);
        let taken = async {
            let started = target.take(&post).await?;
            cx.wait(&started, TITLE).await
        };
        match taken.await {
            // A move deletes the source next: whoever sends must have ended.
            Ok(_) => return cx.wait(&offered, "").await.map(drop),
            Err(error) => reasons.push((address, error)),
        }
    }
    give_up(&offered).await;
    Err(refused(FAILED, reasons))
}

async fn push(cx: &Context, source: &End, target: &End, mut post: StorageVolumesPost) -> Result<()> {
    let place = Listening::of(&target.client, "target").await?;
    post.source.mode = "push".into();
    let wanted = target.take(&post).await?;
    let mut reasons = Vec::new();
    for address in &place.addresses {
        let to = StorageVolumePostTarget {
            certificate: place.certificate.clone(),
            operation: operation_url(address, &wanted),
            secrets: secrets(&wanted),
        };
        let given = async {
            let started = offer(source, &post, Some(to)).await?;
            cx.wait(&started, TITLE).await
        };
        match given.await {
            Ok(_) => return cx.wait(&wanted, "").await.map(drop),
            Err(error) => reasons.push((address, error)),
        }
    }
    give_up(&wanted).await;
    Err(refused(FAILED, reasons))
}

/// Ends an operation that waits for somebody who does not come.
pub(super) async fn give_up(waiting: &Background) {
    // Then it ends by itself after a while.
    let _ = waiting.cancel().await;
}

async fn relay(cx: &Context, source: &End, target: &End, mut post: StorageVolumesPost) -> Result<()> {
    let offered = offer(source, &post, None).await?;
    post.source.mode = "push".into();
    let wanted = match target.take(&post).await {
        Ok(wanted) => wanted,
        Err(error) => {
            give_up(&offered).await;
            return Err(error);
        }
    };
    let done = hand_on(cx, (source, &offered), (target, &wanted)).await;
    if done.is_err() {
        give_up(&offered).await;
        give_up(&wanted).await;
    }
    done
}

async fn hand_on(
    cx: &Context,
    (source, offered): (&End, &Background),
    (target, wanted): (&End, &Background),
) -> Result<()> {
    let ends = ((&source.client, offered), (&target.client, wanted));
    // Dropped, and so aborted, with this.
    let _lines = lines_between(ends).await?;
    cx.wait(wanted, TITLE).await?;
    cx.wait(offered, "").await.map(drop)
}

/// Connects both operations' websockets with each other, as long as the result lives.
pub(super) async fn lines_between(
    ((source, offered), (target, wanted)): ((&Client, &Background), (&Client, &Background)),
) -> Result<tokio::task::JoinSet<()>> {
    let (from, to) = (secrets(offered), secrets(wanted));
    let mut lines = tokio::task::JoinSet::new();
    for name in WEBSOCKETS {
        let one = dial(source, offered, &from, name).await?;
        let other = dial(target, wanted, &to, name).await?;
        lines.spawn(join(one, other));
    }
    Ok(lines)
}

/// How a server is reached by others.
pub(super) struct Listening {
    pub(super) addresses: Vec<String>,
    pub(super) certificate: String,
}

impl Listening {
    pub(super) async fn of(client: &Client, what: &str) -> Result<Self> {
        let server: Server = client.get("/1.0").await?;
        let mut addresses: Vec<String> = Vec::new();
        // What has worked for this client comes first.
        if !client.is_local() {
            addresses.push(client.base());
        }
        for address in &server.environment.addresses {
            let url = format!("https://{address}");
            if !addresses.contains(&url) {
                addresses.push(url);
            }
        }
        if addresses.is_empty() {
            let text = format!("The {what} server isn't listening on the network");
            return Err(Error::message(text));
        }
        Ok(Self {
            addresses,
            certificate: server.environment.certificate,
        })
    }
}

/// Asks the server that has the volume to give it away.
async fn offer(
    source: &End,
    post: &StorageVolumesPost,
    target: Option<StorageVolumePostTarget>,
) -> Result<Background> {
    let wish = StorageVolumePost {
        name: source.name.clone(),
        pool: source.pool.clone(),
        migration: true,
        volume_only: post.source.volume_only,
        target,
        ..StorageVolumePost::default()
    };
    // Snapshots have no address of this kind, so that the server does not find them, as with the reference's client.
    let mut parts = vec!["storage-pools", &source.pool, "volumes", "custom"];
    parts.extend(source.name.split('/'));
    let at = path(&parts);
    Ok(source.client.start(&at, &wish).await?)
}

pub(super) fn operation_url(server: &str, background: &Background) -> String {
    let id = background
        .operation()
        .map_or("", |operation| operation.id.as_str());
    format!("{server}/1.0/operations/{id}")
}

pub(super) fn secrets(background: &Background) -> BTreeMap<String, String> {
    let secret = |name: &str| background.metadata(name).as_str().map(str::to_owned);
    WEBSOCKETS
        .into_iter()
        .filter_map(|name| Some((name.to_owned(), secret(name)?)))
        .collect()
}

/// What to say when no address has worked.
pub(super) fn refused(begin: &str, reasons: Vec<(&String, Error)>) -> Error {
    match reasons.as_slice() {
        [(_, error)] => Error::message(format!("{begin} {error}")),
        many => {
            let lines: Vec<String> = many
                .iter()
                .map(|(address, error)| format!("\n - {address}: {error}"))
                .collect();
            Error::message(format!("{begin}{}", lines.concat()))
        }
    }
}

async fn dial(
    client: &Client,
    background: &Background,
    secrets: &BTreeMap<String, String>,
    name: &str,
) -> Result<WebSocket> {
    let id = background
        .operation()
        .map_or("", |operation| operation.id.as_str());
    let secret = secrets.get(name).map_or("", String::as_str);
    let at = format!("{}?secret={secret}", path(&["operations", id, "websocket"]));
    Ok(client.websocket(&at).await?)
}

/// Hands on what either side says, until one has gone.
async fn join(one: WebSocket, other: WebSocket) {
    let ((mut to_one, mut from_one), (mut to_other, mut from_other)) = (one.split(), other.split());
    let there = async {
        while let Some(Ok(message)) = from_one.next().await {
            if is_over(&message) || to_other.send(message).await.is_err() {
                break;
            }
        }
        let _ = to_other.send(Message::Close(None)).await;
    };
    let back = async {
        while let Some(Ok(message)) = from_other.next().await {
            if is_over(&message) || to_one.send(message).await.is_err() {
                break;
            }
        }
        let _ = to_one.send(Message::Close(None)).await;
    };
    tokio::join!(there, back);
}

fn is_over(message: &Message) -> bool {
    matches!(message, Message::Close(_))
}
