//! Profiles: configuration and devices that instances share.

#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use futures::future::BoxFuture;
use lxd_api::profiles::{Profile, ProfilePut, ProfilesPost};
use lxd_db::Noun;
use lxd_db::cluster::profiles as rows;
use lxd_db::cluster::profiles::{Content, Profile as Row};
use lxd_db::cluster::projects::{self, Feature};
use lxd_db::cluster::{Tx, instances, networks, used_by};
use lxd_model::networks::NetworkType;
use lxd_model::{ErrorKind, config, devices, names};
use serde_json::Value;

use crate::app::App;
use crate::ctx::Ctx;
use crate::error::{Context as _, Error, Result};
use crate::etag::{self, Tagged};
use crate::events::{Action, Lifecycle};
use crate::projects::members_with;
use crate::projects::restrictions::{self, Subject, Whose};

/// The profile that every project with profiles has.
pub const DEFAULT_PROFILE: &str = "default";

/// A profile's change, as instances that use it see it.
#[derive(Debug, Clone, PartialEq)]
pub struct ProfileChange {
    /// The project that owns the profile.
    pub project: String,
    /// The profile.
    pub name: String,
    /// What it was.
    pub old: ProfilePut,
    /// What it becomes.
    pub new: ProfilePut,
}

/// Those who use profiles, as profiles see them: the instances.
pub trait ProfileUsers: Send + Sync {
    /// Refuses a change that an instance could not follow, before anything is stored.
    fn check<'a>(&'a self, ctx: &'a Ctx, change: &'a ProfileChange) -> BoxFuture<'a, Result<()>>;

    /// Lets the instances follow a change that has been stored; gives those that could not, as project, name and why.
    fn follow<'a>(
        &'a self,
        ctx: &'a Ctx,
        change: &'a ProfileChange,
    ) -> BoxFuture<'a, Result<Vec<(String, String, Error)>>>;
}

/// The URL of a profile of a project.
pub fn url(project: &str, name: &str) -> String {
    crate::urls::object(project, &["profiles", name])
}

/// The project whose profiles a project uses: its own, or the default project's.
///
/// # Errors
/// There is no such project.
pub async fn project_of(tx: &mut Tx, project: &str) -> Result<String> {
    let home = projects::effective(tx, project, Feature::Profiles).await;
    home.with_context(|| format!("Failed loading project {project:?}"))
}

/// The URLs of the project's profiles, by name.
///
/// # Errors
/// The caller may not see the project; there is none.
pub async fn urls(app: &Arc<App>, ctx: &Ctx) -> Result<Vec<String>> {
    ctx.require_project()?;
    let mut tx = app.cluster.read().await?;
    let project = project_of(&mut tx, &ctx.project).await?;
    let all = rows::list(&mut tx, Some(&project)).await?;
    Ok(all.iter().map(|profile| url(&project, &profile.name)).collect())
}

/// The project's profiles, by name.
///
/// # Errors
/// As [`urls`].
pub async fn list(app: &Arc<App>, ctx: &Ctx) -> Result<Vec<Profile>> {
    ctx.require_project()?;
    let mut tx = app.cluster.read().await?;
    let project = project_of(&mut tx, &ctx.project).await?;
    let all = rows::list(&mut tx, Some(&project)).await?;
    let mut users = users_of_all(&mut tx, &project).await?;
    Ok(all
        .into_iter()
        .map(|row| {
            let used = users.remove(&row.name);
            wire(row, used.unwrap_or_default())
        })
        .collect())
}

/// One profile.
///
/// # Errors
/// Not found; the caller may not see the project.
pub async fn get(app: &Arc<App>, ctx: &Ctx, name: &str) -> Result<Tagged<Profile>> {
    ctx.require_project()?;
    let mut tx = app.cluster.read().await?;
    let project = project_of(&mut tx, &ctx.project).await?;
    let row = rows::get(&mut tx, &project, name)
        .await
        .context("Fetch profile")?;
    let used = users(&mut tx, row.id).await?;
    let profile = wire(row, used);
    let writable = ProfilePut::from(&profile);
    Ok(Tagged::new(profile, &writable))
}

/// Makes a profile; gives its URL.
///
/// # Errors
/// A bad name, key, value or device; the name is taken; the caller may not.
pub async fn create(app: &Arc<App>, ctx: &Ctx, post: ProfilesPost) -> Result<String> {
    ctx.require_project()?;
    let mut tx = app.cluster.begin().await?;
    let project = writable_project(&mut tx, ctx).await?;
    names::profile(&post.name)?;
    let put = ProfilePut {
        config: post.config,
        description: post.description,
        devices: post.devices,
    };
    validate(&mut tx, &put).await?;
    let inserted = rows::create(&mut tx, &project, &post.name, &content(put)).await;
    inserted.map_err(|error| {
        // The reference answers 500 for a name that is taken.
        Error::refused(format!("Error inserting {:?} into database", post.name)).because(error)
    })?;
    tx.commit().await?;
    tell(
        app,
        ctx,
        &project,
        Lifecycle::new(Action::ProfileCreated, url(&project, &post.name)),
    );
    Ok(url(&project, &post.name))
}

