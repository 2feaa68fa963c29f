//! Commands about storage volumes.

use std::collections::BTreeMap;

use lxd_api::storage_volumes::{
    StorageVolume, StorageVolumePost, StorageVolumeSnapshot, StorageVolumeSnapshotPost, StorageVolumesPost,
};
use lxd_client::path;

use super::configured::Place;
use super::storage::pool;
use super::{
    not_yet, storage_volume_devices as devices, storage_volume_info as info, storage_volume_list as list,
    storage_volume_snapshot as snapshot, storage_volume_transfer as transfer,
};
use crate::context::{Context, Resource};
use crate::error::{Error, Result};
use crate::key_values::{pairs, strict_pairs};
use crate::render::{print_line, print_yaml};

/// Runs a command about storage volumes.
pub(super) async fn run(cx: &Context, path: &str) -> Result<()> {
    match path {
        "storage volume attach" | "storage volume detach" => {
            devices::of_instance(cx, path == "storage volume attach").await
        }
        "storage volume attach-profile" | "storage volume detach-profile" => {
            devices::of_profile(cx, path == "storage volume attach-profile").await
        }
        "storage volume copy" => transfer::copy(cx).await,
        "storage volume create" => create(cx).await,
        "storage volume delete" => delete(cx).await,
        "storage volume edit" => edit(cx).await,
        "storage volume export" => transfer::export(cx).await,
        "storage volume get" => get(cx).await,
        "storage volume import" => transfer::import(cx).await,
        "storage volume info" => info::info(cx).await,
        "storage volume list" => list::list(cx).await,
        "storage volume move" => transfer::move_volume(cx).await,
        "storage volume rename" => rename(cx).await,
        "storage volume restore" => snapshot::restore(cx).await,
        "storage volume set" => set(cx, pairs(&cx.arguments()[2..])?).await,
        "storage volume show" => show(cx).await,
        "storage volume snapshot" => snapshot::snapshot(cx).await,
        "storage volume unset" => {
            let unset = BTreeMap::from([(cx.argument(2).to_owned(), String::new())]);
            set(cx, unset).await
        }
        _ => not_yet(),
    }
}

/// Kind and name of a volume: `container/c1`; custom volumes may stand alone.
pub(super) fn kind_and_name(word: &str) -> (&str, &str) {
    const KINDS: [&str; 4] = ["container", "virtual-machine", "image", "custom"];
    match word.split_once('/') {
        Some((kind, name)) if KINDS.contains(&kind) => (kind, name),
        _ => ("custom", word),
    }
}

/// The path of a volume.
pub(super) fn volume_path(pool: &str, kind: &str, name: &str) -> String {
    path(&["storage-pools", pool, "volumes", kind, name])
}

/// The path of a snapshot of a volume.
pub(super) fn snapshot_path(pool: &str, kind: &str, (volume, name): (&str, &str)) -> String {
    let parts = ["storage-pools", pool, "volumes", kind, volume, "snapshots", name];
    path(&parts)
}

/// The path of what a word names, and whether that is a snapshot.
fn named(pool: &Resource, word: &str) -> (String, bool) {
    let (kind, name) = kind_and_name(word);
    match name.split_once('/') {
        Some((volume, snapshot)) => (snapshot_path(&pool.name, kind, (volume, snapshot)), true),
        None => (volume_path(&pool.name, kind, name), false),
    }
}

fn place<'a>(pool: &'a Resource, word: &str) -> Place<'a> {
    Place {
        client: &pool.client,
        path: named(pool, word).0,
    }
}

async fn edit(cx: &Context) -> Result<()> {
    let pool = pool(cx)?;
    match named(&pool, cx.argument(1)) {
        (at, true) => snapshot::edit(&pool.client, &at).await,
        _ => place(&pool, cx.argument(1)).edit::<StorageVolume>().await,
    }
}

async fn show(cx: &Context) -> Result<()> {
    let pool = pool(cx)?;
    match named(&pool, cx.argument(1)) {
        (at, true) => print_yaml(&pool.client.get::<StorageVolumeSnapshot>(&at).await?),
        _ => place(&pool, cx.argument(1)).show::<StorageVolume>().await,
    }
}

async fn get(cx: &Context) -> Result<()> {
    let (pool, key) = (pool(cx)?, cx.argument(2));
    let (at, is_snapshot) = named(&pool, cx.argument(1));
    if is_snapshot {
        let shown: StorageVolumeSnapshot = pool.client.get(&at).await?;
        return shown.config.get(key).map_or(Ok(()), |value| print_line(value));
    }
    place(&pool, cx.argument(1))
        .print_value::<StorageVolume>(key)
        .await
}

async fn set(cx: &Context, pairs: BTreeMap<String, String>) -> Result<()> {
    let pool = pool(cx)?;
    if named(&pool, cx.argument(1)).1 {
        return Err(Error::message(
            "Snapshots are read-only and can't have their configuration changed",
        ));
    }
    place(&pool, cx.argument(1)).set::<StorageVolume>(pairs).await
}

async fn create(cx: &Context) -> Result<()> {
    let pool = pool(cx)?;
    let (kind, name) = kind_and_name(cx.argument(1));
    let request = StorageVolumesPost {
        name: name.into(),
        r#type: kind.into(),
        content_type: cx.text("type").into(),
        config: settings(&cx.arguments()[2..])?,
        ..StorageVolumesPost::default()
    };
    let at = path(&["storage-pools", &pool.name, "volumes", kind]);
    let created = pool.client.start(&at, &request).await?;
    cx.wait(&created, "").await?;
    cx.tell(&format!("Storage volume {} created", cx.argument(1)))
}

/// The `key=value` words of something new, with words of its own for what is none.
pub(super) fn settings(words: &[String]) -> Result<BTreeMap<String, String>> {
    strict_pairs(words, |word| format!("Bad key=value pair: [{word}]"))
}

async fn delete(cx: &Context) -> Result<()> {
    let pool = pool(cx)?;
    let deleted = pool.client.delete(&place(&pool, cx.argument(1)).path).await?;
    cx.wait(&deleted, "").await?;
    cx.tell(&format!("Storage volume {} deleted", cx.argument(1)))
}

async fn rename(cx: &Context) -> Result<()> {
    let pool = pool(cx)?;
    let (old, new) = (cx.argument(1), cx.argument(2));
    let (kind, name) = kind_and_name(old);
    let (body, new) = match name.split_once('/') {
        None => {
            let post = StorageVolumePost {
                name: new.into(),
                ..StorageVolumePost::default()
            };
            (json(&post)?, new)
        }
        Some((volume, _)) => {
            let own = kind_and_name(new).1.split_once('/');
            let own = own.filter(|(parent, _)| *parent == volume && kind == kind_and_name(new).0);
            let (_, snapshot) = own.ok_or_else(|| {
                Error::message("Invalid new snapshot name, parent volume must be the same as source")
            })?;
            let post = StorageVolumeSnapshotPost {
                name: snapshot.into(),
            };
            (json(&post)?, snapshot)
        }
    };
    let renamed = pool.client.start(&named(&pool, old).0, &body).await?;
    cx.wait(&renamed, "").await?;
    cx.tell(&format!("Renamed storage volume from \"{old}\" to \"{new}\""))
}

fn json<T: serde::Serialize>(body: &T) -> Result<serde_json::Value> {
    serde_json::to_value(body).map_err(|error| Error::message(error.to_string()))
}
