//! The rows of what was found, all in one transaction, and then the links to it.

use std::collections::HashMap;

use lxd_api::instance_snapshots::InstanceSnapshot;
use lxd_api::instances::Instance as Wire;
use lxd_db::cluster::instances::snapshots::{self, NewSnapshot};
use lxd_db::cluster::instances::{self as rows, Content, NewInstance};
use lxd_db::cluster::profiles::Profile;
use lxd_db::cluster::storage_volumes::{self, Key as VolumeKey};
use lxd_db::cluster::{ContentType, InstanceType as RowType, State, Tx, VolumeType, storage_pools};
use lxd_model::config::Config;
use lxd_model::devices::{Devices, property, root_disk};
use lxd_model::profiles::expand_devices;
use lxd_storage::Volume;
use serde::{Deserialize, Serialize};

use super::super::backup_file::{self, BackupFile};
use super::super::record::Record;
use crate::app::App;
use crate::error::{Error, Result};
use crate::operations::{OnCrash, Step, Task, Work};
use crate::steps;

/// A pool that gets a row.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct NewPool {
    pub(super) name: String,
    pub(super) driver: String,
    pub(super) description: String,
    pub(super) config: Config,
}

/// A volume that gets its rows back.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Found {
    pub(super) pool: String,
    pub(super) project: String,
    pub(super) name: String,
    /// Whether it is a block volume.
    pub(super) is_block: bool,
    /// The instance, if it is one's.
    pub(super) wire: Option<Wire>,
    /// Its snapshots that are on disk, as its file says they are.
    pub(super) snapshots: Vec<InstanceSnapshot>,
    /// The names of the snapshots on disk.
    pub(super) volume_snapshots: Vec<String>,
}

/// Bringing back all that was found.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Recover {
    pub(super) pools: Vec<NewPool>,
    pub(super) found: Vec<Found>,
}

impl Work for Recover {
    const KIND: &'static str = "instances.recover";
    const ON_CRASH: OnCrash = OnCrash::Undo;

    fn steps() -> &'static [Step<Self>] {
        steps![Self;
            "rows": Self::insert => Self::remove;
            unrecorded "links": Self::link => Self::unlink;
            unrecorded "files": Self::write_files;
        ]
    }
}

/// Lets an instance and its snapshots have a root of their own where their profiles give them none in this pool.
pub(super) fn keep_pool(file: &mut BackupFile, profiles: &HashMap<String, Profile>, pool: &str) {
    let keep = |names: &[String], expanded: &Devices, own: &mut Devices| {
        let named = names.iter().filter_map(|name| profiles.get(name));
        let given = expand_devices(named.map(|profile| &profile.devices), &Devices::new());
        let is_given = root_disk(&given).is_ok_and(|(_, root)| property(root, "pool") == pool);
        if let Ok((name, root)) = root_disk(expanded)
            && !is_given
            && root_disk(own).is_err()
        {
            let mut root = root.clone();
            root.insert("pool".into(), pool.to_owned());
            own.insert(name.to_owned(), root);
        }
    };
    if let Some(wire) = &mut file.container {
        keep(&wire.profiles, &wire.expanded_devices, &mut wire.devices);
    }
    for snapshot in &mut file.snapshots {
        keep(
            &snapshot.profiles,
            &snapshot.expanded_devices,
            &mut snapshot.devices,
        );
    }
}

impl Recover {
    async fn insert(&mut self, task: &Task) -> Result<()> {
        let app = &task.app;
        let node = app.cluster.node_id();
        let mut tx = app.cluster.begin().await?;
        for pool in &self.pools {
            let NewPool {
                name,
                driver,
                description,
                config,
            } = pool;
            let id = storage_pools::create(&mut tx, name, driver, description, config, node).await?;
            storage_pools::set_state(&mut tx, id, node, State::Created).await?;
        }
        for found in &self.found {
            found.insert(app, &mut tx).await?;
        }
        Ok(tx.commit().await?)
    }

    /// All rows were made at once, so the first one tells of all.
    async fn remove(&mut self, task: &Task) -> Result<()> {
        let mut tx = task.app.cluster.begin().await?;
        for found in &self.found {
            found.remove(&mut tx).await?;
        }
        for pool in &self.pools {
            if let Ok(id) = storage_pools::id(&mut tx, &pool.name).await {
                storage_pools::delete(&mut tx, id).await?;
            }
        }
        Ok(tx.commit().await?)
    }

    fn instances(&self) -> impl Iterator<Item = &Found> {
        self.found.iter().filter(|found| found.wire.is_some())
    }

