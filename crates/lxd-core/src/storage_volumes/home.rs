//! Where everything of a custom volume is, as works record it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use lxd_db::cluster::storage_volumes as rows;
use lxd_db::cluster::storage_volumes::StorageVolume as Row;
use lxd_db::cluster::{Tx, VolumeType};
use lxd_instance::Key as LockKey;
use lxd_storage::{Pool, Volume};
use serde::{Deserialize, Serialize};

use super::snapshots::Saved;
use crate::app::{App, blocking};
use crate::ctx::Ctx;
use crate::error::{Error, Result};
use crate::instances::Guard;
use crate::operations::{self, Operation, Work};

/// A custom volume: its pool, the project that holds it, its name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) struct Home {
    pub(super) pool: String,
    pub(super) project: String,
    pub(super) name: String,
}

impl Home {
    pub(super) fn new(pool: &str, project: &str, name: &str) -> Self {
        Self {
            pool: pool.to_owned(),
            project: project.to_owned(),
            name: name.to_owned(),
        }
    }

    pub(super) fn of(row: &Row) -> Self {
        Self::new(&row.pool, &row.project, &row.name)
    }

    /// The volume as its pool knows it.
    pub(super) fn volume(&self) -> Volume {
        Volume::custom(&self.project, &self.name)
    }

    pub(super) fn snapshot(&self, name: &str) -> Volume {
        self.volume().with_snapshot(name)
    }

    pub(super) fn key(&self) -> rows::Key<'_> {
        rows::Key {
            pool: &self.pool,
            project: &self.project,
            kind: VolumeType::Custom,
            name: &self.name,
        }
    }

    /// Its row, if it is there.
    pub(super) async fn row(&self, tx: &mut Tx) -> Option<Row> {
        rows::get(tx, self.key()).await.ok()
    }

    pub(super) fn pool(&self, app: &App) -> Result<Pool> {
        Ok(app.pools.get(&self.pool)?)
    }

    pub(super) fn url(&self) -> String {
        let parts = ["storage-pools", &self.pool, "volumes", "custom", &self.name];
        crate::urls::object(&self.project, &parts)
    }

    /// The URL of something that belongs to it: a snapshot, a backup.
    pub(super) fn url_of(&self, noun: &str, name: &str) -> String {
        let Self { pool, project, .. } = self;
        let parts = ["storage-pools", pool, "volumes", "custom", &self.name, noun, name];
        crate::urls::object(project, &parts)
    }

    /// Refuses a name that a volume has, or files of nobody's lie under: the volume's, or those of its snapshots.
    pub(super) async fn require_free(&self, app: &App, snapshots: &[Saved]) -> Result<()> {
        let mut tx = app.cluster.read().await?;
        if self.row(&mut tx).await.is_some() {
            return Err(Error::conflict("Volume by that name already exists"));
        }
        drop(tx);
        let pool = self.pool(app)?;
        let mut paths = vec![pool.volume_path(&self.volume())];
        paths.extend(
            snapshots
                .iter()
                .map(|one| pool.volume_path(&self.snapshot(&one.name))),
        );
        let taken = |path: &PathBuf| path.symlink_metadata().is_ok();
        match blocking(move || Ok(paths.into_iter().find(taken))).await? {
            None => Ok(()),
            Some(path) => Err(belongs_to_nobody(&path)),
        }
    }

    /// Makes the rows of the volume and of its snapshots.
    pub(super) async fn insert(&self, app: &App, content: &rows::Content, snapshots: &[Saved]) -> Result<()> {
        let node = (!self.pool(app)?.driver().remote).then(|| app.cluster.node_id());
        let mut tx = app.cluster.begin().await?;
        let id = rows::create(&mut tx, self.key(), node, content).await?;
        for snapshot in snapshots {
            snapshot.insert(&mut tx, id).await?;
        }
        Ok(tx.commit().await?)
    }

    /// Deletes the rows, if they are there.
    pub(super) async fn remove(&self, app: &App) -> Result<()> {
        let mut tx = app.cluster.begin().await?;
        if let Some(row) = self.row(&mut tx).await {
            rows::delete(&mut tx, row.id).await?;
            tx.commit().await?;
        }
        Ok(())
    }

    /// Whether something is on disk under the name of the volume, or of one of its snapshots.
    pub(super) fn is_on_disk(&self, app: &App, snapshot: Option<&str>) -> Result<bool> {
        let volume = snapshot.map_or_else(|| self.volume(), |name| self.snapshot(name));
        let path = self.pool(app)?.volume_path(&volume);
        Ok(path.symlink_metadata().is_ok())
    }

    /// Refuses to replace files of nobody's, which may be worth something.
    pub(super) fn refuse_files(&self, app: &App, snapshot: Option<&str>) -> Result<()> {
        if !self.is_on_disk(app, snapshot)? {
            return Ok(());
        }
        let volume = snapshot.map_or_else(|| self.volume(), |name| self.snapshot(name));
        Err(belongs_to_nobody(&self.pool(app)?.volume_path(&volume)))
    }
}

fn belongs_to_nobody(path: &Path) -> Error {
    Error::internal(format!("{} exists although no volume has it", path.display()))
}

/// The right to change volumes, one after the other for whoever wants the same ones.
pub(super) async fn lock(app: &App, homes: &[&Home]) -> Vec<Guard> {
    let mut homes = homes.to_vec();
    homes.sort();
    homes.dedup();
    let mut guards = Vec::with_capacity(homes.len());
    for home in homes {
        // No instance's name has a slash.
        let name = format!("{}/custom/{}", home.pool, home.name);
        guards.push(app.instances.lock(&LockKey::new(&home.project, name)).await);
    }
    guards
}

/// Does a work on volumes that nobody else changes meanwhile, inside a request or as the whole of an operation. It goes on if
/// the caller does not wait.
pub(super) async fn run<W: Work>(
    app: &Arc<App>,
    ctx: &Ctx,
    homes: Vec<Home>,
    work: W,
    operation: Option<&Operation>,
) -> Result<W> {
    let (app, ctx, operation) = (Arc::clone(app), ctx.clone(), operation.cloned());
    let running = tokio::spawn(async move {
        let _guards = lock(&app, &homes.iter().collect::<Vec<_>>()).await;
        match operation {
            Some(operation) => operations::run_in(&app, &ctx, &operation, work).await,
            None => operations::run(&app, &ctx, work).await,
        }
    });
    running
        .await
        .unwrap_or_else(|error| Err(Error::internal("The work died").because(error)))
}
