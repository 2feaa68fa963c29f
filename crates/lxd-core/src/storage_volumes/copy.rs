//! Copies of custom volumes of this server, with their snapshots.

use std::sync::Arc;

use lxd_api::storage_volumes::StorageVolumesPost;
use lxd_db::cluster::storage_volumes as rows;
use lxd_db::cluster::storage_volumes::StorageVolume as Row;
use lxd_db::cluster::storage_volumes::snapshots as snapshot_rows;
use lxd_db::cluster::{ContentType, VolumeType};
use lxd_model::config::Config;
use lxd_storage::Watch;
use serde::{Deserialize, Serialize};

use super::home::{self, Home};
use super::snapshots::Saved;
use super::{custom_holder, defaults, refresh, size, validate};
use crate::app::App;
use crate::ctx::Ctx;
use crate::error::{Context as _, Error, Result};
use crate::events::{Action, Lifecycle};
use crate::operations::{Kind, OnCrash, Operation, Options, Step, Task, Work};
use crate::steps;

/// Where a copy comes from.
pub(super) struct Source {
    pub(super) volume: Row,
    /// The snapshot that is copied instead of the volume itself.
    pub(super) snapshot: Option<Saved>,
    /// The snapshots that come along, oldest first.
    pub(super) snapshots: Vec<Saved>,
}

/// Makes a volume as a copy of another one or of a snapshot, or brings an earlier copy up to date; as an operation, which
/// reports what is wrong with the source.
///
/// # Errors
/// The daemon is stopping.
pub(super) async fn copy(app: &Arc<App>, ctx: &Ctx, to: Home, post: StorageVolumesPost) -> Result<Operation> {
    let options = Options::task(Kind::VolumeCopy).may_cancel();
    let (app, owned) = (Arc::clone(app), ctx.clone());
    let operations = Arc::clone(&app.operations);
    operations.spawn(ctx, options, move |operation| async move {
        let source = find_source(&app, &owned, &to, &post).await?;
        let mut tx = app.cluster.read().await?;
        let existing = to.row(&mut tx).await;
        drop(tx);
        match existing {
            Some(existing) => {
                let work = refresh::plan(&app, source, &existing, post.source.volume_only).await?;
                refresh::run(&app, &owned, work, &operation).await
            }
            None => {
                let mut work = Copy::new(&source, to, &post);
                work.fill_defaults(&app)?;
                make(&app, &owned, work, &operation).await
            }
        }
    })
}

async fn make(app: &Arc<App>, ctx: &Ctx, work: Copy, operation: &Operation) -> Result<()> {
    let content = work.content_type();
    validate(app, &work.to, &work.to.volume(), &work.config, content)?;
    let homes = vec![work.from.clone(), work.to.clone()];
    let done = home::run(app, ctx, homes, work, Some(operation)).await?;
    let event = Lifecycle::new(Action::StorageVolumeCreated, done.to.url());
    app.events
        .lifecycle(&done.to.project, &event.with("type", "custom").by(ctx));
    Ok(())
}

async fn find_source(app: &App, ctx: &Ctx, to: &Home, post: &StorageVolumesPost) -> Result<Source> {
    let given = &post.source;
    let project = if given.project.is_empty() {
        to.project.clone()
    } else {
        let mut tx = app.cluster.read().await?;
        custom_holder(&mut tx, &ctx.in_project(given.project.clone())).await?
    };
    let pool = given.pool.as_str();
    app.pools.get(pool)?;
    let (name, snapshot) = match given.name.split_once('/') {
        Some((name, snapshot)) => (name, Some(snapshot)),
        None => (given.name.as_str(), None),
    };
    let mut tx = app.cluster.read().await?;
    let key = rows::Key {
        pool,
        project: &project,
        kind: VolumeType::Custom,
        name,
    };
    let missing = || {
        Error::not_found(format!(
            "Failed generating volume copy config: Storage volume {:?} in project {project:?} of type \"custom\" does not \
             exist on pool {pool:?}: Storage volume not found",
            given.name
        ))
    };
    let volume = rows::get(&mut tx, key).await.map_err(|_| missing())?;
    let snapshot = match snapshot {
        None => None,
        Some(name) => {
            let found = snapshot_rows::get(&mut tx, volume.id, name).await;
            Some(Saved::from(found.map_err(|_| missing())?))
        }
    };
    let snapshots = if given.volume_only || snapshot.is_some() {
        Vec::new()
    } else {
        Saved::all(&mut tx, volume.id).await?
    };
    Ok(Source {
        volume,
        snapshot,
        snapshots,
    })
}

/// A copy in the making: its rows, its files and those of its snapshots.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Copy {
    pub(super) from: Home,
    /// The snapshot of it that is copied, if not the volume itself.
    pub(super) snapshot: Option<String>,
    pub(super) to: Home,
    pub(super) is_block: bool,
    pub(super) description: String,
    pub(super) config: Config,
    pub(super) snapshots: Vec<Saved>,
    /// Whether nothing of the name was there before; from then on whatever is there is this work's.
    pub(super) is_new: bool,
}

