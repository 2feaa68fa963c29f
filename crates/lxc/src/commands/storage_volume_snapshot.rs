//! `lxc storage volume snapshot`, `restore`, and what can be edited of a snapshot.

use lxd_api::Time;
use lxd_api::storage_volumes::{
    StorageVolumePut, StorageVolumeSnapshot, StorageVolumeSnapshotPut, StorageVolumeSnapshotsPost,
};
use lxd_client::{Client, Etag, path};
use lxd_model::yaml;

use super::storage::pool;
use super::storage_volume::{kind_and_name, snapshot_path, volume_path};
use crate::context::{Context, read_stdin, stdin_is_terminal};
use crate::edit::edit as edit_text;
use crate::error::{Error, Result};

/// Text above what is edited.
const EXPLANATION: &str = "### The snapshot as YAML: its description and when it expires can be changed. Lines that begin with # are left out.\n";

/// Takes a snapshot of a volume.
pub(super) async fn snapshot(cx: &Context) -> Result<()> {
    let pool = pool(cx)?;
    let (kind, volume) = kind_and_name(cx.argument(1));
    if kind != "custom" {
        return Err(Error::message("Only \"custom\" volumes can be snapshotted"));
    }
    let name = cx.argument(2);
    if cx.switch("reuse") && !name.is_empty() {
        let at = snapshot_path(&pool.name, kind, (volume, name));
        match pool.client.delete(&at).await {
            Ok(deleted) => drop(cx.wait(&deleted, "").await?),
            Err(error) if error.is_not_found() => {}
            Err(error) => return Err(error.into()),
        }
    }
    let post = StorageVolumeSnapshotsPost {
        name: name.into(),
        // Without a date the volume's own configuration decides; "never" overrides it.
        expires_at: cx.switch("no-expiry").then(Time::never),
    };
    let at = path(&["storage-pools", &pool.name, "volumes", kind, volume, "snapshots"]);
    let taken = pool.client.start(&at, &post).await?;
    cx.wait(&taken, "").await.map(drop)
}

/// Takes a volume back to a snapshot.
pub(super) async fn restore(cx: &Context) -> Result<()> {
    let pool = pool(cx)?;
    let (kind, volume) = kind_and_name(cx.argument(1));
    let at = volume_path(&pool.name, kind, volume);
    let (_, etag): (serde_json::Value, Etag) = pool.client.get_with_etag(&at).await?;
    let put = StorageVolumePut {
        restore: cx.argument(2).into(),
        ..StorageVolumePut::default()
    };
    Ok(pool.client.replace(&at, &put, &etag).await?)
}

/// Replaces what can be written of a snapshot by what is piped in, or by what the user makes of it in an editor.
pub(super) async fn edit(client: &Client, at: &str) -> Result<()> {
    if !stdin_is_terminal() {
        let put: StorageVolumeSnapshotPut = yaml::from_str(&read_stdin()?)?;
        return Ok(client.replace(at, &put, &Etag::default()).await?);
    }
    let (shown, etag): (StorageVolumeSnapshot, Etag) = client.get_with_etag(at).await?;
    let text = format!("{EXPLANATION}\n{}", yaml::to_string(&shown)?);
    edit_text(&text, async |text| {
        let put: StorageVolumeSnapshotPut = yaml::from_str(text)?;
        Ok(client.replace(at, &put, &etag).await?)
    })
    .await
}
