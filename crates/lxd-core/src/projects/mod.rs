//! Projects: names of their own for instances, and as configured for images, profiles, volumes and networks.

pub mod limits;
mod rename;
pub mod restrictions;
#[cfg(test)]
mod restrictions_tests;
mod state;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use lxd_api::projects::{Project, ProjectPut, ProjectsPost};
use lxd_db::cluster::profiles::Content;
use lxd_db::cluster::projects as rows;
use lxd_db::cluster::projects::Project as Row;
use lxd_db::cluster::{Tx, profiles as profile_rows, used_by};
use lxd_model::config::{self, Config, is_true};
use lxd_model::names;
use lxd_model::projects::{Feature, with_default_features};
use serde_json::Value;

pub use rename::rename;
pub use state::{members, members_with, state};

use crate::app::App;
use crate::ctx::{Ctx, DEFAULT_PROJECT};
use crate::error::{Context as _, Error, Result};
use crate::etag::{self, Tagged};
use crate::events::{Action, Lifecycle};
use crate::profiles::DEFAULT_PROFILE;

/// The features in the order in which they are checked.
const FEATURES: [Feature; 4] = [
    Feature::Images,
    Feature::Networks,
    Feature::Profiles,
    Feature::StorageVolumes,
];

/// The URL of a project.
pub fn url(name: &str) -> String {
    crate::urls::plain(&["projects", name])
}

/// The projects that the caller may see, by name.
///
/// # Errors
/// The caller is not trusted; the database can't be read.
pub async fn list(app: &Arc<App>, ctx: &Ctx) -> Result<Vec<Project>> {
    ctx.require_trusted()?;
    let mut tx = app.cluster.read().await?;
    let rows = rows::list(&mut tx).await?;
    let mut projects = Vec::new();
    for row in rows.into_iter().filter(|row| ctx.may_see_project(&row.name)) {
        let used = users(&mut tx, &row.name).await?;
        projects.push(wire(row, used));
    }
    Ok(projects)
}

/// The URLs of the projects that the caller may see, by name.
///
/// # Errors
/// As [`list`].
pub async fn urls(app: &Arc<App>, ctx: &Ctx) -> Result<Vec<String>> {
    ctx.require_trusted()?;
    let mut tx = app.cluster.read().await?;
    let names = rows::names(&mut tx).await?;
    Ok(names
        .iter()
        .filter(|name| ctx.may_see_project(name))
        .map(|name| url(name))
        .collect())
}

/// One project.
///
/// # Errors
/// Not found; the caller may not see it.
pub async fn get(app: &Arc<App>, ctx: &Ctx, name: &str) -> Result<Tagged<Project>> {
    require(ctx, name)?;
    let mut tx = app.cluster.read().await?;
    let row = rows::get(&mut tx, name).await?;
    let used = users(&mut tx, name).await?;
    let project = wire(row, used);
    let writable = ProjectPut::from(&project);
    Ok(Tagged::new(project, &writable))
}

/// Makes a project, with a default profile if it has profiles of its own; gives its URL.
///
/// # Errors
/// Only admins may; a bad name, key or value; the name is taken.
pub async fn create(app: &Arc<App>, ctx: &Ctx, post: ProjectsPost) -> Result<String> {
    ctx.require_admin()?;
    names::project(&post.name)?;
    let name = &post.name;
    config::project::validate(&post.config)?;
    let config = with_default_features(without_empty(post.config));
    needs_profiles(&config)?;
    let mut tx = app.cluster.begin().await?;
    let made = rows::create(&mut tx, name, &post.description, &config).await;
    made.context("Failed adding database record")
        .with_context(|| format!("Failed creating project {name:?}"))?;
    if has(&config, Feature::Profiles) {
        add_default_profile(&mut tx, name).await?;
    }
    tx.commit().await?;
    app.events
        .lifecycle(name, &Lifecycle::new(Action::ProjectCreated, url(name)).by(ctx));
    Ok(url(name))
}

/// Replaces description and configuration.
///
/// # Errors
/// Only admins may; not found; `If-Match` does not match; a bad key or value; a feature of a project that holds things
/// would change; a limit is below what is used.
pub async fn update(
    app: &Arc<App>,
    ctx: &Ctx,
    name: &str,
    put: ProjectPut,
    if_match: Option<&str>,
) -> Result<()> {
    change(app, ctx, name, if_match, |_| Ok(put)).await
}

/// Changes the description and some keys.
///
/// # Errors
/// As [`update`].
pub async fn patch(
    app: &Arc<App>,
    ctx: &Ctx,
    name: &str,
    patch: Value,
    if_match: Option<&str>,
) -> Result<()> {
    change(app, ctx, name, if_match, |old| crate::patch::merge(old, patch)).await
}

