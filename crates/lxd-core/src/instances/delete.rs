//! Deleting instances.

use std::sync::Arc;

use lxd_api::Time;
use lxd_db::cluster::instances::{self as rows, NewInstance};
use lxd_db::cluster::storage_volumes::{self, Key as VolumeKey};
use lxd_db::cluster::{ContentType, InstanceType, VolumeType};
use lxd_instance::drivers::container::forget_profile;
use lxd_instance::{Instance, Key};
use lxd_model::ErrorKind;
use lxd_model::config::{Config, instance::TABLE};
use lxd_storage::Volume;
use serde::{Deserialize, Serialize};

use super::cards;
use super::record::Record;
use super::snapshots::Saved;
use super::start::tell;
use crate::app::{App, blocking};
use crate::ctx::Ctx;
use crate::error::{Error, Result};
use crate::events::Action;
use crate::operations::{self, Kind, OnCrash, Operation, Options, Step, Task, Work, Works};
use crate::steps;

/// The kinds of works of this file.
pub(super) fn works(works: &mut Works) {
    works.add::<Delete>();
}

/// Deletes an instance that does not run, as an operation.
///
/// # Errors
/// Not found; it runs; the caller may not.
pub async fn delete(app: &Arc<App>, ctx: &Ctx, name: &str) -> Result<Operation> {
    ctx.require_project()?;
    let mut tx = app.cluster.read().await?;
    rows::id(&mut tx, &ctx.project, name).await?;
    drop(tx);
    let key = Key::new(&ctx.project, name);
    app.instances.registry.outlast(&key).await;
    if app.instances.registry.phase(&key).is_running() {
        return Err(Error::bad_request("Instance is running"));
    }
    let options = Options::task(Kind::InstanceDelete).resource("instances", name);
    let (app, owned) = (Arc::clone(app), ctx.clone());
    let operations = Arc::clone(&app.operations);
    operations.spawn(ctx, options, move |operation| async move {
        run(&app, &owned, &key, Some(&operation)).await
    })
}

/// Deletes an instance, as the whole of an operation or inside another one.
///
/// # Errors
/// It runs; it is protected; not found.
pub(super) async fn run(app: &Arc<App>, ctx: &Ctx, key: &Key, operation: Option<&Operation>) -> Result<()> {
    let _guard = app.instances.lock(key).await;
    let mut tx = app.cluster.read().await?;
    let record = Record::load(&mut tx, &key.project, &key.name).await?;
    let snapshots = Saved::all(&mut tx, record.row.id).await?;
    drop(tx);
    if TABLE.is_true(&record.config, "security.protection.delete") {
        return Err(Error::bad_request("Container is protected"));
    }
    if app.instances.registry.phase(key).is_running() {
        return Err(Error::bad_request("Instance is running"));
    }
    let work = Delete::new(&record, snapshots);
    let done = match operation {
        Some(operation) => operations::run_in(app, ctx, operation, work).await?,
        None => operations::run_on(app, ctx, ("instances", &key.name), work).await?,
    };
    for snapshot in done.row.snapshots.iter().rev() {
        let instance = (key.project.as_str(), key.name.as_str());
        super::snapshots::tell(app, instance, &snapshot.name, Action::InstanceSnapshotDeleted);
    }
    tell(app, &Ctx::daemon(&key.project), key, Action::InstanceDeleted);
    Ok(())
}

/// The end of an instance: its rows, then its files. Once its volume is gone there is no way back, so that a crash is
/// followed by the rest.
#[derive(Serialize, Deserialize)]
pub(super) struct Delete {
    project: String,
    name: String,
    pool: String,
    /// Its row, for undoing; the devices with those of its profiles, for the networks.
    row: Row,
    all_devices: lxd_model::devices::Devices,
}

/// What is kept of a row.
#[derive(Serialize, Deserialize)]
struct Row {
    is_virtual: bool,
    stateful: bool,
    created_at: Time,
    last_used_at: Time,
    expires_at: Time,
    writable: lxd_api::instances::InstancePut,
    snapshots: Vec<Saved>,
}

impl Work for Delete {
    const KIND: &'static str = "instances.delete";
    const ON_CRASH: OnCrash = OnCrash::Finish;

    fn steps() -> &'static [Step<Self>] {
        steps![Self;
            "rows": Self::remove_rows => Self::restore_rows;
            unrecorded "volume": Self::remove_volume;
            unrecorded "files": Self::remove_files;
        ]
    }
}

impl Delete {
    pub(super) fn new(record: &Record, snapshots: Vec<Saved>) -> Self {
        let row = &record.row;
        Self {
            project: row.project.clone(),
            name: row.name.clone(),
            pool: record.pool().to_owned(),
            row: Row {
                is_virtual: row.kind == InstanceType::VirtualMachine,
                stateful: row.stateful,
                created_at: Time::from(row.created_at),
                last_used_at: Time::from(row.last_used_at),
                expires_at: Time::from(row.expires_at),
                writable: record.writable(),
                snapshots,
            },
            all_devices: record.devices.clone(),
        }
    }