impl Work for Copy {
    const KIND: &'static str = "storage-volumes.copy";
    const ON_CRASH: OnCrash = OnCrash::Undo;

    fn steps() -> &'static [Step<Self>] {
        steps![Self;
            "check": Self::check;
            "rows": Self::insert => Self::remove;
            unrecorded "volumes": Self::make => Self::unmake;
        ]
    }
}

impl Copy {
    /// A copy of a source, with what a client wants to be different.
    pub(super) fn new(source: &Source, to: Home, post: &StorageVolumesPost) -> Self {
        let volume = &source.volume;
        let (description, config) = match &source.snapshot {
            Some(snapshot) => (&snapshot.description, &snapshot.config),
            None => (&volume.description, &volume.config),
        };
        let given = &post.config;
        let mut config = if given.is_empty() {
            config.clone()
        } else {
            given.clone().into_iter().collect()
        };
        config.retain(|key, value| !value.is_empty() && key != "volatile.uuid");
        Self {
            from: Home::of(volume),
            snapshot: source.snapshot.as_ref().map(|snapshot| snapshot.name.clone()),
            to,
            is_block: volume.content_type == ContentType::Block,
            description: if post.description.is_empty() {
                description.clone()
            } else {
                post.description.clone()
            },
            config,
            snapshots: source.snapshots.clone(),
            is_new: false,
        }
    }

    pub(super) fn content_type(&self) -> ContentType {
        if self.is_block {
            ContentType::Block
        } else {
            ContentType::Filesystem
        }
    }

    /// Gives the copy, and its snapshots, what the pool says of new volumes.
    fn fill_defaults(&mut self, app: &App) -> Result<()> {
        let pool = self.to.pool(app)?;
        defaults::fill(&pool, &mut self.config, self.is_block);
        for snapshot in &mut self.snapshots {
            defaults::fill(&pool, &mut snapshot.config, self.is_block);
        }
        Ok(())
    }

    pub(super) async fn check(&mut self, task: &Task) -> Result<()> {
        self.to.require_free(&task.app, &self.snapshots).await?;
        self.is_new = true;
        Ok(())
    }

    /// Makes the rows. Those that are there already were made before a crash.
    pub(super) async fn insert(&mut self, task: &Task) -> Result<()> {
        let mut tx = task.app.cluster.read().await?;
        if self.to.row(&mut tx).await.is_some() {
            return Ok(());
        }
        drop(tx);
        let content = rows::Content {
            content_type: self.content_type(),
            description: self.description.clone(),
            config: self.config.clone(),
        };
        self.to.insert(&task.app, &content, &self.snapshots).await
    }

    pub(super) async fn remove(&mut self, task: &Task) -> Result<()> {
        if !self.is_new {
            return Ok(());
        }
        self.to.remove(&task.app).await
    }

    /// Copies the files. Those that are there already were made, as a whole, before a crash.
    pub(super) async fn make(&mut self, task: &Task) -> Result<()> {
        let own = self.snapshot.clone();
        copy_one(task, &self.from, (own.as_deref(), None), &self.to).await?;
        let (pool, volume) = (self.to.pool(&task.app)?, self.to.volume());
        if self.is_block {
            size::change(&pool, &volume, &self.config, ContentType::Block).await?;
        } else {
            size::set(&pool, &volume, &self.config, ContentType::Filesystem).await?;
        }
        for snapshot in &self.snapshots {
            let name = Some(snapshot.name.as_str());
            copy_one(task, &self.from, (name, name), &self.to).await?;
        }
        Ok(())
    }

    pub(super) async fn unmake(&mut self, task: &Task) -> Result<()> {
        if !self.is_new {
            return Ok(());
        }
        Ok(self.to.pool(&task.app)?.delete_volume(&self.to.volume()).await?)
    }
}

/// Copies a volume or a snapshot to another volume or a snapshot of it, unless that is there.
///
/// # Errors
/// A pool is gone; the source has no files; the caller has cancelled.
pub(super) async fn copy_one(
    task: &Task,
    from: &Home,
    (old, new): (Option<&str>, Option<&str>),
    to: &Home,
) -> Result<()> {
    task.check_cancelled()?;
    if to.is_on_disk(&task.app, new)? {
        return Ok(());
    }
    let volume = |home: &Home, snapshot: Option<&str>| {
        snapshot.map_or_else(|| home.volume(), |snapshot| home.snapshot(snapshot))
    };
    let (source, pool) = (from.pool(&task.app)?, to.pool(&task.app)?);
    let watch = Watch::new(task.ctx.cancel.clone(), None);
    let copied = pool
        .copy_volume_from(&source, &volume(from, old), &volume(to, new), watch)
        .await;
    copied.context("Failed copying the volume")
}
