//! Changing instances, and following their profiles.

use std::collections::HashMap;
use std::sync::{Arc, Weak};

use futures::future::BoxFuture;
use lxd_api::instances::InstancePut;
use lxd_db::cluster::instances::{self as rows, Content, Filter};
use lxd_db::cluster::profiles::Profile;
use lxd_db::cluster::{Tx, projects};
use lxd_instance::Key;
use lxd_model::ErrorKind;
use lxd_model::devices::{Device, Devices, property, root_disk};
use lxd_model::instances::{InstanceType, architecture};
use lxd_model::profiles::{check_root_disk, expand_config, expand_devices, validate_list};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::checks::{self, Candidate};
use super::record::{Record, profiles_of};
use super::start::tell;
use super::{backup_file, cards, sizes, snapshots, volatile};
use crate::app::App;
use crate::ctx::Ctx;
use crate::error::{Context as _, Error, Result};
use crate::etag;
use crate::events::Action;
use crate::operations::{self, Keep, Kind, OnCrash, Operation, Options, Step, Task, Work, Works};
use crate::profiles::{ProfileChange, ProfileUsers};
use crate::steps;

/// The kinds of works of this file.
pub(super) fn works(works: &mut Works) {
    works.add::<Update>();
}

/// Replaces what can be written of an instance, as an operation.
///
/// # Errors
/// Not found; `If-Match` does not match; a profile is not there. What is wrong with the rest the operation reports.
pub async fn update(
    app: &Arc<App>,
    ctx: &Ctx,
    name: &str,
    put: InstancePut,
    if_match: Option<&str>,
) -> Result<Operation> {
    ctx.require_project()?;
    let key = Key::new(&ctx.project, name);
    let mut tx = app.cluster.read().await?;
    let (record, known) = Record::load_known(&mut tx, &key.project, &key.name).await?;
    etag::check(if_match, &record.writable())?;
    if !put.restore.is_empty() {
        drop(tx);
        let wish = snapshots::Wish {
            snapshot: put.restore,
            stateful: put.stateful,
        };
        return snapshots::restore(app, ctx, name, wish).await;
    }
    require_profiles(&known, &put)?;
    drop(tx);
    let options = Options::task(Kind::InstanceUpdate).resource("instances", name);
    let (app, owned) = (Arc::clone(app), ctx.clone());
    let operations = Arc::clone(&app.operations);
    operations.spawn(ctx, options, move |operation| async move {
        let _guard = app.instances.lock(&key).await;
        change(&app, &owned, &key, put, Some(&operation)).await
    })
}

/// Changes some fields, keys and devices of an instance.
///
/// # Errors
/// As [`update`] and its operation.
pub async fn patch(
    app: &Arc<App>,
    ctx: &Ctx,
    name: &str,
    patch: Value,
    if_match: Option<&str>,
) -> Result<()> {
    ctx.require_project()?;
    let key = Key::new(&ctx.project, name);
    // Whoever changes the instance meanwhile, as a start does, must not find its changes undone by ours.
    let _guard = app.instances.lock(&key).await;
    let mut tx = app.cluster.read().await?;
    let (record, known) = Record::load_known(&mut tx, &key.project, &key.name).await?;
    let old = record.writable();
    etag::check(if_match, &old)?;
    if patch["restore"]
        .as_str()
        .is_some_and(|snapshot| !snapshot.is_empty())
    {
        return Err(Error::bad_request("Can't call PATCH in restore mode"));
    }
    let put = crate::patch::merge(&old, patch)?;
    require_profiles(&known, &put)?;
    drop(tx);
    change(app, ctx, &key, put, None).await.map_err(checks::refused)
}

fn require_profiles(known: &HashMap<String, Profile>, put: &InstancePut) -> Result<()> {
    match put.profiles.iter().all(|name| known.contains_key(name)) {
        true => Ok(()),
        false => Err(Error::not_found("Profile not found")),
    }
}

