//! Refreshing a copy: only what changed is copied, and the snapshots become those of the source.

use std::sync::Arc;

use lxd_db::cluster::Tx;
use lxd_db::cluster::instances::{self as rows, snapshots};
use lxd_instance::Key;
use lxd_storage::Watch;
use serde::{Deserialize, Serialize};

use super::copy::{Frozen, as_copied, copy_snapshots};
use super::record::Record;
use super::shift::ON_DISK;
use super::snapshots::{Root, Saved, root_at};
use super::source::From;
use super::start::tell;
use super::{backup_file, volatile};
use crate::app::App;
use crate::ctx::Ctx;
use crate::error::{Context as _, Error, Result};
use crate::events::Action;
use crate::operations::{self, OnCrash, Operation, Options, Step, Task, Work, Works};
use crate::steps;

/// The kinds of works of this file.
pub(super) fn works(works: &mut Works) {
    works.add::<Refresh>();
}

/// Makes the files and snapshots of an instance those of another one, as an operation.
///
/// # Errors
/// The daemon is stopping. What is wrong the operation reports.
pub(super) fn refresh(
    app: &Arc<App>,
    ctx: &Ctx,
    (name, instance_only): (&str, bool),
    from: &From,
    options: Options,
) -> Result<Operation> {
    let source = Source {
        root: from.root.clone(),
        snapshot: from.snapshot.clone(),
        snapshots: (!instance_only && from.snapshot.is_none()).then(|| from.snapshots.clone()),
    };
    let (app, owned, key) = (Arc::clone(app), ctx.clone(), Key::new(&ctx.project, name));
    let operations = Arc::clone(&app.operations);
    operations.spawn(ctx, options, move |operation| async move {
        let _guard = app.instances.lock(&key).await;
        if app.instances.registry.phase(&key).is_running() {
            return Err(Error::bad_request(
                "Failed getting exclusive access to instance: Instance is running",
            ));
        }
        let mut tx = app.cluster.read().await?;
        let record = Record::load(&mut tx, &key.project, &key.name).await?;
        let present = Saved::all(&mut tx, record.row.id).await?;
        drop(tx);
        let work = Refresh::new(&app, source, (&record, present));
        operations::run_in(&app, &owned, &operation, work).await?;
        tell(&app, &Ctx::daemon(&key.project), &key, Action::InstanceUpdated);
        Ok(())
    })
}

/// What an instance is refreshed from.
pub(super) struct Source {
    pub(super) root: Root,
    /// The snapshot that is meant and not the instance.
    pub(super) snapshot: Option<String>,
    /// All snapshots, if those of the copy are to become the same.
    pub(super) snapshots: Option<Vec<Saved>>,
}

/// A copy that becomes like its source again. The old files are kept until all is there; after a crash the rest is done.
#[derive(Serialize, Deserialize)]
pub(super) struct Refresh {
    from: Root,
    snapshot: Option<String>,
    to: Root,
    id: i64,
    /// Snapshots that the copy has not.
    added: Vec<Saved>,
    /// Snapshots that the source has no more.
    extra: Vec<Saved>,
    source: Frozen,
    /// How the ids in the new files are shifted, if no row says it.
    new_ids: Option<String>,
    /// How the ids in the old files are shifted.
    ids: String,
    /// Under which the old files are kept meanwhile.
    token: String,
    /// Whether these are gone, so that nothing is undone any more.
    is_settled: bool,
}

impl Work for Refresh {
    const KIND: &'static str = "instances.refresh";
    const ON_CRASH: OnCrash = OnCrash::Finish;

    fn steps() -> &'static [Step<Self>] {
        steps![Self;
            "rows": Self::insert => Self::remove;
            unrecorded "snapshots": Self::copy_snapshots => Self::remove_snapshots;
            unrecorded "freeze": Self::freeze => Self::thaw;
            unrecorded "ids": Self::note_ids => Self::note_old_ids;
            unrecorded "volume": Self::replace => Self::put_back;
            unrecorded "thaw": Self::thaw;
            "settle": Self::settle;
            "extra": Self::remove_extra;
            unrecorded "backup": Self::write_backup;
        ]
    }
}

