//! Custom volumes that get another name, project or pool. Who uses them follows.

use std::sync::Arc;

use lxd_api::storage_volumes::{StorageVolumePost, StorageVolumesPost};
use lxd_db::cluster::VolumeType;
use lxd_db::cluster::storage_volumes as rows;
use lxd_db::cluster::storage_volumes::StorageVolume as Row;
use lxd_db::cluster::{Tx, storage_pools, used_by};
use lxd_model::names;
use serde::{Deserialize, Serialize};

use super::copy::{Copy, Source};
use super::home::{self, Home};
use super::snapshots::Saved;
use super::{Path, backups, custom_holder, daemon, find, kind_of, send, users, validate};
use crate::app::App;
use crate::ctx::Ctx;
use crate::error::{Error, Result};
use crate::events::{Action, Lifecycle};
use crate::operations::{Kind, OnCrash, Operation, Options, Step, Task, Work};
use crate::steps;

/// What became of a request for another place.
pub enum Moved {
    /// It is done; this is the volume's new URL.
    Renamed(String),
    /// It goes on behind the answer.
    Moving(Operation),
}

/// Gives a volume another name, or moves it to another pool or project.
///
/// # Errors
/// Not found; a volume of an instance or an image; a bad name; the name is taken; a running instance uses it; the caller
/// may not.
pub async fn rename(app: &Arc<App>, ctx: &Ctx, path: Path<'_>, post: StorageVolumePost) -> Result<Moved> {
    let [pool, kind, _] = path;
    names::storage_volume(&post.name)?;
    if kind_of(kind)? != VolumeType::Custom {
        let text = format!("Renaming storage volumes of type {kind:?} is not allowed");
        return Err(Error::bad_request(text));
    }
    let mut tx = app.cluster.read().await?;
    custom_holder(&mut tx, ctx).await?;
    let row = find(&mut tx, ctx, path).await?;
    if post.migration {
        drop(tx);
        return send::send(app, ctx, row, post).map(Moved::Moving);
    }
    let target_project = match post.project.as_str() {
        "" => row.project.clone(),
        project => custom_holder(&mut tx, &ctx.in_project(project)).await?,
    };
    let target_pool = if post.pool.is_empty() { pool } else { &post.pool };
    storage_pools::id(&mut tx, target_pool).await?;
    let (from, to) = (
        Home::of(&row),
        Home::new(target_pool, &target_project, &post.name),
    );
    if to.row(&mut tx).await.is_some() {
        return Err(Error::conflict("Volume by that name already exists"));
    }
    check_users(app, &mut tx, &row, from.project != to.project).await?;
    drop(tx);
    if from.pool == to.pool && from.project == to.project {
        return rename_now(app, ctx, row.id, from, to).await.map(Moved::Renamed);
    }
    start_move(app, ctx, row, to).await.map(Moved::Moving)
}

/// Refuses what would pull the files from under a running instance, or leave somebody behind in another project.
async fn check_users(app: &App, tx: &mut Tx, row: &Row, leaves: bool) -> Result<()> {
    if daemon::uses(app, &Home::of(row)) {
        return Err(Error::refused(
            "Volume is used by LXD itself and cannot be renamed",
        ));
    }
    if users::has_running(app, tx, row).await? {
        return Err(Error::refused("Volume is still in use by running instances"));
    }
    let is_used = !used_by::storage_volume(tx, &row.project, &row.pool, &row.name)
        .await?
        .is_empty();
    if leaves && is_used {
        return Err(Error::bad_request("The storage volume is still in use"));
    }
    Ok(())
}

async fn rename_now(app: &Arc<App>, ctx: &Ctx, id: i64, from: Home, to: Home) -> Result<String> {
    let work = Rename {
        id,
        from: from.clone(),
        to: to.clone(),
    };
    let done = home::run(app, ctx, vec![from, to], work, None).await?;
    users::refresh_files(app, &done.to).await;
    tell_renamed(app, ctx, &done.from, &done.to);
    Ok(done.to.url())
}

fn tell_renamed(app: &App, ctx: &Ctx, from: &Home, to: &Home) {
    let event = Lifecycle::new(Action::StorageVolumeRenamed, to.url()).with("old_name", from.name.clone());
    app.events.lifecycle(&to.project, &event.by(ctx));
}

async fn start_move(app: &Arc<App>, ctx: &Ctx, row: Row, to: Home) -> Result<Operation> {
    let options = Options::task(Kind::VolumeMove);
    let (app, owned) = (Arc::clone(app), ctx.clone());
    let operations = Arc::clone(&app.operations);
    if row.pool == to.pool {
        let from = Home::of(&row);
        return operations.spawn(ctx, options, move |operation| async move {
            let work = Rename {
                id: row.id,
                from: from.clone(),
                to: to.clone(),
            };
            let done = home::run(&app, &owned, vec![from, to], work, Some(&operation)).await?;
            tell_renamed(&app, &owned, &done.from, &done.to);
            Ok(())
        });
    }
    validate(&app, &to, &to.volume(), &row.config, row.content_type)?;
    let work = plan(&app, row, to).await?;
    operations.spawn(ctx, options, move |operation| async move {
        let homes = vec![work.copy.from.clone(), work.copy.to.clone()];
        let done = home::run(&app, &owned, homes, work, Some(&operation)).await?;
        users::refresh_files(&app, &done.copy.to).await;
        tell_renamed(&app, &owned, &done.copy.from, &done.copy.to);
        Ok(())
    })
}

