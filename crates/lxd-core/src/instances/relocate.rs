//! Moving instances of this server: to another pool, another project, with another name.

use std::sync::Arc;

use lxd_api::instances::{InstancePost, InstancePut};
use lxd_db::cluster::instances as rows;
use lxd_db::cluster::instances::snapshots as snapshot_rows;
use lxd_db::cluster::storage_volumes;
use lxd_db::cluster::{Tx, projects};
use lxd_instance::Key;
use lxd_instance::drivers::container::forget_profile;
use lxd_model::devices::{Devices, root_disk};
use lxd_model::instances::InstanceType;
use lxd_storage::Watch;
use serde::{Deserialize, Serialize};

use super::checks::{self, Candidate};
use super::copy::copy_snapshots;
use super::record::{Record, profiles_of};
use super::rename::move_folder;
use super::snapshots::{Root, Saved, root_at};
use super::{backup_file, cards, saving, update, volatile};
use crate::app::{App, blocking};
use crate::ctx::Ctx;
use crate::error::{Context as _, Error, Result};
use crate::events::{Action, Lifecycle};
use crate::operations::{self, Kind, OnCrash, Operation, Options, Step, Task, Work, Works};
use crate::steps;

/// The kinds of works of this file.
pub(super) fn works(works: &mut Works) {
    works.add::<Move>();
}

/// Moves an instance that does not run, as an operation.
///
/// # Errors
/// The caller may not see the other project. What is wrong with the place the operation reports.
pub(super) fn relocate(app: &Arc<App>, ctx: &Ctx, name: &str, post: InstancePost) -> Result<Operation> {
    if !post.project.is_empty() {
        ctx.in_project(post.project.clone()).require_project()?;
    }
    let options = Options::task(Kind::InstanceMigrate)
        .resource_url("instances", crate::urls::plain(&["instances", name]));
    let (app, owned, key) = (Arc::clone(app), ctx.clone(), Key::new(&ctx.project, name));
    let operations = Arc::clone(&app.operations);
    operations.spawn(ctx, options, move |operation| async move {
        run(&app, &owned, (&key, &post), &operation).await
    })
}

async fn run(
    app: &Arc<App>,
    ctx: &Ctx,
    (key, post): (&Key, &InstancePost),
    operation: &Operation,
) -> Result<()> {
    let or = |new: &str, old: &str| {
        if new.is_empty() {
            old.to_owned()
        } else {
            new.to_owned()
        }
    };
    let goal = Key::new(or(&post.project, &key.project), or(&post.name, &key.name));
    let _guard = app.instances.lock(key).await;
    let _other = match goal == *key {
        true => None,
        false => Some(app.instances.lock(&goal).await),
    };
    refuse_running(app, key, post)?;
    let mut tx = app.cluster.read().await?;
    let record = Record::load(&mut tx, &key.project, &key.name).await?;
    let work = plan(app, &mut tx, &record, (&goal, post)).await;
    let work = work.context("Failed creating instance record")?;
    drop(tx);
    if work.from == work.to {
        return Ok(());
    }
    operations::run_in(app, ctx, operation, work).await?;
    if goal != *key {
        let old = record.instance(app)?;
        if let Err(error) = cards::forget(app, &old, &old.devices).await {
            tracing::warn!(instance = %key, err = error.text(), "A network remembers an instance's old name");
        }
        let url = super::url(&goal.project, &goal.name);
        let event = Lifecycle::new(Action::InstanceRenamed, url).with("old_name", key.name.as_str());
        app.events.lifecycle(&goal.project, &event);
    }
    Ok(())
}

/// What runs would have to move with its state.
fn refuse_running(app: &App, key: &Key, post: &InstancePost) -> Result<()> {
    if !app.instances.registry.phase(key).is_running() {
        return Ok(());
    }
    let places = match post.project.is_empty() || post.project == key.project {
        true => "pools",
        false => "projects",
    };
    Err(Error::bad_request(match post.live {
        Some(false) => format!("Instance must be stopped to move between {places} statelessly"),
        _ if saving::has_criu() => {
            let text = format!("Instances move between {places} only while they are stopped");
            return Err(Error::not_implemented(text));
        }
        _ => "Unable to perform container live migration. CRIU isn't installed".to_owned(),
    }))
}

