//! `lxc storage volume info`.

use std::fmt::Write as _;

use lxd_api::Time;
use lxd_api::storage_volumes::{
    StoragePoolVolumeBackup, StorageVolume, StorageVolumeSnapshot, StorageVolumeState,
};
use lxd_client::path;

use super::storage::pool;
use super::storage_volume::{kind_and_name, volume_path};
use crate::context::Context;
use crate::error::{Error, Result};
use crate::render::{bytes_binary, date, print, table_text};

/// Prints what a volume takes, its snapshots and its backups.
pub(super) async fn info(cx: &Context) -> Result<()> {
    let pool = pool(cx)?;
    let (kind, name) = kind_and_name(cx.argument(1));
    if kind == "image" || name.contains('/') {
        return Err(Error::message("Only instance or custom volumes are supported"));
    }
    let at = volume_path(&pool.name, kind, name);
    let volume: StorageVolume = pool.client.get(&at).await?;
    let state: StorageVolumeState = pool.client.get(&format!("{at}/state")).await?;
    let mut text = head(&volume, &state);
    let snapshots: Vec<StorageVolumeSnapshot> =
        pool.client.get(&format!("{at}/snapshots?recursion=1")).await?;
    text.push_str(&snapshots_text(&snapshots));
    if kind == "custom" {
        let backups = path(&["storage-pools", &pool.name, "volumes", kind, name, "backups"]);
        let backups: Vec<StoragePoolVolumeBackup> =
            pool.client.get(&format!("{backups}?recursion=1")).await?;
        text.push_str(&backups_text(&backups));
    }
    print(&text)
}

fn head(volume: &StorageVolume, state: &StorageVolumeState) -> String {
    let mut text = format!("Name: {}\n", volume.name);
    if !volume.description.is_empty() {
        let _ = writeln!(text, "Description: {}", volume.description);
    }
    let kind = if volume.r#type.is_empty() {
        "custom"
    } else {
        &volume.r#type
    };
    let content = if volume.content_type.is_empty() {
        "filesystem"
    } else {
        &volume.content_type
    };
    let _ = writeln!(text, "Type: {kind}\nContent type: {content}");
    if !matches!(volume.location.as_str(), "" | "none") {
        let _ = writeln!(text, "Location: {}", volume.location);
    }
    if let Some(usage) = &state.usage {
        let used = i64::try_from(usage.used).unwrap_or(i64::MAX);
        let _ = writeln!(text, "Usage: {}", bytes_binary(used, 2));
        if usage.total > 0 {
            let _ = writeln!(text, "Total: {}", bytes_binary(usage.total, 2));
        }
    }
    text
}

fn snapshots_text(snapshots: &[StorageVolumeSnapshot]) -> String {
    if snapshots.is_empty() {
        return String::new();
    }
    let row = |snapshot: &StorageVolumeSnapshot| {
        let name = snapshot.name.rsplit('/').next().unwrap_or_default().to_owned();
        let expires = snapshot.expires_at.as_ref().map_or_else(String::new, shown);
        vec![name, snapshot.description.clone(), expires]
    };
    let rows: Vec<Vec<String>> = snapshots.iter().map(row).collect();
    let table = table_text(&["Name", "Description", "Expires at"], &rows);
    format!("\nSnapshots:\n{table}")
}

fn backups_text(backups: &[StoragePoolVolumeBackup]) -> String {
    if backups.is_empty() {
        return String::new();
    }
    let yes = |on: bool| if on { "YES" } else { "NO" }.to_owned();
    let row = |backup: &StoragePoolVolumeBackup| {
        vec![
            backup.name.rsplit('/').next().unwrap_or_default().to_owned(),
            shown(&backup.created_at),
            shown(&backup.expires_at),
            yes(backup.volume_only),
            yes(backup.optimized_storage),
        ]
    };
    let rows: Vec<Vec<String>> = backups.iter().map(row).collect();
    let header = [
        "Name",
        "Taken at",
        "Expires at",
        "Volume Only",
        "Optimized Storage",
    ];
    format!("\nBackups:\n{}", table_text(&header, &rows))
}

fn shown(time: &Time) -> String {
    if time.timestamp().as_second() > 0 {
        date(time)
    } else {
        String::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_volume_reads_like_the_reference() {
        let volume = StorageVolume {
            name: "v1".into(),
            r#type: "custom".into(),
            content_type: "filesystem".into(),
            location: "none".into(),
            ..StorageVolume::default()
        };
        let state: StorageVolumeState =
            serde_json::from_str(r#"{"usage":{"used":16384,"total":104857600}}"#).unwrap();
        assert_eq!(
            head(&volume, &state),
            "Name: v1\nType: custom\nContent type: filesystem\nUsage: 16.00KiB\nTotal: 100.00MiB\n"
        );
        let snapshot = StorageVolumeSnapshot {
            name: "v1/snap0".into(),
            ..StorageVolumeSnapshot::default()
        };
        assert_eq!(
            snapshots_text(&[snapshot]),
            "\nSnapshots:\n+-------+-------------+------------+\n| NAME  | DESCRIPTION | EXPIRES AT |\n\
             +-------+-------------+------------+\n| snap0 |             |            |\n\
             +-------+-------------+------------+\n"
        );
    }
}
