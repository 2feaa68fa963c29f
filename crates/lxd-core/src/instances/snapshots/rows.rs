//! The rows of snapshots: that of the instance's and that of its volume's.

use lxd_api::Time;
use lxd_db::cluster::instances::snapshots::{self, NewSnapshot, Snapshot};
use lxd_db::cluster::storage_volumes::{self, Key as VolumeKey, snapshots as volume_snapshots};
use lxd_db::cluster::{Tx, VolumeType};
use lxd_instance::Key;
use lxd_model::config::Config;
use lxd_model::devices::{Devices, root_disk};
use lxd_storage::Volume;
use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::instances::record::Record;

/// An instance whose volume works deal with: where everything of it is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(in crate::instances) struct Root {
    pub(in crate::instances) project: String,
    pub(in crate::instances) name: String,
    pub(in crate::instances) pool: String,
}

impl Root {
    pub(in crate::instances) fn of(record: &Record) -> Self {
        Self {
            project: record.row.project.clone(),
            name: record.row.name.clone(),
            pool: record.pool().to_owned(),
        }
    }

    pub(in crate::instances) fn key(&self) -> Key {
        Key::new(&self.project, &self.name)
    }

    pub(in crate::instances) fn volume(&self) -> Volume {
        Volume::container(&self.project, &self.name)
    }

    pub(in crate::instances) fn snapshot(&self, name: &str) -> Volume {
        self.volume().with_snapshot(name)
    }

    pub(in crate::instances) fn volume_key(&self) -> VolumeKey<'_> {
        VolumeKey {
            pool: &self.pool,
            project: &self.project,
            kind: VolumeType::Container,
            name: &self.name,
        }
    }

    /// The id of the volume's row; none for an instance that lost it.
    pub(in crate::instances) async fn volume_id(&self, tx: &mut Tx) -> Option<i64> {
        let found = storage_volumes::get(tx, self.volume_key()).await;
        found.ok().map(|volume| volume.id)
    }
}

/// Lets what is restored from a snapshot have its root disk where the files are: a root disk of the snapshot's own gets the
/// pool, otherwise the snapshot gets the one that the instance has of its own.
pub(in crate::instances) fn root_at(devices: &mut Devices, instance: &Devices, pool: &str) {
    let own = root_disk(devices).ok().map(|(name, _)| name.to_owned());
    if let Some(name) = own {
        let root = devices.entry(name).or_default();
        root.insert("pool".into(), pool.to_owned());
    } else if let Ok((name, root)) = root_disk(instance) {
        let mut root = root.clone();
        root.insert("pool".into(), pool.to_owned());
        devices.insert(name.to_owned(), root);
    }
}

/// A snapshot as works record it: all that its rows hold.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(in crate::instances) struct Saved {
    pub(in crate::instances) name: String,
    pub(in crate::instances) created_at: Time,
    pub(in crate::instances) expires_at: Time,
    pub(in crate::instances) stateful: bool,
    pub(in crate::instances) description: String,
    pub(in crate::instances) config: Config,
    pub(in crate::instances) devices: Devices,
    /// The keys of the volume's snapshot; those that the volume has now, where nothing is known.
    #[serde(default)]
    pub(in crate::instances) volume_config: Option<Config>,
}

impl From<Snapshot> for Saved {
    fn from(row: Snapshot) -> Self {
        Self {
            name: row.name,
            created_at: Time::from(row.created_at),
            expires_at: Time::from(row.expires_at),
            stateful: row.stateful,
            description: row.description,
            config: row.config,
            devices: row.devices,
            volume_config: None,
        }
    }
}

impl Saved {
    /// The snapshots of an instance, oldest first.
    ///
    /// # Errors
    /// The database can't be read.
    pub(in crate::instances) async fn all(tx: &mut Tx, instance_id: i64) -> Result<Vec<Self>> {
        let rows = snapshots::list(tx, &[instance_id]).await?;
        Ok(rows.into_iter().map(Self::from).collect())
    }

    /// Makes both rows.
    ///
    /// # Errors
    /// The name is taken; the database can't be written.
    pub(in crate::instances) async fn insert(
        &self,
        tx: &mut Tx,
        instance_id: i64,
        volume_id: Option<i64>,
    ) -> Result<()> {
        let new = NewSnapshot {
            instance_id,
            name: self.name.clone(),
            created_at: self.created_at.timestamp(),
            stateful: self.stateful,
            description: self.description.clone(),
            expires_at: self.expires_at.timestamp(),
            config: self.config.clone(),
            devices: self.devices.clone(),
        };
        snapshots::create(tx, &new).await?;
        if let Some(volume) = volume_id {
            let expires = self.expires_at.timestamp();
            let (name, description) = (&self.name, &self.description);
            let config = self.volume_config.clone().unwrap_or_default();
            let id = volume_snapshots::create(tx, volume, name, description, expires, &config).await?;
            if self.volume_config.is_none() {
                volume_snapshots::copy_config(tx, id, volume).await?;
            }
        }
        Ok(())
    }

    /// Keeps what only the row of the volume's snapshot says, for [`Self::insert`].
    pub(in crate::instances) async fn remember(&mut self, tx: &mut Tx, volume_id: Option<i64>) {
        if let Some(volume) = volume_id
            && let Ok(row) = volume_snapshots::get(tx, volume, &self.name).await
        {
            self.volume_config = Some(row.config);
        }
    }

    /// Whether a row is this one, and not another's of its name.
    pub(in crate::instances) fn is(&self, row: &Snapshot) -> bool {
        self.name == row.name && self.created_at.timestamp() == row.created_at
    }

    /// Removes both rows, if they are this snapshot's. Gives whether they were there.
    ///
    /// # Errors
    /// The database can't be written.
    pub(in crate::instances) async fn remove(
        &self,
        tx: &mut Tx,
        instance_id: i64,
        volume_id: Option<i64>,
    ) -> Result<bool> {
        let Ok(row) = snapshots::get(tx, instance_id, &self.name).await else {
            return Ok(false);
        };
        if !self.is(&row) {
            return Ok(false);
        }
        snapshots::delete(tx, row.id).await?;
        if let Some(volume) = volume_id
            && let Ok(row) = volume_snapshots::get(tx, volume, &self.name).await
        {
            volume_snapshots::delete(tx, row.id).await?;
        }
        Ok(true)
    }
}
