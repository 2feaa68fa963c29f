//! Instances from backups: an archive that a client sends becomes an instance with its snapshots.

use std::fmt::Display;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use futures::Stream;
use lxd_api::Time;
use lxd_api::instance_snapshots::InstanceSnapshot;
use lxd_api::instances::Instance as Wire;
use lxd_db::cluster::instances::snapshots::{self, NewSnapshot};
use lxd_db::cluster::instances::{self as rows, Content, NewInstance};
use lxd_db::cluster::storage_volumes::{self, Key as VolumeKey};
use lxd_db::cluster::{ContentType, InstanceType as RowType, Tx, VolumeType, projects};
use lxd_instance::Key;
use lxd_model::config::Config;
use lxd_model::devices::{Device, property, root_disk};
use lxd_model::idmap::IdMap;
use lxd_model::instances::{InstanceType, architecture};
use lxd_model::names;
use lxd_model::profiles::{expand_config, expand_devices, validate_list};
use lxd_storage::images::{Fingerprint, Received};
use lxd_storage::{Pool, StreamHeader, Volume, Watch};
use serde::{Deserialize, Serialize};

use super::super::checks::{self, Candidate};
use super::super::record::{Record, kernel_map, profiles_of};
use super::super::shift::ON_DISK;
use super::super::snapshots::root_at;
use super::super::{backup_file, create, sizes, volatile};
use super::header::check_form;
use super::index::{INSTANCE, Index, SNAPSHOTS, STREAMS};
use crate::app::App;
use crate::ctx::Ctx;
use crate::error::{Context as _, Error, Result};
use crate::events::{Action, Lifecycle};
use crate::operations::{self, Kind, OnCrash, Operation, Options, Step, Task, Work};
use crate::steps;

/// What the reference says before whatever keeps an instance from being made.
const DOING: &str = "Failed importing backup: Failed creating instance record";

/// What the client says about the archive.
#[derive(Debug, Clone, Default)]
pub struct Request {
    /// The new instance's name, if it is not to have the one in the archive.
    pub name: String,
    /// The pool, if it is not to be the one in the archive.
    pub pool: String,
}

/// Receives an archive; it is gone when the result is dropped.
///
/// # Errors
/// The caller may not; the stream breaks off; the disk is full.
pub async fn receive<S, E>(app: &App, ctx: &Ctx, stream: S) -> Result<Received>
where
    S: Stream<Item = Result<Bytes, E>>,
    E: Display,
{
    ctx.require_project()?;
    let directory = app.paths.backups();
    let received = crate::images::within_room(&directory, Fingerprint::none(), u64::MAX, stream);
    Ok(received.await?.0)
}

/// Makes an instance of an archive, as an operation.
///
/// # Errors
/// The archive is not understood; there is no such pool. What is wrong with the instance the operation reports.
pub async fn import(app: &Arc<App>, ctx: &Ctx, archive: Received, request: Request) -> Result<Operation> {
    ctx.require_project()?;
    let index = Index::read(archive.path().to_path_buf()).await?;
    let name = if request.name.is_empty() {
        index.name.clone()
    } else {
        request.name.clone()
    };
    let pool = choose_pool(app, ctx, &request.pool, &index.pool).await?;
    if index.optimized {
        check_form(app, &pool, &index.backend)?;
    }
    let options = Options::task(Kind::BackupRestore)
        .resource("instances", &name)
        .may_cancel();
    let (app, owned) = (Arc::clone(app), ctx.clone());
    let operations = Arc::clone(&app.operations);
    operations.spawn(ctx, options, move |operation| async move {
        let _guard = app.instances.lock(&Key::new(&owned.project, &name)).await;
        let mut tx = app.cluster.read().await?;
        if rows::id(&mut tx, &owned.project, &name).await.is_ok() {
            let text = "Cannot restore volume, already exists on target";
            return Err(Error::conflict(text)).context("Create instance from backup");
        }
        let path = archive.path().to_path_buf();
        let work = plan(&app, &mut tx, &owned, (index, path), (name, pool)).await?;
        drop(tx);
        let done = operations::run_in(&app, &owned, &operation, work).await;
        done.context("Create instance from backup").map(drop)
    })
}

