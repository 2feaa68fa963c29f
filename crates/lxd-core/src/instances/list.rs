//! Showing instances: one, many, with their state.

use std::collections::HashMap;
use std::sync::Arc;

use lxd_api::Time;
use lxd_api::instance_backups::InstanceBackup;
use lxd_api::instance_snapshots::InstanceSnapshot;
use lxd_api::instance_state::{InstanceState, InstanceStateCPU};
use lxd_api::instances::{Instance, InstanceFull};
use lxd_db::cluster::instances::backups::{self, Backup};
use lxd_db::cluster::instances::snapshots::{self, Snapshot};
use lxd_db::cluster::instances::{self as rows, Filter};
use lxd_db::cluster::{InstanceType as RowType, Tx};
use lxd_instance::lifecycle::Phase;
use lxd_instance::{Key, State};
use lxd_model::instances::InstanceType;
use lxd_model::profiles::{expand_config, expand_devices};

use super::disk_usage::{Disks, Volumes};
use super::record::Record;
use crate::app::App;
use crate::ctx::Ctx;
use crate::error::{Error, Result};
use crate::etag::Tagged;

/// Which instances somebody wants to see.
#[derive(Debug, Clone, Copy, Default)]
pub struct Wanted {
    /// Of all projects that the caller may see.
    pub all_projects: bool,
    /// Of one type.
    pub kind: Option<InstanceType>,
}

/// The projects and names of instances.
///
/// # Errors
/// The caller may not see the project.
pub async fn names(app: &Arc<App>, ctx: &Ctx, wanted: Wanted) -> Result<Vec<(String, String)>> {
    let mut tx = app.cluster.read().await?;
    let mut names = rows::names(&mut tx, filter(ctx, wanted)?).await?;
    names.retain(|(project, _)| ctx.may_see_project(project));
    Ok(names)
}

/// Instances, in a constant number of queries.
///
/// # Errors
/// As [`names`].
pub async fn list(app: &Arc<App>, ctx: &Ctx, wanted: Wanted) -> Result<Vec<Instance>> {
    let mut tx = app.cluster.read().await?;
    let records = visible(&mut tx, ctx, wanted).await?;
    let registry = &app.instances.registry;
    Ok(records
        .iter()
        .map(|record| record.wire(registry.phase(&record.key())))
        .collect())
}

/// Instances with their states, snapshots and backups, in a constant number of queries. Those that run are looked into all
/// at once; the others cost nothing.
///
/// # Errors
/// As [`names`].
pub async fn list_full(app: &Arc<App>, ctx: &Ctx, wanted: Wanted) -> Result<Vec<InstanceFull>> {
    let mut tx = app.cluster.read().await?;
    let records = visible(&mut tx, ctx, wanted).await?;
    let extras = Extras::load(&mut tx, &records).await?;
    drop(tx);
    full(app, &records, extras).await
}

/// One instance.
///
/// # Errors
/// Not found; the caller may not see the project.
pub async fn get(
    app: &Arc<App>,
    ctx: &Ctx,
    name: &str,
    kind: Option<InstanceType>,
) -> Result<Tagged<Instance>> {
    let record = load(app, ctx, name, kind).await?;
    let wire = record.wire(app.instances.registry.phase(&record.key()));
    Ok(Tagged::new(wire, &record.writable()))
}

/// One instance with its state, snapshots and backups.
///
/// # Errors
/// As [`get`].
pub async fn get_full(
    app: &Arc<App>,
    ctx: &Ctx,
    name: &str,
    kind: Option<InstanceType>,
) -> Result<Tagged<InstanceFull>> {
    let record = load(app, ctx, name, kind).await?;
    let writable = record.writable();
    let records = [record];
    let mut tx = app.cluster.read().await?;
    let extras = Extras::load(&mut tx, &records).await?;
    drop(tx);
    let mut shown = full(app, &records, extras).await?;
    let shown = shown
        .pop()
        .ok_or_else(|| Error::not_found("Instance not found"))?;
    Ok(Tagged::new(shown, &writable))
}

