//! Bringing a custom volume back to what it was.

use std::sync::Arc;

use lxd_db::cluster::storage_volumes::StorageVolume as Row;
use lxd_db::cluster::storage_volumes::snapshots as rows;
use lxd_storage::Watch;
use serde::{Deserialize, Serialize};

use crate::app::App;
use crate::ctx::Ctx;
use crate::error::{Context as _, Error, Result};
use crate::events::{Action, Lifecycle};
use crate::operations::{OnCrash, Step, Task, Work};
use crate::steps;
use crate::storage_volumes::home::{self, Home};
use crate::storage_volumes::users;

/// Gives a volume the content of one of its snapshots.
///
/// # Errors
/// Not found; a running instance uses the volume.
pub(in crate::storage_volumes) async fn restore(
    app: &Arc<App>,
    ctx: &Ctx,
    volume: &Row,
    name: &str,
) -> Result<()> {
    if name.contains('/') {
        return Err(Error::refused("Invalid snapshot name"));
    }
    let mut tx = app.cluster.read().await?;
    if rows::get(&mut tx, volume.id, name).await.is_err() {
        return Err(Error::refused("Snapshot not found"));
    }
    if users::has_running(app, &mut tx, volume).await? {
        return Err(Error::refused(
            "Cannot restore custom volume used by running instances",
        ));
    }
    drop(tx);
    let home = Home::of(volume);
    let work = Restore::new(home.clone(), name);
    let done = home::run(app, ctx, vec![home], work, None).await?;
    let event = Lifecycle::new(Action::StorageVolumeRestored, done.home.url())
        .with("snapshot", done.snapshot)
        .by(ctx);
    app.events.lifecycle(&done.home.project, &event);
    Ok(())
}

/// A way back: the files are exchanged as a whole. What was there before is kept until all of it is.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(in crate::storage_volumes) struct Restore {
    pub(super) home: Home,
    pub(super) snapshot: String,
    /// Under which the old files are kept meanwhile.
    token: String,
}

impl Work for Restore {
    const KIND: &'static str = "storage-volumes.restore";
    const ON_CRASH: OnCrash = OnCrash::Finish;

    fn steps() -> &'static [Step<Self>] {
        steps![Self;
            "volume": Self::replace => Self::put_back;
            "settle": Self::settle;
        ]
    }
}

impl Restore {
    pub(super) fn new(home: Home, snapshot: &str) -> Self {
        Self {
            home,
            snapshot: snapshot.to_owned(),
            token: uuid::Uuid::new_v4().to_string(),
        }
    }

    async fn replace(&mut self, task: &Task) -> Result<()> {
        let pool = self.home.pool(&task.app)?;
        let snapshot = self.home.snapshot(&self.snapshot);
        let watch = Watch::new(task.ctx.cancel.clone(), None);
        let done = pool
            .replace_volume(&self.home.volume(), (&pool, &snapshot), &self.token, watch)
            .await;
        done.context("Failed restoring the files")
    }

    async fn put_back(&mut self, task: &Task) -> Result<()> {
        let pool = self.home.pool(&task.app)?;
        Ok(pool.put_back(&self.home.volume(), &self.token).await?)
    }

    async fn settle(&mut self, task: &Task) -> Result<()> {
        let pool = self.home.pool(&task.app)?;
        Ok(pool.forget_replaced(&self.token).await?)
    }
}
