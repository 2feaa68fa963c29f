//! Stopping instances, and starting them again.

use std::sync::Arc;
use std::time::Duration;

use lxd_db::cluster::instances as rows;
use lxd_instance::lifecycle::{Phase, Refusal, Request, decide};
use lxd_instance::{Error as InstanceError, Key, Stop as How};
use lxd_model::ErrorKind;
use serde::{Deserialize, Serialize};

use super::record::Record;
use super::start::{put_away, tell};
use super::{delete, start, volatile};
use crate::app::App;
use crate::ctx::Ctx;
use crate::error::{Error, Result};
use crate::events::Action;
use crate::operations::{self, Keep, OnCrash, Operation, Step, Task, Work, Works};
use crate::steps;

/// The kinds of works of this file.
pub(super) fn works(works: &mut Works) {
    works.add::<Stop>();
    works.add::<Restart>();
}

/// How a client wants an instance to be stopped. No time-out, or a negative one, is for ever.
pub(super) fn how(force: bool, timeout_seconds: i64) -> How {
    let seconds = u64::try_from(timeout_seconds).unwrap_or(0);
    match (force, seconds) {
        (true, _) => How::kill(),
        (false, 0) => How::ask(None),
        (false, seconds) => How::ask(Some(Duration::from_secs(seconds))),
    }
}

/// Stops an instance; an ephemeral one is deleted then. Others may change it meanwhile: a kill waits for nobody.
///
/// # Errors
/// It does not run; it did not shut down in time.
pub(super) async fn run(
    app: &Arc<App>,
    ctx: &Ctx,
    key: &Key,
    how: How,
    operation: Option<&Operation>,
) -> Result<()> {
    let wanted = Request::Stop { force: how.force };
    decide(app.instances.registry.phase(key), wanted).map_err(InstanceError::from)?;
    let work = Stop::new(key, how);
    let done = match operation {
        Some(operation) => operations::run_in(app, ctx, operation, work).await?,
        None => operations::run_on(app, ctx, ("instances", &key.name), work).await?,
    };
    let action = if how.force {
        Action::InstanceStopped
    } else {
        Action::InstanceShutdown
    };
    tell(app, ctx, key, action);
    if done.ephemeral {
        delete::run(app, ctx, key, None).await?;
    }
    Ok(())
}

/// A stop: the processes, then the database.
#[derive(Serialize, Deserialize)]
pub(super) struct Stop {
    project: String,
    name: String,
    force: bool,
    /// Seconds that its init has; for ever if none.
    timeout: Option<u64>,
    ephemeral: bool,
    /// Whether this daemon was asked for it, and not the one before.
    #[serde(skip)]
    is_fresh: bool,
}

impl Work for Stop {
    const KIND: &'static str = "instances.stop";
    const ON_CRASH: OnCrash = OnCrash::Finish;

    fn keep(&self) -> Keep {
        Keep::Boot
    }

    fn steps() -> &'static [Step<Self>] {
        steps![Self;
            "processes": Self::stop => Self::note_if_stopped;
            unrecorded "row": Self::note;
        ]
    }
}

impl Stop {
    pub(super) fn new(key: &Key, how: How) -> Self {
        Self {
            project: key.project.clone(),
            name: key.name.clone(),
            force: how.force,
            timeout: how.timeout.map(|time| time.as_secs()),
            ephemeral: false,
            is_fresh: true,
        }
    }

    async fn stop(&mut self, task: &Task) -> Result<()> {
        let (app, key) = (&task.app, Key::new(&self.project, &self.name));
        if !self.is_fresh {
            return self.finish(app, &key).await;
        }
        let how = How {
            force: self.force,
            timeout: self.timeout.map(Duration::from_secs),
        };
        match app.instances.registry.stop(&key, how).await {
            Err(InstanceError::TearDown(left)) => {
                // It has stopped; what is left is put away before its next start.
                tracing::warn!(instance = %key, %left);
                Ok(())
            }
            stopped => Ok(stopped?),
        }
    }

    /// After a crash: what was to be killed is killed; what was only asked may go on.
    async fn finish(&self, app: &App, key: &Key) -> Result<()> {
        let is_running = app.instances.registry.phase(key) != Phase::Stopped;
        if is_running && !self.force {
            return Err(Error::internal(
                "The daemon died while it waited for the instance",
            ));
        }
        let mut tx = app.cluster.read().await?;
        let record = Record::load(&mut tx, &key.project, &key.name).await?;
        drop(tx);
        put_away(app, &record.instance(app)?).await
    }

