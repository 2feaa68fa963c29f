//! Making, renaming and deleting a custom volume, step by step.

use lxd_api::storage_volumes::StorageVolumesPost;
use lxd_db::cluster::storage_volumes as rows;
use lxd_db::cluster::{ContentType, Tx, VolumeType};
use lxd_storage::{Volume, VolumeSource, Watch};
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::operations::{OnCrash, Step, Task, Work, Works};
use crate::steps;

/// The kinds of works of this noun.
pub(crate) fn works(works: &mut Works) {
    works.add::<Create>();
    works.add::<Rename>();
    works.add::<Delete>();
}

/// An empty volume that is made: its row, then its directory.
#[derive(Serialize, Deserialize)]
pub(super) struct Create {
    pool: String,
    project: String,
    post: StorageVolumesPost,
    /// Whether nothing of the name was there before; from then on whatever is there is this work's.
    is_new: bool,
}

impl Create {
    pub(super) fn new(pool: String, project: String, post: StorageVolumesPost) -> Self {
        Self {
            pool,
            project,
            post,
            is_new: false,
        }
    }

    fn volume(&self) -> Volume {
        Volume::custom(&self.project, &self.post.name)
    }

    fn key(&self) -> rows::Key<'_> {
        rows::Key {
            pool: &self.pool,
            project: &self.project,
            kind: VolumeType::Custom,
            name: &self.post.name,
        }
    }

    async fn row(&self, tx: &mut Tx) -> Option<rows::StorageVolume> {
        rows::get(tx, self.key()).await.ok()
    }
}

impl Work for Create {
    const KIND: &'static str = "storage-volumes.create";
    const ON_CRASH: OnCrash = OnCrash::Undo;

    fn steps() -> &'static [Step<Self>] {
        steps![Self;
            "check": check;
            "row": insert => remove;
            unrecorded "volume": make => unmake;
        ]
    }
}

async fn check(work: &mut Create, task: &Task) -> Result<()> {
    let path = task.app.pools.get(&work.pool)?.volume_path(&work.volume());
    let mut tx = task.app.cluster.read().await?;
    if work.row(&mut tx).await.is_some() {
        return Err(Error::conflict("Volume by that name already exists"));
    }
    if path.symlink_metadata().is_ok() {
        // Files of nobody may be worth something: they are not ours to replace.
        let text = format!("{} exists although no volume has it", path.display());
        return Err(Error::internal(text));
    }
    work.is_new = true;
    Ok(())
}

async fn insert(work: &mut Create, task: &Task) -> Result<()> {
    let app = &task.app;
    let node = (!app.pools.get(&work.pool)?.driver().remote).then(|| app.cluster.node_id());
    let content = rows::Content {
        content_type: ContentType::Filesystem,
        description: work.post.description.clone(),
        config: work.post.config.clone(),
    };
    let mut tx = app.cluster.begin().await?;
    rows::create(&mut tx, work.key(), node, &content).await?;
    Ok(tx.commit().await?)
}

async fn remove(work: &mut Create, task: &Task) -> Result<()> {
    if !work.is_new {
        return Ok(());
    }
    let mut tx = task.app.cluster.begin().await?;
    if let Some(row) = work.row(&mut tx).await {
        rows::delete(&mut tx, row.id).await?;
        tx.commit().await?;
    }
    Ok(())
}

async fn make(work: &mut Create, task: &Task) -> Result<()> {
    let pool = task.app.pools.get(&work.pool)?;
    let watch = Watch::new(task.ctx.cancel.clone(), None);
    Ok(pool
        .create_volume(&work.volume(), VolumeSource::Empty, watch)
        .await?)
}

async fn unmake(work: &mut Create, task: &Task) -> Result<()> {
    if !work.is_new {
        return Ok(());
    }
    let pool = task.app.pools.get(&work.pool)?;
    Ok(pool.delete_volume(&work.volume()).await?)
}

/// A volume that gets another name: its directory, then its row.
#[derive(Serialize, Deserialize)]
pub(super) struct Rename {
    pub(super) id: i64,
    pub(super) pool: String,
    pub(super) project: String,
    pub(super) name: String,
    pub(super) new_name: String,
}

impl Rename {
    fn volumes(&self) -> (Volume, Volume) {
        (
            Volume::custom(&self.project, &self.name),
            Volume::custom(&self.project, &self.new_name),
        )
    }
}

impl Work for Rename {
    const KIND: &'static str = "storage-volumes.rename";
    const ON_CRASH: OnCrash = OnCrash::Undo;

    fn steps() -> &'static [Step<Self>] {
        steps![Self;
            "volume": move_there => move_back;
            unrecorded "row": name_anew => name_again;
        ]
    }
}

async fn move_there(work: &mut Rename, task: &Task) -> Result<()> {
    let (old, new) = work.volumes();
    Ok(task.app.pools.get(&work.pool)?.rename_volume(&old, &new).await?)
}

async fn move_back(work: &mut Rename, task: &Task) -> Result<()> {
    let pool = task.app.pools.get(&work.pool)?;
    let (old, new) = work.volumes();
    // The old name in use means that nothing was moved, or all of it back.
    if pool.volume_path(&old).symlink_metadata().is_ok() {
        return Ok(());
    }
    Ok(pool.rename_volume(&new, &old).await?)
}

async fn name_anew(work: &mut Rename, task: &Task) -> Result<()> {
    set_name(task, work.id, &work.new_name).await
}

async fn name_again(work: &mut Rename, task: &Task) -> Result<()> {
    set_name(task, work.id, &work.name).await
}

async fn set_name(task: &Task, id: i64, name: &str) -> Result<()> {
    let mut tx = task.app.cluster.begin().await?;
    rows::rename(&mut tx, id, name).await?;
    Ok(tx.commit().await?)
}

/// A volume that is deleted: its files, then its row. Once begun it goes on to its end.
#[derive(Serialize, Deserialize)]
pub(super) struct Delete {
    pub(super) id: i64,
    pub(super) pool: String,
    pub(super) project: String,
    pub(super) name: String,
    /// Whether it is what a pool has unpacked of an image.
    pub(super) is_image: bool,
}

impl Work for Delete {
    const KIND: &'static str = "storage-volumes.delete";
    const ON_CRASH: OnCrash = OnCrash::Finish;

    fn steps() -> &'static [Step<Self>] {
        steps![Self;
            "volume": delete_volume;
            unrecorded "row": delete_row;
        ]
    }
}

async fn delete_volume(work: &mut Delete, task: &Task) -> Result<()> {
    let pool = task.app.pools.get(&work.pool)?;
    if work.is_image {
        return Ok(pool.delete_image(&work.name).await?);
    }
    Ok(pool
        .delete_volume(&Volume::custom(&work.project, &work.name))
        .await?)
}

async fn delete_row(work: &mut Delete, task: &Task) -> Result<()> {
    let mut tx = task.app.cluster.begin().await?;
    rows::delete(&mut tx, work.id).await?;
    Ok(tx.commit().await?)
}