    fn volume(&self) -> Volume {
        Volume::container(&self.project, &self.name)
    }

    fn volume_key(&self) -> VolumeKey<'_> {
        VolumeKey {
            pool: &self.pool,
            project: &self.project,
            kind: if self.row.is_virtual {
                VolumeType::VirtualMachine
            } else {
                VolumeType::Container
            },
            name: &self.name,
        }
    }

    async fn remove_rows(&mut self, task: &Task) -> Result<()> {
        let mut tx = task.app.cluster.begin().await?;
        match rows::get(&mut tx, &self.project, &self.name).await {
            Ok(row) if is_same(&row.config, &self.row.writable.config) => {
                rows::delete(&mut tx, row.id).await?
            }
            Ok(_) => return Ok(()),
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(error.into()),
        }
        if let Ok(volume) = storage_volumes::get(&mut tx, self.volume_key()).await {
            storage_volumes::delete(&mut tx, volume.id).await?;
        }
        Ok(tx.commit().await?)
    }

    /// Brings the rows back, unless the files are gone: then the instance is deleted, whatever failed.
    async fn restore_rows(&mut self, task: &Task) -> Result<()> {
        let app = &task.app;
        let has_files = app
            .pools
            .get(&self.pool)
            .is_ok_and(|pool| pool.volume_path(&self.volume()).symlink_metadata().is_ok());
        let mut tx = app.cluster.begin().await?;
        if !has_files || rows::id(&mut tx, &self.project, &self.name).await.is_ok() {
            return Ok(());
        }
        let id = rows::create(&mut tx, &self.old_row(app)).await?;
        let content = storage_volumes::Content {
            content_type: ContentType::Filesystem,
            description: String::new(),
            config: Config::new(),
        };
        let node = Some(app.cluster.node_id());
        let volume = storage_volumes::create(&mut tx, self.volume_key(), node, &content).await?;
        for snapshot in &self.row.snapshots {
            snapshot.insert(&mut tx, id, Some(volume)).await?;
        }
        Ok(tx.commit().await?)
    }

    fn old_row(&self, app: &App) -> NewInstance {
        let (row, writable) = (&self.row, self.row.writable.clone());
        NewInstance {
            project: self.project.clone(),
            name: self.name.clone(),
            node_id: app.cluster.node_id(),
            kind: if row.is_virtual {
                InstanceType::VirtualMachine
            } else {
                InstanceType::Container
            },
            stateful: row.stateful,
            created_at: row.created_at.timestamp(),
            last_used_at: row.last_used_at.timestamp(),
            content: rows::Content {
                architecture: writable.architecture,
                ephemeral: writable.ephemeral,
                description: writable.description,
                expires_at: row.expires_at.timestamp(),
                config: writable.config,
                devices: writable.devices,
                profiles: writable.profiles,
            },
        }
    }

    async fn remove_volume(&mut self, task: &Task) -> Result<()> {
        // A pool that is gone has taken its volumes along.
        let Ok(pool) = task.app.pools.get(&self.pool) else {
            return Ok(());
        };
        Ok(pool.delete_volume(&self.volume()).await?)
    }

    async fn remove_files(&mut self, task: &Task) -> Result<()> {
        let app = &task.app;
        let instance = self.instance(app);
        if let Err(error) = cards::forget(app, &instance, &instance.devices).await {
            tracing::warn!(instance = %instance.key, err = error.text(), "A network remembers a deleted instance");
        }
        let paths = instance.paths.clone();
        let backups = app.paths.instance_backups(&self.project, &self.name);
        blocking(move || {
            for folder in [&paths.logs, &paths.devices, &paths.shmounts, &backups] {
                remove(std::fs::remove_dir_all(folder), folder)?;
            }
            forget_profile(&instance.key, &paths)?;
            remove(std::fs::remove_file(&paths.seccomp), &paths.seccomp)
        })
        .await
    }

    fn instance(&self, app: &App) -> Instance {
        let writable = &self.row.writable;
        Instance {
            key: Key::new(&self.project, &self.name),
            id: 0,
            kind: lxd_instance::InstanceType::Container,
            architecture: writable.architecture.clone(),
            ephemeral: writable.ephemeral,
            config: writable.config.clone(),
            devices: self.all_devices.clone(),
            paths: super::record::instance_paths(&app.paths, &self.project, &self.name),
            idmap: None,
        }
    }
}

/// Whether two configurations are of the same instance, and not of two with one name.
fn is_same(a: &Config, b: &Config) -> bool {
    a.get("volatile.uuid") == b.get("volatile.uuid")
}

fn remove(result: std::io::Result<()>, path: &std::path::Path) -> Result<()> {
    match result {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(Error::internal(format!("Failed removing {}", path.display())).because(error))
        }
        _ => Ok(()),
    }
}
