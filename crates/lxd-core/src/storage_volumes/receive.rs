//! Custom volumes that come from another server, with their snapshots; and copies of such that are brought up to date.

use std::path::PathBuf;
use std::sync::Arc;

use lxd_api::Time;
use lxd_api::storage_volumes::{StorageVolumeSnapshot, StorageVolumesPost};
use lxd_db::cluster::ContentType;
use lxd_db::cluster::storage_volumes as rows;
use lxd_db::cluster::storage_volumes::StorageVolume as Row;
use lxd_db::cluster::storage_volumes::snapshots as snapshot_rows;
use lxd_model::config::Config;
use lxd_model::names;
use lxd_storage::{Pool, Rsync, RsyncFeatures, Volume, VolumeSource, Watch};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncSeekExt as _, AsyncWriteExt as _};

use super::home::{self, Home};
use super::send::{DOING, options, to_message};
use super::snapshots::Saved;
use super::{defaults, size, users, validate};
use crate::app::App;
use crate::ctx::Ctx;
use crate::error::{Context as _, Error, Result};
use crate::events::{Action, Lifecycle};
use crate::migration::{
    Answer, Data, Ends, Entry, Form, Header, Held, Info, Offer, is_listening, unless_told,
};
use crate::operations::{Kind, OnCrash, Operation, Progress, Step, Task, Work};
use crate::steps;

/// Takes a volume from another server, as an operation: connects to it, or waits for it.
///
/// # Errors
/// A mode that nobody knows; a bad key or value; a running instance uses the copy; the daemon is stopping.
pub(super) async fn receive(
    app: &Arc<App>,
    ctx: &Ctx,
    (to, existing): (Home, Option<Row>),
    mut post: StorageVolumesPost,
) -> Result<Operation> {
    let is_listening = is_listening(&post.source.mode, &post.source.secrets, '\'')?;
    let content = ContentType::from_word(&post.content_type).unwrap_or(ContentType::Filesystem);
    post.config
        .retain(|key, value| !value.is_empty() && key != "volatile.uuid");
    validate(app, &to, &to.volume(), &post.config, content)?;
    defaults::fill(&to.pool(app)?, &mut post.config, content == ContentType::Block);
    if let Some(existing) = &existing {
        let mut tx = app.cluster.read().await?;
        if users::has_running(app, &mut tx, existing).await? {
            return Err(Error::refused(
                "Cannot refresh custom volume used by running instances",
            ));
        }
    }
    let (app, owned) = (Arc::clone(app), ctx.clone());
    let operations = Arc::clone(&app.operations);
    let kind = if is_listening {
        Kind::VolumeCreate
    } else {
        Kind::VolumeCopy
    };
    let options = options(kind, &to, is_listening);
    operations.spawn(ctx, options, move |operation| async move {
        let ends = if is_listening {
            Ends::accept(&operation).await
        } else {
            let server = (post.source.operation.as_str(), post.source.certificate.as_str());
            Ends::connect(&app, server, &post.source.secrets).await
        };
        let held = Held::new(ends?);
        let incoming = Incoming::new(to.clone(), &post, held.clone());
        let done = match existing {
            None => make(&app, &owned, incoming, &operation).await,
            Some(_) => {
                let work = Renew::new(incoming);
                home::run(&app, &owned, vec![to], work, Some(&operation))
                    .await
                    .map(drop)
            }
        };
        if let Some(mut ends) = held.take() {
            ends.conclude(&done).await;
        }
        done
    })
}

async fn make(app: &Arc<App>, ctx: &Ctx, incoming: Incoming, operation: &Operation) -> Result<()> {
    let to = incoming.to.clone();
    let work = Receive::new(incoming);
    home::run(app, ctx, vec![to.clone()], work, Some(operation)).await?;
    let event = Lifecycle::new(Action::StorageVolumeCreated, to.url());
    app.events
        .lifecycle(&to.project, &event.with("type", "custom").by(ctx));
    Ok(())
}

/// What comes, and where it goes.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Incoming {
    to: Home,
    is_block: bool,
    volume_only: bool,
    description: String,
    config: Config,
    /// The snapshots that are wanted, oldest first.
    snapshots: Vec<Saved>,
    #[serde(skip)]
    features: Option<RsyncFeatures>,
    #[serde(skip)]
    held: Held,
}

impl Incoming {
    pub(super) fn new(to: Home, post: &StorageVolumesPost, held: Held) -> Self {
        Self {
            to,
            is_block: ContentType::from_word(&post.content_type) == Some(ContentType::Block),
            volume_only: post.source.volume_only,
            description: post.description.clone(),
            config: post.config.clone().into_iter().collect(),
            snapshots: Vec::new(),
            features: None,
            held,
        }
    }