impl Refresh {
    pub(super) fn new(app: &App, source: Source, (record, present): (&Record, Vec<Saved>)) -> Self {
        let (mut added, mut extra) = (Vec::new(), Vec::new());
        if let Some(wanted) = source.snapshots {
            let is_same = |a: &Saved, b: &Saved| a.name == b.name && a.created_at == b.created_at;
            let lacks = |all: &[Saved], one: &Saved| !all.iter().any(|other| is_same(other, one));
            added = wanted
                .iter()
                .filter(|one| lacks(&present, one))
                .cloned()
                .collect();
            extra = present.into_iter().filter(|one| lacks(&wanted, one)).collect();
            for snapshot in &mut added {
                as_copied(snapshot);
                root_at(&mut snapshot.devices, &record.row.devices, record.pool());
            }
        }
        Self {
            source: match &source.snapshot {
                None => Frozen::for_copy(app, &source.root),
                Some(_) => Frozen::none(),
            },
            from: source.root,
            snapshot: source.snapshot,
            to: Root::of(record),
            id: record.row.id,
            ids: record.row.config.get(ON_DISK).cloned().unwrap_or_default(),
            added,
            extra,
            new_ids: None,
            token: volatile::new_uuid(),
            is_settled: false,
        }
    }

    /// For files that are no instance's yet: how the ids in them are shifted.
    pub(super) fn with_ids(mut self, ids: String) -> Self {
        self.new_ids = Some(ids);
        self
    }

    /// Rows of the new snapshots. Those of a name that another one still has wait until that is gone.
    pub(super) async fn insert(&mut self, task: &Task) -> Result<()> {
        let mut tx = task.app.cluster.begin().await?;
        let volume = self.to.volume_id(&mut tx).await;
        for gone in &self.extra {
            if self.added.iter().any(|new| new.name == gone.name) {
                gone.remove(&mut tx, self.id, volume).await?;
            }
        }
        let present = Saved::all(&mut tx, self.id).await?;
        for new in self.added.iter().filter(|new| !present.contains(new)) {
            new.insert(&mut tx, self.id, volume).await?;
        }
        Ok(tx.commit().await?)
    }

    pub(super) async fn remove(&mut self, task: &Task) -> Result<()> {
        if self.is_settled {
            return Ok(());
        }
        let mut tx = task.app.cluster.begin().await?;
        let volume = self.to.volume_id(&mut tx).await;
        for new in &self.added {
            new.remove(&mut tx, self.id, volume).await?;
        }
        let present = Saved::all(&mut tx, self.id).await?;
        for old in self.extra.iter().filter(|old| !present.contains(old)) {
            old.insert(&mut tx, self.id, volume).await?;
        }
        Ok(tx.commit().await?)
    }

    /// The files of the new snapshots. One that has another's name takes its place, and gives it back.
    pub(super) async fn copy_snapshots(&mut self, task: &Task) -> Result<()> {
        let pool = task.app.pools.get(&self.to.pool)?;
        let from_pool = task.app.pools.get(&self.from.pool)?;
        for (new, token) in self.replaced() {
            let (from, to) = (self.from.snapshot(&new.name), self.to.snapshot(&new.name));
            let watch = Watch::new(task.ctx.cancel.clone(), None);
            pool.replace_volume(&to, (&from_pool, &from), &token, watch)
                .await?;
        }
        copy_snapshots(task, &self.from, &self.to, &self.added).await
    }

    pub(super) async fn remove_snapshots(&mut self, task: &Task) -> Result<()> {
        if self.is_settled {
            return Ok(());
        }
        let mut tx = task.app.cluster.read().await?;
        let present = Saved::all(&mut tx, self.id).await?;
        drop(tx);
        let pool = task.app.pools.get(&self.to.pool)?;
        for (new, token) in self.replaced() {
            pool.put_back(&self.to.snapshot(&new.name), &token).await?;
        }
        for new in &self.added {
            let is_ours = present.contains(new) && !self.extra.iter().any(|old| old.name == new.name);
            if is_ours {
                pool.delete_volume(&self.to.snapshot(&new.name)).await?;
            }
        }
        Ok(())
    }

