//! Renaming snapshots of custom volumes.

use std::sync::Arc;

use lxd_api::storage_volumes::StorageVolumeSnapshotPost;
use lxd_db::cluster::storage_volumes::snapshots as rows;
use serde::{Deserialize, Serialize};

use super::{check_new_name, custom, options};
use crate::app::App;
use crate::ctx::Ctx;
use crate::error::{Error, Result};
use crate::events::{Action, Lifecycle};
use crate::operations::{Kind, OnCrash, Operation, Step, Task, Work};
use crate::steps;
use crate::storage_volumes::Path;
use crate::storage_volumes::home::{self, Home};

/// Renames a snapshot, as an operation.
///
/// # Errors
/// Not found; no custom volume; the new name is bad or taken.
pub async fn rename(
    app: &Arc<App>,
    ctx: &Ctx,
    path: Path<'_>,
    name: &str,
    post: StorageVolumeSnapshotPost,
) -> Result<Operation> {
    check_new_name(&post.name)?;
    let (volume, row) = custom(app, ctx, path, name).await?;
    let mut tx = app.cluster.read().await?;
    if rows::get(&mut tx, volume.id, &post.name).await.is_ok() {
        return Err(Error::conflict(format!(
            "Snapshot {:?} already in use",
            post.name
        )));
    }
    drop(tx);
    let home = Home::of(&volume);
    let options = options(Kind::VolumeSnapshotRename, &home, "storage_volume_snapshots");
    let work = Rename {
        home: home.clone(),
        id: row.id,
        old: row.name,
        new: post.name,
    };
    let (app, owned) = (Arc::clone(app), ctx.clone());
    let operations = Arc::clone(&app.operations);
    operations.spawn(ctx, options, move |operation| async move {
        let done = home::run(&app, &owned, vec![home], work, Some(&operation)).await?;
        let url = done.home.url_of("snapshots", &done.new);
        let event = Lifecycle::new(Action::StorageVolumeSnapshotRenamed, url).with("old_name", done.old);
        app.events.lifecycle(&done.home.project, &event.by(&owned));
        Ok(())
    })
}

/// Another name: in the database, in the pool.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(in crate::storage_volumes) struct Rename {
    pub(super) home: Home,
    pub(super) id: i64,
    pub(super) old: String,
    pub(super) new: String,
}

impl Work for Rename {
    const KIND: &'static str = "storage-volume-snapshots.rename";
    const ON_CRASH: OnCrash = OnCrash::Undo;

    fn steps() -> &'static [Step<Self>] {
        steps![Self;
            "row": Self::rename_row => Self::restore_row;
            unrecorded "volume": Self::rename_volume => Self::restore_volume;
        ]
    }
}

impl Rename {
    async fn rename_row(&mut self, task: &Task) -> Result<()> {
        self.move_row(task, &self.old, &self.new).await
    }

    async fn restore_row(&mut self, task: &Task) -> Result<()> {
        self.move_row(task, &self.new, &self.old).await
    }

    async fn move_row(&self, task: &Task, from: &str, to: &str) -> Result<()> {
        let mut tx = task.app.cluster.begin().await?;
        let Some(volume) = self.home.row(&mut tx).await else {
            return Ok(());
        };
        // Who is called so may be another snapshot, if this was undone already.
        let found = rows::get(&mut tx, volume.id, from).await.ok();
        if found.map(|row| row.id) != Some(self.id) {
            return Ok(());
        }
        rows::rename(&mut tx, self.id, to).await?;
        Ok(tx.commit().await?)
    }

    async fn rename_volume(&mut self, task: &Task) -> Result<()> {
        let pool = self.home.pool(&task.app)?;
        let (old, new) = (self.home.snapshot(&self.old), self.home.snapshot(&self.new));
        Ok(pool.rename_volume(&old, &new).await?)
    }

    async fn restore_volume(&mut self, task: &Task) -> Result<()> {
        let (app, home) = (&task.app, &self.home);
        if home.is_on_disk(app, Some(&self.new))? && !home.is_on_disk(app, Some(&self.old))? {
            let (old, new) = (home.snapshot(&self.old), home.snapshot(&self.new));
            home.pool(app)?.rename_volume(&new, &old).await?;
        }
        Ok(())
    }
}
