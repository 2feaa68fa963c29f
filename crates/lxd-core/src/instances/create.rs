//! Making instances: of nothing, of an image, of another instance.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use lxd_api::instances::InstancesPost;
use lxd_db::cluster::instances::{self as rows, Content, NewInstance};
use lxd_db::cluster::storage_volumes::{self, Key as VolumeKey};
use lxd_db::cluster::{ContentType, InstanceType as RowType, Tx, VolumeType, images, projects};
use lxd_instance::Key;
use lxd_model::config::Config;
use lxd_model::devices::{Devices, property, root_disk};
use lxd_model::instances::{InstanceType, architecture, naming};
use lxd_model::names;
use lxd_model::profiles::{expand_config, expand_devices, validate_list};
use lxd_storage::{Pool, Volume, VolumeSource, Watch};
use serde::{Deserialize, Serialize};

use super::backup_file;
use super::checks::{self, Candidate};
use super::copy::Copy;
use super::instance_types;
use super::migrate;
use super::record::{Record, profiles_of};
use super::refresh;
use super::sizes;
use super::source::{self, Files, Source};
use super::volatile;
use crate::app::App;
use crate::ctx::Ctx;
use crate::error::{Context as _, Error, Result};
use crate::events::{Action, Lifecycle};
use crate::images::{Reading, prepare};
use crate::operations::{self, Kind, OnCrash, Operation, Options, Progress, Step, Task, Work, Works};
use crate::profiles::DEFAULT_PROFILE;
use crate::steps;

/// What the reference says before whatever keeps an instance from being made.
const DOING: &str = "Failed creating instance record";

/// The kinds of works of this file.
pub(super) fn works(works: &mut Works) {
    works.add::<Create>();
}