/// The pool that is asked for, or the one in the archive, or the default profile's.
async fn choose_pool(app: &App, ctx: &Ctx, wanted: &str, former: &str) -> Result<String> {
    if !wanted.is_empty() {
        return match app.pools.get(wanted) {
            Ok(_) => Ok(wanted.to_owned()),
            // The reference blames itself.
            Err(_) => Err(Error::internal("Storage pool not found: Storage pool not found")),
        };
    }
    if app.pools.get(former).is_ok() {
        return Ok(former.to_owned());
    }
    let mut tx = app.cluster.read().await?;
    let profiles = profiles_of(&mut tx, &ctx.project).await?;
    let devices = profiles
        .get(crate::profiles::DEFAULT_PROFILE)
        .map(|profile| profile.devices.clone());
    let devices = devices.unwrap_or_default();
    let (_, root) = root_disk(&devices).map_err(|error| checks::refused(error.into()))?;
    Ok(property(root, "pool").to_owned())
}

/// Decides everything about the instance; what the archive says is judged as what a client says.
pub(super) async fn plan(
    app: &App,
    tx: &mut Tx,
    ctx: &Ctx,
    (index, archive): (Index, PathBuf),
    (name, pool): (String, String),
) -> Result<Import> {
    names::instance(&name).map_err(Error::from).context(DOING)?;
    let mut wire = index.instance()?.clone();
    let project = projects::get(tx, &ctx.project)
        .await
        .context("Failed loading project")?;
    let known = profiles_of(tx, &ctx.project).await?;
    if let Some(missing) = wire.profiles.iter().find(|name| !known.contains_key(*name)) {
        return Err(Error::refused(format!(
            "Requested profile {missing:?} doesn't exist"
        )))
        .context(DOING);
    }
    validate_list(&wire.profiles, |_| true).context(DOING)?;
    architecture::id(&wire.architecture).context(DOING)?;
    let own: Vec<_> = wire.profiles.iter().map(|name| &known[name]).collect();
    let expanded = expand_devices(own.iter().map(|profile| &profile.devices), &wire.devices);
    set_pool(&mut wire, &expanded, &pool);
    let on_disk = wire
        .config
        .get("volatile.last_state.idmap")
        .cloned()
        .unwrap_or_default();
    let config = expand_config(own.iter().map(|profile| &profile.config), &wire.config);
    let devices = expand_devices(own.iter().map(|profile| &profile.devices), &wire.devices);
    let kind = InstanceType::Container;
    let candidate = Candidate {
        project: &ctx.project,
        name: &name,
        kind,
        config: &config,
        devices: &devices,
    };
    checks::own(&wire.config, &wire.devices, kind).context(DOING)?;
    checks::project_limits(tx, &project.config, candidate, None, checks::CREATION)
        .await
        .context(DOING)?;
    let mut checked = checks::expanded(app, tx, candidate).await;
    if checked.is_ok() {
        checked = checks::devices_of_new(tx, candidate).await;
    }
    checked.context("Failed initialising instance").context(DOING)?;
    let kept = index.config.clone().unwrap_or_default().snapshots;
    let snapshots: Vec<InstanceSnapshot> = kept
        .into_iter()
        .filter(|snapshot| index.snapshots.contains(&snapshot.name))
        .collect();
    for snapshot in &snapshots {
        names::snapshot(&snapshot.name)
            .map_err(Error::from)
            .context(DOING)?;
    }
    let ids = IdMap::from_json(&on_disk)?;
    normalise(&mut wire.config);
    let of_snapshot = |snapshot: &InstanceSnapshot| {
        let map = snapshot.config.get(ON_DISK).unwrap_or(&on_disk);
        Ok(IdMap::from_json(map)?)
    };
    let snapshot_ids = snapshots.iter().map(of_snapshot).collect::<Result<_>>()?;
    let mut snapshots = snapshots;
    for snapshot in &mut snapshots {
        root_at(&mut snapshot.devices, &wire.devices, &pool);
    }
    if index.optimized {
        // The driver's own form has the ids as they are on disk.
        wire.config.insert(ON_DISK.into(), ids.to_json());
    } else {
        snapshots
            .iter_mut()
            .for_each(|snapshot| drop(snapshot.config.insert(ON_DISK.into(), "[]".into())));
    }
    Ok(Import {
        streams: index.streams,
        project: ctx.project.clone(),
        name,
        pool,
        archive,
        ids,
        snapshot_ids,
        wire,
        snapshots,
    })
}

