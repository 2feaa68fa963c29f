//! Renaming instances.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use lxd_api::instances::InstancePost;
use lxd_db::cluster::instances as rows;
use lxd_db::cluster::storage_volumes::{self, Key as VolumeKey};
use lxd_db::cluster::{Tx, VolumeType};
use lxd_instance::Key;
use lxd_instance::drivers::container::forget_profile;
use lxd_model::config::Config;
use lxd_model::names;
use lxd_storage::Volume;
use serde::{Deserialize, Serialize};

use super::cards;
use super::record::Record;
use super::{backup_file, migrate, relocate, volatile};
use crate::app::{App, blocking};
use crate::ctx::Ctx;
use crate::error::{Error, Result};
use crate::events::{Action, Lifecycle};
use crate::operations::{self, Kind, OnCrash, Operation, Options, Step, Task, Work, Works};
use crate::steps;

/// The id that cloud-init knows an instance by.
const CLOUD_INIT: &str = "volatile.cloud-init.instance-id";

/// Which templates the next start renders.
const TEMPLATE: &str = "volatile.apply_template";

/// The kinds of works of this file.
pub(super) fn works(works: &mut Works) {
    works.add::<Rename>();
}

/// Renames an instance that does not run, or gives one to another place or server, as an operation.
///
/// # Errors
/// Not found; the new name is bad or taken; the other server can't be reached.
pub async fn rename(app: &Arc<App>, ctx: &Ctx, name: &str, post: InstancePost) -> Result<Operation> {
    ctx.require_project()?;
    let mut tx = app.cluster.read().await?;
    rows::id(&mut tx, &ctx.project, name).await?;
    if post.migration && (!post.pool.is_empty() || !post.project.is_empty()) {
        drop(tx);
        return relocate::relocate(app, ctx, name, post);
    }
    if post.migration {
        drop(tx);
        let wish = migrate::Wish {
            snapshot: None,
            instance_only: post.instance_only || post.container_only,
            // Who does not say it means it, as clients of old did.
            live: post.live.unwrap_or(true),
            target: post.target,
        };
        return migrate::send(app, ctx, name, wish).await;
    }
    let new_name = if post.name.is_empty() {
        name.to_owned()
    } else {
        post.name
    };
    names::instance(&new_name)?;
    if rows::id(&mut tx, &ctx.project, &new_name).await.is_ok() {
        return Err(Error::conflict(format!("Name {new_name:?} already in use")));
    }
    drop(tx);
    let options = Options::task(Kind::InstanceRename).resource("instances", name);
    let (app, owned, key) = (Arc::clone(app), ctx.clone(), Key::new(&ctx.project, name));
    let operations = Arc::clone(&app.operations);
    operations.spawn(ctx, options, move |operation| async move {
        run(&app, &owned, (&key, new_name), &operation).await
    })
}

async fn run(
    app: &Arc<App>,
    ctx: &Ctx,
    (key, new_name): (&Key, String),
    operation: &Operation,
) -> Result<()> {
    let _guard = app.instances.lock(key).await;
    let _other = app.instances.lock(&Key::new(&key.project, &new_name)).await;
    if app.instances.registry.phase(key).is_running() {
        return Err(Error::bad_request("Renaming of running container not allowed"));
    }
    let mut tx = app.cluster.read().await?;
    let record = Record::load(&mut tx, &key.project, &key.name).await?;
    drop(tx);
    let work = Rename {
        project: key.project.clone(),
        old: key.name.clone(),
        id: record.row.id,
        pool: record.pool().to_owned(),
        before: Before::of(&record),
        new: new_name,
    };
    let done = operations::run_in(app, ctx, operation, work).await?;
    let instance = record.instance(app)?;
    if let Err(error) = cards::forget(app, &instance, &instance.devices).await {
        tracing::warn!(instance = %key, err = error.text(), "A network remembers an instance's old name");
    }
    let url = super::url(&key.project, &done.new);
    let event = Lifecycle::new(Action::InstanceRenamed, url).with("old_name", key.name.as_str());
    app.events.lifecycle(&key.project, &event);
    Ok(())
}

/// Another name: in the database, in the pool, in the folder of logs.
#[derive(Serialize, Deserialize)]
pub(super) struct Rename {
    project: String,
    id: i64,
    old: String,
    new: String,
    pool: String,
    #[serde(flatten)]
    before: Before,
}

/// What is told of the instance until now.
#[derive(Clone, Serialize, Deserialize)]
struct Before {
    /// The id that cloud-init knows it by.
    cloud_init: Option<String>,
    /// Which templates its next start renders.
    #[serde(default)]
    template: Option<String>,
}

impl Before {
    fn of(record: &Record) -> Self {
        let own = |key: &str| record.row.config.get(key).cloned();
        Self {
            cloud_init: own(CLOUD_INIT),
            template: own(TEMPLATE),
        }
    }

    /// What is to be told of it again.
    fn config(&self) -> Config {
        let known = [(CLOUD_INIT, &self.cloud_init), (TEMPLATE, &self.template)];
        let known = known.map(|(key, value)| (key.to_owned(), value.clone().unwrap_or_default()));
        known.into()
    }
}

