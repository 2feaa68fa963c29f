//! Works made of named steps, each with its undo, recorded before it runs.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures::FutureExt;
use futures::future::BoxFuture;
use lxd_sys::system::boot_id;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::faults::{Verdict, When};
use super::journal::{Keep, Record};
use super::operation::{Operation, Options, new_id};
use crate::app::{App, blocking};
use crate::ctx::Ctx;
use crate::error::{Context as _, Error, Result};
use crate::reserve;

/// What a later daemon does with a work that this one left half done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnCrash {
    /// Undo what was done; the operation has failed.
    Undo,
    /// Do the rest, beginning with the recorded step again: its `run` must be harmless if it ran before.
    Finish,
}

/// A function of a step.
pub type Run<W> = for<'a> fn(&'a mut W, &'a Task) -> BoxFuture<'a, Result<()>>;

/// One step of a work. The [`crate::steps!`] macro writes them.
pub struct Step<W> {
    /// The name in the log, in fault points, in the record.
    pub name: &'static str,
    /// Does it.
    pub run: Run<W>,
    /// Undoes it. Must be harmless when the step ran half or not at all, and when it is repeated; must find what the
    /// step made from what the work knew *before* the step.
    pub undo: Option<Run<W>>,
    /// Whether the work's state is recorded before the step. A step that is not recorded is undone together with the
    /// recorded step before it; it must not need what that one noted in the state.
    pub recorded: bool,
}

/// A piece of work of several steps: a plain struct that holds all that the steps know and pass on.
pub trait Work: Serialize + DeserializeOwned + Send + Sync + 'static {
    /// Its name: noun and verb, `instances.create`. Recorded: never change one.
    const KIND: &'static str;

    /// What a crash leads to.
    const ON_CRASH: OnCrash;

    /// What its record survives. One on the disk costs two waits for the disk; a work on what runs and on rows needs none.
    fn keep(&self) -> Keep {
        Keep::Disk
    }

    /// The steps, in order.
    fn steps() -> &'static [Step<Self>];
}

