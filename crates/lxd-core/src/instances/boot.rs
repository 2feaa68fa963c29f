//! The start and the end of the daemon, as its instances see it.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use lxd_db::cluster::instances::{self as rows, Filter};
use lxd_instance::lifecycle::Phase;
use lxd_instance::{Error as InstanceError, Key, Stop};
use lxd_model::instances::boot;
use lxd_storage::Volume;
use lxd_sys::mount;
use lxd_sys::system::boot_id;

use super::record::Record;
use super::start::tell;
use super::update::Followers;
use super::{backups, follow, snapshots, start, volatile};
use crate::app::{App, blocking};
use crate::ctx::Ctx;
use crate::error::{Context as _, Error, Result};
use crate::events::Action;
use crate::paths::Paths;

/// Makes the state directory a shared mount, so that what is unmounted here disappears for the monitors of instances, too,
/// which have mount namespaces of their own. Gives whether it was none before.
///
/// # Errors
/// The kernel refuses.
pub fn share_mounts(paths: &Paths) -> Result<bool> {
    let root = paths.root();
    mount::make_shared_mount(root)
        .map_err(|error| Error::internal("Failed making the state directory a shared mount").because(error))
}

/// Undoes [`share_mounts`] when nothing runs any more. A state directory that is a file system of its own stays mounted.
pub fn unshare_mounts(app: &App) {
    if app.instances.registry.running_keys().is_empty() {
        unshare(&app.paths);
    }
}

/// Undoes [`share_mounts`], for a daemon that did not start.
pub fn unshare(paths: &Paths) {
    let root = paths.root();
    let undone = mount::is_mounted_on_itself(root)
        .and_then(|is_ours| if is_ours { mount::detach(root) } else { Ok(()) });
    if let Err(error) = undone {
        tracing::debug!(%error, "The state directory stays a mount");
    }
}

/// Takes over what runs already. Before works that were left half done are recovered, which may have to end it.
///
/// # Errors
/// The database or `/proc` can't be read.
pub(crate) async fn adopt(app: &Arc<App>) -> Result<()> {
    app.instances.connect(app);
    *app.profile_users.write() = Some(Arc::new(Followers(Arc::downgrade(app))));
    let mut instances = Vec::new();
    for record in all(app).await? {
        match record.running_instance(app) {
            Ok(instance) => instances.push(instance),
            Err(error) => {
                tracing::error!(instance = %record.key(), err = error.text(), "Found an instance that can't be run")
            }
        }
    }
    if instances.is_empty() {
        return Ok(());
    }
    let adopted = app.instances.registry.adopt(&instances).await;
    let adopted = adopted.context("Failed taking over running instances")?;
    for key in adopted {
        tracing::debug!(instance = %key, "Took over a running instance");
    }
    Ok(())
}

async fn all(app: &App) -> Result<Vec<Record>> {
    let filter = Filter {
        node_id: Some(app.cluster.node_id()),
        ..Filter::default()
    };
    let mut tx = app.cluster.read().await?;
    Record::list(&mut tx, filter).await
}

/// When all else is up: removes what a killed daemon left in the pools, follows what runs, and starts what should run, in
/// its order, behind the caller's back.
///
/// # Errors
/// The database can't be read.
pub(crate) async fn resume(app: &Arc<App>) -> Result<()> {
    let records = all(app).await?;
    clean_pools(app, &records).await;
    follow::spawn(app);
    // Instances may have rebooted, and hardware may have come, while nobody looked.
    app.instances.registry.refresh();
    backups::spawn_expiry(app);
    snapshots::spawn(app);
    crate::storage_volumes::spawn(app);
    let was_away = is_same_run(app).await;
    let owed = app.instances.take_owed();
    let (app, records) = (Arc::clone(app), records);
    let stopped = records
        .into_iter()
        .filter(|record| app.instances.registry.phase(&record.key()) == Phase::Stopped);
    let stopped: Vec<Record> = stopped.collect();
    let mut to_start = Vec::new();
    for record in stopped {
        let ran = record
            .config
            .get("volatile.last_state.power")
            .is_some_and(|power| power == "RUNNING");
        if owed.contains(&record.key()) {
            to_start.push(record);
        } else if record.row.ephemeral || (ran && was_away) {
            // It ended while nobody looked.
            put_away(&app, &record).await;
        } else if boot::starts(&record.config) {
            to_start.push(record);
        }
    }
    let owned = Arc::clone(&app);
    tokio::spawn(async move { start_all(&owned, to_start).await });
    note_run(&app).await;
    Ok(())
}

async fn put_away(app: &Arc<App>, record: &Record) {
    let key = record.key();
    let cleaned = async {
        app.instances.registry.clean_up(&record.instance(app)?).await?;
        follow::gone(app, &Ctx::daemon(&key.project), &key).await
    };
    if let Err(error) = cleaned.await {
        tracing::error!(instance = %key, err = error.text(), "Failed putting away an instance that has ended");
    }
}

