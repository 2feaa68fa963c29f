//! `backup.yaml` in an instance's volume: what it takes to know the instance again when the database is lost.

use lxd_api::Time;
use lxd_api::instances::Instance;
use lxd_api::profiles::Profile;
use lxd_api::storage_pools::StoragePool;
use lxd_api::storage_volumes::StorageVolume;
use lxd_db::cluster::{Tx, storage_pools};
use lxd_instance::lifecycle::Phase;
use lxd_model::yaml;
use lxd_storage::Volume;
use serde::Serialize;

use super::record::Record;
use crate::app::App;
use crate::error::{Context as _, Error, Result};

/// The file, in the reference's words.
#[derive(Serialize)]
struct BackupFile {
    container: Instance,
    pool: StoragePool,
    profiles: Vec<Profile>,
    volume: StorageVolume,
}

/// Writes the file of an instance as the transaction sees it.
///
/// # Errors
/// The pool is gone; the file can't be written.
pub(super) async fn write(app: &App, tx: &mut Tx, record: &Record) -> Result<()> {
    let node = app.cluster.node_id();
    let pool = storage_pools::get(tx, record.pool(), node).await?;
    let volume = Volume::container(&record.row.project, &record.row.name);
    let phase = app.instances.registry.phase(&record.key());
    let text = render(record, pool, phase)?;
    let written = app
        .pools
        .get(record.pool())?
        .write_backup_file(&volume, text.into_bytes())
        .await;
    written.context("Failed writing the backup file")
}

fn render(record: &Record, pool: storage_pools::StoragePool, phase: Phase) -> Result<String> {
    let file = BackupFile {
        container: record.wire(phase),
        pool: StoragePool {
            config: pool.config,
            description: pool.description,
            name: pool.name,
            driver: pool.driver,
            used_by: Vec::new(),
            status: pool.state.as_str().to_owned(),
            locations: pool.nodes.into_iter().map(|(name, _)| name).collect(),
        },
        profiles: record.profiles.iter().map(profile).collect(),
        volume: StorageVolume {
            name: record.row.name.clone(),
            r#type: record.row.kind.as_str().to_owned(),
            location: record.row.node.clone(),
            content_type: "filesystem".to_owned(),
            project: record.row.project.clone(),
            created_at: Time::never(),
            ..StorageVolume::default()
        },
    };
    yaml::to_string(&file).map_err(|error| Error::internal("Failed writing the backup file").because(error))
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
