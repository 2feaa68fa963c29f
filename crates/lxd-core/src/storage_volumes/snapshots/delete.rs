//! Deleting snapshots of custom volumes.

use std::sync::Arc;

use lxd_db::cluster::storage_volumes::snapshots as rows;
use serde::{Deserialize, Serialize};

use super::{Saved, custom, options, tell};
use crate::app::App;
use crate::ctx::Ctx;
use crate::error::Result;
use crate::events::Action;
use crate::operations::{Kind, OnCrash, Operation, Step, Task, Work};
use crate::steps;
use crate::storage_volumes::Path;
use crate::storage_volumes::home::{self, Home};

/// Deletes a snapshot, as an operation.
///
/// # Errors
/// Not found; no custom volume; the caller may not.
pub async fn delete(app: &Arc<App>, ctx: &Ctx, path: Path<'_>, name: &str) -> Result<Operation> {
    let (volume, row) = custom(app, ctx, path, name).await?;
    let home = Home::of(&volume);
    let options = options(Kind::VolumeSnapshotDelete, &home, "storage_volume_snapshots");
    let (app, owned) = (Arc::clone(app), ctx.clone());
    let operations = Arc::clone(&app.operations);
    operations.spawn(ctx, options, move |operation| async move {
        run(&app, &owned, home, row.into(), Some(&operation)).await
    })
}

/// Deletes a snapshot, as the whole of an operation or by itself.
///
/// # Errors
/// Its files can't be taken away.
pub(super) async fn run(
    app: &Arc<App>,
    ctx: &Ctx,
    home: Home,
    old: Saved,
    operation: Option<&Operation>,
) -> Result<()> {
    let work = Delete {
        home: home.clone(),
        old,
    };
    let done = home::run(app, ctx, vec![home], work, operation).await?;
    tell(
        app,
        ctx,
        &done.home,
        &done.old.name,
        Action::StorageVolumeSnapshotDeleted,
    );
    Ok(())
}

/// The end of a snapshot: its row, then its files. Once these are gone there is no way back, so that a crash is followed by
/// the rest.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(in crate::storage_volumes) struct Delete {
    pub(super) home: Home,
    pub(super) old: Saved,
}

impl Work for Delete {
    const KIND: &'static str = "storage-volume-snapshots.delete";
    const ON_CRASH: OnCrash = OnCrash::Finish;

    fn steps() -> &'static [Step<Self>] {
        steps![Self;
            "row": Self::remove => Self::insert;
            unrecorded "volume": Self::remove_volume;
        ]
    }
}

impl Delete {
    async fn remove(&mut self, task: &Task) -> Result<()> {
        let mut tx = task.app.cluster.begin().await?;
        let Some(volume) = self.home.row(&mut tx).await else {
            return Ok(());
        };
        if let Ok(row) = rows::get(&mut tx, volume.id, &self.old.name).await {
            rows::delete(&mut tx, row.id).await?;
            tx.commit().await?;
        }
        Ok(())
    }

    /// Brings the row back, unless the files are gone: then the snapshot is deleted, whatever failed.
    async fn insert(&mut self, task: &Task) -> Result<()> {
        let has_files = self.home.is_on_disk(&task.app, Some(&self.old.name));
        let mut tx = task.app.cluster.begin().await?;
        let Some(volume) = self.home.row(&mut tx).await else {
            return Ok(());
        };
        if !has_files.unwrap_or(false) || rows::get(&mut tx, volume.id, &self.old.name).await.is_ok() {
            return Ok(());
        }
        self.old.insert(&mut tx, volume.id).await?;
        Ok(tx.commit().await?)
    }

    async fn remove_volume(&mut self, task: &Task) -> Result<()> {
        // A pool that is gone has taken its volumes along.
        let Ok(pool) = self.home.pool(&task.app) else {
            return Ok(());
        };
        Ok(pool.delete_volume(&self.home.snapshot(&self.old.name)).await?)
    }
}
