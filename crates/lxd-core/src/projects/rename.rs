//! Renaming a project, as an operation.

use std::sync::Arc;

use lxd_db::cluster::profiles;
use lxd_db::cluster::projects as rows;
use lxd_model::names;

use super::{is_empty, url, users};
use crate::app::App;
use crate::ctx::{Ctx, DEFAULT_PROJECT};
use crate::error::{Context as _, Error, Result};
use crate::events::{Action, Lifecycle};
use crate::operations::{Kind, Operation, Options};
use crate::profiles::DEFAULT_PROFILE;

/// Renames a project that holds nothing. The operation fails if it is not there, holds something, or the new name is bad
/// or taken.
///
/// # Errors
/// Only admins may; the default project.
pub fn rename(app: &Arc<App>, ctx: &Ctx, name: &str, new_name: &str) -> Result<Operation> {
    ctx.require_admin()?;
    if name == DEFAULT_PROJECT {
        return Err(Error::forbidden("The 'default' project cannot be renamed"));
    }
    let (owned, caller) = (Arc::clone(app), ctx.clone());
    let (name, new_name) = (name.to_owned(), new_name.to_owned());
    let options = Options::task(Kind::ProjectRename).project("");
    app.operations.spawn(ctx, options, |_| async move {
        work(&owned, &caller, &name, &new_name).await
    })
}

async fn work(app: &App, ctx: &Ctx, name: &str, new_name: &str) -> Result<()> {
    let mut tx = app.cluster.begin().await?;
    if rows::names(&mut tx).await?.iter().any(|taken| taken == new_name) {
        return Err(Error::conflict(format!(
            "A project named {new_name:?} already exists"
        )));
    }
    rows::id(&mut tx, name)
        .await
        .with_context(|| format!("Failed loading project {name:?}"))?;
    if !is_empty(&users(&mut tx, name).await?, name) {
        return Err(Error::bad_request("Only empty projects can be renamed"));
    }
    names::project(new_name)?;
    rows::rename(&mut tx, name, new_name).await?;
    follow_default_profile(&mut tx, name, new_name).await?;
    tx.commit().await?;
    let event = Lifecycle::new(Action::ProjectRenamed, url(new_name))
        .with("old_name", name)
        .by(ctx);
    app.events.lifecycle(new_name, &event);
    Ok(())
}

/// The default profile's description names the project.
async fn follow_default_profile(tx: &mut lxd_db::cluster::Tx, old: &str, new: &str) -> Result<()> {
    let all = profiles::list(tx, Some(new)).await?;
    let Some(profile) = all.into_iter().find(|profile| profile.name == DEFAULT_PROFILE) else {
        return Ok(());
    };
    if profile.description != format!("Default LXD profile for project {old}") {
        return Ok(());
    }
    let content = profiles::Content {
        description: format!("Default LXD profile for project {new}"),
        config: profile.config,
        devices: profile.devices,
    };
    Ok(profiles::update(tx, profile.id, &content).await?)
}
