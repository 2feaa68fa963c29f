//! `lxc storage volume copy`, `move`, `export` and `import`.

use std::path::Path;

use jiff::Timestamp;
use lxd_api::Time;
use lxd_api::storage_volumes::{
    StoragePoolVolumeBackupsPost, StorageVolume, StorageVolumePost, StorageVolumeSnapshot,
    StorageVolumeSource, StorageVolumesPost,
};
use lxd_client::{Background, Client, Upload, path};

use super::export::{LIFE, name_of, save};
use super::image::{opening, upload_to};
use super::storage::pool;
use super::storage_volume::{kind_and_name, snapshot_path, volume_path};
use super::storage_volume_migration as migration;
use crate::context::Context;
use crate::error::{Error, Result};

/// One end of a copy: `[<remote>:]<pool>/<volume>`.
pub(super) struct End {
    remote: String,
    pub(super) client: Client,
    pub(super) pool: String,
    pub(super) name: String,
}

impl End {
    /// Asks the server to make a volume.
    pub(super) async fn take(&self, post: &StorageVolumesPost) -> Result<Background> {
        let at = path(&["storage-pools", &self.pool, "volumes", "custom"]);
        Ok(self.client.start(&at, post).await?)
    }

    fn parse(cx: &Context, at: usize, what: &str) -> Result<Self> {
        let resource = cx.resource(cx.argument(at))?;
        let (pool, name) = resource
            .name
            .split_once('/')
            .ok_or_else(|| Error::message(format!("No storage pool for {what} volume specified")))?;
        Ok(Self {
            remote: resource.remote.clone(),
            pool: pool.to_owned(),
            name: name.to_owned(),
            client: resource.client,
        })
    }
}

/// What is copied: a volume, or one of its snapshots, as a new volume would be described.
async fn described(source: &End) -> Result<StorageVolumesPost> {
    let (volume, snapshot) = match source.name.split_once('/') {
        Some((volume, snapshot)) => (volume, Some(snapshot)),
        None => (source.name.as_str(), None),
    };
    let at = volume_path(&source.pool, "custom", volume);
    let shown: StorageVolume = source.client.get(&at).await?;
    let (config, description) = match snapshot {
        None => (shown.config, shown.description),
        Some(name) => {
            let at = snapshot_path(&source.pool, "custom", (volume, name));
            let shown: StorageVolumeSnapshot = source.client.get(&at).await?;
            (shown.config, shown.description)
        }
    };
    Ok(StorageVolumesPost {
        config,
        description,
        r#type: "custom".into(),
        content_type: shown.content_type,
        ..StorageVolumesPost::default()
    })
}

/// Both ends.
fn ends(cx: &Context) -> Result<(End, End)> {
    let source = End::parse(cx, 0, "source")?;
    let mut target = End::parse(cx, 1, "destination")?;
    target.client = target.client.on_target(cx.text("destination-target"));
    Ok((
        End {
            client: source.client.on_target(cx.text("target")),
            ..source
        },
        target,
    ))
}

/// Copies a volume, or brings a copy up to date.
pub(super) async fn copy(cx: &Context) -> Result<()> {
    let (source, target) = ends(cx)?;
    copy_to(cx, &source, target).await?;
    done(cx, "Storage volume copied successfully!")
}

async fn copy_to(cx: &Context, source: &End, mut target: End) -> Result<()> {
    let mut post = described(source).await?;
    post.name.clone_from(&target.name);
    post.source = StorageVolumeSource {
        r#type: "copy".into(),
        name: source.name.clone(),
        pool: source.pool.clone(),
        project: match source.client.project() {
            // Not that of the target, which may be another one.
            "" => "default".into(),
            project => project.into(),
        },
        refresh: cx.switch("refresh"),
        volume_only: cx.switch("volume-only"),
        ..StorageVolumeSource::default()
    };
    if !cx.text("target-project").is_empty() {
        target.client = target.client.in_project(cx.text("target-project"));
    }
    if source.remote != target.remote {
        return migration::copy(cx, (source, &target), post).await;
    }
    let copied = target.take(&post).await?;
    cx.wait(&copied, "Copying the storage volume: ").await.map(drop)
}