pub(super) async fn plan(app: &App, row: Row, to: Home) -> Result<Move> {
    let mut tx = app.cluster.read().await?;
    let snapshots = Saved::all(&mut tx, row.id).await?;
    let id = row.id;
    let source = Source {
        volume: row,
        snapshot: None,
        snapshots,
    };
    Ok(Move {
        copy: Copy::new(&source, to, &StorageVolumesPost::default()),
        id,
        is_settled: false,
    })
}

/// A volume that gets another name in its pool: its files, those of its backups, then its row, and whoever uses it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Rename {
    pub(super) id: i64,
    pub(super) from: Home,
    pub(super) to: Home,
}

impl Work for Rename {
    const KIND: &'static str = "storage-volumes.rename";
    const ON_CRASH: OnCrash = OnCrash::Undo;

    fn steps() -> &'static [Step<Self>] {
        steps![Self;
            "volume": Self::move_files => Self::move_back;
            unrecorded "backups": Self::move_backups => Self::move_backups_back;
            unrecorded "row": Self::name_anew => Self::name_again;
        ]
    }
}

impl Rename {
    async fn move_files(&mut self, task: &Task) -> Result<()> {
        let pool = self.from.pool(&task.app)?;
        Ok(pool.rename_volume(&self.from.volume(), &self.to.volume()).await?)
    }

    async fn move_back(&mut self, task: &Task) -> Result<()> {
        // The old name in use means that nothing was moved, or all of it back.
        if self.from.is_on_disk(&task.app, None)? || !self.to.is_on_disk(&task.app, None)? {
            return Ok(());
        }
        let pool = self.from.pool(&task.app)?;
        Ok(pool.rename_volume(&self.to.volume(), &self.from.volume()).await?)
    }

    async fn move_backups(&mut self, task: &Task) -> Result<()> {
        backups::move_folder(&task.app, &self.from, &self.to).await
    }

    async fn move_backups_back(&mut self, task: &Task) -> Result<()> {
        backups::move_folder(&task.app, &self.to, &self.from).await
    }

    async fn name_anew(&mut self, task: &Task) -> Result<()> {
        self.set_row(task, &self.from, &self.to).await
    }

    async fn name_again(&mut self, task: &Task) -> Result<()> {
        self.set_row(task, &self.to, &self.from).await
    }

    async fn set_row(&self, task: &Task, from: &Home, to: &Home) -> Result<()> {
        let mut tx = task.app.cluster.begin().await?;
        let row = from.row(&mut tx).await;
        // Who is called so may be another volume, if this was undone already.
        if row.map(|row| row.id) != Some(self.id) {
            return Ok(());
        }
        if from.name != to.name {
            rows::rename(&mut tx, self.id, &to.name).await?;
        }
        if from.project == to.project {
            users::follow(&mut tx, from, to).await?;
        } else {
            rows::set_project(&mut tx, self.id, &to.project).await?;
        }
        Ok(tx.commit().await?)
    }
}

/// A volume that goes to another pool: a copy, whoever uses it, and then the old one is deleted. From there on there is no way
/// back.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Move {
    pub(super) copy: Copy,
    /// The old row.
    id: i64,
    is_settled: bool,
}

impl Work for Move {
    const KIND: &'static str = "storage-volumes.move";
    const ON_CRASH: OnCrash = OnCrash::Finish;

    fn steps() -> &'static [Step<Self>] {
        steps![Self;
            "check": Self::check;
            "rows": Self::insert => Self::remove;
            unrecorded "volumes": Self::make => Self::unmake;
            unrecorded "users": Self::follow => Self::return_users;
            "settle": Self::settle;
        ]
    }
}

impl Move {
    async fn check(&mut self, task: &Task) -> Result<()> {
        self.copy.check(task).await
    }

    async fn insert(&mut self, task: &Task) -> Result<()> {
        self.copy.insert(task).await
    }

    async fn remove(&mut self, task: &Task) -> Result<()> {
        if self.is_settled {
            return Ok(());
        }
        self.copy.remove(task).await
    }

    async fn make(&mut self, task: &Task) -> Result<()> {
        self.copy.make(task).await
    }

    async fn unmake(&mut self, task: &Task) -> Result<()> {
        if self.is_settled {
            return Ok(());
        }
        self.copy.unmake(task).await
    }

    async fn follow(&mut self, task: &Task) -> Result<()> {
        self.set_users(task, &self.copy.from, &self.copy.to).await
    }

    async fn return_users(&mut self, task: &Task) -> Result<()> {
        if self.is_settled {
            return Ok(());
        }
        self.set_users(task, &self.copy.to, &self.copy.from).await
    }

    async fn set_users(&self, task: &Task, from: &Home, to: &Home) -> Result<()> {
        if from.project != to.project {
            return Ok(());
        }
        let mut tx = task.app.cluster.begin().await?;
        users::follow(&mut tx, from, to).await?;
        Ok(tx.commit().await?)
    }

    async fn settle(&mut self, task: &Task) -> Result<()> {
        self.is_settled = true;
        let (app, old) = (&task.app, &self.copy.from);
        let pool = old.pool(app)?;
        pool.delete_volume(&old.volume()).await?;
        backups::remove_folder(app, old).await?;
        let mut tx = app.cluster.begin().await?;
        if old.row(&mut tx).await.is_some_and(|row| row.id == self.id) {
            rows::delete(&mut tx, self.id).await?;
            tx.commit().await?;
        }
        Ok(())
    }
}
