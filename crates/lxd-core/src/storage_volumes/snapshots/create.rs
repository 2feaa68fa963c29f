//! Taking snapshots of custom volumes.

use std::sync::Arc;

use lxd_api::storage_volumes::StorageVolumeSnapshotsPost;
use lxd_db::cluster::projects;
use lxd_db::cluster::storage_volumes::snapshots as rows;
use lxd_model::config::Config;
use lxd_model::names;
use lxd_storage::{VolumeSource, Watch};
use serde::{Deserialize, Serialize};

use super::{Saved, custom_volume, options, tell};
use crate::app::App;
use crate::ctx::Ctx;
use crate::error::{Context as _, Error, Result};
use crate::events::Action;
use crate::instances::snapshots::{check_allowed, expiry, next_name};
use crate::operations::{Kind, OnCrash, Operation, Step, Task, Work};
use crate::steps;
use crate::storage_volumes::home::{self, Home};
use crate::storage_volumes::{Path, daemon};

/// Takes a snapshot, as an operation.
///
/// # Errors
/// Not found; no custom volume; the name is bad or taken; the project allows no snapshots.
pub async fn create(
    app: &Arc<App>,
    ctx: &Ctx,
    path: Path<'_>,
    post: StorageVolumeSnapshotsPost,
) -> Result<Operation> {
    if let Some(parts) = path[2].split_once('/') {
        return of_snapshot(app, ctx, path, parts).await;
    }
    let volume = custom_volume(app, ctx, path).await?;
    let home = Home::of(&volume);
    if daemon::uses(app, &home) {
        return Err(Error::bad_request(
            "Volumes used by LXD itself cannot have snapshots",
        ));
    }
    let mut tx = app.cluster.read().await?;
    let project = projects::get(&mut tx, &ctx.project).await?;
    check_allowed(&ctx.project, &project.config)?;
    let existing = Saved::all(&mut tx, volume.id).await?;
    drop(tx);
    let name = if post.name.is_empty() {
        // Whatever the pattern is: that is for the scheduled ones, as with the reference.
        next_name(app, &Config::new(), existing.iter().map(|one| one.name.as_str()))?
    } else {
        post.name
    };
    check_name(&name)?;
    if existing.iter().any(|one| one.name == name) {
        return Err(Error::conflict(format!("Snapshot {name:?} already in use")));
    }
    let new = Saved {
        name,
        description: volume.description,
        expires_at: match post.expires_at {
            Some(time) => time,
            None => expiry(app, &volume.config)?,
        },
        config: volume.config,
    };
    let options = options(Kind::VolumeSnapshotCreate, &home, "storage_volumes");
    let (app, owned) = (Arc::clone(app), ctx.clone());
    let operations = Arc::clone(&app.operations);
    operations.spawn(ctx, options, move |operation| async move {
        run(&app, &owned, home, new, Some(&operation)).await
    })
}

/// There are no snapshots of snapshots, says the operation.
async fn of_snapshot(
    app: &Arc<App>,
    ctx: &Ctx,
    [pool, kind, whole]: Path<'_>,
    (volume, snapshot): (&str, &str),
) -> Result<Operation> {
    let volume = custom_volume(app, ctx, [pool, kind, volume]).await?;
    let mut tx = app.cluster.read().await?;
    if rows::get(&mut tx, volume.id, snapshot).await.is_err() {
        return Err(Error::not_found("Storage pool volume not found"));
    }
    drop(tx);
    let home = Home::new(&volume.pool, &volume.project, whole);
    let options = options(Kind::VolumeSnapshotCreate, &home, "storage_volumes");
    app.operations.spawn(ctx, options, |_| async {
        Err(Error::bad_request("Volume cannot be snapshot"))
    })
}

fn check_name(name: &str) -> Result<()> {
    if name.contains('/') {
        return Err(Error::bad_request("Storage name cannot contain \"/\""));
    }
    if name.contains(char::is_whitespace) {
        return Err(Error::bad_request("Storage name cannot contain white space"));
    }
    Ok(names::storage_volume(name)?)
}

/// Takes a snapshot, as the whole of an operation or by itself.
///
/// # Errors
/// The volume is gone; the name is taken; whatever kept the files from being copied.
pub(super) async fn run(
    app: &Arc<App>,
    ctx: &Ctx,
    home: Home,
    new: Saved,
    operation: Option<&Operation>,
) -> Result<()> {
    let work = Create {
        home: home.clone(),
        new,
        is_new: false,
    };
    let done = home::run(app, ctx, vec![home], work, operation).await?;
    tell(
        app,
        ctx,
        &done.home,
        &done.new.name,
        Action::StorageVolumeSnapshotCreated,
    );
    Ok(())
}

/// A snapshot in the making: its row, its files.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(in crate::storage_volumes) struct Create {
    pub(super) home: Home,
    pub(super) new: Saved,
    /// Whether nothing of the name was there before; from then on whatever is there is this work's.
    pub(super) is_new: bool,
}

impl Work for Create {
    const KIND: &'static str = "storage-volume-snapshots.create";
    const ON_CRASH: OnCrash = OnCrash::Undo;

    fn steps() -> &'static [Step<Self>] {
        steps![Self;
            "check": Self::check;
            "row": Self::insert => Self::remove;
            unrecorded "volume": Self::copy => Self::remove_volume;
        ]
    }
}

impl Create {
    async fn check(&mut self, task: &Task) -> Result<()> {
        let mut tx = task.app.cluster.read().await?;
        let Some(volume) = self.home.row(&mut tx).await else {
            return Err(Error::not_found("Storage pool volume not found"));
        };
        if rows::get(&mut tx, volume.id, &self.new.name).await.is_ok() {
            let text = format!("Snapshot {:?} already in use", self.new.name);
            return Err(Error::conflict(text));
        }
        self.home.refuse_files(&task.app, Some(&self.new.name))?;
        self.is_new = true;
        Ok(())
    }

    async fn insert(&mut self, task: &Task) -> Result<()> {
        let mut tx = task.app.cluster.begin().await?;
        let Some(volume) = self.home.row(&mut tx).await else {
            return Err(Error::not_found("Storage pool volume not found"));
        };
        self.new.insert(&mut tx, volume.id).await?;
        Ok(tx.commit().await?)
    }

    async fn remove(&mut self, task: &Task) -> Result<()> {
        if !self.is_new {
            return Ok(());
        }
        let mut tx = task.app.cluster.begin().await?;
        let Some(volume) = self.home.row(&mut tx).await else {
            return Ok(());
        };
        if let Ok(row) = rows::get(&mut tx, volume.id, &self.new.name).await {
            rows::delete(&mut tx, row.id).await?;
            tx.commit().await?;
        }
        Ok(())
    }

    async fn copy(&mut self, task: &Task) -> Result<()> {
        let pool = self.home.pool(&task.app)?;
        let (snapshot, source) = (self.home.snapshot(&self.new.name), self.home.volume());
        let watch = Watch::new(task.ctx.cancel.clone(), None);
        let made = pool
            .create_volume(&snapshot, VolumeSource::Volume(source), watch)
            .await;
        made.context("Failed creating the snapshot")
    }

    async fn remove_volume(&mut self, task: &Task) -> Result<()> {
        if !self.is_new {
            return Ok(());
        }
        let pool = self.home.pool(&task.app)?;
        Ok(pool.delete_volume(&self.home.snapshot(&self.new.name)).await?)
    }
}