async fn clean_pools(app: &Arc<App>, records: &[Record]) {
    let mut running: BTreeMap<&str, Vec<Volume>> = BTreeMap::new();
    for record in records {
        if app.instances.registry.phase(&record.key()).is_running() {
            let volume = Volume::container(&record.row.project, &record.row.name);
            running.entry(record.pool()).or_default().push(volume);
        }
    }
    for pool in app.pools.list() {
        let kept = running.remove(pool.name()).unwrap_or_default();
        match pool.clean_leftovers(kept).await {
            Ok(cleaned) => tracing::debug!(pool = pool.name(), ?cleaned),
            Err(error) => tracing::error!(pool = pool.name(), %error, "Failed removing leftovers"),
        }
    }
}

async fn start_all(app: &Arc<App>, mut records: Vec<Record>) {
    records.sort_by(|a, b| {
        let key = |record: &'_ Record| {
            let (priority, _, _) = boot::start_key(&record.config, "", "");
            (priority, record.row.project.clone(), record.row.name.clone())
        };
        key(a).cmp(&key(b))
    });
    for record in records {
        if app.shutdown.is_cancelled() {
            return;
        }
        let (key, ctx) = (record.key(), Ctx::daemon(&record.row.project));
        if let Err(error) = start::run(app, &ctx, &key, None).await {
            tracing::error!(instance = %key, err = error.text(), "Failed to start instance");
        }
        let delay = boot::start_delay_seconds(&record.config);
        tokio::time::sleep(Duration::from_secs(delay)).await;
    }
}

/// Shuts all instances down because the host goes down, or because the user says so, by their priorities; kills those that
/// take longer than they may. The next daemon starts them again.
pub async fn shut_down(app: &Arc<App>) {
    let Ok(records) = all(app).await else { return };
    let mut groups: BTreeMap<_, Vec<Record>> = BTreeMap::new();
    for record in records {
        if app.instances.registry.phase(&record.key()).is_running() {
            groups
                .entry(boot::stop_priority(&record.config))
                .or_default()
                .push(record);
        }
    }
    for group in groups.into_values() {
        join_all(group.iter().map(|record| shut_down_one(app, record))).await;
    }
    let path = run_file(&app.paths);
    let _ = blocking(move || Ok(std::fs::remove_file(path))).await;
}

async fn shut_down_one(app: &Arc<App>, record: &Record) {
    let (key, registry) = (record.key(), &app.instances.registry);
    let patience = Duration::from_secs(boot::shutdown_timeout_seconds(&record.config));
    let mut stopped = registry.stop(&key, Stop::ask(Some(patience))).await;
    if matches!(stopped, Err(InstanceError::ShutdownTimeout { .. })) {
        stopped = registry.stop(&key, Stop::kill()).await;
    }
    let noted = match stopped {
        Ok(()) | Err(InstanceError::TearDown(_)) => note_end_of_run(app, &key).await,
        Err(error) => Err(error.into()),
    };
    match noted {
        Ok(()) => tell(app, &Ctx::daemon(&key.project), &key, Action::InstanceShutdown),
        Err(error) => tracing::error!(instance = %key, err = error.text(), "Failed to shut down instance"),
    }
}

/// Forgets what belonged to the run, but not that it ran.
async fn note_end_of_run(app: &App, key: &Key) -> Result<()> {
    let mut tx = app.cluster.begin().await?;
    let row = rows::get(&mut tx, &key.project, &key.name).await?;
    let mut changes = volatile::of_stop(&row.config);
    changes.remove("volatile.last_state.power");
    rows::change_config(&mut tx, row.id, &changes).await?;
    Ok(tx.commit().await?)
}

/// Holds the kernel's boot id from the start of the daemon until instances are shut down: where the next daemon finds it,
/// instances that ran and don't run any more have ended by themselves.
fn run_file(paths: &Paths) -> PathBuf {
    paths.root().join("boot-id")
}

async fn is_same_run(app: &App) -> bool {
    let path = run_file(&app.paths);
    let read = blocking(move || Ok(std::fs::read_to_string(path).unwrap_or_default())).await;
    read.is_ok_and(|noted| !noted.is_empty() && noted.trim_end() == boot_id())
}

async fn note_run(app: &App) {
    let path = run_file(&app.paths);
    let written = blocking(move || {
        std::fs::write(&path, boot_id())
            .map_err(|error| Error::internal(format!("Failed writing {}", path.display())).because(error))
    });
    if let Err(error) = written.await {
        tracing::warn!(
            err = error.text(),
            "The next daemon can't tell this boot from another"
        );
    }
}