/// Makes an instance, as an operation.
///
/// # Errors
/// The caller may not; what is wrong with the request itself: its type, name, source, profiles, its project's limits. What
/// is wrong with the instance the operation reports.
pub async fn create(app: &Arc<App>, ctx: &Ctx, mut post: InstancesPost) -> Result<Operation> {
    ctx.require_project()?;
    let kind = InstanceType::parse(&post.r#type)?;
    if !post.instance_type.is_empty() {
        for (key, value) in instance_types::limits(app, &post.instance_type).await? {
            post.config.entry(key).or_insert(value);
        }
    }
    let mut tx = app.cluster.read().await?;
    let project = projects::get(&mut tx, &ctx.project).await;
    let project = project.context("Failed loading project")?;
    let source = source::find(&mut tx, &ctx.project, &post).await?;
    if let Source::Instance(from) = &source
        && !ctx.may_see_project(&from.root.project)
    {
        return Err(Error::forbidden("not authorized"));
    }
    if post.name.is_empty() {
        post.name = free_name(&mut tx, &ctx.project).await?;
    }
    names::instance(&post.name)?;
    let mut options = options(&post, kind);
    if let Source::Instance(from) = &source
        && post.source.refresh
        && rows::id(&mut tx, &ctx.project, &post.name).await.is_ok()
    {
        drop(tx);
        return refresh::refresh(app, ctx, (&post.name, post.source.instance_only), from, options);
    }
    if let Source::Server { is_listening } = source {
        let planned = plan_received(app, &mut tx, (ctx, &project.config), (&mut post, kind)).await?;
        drop(tx);
        return migrate::receive(app, ctx, is_listening, (post, planned));
    }
    let (snapshots, given) = match &source {
        Source::Instance(from) => (from.snapshots.clone(), post.devices.clone()),
        _ => (Vec::new(), Devices::new()),
    };
    let fetch = match &source {
        Source::Remote(fetch) => Some((fetch.clone(), post.clone())),
        _ => None,
    };
    if fetch.is_some() {
        options = options.may_cancel();
    }
    let planned = plan(app, &mut tx, (ctx, &project.config), post, (kind, source)).await?;
    drop(tx);
    let (app, ctx) = (Arc::clone(app), ctx.clone());
    let operations = Arc::clone(&app.operations);
    operations.spawn(&ctx.clone(), options, move |operation| async move {
        let create = match fetch {
            Some((fetch, post)) => fetch_and_plan(&app, &ctx, &operation, (*fetch, post, kind)).await?,
            None => planned?,
        };
        let _guard = app.instances.lock(&Key::new(&create.project, &create.name)).await;
        match create.files {
            Files::Instance { .. } => {
                let copy = Copy::new(&app, create, (snapshots, &given));
                drop(operations::run_in(&app, &ctx, &operation, copy).await?);
            }
            _ => drop(operations::run_in(&app, &ctx, &operation, create).await?),
        }
        Ok(())
    })
}

/// Decides about an instance that comes from another server; none if one is there that is to be brought up to date.
async fn plan_received(
    app: &Arc<App>,
    tx: &mut Tx,
    (ctx, project): (&Ctx, &Config),
    (post, kind): (&mut InstancesPost, InstanceType),
) -> Result<Option<Create>> {
    let is_there = rows::id(tx, &ctx.project, &post.name).await.is_ok();
    if is_there && post.source.refresh {
        return Ok(None);
    }
    architecture::id(&post.architecture)?;
    let known = profiles_of(tx, &ctx.project).await?;
    let default = [DEFAULT_PROFILE.to_owned()];
    let names = post.profiles.as_deref().unwrap_or(&default);
    let own = names.iter().filter_map(|name| known.get(name));
    let given = expand_devices(own.map(|profile| &profile.devices), &Devices::new());
    let pools: Vec<String> = app
        .pools
        .list()
        .iter()
        .map(|pool| pool.name().to_owned())
        .collect();
    migrate::place_root(&mut post.devices, &given, &pools);
    let source = Source::Server { is_listening: true };
    let planned = plan(app, tx, (ctx, project), post.clone(), (kind, source)).await?;
    let create = planned.map_err(checks::refused)?;
    create.require_free(tx).await.map_err(checks::refused)?;
    Ok(Some(create))
}

/// Fetches the image of another server, and decides about its instance.
async fn fetch_and_plan(
    app: &Arc<App>,
    ctx: &Ctx,
    operation: &Operation,
    (mut fetch, post, kind): (crate::images::Fetch, InstancesPost, InstanceType),
) -> Result<Create> {
    fetch.auto_update = crate::images::follows(app, ctx).await?;
    let image = crate::images::bring(app, ctx, operation, &fetch).await?;
    let mut tx = app.cluster.read().await?;
    let project = projects::get(&mut tx, &ctx.project).await?;
    let source = Source::Image(Some(Box::new(image)));
    plan(app, &mut tx, (ctx, &project.config), post, (kind, source)).await?
}

fn options(post: &InstancesPost, kind: InstanceType) -> Options {
    let noun = |options: Options, name: &str| match kind {
        InstanceType::Container => options.resource("instances", name),
        InstanceType::VirtualMachine => {
            options.resource_url("instances", crate::urls::plain(&["instances", name]))
        }
    };
    let options = noun(Options::task(Kind::InstanceCreate), &post.name);
    if post.source.r#type != "copy" {
        return options;
    }
    // Of a snapshot the slash stays one.
    let parts: Vec<&str> = post.source.source.split('/').collect();
    let url = |noun| crate::urls::plain(&[&[noun], parts.as_slice()].concat());
    let options = options.resource_url("instances", url("instances"));
    match kind {
        InstanceType::Container => options.resource_url("containers", url("containers")),
        InstanceType::VirtualMachine => options,
    }
}

async fn free_name(tx: &mut Tx, project: &str) -> Result<String> {
    let filter = rows::Filter {
        project: Some(project),
        ..rows::Filter::default()
    };
    let taken = rows::names(tx, filter).await?;
    let random = u64::from(volatile::random()) << 32 | u64::from(volatile::random());
    Ok(naming::instance(random, |name| {
        taken.iter().any(|(_, other)| other == name)
    }))
}

