//! Bringing an instance back to what it was.

use std::sync::Arc;

use lxd_api::instances::InstancePut;
use lxd_db::cluster::instances as rows;
use lxd_db::cluster::instances::snapshots;
use lxd_instance::lifecycle::Phase;
use lxd_instance::{Error as InstanceError, Key, Stop};
use lxd_model::config::Config;
use lxd_storage::Watch;
use serde::{Deserialize, Serialize};

use super::rows::{Root, Saved, root_at};
use crate::app::App;
use crate::ctx::{Caller, Ctx};
use crate::error::{Context as _, Error, Result};
use crate::events::{Action, Lifecycle};
use crate::instances::record::Record;
use crate::instances::start::tell;
use crate::instances::{backup_file, saving, start, stop, update};
use crate::operations::{self, Kind, OnCrash, Operation, Options, Step, Task, Work};
use crate::steps;

/// What becomes of an instance that is to be like one of its snapshots.
#[derive(Debug, Clone)]
pub struct Wish {
    /// The snapshot's name, with or without the instance's.
    pub snapshot: String,
    /// Whether the running state comes back, too.
    pub stateful: bool,
}

/// Restores a snapshot, as an operation. An instance that runs is stopped for it and started again.
///
/// # Errors
/// Not found; the snapshot holds no running state although that was asked for.
pub(in crate::instances) async fn restore(
    app: &Arc<App>,
    ctx: &Ctx,
    instance: &str,
    wish: Wish,
) -> Result<Operation> {
    let prefix = format!("{instance}/");
    let name = wish.snapshot.strip_prefix(&prefix).unwrap_or(&wish.snapshot);
    let options = Options::task(Kind::SnapshotRestore).resource("instances", instance);
    let (app, owned, key) = (Arc::clone(app), ctx.clone(), Key::new(&ctx.project, instance));
    let (operations, name) = (Arc::clone(&app.operations), name.to_owned());
    operations.spawn(ctx, options, move |operation| async move {
        run(&app, &owned, &key, (&name, wish.stateful), &operation).await
    })
}

async fn run(
    app: &Arc<App>,
    ctx: &Ctx,
    key: &Key,
    (name, stateful): (&str, bool),
    operation: &Operation,
) -> Result<()> {
    let _guard = app.instances.lock(key).await;
    let mut tx = app.cluster.read().await?;
    let record = Record::load(&mut tx, &key.project, &key.name).await?;
    let snapshot = snapshots::get(&mut tx, record.row.id, name).await;
    let snapshot =
        snapshot.map_err(|_| Error::not_found(format!("Snapshot {}/{name} does not exist", key.name)))?;
    drop(tx);
    if stateful && !snapshot.stateful {
        return Err(Error::bad_request(
            "Stateful snapshot restore requested by snapshot is stateless",
        ));
    }
    if stateful {
        saving::require_criu("Failed to restore container state. CRIU isn't installed")?;
    }
    let mut work = Restore::new(app, &record, snapshot.into());
    work.resumes = stateful;
    let is_running = work.is_running || stateful;
    operations::run_in(app, ctx, operation, work).await?;
    if is_running {
        tell(app, &Ctx::daemon(&key.project), key, Action::InstanceStarted);
    }
    let url = crate::instances::url(&key.project, &key.name);
    let event =
        Lifecycle::new(Action::InstanceRestored, url).with("snapshot", format!("{}/{name}", key.name));
    app.events.lifecycle(&key.project, &event);
    Ok(())
}

/// A way back: the configuration, then the files, which are exchanged as a whole. What it was before is kept until all of it is
/// there; after a crash the rest is done.
#[derive(Serialize, Deserialize)]
pub(in crate::instances) struct Restore {
    root: Root,
    id: i64,
    snapshot: Saved,
    old: InstancePut,
    is_running: bool,
    /// Whether what ran when the snapshot was taken is to go on afterwards.
    #[serde(default)]
    resumes: bool,
    /// Under which the old files are kept meanwhile.
    token: String,
    /// Whether these are gone, so that nothing is undone any more.
    is_settled: bool,
}

impl Work for Restore {
    const KIND: &'static str = "instances.restore";
    const ON_CRASH: OnCrash = OnCrash::Finish;

    fn steps() -> &'static [Step<Self>] {
        steps![Self;
            "stop": Self::stop => Self::start_again;
            "config": Self::store => Self::store_old;
            unrecorded "volume": Self::replace => Self::put_back;
            unrecorded "backup": Self::write_backup => Self::write_backup;
            "settle": Self::settle;
            "start": Self::go_on;
        ]
    }
}

impl Restore {
    pub(in crate::instances) fn new(app: &App, record: &Record, snapshot: Saved) -> Self {
        Self {
            root: Root::of(record),
            id: record.row.id,
            snapshot,
            old: record.writable(),
            is_running: app.instances.registry.phase(&record.key()).is_running(),
            resumes: false,
            token: crate::instances::volatile::new_uuid(),
            is_settled: false,
        }
    }

