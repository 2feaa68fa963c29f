//! Taking snapshots.

use std::sync::Arc;

use lxd_api::Time;
use lxd_api::instance_snapshots::InstanceSnapshotsPost;
use lxd_db::cluster::instances as rows;
use lxd_db::cluster::projects;
use lxd_instance::Key;
use lxd_instance::lifecycle::Phase;
use lxd_model::config::Config;
use lxd_model::instances::{naming, pattern};
use lxd_model::{names, units};
use lxd_storage::{VolumeSource, Watch};
use serde::{Deserialize, Serialize};

use super::rows::{Root, Saved};
use super::{options, tell};
use crate::app::App;
use crate::ctx::Ctx;
use crate::error::{Context as _, Error, Result};
use crate::events::Action;
use crate::instances::record::Record;
use crate::instances::start::tell as state_told;
use crate::instances::{backup_file, saving};
use crate::operations::{self, Kind, OnCrash, Operation, Step, Task, Work};
use crate::steps;

/// What a snapshot is to be, besides what its instance is.
#[derive(Debug, Clone)]
pub(in crate::instances) struct New {
    pub(in crate::instances) name: String,
    pub(in crate::instances) expires_at: Time,
    pub(in crate::instances) stateful: bool,
}

/// Takes a snapshot, as an operation.
///
/// # Errors
/// Not found; the name or the expiry is bad; the project allows no snapshots. What else is wrong the operation reports.
pub async fn create(
    app: &Arc<App>,
    ctx: &Ctx,
    instance: &str,
    post: InstanceSnapshotsPost,
) -> Result<Operation> {
    ctx.require_project()?;
    let mut tx = app.cluster.read().await?;
    let record = Record::load(&mut tx, &ctx.project, instance).await?;
    let project = projects::get(&mut tx, &ctx.project).await?;
    check_allowed(&ctx.project, &project.config)?;
    let existing = Saved::all(&mut tx, record.row.id).await?;
    drop(tx);
    let name = if post.name.is_empty() {
        next_name(app, &record.config, existing.iter().map(|one| one.name.as_str()))?
    } else {
        post.name
    };
    if let Some(bad) = ['/', '?', '&', '+'].into_iter().find(|bad| name.contains(*bad)) {
        return Err(Error::bad_request(format!(
            "Invalid snapshot name: Cannot contain \"{bad}\""
        )));
    }
    let expires_at = match post.expires_at {
        Some(time) => time,
        None => expiry(app, &record.config)?,
    };
    let new = New {
        name,
        expires_at,
        stateful: post.stateful,
    };
    let options = options(Kind::SnapshotCreate, instance);
    let (app, owned, key) = (Arc::clone(app), ctx.clone(), record.key());
    let operations = Arc::clone(&app.operations);
    operations.spawn(ctx, options, move |operation| async move {
        run(&app, &owned, &key, new, Some(&operation)).await
    })
}

/// The name that a snapshot without one gets.
///
/// # Errors
/// The pattern is broken.
pub(crate) fn next_name<'a>(
    app: &App,
    config: &Config,
    taken: impl Iterator<Item = &'a str> + Clone,
) -> Result<String> {
    let configured = config.get("snapshots.pattern").map_or("", String::as_str);
    let wanted = if configured.is_empty() {
        "snap%d"
    } else {
        configured
    };
    let now = app.clock.now().to_zoned_datetime(jiff::tz::TimeZone::system());
    let rendered = pattern::render(wanted, &now)?;
    if rendered.matches("%d").count() > 1 {
        return Err(Error::bad_request("Snapshot pattern may contain '%d' only once"));
    }
    Ok(naming::snapshot(&rendered, taken))
}

/// When a snapshot that says nothing about it expires.
///
/// # Errors
/// The instance's configuration makes no sense.
pub(crate) fn expiry(app: &App, config: &Config) -> Result<Time> {
    let expression = config.get("snapshots.expiry").map_or("", String::as_str);
    let expires = units::expiry(app.clock.now(), expression)?;
    Ok(expires.map_or_else(Time::never, Time::from))
}

/// Refuses snapshots in projects that don't allow them.
pub(crate) fn check_allowed(name: &str, project: &Config) -> Result<()> {
    let is_on = |key: &str| project.get(key).map(String::as_str);
    let is_restricted = is_on("restricted").is_some_and(lxd_model::config::is_true);
    if is_restricted && is_on("restricted.snapshots") != Some("allow") {
        return Err(Error::forbidden(format!(
            "Project {name:?} doesn't allow for snapshot creation"
        )));
    }
    Ok(())
}

/// Takes a snapshot, as the whole of an operation or inside another one.
///
/// # Errors
/// The instance is gone; the name is taken; whatever kept the files from being copied.
pub(in crate::instances) async fn run(
    app: &Arc<App>,
    ctx: &Ctx,
    key: &Key,
    new: New,
    operation: Option<&Operation>,
) -> Result<()> {
    let _guard = app.instances.lock(key).await;
    run_locked(app, ctx, key, new, operation).await
}

/// The same for who has the right to change the instance already.
pub(in crate::instances) async fn run_locked(
    app: &Arc<App>,
    ctx: &Ctx,
    key: &Key,
    new: New,
    operation: Option<&Operation>,
) -> Result<()> {
    let record = format!("Failed creating instance snapshot record {:?}", new.name);
    names::snapshot(&new.name).context(record)?;
    if new.stateful {
        if !app.instances.registry.phase(key).is_running() {
            let text = "Unable to create a stateful snapshot. The instance isn't running";
            return Err(Error::bad_request(text));
        }
        saving::require_criu("Unable to create a stateful snapshot. CRIU isn't installed")?;
    }
    let mut tx = app.cluster.read().await?;
    let record = Record::load(&mut tx, &key.project, &key.name).await?;
    drop(tx);
    let work = Create::new(app, &record, new);
    let done = match operation {
        Some(operation) => operations::run_in(app, ctx, operation, work).await?,
        None => operations::run_on(app, ctx, ("instances", &key.name), work).await?,
    };
    tell(
        app,
        (&key.project, &key.name),
        &done.new.name,
        Action::InstanceSnapshotCreated,
    );
    Ok(())
}