    /// Nothing brings an instance back that has stopped: at least the row says so.
    async fn note_if_stopped(&mut self, task: &Task) -> Result<()> {
        let key = Key::new(&self.project, &self.name);
        if task.app.instances.registry.phase(&key) != Phase::Stopped {
            return Ok(());
        }
        note_stopped(&task.app, &key).await.map(drop)
    }

    async fn note(&mut self, task: &Task) -> Result<()> {
        let key = Key::new(&self.project, &self.name);
        self.ephemeral = note_stopped(&task.app, &key).await?;
        Ok(())
    }
}

/// Writes down that an instance has stopped. Gives whether it is to be deleted now.
///
/// # Errors
/// The database can't be written. An instance that is gone is no error.
pub(super) async fn note_stopped(app: &App, key: &Key) -> Result<bool> {
    let mut tx = app.cluster.begin().await?;
    let row = match rows::get(&mut tx, &key.project, &key.name).await {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(false),
        row => row?,
    };
    rows::change_config(&mut tx, row.id, &volatile::of_stop(&row.config)).await?;
    tx.commit().await?;
    Ok(row.ephemeral)
}

/// Stops an instance and starts it again.
///
/// # Errors
/// As a stop and a start.
pub(super) async fn restart(
    app: &Arc<App>,
    ctx: &Ctx,
    key: &Key,
    how: How,
    operation: Option<&Operation>,
) -> Result<()> {
    let wanted = Request::Restart { force: how.force };
    decide(app.instances.registry.phase(key), wanted)
        .map_err(|refusal| start::refused(refusal, "Create restart operation"))?;
    let _guard = app.instances.lock(key).await;
    let work = Restart {
        project: key.project.clone(),
        name: key.name.clone(),
        force: how.force,
        timeout: how.timeout.map(|time| time.as_secs()),
    };
    match operation {
        Some(operation) => operations::run_in(app, ctx, operation, work).await?,
        None => operations::run_on(app, ctx, ("instances", &key.name), work).await?,
    };
    tell(app, ctx, key, Action::InstanceRestarted);
    Ok(())
}

/// A stop and a start in one. When the daemon dies in between, the next one starts the instance.
#[derive(Serialize, Deserialize)]
pub(super) struct Restart {
    project: String,
    name: String,
    force: bool,
    timeout: Option<u64>,
}

impl Work for Restart {
    const KIND: &'static str = "instances.restart";
    const ON_CRASH: OnCrash = OnCrash::Undo;

    fn keep(&self) -> Keep {
        Keep::Boot
    }

    fn steps() -> &'static [Step<Self>] {
        steps![Self;
            "stop": Self::stop => Self::note_if_stopped;
            unrecorded "start": Self::start;
        ]
    }
}

impl Restart {
    fn key(&self) -> Key {
        Key::new(&self.project, &self.name)
    }

    async fn stop(&mut self, task: &Task) -> Result<()> {
        let how = How {
            force: self.force,
            timeout: self.timeout.map(Duration::from_secs),
        };
        let (app, key) = (&task.app, self.key());
        match app.instances.registry.stop(&key, how).await {
            Ok(()) | Err(InstanceError::TearDown(_)) => {}
            // It ended by itself meanwhile: as good.
            Err(InstanceError::Refused(Refusal::AlreadyStopped)) => {}
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }

    async fn start(&mut self, task: &Task) -> Result<()> {
        start::run_locked(&task.app, &task.ctx, &self.key(), None).await
    }

    async fn note_if_stopped(&mut self, task: &Task) -> Result<()> {
        let is_recovery = matches!(task.ctx.caller, crate::ctx::Caller::Daemon);
        let app = &task.app;
        if app.instances.registry.phase(&self.key()) != Phase::Stopped {
            return Ok(());
        }
        if is_recovery {
            app.instances.owe_start(&self.key());
            return Ok(());
        }
        note_stopped(app, &self.key()).await.map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_outs() {
        assert_eq!(how(true, 30), How::kill());
        assert_eq!(how(false, 30), How::ask(Some(Duration::from_secs(30))));
        assert_eq!(how(false, -1), How::ask(None));
        assert_eq!(how(false, 0), How::ask(None));
    }
}
