//! Making and deleting a custom volume, step by step.

use lxd_api::storage_volumes::StorageVolumesPost;
use lxd_db::cluster::ContentType;
use lxd_db::cluster::storage_volumes as rows;
use lxd_storage::{VolumeSource, Watch};
use serde::{Deserialize, Serialize};

use super::home::Home;
use super::{backups, copy, daemon, receive, refresh, relocate, size, snapshots};
use crate::error::Result;
use crate::operations::{OnCrash, Step, Task, Work, Works};
use crate::steps;

/// The kinds of works of this noun.
pub(crate) fn works(works: &mut Works) {
    works.add::<Create>();
    works.add::<Delete>();
    works.add::<copy::Copy>();
    works.add::<refresh::Refresh>();
    works.add::<receive::Receive>();
    works.add::<receive::Renew>();
    works.add::<relocate::Rename>();
    works.add::<relocate::Move>();
    works.add::<daemon::Move>();
    backups::works(works);
    snapshots::works(works);
}

/// An empty volume that is made: its row, then its directory.
#[derive(Serialize, Deserialize)]
pub(super) struct Create {
    home: Home,
    post: StorageVolumesPost,
    /// Whether nothing of the name was there before; from then on whatever is there is this work's.
    is_new: bool,
}

impl Create {
    pub(super) fn new(home: Home, post: StorageVolumesPost) -> Self {
        Self {
            home,
            post,
            is_new: false,
        }
    }

    fn content_type(&self) -> ContentType {
        ContentType::from_word(&self.post.content_type).unwrap_or(ContentType::Filesystem)
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
    work.home.require_free(&task.app, &[]).await?;
    work.is_new = true;
    Ok(())
}

async fn insert(work: &mut Create, task: &Task) -> Result<()> {
    let content = rows::Content {
        content_type: work.content_type(),
        description: work.post.description.clone(),
        config: work.post.config.clone(),
    };
    work.home.insert(&task.app, &content, &[]).await
}

async fn remove(work: &mut Create, task: &Task) -> Result<()> {
    if !work.is_new {
        return Ok(());
    }
    work.home.remove(&task.app).await
}

async fn make(work: &mut Create, task: &Task) -> Result<()> {
    let pool = work.home.pool(&task.app)?;
    let watch = Watch::new(task.ctx.cancel.clone(), None);
    pool.create_volume(&work.home.volume(), VolumeSource::Empty, watch)
        .await?;
    size::set(&pool, &work.home.volume(), &work.post.config, work.content_type()).await
}

async fn unmake(work: &mut Create, task: &Task) -> Result<()> {
    if !work.is_new {
        return Ok(());
    }
    let pool = work.home.pool(&task.app)?;
    Ok(pool.delete_volume(&work.home.volume()).await?)
}

/// A volume that is deleted: its files, then its row. Once begun it goes on to its end.
#[derive(Serialize, Deserialize)]
pub(super) struct Delete {
    pub(super) id: i64,
    pub(super) home: Home,
    /// Whether it is what a pool has unpacked of an image.
    pub(super) is_image: bool,
}

impl Work for Delete {
    const KIND: &'static str = "storage-volumes.delete";
    const ON_CRASH: OnCrash = OnCrash::Finish;

    fn steps() -> &'static [Step<Self>] {
        steps![Self;
            "volume": delete_volume;
            unrecorded "backups": delete_backups;
            unrecorded "row": delete_row;
        ]
    }
}

async fn delete_volume(work: &mut Delete, task: &Task) -> Result<()> {
    let pool = work.home.pool(&task.app)?;
    if work.is_image {
        return Ok(pool.delete_image(&work.home.name).await?);
    }
    Ok(pool.delete_volume(&work.home.volume()).await?)
}

async fn delete_backups(work: &mut Delete, task: &Task) -> Result<()> {
    if work.is_image {
        return Ok(());
    }
    backups::remove_folder(&task.app, &work.home).await
}

async fn delete_row(work: &mut Delete, task: &Task) -> Result<()> {
    let mut tx = task.app.cluster.begin().await?;
    rows::delete(&mut tx, work.id).await?;
    Ok(tx.commit().await?)
}