/// The instance as it will be, after checking that it may be so.
async fn plan(
    app: &Arc<App>,
    tx: &mut Tx,
    record: &Record,
    (goal, post): (&Key, &InstancePost),
) -> Result<Move> {
    lxd_model::names::instance(&goal.name)?;
    let project = projects::get(tx, &goal.project).await?;
    let from = Root::of(record);
    let mut new = record.writable();
    let pool = if post.pool.is_empty() {
        &from.pool
    } else {
        &post.pool
    };
    set_pool(&mut new.devices, &record.devices, pool);
    volatile::new_cloud_init_id(&mut new.config);
    let known = profiles_of(tx, &goal.project).await?;
    if let Some(missing) = new.profiles.iter().find(|name| !known.contains_key(*name)) {
        return Err(Error::bad_request(format!(
            "Requested profile {missing:?} doesn't exist"
        )));
    }
    let mut row = record.row.clone();
    row.devices.clone_from(&new.devices);
    let after = Record::new(row, &known);
    let candidate = Candidate {
        project: &goal.project,
        name: &goal.name,
        kind: InstanceType::from_id(record.row.kind.code())?,
        config: &after.config,
        devices: &after.devices,
    };
    let expanded = checks::expanded(app, tx, candidate).await;
    expanded.context("Failed initialising instance")?;
    let to = Root {
        project: goal.project.clone(),
        name: goal.name.clone(),
        pool: after.pool().to_owned(),
    };
    let is_elsewhere = (&to.project, &to.name) != (&from.project, &from.name);
    if to.project != from.project {
        checks::project_limits(tx, &project.config, candidate, None, checks::CREATION).await?;
    }
    if is_elsewhere && rows::id(tx, &to.project, &to.name).await.is_ok() {
        let text = "Add instance info to the database: This \"instances\" entry already exists";
        return Err(Error::conflict(text));
    }
    let path = app.pools.get(&to.pool)?.volume_path(&to.volume());
    if to != from && path.symlink_metadata().is_ok() {
        // Files of nobody may be worth something: they are not ours to replace.
        let text = format!("{} exists although no instance has it", path.display());
        return Err(Error::internal(text));
    }
    let mut snapshots = Saved::all(tx, record.row.id).await?;
    let dropped = match post.instance_only || post.container_only {
        true => std::mem::take(&mut snapshots),
        false => Vec::new(),
    };
    Ok(Move {
        id: record.row.id,
        is_new_pool: to.pool != from.pool,
        from,
        to,
        old: record.writable(),
        new,
        snapshots,
        dropped,
        is_settled: false,
    })
}

/// Gives an instance a root disk of its own in the pool: at its new place profiles may give it none.
fn set_pool(own: &mut Devices, expanded: &Devices, pool: &str) {
    let Ok((name, root)) = root_disk(expanded) else {
        return;
    };
    let mut root = root.clone();
    root.insert("pool".into(), pool.to_owned());
    own.insert(name.to_owned(), root);
}

/// A move: the files to their new place, the rows, and then the old files go. After a crash it goes on.
#[derive(Serialize, Deserialize)]
pub(super) struct Move {
    id: i64,
    from: Root,
    to: Root,
    is_new_pool: bool,
    old: InstancePut,
    new: InstancePut,
    snapshots: Vec<Saved>,
    /// Snapshots that don't come along.
    dropped: Vec<Saved>,
    /// Whether the old files go already, so that nothing is undone any more.
    is_settled: bool,
}

impl Work for Move {
    const KIND: &'static str = "instances.move";
    const ON_CRASH: OnCrash = OnCrash::Finish;

    fn steps() -> &'static [Step<Self>] {
        steps![Self;
            "volume": Self::place => Self::take_back;
            "rows": Self::store => Self::store_old;
            unrecorded "logs": Self::move_logs => Self::move_logs_back;
            unrecorded "backup": Self::write_backup;
            "old": Self::remove_old;
        ]
    }
}

impl Move {
    #[cfg(test)]
    pub(super) async fn of(app: &Arc<App>, record: &Record, post: InstancePost) -> Result<Self> {
        let mut tx = app.cluster.read().await?;
        let goal = Key::new(&post.project, &post.name);
        plan(app, &mut tx, record, (&goal, &post)).await
    }

    /// Whether the rows say that the instance is at its new place.
    async fn is_moved(&self, task: &Task) -> Result<bool> {
        let mut tx = task.app.cluster.read().await?;
        Ok(self.to.volume_id(&mut tx).await.is_some()
            && rows::id(&mut tx, &self.to.project, &self.to.name).await.ok() == Some(self.id))
    }

    /// Copies to another pool, renames in the same one.
    async fn place(&mut self, task: &Task) -> Result<()> {
        let (from, to) = (self.from.volume(), self.to.volume());
        let pool = task.app.pools.get(&self.to.pool)?;
        let is_there = pool.volume_path(&to).symlink_metadata().is_ok();
        if !self.is_new_pool {
            return match is_there {
                true => Ok(()),
                false => Ok(pool.rename_volume(&from, &to).await?),
            };
        }
        let from_pool = task.app.pools.get(&self.from.pool)?;
        if !is_there {
            let watch = Watch::new(task.ctx.cancel.clone(), None);
            let copied = pool.copy_volume_from(&from_pool, &from, &to, watch).await;
            copied.context("Create instance from copy")?;
        }
        copy_snapshots(task, &self.from, &self.to, &self.snapshots).await
    }