/// Decides everything about the new instance. The outer error is the request's, the inner one the operation's.
async fn plan(
    app: &Arc<App>,
    tx: &mut Tx,
    (ctx, project): (&Ctx, &Config),
    mut post: InstancesPost,
    (kind, source): (InstanceType, Source),
) -> Result<Result<Create>> {
    let known = profiles_of(tx, &ctx.project).await?;
    let names = match (post.profiles.take(), &source) {
        (Some(names), _) => names,
        (None, Source::Image(Some(image))) if !image.content.profiles.is_empty() => {
            image.content.profiles.clone()
        }
        (None, Source::Instance(_)) => Vec::new(),
        (None, _) => vec![DEFAULT_PROFILE.to_owned()],
    };
    if let Some(missing) = names.iter().find(|name| !known.contains_key(*name)) {
        return Err(Error::refused(format!(
            "Requested profile {missing:?} doesn't exist"
        )));
    }
    let wanted = match &source {
        Source::Image(Some(image)) => image.content.architecture.clone(),
        Source::Instance(from) if post.architecture.is_empty() => from.record.row.architecture.clone(),
        _ if post.architecture.is_empty() => app.facts.architectures.first().cloned().unwrap_or_default(),
        _ => post.architecture.clone(),
    };
    let id = architecture::id(&wanted).map_err(|error| checks::refused(error.into()))?;
    post.architecture = architecture::name(id)?.to_owned();
    let template = if matches!(source, Source::Instance(_) | Source::Server { .. }) {
        "copy"
    } else {
        "create"
    };
    inherit(&mut post, &source);
    let own = |name: &String| &known[name];
    let config = expand_config(names.iter().map(|name| &own(name).config), &post.config);
    let devices = expand_devices(names.iter().map(|name| &own(name).devices), &post.devices);
    let candidate = Candidate {
        project: &ctx.project,
        name: &post.name,
        kind,
        config: &config,
        devices: &devices,
    };
    checks::project_limits(tx, project, candidate, None, checks::CREATION).await?;
    if let Err(error) = judge(app, tx, &post, &names, (candidate, &source)).await {
        return Ok(Err(error));
    }
    volatile::of_new(&mut post.config, &app.presets.applied(&devices), template);
    let create = assemble(ctx, post, (kind, names), (devices, source));
    Ok(create)
}

/// Gives the new instance what it has from its source.
fn inherit(post: &mut InstancesPost, source: &Source) {
    post.config.retain(|_, value| !value.is_empty());
    match source {
        Source::Image(Some(image)) => {
            let properties = image.content.properties.iter();
            let properties = properties.map(|(key, value)| (format!("image.{key}"), value.clone()));
            post.config.extend(properties);
            let fingerprint = image.content.fingerprint.clone();
            post.config.insert("volatile.base_image".into(), fingerprint);
        }
        Source::Instance(from) => {
            let mut config = lxd_model::instances::volatile::for_copy(&from.record.row.config, true);
            config.append(&mut post.config);
            post.config = config;
            for (name, device) in &from.record.row.devices {
                post.devices.entry(name.clone()).or_insert_with(|| device.clone());
            }
        }
        Source::Server { .. } => migrate::note_base(&mut post.config, &post.source.base_image),
        Source::Image(None) | Source::Remote(_) | Source::None => {}
    }
}

/// What the operation would refuse, in the reference's order.
async fn judge(
    app: &App,
    tx: &mut Tx,
    post: &InstancesPost,
    names: &[String],
    (candidate, source): (Candidate<'_>, &Source),
) -> Result<()> {
    let kind = candidate.kind;
    if let Source::Image(found) = source {
        let image = found
            .as_ref()
            .ok_or_else(|| Error::bad_request("Image not provided for instance creation"))?;
        let of = image.content.kind.as_str();
        if of != kind.as_str() {
            let text = format!(
                "Requested image's type {of:?} doesn't match instance type {:?}",
                kind.as_str()
            );
            return Err(Error::bad_request(text));
        }
    }
    checks::own(&post.config, &post.devices, kind).context(DOING)?;
    validate_list(names, |_| true).context(DOING)?;
    if !app.facts.architectures.contains(&post.architecture) {
        let text = "Requested architecture isn't supported by this host";
        return Err(Error::bad_request(text)).context(DOING);
    }
    if kind == InstanceType::VirtualMachine {
        let text = "Instance type \"virtual-machine\" is not supported on this server";
        return Err(Error::not_implemented(text)).context(DOING);
    }
    let mut checked = checks::expanded(app, tx, candidate).await;
    if checked.is_ok() {
        checked = checks::hardware_addresses(candidate.config, candidate.devices).map_err(Error::from);
    }
    if checked.is_ok() {
        checked = checks::devices_of_new(tx, candidate).await;
    }
    checked.context("Failed initialising instance").context(DOING)
}

fn assemble(
    ctx: &Ctx,
    post: InstancesPost,
    (kind, profiles): (InstanceType, Vec<String>),
    (devices, source): (Devices, Source),
) -> Result<Create> {
    let (_, root) = root_disk(&devices)?;
    let files = match source {
        Source::None | Source::Remote(_) | Source::Server { .. } => Files::Empty,
        Source::Image(image) => image.map_or(Files::Empty, |image| Files::Image {
            size: image.content.size,
            fingerprint: image.content.fingerprint,
        }),
        Source::Instance(from) => Files::Instance {
            root: from.root,
            snapshot: from.snapshot,
        },
    };
    Ok(Create {
        pool: property(root, "pool").to_owned(),
        project: ctx.project.clone(),
        kind,
        profiles,
        files,
        name: post.name,
        architecture: post.architecture,
        description: post.description,
        ephemeral: post.ephemeral,
        stateful: post.stateful,
        config: post.config,
        devices: post.devices,
    })
}

/// An instance in the making: its rows, its files, and then the world hears of it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Create {
    pub(super) project: String,
    pub(super) name: String,
    pub(super) pool: String,
    pub(super) kind: InstanceType,
    pub(super) architecture: String,
    pub(super) description: String,
    pub(super) ephemeral: bool,
    pub(super) stateful: bool,
    /// Its own configuration; `volatile.uuid` tells it from another of its name.
    pub(super) config: Config,
    pub(super) devices: Devices,
    pub(super) profiles: Vec<String>,
    pub(super) files: Files,
}