/// Changes an instance, whose lock the caller holds.
async fn change(
    app: &Arc<App>,
    ctx: &Ctx,
    key: &Key,
    put: InstancePut,
    operation: Option<&Operation>,
) -> Result<()> {
    let mut tx = app.cluster.read().await?;
    let (record, known) = Record::load_known(&mut tx, &key.project, &key.name).await?;
    let new = plan(app, &mut tx, &record, (put, &known)).await?;
    drop(tx);
    judge_by_driver(app, &record, &new).await?;
    let stays = |name: &str, card: &Device| {
        let now = new.devices.get(name);
        now.is_some_and(|now| cards::are_on_one_network(card, now))
    };
    let gone: Devices = record
        .devices
        .iter()
        .filter(|(name, device)| !stays(name, device))
        .map(|(name, device)| (name.clone(), device.clone()))
        .collect();
    let before = record.instance(app)?;
    let work = Update {
        id: record.row.id,
        project: key.project.clone(),
        name: key.name.clone(),
        changes_map: volatile::changes_map(&record.config, &new.config),
        old: record.writable(),
        new: new.writable(),
        seen: None,
    };
    match operation {
        Some(operation) => operations::run_in(app, ctx, operation, work).await?,
        None => operations::run_on(app, ctx, ("instances", &key.name), work).await?,
    };
    if let Err(error) = cards::forget(app, &before, &gone).await {
        tracing::warn!(instance = %key, %error, "A network could not forget a card");
    }
    tell(app, &Ctx::daemon(&key.project), key, Action::InstanceUpdated);
    Ok(())
}

/// The instance as it will be, after checking that it may be so.
async fn plan(
    app: &Arc<App>,
    tx: &mut Tx,
    old: &Record,
    (mut put, known): (InstancePut, &HashMap<String, Profile>),
) -> Result<Record> {
    let kind = InstanceType::from_id(old.row.kind.code())?;
    put.config.retain(|_, value| !value.is_empty());
    allowed_by_project(tx, old, &put, known).await?;
    validate_list(&put.profiles, |name| known.contains_key(name))?;
    super::checks::config(&put.config, kind).map_err(|invalid| invalid.within("Invalid config: "))?;
    volatile::check_edit(&old.row.config, &put.config)?;
    // An architecture that is no one leaves the present one.
    if let Ok(name) = architecture::id(&put.architecture).and_then(architecture::name) {
        put.architecture = name.to_owned();
    } else {
        put.architecture.clone_from(&old.row.architecture);
    }
    let mut row = old.row.clone();
    row.architecture = put.architecture;
    row.config = put.config;
    row.devices = put.devices;
    row.ephemeral = put.ephemeral;
    row.profiles = put.profiles;
    row.description = put.description;
    let mut new = Record::new(row, known);
    let (before, after) = (
        app.presets.applied(&old.devices),
        app.presets.applied(&new.devices),
    );
    volatile::forget_devices(&mut new.row.config, &before, &after);
    volatile::hardware_addresses(&mut new.row.config, &after);
    if volatile::changes_cloud_init(&old.config, &new.config) {
        volatile::new_cloud_init_id(&mut new.row.config);
    }
    let new = Record::new(new.row, known);
    judge(app, tx, old, &new).await?;
    Ok(new)
}

/// Refuses what the project forbids or has no room for, before anything else is looked at.
async fn allowed_by_project(
    tx: &mut Tx,
    old: &Record,
    put: &InstancePut,
    known: &HashMap<String, Profile>,
) -> Result<()> {
    let project = projects::get(tx, &old.row.project).await?;
    let own: Vec<&Profile> = put.profiles.iter().filter_map(|name| known.get(name)).collect();
    let candidate = Candidate {
        project: &old.row.project,
        name: &old.row.name,
        kind: InstanceType::from_id(old.row.kind.code())?,
        config: &expand_config(own.iter().map(|profile| &profile.config), &put.config),
        devices: &expand_devices(own.iter().map(|profile| &profile.devices), &put.devices),
    };
    let doing = "Failed checking if instance update allowed";
    checks::project_limits(tx, &project.config, candidate, Some(&old.row.name), doing).await
}

