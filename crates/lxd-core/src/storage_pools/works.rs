//! Making and deleting a pool, step by step.

use lxd_api::storage_pools::StoragePoolsPost;
use lxd_db::cluster::State;
use lxd_db::cluster::storage_pools as rows;
use lxd_model::ErrorKind;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::operations::{OnCrash, Step, Task, Work, Works};
use crate::steps;

/// The kinds of works of this noun.
pub(crate) fn works(works: &mut Works) {
    works.add::<Create>();
    works.add::<Delete>();
}

/// A pool that is made: a pending row, the pool itself, the row with what the driver filled in.
#[derive(Serialize, Deserialize)]
pub(super) struct Create {
    post: StoragePoolsPost,
    /// Whether the row is ours, so that undoing never takes away somebody else's of the same name.
    row: Option<i64>,
    /// Whether nothing of anybody's was there before; from then on whatever is there is this work's.
    #[serde(default)]
    is_free: bool,
}

impl Create {
    pub(super) fn new(post: StoragePoolsPost) -> Self {
        Self {
            post,
            row: None,
            is_free: false,
        }
    }
}

impl Work for Create {
    const KIND: &'static str = "storage-pools.create";
    const ON_CRASH: OnCrash = OnCrash::Undo;

    fn steps() -> &'static [Step<Self>] {
        steps![Self;
            "row": insert => remove;
            "check": check;
            "pool": make => unmake;
            unrecorded "created": finish;
        ]
    }
}

async fn insert(work: &mut Create, task: &Task) -> Result<()> {
    let cluster = &task.app.cluster;
    let (post, node) = (&work.post, cluster.node_id());
    let mut tx = cluster.begin().await?;
    let id = rows::create(
        &mut tx,
        &post.name,
        &post.driver,
        &post.description,
        &post.config,
        node,
    )
    .await?;
    tx.commit().await?;
    work.row = Some(id);
    Ok(())
}

/// Takes the row away: the one that was made, or, after a crash that came before its id was noted, the pending one.
async fn remove(work: &mut Create, task: &Task) -> Result<()> {
    let cluster = &task.app.cluster;
    let mut tx = cluster.begin().await?;
    let Ok(row) = rows::get(&mut tx, &work.post.name, cluster.node_id()).await else {
        return Ok(());
    };
    if work.row.map_or(row.state == State::Pending, |id| id == row.id) {
        rows::delete(&mut tx, row.id).await?;
        tx.commit().await?;
    }
    Ok(())
}

async fn check(work: &mut Create, task: &Task) -> Result<()> {
    let (pools, post) = (&task.app.pools, &work.post);
    let checked = pools.check(&post.name, &post.driver, post.config.clone()).await;
    checked.map_err(refused)?;
    work.is_free = true;
    Ok(())
}

async fn make(work: &mut Create, task: &Task) -> Result<()> {
    let (pools, post) = (&task.app.pools, &work.post);
    let made = pools.create(&post.name, &post.driver, post.config.clone()).await;
    if made.is_err() {
        // The driver has left nothing. What is there now may be what it failed for, and is not ours.
        work.is_free = false;
    }
    made.map(drop).map_err(refused)
}

/// The reference blames itself for whatever is wrong with a new pool.
fn refused(error: lxd_storage::StorageError) -> Error {
    Error::from(error).with_kind(ErrorKind::Internal)
}

async fn unmake(work: &mut Create, task: &Task) -> Result<()> {
    if !work.is_free {
        return Ok(());
    }
    let (pools, post) = (&task.app.pools, &work.post);
    if pools.get(&post.name).is_err() {
        // After a crash it may be there, half made: opened, it can be deleted like any other.
        let opened = pools.open(&post.name, &post.driver, post.config.clone()).await;
        if opened.is_err() {
            let config = post.config.clone();
            return Ok(pools.delete_remains(&post.name, &post.driver, config).await?);
        }
    }
    Ok(pools.delete(&post.name).await?)
}

async fn finish(work: &mut Create, task: &Task) -> Result<()> {
    let (cluster, post) = (&task.app.cluster, &work.post);
    let config = task.app.pools.get(&post.name)?.config();
    let mut tx = cluster.begin().await?;
    let id = work
        .row
        .ok_or_else(|| Error::internal("The storage pool has no row"))?;
    rows::update(&mut tx, id, cluster.node_id(), &post.description, &config).await?;
    rows::set_state(&mut tx, id, cluster.node_id(), State::Created).await?;
    Ok(tx.commit().await?)
}

/// A pool that is deleted: first itself, then its row. Once begun it goes on to its end.
#[derive(Serialize, Deserialize)]
pub(super) struct Delete {
    /// The pool.
    pub(super) name: String,
    /// Its driver.
    pub(super) driver: String,
}

impl Work for Delete {
    const KIND: &'static str = "storage-pools.delete";
    const ON_CRASH: OnCrash = OnCrash::Finish;

    fn steps() -> &'static [Step<Self>] {
        steps![Self;
            "pool": delete_pool;
            unrecorded "row": delete_row;
        ]
    }
}

async fn delete_pool(work: &mut Delete, task: &Task) -> Result<()> {
    let (pools, cluster) = (&task.app.pools, &task.app.cluster);
    if pools.get(&work.name).is_ok() {
        return Ok(pools.delete(&work.name).await?);
    }
    // It could not be opened: it is broken, or half gone since a daemon died here.
    let mut tx = cluster.read().await?;
    let Ok(row) = rows::get(&mut tx, &work.name, cluster.node_id()).await else {
        return Ok(());
    };
    drop(tx);
    Ok(pools.delete_remains(&work.name, &work.driver, row.config).await?)
}

async fn delete_row(work: &mut Delete, task: &Task) -> Result<()> {
    let mut tx = task.app.cluster.begin().await?;
    match rows::id(&mut tx, &work.name).await {
        Ok(id) => {
            rows::delete(&mut tx, id).await?;
            Ok(tx.commit().await?)
        }
        Err(_) => Ok(()),
    }
}
