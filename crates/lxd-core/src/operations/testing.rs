//! The shared test of every work with steps: fail each step, repeat each undo, die at each step, and look whether the
//! world is clean.
//!
//! A noun's test says how to make the work and what clean means:
//!
//! ```ignore
//! testing::check(&app, &ctx, || Create { name: "c1".into() }, async || is_clean(&app).await).await;
//! ```
//!
//! `is_clean` fails (panics) when something is left over. The work must succeed when nothing fails; for works that end
//! in a lasting thing use [`check_with`], whose `remove` takes it away again.

use std::sync::Arc;

use super::faults::{Verdict, When};
use super::steps::{OnCrash, Task, Work, run};
use super::{Operation, Options, recover};
use crate::app::App;
use crate::ctx::Ctx;
use crate::error::{Error, Result};

/// Runs the whole test for a work that leaves nothing behind when it succeeds.
pub async fn check<W: Work>(app: &Arc<App>, ctx: &Ctx, make: impl Fn() -> W, is_clean: impl AsyncFn()) {
    check_with(app, ctx, make, async || (), is_clean).await;
}

/// Runs the whole test: each step fails in turn, before and after it ran; each undo is repeated; the daemon dies before
/// and after each step and the next one recovers; finally the work succeeds and `remove` takes its product away.
pub async fn check_with<W: Work>(
    app: &Arc<App>,
    ctx: &Ctx,
    make: impl Fn() -> W,
    remove: impl AsyncFn(),
    is_clean: impl AsyncFn(),
) {
    is_clean().await;
    every_step_fails(app, ctx, &make, &is_clean).await;
    every_undo_repeats(app, ctx, &make, &is_clean).await;
    death_at_every_step(app, ctx, &make, &remove, &is_clean).await;
    if let Err(error) = run(app, ctx, make()).await {
        panic!("{} failed without a fault: {}", W::KIND, error.text());
    }
    remove().await;
    is_clean().await;
}

/// Fails each step, before and after it ran: the work must fail with that error, and leave nothing.
pub async fn every_step_fails<W: Work>(
    app: &Arc<App>,
    ctx: &Ctx,
    make: &impl Fn() -> W,
    is_clean: &impl AsyncFn(),
) {
    for (step, when) in points::<W>() {
        app.faults.set(move |_, name, at| {
            if name == step && at == when {
                Verdict::Fail(Error::internal("on purpose"))
            } else {
                Verdict::Go
            }
        });
        let result = run(app, ctx, make()).await;
        app.faults.clear();
        match result {
            Ok(_) => panic!("{} succeeded although {step:?} failed", W::KIND),
            Err(error) => assert_eq!(error.text(), "on purpose", "{} {step:?} {when:?}", W::KIND),
        }
        is_clean().await;
        assert_no_records(app).await;
    }
}

/// Runs every undo before anything was done, and again: they must do no harm.
pub async fn every_undo_repeats<W: Work>(
    app: &Arc<App>,
    ctx: &Ctx,
    make: &impl Fn() -> W,
    is_clean: &impl AsyncFn(),
) {
    let task = Task {
        app: Arc::clone(app),
        ctx: ctx.clone(),
        operation: Operation::hidden(Options::default().project(&ctx.project)),
    };
    let mut work = make();
    for _ in 0..2 {
        for step in W::steps().iter().rev() {
            if let Some(undo) = step.undo
                && let Err(error) = undo(&mut work, &task).await
            {
                panic!(
                    "{} undo of {:?} with nothing to undo: {}",
                    W::KIND,
                    step.name,
                    error.text()
                );
            }
        }
        is_clean().await;
    }
}

/// Dies before and after each step, and recovers. What is undone leaves nothing; what is finished is there, and
/// `remove` takes it away.
pub async fn death_at_every_step<W: Work>(
    app: &Arc<App>,
    ctx: &Ctx,
    make: &impl Fn() -> W,
    remove: &impl AsyncFn(),
    is_clean: &impl AsyncFn(),
) {
    for (step, when) in points::<W>() {
        app.faults.set(move |_, name, at| {
            if name == step && at == when {
                Verdict::Crash
            } else {
                Verdict::Go
            }
        });
        let result = run(app, ctx, make()).await;
        app.faults.clear();
        assert!(result.is_err(), "{} outlived its death at {step:?}", W::KIND);
        if let Err(error) = recover(app).await {
            panic!("{} {step:?} {when:?}: recovery failed: {}", W::KIND, error.text());
        }
        assert_no_records(app).await;
        if W::ON_CRASH == OnCrash::Finish {
            remove().await;
        }
        is_clean().await;
    }
}

fn points<W: Work>() -> impl Iterator<Item = (&'static str, When)> {
    W::steps()
        .iter()
        .flat_map(|step| [(step.name, When::Before), (step.name, When::After)])
}

/// Fails when a record is still open: an undo has failed.
async fn assert_no_records(app: &App) {
    let open: Result<Vec<_>> = app.journal.unfinished().await;
    match open {
        Ok(open) => assert!(open.is_empty(), "half done: {open:?}"),
        Err(error) => panic!("the journal can't be read: {}", error.text()),
    }
}