impl Work for Rename {
    const KIND: &'static str = "instances.rename";
    const ON_CRASH: OnCrash = OnCrash::Undo;

    fn steps() -> &'static [Step<Self>] {
        steps![Self;
            "rows": Self::rename_rows => Self::restore_rows;
            unrecorded "volume": Self::rename_volume => Self::restore_volume;
            unrecorded "logs": Self::rename_logs => Self::restore_logs;
            unrecorded "backup": Self::write_backup;
        ]
    }
}

impl Rename {
    #[cfg(test)]
    pub(super) fn of(record: &Record, new: &str) -> Self {
        Self {
            project: record.row.project.clone(),
            id: record.row.id,
            old: record.row.name.clone(),
            new: new.to_owned(),
            pool: record.pool().to_owned(),
            before: Before::of(record),
        }
    }

    async fn rename_rows(&mut self, task: &Task) -> Result<()> {
        let mut tx = task.app.cluster.begin().await?;
        let told = [
            (CLOUD_INIT, volatile::new_uuid()),
            (TEMPLATE, "rename".to_owned()),
        ];
        let told = told.map(|(key, value)| (key.to_owned(), value)).into();
        self.move_rows(&mut tx, (&self.old, &self.new), &told).await?;
        Ok(tx.commit().await?)
    }

    async fn restore_rows(&mut self, task: &Task) -> Result<()> {
        let mut tx = task.app.cluster.begin().await?;
        // Who is called so may be another instance, if the first step did nothing.
        if rows::id(&mut tx, &self.project, &self.new).await.ok() != Some(self.id) {
            return Ok(());
        }
        let told = self.before.config();
        self.move_rows(&mut tx, (&self.new, &self.old), &told).await?;
        Ok(tx.commit().await?)
    }

    async fn move_rows(&self, tx: &mut Tx, (from, to): (&str, &str), told: &Config) -> Result<()> {
        rows::rename(tx, self.id, to).await?;
        rows::backups::follow_rename(tx, self.id, to).await?;
        rows::change_config(tx, self.id, told).await?;
        let key = VolumeKey {
            pool: &self.pool,
            project: &self.project,
            kind: VolumeType::Container,
            name: from,
        };
        if let Ok(volume) = storage_volumes::get(tx, key).await {
            storage_volumes::rename(tx, volume.id, to).await?;
        }
        Ok(())
    }

    fn volume(&self, name: &str) -> Volume {
        Volume::container(&self.project, name)
    }

    async fn rename_volume(&mut self, task: &Task) -> Result<()> {
        let pool = task.app.pools.get(&self.pool)?;
        Ok(pool
            .rename_volume(&self.volume(&self.old), &self.volume(&self.new))
            .await?)
    }

    async fn restore_volume(&mut self, task: &Task) -> Result<()> {
        let pool = task.app.pools.get(&self.pool)?;
        let exists = |name: &str| pool.volume_path(&self.volume(name)).symlink_metadata().is_ok();
        if exists(&self.new) && !exists(&self.old) {
            pool.rename_volume(&self.volume(&self.new), &self.volume(&self.old))
                .await?;
        }
        Ok(())
    }

    /// The folders of logs and backups, with the old name and the new one.
    fn folders(&self, task: &Task) -> [(PathBuf, PathBuf); 2] {
        let paths = &task.app.paths;
        let logs = |name: &str| paths.instance_logs(&self.project, name);
        let backups = |name: &str| paths.instance_backups(&self.project, name);
        [
            (logs(&self.old), logs(&self.new)),
            (backups(&self.old), backups(&self.new)),
        ]
    }

    async fn rename_logs(&mut self, task: &Task) -> Result<()> {
        let folders = self.folders(task);
        let paths = super::record::instance_paths(&task.app.paths, &self.project, &self.old);
        let key = Key::new(&self.project, &self.old);
        blocking(move || {
            forget_profile(&key, &paths)?;
            folders.iter().try_for_each(|(old, new)| {
                // What an earlier instance of that name has left.
                let _ = std::fs::remove_dir_all(new);
                move_folder(old, new)
            })
        })
        .await
    }

    async fn restore_logs(&mut self, task: &Task) -> Result<()> {
        let folders = self.folders(task);
        blocking(move || {
            let mut moved = folders.iter().filter(|(old, _)| !old.exists());
            moved.try_for_each(|(old, new)| move_folder(new, old))
        })
        .await
    }

    async fn write_backup(&mut self, task: &Task) -> Result<()> {
        let mut tx = task.app.cluster.read().await?;
        let record = Record::load(&mut tx, &self.project, &self.new).await?;
        backup_file::write(&task.app, &mut tx, &record).await
    }
}

pub(super) fn move_folder(from: &Path, to: &Path) -> Result<()> {
    match std::fs::rename(from, to) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(Error::internal(format!("Failed renaming {}", from.display())).because(error))
        }
        _ => Ok(()),
    }
}