/// What an instance does and uses now.
///
/// # Errors
/// As [`get`]; it runs and can't be looked into.
pub async fn state(
    app: &Arc<App>,
    ctx: &Ctx,
    name: &str,
    kind: Option<InstanceType>,
) -> Result<InstanceState> {
    let record = load(app, ctx, name, kind).await?;
    let state = app.instances.registry.state(&record.key()).await?;
    let mut tx = app.cluster.read().await?;
    let volumes = Volumes::of(&mut tx, std::slice::from_ref(&record)).await?;
    drop(tx);
    // Where the reference knows no quota it shows nothing of a disk that is not in use.
    let is_running = state.as_ref().is_some_and(|state| state.pid > 0);
    let disks = volumes.usages(app, |_| is_running).await.remove(&0);
    Ok(wire_state(state, disks))
}

/// Makes sure that an instance is there.
///
/// # Errors
/// Not found; the caller may not see the project.
pub async fn require(app: &Arc<App>, ctx: &Ctx, name: &str) -> Result<()> {
    load(app, ctx, name, None).await.map(drop)
}

async fn load(app: &Arc<App>, ctx: &Ctx, name: &str, kind: Option<InstanceType>) -> Result<Record> {
    ctx.require_project()?;
    let mut tx = app.cluster.read().await?;
    let record = Record::load(&mut tx, &ctx.project, name).await?;
    match kind {
        Some(kind) if kind.id() != record.row.kind.code() => Err(Error::not_found("Instance not found")),
        _ => Ok(record),
    }
}

fn filter<'a>(ctx: &'a Ctx, wanted: Wanted) -> Result<Filter<'a>> {
    if wanted.all_projects {
        ctx.require_trusted()?;
    } else {
        ctx.require_project()?;
    }
    Ok(Filter {
        project: (!wanted.all_projects).then_some(ctx.project.as_str()),
        node_id: None,
        kind: wanted.kind.map(|kind| match kind {
            InstanceType::Container => RowType::Container,
            InstanceType::VirtualMachine => RowType::VirtualMachine,
        }),
    })
}

async fn visible(tx: &mut Tx, ctx: &Ctx, wanted: Wanted) -> Result<Vec<Record>> {
    let mut records = Record::list(tx, filter(ctx, wanted)?).await?;
    records.retain(|record| ctx.may_see_project(&record.row.project));
    Ok(records)
}

/// What a full list shows besides the instances.
struct Extras {
    snapshots: HashMap<i64, Vec<Snapshot>>,
    backups: HashMap<i64, Vec<Backup>>,
    volumes: Volumes,
}

impl Extras {
    async fn load(tx: &mut Tx, records: &[Record]) -> Result<Self> {
        let ids: Vec<i64> = records.iter().map(|record| record.row.id).collect();
        let mut extras = Self {
            snapshots: HashMap::new(),
            backups: HashMap::new(),
            volumes: Volumes::of(tx, records).await?,
        };
        for snapshot in snapshots::list(tx, &ids).await? {
            extras
                .snapshots
                .entry(snapshot.instance_id)
                .or_default()
                .push(snapshot);
        }
        for backup in backups::list(tx, &ids).await? {
            extras.backups.entry(backup.instance_id).or_default().push(backup);
        }
        Ok(extras)
    }
}

