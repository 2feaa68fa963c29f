//! Starting instances.

use std::sync::Arc;

use lxd_db::cluster::instances as rows;
use lxd_instance::lifecycle::{Phase, Refusal, Request, decide};
use lxd_instance::{Instance, Key, Stop};
use lxd_model::config::Config;
use lxd_model::images;
use lxd_model::instances::InstanceType;
use serde::{Deserialize, Serialize};

use super::checks::{self, Candidate};
use super::record::Record;
use super::shift::{self, Shift};
use super::snapshots::Root;
use super::{saving, sizes, snapshots, templates, volatile};
use crate::app::App;
use crate::ctx::Ctx;
use crate::error::{Error, Result};
use crate::events::{Action, Lifecycle};
use crate::operations::{self, Keep, OnCrash, Operation, Step, Task, Work, Works};
use crate::steps;

/// The kinds of works of this file.
pub(super) fn works(works: &mut Works) {
    works.add::<Start>();
}

/// Starts an instance as the whole of an operation, or inside another one (`None`). Lets nobody else change it meanwhile. Who
/// asks while somebody else starts it gets what they get.
///
/// # Errors
/// It runs already; what kept it from running, after everything was undone.
pub(super) async fn run(app: &Arc<App>, ctx: &Ctx, key: &Key, operation: Option<&Operation>) -> Result<()> {
    let registry = &app.instances.registry;
    let was_running = registry.phase(key).is_running();
    let _guard = app.instances.lock(key).await;
    registry.outlast(key).await;
    if !was_running && registry.phase(key).is_running() {
        return Ok(());
    }
    run_locked(app, ctx, key, operation).await?;
    tell(app, ctx, key, Action::InstanceStarted);
    Ok(())
}

/// The same from what ran in the instance when it was stopped.
///
/// # Errors
/// As [`run`]; nothing was saved. What was saved is still there then.
pub(super) async fn resume(
    app: &Arc<App>,
    ctx: &Ctx,
    key: &Key,
    operation: Option<&Operation>,
) -> Result<()> {
    let _guard = app.instances.lock(key).await;
    app.instances.registry.outlast(key).await;
    decide(app.instances.registry.phase(key), Request::Start)
        .map_err(|refusal| refused(refusal, "Failed to create instance start operation"))?;
    let mut tx = app.cluster.read().await?;
    if !rows::get(&mut tx, &key.project, &key.name).await?.stateful {
        return Err(Error::bad_request("Container has no existing state to restore"));
    }
    drop(tx);
    resume_locked(app, ctx, key, operation).await?;
    tell(app, ctx, key, Action::InstanceStarted);
    Ok(())
}

/// The same for who has the right to change the instance already, and without telling anybody.
pub(super) async fn resume_locked(
    app: &Arc<App>,
    ctx: &Ctx,
    key: &Key,
    operation: Option<&Operation>,
) -> Result<()> {
    saving::require_criu("Failed to restore container state. CRIU isn't installed")?;
    let mut work = prepare(app, key).await?;
    work.resumes = true;
    begin(app, ctx, (key, work), operation).await
}

/// The same for who has the right to change the instance already, and without telling anybody.
pub(super) async fn run_locked(
    app: &Arc<App>,
    ctx: &Ctx,
    key: &Key,
    operation: Option<&Operation>,
) -> Result<()> {
    let work = prepare(app, key).await?;
    begin(app, ctx, (key, work), operation).await
}

async fn begin(
    app: &Arc<App>,
    ctx: &Ctx,
    (key, work): (&Key, Start),
    operation: Option<&Operation>,
) -> Result<()> {
    if let Some(record) = &work.record {
        snapshots::at_startup(app, record).await?;
    }
    let root = work.record.as_deref().map(Root::of);
    match operation {
        Some(operation) => operations::run_in(app, ctx, operation, work).await?,
        None => operations::run_on(app, ctx, ("instances", &key.name), work).await?,
    };
    // It is of no use any more: whoever starts the instance again must not meet it.
    if let Some(root) = root
        && let Err(error) = saving::forget(app, &root).await
    {
        tracing::warn!(instance = %key, err = error.text(), "Failed to remove what ran before");
    }
    Ok(())
}

/// Tells of a change of an instance's state.
pub(super) fn tell(app: &App, ctx: &Ctx, key: &Key, action: Action) {
    let url = super::url(&key.project, &key.name);
    let event = Lifecycle::new(action, url).by(ctx);
    app.events.lifecycle(&key.project, &event);
}

/// A refusal as clients see it: what could not begin is named where somebody else is at work.
pub(super) fn refused(refusal: Refusal, doing: &str) -> Error {
    let error = Error::from(lxd_instance::Error::from(refusal));
    match refusal {
        Refusal::Busy(_) => Error::new(error.kind(), doing).because(error),
        _ => error,
    }
}

/// Looks at everything that could keep an instance from starting, before anything is done.
async fn prepare(app: &App, key: &Key) -> Result<Start> {
    // An undo kills what runs: so this must be known before the first step.
    decide(app.instances.registry.phase(key), Request::Start)
        .map_err(|refusal| refused(refusal, "Failed to create instance start operation"))?;
    let mut tx = app.cluster.read().await?;
    let record = Record::load(&mut tx, &key.project, &key.name).await?;
    images::requirements(&record.config, app.facts.only_cgroup_v2)?;
    let candidate = Candidate {
        project: &key.project,
        name: &key.name,
        kind: InstanceType::from_id(record.row.kind.code())?,
        config: &record.config,
        devices: &record.devices,
    };
    checks::names_on_networks(&mut tx, candidate, &record.devices, "start").await?;
    checks::addresses_on_networks(&mut tx, candidate, &record.devices, "start").await?;
    drop(tx);
    Ok(Start {
        project: key.project.clone(),
        name: key.name.clone(),
        shift: shift::plan(app, &record).await?,
        changes: Config::new(),
        own: record.row.config.clone(),
        was_stateful: record.row.stateful,
        resumes: false,
        record: Some(Box::new(record)),
    })
}

