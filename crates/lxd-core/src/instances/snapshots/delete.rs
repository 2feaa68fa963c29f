//! Deleting snapshots.

use std::sync::Arc;

use lxd_db::cluster::instances as rows;
use lxd_db::cluster::instances::snapshots;
use lxd_instance::Key;
use serde::{Deserialize, Serialize};

use super::rows::{Root, Saved};
use super::{options, tell};
use crate::app::App;
use crate::ctx::Ctx;
use crate::error::Result;
use crate::events::Action;
use crate::instances::backup_file;
use crate::instances::record::Record;
use crate::operations::{self, Kind, OnCrash, Operation, Step, Task, Work};
use crate::steps;

/// Deletes a snapshot, as an operation.
///
/// # Errors
/// Not found; the caller may not.
pub async fn delete(app: &Arc<App>, ctx: &Ctx, instance: &str, name: &str) -> Result<Operation> {
    super::find(app, ctx, instance, name).await?;
    let options = options(Kind::SnapshotDelete, instance);
    let (app, owned, key) = (Arc::clone(app), ctx.clone(), Key::new(&ctx.project, instance));
    let operations = Arc::clone(&app.operations);
    let name = name.to_owned();
    operations.spawn(ctx, options, move |operation| async move {
        run(&app, &owned, &key, &name, Some(&operation)).await
    })
}

/// Deletes a snapshot, as the whole of an operation or inside another one.
///
/// # Errors
/// Not found.
pub(in crate::instances) async fn run(
    app: &Arc<App>,
    ctx: &Ctx,
    key: &Key,
    name: &str,
    operation: Option<&Operation>,
) -> Result<()> {
    let _guard = app.instances.lock(key).await;
    let mut tx = app.cluster.read().await?;
    let record = Record::load(&mut tx, &key.project, &key.name).await?;
    let row = snapshots::get(&mut tx, record.row.id, name).await?;
    drop(tx);
    let work = Delete::new(&record, row.into());
    match operation {
        Some(operation) => operations::run_in(app, ctx, operation, work).await?,
        None => operations::run_on(app, ctx, ("instances", &key.name), work).await?,
    };
    tell(
        app,
        (&key.project, &key.name),
        name,
        Action::InstanceSnapshotDeleted,
    );
    Ok(())
}

/// The end of a snapshot: its rows, then its files. Once these are gone there is no way back, so that a crash is followed by
/// the rest.
#[derive(Serialize, Deserialize)]
pub(in crate::instances) struct Delete {
    root: Root,
    old: Saved,
}

impl Work for Delete {
    const KIND: &'static str = "instance-snapshots.delete";
    const ON_CRASH: OnCrash = OnCrash::Finish;

    fn steps() -> &'static [Step<Self>] {
        steps![Self;
            "rows": Self::remove => Self::insert;
            unrecorded "volume": Self::remove_volume;
            unrecorded "backup": Self::write_backup;
        ]
    }
}

impl Delete {
    pub(in crate::instances) fn new(record: &Record, old: Saved) -> Self {
        Self {
            root: Root::of(record),
            old,
        }
    }

    async fn remove(&mut self, task: &Task) -> Result<()> {
        let mut tx = task.app.cluster.begin().await?;
        let Ok(id) = rows::id(&mut tx, &self.root.project, &self.root.name).await else {
            return Ok(());
        };
        let volume = self.root.volume_id(&mut tx).await;
        self.old.remember(&mut tx, volume).await;
        if self.old.remove(&mut tx, id, volume).await? {
            tx.commit().await?;
        }
        Ok(())
    }

    /// Brings the rows back, unless the files are gone: then the snapshot is deleted, whatever failed.
    async fn insert(&mut self, task: &Task) -> Result<()> {
        let snapshot = self.root.snapshot(&self.old.name);
        let pool = task.app.pools.get(&self.root.pool);
        let has_files = pool.is_ok_and(|pool| pool.volume_path(&snapshot).symlink_metadata().is_ok());
        let mut tx = task.app.cluster.begin().await?;
        let Ok(id) = rows::id(&mut tx, &self.root.project, &self.root.name).await else {
            return Ok(());
        };
        if !has_files || snapshots::get(&mut tx, id, &self.old.name).await.is_ok() {
            return Ok(());
        }
        let volume = self.root.volume_id(&mut tx).await;
        self.old.insert(&mut tx, id, volume).await?;
        Ok(tx.commit().await?)
    }

    async fn remove_volume(&mut self, task: &Task) -> Result<()> {
        // A pool that is gone has taken its volumes along.
        let Ok(pool) = task.app.pools.get(&self.root.pool) else {
            return Ok(());
        };
        Ok(pool.delete_volume(&self.root.snapshot(&self.old.name)).await?)
    }

    async fn write_backup(&mut self, task: &Task) -> Result<()> {
        backup_file::refresh(&task.app, &self.root.key()).await
    }
}