async fn full(app: &App, records: &[Record], extras: Extras) -> Result<Vec<InstanceFull>> {
    let Extras {
        mut snapshots,
        mut backups,
        volumes,
    } = extras;
    let keys = records.iter().map(Record::key).collect();
    let mut states = app.instances.registry.states(keys).await;
    let mut disks = volumes.usages(app, |_| false).await;
    let show = |(index, record): (usize, &Record)| {
        let state = match states.remove(&record.key()) {
            Some(Err(error)) => {
                tracing::warn!(instance = %record.key(), %error, "Failed looking into an instance");
                None
            }
            found => found.and_then(std::result::Result::ok),
        };
        let phase = state.as_ref().map_or(Phase::Stopped, |state| state.phase);
        let state = wire_state(state, disks.remove(&index));
        let id = record.row.id;
        with_extras(record, (phase, state), snapshots.remove(&id), backups.remove(&id))
    };
    Ok(records.iter().enumerate().map(show).collect())
}

fn with_extras(
    record: &Record,
    (phase, state): (Phase, InstanceState),
    snapshots: Option<Vec<Snapshot>>,
    backups: Option<Vec<Backup>>,
) -> InstanceFull {
    let wire = record.wire(phase);
    InstanceFull {
        architecture: wire.architecture,
        config: wire.config,
        devices: wire.devices,
        ephemeral: wire.ephemeral,
        profiles: wire.profiles,
        restore: wire.restore,
        stateful: wire.stateful,
        description: wire.description,
        created_at: wire.created_at,
        expanded_config: wire.expanded_config,
        expanded_devices: wire.expanded_devices,
        name: wire.name,
        status: wire.status,
        status_code: wire.status_code,
        last_used_at: wire.last_used_at,
        location: wire.location,
        r#type: wire.r#type,
        project: wire.project,
        backups: backups.map(|all| all.into_iter().map(wire_backup).collect()),
        state: Some(state),
        snapshots: snapshots.map(|all| {
            all.into_iter()
                .map(|snapshot| wire_snapshot(record, snapshot))
                .collect()
        }),
    }
}

fn wire_state(state: Option<State>, disks: Option<Disks>) -> InstanceState {
    let state = state.unwrap_or_else(|| State::without_processes(Phase::Stopped));
    let (status, status_code) = state.phase.status();
    InstanceState {
        status: status.to_owned(),
        status_code,
        disk: disks.unwrap_or_default(),
        memory: state.memory,
        network: state.network,
        pid: state.pid.into(),
        processes: state.processes,
        cpu: InstanceStateCPU {
            usage: state.cpu_usage,
        },
    }
}

/// A snapshot as clients see it.
pub(super) fn wire_snapshot(record: &Record, snapshot: Snapshot) -> InstanceSnapshot {
    let profiles = &record.profiles;
    InstanceSnapshot {
        expires_at: Time::from(snapshot.expires_at),
        architecture: record.row.architecture.clone(),
        expanded_config: expand_config(profiles.iter().map(|p| &p.config), &snapshot.config),
        expanded_devices: expand_devices(profiles.iter().map(|p| &p.devices), &snapshot.devices),
        config: snapshot.config,
        created_at: Time::from(snapshot.created_at),
        devices: snapshot.devices,
        ephemeral: record.row.ephemeral,
        last_used_at: Time::never(),
        name: snapshot.name,
        profiles: record.row.profiles.clone(),
        stateful: snapshot.stateful,
        // As where the driver does not know.
        size: -1,
    }
}

/// A backup as clients see it.
pub(super) fn wire_backup(backup: Backup) -> InstanceBackup {
    InstanceBackup {
        container_only: backup.instance_only,
        created_at: Time::from(backup.created_at),
        expires_at: Time::from(backup.expires_at),
        instance_only: backup.instance_only,
        name: backup.name,
        optimized_storage: backup.optimized_storage,
    }
}

/// The keys of all instances of this server.
///
/// # Errors
/// The database can't be read.
pub(super) async fn all_keys(tx: &mut Tx, project: &str) -> Result<Vec<Key>> {
    let filter = Filter {
        project: Some(project),
        ..Filter::default()
    };
    let names = rows::names(tx, filter).await?;
    Ok(names
        .into_iter()
        .map(|(project, name)| Key::new(project, name))
        .collect())
}
