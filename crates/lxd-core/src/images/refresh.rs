//! Images that follow their sources: a newer one takes the place of the one that is here.

use std::sync::Arc;

use lxd_db::cluster::images as rows;
use lxd_db::cluster::images::Image as Row;
use lxd_model::ErrorKind;
use lxd_storage::{Pool, Watch};
use serde::{Deserialize, Serialize};

use super::fetch::{self, Fetch};
use super::remote::Wish;
use super::works::Delete;
use super::{by_prefix, find, prepare, url};
use crate::app::App;
use crate::ctx::Ctx;
use crate::error::{Error, Result};
use crate::events::{Action, Lifecycle};
use crate::operations::{self, Kind, OnCrash, Operation, Options, Step, Task, Work};
use crate::steps;

/// Looks whether the server that an image came from has a newer one, as an operation.
///
/// # Errors
/// Not found; the caller may not; the daemon is stopping. An image that did not come from a server is a failed
/// operation.
pub async fn refresh(app: &Arc<App>, ctx: &Ctx, fingerprint: &str) -> Result<Operation> {
    ctx.require_project()?;
    let mut tx = app.cluster.read().await?;
    let (project, row) = find(&mut tx, ctx, fingerprint).await?;
    drop(tx);
    let asked = fingerprint.to_owned();
    let (app, ctx) = (Arc::clone(app), ctx.in_project(project));
    let operations = Arc::clone(&app.operations);
    operations.spawn(
        &ctx.clone(),
        Options::task(Kind::ImageRefresh).may_cancel(),
        move |operation| async move {
            if row.content.source.is_none() {
                return Err(Error::bad_request(format!(
                    "Failed to update image {asked:?} in project {:?}: Image source not found",
                    ctx.project
                )));
            }
            let refreshed = follow(&app, &ctx, &operation, &row).await;
            if operation.cancel_token().is_cancelled() {
                return Err(fetch::cancelled());
            }
            operation.remove_metadata("download_progress");
            operation.set_metadata("refreshed", refreshed);
            Ok(())
        },
    )
}

/// Brings in the newer image if there is one, and lets it take the other's place; says whether that was done. What goes
/// wrong is logged: the image that is here is good as long as there is no better one.
pub(super) async fn follow(app: &Arc<App>, ctx: &Ctx, operation: &Operation, row: &Row) -> bool {
    let old = &row.content.fingerprint;
    match replace(app, ctx, operation, row).await {
        Ok(refreshed) => refreshed,
        Err(error) => {
            tracing::error!(
                err = error.text(),
                fingerprint = old,
                project = ctx.project,
                "Failed to update the image"
            );
            false
        }
    }
}

async fn replace(app: &Arc<App>, ctx: &Ctx, operation: &Operation, row: &Row) -> Result<bool> {
    let Some(source) = &row.content.source else {
        return Ok(false);
    };
    let fetch = Fetch {
        wish: Wish {
            server: source.server.clone(),
            protocol: source.protocol.into(),
            certificate: source.certificate.clone(),
            name: source.alias.clone(),
            kind: row.content.kind.as_str().to_owned(),
            ..Wish::default()
        },
        auto_update: true,
        cached: row.content.cached,
        public: row.content.public,
        profiles: Some(row.content.profiles.clone()),
        ..Fetch::default()
    };
    let new = fetch::run(app, ctx, operation, &fetch).await?;
    let (old, new) = (row.content.fingerprint.clone(), new.content.fingerprint);
    if old == new {
        return Ok(false);
    }
    for pool in app.pools.list() {
        if let Err(error) = unpack(app, &pool, (&old, &new), operation).await {
            // Instances will unpack it when they need it.
            tracing::warn!(
                pool = pool.name(),
                err = error.text(),
                "Failed unpacking the new image"
            );
        }
    }
    let work = Replace {
        project: ctx.project.clone(),
        new: new.clone(),
        delete: Delete::new(ctx.project.clone(), old),
    };
    operations::run(app, ctx, work).await?;
    let event = Lifecycle::new(Action::ImageRefreshed, url(&ctx.project, &new)).by(ctx);
    app.events.lifecycle(&ctx.project, &event);
    Ok(true)
}

/// Unpacks the new image where the old one is unpacked.
async fn unpack(app: &Arc<App>, pool: &Pool, (old, new): (&str, &str), operation: &Operation) -> Result<()> {
    if pool.has_image(old).await? {
        let watch = Watch::new(operation.cancel_token().clone(), None);
        drop(prepare(app, pool, new, watch).await?);
    }
    Ok(())
}

/// A newer image takes an older one's place: its aliases first, then all that is left of the other goes. Once begun it goes
/// on to its end.
#[derive(Serialize, Deserialize)]
pub(super) struct Replace {
    project: String,
    new: String,
    delete: Delete,
}

impl Replace {
    #[cfg(test)]
    pub(super) fn new(project: &str, old: &str, new: &str) -> Self {
        Self {
            project: project.to_owned(),
            new: new.to_owned(),
            delete: Delete::new(project.to_owned(), old.to_owned()),
        }
    }

    async fn take_over(&mut self, task: &Task) -> Result<()> {
        let mut tx = task.app.cluster.begin().await?;
        let old = match by_prefix(&mut tx, &self.project, self.delete.fingerprint()).await {
            Ok(old) => old,
            // It went before the daemon died.
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error),
        };
        let new = by_prefix(&mut tx, &self.project, &self.new).await?;
        rows::aliases::move_all(&mut tx, old.id, new.id).await?;
        if old.last_used_at > new.last_used_at {
            rows::set_last_used(&mut tx, &self.new, old.last_used_at).await?;
        }
        Ok(tx.commit().await?)
    }

    async fn empty_pools(&mut self, task: &Task) -> Result<()> {
        self.delete.empty_pools(task).await
    }

    async fn delete_files(&mut self, task: &Task) -> Result<()> {
        self.delete.delete_files(task).await
    }

    async fn delete_row(&mut self, task: &Task) -> Result<()> {
        self.delete.delete_row(task).await
    }
}

impl Work for Replace {
    const KIND: &'static str = "images.replace";
    const ON_CRASH: OnCrash = OnCrash::Finish;

    fn steps() -> &'static [Step<Self>] {
        steps![Self;
            "aliases": Self::take_over;
            "pools": Self::empty_pools;
            "files": Self::delete_files;
            "row": Self::delete_row;
        ]
    }
}