/// Replaces a profile; the instances that use it follow.
///
/// # Errors
/// Not found; `If-Match` does not match; a bad key, value or device; an instance can't follow.
pub async fn update(
    app: &Arc<App>,
    ctx: &Ctx,
    name: &str,
    put: ProfilePut,
    if_match: Option<&str>,
) -> Result<()> {
    change(app, ctx, name, if_match, |_| Ok(put)).await
}

/// Changes some fields, keys and devices of a profile.
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
    new: impl FnOnce(&ProfilePut) -> Result<ProfilePut>,
) -> Result<()> {
    ctx.require_project()?;
    let mut tx = app.cluster.read().await?;
    let project = writable_project(&mut tx, ctx).await?;
    let found = rows::get(&mut tx, &project, name).await;
    let found = found.with_context(|| format!("Failed to retrieve profile {name:?}"))?;
    let old = writable(&found);
    etag::check(if_match, &old)?;
    let new = new(&old)?;
    check_restrictions(&mut tx, &project, (name, &new))
        .await
        .context("Failed checking if profile update allowed")?;
    // The reference answers a change that breaks a rule with its status for internal errors.
    validate(&mut tx, &new)
        .await
        .map_err(|error| match error.kind() {
            ErrorKind::BadRequest => error.with_kind(ErrorKind::Internal),
            _ => error,
        })?;
    drop(tx);
    let change = ProfileChange {
        project: project.clone(),
        name: name.into(),
        old: old.clone(),
        new: new.clone(),
    };
    let users = app.profile_users.read().clone();
    if let Some(users) = &users {
        users.check(ctx, &change).await?;
    }
    let mut tx = app.cluster.begin().await?;
    let present = rows::get(&mut tx, &project, name).await?;
    if writable(&present) != old {
        return Err(Error::conflict(format!(
            "Profile {name:?} was changed by somebody else at the same time"
        )));
    }
    rows::update(&mut tx, present.id, &content(new)).await?;
    tx.commit().await?;
    tell(
        app,
        ctx,
        &project,
        Lifecycle::new(Action::ProfileUpdated, url(&project, name)),
    );
    match users {
        Some(users) => report(users.follow(ctx, &change).await?),
        None => Ok(()),
    }
}

/// Refuses what the project forbids: to the instances that have the profile, which are named then, and to the profile.
async fn check_restrictions(tx: &mut Tx, project: &str, (name, new): (&str, &ProfilePut)) -> Result<()> {
    let rules = projects::get(tx, project).await?.config;
    if !restrictions::is_restricted(&rules) {
        return Ok(());
    }
    for member in members_with(tx, project, Some((name, new))).await? {
        let subject = Subject {
            whose: Whose::Container,
            name: &member.name,
            config: &member.config,
            devices: &member.devices,
        };
        restrictions::check(project, &rules, subject)?;
    }
    let subject = Subject {
        whose: Whose::Profile,
        name,
        config: &new.config,
        devices: &new.devices,
    };
    restrictions::check(project, &rules, subject)
}

/// Names the instances that could not follow.
fn report(failures: Vec<(String, String, Error)>) -> Result<()> {
    if failures.is_empty() {
        return Ok(());
    }
    let mut text = String::from("The following instances failed to update (profile change still saved):\n");
    for (project, instance, error) in failures {
        text.push_str(&format!(
            " - Project: {project}, Instance: {instance}: {}\n",
            error.text()
        ));
    }
    Err(Error::internal(text))
}

/// Renames a profile; gives its new URL.
///
/// # Errors
/// The default profile; a bad name; the name is taken; not found.
pub async fn rename(app: &Arc<App>, ctx: &Ctx, name: &str, new_name: &str) -> Result<String> {
    ctx.require_project()?;
    if name == DEFAULT_PROFILE {
        return Err(Error::forbidden("The \"default\" profile cannot be renamed"));
    }
    names::profile(new_name)?;
    let mut tx = app.cluster.begin().await?;
    let project = writable_project(&mut tx, ctx).await?;
    // The reference says that a name is taken also of a profile that is not there.
    if rows::id(&mut tx, &project, new_name).await.is_ok() {
        return Err(Error::refused(format!("Name {new_name:?} already in use")));
    }
    let id = rows::id(&mut tx, &project, name).await?;
    rows::rename(&mut tx, id, new_name)
        .await
        .map_err(|error| match error.kind() {
            ErrorKind::Conflict => Error::refused(format!("Name {new_name:?} already in use")),
            _ => error.into(),
        })?;
    tx.commit().await?;
    let event = Lifecycle::new(Action::ProfileRenamed, url(&project, new_name)).with("old_name", name);
    tell(app, ctx, &project, event);
    Ok(url(&project, new_name))
}