    fn content_type(&self) -> ContentType {
        if self.is_block {
            ContentType::Block
        } else {
            ContentType::Filesystem
        }
    }

    /// Agrees with the other side on what comes. Gives the names of all snapshots that it has.
    async fn greet(&mut self, present: Option<&[Saved]>) -> Result<Vec<String>> {
        let held = self.held.clone();
        held.with(async |ends| self.agree(ends, present).await).await
    }

    async fn agree(&mut self, ends: &mut Ends, present: Option<&[Saved]>) -> Result<Vec<String>> {
        let offered: Header = ends.control.receive_soon().await?;
        if (offered.form == Form::BlockAndRsync) != self.is_block && offered.form != Form::Btrfs {
            return Err(Error::bad_request(
                "Content type of source and target must be the same",
            ));
        }
        let is_present = |name: &str| present.is_some_and(|all| all.iter().any(|one| one.name == name));
        let mut names = Vec::new();
        for snapshot in offered.snapshots.iter().filter(|_| !self.volume_only) {
            names::snapshot(&snapshot.name)?;
            names.push(snapshot.name.clone());
            if is_present(&snapshot.name) {
                continue;
            }
            self.snapshots.push(Saved {
                name: snapshot.name.clone(),
                description: String::new(),
                expires_at: match snapshot.expires_at {
                    Some(seconds) if seconds > 0 => Time::from_unix(seconds),
                    _ => Time::never(),
                },
                config: Entry::config(&snapshot.config),
            });
        }
        let offer = Offer::all(true).both(offered.rsync.unwrap_or_default());
        let index_version = offered.index_version.map(|version| version.min(1));
        self.features = Some(offer.features());
        let form = if self.is_block {
            Form::BlockAndRsync
        } else {
            Form::Rsync
        };
        let wanted = Header {
            form,
            snapshot_names: self.snapshots.iter().map(|one| one.name.clone()).collect(),
            snapshots: self.snapshots.iter().map(to_message).collect(),
            rsync: Some(offer),
            refresh: Some(present.is_some()),
            index_version,
            ..Header::default()
        };
        ends.control.send(&wanted).await?;
        if index_version.is_some_and(|version| version > 0) {
            self.hear_description(&mut ends.data, present.is_some()).await?;
        }
        Ok(names)
    }

    async fn hear_description(&mut self, data: &mut Data, refresh: bool) -> Result<()> {
        let info: Info = data.receive_json().await?;
        let theirs = info
            .config
            .volume
            .as_ref()
            .map(|volume| volume.content_type.as_str());
        if theirs.is_some_and(|theirs| !theirs.is_empty() && theirs != self.content_type().as_str()) {
            return Err(Error::bad_request(
                "Content type of source and target must be the same",
            ));
        }
        let described: Vec<StorageVolumeSnapshot> = info.config.volume_snapshots.unwrap_or_default();
        for snapshot in &mut self.snapshots {
            if let Some(found) = described.iter().find(|one| one.name == snapshot.name) {
                snapshot.description.clone_from(&found.description);
                snapshot.expires_at = found.expires_at.unwrap_or(snapshot.expires_at);
            }
        }
        let answer = Answer {
            status_code: 200,
            error: String::new(),
            refresh: Some(refresh),
        };
        data.send_json(&answer).await
    }

    /// Fills a volume with each snapshot in turn, which is kept, and then with what the other side's volume is.
    async fn fetch(&self, task: &Task, into: &Volume) -> Result<()> {
        let pool = self.to.pool(&task.app)?;
        let features = self.features.unwrap_or_default();
        let progress = task.operation.progress("fs", &self.to.name, None);
        let cancel = task.ctx.cancel.clone();
        let fetching = self.held.with(async |ends| {
            let Ends { control, data } = ends;
            let all = async {
                for snapshot in &self.snapshots {
                    self.fetch_one(&pool, (data, &progress), features, into).await?;
                    let watch = Watch::new(cancel.clone(), None);
                    let kept = self.to.snapshot(&snapshot.name);
                    let made = pool.create_volume(&kept, VolumeSource::Volume(into.clone()), watch);
                    made.await.context("Failed creating the snapshot")?;
                }
                self.fetch_one(&pool, (data, &progress), features, into).await
            };
            tokio::select! {
                done = unless_told((control, DOING), all) => done.map(|_| ()),
                () = cancel.cancelled() => Err(Error::cancelled("Operation cancelled")),
            }
        });
        fetching.await
    }