/// What an instance that has just come from an archive does not have: a run, shifted files, another's identity.
fn normalise(config: &mut Config) {
    let changes = volatile::of_stop(config);
    config.extend(changes);
    config.retain(|_, value| !value.is_empty());
    config.insert(ON_DISK.into(), "[]".into());
    config.insert("volatile.uuid".into(), volatile::new_uuid());
}

/// Lets the root disk be in the chosen pool.
fn set_pool(wire: &mut Wire, expanded: &lxd_model::devices::Devices, pool: &str) {
    let found = root_disk(expanded)
        .ok()
        .map(|(name, root)| (name.to_owned(), root.clone()));
    match found {
        Some((_, root)) if property(&root, "pool") == pool => {}
        Some((name, mut root)) => {
            root.insert("pool".into(), pool.to_owned());
            wire.devices.insert(name, root);
        }
        None => {
            let root = [("type", "disk"), ("path", "/"), ("pool", pool)];
            let root: Device = root.map(|(key, value)| (key.to_owned(), value.to_owned())).into();
            let taken = |name: &String| expanded.contains_key(name);
            let mut names = std::iter::once("root".to_owned()).chain((0..).map(|n| format!("root{n}")));
            if let Some(name) = names.find(|name| !taken(name)) {
                wire.devices.insert(name, root);
            }
        }
    }
}

/// An instance that is made of an archive: its rows and those of its snapshots, their files, and then the world hears of it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(in super::super) struct Import {
    pub(in super::super) project: String,
    pub(in super::super) name: String,
    pub(in super::super) pool: String,
    /// Where the archive is for now.
    pub(in super::super) archive: PathBuf,
    /// How the ids in the archive are shifted.
    pub(in super::super) ids: IdMap,
    /// The same for each snapshot.
    #[serde(default)]
    pub(in super::super) snapshot_ids: Vec<IdMap>,
    /// The instance as it will be; `volatile.uuid` tells it from another of its name.
    pub(in super::super) wire: Wire,
    pub(in super::super) snapshots: Vec<InstanceSnapshot>,
    /// The streams in an archive in the driver's own form; none in others.
    #[serde(default)]
    pub(in super::super) streams: Vec<StreamHeader>,
}

impl Work for Import {
    const KIND: &'static str = "instance_backups.import";
    const ON_CRASH: OnCrash = OnCrash::Undo;

    fn steps() -> &'static [Step<Self>] {
        steps![Self;
            "rows": Self::insert => Self::remove;
            unrecorded "volumes": Self::unpack => Self::remove_volumes;
            unrecorded "announce": Self::announce;
        ]
    }
}

impl Import {
    fn volume(&self) -> Volume {
        Volume::container(&self.project, &self.name)
    }

    fn snapshot_volume(&self, snapshot: &str) -> Volume {
        Volume::container(&self.project, &format!("{}/{snapshot}", self.name))
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
        let app = &task.app;
        let path = app.pools.get(&self.pool)?.volume_path(&self.volume());
        if path.symlink_metadata().is_ok() {
            // Files of nobody may be worth something: they are not ours to replace.
            return Err(Error::conflict("Cannot restore volume, already exists on target"));
        }
        let mut tx = app.cluster.begin().await?;
        let known = profiles_of(&mut tx, &self.project).await?;
        let own = self.wire.profiles.iter().filter_map(|name| known.get(name));
        let expanded = expand_config(own.map(|profile| &profile.config), &self.wire.config);
        let host = app.instances.host_ids;
        volatile::choose_map(&mut tx, None, &expanded, &mut self.wire.config, host).await?;
        let id = rows::create(&mut tx, &self.row(app)).await?;
        let content = storage_volumes::Content {
            content_type: ContentType::Filesystem,
            description: String::new(),
            config: Config::new(),
        };
        let node = Some(app.cluster.node_id());
        let volume = storage_volumes::create(&mut tx, self.volume_key(), node, &content).await?;
        for snapshot in &self.snapshots {
            snapshots::create(&mut tx, &new_snapshot(id, snapshot)).await?;
            let expires_at = snapshot.expires_at.timestamp();
            let config = Config::new();
            storage_volumes::snapshots::create(&mut tx, volume, &snapshot.name, "", expires_at, &config)
                .await?;
        }
        Ok(tx.commit().await?)
    }