impl Work for Create {
    const KIND: &'static str = "instances.create";
    const ON_CRASH: OnCrash = OnCrash::Undo;

    fn steps() -> &'static [Step<Self>] {
        steps![Self;
            "rows": Self::insert => Self::remove;
            unrecorded "volume": Self::make_volume => Self::remove_volume;
            unrecorded "announce": Self::announce;
        ]
    }
}

impl Create {
    pub(super) fn volume(&self) -> Volume {
        Volume::container(&self.project, &self.name)
    }

    fn volume_key(&self) -> VolumeKey<'_> {
        VolumeKey {
            pool: &self.pool,
            project: &self.project,
            kind: VolumeType::Container,
            name: &self.name,
        }
    }

    async fn insert(&mut self, task: &Task) -> Result<()> {
        let mut tx = task.app.cluster.begin().await?;
        self.insert_into(&mut tx, &task.app).await?;
        Ok(tx.commit().await?)
    }

    /// Makes both rows, and gives their ids: the instance's and the volume's.
    pub(super) async fn insert_into(&mut self, tx: &mut Tx, app: &App) -> Result<(i64, i64)> {
        let known = profiles_of(tx, &self.project).await?;
        let own = self.profiles.iter().filter_map(|name| known.get(name));
        let expanded = expand_config(own.map(|profile| &profile.config), &self.config);
        let host = app.instances.host_ids;
        volatile::choose_map(tx, None, &expanded, &mut self.config, host)
            .await
            .context("Failed initialising instance")
            .context(DOING)?;
        let made = rows::create(tx, &self.row(app)).await;
        let id = made.context("Add instance info to the database").context(DOING)?;
        let content = storage_volumes::Content {
            content_type: ContentType::Filesystem,
            description: self.description.clone(),
            config: Config::new(),
        };
        let node = Some(app.cluster.node_id());
        let volume = storage_volumes::create(tx, self.volume_key(), node, &content).await?;
        let path = app.pools.get(&self.pool)?.volume_path(&self.volume());
        if path.symlink_metadata().is_ok() {
            // Files of nobody may be worth something: they are not ours to replace.
            return Err(Error::internal(format!(
                "{} exists although no instance has it",
                path.display()
            )));
        }
        if let Files::Image { fingerprint, .. } = &self.files {
            images::set_last_used(tx, fingerprint, app.clock.now()).await?;
        }
        Ok((id, volume))
    }

    /// Refuses a name that another instance has.
    pub(super) async fn require_free(&self, tx: &mut Tx) -> Result<()> {
        if rows::id(tx, &self.project, &self.name).await.is_err() {
            return Ok(());
        }
        let text = "Add instance info to the database: This \"instances\" entry already exists";
        Err(Error::conflict(text)).context(DOING)
    }

    fn row(&self, app: &App) -> NewInstance {
        NewInstance {
            project: self.project.clone(),
            name: self.name.clone(),
            node_id: app.cluster.node_id(),
            kind: match self.kind {
                InstanceType::Container => RowType::Container,
                InstanceType::VirtualMachine => RowType::VirtualMachine,
            },
            stateful: self.stateful,
            created_at: app.clock.now(),
            last_used_at: jiff::Timestamp::UNIX_EPOCH,
            content: Content {
                architecture: self.architecture.clone(),
                ephemeral: self.ephemeral,
                description: self.description.clone(),
                expires_at: lxd_db::time::ZERO,
                config: self.config.clone(),
                devices: self.devices.clone(),
                profiles: self.profiles.clone(),
            },
        }
    }

    /// Whether the instance of this name is the one that this work made.
    async fn is_ours(&self, tx: &mut Tx) -> Option<i64> {
        let found = rows::get(tx, &self.project, &self.name).await.ok()?;
        (found.config.get("volatile.uuid") == self.config.get("volatile.uuid")).then_some(found.id)
    }

    pub(super) async fn remove(&mut self, task: &Task) -> Result<()> {
        let mut tx = task.app.cluster.begin().await?;
        let Some(id) = self.is_ours(&mut tx).await else {
            return Ok(());
        };
        rows::delete(&mut tx, id).await?;
        if let Ok(volume) = storage_volumes::get(&mut tx, self.volume_key()).await {
            storage_volumes::delete(&mut tx, volume.id).await?;
        }
        Ok(tx.commit().await?)
    }

    pub(super) async fn make_volume(&mut self, task: &Task) -> Result<()> {
        let pool = task.app.pools.get(&self.pool)?;
        let volume = self.volume();
        let quiet = Watch::new(task.ctx.cancel.clone(), None);
        match &self.files {
            Files::Empty => Ok(pool.create_volume(&volume, VolumeSource::Empty, quiet).await?),
            Files::Image { fingerprint, size } => {
                let _reading = self.unpack(task, &pool, (fingerprint, *size)).await?;
                let fingerprint = fingerprint.clone();
                let source = VolumeSource::Image { fingerprint };
                let made = pool.create_volume(&volume, source, quiet).await;
                made.context("Failed creating instance from image")
            }
            Files::Instance { root, snapshot } => {
                let from_pool = task.app.pools.get(&root.pool)?;
                let from = match snapshot {
                    Some(snapshot) => root.snapshot(snapshot),
                    None => root.volume(),
                };
                let copied = pool.copy_volume_from(&from_pool, &from, &volume, quiet).await;
                copied.context("Create instance from copy")
            }
        }
    }

    /// Unpacks the image into the pool, unless it is there already. It stays as long as the result lives.
    async fn unpack(&self, task: &Task, pool: &Pool, (fingerprint, size): (&str, i64)) -> Result<Reading> {
        let total = u64::try_from(size).ok();
        let progress = task
            .operation
            .progress("create_instance_from_image_unpack", "Unpack", total);
        let watch = Watch::new(task.ctx.cancel.clone(), Some(steps_of(progress)));
        let prepared = prepare(&task.app, pool, fingerprint, watch).await;
        let (reading, left_out) = prepared.context("Failed creating instance from image")?;
        for member in left_out.into_iter().flatten() {
            tracing::warn!(fingerprint, member, "Left a member of an image out");
        }
        Ok(reading)
    }

    pub(super) async fn remove_volume(&mut self, task: &Task) -> Result<()> {
        let mut tx = task.app.cluster.read().await?;
        if self.is_ours(&mut tx).await.is_none() {
            return Ok(());
        }
        drop(tx);
        let pool = task.app.pools.get(&self.pool)?;
        Ok(pool.delete_volume(&self.volume()).await?)
    }

    pub(super) async fn announce(&mut self, task: &Task) -> Result<()> {
        let mut tx = task.app.cluster.read().await?;
        let record = Record::load(&mut tx, &self.project, &self.name).await?;
        sizes::of_new(&task.app, &record).await?;
        backup_file::write(&task.app, &mut tx, &record).await?;
        drop(tx);
        let url = super::url(&self.project, &self.name);
        let event = Lifecycle::new(Action::InstanceCreated, url)
            .with("type", self.kind.as_str())
            .with("storage-pool", self.pool.as_str());
        task.app.events.lifecycle(&self.project, &event);
        Ok(())
    }
}

/// Turns running totals into the steps that progress counts.
pub(crate) fn steps_of(progress: Progress) -> lxd_storage::Progress {
    let seen = AtomicU64::new(0);
    Arc::new(move |done| {
        let before = seen.fetch_max(done, Ordering::Relaxed);
        progress.add(done.saturating_sub(before));
    })
}