    async fn fetch_one(
        &self,
        pool: &Pool,
        (data, progress): (&mut Data, &Progress),
        features: RsyncFeatures,
        into: &Volume,
    ) -> Result<()> {
        let tell = |bytes| progress.add(bytes);
        if self.is_block {
            return write_block(data, pool.rewrite_block(into).await?, tell).await;
        }
        let directory: PathBuf = pool.volume_path(into);
        data.join(Rsync::receive(&directory, features)?, tell).await
    }
}

/// Writes a part into a file; where there are but zeros it has holes.
async fn write_block(data: &mut Data, file: std::fs::File, tell: impl Fn(u64)) -> Result<()> {
    let failed = |error: std::io::Error| Error::internal("Failed to write a block volume").because(error);
    let mut file = tokio::fs::File::from_std(file);
    let mut length = 0;
    while let Some(bytes) = data.part().await? {
        length += bytes.len() as u64;
        tell(bytes.len() as u64);
        if bytes.iter().all(|byte| *byte == 0) {
            let forward = i64::try_from(bytes.len()).unwrap_or(i64::MAX);
            file.seek(std::io::SeekFrom::Current(forward))
                .await
                .map_err(failed)?;
        } else {
            file.write_all(&bytes).await.map_err(failed)?;
        }
    }
    file.flush().await.map_err(failed)?;
    file.set_len(length).await.map_err(failed)
}

/// A volume that comes from another server: its rows and those of its snapshots, then the files.
#[derive(Serialize, Deserialize)]
pub(super) struct Receive {
    incoming: Incoming,
    /// Whether nothing of the name was there before; from then on whatever is there is this work's.
    is_new: bool,
}

impl Work for Receive {
    const KIND: &'static str = "storage-volumes.receive";
    const ON_CRASH: OnCrash = OnCrash::Undo;

    fn steps() -> &'static [Step<Self>] {
        steps![Self;
            "greet": Self::greet;
            "rows": Self::insert => Self::remove;
            unrecorded "volumes": Self::fetch => Self::unmake;
        ]
    }
}

impl Receive {
    pub(super) fn new(incoming: Incoming) -> Self {
        Self {
            incoming,
            is_new: false,
        }
    }

    async fn greet(&mut self, task: &Task) -> Result<()> {
        self.incoming.to.require_free(&task.app, &[]).await?;
        self.incoming.greet(None).await?;
        // The other side has only now said which snapshots there are.
        let Incoming { to, snapshots, .. } = &self.incoming;
        to.require_free(&task.app, snapshots).await?;
        self.is_new = true;
        Ok(())
    }

    async fn insert(&mut self, task: &Task) -> Result<()> {
        let incoming = &self.incoming;
        let content = rows::Content {
            content_type: incoming.content_type(),
            description: incoming.description.clone(),
            config: incoming.config.clone(),
        };
        incoming.to.insert(&task.app, &content, &incoming.snapshots).await
    }

    async fn remove(&mut self, task: &Task) -> Result<()> {
        if !self.is_new {
            return Ok(());
        }
        self.incoming.to.remove(&task.app).await
    }

    async fn fetch(&mut self, task: &Task) -> Result<()> {
        let incoming = &self.incoming;
        let (pool, volume) = (incoming.to.pool(&task.app)?, incoming.to.volume());
        let watch = Watch::new(task.ctx.cancel.clone(), None);
        pool.create_volume(&volume, VolumeSource::Empty, watch).await?;
        incoming.fetch(task, &volume).await?;
        if incoming.is_block {
            return size::change(&pool, &volume, &incoming.config, ContentType::Block).await;
        }
        size::set(&pool, &volume, &incoming.config, ContentType::Filesystem).await
    }

    async fn unmake(&mut self, task: &Task) -> Result<()> {
        if !self.is_new {
            return Ok(());
        }
        let to = &self.incoming.to;
        Ok(to.pool(&task.app)?.delete_volume(&to.volume()).await?)
    }
}

/// A copy that becomes like the other server's volume: beside it first, then as a whole; at the end what is no longer wanted goes.
#[derive(Serialize, Deserialize)]
pub(super) struct Renew {
    incoming: Incoming,
    surplus: Vec<Saved>,
    /// Under which the old content is kept meanwhile, and the new one made.
    token: String,
    /// Whether the old content is gone, so that nothing is undone any more.
    is_settled: bool,
}

impl Work for Renew {
    const KIND: &'static str = "storage-volumes.renew";
    const ON_CRASH: OnCrash = OnCrash::Finish;