/// Lists the steps of a work: `name: run => undo;`, or `name: run;` for what needs no undo, with `unrecorded` in front
/// where recording the state would be for nothing.
///
/// ```ignore
/// fn steps() -> &'static [Step<Self>] {
///     steps![Self;
///         "row": insert_row => delete_row;
///         unrecorded "volume": make_volume => delete_volume;
///         "start": start;
///     ]
/// }
/// // with: async fn insert_row(work: &mut Create, task: &Task) -> Result<()>
/// ```
#[macro_export]
macro_rules! steps {
    (@undo) => { None };
    (@undo $undo:path) => { Some(|work, task| Box::pin($undo(work, task))) };
    (@list $work:ty; [$($done:tt)*]) => {
        const { &[$($done)*] as &'static [$crate::operations::Step<$work>] }
    };
    (@list $work:ty; [$($done:tt)*] unrecorded $name:literal : $run:path $(=> $undo:path)?; $($rest:tt)*) => {
        $crate::steps!(@list $work; [$($done)* $crate::operations::Step {
            name: $name,
            run: |work, task| Box::pin($run(work, task)),
            undo: $crate::steps!(@undo $($undo)?),
            recorded: false,
        },] $($rest)*)
    };
    (@list $work:ty; [$($done:tt)*] $name:literal : $run:path $(=> $undo:path)?; $($rest:tt)*) => {
        $crate::steps!(@list $work; [$($done)* $crate::operations::Step {
            name: $name,
            run: |work, task| Box::pin($run(work, task)),
            undo: $crate::steps!(@undo $($undo)?),
            recorded: true,
        },] $($rest)*)
    };
    ($work:ty; $($rest:tt)*) => { $crate::steps!(@list $work; [] $($rest)*) };
}

/// What a step works with.
#[derive(Clone)]
pub struct Task {
    /// The daemon.
    pub app: Arc<App>,
    /// Who asked for it; its `cancel` is the operation's.
    pub ctx: Ctx,
    /// The operation: metadata, progress, websockets. One that nobody sees for work inside a request.
    pub operation: Operation,
}

impl Task {
    /// Fails when the operation was cancelled; long steps ask now and then.
    ///
    /// # Errors
    /// [`lxd_model::ErrorKind::Cancelled`].
    pub fn check_cancelled(&self) -> Result<()> {
        if self.ctx.cancel.is_cancelled() {
            return Err(Error::cancelled("Operation cancelled"));
        }
        Ok(())
    }

    fn new(app: &Arc<App>, ctx: &Ctx, operation: &Operation) -> Self {
        let cancel = operation.cancel_token().clone();
        Self {
            app: Arc::clone(app),
            ctx: Ctx {
                cancel,
                ..ctx.clone()
            },
            operation: operation.clone(),
        }
    }

    /// The same for undoing, which nothing cancels.
    fn for_undo(&self) -> Self {
        let cancel = tokio_util::sync::CancellationToken::new();
        Self {
            ctx: Ctx {
                cancel,
                ..self.ctx.clone()
            },
            ..self.clone()
        }
    }
}

/// Starts a work as an operation that clients can wait for.
///
/// # Errors
/// The daemon is stopping.
pub fn start<W: Work>(app: &Arc<App>, ctx: &Ctx, options: Options, work: W) -> Result<Operation> {
    let (app, owned) = (Arc::clone(app), ctx.clone());
    let operations = Arc::clone(&app.operations);
    operations.spawn(ctx, options, move |operation| async move {
        let task = Task::new(&app, &owned, &operation);
        run_recorded(&task, work).await.map(drop)
    })
}

/// Does a work as a part of an operation that runs already. Its record is the operation's, so that one operation does at
/// most one work this way.
///
/// # Errors
/// What a step failed with; everything has been undone then.
pub async fn run_in<W: Work>(app: &Arc<App>, ctx: &Ctx, operation: &Operation, work: W) -> Result<W> {
    run_recorded(&Task::new(app, ctx, operation), work).await
}

/// Does a work inside a request. It goes on to its end, or is undone, even if the caller stops waiting.
///
/// # Errors
/// What a step failed with; everything has been undone then.
pub async fn run<W: Work>(app: &Arc<App>, ctx: &Ctx, work: W) -> Result<W> {
    run_hidden(app, ctx, Options::default(), work).await
}

/// The same for a work on a thing that others work on, too, such as `("instances", "c1")`: what could not be undone of it is
/// given up when a later one succeeds.
///
/// # Errors
/// As [`run`].
pub async fn run_on<W: Work>(app: &Arc<App>, ctx: &Ctx, (noun, name): (&str, &str), work: W) -> Result<W> {
    run_hidden(app, ctx, Options::default().resource(noun, name), work).await
}

async fn run_hidden<W: Work>(app: &Arc<App>, ctx: &Ctx, options: Options, work: W) -> Result<W> {
    let task = Task::new(app, ctx, &Operation::hidden(options.project(&ctx.project)));
    let running = tokio::spawn(async move { run_recorded(&task, work).await });
    running
        .await
        .unwrap_or_else(|error| Err(Error::internal("The work died").because(error)))
}

/// A work with its place in the record.
struct Recorded<W> {
    id: String,
    work: W,
}

async fn run_recorded<W: Work>(task: &Task, work: W) -> Result<W> {
    let id = if task.operation.about().shown {
        task.operation.id().to_owned()
    } else {
        new_id()
    };
    let record = Record {
        id: id.clone(),
        work: W::KIND.into(),
        about: task.operation.about().clone(),
        boot: (work.keep() == Keep::Boot).then(|| boot_id().to_owned()),
        step: 0,
        steps: W::steps().iter().map(|step| step.name.to_owned()).collect(),
        state: encode(&work)?,
        created_at: task.app.clock.now(),
        outcome: None,
    };
    insert::<W>(&task.app, &record)
        .await
        .context("Failed recording the operation")?;
    proceed(task, Recorded { id, work }, 0).await
}

/// Records a work before its first step. One that goes on to its end, as what deletes does, may use the last room for that.
async fn insert<W: Work>(app: &App, record: &Record) -> Result<()> {
    let inserted = app.journal.insert(record).await;
    if inserted.is_ok() || W::ON_CRASH != OnCrash::Finish {
        return inserted;
    }
    let paths = app.paths.clone();
    match blocking(move || Ok(reserve::give_up(&paths))).await {
        Ok(true) => app.journal.insert(record).await,
        _ => inserted,
    }
}

/// Runs the steps from one on, then notes the end; undoes everything when something fails.
async fn proceed<W: Work>(task: &Task, mut recorded: Recorded<W>, from: usize) -> Result<W> {
    let (reached, result) = forward(task, &mut recorded, from).await;
    let result = match result {
        Ok(()) => {
            let outcome = task.operation.outcome_of(&Ok(()));
            task.app
                .journal
                .finish(&recorded.id, &outcome, recorded.work.keep())
                .await
                .context("Failed recording the end")
        }
        Err(Stopped::Failed(error)) => Err(error),
        Err(Stopped::Crashed) => return Err(Error::internal("Crashed on purpose")),
    };
    match result {
        Ok(()) => {
            forget_superseded(task).await;
            Ok(recorded.work)
        }
        Err(error) => Err(backward(task, &mut recorded, reached, error).await),
    }
}

/// Closes the records of earlier works on the same thing that could not be undone whole.
async fn forget_superseded(task: &Task) {
    for (id, outcome) in task.app.operations.stuck.superseded_by(task.operation.about()) {
        if let Err(error) = task.app.journal.finish(&id, &outcome, Keep::Disk).await {
            tracing::error!(
                id,
                err = error.text(),
                "Failed closing the record of an operation"
            );
        }
    }
}

enum Stopped {
    Failed(Error),
    Crashed,
}

/// Runs the steps from one on; says which one was reached last.
async fn forward<W: Work>(
    task: &Task,
    recorded: &mut Recorded<W>,
    from: usize,
) -> (usize, Result<(), Stopped>) {
    let steps = W::steps();
    for (index, step) in steps.iter().enumerate().skip(from) {
        if let Err(stopped) = one(task, recorded, index, step, index == from).await {
            return (index, Err(stopped));
        }
    }
    (steps.len().saturating_sub(1), Ok(()))
}

async fn one<W: Work>(
    task: &Task,
    recorded: &mut Recorded<W>,
    index: usize,
    step: &Step<W>,
    is_first: bool,
) -> Result<(), Stopped> {
    task.check_cancelled().map_err(Stopped::Failed)?;
    if step.recorded && !is_first {
        let state = encode(&recorded.work).map_err(Stopped::Failed)?;
        let keep = recorded.work.keep();
        let noted = task.app.journal.advance(&recorded.id, index, &state, keep).await;
        noted
            .context("Failed recording a step")
            .map_err(Stopped::Failed)?;
    }
    fault::<W>(task, step.name, When::Before)?;
    guarded(step.name, (step.run)(&mut recorded.work, task))
        .await
        .map_err(Stopped::Failed)?;
    fault::<W>(task, step.name, When::After)
}

fn fault<W: Work>(task: &Task, step: &str, when: When) -> Result<(), Stopped> {
    match task.app.faults.at(W::KIND, step, when) {
        Verdict::Go => Ok(()),
        Verdict::Fail(error) => Err(Stopped::Failed(error)),
        Verdict::Crash => Err(Stopped::Crashed),
    }
}

/// Undoes the steps from the last reached one back to the first, notes the failure, and gives it back. If an undo
/// fails the record stays open, so that the next daemon tries again, unless another work on the same thing succeeds before.
async fn backward<W: Work>(task: &Task, recorded: &mut Recorded<W>, reached: usize, error: Error) -> Error {
    let task = task.for_undo();
    let mut is_clean = true;
    for step in W::steps().iter().take(reached + 1).rev() {
        let Some(undo) = step.undo else { continue };
        if let Err(failure) = guarded(step.name, undo(&mut recorded.work, &task)).await {
            is_clean = false;
            tracing::error!(
                work = W::KIND,
                step = step.name,
                err = failure.text(),
                "Failed undoing a step"
            );
        }
    }
    let result = Err(error);
    let outcome = task.operation.outcome_of(&result);
    if !is_clean {
        let stuck = &task.app.operations.stuck;
        stuck.note(&recorded.id, task.operation.about(), outcome);
    } else if let Err(failure) = task
        .app
        .journal
        .finish(&recorded.id, &outcome, recorded.work.keep())
        .await
    {
        tracing::error!(
            work = W::KIND,
            err = failure.text(),
            "Failed recording the end of an operation"
        );
    }
    result.err().unwrap_or_else(|| Error::internal("Undone"))
}

/// Runs a step; a panic in it is a failure of the step.
async fn guarded(step: &'static str, future: BoxFuture<'_, Result<()>>) -> Result<()> {
    AssertUnwindSafe(future)
        .catch_unwind()
        .await
        .unwrap_or_else(|_| Err(Error::internal(format!("Step {step:?} panicked"))))
}

fn encode<W: Work>(work: &W) -> Result<serde_json::Value> {
    serde_json::to_value(work)
        .map_err(|error| Error::internal(format!("Failed encoding the state of {}", W::KIND)).because(error))
}

/// Finishes or undoes a work that an earlier daemon left half done.
pub(super) async fn resume<W: Work>(task: &Task, record: &Record) -> Result<()> {
    if record.boot.as_ref().is_some_and(|boot| boot != boot_id()) {
        let result = Err(Error::internal(
            "The host went down while the daemon worked on this",
        ));
        let outcome = task.operation.outcome_of(&result);
        task.app.journal.finish(&record.id, &outcome, Keep::Disk).await?;
        return result;
    }
    let work = W::deserialize(&record.state).map_err(|error| {
        Error::internal(format!("Failed decoding the state of {}", W::KIND)).because(error)
    })?;
    let mut recorded = Recorded {
        id: record.id.clone(),
        work,
    };
    match W::ON_CRASH {
        OnCrash::Finish => proceed(task, recorded, record.step).await.map(drop),
        OnCrash::Undo => {
            let steps = W::steps();
            let unrecorded = steps
                .iter()
                .skip(record.step + 1)
                .take_while(|step| !step.recorded)
                .count();
            let error = Error::internal("The daemon died while it worked on this; everything was undone");
            Err(backward(task, &mut recorded, record.step + unrecorded, error).await)
        }
    }
}