/// A snapshot in the making: its rows, its files. What runs stands still while it is copied.
#[derive(Serialize, Deserialize)]
pub(in crate::instances) struct Create {
    root: Root,
    new: Saved,
    /// Whether the instance runs, and is to be frozen for the copy.
    freezes: bool,
}

impl Work for Create {
    const KIND: &'static str = "instance-snapshots.create";
    const ON_CRASH: OnCrash = OnCrash::Undo;

    fn steps() -> &'static [Step<Self>] {
        steps![Self;
            "rows": Self::insert => Self::remove;
            unrecorded "freeze": Self::freeze => Self::thaw;
            unrecorded "state": Self::dump => Self::forget_state;
            unrecorded "volume": Self::copy => Self::remove_volume;
            unrecorded "thaw": Self::thaw;
            unrecorded "own state": Self::forget_state;
            unrecorded "backup": Self::write_backup;
        ]
    }
}

impl Create {
    pub(in crate::instances) fn new(app: &App, record: &Record, new: New) -> Self {
        Self {
            root: Root::of(record),
            new: Saved {
                name: new.name,
                created_at: app.clock.time(),
                expires_at: new.expires_at,
                stateful: new.stateful,
                description: String::new(),
                config: record.row.config.clone(),
                devices: record.row.devices.clone(),
                volume_config: None,
            },
            freezes: app.instances.registry.phase(&record.key()) == Phase::Running,
        }
    }

    async fn insert(&mut self, task: &Task) -> Result<()> {
        let mut tx = task.app.cluster.begin().await?;
        let id = rows::id(&mut tx, &self.root.project, &self.root.name).await?;
        let volume = self.root.volume_id(&mut tx).await;
        let made = self.new.insert(&mut tx, id, volume).await;
        let made = made.context("Add snapshot info to the database");
        made.with_context(|| format!("Failed creating instance snapshot record {:?}", self.new.name))?;
        let path = task
            .app
            .pools
            .get(&self.root.pool)?
            .volume_path(&self.root.snapshot(&self.new.name));
        if path.symlink_metadata().is_ok() {
            // Files of nobody may be worth something: they are not ours to replace.
            return Err(Error::internal(format!(
                "{} exists although no snapshot has it",
                path.display()
            )));
        }
        Ok(tx.commit().await?)
    }

    async fn remove(&mut self, task: &Task) -> Result<()> {
        let mut tx = task.app.cluster.begin().await?;
        let Ok(id) = rows::id(&mut tx, &self.root.project, &self.root.name).await else {
            return Ok(());
        };
        let volume = self.root.volume_id(&mut tx).await;
        if self.new.remove(&mut tx, id, volume).await? {
            tx.commit().await?;
        }
        Ok(())
    }

    async fn freeze(&mut self, task: &Task) -> Result<()> {
        let (registry, key) = (&task.app.instances.registry, self.root.key());
        if !self.freezes {
            return Ok(());
        }
        match registry.freeze(&key).await {
            // It has ended meanwhile: nothing writes any more.
            Err(_) if !registry.phase(&key).is_running() => Ok(()),
            frozen => {
                frozen.context("Failed freezing the instance")?;
                state_told(&task.app, &task.ctx, &key, Action::InstancePaused);
                Ok(())
            }
        }
    }

    async fn thaw(&mut self, task: &Task) -> Result<()> {
        let (registry, key) = (&task.app.instances.registry, self.root.key());
        if self.freezes && registry.phase(&key) == Phase::Frozen {
            registry.unfreeze(&key).await?;
            state_told(&task.app, &task.ctx, &key, Action::InstanceResumed);
        }
        Ok(())
    }

    /// Saves what runs where the copy takes it along from.
    async fn dump(&mut self, task: &Task) -> Result<()> {
        match self.new.stateful {
            true => saving::dump(&task.app, &self.root, false).await,
            false => Ok(()),
        }
    }

    /// It is the snapshot's alone.
    async fn forget_state(&mut self, task: &Task) -> Result<()> {
        match self.new.stateful {
            true => saving::forget(&task.app, &self.root).await,
            false => Ok(()),
        }
    }

    async fn copy(&mut self, task: &Task) -> Result<()> {
        let pool = task.app.pools.get(&self.root.pool)?;
        let (snapshot, source) = (self.root.snapshot(&self.new.name), self.root.volume());
        let watch = Watch::new(task.ctx.cancel.clone(), None);
        let made = pool
            .create_volume(&snapshot, VolumeSource::Volume(source), watch)
            .await;
        made.context("Create instance snapshot")
    }

    async fn remove_volume(&mut self, task: &Task) -> Result<()> {
        let mut tx = task.app.cluster.read().await?;
        let Ok(id) = rows::id(&mut tx, &self.root.project, &self.root.name).await else {
            return Ok(());
        };
        let existing = Saved::all(&mut tx, id).await?;
        drop(tx);
        if !existing.contains(&self.new) {
            return Ok(());
        }
        let pool = task.app.pools.get(&self.root.pool)?;
        Ok(pool.delete_volume(&self.root.snapshot(&self.new.name)).await?)
    }

    async fn write_backup(&mut self, task: &Task) -> Result<()> {
        backup_file::refresh(&task.app, &self.root.key()).await
    }
}
