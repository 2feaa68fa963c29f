//! `backup.yaml` in an instance's volume: what it takes to know the instance again when the database is lost.

use lxd_api::Time;
use lxd_api::instance_snapshots::InstanceSnapshot;
use lxd_api::instances::Instance;
use lxd_api::profiles::Profile;
use lxd_api::storage_pools::StoragePool;
use lxd_api::storage_volumes::{StorageVolume, StorageVolumeSnapshot};
use lxd_db::cluster::instances::snapshots;
use lxd_db::cluster::{Tx, storage_pools};
use lxd_instance::Key;
use lxd_model::yaml;
use lxd_storage::Volume;
use serde::{Deserialize, Serialize};

use super::list::wire_snapshot;
use super::record::Record;
use crate::app::App;
use crate::error::{Context as _, Error, Result};

/// The file, in the reference's words.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct BackupFile {
    pub(super) container: Option<Instance>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) snapshots: Vec<InstanceSnapshot>,
    pub(super) pool: Option<StoragePool>,
    pub(super) profiles: Vec<Profile>,
    pub(super) volume: Option<StorageVolume>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) volume_snapshots: Vec<StorageVolumeSnapshot>,
}

/// Writes the file of an instance as the transaction sees it.
///
/// # Errors
/// The pool is gone; the file can't be written.
pub(super) async fn write(app: &App, tx: &mut Tx, record: &Record) -> Result<()> {
    let volume = Volume::container(&record.row.project, &record.row.name);
    let file = content(app, tx, record).await?;
    let text = yaml::to_string(&file);
    let text = text.map_err(|error| Error::internal("Failed writing the backup file").because(error))?;
    let written = app
        .pools
        .get(record.pool())?
        .write_backup_file(&volume, text.into_bytes())
        .await;
    written.context("Failed writing the backup file")
}

/// Writes the file of an instance as it is now.
///
/// # Errors
/// As [`write`]; the instance is gone.
pub(crate) async fn refresh(app: &App, key: &Key) -> Result<()> {
    let mut tx = app.cluster.read().await?;
    let record = Record::load(&mut tx, &key.project, &key.name).await?;
    write(app, &mut tx, &record).await
}

/// What the file of an instance says now.
///
/// # Errors
/// The pool is gone.
pub(super) async fn content(app: &App, tx: &mut Tx, record: &Record) -> Result<BackupFile> {
    let pool = storage_pools::get(tx, record.pool(), app.cluster.node_id()).await?;
    let snapshots = snapshots::list(tx, &[record.row.id]).await?;
    let phase = app.instances.registry.phase(&record.key());
    let volume_snapshots = snapshots.iter().map(|snapshot| StorageVolumeSnapshot {
        name: snapshot.name.clone(),
        expires_at: Some(Time::from(snapshot.expires_at)),
        content_type: "filesystem".to_owned(),
        created_at: Time::never(),
        ..StorageVolumeSnapshot::default()
    });
    Ok(BackupFile {
        container: Some(record.wire(phase)),
        volume_snapshots: volume_snapshots.collect(),
        snapshots: snapshots
            .into_iter()
            .map(|snapshot| wire_snapshot(record, snapshot))
            .collect(),
        pool: Some(StoragePool {
            config: pool.config,
            description: pool.description,
            name: pool.name,
            driver: pool.driver,
            used_by: Vec::new(),
            status: pool.state.as_str().to_owned(),
            locations: pool.nodes.into_iter().map(|(name, _)| name).collect(),
        }),
        profiles: record.profiles.iter().map(profile).collect(),
        volume: Some(StorageVolume {
            name: record.row.name.clone(),
            r#type: record.row.kind.as_str().to_owned(),
            location: record.row.node.clone(),
            content_type: "filesystem".to_owned(),
            project: record.row.project.clone(),
            created_at: Time::never(),
            ..StorageVolume::default()
        }),
    })
}

fn profile(profile: &lxd_db::cluster::profiles::Profile) -> Profile {
    Profile {
        config: profile.config.clone(),
        description: profile.description.clone(),
        devices: profile.devices.clone(),
        name: profile.name.clone(),
        used_by: Vec::new(),
    }
}
