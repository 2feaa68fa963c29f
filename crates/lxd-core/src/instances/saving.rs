//! Saving what runs in an instance, and stopping it then. It is kept in the folder `state` of its volume, as the reference does.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use lxd_db::cluster::instances as rows;
use lxd_instance::lifecycle::{Phase, Request, decide};
use lxd_instance::saved::{self, Saved, Saving};
use lxd_instance::{Error as InstanceError, Key};
use serde::{Deserialize, Serialize};

use super::record::Record;
use super::snapshots::Root;
use super::start::tell;
use super::{delete, stop};
use crate::app::App;
use crate::ctx::Ctx;
use crate::error::{Error, Result};
use crate::events::Action;
use crate::operations::{self, OnCrash, Operation, Step, Task, Work, Works};
use crate::steps;

/// The name of the folder in the volume.
const FOLDER: &str = "state";

/// The kinds of works of this file.
pub(super) fn works(works: &mut Works) {
    works.add::<Save>();
}

/// Refuses what needs the program that saves running processes where it is not installed.
///
/// # Errors
/// With this text.
pub(super) fn require_criu(text: &str) -> Result<()> {
    if has_criu() {
        return Ok(());
    }
    Err(Error::bad_request(text))
}

/// Whether the program that saves running processes is installed.
pub(super) fn has_criu() -> bool {
    // What runs nowhere is saved without it.
    if cfg!(test) {
        return true;
    }
    let paths = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&paths).any(|folder: PathBuf| folder.join("criu").is_file())
}

/// Where what ran in an instance is.
///
/// # Errors
/// Its pool is not there.
pub(super) fn folder(app: &App, root: &Root) -> Result<PathBuf> {
    Ok(app
        .pools
        .get(&root.pool)?
        .volume_path(&root.volume())
        .join(FOLDER))
}

/// What an instance goes on from.
///
/// # Errors
/// Nothing is there.
pub(super) async fn existing(app: &App, root: &Root) -> Result<Saved> {
    let folder = folder(app, root)?;
    if !saved::is_there(&folder).await? {
        return Err(Error::bad_request("Container has no existing state to restore"));
    }
    let log = log(app, root, "restore");
    Ok(Saved { folder, log })
}

/// Removes what ran in an instance. Nothing there is fine.
///
/// # Errors
/// Files can't be removed.
pub(super) async fn forget(app: &App, root: &Root) -> Result<()> {
    Ok(saved::remove(&folder(app, root)?).await?)
}

/// Saves what runs in an instance, which ends then if it is to. What was saved before is gone.
///
/// # Errors
/// CRIU's; nothing is left then, and it goes on.
pub(super) async fn dump(app: &App, root: &Root, stops: bool) -> Result<()> {
    let folder = folder(app, root)?;
    saved::remove(&folder).await?;
    let saving = Saving {
        log: log(app, root, "dump"),
        folder: folder.clone(),
        stops,
    };
    let dumped = app.instances.registry.dump(&root.key(), saving).await;
    if dumped.is_err() && !saved::is_there(&folder).await? {
        remove_quietly(&folder).await;
    }
    Ok(dumped?)
}

async fn remove_quietly(folder: &Path) {
    if let Err(error) = saved::remove(folder).await {
        tracing::warn!(%error, "Failed to remove what was not saved whole");
    }
}

fn log(app: &App, root: &Root, verb: &str) -> PathBuf {
    let now = app.clock.now().strftime("%Y-%m-%dT%H:%M:%SZ");
    let folder = app.paths.instance_logs(&root.project, &root.name);
    folder.join(format!("snapshot_{verb}_{now}.log"))
}

/// Saves what runs in an instance and stops it.
///
/// # Errors
/// It does not run; it could not be saved, and goes on.
pub(super) async fn stop(app: &Arc<App>, ctx: &Ctx, key: &Key, operation: Option<&Operation>) -> Result<()> {
    let wanted = Request::Stop { force: false };
    decide(app.instances.registry.phase(key), wanted).map_err(InstanceError::from)?;
    require_criu("Unable to perform container live migration. CRIU isn't installed")?;
    let guard = app.instances.lock(key).await;
    let mut tx = app.cluster.read().await?;
    let record = Record::load(&mut tx, &key.project, &key.name).await?;
    drop(tx);
    let work = Save::new(&record);
    let done = match operation {
        Some(operation) => operations::run_in(app, ctx, operation, work).await?,
        None => operations::run_on(app, ctx, ("instances", &key.name), work).await?,
    };
    tell(app, ctx, key, Action::InstanceStopped);
    drop(guard);
    if done.ephemeral {
        delete::run(app, ctx, key, None).await?;
    }
    Ok(())
}

/// A stop that keeps what runs: the images, with whose last byte the processes end, then the database.
#[derive(Serialize, Deserialize)]
pub(super) struct Save {
    root: Root,
    ephemeral: bool,
    /// Whether this daemon was asked for it, and not the one before.
    #[serde(skip)]
    is_fresh: bool,
}

impl Work for Save {
    const KIND: &'static str = "instances.save";
    const ON_CRASH: OnCrash = OnCrash::Finish;

    fn steps() -> &'static [Step<Self>] {
        steps![Self;
            "images": Self::dump => Self::settle;
            unrecorded "row": Self::note;
        ]
    }
}

impl Save {
    pub(super) fn new(record: &Record) -> Self {
        Self {
            root: Root::of(record),
            ephemeral: false,
            is_fresh: true,
        }
    }

    async fn dump(&mut self, task: &Task) -> Result<()> {
        let app = &task.app;
        if !self.is_fresh {
            return self.finish(app).await;
        }
        match dump(app, &self.root, true).await {
            // It has stopped, and may have left something, which is put away before its next start.
            Err(error) if self.is_saved(app).await? => {
                tracing::warn!(instance = %self.root.key(), err = error.text());
                Ok(())
            }
            done => done,
        }
    }

    /// After a crash: the helper has gone on, and what came of it counts.
    async fn finish(&self, app: &App) -> Result<()> {
        if self.is_saved(app).await? {
            return Ok(());
        }
        Err(Error::internal(
            "The daemon died before all of the instance was saved",
        ))
    }

    /// Whether it has stopped with all of it saved.
    async fn is_saved(&self, app: &App) -> Result<bool> {
        let is_there = saved::is_there(&folder(app, &self.root)?).await?;
        let key = self.root.key();
        if is_there {
            app.instances.registry.outlast(&key).await;
        }
        Ok(is_there && app.instances.registry.phase(&key) == Phase::Stopped)
    }

    /// Nothing brings an instance back that has stopped: then the row says so, and what was saved is kept.
    async fn settle(&mut self, task: &Task) -> Result<()> {
        let app = &task.app;
        if self.is_saved(app).await? {
            return self.note(task).await;
        }
        forget(app, &self.root).await?;
        let key = self.root.key();
        if app.instances.registry.phase(&key) != Phase::Stopped {
            return Ok(());
        }
        stop::note_stopped(app, &key).await.map(drop)
    }

    async fn note(&mut self, task: &Task) -> Result<()> {
        let (app, key) = (&task.app, self.root.key());
        self.ephemeral = stop::note_stopped(app, &key).await?;
        let mut tx = app.cluster.begin().await?;
        let id = rows::id(&mut tx, &key.project, &key.name).await?;
        rows::set_stateful(&mut tx, id, true).await?;
        Ok(tx.commit().await?)
    }
}
