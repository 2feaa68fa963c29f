//! What happens at the start of a daemon to the works that the last one left half done.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::future::BoxFuture;
use jiff::SignedDuration;

use super::journal::Record;
use super::steps::{Task, Work, resume};
use crate::app::App;
use crate::ctx::Ctx;
use crate::error::Result;

/// How long the outcome of an operation can be asked for, across restarts.
const KEPT: SignedDuration = SignedDuration::from_hours(24);

type Resume = for<'a> fn(&'a Task, &'a Record) -> BoxFuture<'a, Result<()>>;

/// All kinds of works that can be taken up again.
#[derive(Default)]
pub struct Works(BTreeMap<&'static str, Kind>);

struct Kind {
    resume: Resume,
    steps: Vec<&'static str>,
}

impl Works {
    /// Adds a kind. Each noun's `works` function adds its own.
    pub fn add<W: Work>(&mut self) {
        let kind = Kind {
            resume: |task, record| Box::pin(resume::<W>(task, record)),
            steps: W::steps().iter().map(|step| step.name).collect(),
        };
        self.0.insert(W::KIND, kind);
    }

    /// Every step of every kind as `kind:step`, for tests that let the daemon die at each.
    pub fn steps(&self) -> impl Iterator<Item = String> {
        self.0
            .iter()
            .flat_map(|(name, kind)| kind.steps.iter().map(move |step| format!("{name}:{step}")))
    }
}

/// Finishes or undoes everything that was left half done, the youngest first, and forgets old outcomes. Done before
/// anybody is served, so that nobody sees a thing half made. A work that can't be taken up is logged and left for the
/// next start.
///
/// # Errors
/// The journal can't be read.
pub async fn recover(app: &Arc<App>) -> Result<()> {
    for record in app.journal.unfinished().await?.into_iter().rev() {
        let Some(kind) = app.works.0.get(record.work.as_str()) else {
            tracing::error!(
                work = record.work,
                id = record.id,
                "Found a half done work of an unknown kind"
            );
            continue;
        };
        let operation = app.operations.revive(&record);
        let task = Task {
            app: Arc::clone(app),
            ctx: Ctx::daemon(&record.about.project),
            operation: operation.clone(),
        };
        let result = (kind.resume)(&task, &record).await;
        match &result {
            Ok(()) => tracing::info!(work = record.work, id = record.id, "Finished what was half done"),
            Err(error) => {
                tracing::info!(
                    work = record.work,
                    id = record.id,
                    err = error.text(),
                    "Undid what was half done"
                );
            }
        }
        app.operations.retire(&operation, &result);
    }
    forget_rows(app).await?;
    let before = app
        .clock
        .now()
        .saturating_sub(KEPT)
        .unwrap_or(jiff::Timestamp::UNIX_EPOCH);
    app.journal.expire(before).await
}

/// Forgets the rows that a daemon of the reference has left in the `operations` table of the cluster database.
async fn forget_rows(app: &App) -> Result<()> {
    let mut tx = app.cluster.read().await?;
    let left = lxd_db::cluster::operations::list(&mut tx, None).await?;
    drop(tx);
    if left
        .iter()
        .any(|operation| operation.node_id == app.cluster.node_id())
    {
        let mut tx = app.cluster.begin().await?;
        lxd_db::cluster::operations::delete_of_node(&mut tx, app.cluster.node_id()).await?;
        tx.commit().await?;
    }
    Ok(())
}