    /// The new snapshots whose name the copy has already, with the token that the old one is kept under.
    fn replaced(&self) -> Vec<(&Saved, String)> {
        let is_taken = |new: &Saved| self.extra.iter().any(|old| old.name == new.name);
        let taken = self.added.iter().filter(|new| is_taken(new));
        taken
            .map(|new| (new, format!("{}-{}", self.token, new.name)))
            .collect()
    }

    async fn freeze(&mut self, task: &Task) -> Result<()> {
        self.source.freeze(task).await
    }

    async fn thaw(&mut self, task: &Task) -> Result<()> {
        self.source.thaw(task).await
    }

    /// How the ids in the files are shifted comes with the files.
    pub(super) async fn note_ids(&mut self, task: &Task) -> Result<()> {
        let mut tx = task.app.cluster.begin().await?;
        let ids = match &self.new_ids {
            Some(ids) => ids.clone(),
            None => self.ids_of_source(&mut tx).await?,
        };
        rows::change_config(&mut tx, self.id, &[(ON_DISK.to_owned(), ids)].into()).await?;
        Ok(tx.commit().await?)
    }

    async fn ids_of_source(&self, tx: &mut Tx) -> Result<String> {
        let source = rows::get(tx, &self.from.project, &self.from.name).await?;
        let config = match &self.snapshot {
            Some(snapshot) => snapshots::get(tx, source.id, snapshot).await?.config,
            None => source.config,
        };
        Ok(config.get(ON_DISK).map_or("[]", String::as_str).to_owned())
    }

    pub(super) async fn note_old_ids(&mut self, task: &Task) -> Result<()> {
        if self.is_settled {
            return Ok(());
        }
        let mut tx = task.app.cluster.begin().await?;
        rows::change_config(&mut tx, self.id, &[(ON_DISK.to_owned(), self.ids.clone())].into()).await?;
        Ok(tx.commit().await?)
    }

    pub(super) async fn replace(&mut self, task: &Task) -> Result<()> {
        let pool = task.app.pools.get(&self.to.pool)?;
        let from_pool = task.app.pools.get(&self.from.pool)?;
        let from = match &self.snapshot {
            Some(snapshot) => self.from.snapshot(snapshot),
            None => self.from.volume(),
        };
        let watch = Watch::new(task.ctx.cancel.clone(), None);
        let done = pool
            .replace_volume(&self.to.volume(), (&from_pool, &from), &self.token, watch)
            .await;
        done.context("Refresh instance")
    }

    pub(super) async fn put_back(&mut self, task: &Task) -> Result<()> {
        let pool = task.app.pools.get(&self.to.pool)?;
        Ok(pool.put_back(&self.to.volume(), &self.token).await?)
    }

    pub(super) async fn settle(&mut self, task: &Task) -> Result<()> {
        self.is_settled = true;
        let pool = task.app.pools.get(&self.to.pool)?;
        for (_, token) in self.replaced() {
            pool.forget_replaced(&token).await?;
        }
        Ok(pool.forget_replaced(&self.token).await?)
    }

    pub(super) async fn remove_extra(&mut self, task: &Task) -> Result<()> {
        let pool = task.app.pools.get(&self.to.pool)?;
        let is_kept = |old: &&Saved| !self.added.iter().any(|new| new.name == old.name);
        for old in self.extra.iter().filter(is_kept) {
            let mut tx = task.app.cluster.begin().await?;
            let volume = self.to.volume_id(&mut tx).await;
            if old.remove(&mut tx, self.id, volume).await? {
                tx.commit().await?;
            }
            pool.delete_volume(&self.to.snapshot(&old.name)).await?;
        }
        Ok(())
    }

    pub(super) async fn write_backup(&mut self, task: &Task) -> Result<()> {
        let mut tx = task.app.cluster.read().await?;
        if rows::get_by_id(&mut tx, self.id).await.is_err() {
            return Ok(());
        }
        drop(tx);
        backup_file::refresh(&task.app, &self.to.key()).await
    }
}
