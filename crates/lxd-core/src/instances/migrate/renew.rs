//! Copies of instances of another server that are brought up to date.

use lxd_storage::{VolumeSource, Watch};
use serde::{Deserialize, Serialize};

use super::Parent;
use super::receive::Incoming;
use crate::error::{Error, Result};
use crate::instances::record::Record;
use crate::instances::refresh::{Refresh, Source};
use crate::instances::snapshots::{Root, Saved};
use crate::instances::volatile;
use crate::migration::Held;
use crate::operations::{OnCrash, Step, Task, Work};
use crate::steps;

/// A copy that becomes like the other server's instance: all of it comes beside the copy, which is then refreshed from there.
#[derive(Serialize, Deserialize)]
pub(super) struct Renew {
    copy: Root,
    /// Where it comes first.
    beside: Root,
    incoming: Incoming,
    /// What is there, before.
    present: Vec<Saved>,
    instance_only: bool,
    /// What is done with what has come; known once the other side has said what it has.
    refresh: Option<Refresh>,
    /// Whether the copy is the new one, so that nothing is undone any more.
    is_settled: bool,
}

impl Work for Renew {
    const KIND: &'static str = "instances.renew";
    const ON_CRASH: OnCrash = OnCrash::Finish;

    fn steps() -> &'static [Step<Self>] {
        steps![Self;
            "greet": Self::greet;
            "rows": Self::insert => Self::remove;
            unrecorded "fetch": Self::fetch => Self::unmake;
            "snapshots": Self::copy_snapshots => Self::remove_snapshots;
            unrecorded "ids": Self::note_ids => Self::note_old_ids;
            unrecorded "volume": Self::replace => Self::put_back;
            "settle": Self::settle;
            "extra": Self::remove_extra;
            unrecorded "backup": Self::write_backup;
        ]
    }
}

impl Renew {
    pub(super) fn new(record: &Record, present: Vec<Saved>, (instance_only, held): (bool, Held)) -> Self {
        let copy = Root::of(record);
        // No instance's name begins with a dot.
        let beside = Root {
            name: format!(".{}", volatile::new_uuid()),
            ..copy.clone()
        };
        Self {
            incoming: Incoming::new(beside.clone(), &record.row.devices, (instance_only, held)),
            copy,
            beside,
            present,
            instance_only,
            refresh: None,
            is_settled: false,
        }
    }

    fn refresh(&mut self) -> Result<&mut Refresh> {
        let refresh = self.refresh.as_mut();
        refresh.ok_or_else(|| Error::refused("The connection to the other server is gone"))
    }

    async fn greet(&mut self, task: &Task) -> Result<()> {
        let mut tx = task.app.cluster.read().await?;
        let record = Record::load(&mut tx, &self.copy.project, &self.copy.name).await?;
        drop(tx);
        let parent = Parent::of(&record.row);
        self.incoming.greet(task, parent, Some(&self.present)).await?;
        let source = Source {
            root: self.beside.clone(),
            snapshot: None,
            snapshots: (!self.instance_only).then(|| self.incoming.snapshots.clone()),
        };
        let refresh = Refresh::new(&task.app, source, (&record, self.present.clone()));
        self.refresh = Some(refresh.with_ids(self.incoming.ids.clone()));
        Ok(())
    }

    async fn insert(&mut self, task: &Task) -> Result<()> {
        self.refresh()?.insert(task).await
    }

    async fn remove(&mut self, task: &Task) -> Result<()> {
        match &mut self.refresh {
            Some(refresh) => refresh.remove(task).await,
            None => Ok(()),
        }
    }

    async fn fetch(&mut self, task: &Task) -> Result<()> {
        let pool = task.app.pools.get(&self.beside.pool)?;
        let watch = Watch::new(task.ctx.cancel.clone(), None);
        let from = VolumeSource::Volume(self.copy.volume());
        pool.create_volume(&self.beside.volume(), from, watch).await?;
        self.incoming.fetch(task).await
    }

    async fn unmake(&mut self, task: &Task) -> Result<()> {
        if self.is_settled {
            return Ok(());
        }
        self.delete_beside(task).await
    }

    async fn delete_beside(&self, task: &Task) -> Result<()> {
        let pool = task.app.pools.get(&self.beside.pool)?;
        Ok(pool.delete_volume(&self.beside.volume()).await?)
    }

    async fn copy_snapshots(&mut self, task: &Task) -> Result<()> {
        self.refresh()?.copy_snapshots(task).await
    }

    async fn remove_snapshots(&mut self, task: &Task) -> Result<()> {
        match &mut self.refresh {
            Some(refresh) => refresh.remove_snapshots(task).await,
            None => Ok(()),
        }
    }

    async fn note_ids(&mut self, task: &Task) -> Result<()> {
        self.refresh()?.note_ids(task).await
    }

    async fn note_old_ids(&mut self, task: &Task) -> Result<()> {
        match &mut self.refresh {
            Some(refresh) => refresh.note_old_ids(task).await,
            None => Ok(()),
        }
    }

    async fn replace(&mut self, task: &Task) -> Result<()> {
        self.refresh()?.replace(task).await
    }

    async fn put_back(&mut self, task: &Task) -> Result<()> {
        match &mut self.refresh {
            Some(refresh) => refresh.put_back(task).await,
            None => Ok(()),
        }
    }

    async fn settle(&mut self, task: &Task) -> Result<()> {
        self.is_settled = true;
        self.delete_beside(task).await?;
        self.refresh()?.settle(task).await
    }

    async fn remove_extra(&mut self, task: &Task) -> Result<()> {
        self.refresh()?.remove_extra(task).await
    }

    async fn write_backup(&mut self, task: &Task) -> Result<()> {
        self.refresh()?.write_backup(task).await
    }
}