    fn steps() -> &'static [Step<Self>] {
        steps![Self;
            "greet": Self::greet;
            "rows": Self::insert => Self::remove;
            unrecorded "files": Self::fetch => Self::unmake;
            "volume": Self::replace => Self::put_back;
            "settle": Self::settle;
        ]
    }
}

impl Renew {
    pub(super) fn new(incoming: Incoming) -> Self {
        Self {
            incoming,
            surplus: Vec::new(),
            token: uuid::Uuid::new_v4().to_string(),
            is_settled: false,
        }
    }

    /// What is made beside the copy; no volume's name begins with a dot.
    fn beside(&self) -> Volume {
        Volume::custom(&self.incoming.to.project, &format!(".{}", self.token))
    }

    async fn greet(&mut self, task: &Task) -> Result<()> {
        let mut tx = task.app.cluster.read().await?;
        let copy = self.incoming.to.row(&mut tx).await;
        let copy = copy.ok_or_else(|| Error::not_found("Storage pool volume not found"))?;
        let present = Saved::all(&mut tx, copy.id).await?;
        drop(tx);
        self.incoming.is_block = copy.content_type == ContentType::Block;
        let theirs = self.incoming.greet(Some(&present)).await?;
        self.surplus = present;
        let is_kept = self.incoming.volume_only;
        self.surplus.retain(|one| !is_kept && !theirs.contains(&one.name));
        Ok(())
    }

    async fn insert(&mut self, task: &Task) -> Result<()> {
        let mut tx = task.app.cluster.begin().await?;
        let Some(volume) = self.incoming.to.row(&mut tx).await else {
            return Err(Error::not_found("Storage pool volume not found"));
        };
        for snapshot in &self.incoming.snapshots {
            let there = snapshot_rows::get(&mut tx, volume.id, &snapshot.name).await;
            if there.is_err() {
                snapshot.insert(&mut tx, volume.id).await?;
            }
        }
        Ok(tx.commit().await?)
    }

    async fn remove(&mut self, task: &Task) -> Result<()> {
        if self.is_settled {
            return Ok(());
        }
        self.delete_rows(task, &self.incoming.snapshots).await
    }

    async fn delete_rows(&self, task: &Task, snapshots: &[Saved]) -> Result<()> {
        let mut tx = task.app.cluster.begin().await?;
        let Some(volume) = self.incoming.to.row(&mut tx).await else {
            return Ok(());
        };
        for snapshot in snapshots {
            if let Ok(row) = snapshot_rows::get(&mut tx, volume.id, &snapshot.name).await {
                snapshot_rows::delete(&mut tx, row.id).await?;
            }
        }
        Ok(tx.commit().await?)
    }

    async fn fetch(&mut self, task: &Task) -> Result<()> {
        let pool = self.incoming.to.pool(&task.app)?;
        let (beside, own) = (self.beside(), self.incoming.to.volume());
        let watch = Watch::new(task.ctx.cancel.clone(), None);
        pool.create_volume(&beside, VolumeSource::Volume(own), watch)
            .await?;
        self.incoming.fetch(task, &beside).await
    }

    async fn unmake(&mut self, task: &Task) -> Result<()> {
        if self.is_settled {
            return Ok(());
        }
        self.delete_files(task, &self.incoming.snapshots).await?;
        Ok(self
            .incoming
            .to
            .pool(&task.app)?
            .delete_volume(&self.beside())
            .await?)
    }

    async fn delete_files(&self, task: &Task, snapshots: &[Saved]) -> Result<()> {
        let to = &self.incoming.to;
        let pool = to.pool(&task.app)?;
        for snapshot in snapshots {
            pool.delete_volume(&to.snapshot(&snapshot.name)).await?;
        }
        Ok(())
    }

    async fn replace(&mut self, task: &Task) -> Result<()> {
        let to = &self.incoming.to;
        let pool = to.pool(&task.app)?;
        let watch = Watch::new(task.ctx.cancel.clone(), None);
        let done = pool
            .replace_volume(&to.volume(), (&pool, &self.beside()), &self.token, watch)
            .await;
        done.context("Failed copying the volume")
    }

    async fn put_back(&mut self, task: &Task) -> Result<()> {
        let to = &self.incoming.to;
        Ok(to.pool(&task.app)?.put_back(&to.volume(), &self.token).await?)
    }

    async fn settle(&mut self, task: &Task) -> Result<()> {
        self.is_settled = true;
        let pool = self.incoming.to.pool(&task.app)?;
        pool.forget_replaced(&self.token).await?;
        pool.delete_volume(&self.beside()).await?;
        self.delete_rows(task, &self.surplus).await?;
        self.delete_files(task, &self.surplus).await
    }
}