/// Refuses what an instance must not become.
async fn judge(app: &Arc<App>, tx: &mut Tx, old: &Record, new: &Record) -> Result<()> {
    let (before, after) = (root_disk(&old.devices), root_disk(&new.devices));
    if let (Ok((_, before)), Ok((_, after))) = (before, after) {
        let (before, after) = (property(before, "pool"), property(after, "pool"));
        if before != after {
            return Err(Error::bad_request(format!(
                "Cannot update root disk device pool name to {after:?}"
            )));
        }
    }
    let candidate = Candidate {
        project: &new.row.project,
        name: &new.row.name,
        kind: InstanceType::from_id(new.row.kind.code())?,
        config: &new.config,
        devices: &new.devices,
    };
    checks::changed(app, tx, candidate, &new.row.devices).await?;
    let changes = lxd_model::devices::changes(&old.devices, &new.devices);
    checks::sources(tx, candidate.project, &changes.added).await?;
    checks::names_on_networks(tx, candidate, &changes.added, "add").await?;
    checks::addresses_on_networks(tx, candidate, &changes.added, "add").await?;
    checks::addresses_on_networks(tx, candidate, &changes.updated, "add").await
}

/// Refuses what the driver can't run. It may run programs to find out, so no transaction waits for it.
async fn judge_by_driver(app: &App, old: &Record, new: &Record) -> Result<()> {
    let instance = new.instance(app)?;
    let differs = |key: &str| old.config.get(key) != new.config.get(key);
    let is_checked = differs("raw.lxc") || differs("raw.apparmor");
    if is_checked {
        app.instances.registry.check(&instance).await?;
    }
    app.instances
        .registry
        .check_values(&instance)
        .context("Initialize LXC")?;
    Ok(())
}

/// A change: of what runs, of the row, of the file in the volume.
#[derive(Serialize, Deserialize)]
pub(super) struct Update {
    /// Whose they are; another instance may have the name later.
    #[serde(default)]
    id: i64,
    project: String,
    name: String,
    old: InstancePut,
    new: InstancePut,
    changes_map: bool,
    /// The row as the first step has left it, and the profiles; a later daemon reads them again.
    #[serde(skip)]
    seen: Option<(rows::Instance, HashMap<String, Profile>)>,
}

impl Work for Update {
    const KIND: &'static str = "instances.update";
    const ON_CRASH: OnCrash = OnCrash::Undo;

    fn keep(&self) -> Keep {
        Keep::Boot
    }

    fn steps() -> &'static [Step<Self>] {
        steps![Self;
            "row": Self::store => Self::restore;
            unrecorded "processes": Self::apply => Self::apply_old;
            unrecorded "backup": Self::write_backup;
        ]
    }
}

impl Update {
    #[cfg(test)]
    pub(super) fn of(record: &Record, new: InstancePut) -> Self {
        Self {
            id: record.row.id,
            project: record.row.project.clone(),
            name: record.row.name.clone(),
            old: record.writable(),
            new,
            changes_map: false,
            seen: None,
        }
    }

    async fn store(&mut self, task: &Task) -> Result<()> {
        let mut tx = task.app.cluster.begin().await?;
        let row = rows::get(&mut tx, &self.project, &self.name).await?;
        let known = profiles_of(&mut tx, &self.project).await?;
        let mut new = self.new.clone();
        // What the server itself has noted meanwhile stays, such as a stop.
        keep_volatile(&mut new, &self.old, &row);
        if self.changes_map {
            let mut changed = row.clone();
            changed.config.clone_from(&new.config);
            changed.profiles.clone_from(&new.profiles);
            let expanded = Record::new(changed, &known).config;
            let host = task.app.instances.host_ids;
            let chosen = volatile::choose_map(&mut tx, Some(row.id), &expanded, &mut new.config, host);
            chosen.await.context("Failed to get ID map")?;
        }
        let new = content(new, row.expires_at);
        rows::change(&mut tx, &row, &new).await?;
        tx.commit().await?;
        self.seen = Some((row.with(new), known));
        Ok(())
    }

