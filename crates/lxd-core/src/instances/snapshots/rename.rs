//! Renaming snapshots.

use std::sync::Arc;

use lxd_api::instance_snapshots::InstanceSnapshotPost;
use lxd_db::cluster::instances as rows;
use lxd_db::cluster::instances::snapshots;
use lxd_db::cluster::storage_volumes::snapshots as volume_snapshots;
use lxd_instance::Key;
use lxd_model::names;
use serde::{Deserialize, Serialize};

use super::options;
use super::rows::Root;
use crate::app::App;
use crate::ctx::Ctx;
use crate::error::{Error, Result};
use crate::events::{Action, Lifecycle};
use crate::instances::record::Record;
use crate::instances::{backup_file, migrate};
use crate::operations::{self, Kind, OnCrash, Operation, Step, Task, Work};
use crate::steps;

/// Renames a snapshot, or gives it to another server, as an operation.
///
/// # Errors
/// Not found; the new name is bad or taken; the other server can't be reached.
pub async fn rename(
    app: &Arc<App>,
    ctx: &Ctx,
    (instance, name): (&str, &str),
    post: InstanceSnapshotPost,
) -> Result<Operation> {
    super::find(app, ctx, instance, name).await?;
    if post.name.is_empty() && post.migration {
        return Err(Error::bad_request(
            "A new name for the container must be provided",
        ));
    }
    if post.migration {
        if post.live && post.name != instance {
            return Err(Error::bad_request(format!(
                "Instance name cannot be changed during stateful copy ({instance:?} to {:?})",
                post.name
            )));
        }
        let wish = migrate::Wish {
            snapshot: Some(name.to_owned()),
            instance_only: true,
            live: post.live,
            target: Some(post.target),
        };
        return migrate::send(app, ctx, instance, wish).await;
    }
    if post.name.contains('/') {
        return Err(Error::bad_request("Invalid snapshot name: Cannot contain \"/\""));
    }
    names::snapshot(&post.name)?;
    let is_taken = super::find(app, ctx, instance, &post.name).await.is_ok();
    if is_taken {
        let text = format!("Name '{instance}/{}' already in use", post.name);
        return Err(Error::conflict(text));
    }
    let options = options(Kind::SnapshotRename, instance);
    let (app, owned, key) = (Arc::clone(app), ctx.clone(), Key::new(&ctx.project, instance));
    let operations = Arc::clone(&app.operations);
    let name = name.to_owned();
    operations.spawn(ctx, options, move |operation| async move {
        run(&app, &owned, &key, (name, post.name), &operation).await
    })
}

async fn run(
    app: &Arc<App>,
    ctx: &Ctx,
    key: &Key,
    (old, new): (String, String),
    operation: &Operation,
) -> Result<()> {
    let _guard = app.instances.lock(key).await;
    let mut tx = app.cluster.read().await?;
    let record = Record::load(&mut tx, &key.project, &key.name).await?;
    let id = snapshots::get(&mut tx, record.row.id, &old).await?.id;
    drop(tx);
    let work = Rename {
        root: Root::of(&record),
        id,
        old,
        new,
    };
    let done = operations::run_in(app, ctx, operation, work).await?;
    let url = super::url(&key.project, &key.name, &done.new);
    let event = Lifecycle::new(Action::InstanceSnapshotRenamed, url)
        .with("old_name", format!("{}/{}", key.name, done.old));
    app.events.lifecycle(&key.project, &event);
    Ok(())
}

/// Another name: in the database, in the pool.
#[derive(Serialize, Deserialize)]
pub(in crate::instances) struct Rename {
    root: Root,
    id: i64,
    old: String,
    new: String,
}

impl Work for Rename {
    const KIND: &'static str = "instance-snapshots.rename";
    const ON_CRASH: OnCrash = OnCrash::Undo;

    fn steps() -> &'static [Step<Self>] {
        steps![Self;
            "rows": Self::rename_rows => Self::restore_rows;
            unrecorded "volume": Self::rename_volume => Self::restore_volume;
            unrecorded "backup": Self::write_backup;
        ]
    }
}

impl Rename {
    #[cfg(test)]
    pub(in crate::instances) fn of(record: &Record, id: i64, old: &str, new: &str) -> Self {
        Self {
            root: Root::of(record),
            id,
            old: old.to_owned(),
            new: new.to_owned(),
        }
    }

    async fn rename_rows(&mut self, task: &Task) -> Result<()> {
        self.move_rows(task, &self.old, &self.new).await
    }

    async fn restore_rows(&mut self, task: &Task) -> Result<()> {
        self.move_rows(task, &self.new, &self.old).await
    }

    async fn move_rows(&self, task: &Task, from: &str, to: &str) -> Result<()> {
        let mut tx = task.app.cluster.begin().await?;
        let Ok(instance) = rows::id(&mut tx, &self.root.project, &self.root.name).await else {
            return Ok(());
        };
        // Who is called so may be another snapshot, if this was undone already.
        let found = snapshots::get(&mut tx, instance, from).await.ok();
        if found.map(|row| row.id) != Some(self.id) {
            return Ok(());
        }
        snapshots::rename(&mut tx, self.id, to).await?;
        if let Some(volume) = self.root.volume_id(&mut tx).await
            && let Ok(row) = volume_snapshots::get(&mut tx, volume, from).await
        {
            volume_snapshots::rename(&mut tx, row.id, to).await?;
        }
        Ok(tx.commit().await?)
    }

    async fn rename_volume(&mut self, task: &Task) -> Result<()> {
        let pool = task.app.pools.get(&self.root.pool)?;
        let (old, new) = (self.root.snapshot(&self.old), self.root.snapshot(&self.new));
        Ok(pool.rename_volume(&old, &new).await?)
    }

    async fn restore_volume(&mut self, task: &Task) -> Result<()> {
        let pool = task.app.pools.get(&self.root.pool)?;
        let (old, new) = (self.root.snapshot(&self.old), self.root.snapshot(&self.new));
        let exists = |volume| pool.volume_path(volume).symlink_metadata().is_ok();
        if exists(&new) && !exists(&old) {
            pool.rename_volume(&new, &old).await?;
        }
        Ok(())
    }

    async fn write_backup(&mut self, task: &Task) -> Result<()> {
        backup_file::refresh(&task.app, &self.root.key()).await
    }
}