/// A start: the files where need be, the processes, then the database.
#[derive(Serialize, Deserialize)]
pub(super) struct Start {
    project: String,
    name: String,
    /// Its own configuration before.
    own: Config,
    /// What the start changes of that.
    changes: Config,
    /// What becomes of the ids in its files before.
    #[serde(default)]
    shift: Option<Shift>,
    /// Whether what ran in it was saved. That is over with the start.
    #[serde(default)]
    was_stateful: bool,
    /// Whether it goes on from that.
    #[serde(default)]
    resumes: bool,
    #[serde(skip)]
    record: Option<Box<Record>>,
}

impl Work for Start {
    const KIND: &'static str = "instances.start";
    const ON_CRASH: OnCrash = OnCrash::Undo;

    fn keep(&self) -> Keep {
        match self.shift {
            Some(_) => Keep::Disk,
            None => Keep::Boot,
        }
    }

    fn steps() -> &'static [Step<Self>] {
        steps![Self;
            "files": Self::shift => Self::settle;
            unrecorded "processes": Self::start => Self::kill;
            "row": Self::note => Self::forget;
        ]
    }
}

impl Start {
    /// A start with nothing known yet.
    #[cfg(test)]
    pub(super) fn of(key: &Key, own: Config) -> Self {
        Self {
            project: key.project.clone(),
            name: key.name.clone(),
            own,
            changes: Config::new(),
            shift: None,
            was_stateful: false,
            resumes: false,
            record: None,
        }
    }

    /// The same from what was saved.
    #[cfg(test)]
    pub(super) fn resuming(self) -> Self {
        Self {
            was_stateful: true,
            resumes: true,
            ..self
        }
    }

    /// The same with files to be shifted before.
    #[cfg(test)]
    pub(super) fn with(self, shift: Shift) -> Self {
        Self {
            shift: Some(shift),
            ..self
        }
    }

    async fn record(&mut self, task: &Task) -> Result<&Record> {
        if self.record.is_none() {
            let mut tx = task.app.cluster.read().await?;
            let record = Record::load(&mut tx, &self.project, &self.name).await?;
            self.record = Some(Box::new(record));
        }
        self.record
            .as_deref()
            .ok_or_else(|| Error::internal("The instance was not loaded"))
    }

    async fn shift(&mut self, task: &Task) -> Result<()> {
        let Some(shift) = &mut self.shift else {
            return Ok(());
        };
        shift.run(task).await?;
        // What is on disk is another thing now.
        self.record = None;
        Ok(())
    }

    async fn settle(&mut self, task: &Task) -> Result<()> {
        match &mut self.shift {
            Some(shift) => shift.settle(task).await,
            None => Ok(()),
        }
    }

    async fn start(&mut self, task: &Task) -> Result<()> {
        if self.resumes {
            return self.resume(task).await;
        }
        let record = self.record(task).await?;
        let instance = record.instance(&task.app)?;
        // Rendered again if the start fails: what they become is the same.
        templates::apply(&task.app, record).await?;
        sizes::of_starting(&task.app, record).await?;
        let started = task.app.instances.registry.start(instance).await?;
        self.changes = volatile::of_start(&self.own, started.volatile);
        Ok(())
    }

    /// Its files are those that the processes know: nothing is rendered.
    async fn resume(&mut self, task: &Task) -> Result<()> {
        let record = self.record(task).await?;
        let (instance, root) = (record.instance(&task.app)?, Root::of(record));
        sizes::of_starting(&task.app, record).await?;
        let saved = saving::existing(&task.app, &root).await?;
        let started = task.app.instances.registry.restore(instance, saved).await?;
        self.changes = volatile::of_start(&self.own, started.volatile);
        Ok(())
    }

    async fn kill(&mut self, task: &Task) -> Result<()> {
        let instance = self.record(task).await?.instance(&task.app)?;
        put_away(&task.app, &instance).await
    }

    async fn note(&mut self, task: &Task) -> Result<()> {
        let id = self.record(task).await?.row.id;
        let mut tx = task.app.cluster.begin().await?;
        rows::change_config(&mut tx, id, &self.changes).await?;
        rows::set_last_used(&mut tx, id, task.app.clock.now()).await?;
        if self.was_stateful {
            rows::set_stateful(&mut tx, id, false).await?;
        }
        Ok(tx.commit().await?)
    }

    async fn forget(&mut self, task: &Task) -> Result<()> {
        let id = self.record(task).await?.row.id;
        let old = volatile::inverse(&self.own, &self.changes);
        let mut tx = task.app.cluster.begin().await?;
        rows::change_config(&mut tx, id, &old).await?;
        if self.was_stateful {
            rows::set_stateful(&mut tx, id, true).await?;
        }
        Ok(tx.commit().await?)
    }
}

/// Kills what runs of an instance, and removes what a run leaves. Nothing there is fine.
///
/// # Errors
/// What could not be put away.
pub(super) async fn put_away(app: &App, instance: &Instance) -> Result<()> {
    let registry = &app.instances.registry;
    if registry.phase(&instance.key) != Phase::Stopped {
        match registry.stop(&instance.key, Stop::kill()).await {
            Ok(()) | Err(lxd_instance::Error::Refused(Refusal::AlreadyStopped)) => return Ok(()),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(registry.clean_up(instance).await?)
}
