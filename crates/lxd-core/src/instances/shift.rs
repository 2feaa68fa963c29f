//! Ids in the files of instances: brought to the map of the next start where mounts can't map them.

use lxd_db::cluster::instances as rows;
use lxd_instance::Key;
use lxd_model::config::{Config, is_true};
use lxd_model::idmap::IdMap;
use lxd_storage::{Pool, Volume, Watch};
use lxd_sys::path::{Extent, Moment, Owners};
use lxd_sys::userns;
use serde::{Deserialize, Serialize};

use super::backup_file;
use super::record::{Record, kernel_map};
use crate::app::App;
use crate::error::{Context as _, Error, Result};
use crate::operations::Task;

/// The key that says which map the ids on disk are of.
pub(super) const ON_DISK: &str = "volatile.last_state.idmap";

/// The key of an operation's metadata that clients show.
const PROGRESS: &str = "container_progress";

/// A change of the ids in the files of a volume. Before it begins this is recorded.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Change {
    pool: String,
    project: String,
    name: String,
    /// Whether a user made the volume; else it is an instance's.
    is_custom: bool,
    /// The map on disk.
    from: IdMap,
    /// What it becomes.
    pub(super) to: IdMap,
    /// When it began, by the clock of the pool: seconds and nanoseconds. Files that were changed since are done.
    since: (i64, u32),
    /// Whether it failed, so that what is done is to be undone. After a crash the rest is done instead.
    #[serde(skip)]
    has_failed: bool,
}

impl Change {
    /// A change that has not begun.
    ///
    /// # Errors
    /// The pool can't be written to.
    pub(super) async fn new(
        pool: &Pool,
        (project, name, is_custom): (&str, &str, bool),
        (from, to): (IdMap, IdMap),
    ) -> Result<Self> {
        let since = pool.moment().await?;
        Ok(Self {
            pool: pool.name().to_owned(),
            project: project.to_owned(),
            name: name.to_owned(),
            is_custom,
            from,
            to,
            since: (since.seconds, since.nanoseconds),
            has_failed: false,
        })
    }

    /// The pool, the project and the name of the volume.
    pub(super) fn place(&self) -> (&str, &str, &str) {
        (&self.pool, &self.project, &self.name)
    }

    /// Does it.
    ///
    /// # Errors
    /// A file can't be changed; the caller has cancelled. [`Self::settle`] sees to what was done.
    pub(super) async fn run(&mut self, task: &Task) -> Result<()> {
        let watch = Watch::new(task.ctx.cancel.clone(), None);
        let done = self.part(task, Extent::Whole, watch).await;
        self.has_failed = done.is_err();
        done
    }

    /// Ends what was begun, one way or the other; says whether it is done now, or undone.
    ///
    /// # Errors
    /// A file can't be changed.
    pub(super) async fn settle(&self, task: &Task) -> Result<bool> {
        let (seconds, nanoseconds) = self.since;
        let since = Moment { seconds, nanoseconds };
        if !self.has_failed {
            match self.part(task, Extent::Rest(since), Watch::none()).await {
                Ok(()) => return Ok(true),
                Err(error) => {
                    let (volume, err) = (&self.name, error.text());
                    tracing::error!(volume, err, "Failed ending a shift of ids; undoing it");
                }
            }
        }
        self.part(task, Extent::Back(since), Watch::none()).await?;
        Ok(false)
    }

    async fn part(&self, task: &Task, extent: Extent, watch: Watch) -> Result<()> {
        let owners = Owners::new(kernel_map(&self.from).as_ref(), kernel_map(&self.to).as_ref());
        let pool = task.app.pools.get(&self.pool)?;
        let volume = match self.is_custom {
            true => Volume::custom(&self.project, &self.name),
            false => Volume::container(&self.project, &self.name),
        };
        Ok(pool.shift(&volume, owners, extent, watch).await?)
    }
}

/// A change of the ids in the files of an instance that is about to start.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Shift {
    key: (String, String),
    /// The instance's row.
    id: i64,
    change: Change,
}