    async fn link(&mut self, task: &Task) -> Result<()> {
        for found in self.instances() {
            let pool = task.app.pools.get(&found.pool)?;
            pool.link_volume(&found.volume(), !found.volume_snapshots.is_empty())
                .await?;
        }
        Ok(())
    }

    async fn unlink(&mut self, task: &Task) -> Result<()> {
        let mut tx = task.app.cluster.read().await?;
        for found in self.instances() {
            // Undone last-first: the row is still ours if it is there; who has the name otherwise is another.
            let is_theirs = match rows::get(&mut tx, &found.project, &found.name).await {
                Ok(row) => !found.is_same(&row.config),
                Err(_) => false,
            };
            let Ok(pool) = task.app.pools.get(&found.pool) else {
                continue;
            };
            if !is_theirs {
                pool.unlink_volume(&found.volume()).await?;
            }
        }
        Ok(())
    }

    async fn write_files(&mut self, task: &Task) -> Result<()> {
        let mut tx = task.app.cluster.read().await?;
        for found in self.instances() {
            let record = Record::load(&mut tx, &found.project, &found.name).await?;
            backup_file::write(&task.app, &mut tx, &record).await?;
        }
        Ok(())
    }
}

impl Found {
    fn volume(&self) -> Volume {
        Volume::container(&self.project, &self.name)
    }

    fn key(&self) -> VolumeKey<'_> {
        VolumeKey {
            pool: &self.pool,
            project: &self.project,
            kind: if self.wire.is_some() {
                VolumeType::Container
            } else {
                VolumeType::Custom
            },
            name: &self.name,
        }
    }

    fn is_same(&self, config: &Config) -> bool {
        let own = self
            .wire
            .as_ref()
            .and_then(|wire| wire.config.get("volatile.uuid"));
        own == config.get("volatile.uuid")
    }

    async fn insert(&self, app: &App, tx: &mut Tx) -> Result<()> {
        let content = storage_volumes::Content {
            content_type: match self.is_block {
                true => ContentType::Block,
                false => ContentType::Filesystem,
            },
            description: String::new(),
            config: Config::new(),
        };
        let volume = storage_volumes::create(tx, self.key(), Some(app.cluster.node_id()), &content).await?;
        for name in &self.volume_snapshots {
            let (never, config) = (lxd_db::time::ZERO, Config::new());
            storage_volumes::snapshots::create(tx, volume, name, "", never, &config).await?;
        }
        let Some(wire) = &self.wire else { return Ok(()) };
        let id = rows::create(tx, &self.row(app, wire)?).await?;
        for snapshot in &self.snapshots {
            let new = NewSnapshot {
                instance_id: id,
                name: snapshot.name.clone(),
                created_at: snapshot.created_at.timestamp(),
                stateful: snapshot.stateful,
                description: String::new(),
                expires_at: snapshot.expires_at.timestamp(),
                config: snapshot.config.clone(),
                devices: snapshot.devices.clone(),
            };
            snapshots::create(tx, &new).await?;
        }
        Ok(())
    }

    fn row(&self, app: &App, wire: &Wire) -> Result<NewInstance> {
        let (_, root) = root_disk(&wire.expanded_devices)?;
        if property(root, "path") != "/" {
            return Err(Error::bad_request(format!(
                "Instance {:?} has no root disk",
                self.name
            )));
        }
        Ok(NewInstance {
            project: self.project.clone(),
            name: self.name.clone(),
            node_id: app.cluster.node_id(),
            kind: RowType::Container,
            stateful: wire.stateful,
            created_at: wire.created_at.timestamp(),
            last_used_at: wire.last_used_at.timestamp(),
            content: Content {
                architecture: wire.architecture.clone(),
                ephemeral: wire.ephemeral,
                description: wire.description.clone(),
                expires_at: lxd_db::time::ZERO,
                config: wire.config.clone(),
                devices: wire.devices.clone(),
                profiles: wire.profiles.clone(),
            },
        })
    }

    async fn remove(&self, tx: &mut Tx) -> Result<()> {
        if self.wire.is_some() {
            match rows::get(tx, &self.project, &self.name).await {
                Ok(row) if self.is_same(&row.config) => rows::delete(tx, row.id).await?,
                _ => return Ok(()),
            }
        }
        if let Ok(volume) = storage_volumes::get(tx, self.key()).await {
            storage_volumes::delete(tx, volume.id).await?;
        }
        Ok(())
    }
}