    fn row(&self, app: &App) -> NewInstance {
        let wire = &self.wire;
        NewInstance {
            project: self.project.clone(),
            name: self.name.clone(),
            node_id: app.cluster.node_id(),
            kind: RowType::Container,
            stateful: false,
            created_at: if wire.created_at.is_never() {
                app.clock.now()
            } else {
                wire.created_at.timestamp()
            },
            last_used_at: wire.last_used_at.timestamp(),
            content: Content {
                architecture: wire.architecture.clone(),
                ephemeral: wire.ephemeral,
                description: wire.description.clone(),
                expires_at: lxd_db::time::ZERO,
                config: wire.config.clone(),
                devices: wire.devices.clone(),
                profiles: wire.profiles.clone(),
            },
        }
    }

    /// Whether the instance of this name is the one that this work made.
    async fn is_ours(&self, tx: &mut Tx) -> Option<i64> {
        let found = rows::get(tx, &self.project, &self.name).await.ok()?;
        (found.config.get("volatile.uuid") == self.wire.config.get("volatile.uuid")).then_some(found.id)
    }

    async fn remove(&mut self, task: &Task) -> Result<()> {
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

    async fn unpack(&mut self, task: &Task) -> Result<()> {
        let pool = task.app.pools.get(&self.pool)?;
        let progress = task
            .operation
            .progress("create_instance_from_backup_unpack", "Unpack", None);
        let watch = Watch::new(task.ctx.cancel.clone(), Some(create::steps_of(progress)));
        if !self.streams.is_empty() {
            return self.receive(&pool, watch).await;
        }
        let mut parts = vec![(INSTANCE.to_owned(), self.volume(), kernel_map(&self.ids))];
        for (index, snapshot) in self.snapshots.iter().enumerate() {
            let name = format!("{SNAPSHOTS}/{}", snapshot.name);
            let ids = self.snapshot_ids.get(index).and_then(kernel_map);
            parts.push((name, self.snapshot_volume(&snapshot.name), ids));
        }
        let left_out = pool.unpack_volumes(self.archive.clone(), parts, watch).await?;
        for member in left_out {
            tracing::warn!(instance = self.name, member, "Left a member of a backup out");
        }
        Ok(())
    }

    /// Makes the volumes of what is in the driver's own form.
    async fn receive(&self, pool: &Pool, watch: Watch) -> Result<()> {
        let of_snapshot = |one: &InstanceSnapshot| (one.name.clone(), self.snapshot_volume(&one.name));
        let mut volumes: Vec<(String, Volume)> = self.snapshots.iter().map(of_snapshot).collect();
        volumes.push((String::new(), self.volume()));
        let (archive, headers) = (self.archive.clone(), self.streams.clone());
        Ok(pool.receive(archive, STREAMS, headers, volumes, watch).await?)
    }

    async fn remove_volumes(&mut self, task: &Task) -> Result<()> {
        let mut tx = task.app.cluster.read().await?;
        if self.is_ours(&mut tx).await.is_none() {
            return Ok(());
        }
        drop(tx);
        let pool = task.app.pools.get(&self.pool)?;
        for snapshot in &self.snapshots {
            pool.delete_volume(&self.snapshot_volume(&snapshot.name)).await?;
        }
        Ok(pool.delete_volume(&self.volume()).await?)
    }

    async fn announce(&mut self, task: &Task) -> Result<()> {
        let mut tx = task.app.cluster.read().await?;
        let record = Record::load(&mut tx, &self.project, &self.name).await?;
        sizes::of_new(&task.app, &record).await?;
        backup_file::write(&task.app, &mut tx, &record).await?;
        drop(tx);
        let event = Lifecycle::new(
            Action::InstanceCreated,
            super::super::url(&self.project, &self.name),
        )
        .with("type", InstanceType::Container.as_str())
        .with("storage-pool", self.pool.as_str());
        task.app.events.lifecycle(&self.project, &event);
        let instance = (self.project.as_str(), self.name.as_str());
        for snapshot in &self.snapshots {
            let action = Action::InstanceSnapshotCreated;
            super::super::snapshots::tell(&task.app, instance, &snapshot.name, action);
        }
        Ok(())
    }
}

fn new_snapshot(instance_id: i64, snapshot: &InstanceSnapshot) -> NewSnapshot {
    let time = |time: &Time| time.timestamp();
    NewSnapshot {
        instance_id,
        name: snapshot.name.clone(),
        created_at: time(&snapshot.created_at),
        stateful: false,
        description: String::new(),
        expires_at: time(&snapshot.expires_at),
        config: snapshot.config.clone(),
        devices: snapshot.devices.clone(),
    }
}