/// The ids that an instance's files have on disk; none if they are those of the inside.
///
/// # Errors
/// The key holds no map.
pub(super) fn on_disk(config: &Config) -> Result<Option<userns::IdMap>> {
    Ok(kernel_map(&map(config, ON_DISK)?))
}

/// The ids of an instance that runs, on the host; none if they are those of the inside.
///
/// # Errors
/// The key holds no map.
pub(super) fn running(config: &Config) -> Result<Option<userns::IdMap>> {
    Ok(kernel_map(&map(config, "volatile.idmap.current")?))
}

/// The map that a key holds; the empty one without it.
///
/// # Errors
/// It is none.
pub(super) fn map(config: &Config, key: &str) -> Result<IdMap> {
    Ok(IdMap::from_json(config.get(key).map_or("", String::as_str))?)
}

/// Decides what a start must do with the files first; none if nothing.
///
/// # Errors
/// The instance is protected against it.
pub(super) async fn plan(app: &App, record: &Record) -> Result<Option<Shift>> {
    let (from, next) = (
        map(&record.config, ON_DISK)?,
        map(&record.config, "volatile.idmap.next")?,
    );
    let pool = app.pools.get(record.pool())?;
    let Some(to) = target(&pool, &from, next).await? else {
        return Ok(None);
    };
    let is_protected = record
        .config
        .get("security.protection.shift")
        .is_some_and(|value| is_true(value));
    if is_protected {
        return Err(Error::internal(
            "Failed to handle idmapped storage: Container is protected against filesystem shifting",
        ));
    }
    let row = &record.row;
    Ok(Some(Shift {
        key: (row.project.clone(), row.name.clone()),
        id: row.id,
        change: Change::new(&pool, (&row.project, &row.name, false), (from, to)).await?,
    }))
}

/// The map that the files must have; none if they are fine as they are.
async fn target(pool: &Pool, from: &IdMap, next: IdMap) -> Result<Option<IdMap>> {
    if pool.driver().always_maps_ids || (*from != next && pool.maps_ids().await?) {
        return Ok((!from.0.is_empty()).then(IdMap::default));
    }
    Ok((*from != next).then_some(next))
}

impl Shift {
    /// A shift of an instance with this row.
    #[cfg(test)]
    pub(super) fn of(key: &Key, id: i64, change: Change) -> Self {
        Self {
            key: (key.project.clone(), key.name.clone()),
            id,
            change,
        }
    }

    /// Does it, and notes what is on disk then.
    ///
    /// # Errors
    /// A file can't be changed; the caller has cancelled. [`Self::settle`] sees to what was done.
    pub(super) async fn run(&mut self, task: &Task) -> Result<()> {
        task.operation
            .set_metadata(PROGRESS, "Remapping container filesystem");
        let done = self.change.run(task).await;
        task.operation.set_metadata(PROGRESS, "");
        done.context("Failed to handle idmapped storage")?;
        self.note(task).await
    }

    /// Ends what was begun, one way or the other. Nothing begun is fine.
    ///
    /// # Errors
    /// A file can't be changed.
    pub(super) async fn settle(&mut self, task: &Task) -> Result<()> {
        let mut tx = task.app.cluster.read().await?;
        let Ok(row) = rows::get_by_id(&mut tx, self.id).await else {
            return Ok(());
        };
        drop(tx);
        if map(&row.config, ON_DISK)? == self.change.to {
            return Ok(());
        }
        match self.change.settle(task).await? {
            true => self.note(task).await,
            false => Ok(()),
        }
    }

    async fn note(&self, task: &Task) -> Result<()> {
        let mut tx = task.app.cluster.begin().await?;
        let changes = [(ON_DISK.to_owned(), self.change.to.to_json())].into();
        rows::change_config(&mut tx, self.id, &changes).await?;
        tx.commit().await?;
        let (project, name) = &self.key;
        backup_file::refresh(&task.app, &Key::new(project, name)).await
    }
}