    async fn take_back(&mut self, task: &Task) -> Result<()> {
        if self.is_settled {
            return Ok(());
        }
        let (from, to) = (self.from.volume(), self.to.volume());
        let pool = task.app.pools.get(&self.to.pool)?;
        let has_files =
            |pool: &lxd_storage::Pool, volume| pool.volume_path(volume).symlink_metadata().is_ok();
        if !self.is_new_pool {
            if has_files(&pool, &to) && !has_files(&pool, &from) {
                pool.rename_volume(&to, &from).await?;
            }
            return Ok(());
        }
        let from_pool = task.app.pools.get(&self.from.pool)?;
        if has_files(&from_pool, &from) && !self.is_moved(task).await? {
            pool.delete_volume(&to).await?;
            let has_snapshots = !self.snapshots.is_empty() || !self.dropped.is_empty();
            from_pool.link_volume(&from, has_snapshots).await?;
        }
        Ok(())
    }

    async fn store(&mut self, task: &Task) -> Result<()> {
        self.write(task, (&self.from, &self.to), &self.new, true).await
    }

    async fn store_old(&mut self, task: &Task) -> Result<()> {
        if self.is_settled {
            return Ok(());
        }
        self.write(task, (&self.to, &self.from), &self.old, false).await
    }

    async fn write(
        &self,
        task: &Task,
        (from, to): (&Root, &Root),
        put: &InstancePut,
        is_moved: bool,
    ) -> Result<()> {
        let mut tx = task.app.cluster.begin().await?;
        let Some(volume) = from.volume_id(&mut tx).await else {
            return Ok(());
        };
        if rows::id(&mut tx, &from.project, &from.name).await.ok() != Some(self.id) {
            return Ok(());
        }
        let expires_at = rows::get_by_id(&mut tx, self.id).await?.expires_at;
        if from.name != to.name {
            rows::rename(&mut tx, self.id, &to.name).await?;
            storage_volumes::rename(&mut tx, volume, &to.name).await?;
        }
        if from.project != to.project {
            rows::set_project(&mut tx, self.id, &to.project).await?;
            storage_volumes::set_project(&mut tx, volume, &to.project).await?;
        }
        if from.pool != to.pool {
            storage_volumes::set_pool(&mut tx, volume, &to.pool).await?;
        }
        rows::update(&mut tx, self.id, &update::content(put.clone(), expires_at)).await?;
        for snapshot in &self.snapshots {
            let row = snapshot_rows::get(&mut tx, self.id, &snapshot.name).await?;
            let mut devices = snapshot.devices.clone();
            if is_moved {
                root_at(&mut devices, &put.devices, &to.pool);
            }
            snapshot_rows::set_devices(&mut tx, row.id, &devices).await?;
        }
        for snapshot in &self.dropped {
            match is_moved {
                true => drop(snapshot.remove(&mut tx, self.id, Some(volume)).await?),
                false => snapshot.insert(&mut tx, self.id, Some(volume)).await?,
            }
        }
        Ok(tx.commit().await?)
    }

    async fn move_logs(&mut self, task: &Task) -> Result<()> {
        self.rename_logs(task, (&self.from, &self.to)).await
    }

    async fn move_logs_back(&mut self, task: &Task) -> Result<()> {
        if self.is_settled {
            return Ok(());
        }
        self.rename_logs(task, (&self.to, &self.from)).await
    }

    async fn rename_logs(&self, task: &Task, (from, to): (&Root, &Root)) -> Result<()> {
        let of = |root: &Root| task.app.paths.instance_logs(&root.project, &root.name);
        let (old, new) = (of(from), of(to));
        if old == new {
            return Ok(());
        }
        let paths = super::record::instance_paths(&task.app.paths, &from.project, &from.name);
        let key = Key::new(&from.project, &from.name);
        blocking(move || {
            forget_profile(&key, &paths)?;
            if !old.exists() {
                return Ok(());
            }
            // What an earlier instance of that name has left.
            let _ = std::fs::remove_dir_all(&new);
            move_folder(&old, &new)
        })
        .await
    }

    async fn write_backup(&mut self, task: &Task) -> Result<()> {
        backup_file::refresh(&task.app, &self.to.key()).await
    }

    /// From here on there is no way back, so that nothing here fails the move.
    async fn remove_old(&mut self, task: &Task) -> Result<()> {
        self.is_settled = true;
        let removed = async {
            if self.is_new_pool {
                let pool = task.app.pools.get(&self.from.pool)?;
                return Ok::<(), Error>(pool.delete_volume(&self.from.volume()).await?);
            }
            let pool = task.app.pools.get(&self.to.pool)?;
            for snapshot in &self.dropped {
                pool.delete_volume(&self.to.snapshot(&snapshot.name)).await?;
            }
            Ok(())
        };
        if let Err(error) = removed.await {
            tracing::error!(instance = %self.to.key(), err = error.text(), "Failed removing the files of a moved instance");
        }
        Ok(())
    }
}