async fn change(
    app: &Arc<App>,
    ctx: &Ctx,
    name: &str,
    if_match: Option<&str>,
    new: impl FnOnce(&ProjectPut) -> Result<ProjectPut>,
) -> Result<()> {
    ctx.require_admin()?;
    let mut tx = app.cluster.begin().await?;
    let row = rows::get(&mut tx, name).await?;
    let old = ProjectPut {
        config: row.config,
        description: row.description,
    };
    etag::check(if_match, &old)?;
    let mut new = new(&old)?;
    // A key that is not known is none to be removed, either.
    config::project::validate(&new.config)?;
    new.config = without_empty(new.config);
    follow_features(&mut tx, name, &old.config, &new.config).await?;
    needs_profiles(&new.config)?;
    state::check_limits(&mut tx, name, &old.config, &new.config).await?;
    state::check_restrictions(&mut tx, name, &old.config, &new.config).await?;
    rows::update(&mut tx, name, &new.description, &new.config).await?;
    tx.commit().await?;
    app.events
        .lifecycle(name, &Lifecycle::new(Action::ProjectUpdated, url(name)).by(ctx));
    Ok(())
}

/// Refuses to restrict a project whose profiles are another's: they could hold anything.
fn needs_profiles(config: &Config) -> Result<()> {
    if restrictions::is_restricted(config) && !has(config, Feature::Profiles) {
        return Err(Error::bad_request(
            "Projects without their own profiles cannot be restricted",
        ));
    }
    Ok(())
}

/// Refuses changes of features where they matter, and makes or deletes the default profile.
async fn follow_features(tx: &mut Tx, name: &str, old: &Config, new: &Config) -> Result<()> {
    let changed: Vec<Feature> = FEATURES
        .into_iter()
        .filter(|f| has(old, *f) != has(new, *f))
        .collect();
    let Some(first) = changed.first() else {
        return Ok(());
    };
    if name == DEFAULT_PROJECT {
        return Err(Error::bad_request(
            "You can't change the features of the default project",
        ));
    }
    if !is_empty(&users(tx, name).await?, name) {
        let turn = if has(new, *first) { "enabled" } else { "disabled" };
        let key = first.key();
        return Err(Error::bad_request(format!(
            "Project feature {key:?} cannot be {turn} on non-empty projects"
        )));
    }
    if changed.contains(&Feature::Profiles) {
        if has(new, Feature::Profiles) {
            add_default_profile(tx, name).await?;
        } else {
            let id = profile_rows::id(tx, name, DEFAULT_PROFILE)
                .await
                .context("Delete project default profile")?;
            profile_rows::delete(tx, id).await?;
        }
    }
    Ok(())
}

/// Deletes a project that holds nothing.
///
/// # Errors
/// Only admins may; the default project; not found; it holds something.
pub async fn delete(app: &Arc<App>, ctx: &Ctx, name: &str) -> Result<()> {
    ctx.require_admin()?;
    if name == DEFAULT_PROJECT {
        return Err(Error::forbidden("The 'default' project cannot be deleted"));
    }
    let mut tx = app.cluster.begin().await?;
    rows::id(&mut tx, name)
        .await
        .with_context(|| format!("Fetch project {name:?}"))?;
    if !is_empty(&users(&mut tx, name).await?, name) {
        return Err(Error::refused("Only empty projects can be removed"));
    }
    rows::delete(&mut tx, name).await?;
    tx.commit().await?;
    app.events
        .lifecycle(name, &Lifecycle::new(Action::ProjectDeleted, url(name)).by(ctx));
    Ok(())
}

/// Refuses projects that are not there, for requests with `?project=`.
///
/// # Errors
/// Not found, in the words of the reference's check of `?project=`.
pub async fn require_known(tx: &mut Tx, name: &str) -> Result<()> {
    rows::id(tx, name)
        .await
        .with_context(|| format!("Failed loading project {name:?}"))?;
    Ok(())
}

async fn add_default_profile(tx: &mut Tx, project: &str) -> Result<()> {
    let content = Content {
        description: format!("Default LXD profile for project {project}"),
        ..Content::default()
    };
    profile_rows::create(tx, project, DEFAULT_PROFILE, &content)
        .await
        .context("Add project default profile")?;
    Ok(())
}

/// Whether nothing but the default profile is in a project.
fn is_empty(used_by: &[String], project: &str) -> bool {
    let default = crate::profiles::url(project, DEFAULT_PROFILE);
    used_by.iter().all(|url| *url == default)
}

fn has(config: &Config, feature: Feature) -> bool {
    config.get(feature.key()).is_some_and(|value| is_true(value))
}

/// A key that is set to nothing is not set.
fn without_empty(config: Config) -> Config {
    config
        .into_iter()
        .filter(|(_, value)| !value.is_empty())
        .collect()
}

fn require(ctx: &Ctx, name: &str) -> Result<()> {
    if ctx.may_see_project(name) {
        Ok(())
    } else {
        Err(Error::forbidden("not authorized"))
    }
}

/// URLs of what is in a project.
async fn users(tx: &mut Tx, name: &str) -> Result<Vec<String>> {
    Ok(used_by::project(tx, name)
        .await?
        .iter()
        .map(crate::urls::user)
        .collect())
}

fn wire(row: Row, used_by: Vec<String>) -> Project {
    Project {
        config: row.config,
        description: row.description,
        name: row.name,
        used_by,
    }
}