    /// The instance's row, if the name is still this instance's.
    async fn present(&self, tx: &mut Tx) -> Result<Option<rows::Instance>> {
        match rows::get(tx, &self.project, &self.name).await {
            Ok(row) => Ok(Some(row).filter(|row| self.id == 0 || row.id == self.id)),
            Err(lxd_db::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    async fn restore(&mut self, task: &Task) -> Result<()> {
        let mut tx = task.app.cluster.begin().await?;
        let Some(row) = self.present(&mut tx).await? else {
            return Ok(());
        };
        rows::change(&mut tx, &row, &content(self.old.clone(), row.expires_at)).await?;
        Ok(tx.commit().await?)
    }

    async fn apply(&mut self, task: &Task) -> Result<()> {
        let (old, new) = self.both(task).await?;
        sizes::follow(&task.app, &old, &new).await?;
        apply(&task.app, &new).await
    }

    async fn apply_old(&mut self, task: &Task) -> Result<()> {
        let mut tx = task.app.cluster.read().await?;
        if self.present(&mut tx).await?.is_none() {
            return Ok(());
        }
        drop(tx);
        let (old, new) = self.both(task).await?;
        sizes::follow(&task.app, &new, &old).await?;
        apply(&task.app, &old).await
    }

    /// The instance as it was and as it becomes.
    async fn both(&self, task: &Task) -> Result<(Record, Record)> {
        let (row, known) = match &self.seen {
            Some(seen) => seen.clone(),
            None => {
                let mut tx = task.app.cluster.read().await?;
                let (record, known) = Record::load_known(&mut tx, &self.project, &self.name).await?;
                (record.row, known)
            }
        };
        let as_of = |put: &InstancePut| {
            let mut row = row.clone();
            row.devices.clone_from(&put.devices);
            row.profiles.clone_from(&put.profiles);
            row
        };
        let mut old = as_of(&self.old);
        old.config.clone_from(&self.old.config);
        Ok((Record::new(old, &known), Record::new(as_of(&self.new), &known)))
    }

    async fn write_backup(&mut self, task: &Task) -> Result<()> {
        let mut tx = task.app.cluster.read().await?;
        let record = Record::load(&mut tx, &self.project, &self.name).await?;
        backup_file::write(&task.app, &mut tx, &record).await
    }
}

/// Tells what runs of an instance what it is now, and stores what that changes.
async fn apply(app: &App, record: &Record) -> Result<()> {
    let instance = record.instance(app)?;
    let volatile = app.instances.registry.update(instance).await?;
    if volatile.is_empty() {
        return Ok(());
    }
    let mut tx = app.cluster.begin().await?;
    rows::change_config(&mut tx, record.row.id, &volatile.into_iter().collect()).await?;
    Ok(tx.commit().await?)
}

/// Keeps volatile keys that changed in the database after the old state was read.
fn keep_volatile(new: &mut InstancePut, old: &InstancePut, row: &rows::Instance) {
    let keys = row.config.keys().chain(old.config.keys());
    let changed: Vec<String> = keys
        .filter(|key| key.starts_with("volatile.") && row.config.get(*key) != old.config.get(*key))
        .cloned()
        .collect();
    for key in changed {
        match row.config.get(&key) {
            Some(value) => drop(new.config.insert(key, value.clone())),
            None => drop(new.config.remove(&key)),
        }
    }
}

pub(super) fn content(put: InstancePut, expires_at: jiff::Timestamp) -> Content {
    Content {
        architecture: put.architecture,
        ephemeral: put.ephemeral,
        description: put.description,
        expires_at,
        config: put.config,
        devices: put.devices,
        profiles: put.profiles,
    }
}

/// The instances, as profiles see them.
pub(super) struct Followers(pub(super) Weak<App>);

impl ProfileUsers for Followers {
    fn check<'a>(&'a self, _ctx: &'a Ctx, change: &'a ProfileChange) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            let Some(app) = self.0.upgrade() else {
                return Ok(());
            };
            let mut tx = app.cluster.read().await?;
            for record in users(&mut tx, change).await? {
                let after = with_profile(&record, change);
                check_root_disk(&record.devices, &after.devices)
                    .map_err(|invalid| invalid.into_kind(ErrorKind::Internal))?;
            }
            Ok(())
        })
    }

    fn follow<'a>(
        &'a self,
        _ctx: &'a Ctx,
        change: &'a ProfileChange,
    ) -> BoxFuture<'a, Result<Vec<(String, String, Error)>>> {
        Box::pin(async move {
            let Some(app) = self.0.upgrade() else {
                return Ok(Vec::new());
            };
            let mut tx = app.cluster.read().await?;
            let users = users(&mut tx, change).await?;
            drop(tx);
            let mut failures = Vec::new();
            for record in users {
                let (project, name) = (record.row.project.clone(), record.row.name.clone());
                if let Err(error) = follow(&app, &record, change).await {
                    failures.push((project, name, error));
                }
            }
            Ok(failures)
        })
    }
}