/// Deletes a profile that no instance uses.
///
/// # Errors
/// The default profile; it is in use; not found.
pub async fn delete(app: &Arc<App>, ctx: &Ctx, name: &str) -> Result<()> {
    ctx.require_project()?;
    if name == DEFAULT_PROFILE {
        return Err(Error::forbidden("The \"default\" profile cannot be deleted"));
    }
    let mut tx = app.cluster.begin().await?;
    let project = writable_project(&mut tx, ctx).await?;
    let id = rows::id(&mut tx, &project, name).await?;
    if !used_by::profile(&mut tx, id).await?.is_empty() {
        return Err(Error::refused("Profile is currently in use"));
    }
    rows::delete(&mut tx, id).await?;
    tx.commit().await?;
    tell(
        app,
        ctx,
        &project,
        Lifecycle::new(Action::ProfileDeleted, url(&project, name)),
    );
    Ok(())
}

/// The project that owns the profiles, which the caller must be allowed to see: a project without profiles of its own
/// uses, but may not change, those of the default project.
async fn writable_project(tx: &mut Tx, ctx: &Ctx) -> Result<String> {
    let project = project_of(tx, &ctx.project).await?;
    if ctx.may_see_project(&project) {
        Ok(project)
    } else {
        Err(Error::forbidden("not authorized"))
    }
}

/// Checks configuration and devices.
pub(crate) async fn validate(tx: &mut Tx, put: &ProfilePut) -> Result<()> {
    config::instance::validate_profile(&put.config)?;
    crate::instances::allowed_here(&put.config)?;
    let networks = ManagedNetworks::load(tx).await?;
    devices::validate(&put.devices, devices::Context::Profile, &networks)?;
    Ok(())
}

/// The managed networks, as far as devices depend on them.
#[derive(Default)]
pub(crate) struct ManagedNetworks(HashMap<String, (String, config::Config)>);

impl ManagedNetworks {
    /// Those of all projects.
    pub(crate) async fn load(tx: &mut Tx) -> Result<Self> {
        let all = networks::list(tx, None, 0).await?.into_iter();
        let entry = |network: networks::Network| {
            let kind = NetworkType::from_id(network.kind.code()).map_or("", NetworkType::nictype);
            (network.name, (kind.to_owned(), network.config))
        };
        Ok(Self(all.map(entry).collect()))
    }

    /// Whether there is a network of this name that cards are ports of.
    pub(crate) fn has_ports(&self, name: &str) -> bool {
        self.0
            .get(name)
            .is_some_and(|(kind, _)| kind == NetworkType::Bridge.nictype())
    }
}

impl devices::Surroundings for ManagedNetworks {
    fn nictype(&self, network: &str) -> Result<String, lxd_model::Invalid> {
        let found = self.0.get(network).map(|(kind, _)| kind.clone());
        if found.as_ref().is_some_and(String::is_empty) {
            let text = format!("Unrecognised NIC network type for network {network:?}");
            return Err(lxd_model::Invalid::new(text));
        }
        found.ok_or_else(|| {
            let text = format!(
                "Failed to load network {network:?} for project \"default\": {} not found",
                Noun::Network
            );
            lxd_model::Invalid::of_kind(ErrorKind::NotFound, text)
        })
    }

    fn config(&self, network: &str) -> Option<&config::Config> {
        self.0.get(network).map(|(_, config)| config)
    }

    fn device_folder(&self) -> Cow<'_, str> {
        let folder = std::env::var("LXD_DEVMONITOR_DIR");
        let folder = folder.ok().filter(|folder| !folder.is_empty());
        folder.map_or(Cow::Borrowed("/dev"), Cow::Owned)
    }
}

/// URLs of the instances that use a profile.
async fn users(tx: &mut Tx, id: i64) -> Result<Vec<String>> {
    Ok(used_by::profile(tx, id)
        .await?
        .iter()
        .map(crate::urls::user)
        .collect())
}

/// URLs of the instances that use each profile of a project, in a constant number of queries.
async fn users_of_all(tx: &mut Tx, project: &str) -> Result<BTreeMap<String, Vec<String>>> {
    let homes = projects::effective_of_all(tx).await?;
    let mut users: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for instance in instances::list(tx, instances::Filter::default()).await? {
        if homes
            .get(&instance.project)
            .is_some_and(|home| home.profiles == project)
        {
            let url = crate::urls::object(&instance.project, &["instances", &instance.name]);
            for profile in instance.profiles {
                users.entry(profile).or_default().push(url.clone());
            }
        }
    }
    Ok(users)
}

fn tell(app: &App, ctx: &Ctx, project: &str, event: Lifecycle) {
    app.events.lifecycle(project, &event.by(ctx));
}

fn content(put: ProfilePut) -> Content {
    Content {
        description: put.description,
        config: put.config,
        devices: put.devices,
    }
}

fn writable(row: &Row) -> ProfilePut {
    ProfilePut {
        config: row.config.clone(),
        description: row.description.clone(),
        devices: row.devices.clone(),
    }
}

fn wire(row: Row, used_by: Vec<String>) -> Profile {
    Profile {
        used_by,
        config: row.config,
        description: row.description,
        devices: row.devices,
        name: row.name,
    }
}
