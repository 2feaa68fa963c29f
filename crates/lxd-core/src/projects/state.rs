//! What a project uses of its limits.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use lxd_api::profiles::ProfilePut;
use lxd_api::projects::{ProjectState, ProjectStateResource};
use lxd_db::cluster::projects::Feature;
use lxd_db::cluster::{Tx, instances, networks, profiles, projects};
use lxd_model::config::Config;
use lxd_model::instances::InstanceType;
use lxd_model::profiles::{expand_config, expand_devices};

use super::limits::{self, Member};
use super::require;
use super::restrictions::{self, Subject, Whose};
use crate::app::App;
use crate::ctx::Ctx;
use crate::error::{Context as _, Result};

/// Limits and use of a project's resources; a limit of -1 is none.
///
/// # Errors
/// Not found; the caller may not see it.
pub async fn state(app: &Arc<App>, ctx: &Ctx, name: &str) -> Result<ProjectState> {
    require(ctx, name)?;
    let mut tx = app.cluster.read().await?;
    let project = projects::get(&mut tx, name)
        .await
        .context("Fetch project database object")?;
    let members = members(&mut tx, name).await?;
    let home = projects::effective(&mut tx, name, Feature::Networks).await?;
    let networks = if home == name {
        networks::list(&mut tx, Some(name), app.cluster.node_id())
            .await?
            .len()
    } else {
        0
    };
    let mut resources = BTreeMap::new();
    let mut add = |resource: &str, usage: i64| {
        let limit = limits::shown_limit(&project.config, &format!("limits.{resource}"));
        resources.insert(resource.to_owned(), ProjectStateResource { limit, usage });
    };
    add("instances", limits::count(&members, None));
    add(
        "containers",
        limits::count(&members, Some(InstanceType::Container)),
    );
    add(
        "virtual-machines",
        limits::count(&members, Some(InstanceType::VirtualMachine)),
    );
    add("networks", i64::try_from(networks).unwrap_or(i64::MAX));
    for key in limits::SUMS {
        add(
            key.trim_start_matches("limits."),
            limits::shown_total(&members, key),
        );
    }
    Ok(ProjectState { resources })
}

/// Refuses limits below what is used.
pub(super) async fn check_limits(tx: &mut Tx, name: &str, old: &Config, new: &Config) -> Result<()> {
    let is_limit =
        |(key, value): (&String, &String)| key.starts_with("limits.") && old.get(key) != Some(value);
    if !new.iter().any(is_limit) {
        return Ok(());
    }
    limits::check_project(name, old, new, &members(tx, name).await?)
}

/// Refuses restrictions that instances or profiles of the project break.
pub(super) async fn check_restrictions(tx: &mut Tx, name: &str, old: &Config, new: &Config) -> Result<()> {
    let changed = |key: &&String| key.starts_with("restricted.") && old.get(*key) != new.get(*key);
    let mut keys = new.keys().chain(old.keys()).filter(changed);
    let Some(key) = keys.next().filter(|_| restrictions::is_restricted(new)) else {
        return Ok(());
    };
    let members = members(tx, name).await?;
    let profiles = match projects::effective(tx, name, Feature::Profiles).await? == name {
        true => profiles::list(tx, Some(name)).await?,
        false => Vec::new(),
    };
    let instances = members.iter().map(|member| Subject {
        whose: Whose::Container,
        name: &member.name,
        config: &member.config,
        devices: &member.devices,
    });
    let profiles = profiles.iter().map(|profile| Subject {
        whose: Whose::Profile,
        name: &profile.name,
        config: &profile.config,
        devices: &profile.devices,
    });
    instances
        .chain(profiles)
        .try_for_each(|subject| restrictions::check(name, new, subject))
        .with_context(|| format!("Conflict detected when changing {key:?} in project {name:?}"))
}

/// The instances of a project, expanded, in a constant number of queries.
///
/// # Errors
/// The database can't be read.
pub async fn members(tx: &mut Tx, project: &str) -> Result<Vec<Member>> {
    members_with(tx, project, None).await
}

/// The same with a profile of the project as it is to become.
///
/// # Errors
/// As [`members`].
pub async fn members_with(
    tx: &mut Tx,
    project: &str,
    changed: Option<(&str, &ProfilePut)>,
) -> Result<Vec<Member>> {
    let all = instances::list(
        tx,
        instances::Filter {
            project: Some(project),
            ..instances::Filter::default()
        },
    )
    .await?;
    if all.is_empty() {
        return Ok(Vec::new());
    }
    let home = projects::effective(tx, project, Feature::Profiles).await?;
    let mut profiles: HashMap<String, profiles::Profile> = profiles::list(tx, Some(&home))
        .await?
        .into_iter()
        .map(|profile| (profile.name.clone(), profile))
        .collect();
    if let Some((name, new)) = changed
        && let Some(profile) = profiles.get_mut(name)
    {
        profile.config.clone_from(&new.config);
        profile.devices.clone_from(&new.devices);
    }
    let expanded = all.into_iter().map(|instance| {
        let own: Vec<&profiles::Profile> = instance
            .profiles
            .iter()
            .filter_map(|name| profiles.get(name))
            .collect();
        Member {
            kind: InstanceType::from_id(instance.kind.code()).unwrap_or_default(),
            config: expand_config(own.iter().map(|profile| &profile.config), &instance.config),
            devices: expand_devices(own.iter().map(|profile| &profile.devices), &instance.devices),
            name: instance.name,
        }
    });
    Ok(expanded.collect())
}