/// The instances that have a profile, with what it is now.
async fn users(tx: &mut Tx, change: &ProfileChange) -> Result<Vec<Record>> {
    let all = Record::list(tx, Filter::default()).await?;
    let has = |record: &Record| {
        record
            .profiles
            .iter()
            .any(|profile| profile.project == change.project && profile.name == change.name)
    };
    Ok(all.into_iter().filter(has).collect())
}

/// The instance with the profile as it becomes.
fn with_profile(record: &Record, change: &ProfileChange) -> Record {
    replaced(record, change, &change.new)
}

fn replaced(record: &Record, change: &ProfileChange, by: &lxd_api::profiles::ProfilePut) -> Record {
    let mut profiles = record.profiles.clone();
    for profile in &mut profiles {
        if profile.project == change.project && profile.name == change.name {
            profile.config.clone_from(&by.config);
            profile.devices.clone_from(&by.devices);
        }
    }
    Record::expand(record.row.clone(), profiles)
}

/// Lets one instance follow a change of a profile that is stored already.
async fn follow(app: &Arc<App>, record: &Record, change: &ProfileChange) -> Result<()> {
    let _guard = app.instances.lock(&record.key()).await;
    let (before, after) = (
        replaced(record, change, &change.old),
        with_profile(record, change),
    );
    let mut own = record.row.config.clone();
    volatile::hardware_addresses(&mut own, &app.presets.applied(&after.devices));
    let mut tx = app.cluster.begin().await?;
    if volatile::changes_map(&before.config, &after.config) {
        let host = app.instances.host_ids;
        volatile::choose_map(&mut tx, Some(record.row.id), &after.config, &mut own, host).await?;
    }
    if volatile::changes_cloud_init(&before.config, &after.config) {
        volatile::new_cloud_init_id(&mut own);
    }
    if own == record.row.config {
        drop(tx);
    } else {
        let mut changes = own;
        changes.retain(|key, value| record.row.config.get(key) != Some(value));
        rows::change_config(&mut tx, record.row.id, &changes).await?;
        tx.commit().await?;
    }
    let mut tx = app.cluster.read().await?;
    let record = Record::load(&mut tx, &record.row.project, &record.row.name).await?;
    sizes::follow(app, &before, &after).await?;
    apply(app, &record).await?;
    backup_file::write(app, &mut tx, &record).await
}