    async fn stop(&mut self, task: &Task) -> Result<()> {
        let (app, key) = (&task.app, self.root.key());
        if !self.is_running || app.instances.registry.phase(&key) == Phase::Stopped {
            return Ok(());
        }
        match app.instances.registry.stop(&key, Stop::kill()).await {
            Ok(()) | Err(InstanceError::TearDown(_)) => {}
            Err(_) if app.instances.registry.phase(&key) == Phase::Stopped => {}
            Err(error) => return Err(error.into()),
        }
        stop::note_stopped(app, &key).await.map(drop)
    }

    async fn start_again(&mut self, task: &Task) -> Result<()> {
        if let Err(error) = self.start(task).await {
            tracing::error!(instance = %self.root.key(), err = error.text(), "Failed starting again after a restore");
        }
        Ok(())
    }

    /// Starts it if it ran. A daemon that takes this up has no networks yet, and does it later.
    async fn start(&mut self, task: &Task) -> Result<()> {
        let (app, key) = (&task.app, self.root.key());
        if !self.is_running || app.instances.registry.phase(&key) != Phase::Stopped {
            return Ok(());
        }
        if matches!(task.ctx.caller, Caller::Daemon) {
            app.instances.owe_start(&key);
            return Ok(());
        }
        start::run_locked(app, &task.ctx, &key, None).await
    }

    /// With what ran then, or from the beginning.
    async fn go_on(&mut self, task: &Task) -> Result<()> {
        let (app, key) = (&task.app, self.root.key());
        if !self.resumes {
            saving::forget(app, &self.root).await?;
            return self.start(task).await;
        }
        // A daemon that takes this up has no networks yet. What was saved stays for whoever starts it.
        if matches!(task.ctx.caller, Caller::Daemon) || app.instances.registry.phase(&key) != Phase::Stopped {
            return Ok(());
        }
        start::resume_locked(app, &task.ctx, &key, None).await
    }

    async fn store(&mut self, task: &Task) -> Result<()> {
        let mut tx = task.app.cluster.begin().await?;
        let row = rows::get_by_id(&mut tx, self.id).await?;
        let mut devices = self.snapshot.devices.clone();
        // The files stay in the pool that they are in.
        root_at(&mut devices, &self.old.devices, &self.root.pool);
        let put = InstancePut {
            config: restored(&self.snapshot.config, &row.config),
            devices,
            description: self.snapshot.description.clone(),
            stateful: self.resumes,
            ..self.old.clone()
        };
        rows::change(&mut tx, &row, &update::content(put, row.expires_at)).await?;
        Ok(tx.commit().await?)
    }

    async fn store_old(&mut self, task: &Task) -> Result<()> {
        if self.is_settled {
            return Ok(());
        }
        let mut tx = task.app.cluster.begin().await?;
        let row = rows::get_by_id(&mut tx, self.id).await?;
        let put = InstancePut {
            config: restored(&self.old.config, &row.config),
            ..self.old.clone()
        };
        rows::change(&mut tx, &row, &update::content(put, row.expires_at)).await?;
        Ok(tx.commit().await?)
    }

    async fn replace(&mut self, task: &Task) -> Result<()> {
        let pool = task.app.pools.get(&self.root.pool)?;
        let snapshot = self.root.snapshot(&self.snapshot.name);
        let watch = Watch::new(task.ctx.cancel.clone(), None);
        let done = pool
            .replace_volume(&self.root.volume(), (&pool, &snapshot), &self.token, watch)
            .await;
        done.context("Failed restoring the files")
    }

    async fn put_back(&mut self, task: &Task) -> Result<()> {
        let pool = task.app.pools.get(&self.root.pool)?;
        Ok(pool.put_back(&self.root.volume(), &self.token).await?)
    }

    async fn write_backup(&mut self, task: &Task) -> Result<()> {
        backup_file::refresh(&task.app, &self.root.key()).await
    }

    async fn settle(&mut self, task: &Task) -> Result<()> {
        self.is_settled = true;
        let pool = task.app.pools.get(&self.root.pool)?;
        Ok(pool.forget_replaced(&self.token).await?)
    }
}

/// The configuration of the snapshot, with what is true of the present: whether the instance runs, and what its run has left.
fn restored(snapshot: &Config, present: &Config) -> Config {
    let mut config = snapshot.clone();
    let is_present =
        |key: &str| key == "volatile.last_state.power" || crate::instances::volatile::is_of_run(key);
    config.retain(|key, _| !is_present(key));
    let present = present.iter().filter(|(key, _)| is_present(key));
    config.extend(present.map(|(key, value)| (key.clone(), value.clone())));
    config
}
