//! Copies of custom volumes that are brought up to date.

use std::sync::Arc;

use lxd_db::cluster::storage_volumes::StorageVolume as Row;
use lxd_db::cluster::storage_volumes::snapshots as rows;
use lxd_storage::Watch;
use serde::{Deserialize, Serialize};

use super::copy::{Source, copy_one};
use super::home::{self, Home};
use super::snapshots::Saved;
use super::users;
use crate::app::App;
use crate::ctx::Ctx;
use crate::error::{Context as _, Error, Result};
use crate::operations::{OnCrash, Operation, Step, Task, Work};
use crate::steps;

/// Compares a copy with its source.
///
/// # Errors
/// Nobody asked for it, so that the name is taken; a running instance uses the copy.
pub(super) async fn plan(app: &App, source: Source, copy: &Row, volume_only: bool) -> Result<Refresh> {
    if source.volume.content_type != copy.content_type {
        return Err(Error::bad_request(
            "Content type of source and target must be the same",
        ));
    }
    let mut tx = app.cluster.read().await?;
    if users::has_running(app, &mut tx, copy).await? {
        return Err(Error::refused(
            "Cannot refresh custom volume used by running instances",
        ));
    }
    let present = Saved::all(&mut tx, copy.id).await?;
    let is_in = |all: &[Saved], name: &str| all.iter().any(|one| one.name == name);
    let (mut missing, mut surplus) = (source.snapshots.clone(), present.clone());
    missing.retain(|one| !is_in(&present, &one.name));
    surplus.retain(|one| !is_in(&source.snapshots, &one.name));
    if volume_only || source.snapshot.is_some() {
        (missing, surplus) = (Vec::new(), Vec::new());
    }
    Ok(Refresh {
        from: Home::of(&source.volume),
        snapshot: source.snapshot.map(|snapshot| snapshot.name),
        to: Home::of(copy),
        missing,
        surplus,
        token: uuid::Uuid::new_v4().to_string(),
        is_settled: false,
    })
}

/// Brings a copy up to date, as the whole of an operation.
///
/// # Errors
/// Whatever kept the files from being copied.
pub(super) async fn run(app: &Arc<App>, ctx: &Ctx, work: Refresh, operation: &Operation) -> Result<()> {
    let homes = vec![work.from.clone(), work.to.clone()];
    // The reference says nothing of it either.
    home::run(app, ctx, homes, work, Some(operation)).await.map(drop)
}

/// A copy that becomes like its source: new snapshots, then the content as a whole; at the end what is no longer wanted goes.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Refresh {
    pub(super) from: Home,
    pub(super) snapshot: Option<String>,
    pub(super) to: Home,
    missing: Vec<Saved>,
    surplus: Vec<Saved>,
    /// Under which the old content is kept meanwhile.
    token: String,
    /// Whether this is gone, so that nothing is undone any more.
    is_settled: bool,
}

impl Work for Refresh {
    const KIND: &'static str = "storage-volumes.refresh";
    const ON_CRASH: OnCrash = OnCrash::Finish;

    fn steps() -> &'static [Step<Self>] {
        steps![Self;
            "rows": Self::insert => Self::remove;
            unrecorded "snapshots": Self::make => Self::unmake;
            "volume": Self::replace => Self::put_back;
            "settle": Self::settle;
        ]
    }
}

impl Refresh {
    async fn insert(&mut self, task: &Task) -> Result<()> {
        let mut tx = task.app.cluster.begin().await?;
        let Some(volume) = self.to.row(&mut tx).await else {
            return Err(Error::not_found("Storage pool volume not found"));
        };
        for snapshot in &self.missing {
            if rows::get(&mut tx, volume.id, &snapshot.name).await.is_err() {
                snapshot.insert(&mut tx, volume.id).await?;
            }
        }
        Ok(tx.commit().await?)
    }

    async fn remove(&mut self, task: &Task) -> Result<()> {
        if self.is_settled {
            return Ok(());
        }
        self.delete_rows(task, &self.missing).await
    }

    async fn delete_rows(&self, task: &Task, snapshots: &[Saved]) -> Result<()> {
        let mut tx = task.app.cluster.begin().await?;
        let Some(volume) = self.to.row(&mut tx).await else {
            return Ok(());
        };
        for snapshot in snapshots {
            if let Ok(row) = rows::get(&mut tx, volume.id, &snapshot.name).await {
                rows::delete(&mut tx, row.id).await?;
            }
        }
        Ok(tx.commit().await?)
    }

    async fn make(&mut self, task: &Task) -> Result<()> {
        for snapshot in &self.missing {
            let name = Some(snapshot.name.as_str());
            copy_one(task, &self.from, (name, name), &self.to).await?;
        }
        Ok(())
    }

    async fn unmake(&mut self, task: &Task) -> Result<()> {
        if self.is_settled {
            return Ok(());
        }
        self.delete_files(task, &self.missing).await
    }

    async fn delete_files(&self, task: &Task, snapshots: &[Saved]) -> Result<()> {
        let pool = self.to.pool(&task.app)?;
        for snapshot in snapshots {
            pool.delete_volume(&self.to.snapshot(&snapshot.name)).await?;
        }
        Ok(())
    }

    async fn replace(&mut self, task: &Task) -> Result<()> {
        let (source, pool) = (self.from.pool(&task.app)?, self.to.pool(&task.app)?);
        let from = match &self.snapshot {
            Some(snapshot) => self.from.snapshot(snapshot),
            None => self.from.volume(),
        };
        let watch = Watch::new(task.ctx.cancel.clone(), None);
        let done = pool
            .replace_volume(&self.to.volume(), (&source, &from), &self.token, watch)
            .await;
        done.context("Failed copying the volume")
    }

    async fn put_back(&mut self, task: &Task) -> Result<()> {
        let pool = self.to.pool(&task.app)?;
        Ok(pool.put_back(&self.to.volume(), &self.token).await?)
    }

    async fn settle(&mut self, task: &Task) -> Result<()> {
        self.is_settled = true;
        self.to.pool(&task.app)?.forget_replaced(&self.token).await?;
        self.delete_rows(task, &self.surplus).await?;
        self.delete_files(task, &self.surplus).await
    }
}