/// Moves a volume. Within a server this is one work of it, and who uses the volume follows; to another one it is a copy, and
/// then the old one goes. So it is for a snapshot, which becomes a volume.
pub(super) async fn move_volume(cx: &Context) -> Result<()> {
    let (source, target) = ends(cx)?;
    let (at, is_snapshot) = match source.name.split_once('/') {
        Some(parts) => (snapshot_path(&source.pool, "custom", parts), true),
        None => (volume_path(&source.pool, "custom", &source.name), false),
    };
    if source.remote != target.remote || is_snapshot {
        copy_to(cx, &source, target).await?;
        let deleted = source.client.delete(&at).await;
        let deleted = deleted
            .map_err(|error| Error::message(format!("Failed deleting source volume after copy: {error}")))?;
        cx.wait(&deleted, "").await?;
        return done(cx, "Storage volume moved successfully!");
    }
    described(&source).await?;
    let post = StorageVolumePost {
        name: target.name,
        pool: target.pool,
        project: cx.text("target-project").into(),
        ..StorageVolumePost::default()
    };
    let moved = source.client.start(&at, &post).await?;
    cx.wait(&moved, "Moving the storage volume: ").await?;
    done(cx, "Storage volume moved successfully!")
}

/// Says that it is done, over what stood on the line; the reference does so on pipes, too.
fn done(cx: &Context, text: &str) -> Result<()> {
    cx.tell(&format!("\r{text}"))
}

/// Saves a volume as a backup file.
pub(super) async fn export(cx: &Context) -> Result<()> {
    let pool = pool(cx)?;
    let (kind, name) = kind_and_name(cx.argument(1));
    if kind != "custom" {
        return Err(Error::message("Only \"custom\" volumes can be exported"));
    }
    let post = StoragePoolVolumeBackupsPost {
        compression_algorithm: cx.text("compression").into(),
        expires_at: Time::from(Timestamp::now() + LIFE),
        name: String::new(),
        optimized_storage: cx.switch("optimized-storage"),
        volume_only: cx.switch("volume-only"),
    };
    let client = &pool.client;
    let backups = path(&["storage-pools", &pool.name, "volumes", kind, name, "backups"]);
    let started = client.start(&backups, &post).await;
    let started = started
        .map_err(|error| Error::message(format!("Failed to create storage volume backup: {error}")))?;
    cx.wait(&started, "Backing up storage volume: ").await?;
    let backup = name_of(&started)?;
    let parts = [
        "storage-pools",
        &pool.name,
        "volumes",
        kind,
        name,
        "backups",
        &backup,
    ];
    let at = path(&parts);
    let text = "Failed to fetch storage volume backup file";
    let saved = save(cx, client, &at, (cx.argument(2), text)).await;
    // Whatever became of the file, the server need not keep its copy.
    let removed = match client.delete(&at).await {
        Ok(removal) => removal.wait().await.map(drop),
        Err(error) => Err(error),
    };
    saved?;
    removed.map_err(Error::from)
}

/// Makes a volume of a backup file.
pub(super) async fn import(cx: &Context) -> Result<()> {
    let pool = pool(cx)?;
    let file = Path::new(cx.argument(1));
    std::fs::metadata(file).map_err(|source| opening(file, &source))?;
    let mut upload = Upload::file(file).await?;
    if !cx.argument(2).is_empty() {
        upload = upload.header("x-lxd-name", cx.argument(2))?;
    }
    let at = path(&["storage-pools", &pool.name, "volumes", "custom"]);
    let title = "Importing custom volume: ";
    let background = upload_to(cx, (&pool.client, &at), upload, title).await?;
    cx.wait(&background, title).await.map(drop)
}
