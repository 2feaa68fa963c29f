//! Custom volumes from backups: an archive that a client sends becomes a volume with its snapshots.

use std::path::PathBuf;
use std::sync::Arc;

use lxd_api::Time;
use lxd_api::storage_volumes::StorageVolume;
use lxd_db::cluster::storage_volumes as rows;
use lxd_db::cluster::{ContentType, storage_pools};
use lxd_model::config::Config;
use lxd_model::names;
use lxd_storage::images::Received;
use lxd_storage::{CustomPart, Pool, StreamHeader, Volume, Watch};
use serde::{Deserialize, Serialize};

use super::index::{BLOCK_ENDING, Index, SNAPSHOTS, STREAMS, VOLUME};
use crate::app::App;
use crate::ctx::Ctx;
use crate::error::{Context as _, Error, Result};
use crate::events::{Action, Lifecycle};
use crate::instances::backups::check_form;
use crate::instances::steps_of;
use crate::operations::{Kind, OnCrash, Operation, Options, Step, Task, Work};
use crate::steps;
use crate::storage_volumes::home::{self, Home};
use crate::storage_volumes::snapshots::Saved;
use crate::storage_volumes::{custom_holder, defaults, size, validate};

/// What the client says about the archive.
#[derive(Debug, Clone, Default)]
pub struct Request {
    /// The pool that gets the volume.
    pub pool: String,
    /// The new volume's name, if it is not to have the one in the archive.
    pub name: String,
}

/// Makes a volume of an archive, as an operation.
///
/// # Errors
/// The archive is not understood; there is no such pool; the name is taken; a bad key or value.
pub async fn import(app: &Arc<App>, ctx: &Ctx, archive: Received, request: Request) -> Result<Operation> {
    let mut tx = app.cluster.read().await?;
    if storage_pools::id(&mut tx, &request.pool).await.is_err() {
        // The reference blames itself.
        return Err(Error::refused("Storage pool not found: Storage pool not found"));
    }
    let project = custom_holder(&mut tx, ctx).await?;
    drop(tx);
    let index = Index::read(archive.path().to_path_buf()).await?;
    if index.optimized {
        check_form(app, &request.pool, &index.backend)?;
    }
    let name = if request.name.is_empty() {
        index.name.clone()
    } else {
        request.name
    };
    let home = Home::new(&request.pool, &project, &name);
    let work = plan(app, home.clone(), index, archive.path().to_path_buf())?;
    let options = Options::task(Kind::VolumeBackupRestore)
        .resource("storage_volumes", &home.name)
        .may_cancel();
    let (app, owned) = (Arc::clone(app), ctx.clone());
    let operations = Arc::clone(&app.operations);
    operations.spawn(ctx, options, move |operation| async move {
        // It is kept until all is unpacked.
        let _archive = archive;
        let done = home::run(&app, &owned, vec![home], work, Some(&operation)).await;
        let done = done.context("Create custom volume from backup")?;
        let event = Lifecycle::new(Action::StorageVolumeCreated, done.home.url());
        app.events
            .lifecycle(&done.home.project, &event.with("type", "custom").by(&owned));
        Ok(())
    })
}

/// Decides everything about the volume; what the archive says is judged as what a client says.
pub(super) fn plan(app: &App, home: Home, index: Index, archive: PathBuf) -> Result<Import> {
    names::storage_volume(&home.name)?;
    let volume: StorageVolume = index.volume()?.clone();
    let content_type = match volume.content_type.as_str() {
        "" => ContentType::Filesystem,
        word => ContentType::from_word(word)
            .ok_or_else(|| Error::bad_request("Invalid volume content type name"))?,
    };
    let mut config: Config = volume.config.into_iter().collect();
    config.retain(|key, value| !value.is_empty() && key != "volatile.uuid");
    defaults::fill(&home.pool(app)?, &mut config, content_type == ContentType::Block);
    validate(app, &home, &home.volume(), &config, content_type)?;
    let described = index.config.unwrap_or_default().volume_snapshots;
    let mut snapshots = Vec::new();
    for name in index.snapshots {
        names::snapshot(&name)?;
        let found = described.iter().find(|one| one.name == name).cloned();
        let found = found.unwrap_or_default();
        snapshots.push(Saved {
            name,
            description: found.description,
            expires_at: found.expires_at.unwrap_or_else(Time::never),
            config: found.config.into_iter().collect(),
        });
    }
    Ok(Import {
        home,
        archive,
        streams: index.streams,
        is_block: content_type == ContentType::Block,
        description: volume.description,
        config,
        snapshots,
        is_new: false,
    })
}

/// A volume that is made of an archive: its rows and those of its snapshots, then their files.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(in crate::storage_volumes) struct Import {
    pub(super) home: Home,
    /// Where the archive is for now.
    archive: PathBuf,
    /// The streams in an archive in the driver's own form; none in others.
    #[serde(default)]
    streams: Vec<StreamHeader>,
    is_block: bool,
    description: String,
    config: Config,
    snapshots: Vec<Saved>,
    /// Whether nothing of the name was there before; from then on whatever is there is this work's.
    is_new: bool,
}

impl Work for Import {
    const KIND: &'static str = "storage-volume-backups.import";
    const ON_CRASH: OnCrash = OnCrash::Undo;

    fn steps() -> &'static [Step<Self>] {
        steps![Self;
            "check": Self::check;
            "rows": Self::insert => Self::remove;
            unrecorded "volumes": Self::unpack => Self::remove_volumes;
        ]
    }
}

impl Import {
    async fn check(&mut self, task: &Task) -> Result<()> {
        self.home.require_free(&task.app, &self.snapshots).await?;
        self.is_new = true;
        Ok(())
    }

    async fn insert(&mut self, task: &Task) -> Result<()> {
        let content = rows::Content {
            content_type: if self.is_block {
                ContentType::Block
            } else {
                ContentType::Filesystem
            },
            description: self.description.clone(),
            config: self.config.clone(),
        };
        self.home.insert(&task.app, &content, &self.snapshots).await
    }

    async fn remove(&mut self, task: &Task) -> Result<()> {
        if !self.is_new {
            return Ok(());
        }
        self.home.remove(&task.app).await
    }

    async fn unpack(&mut self, task: &Task) -> Result<()> {
        let pool = self.home.pool(&task.app)?;
        let progress = task
            .operation
            .progress("create_volume_from_backup_unpack", "Unpack", None);
        let watch = Watch::new(task.ctx.cancel.clone(), Some(steps_of(progress)));
        match self.streams.is_empty() {
            true => self.unpack_files(&pool, watch).await?,
            false => self.receive(&pool, watch).await?,
        }
        if self.is_block {
            return Ok(());
        }
        size::set(&pool, &self.home.volume(), &self.config, ContentType::Filesystem).await
    }

    async fn unpack_files(&self, pool: &Pool, watch: Watch) -> Result<()> {
        let ending = if self.is_block { BLOCK_ENDING } else { "" };
        let mut parts = vec![CustomPart {
            name: format!("{VOLUME}{ending}"),
            volume: self.home.volume(),
        }];
        parts.extend(self.snapshots.iter().map(|snapshot| CustomPart {
            name: format!("{SNAPSHOTS}/{}{ending}", snapshot.name),
            volume: self.home.snapshot(&snapshot.name),
        }));
        let left_out = pool
            .unpack_custom(self.archive.clone(), parts, self.is_block, watch)
            .await?;
        for member in left_out {
            tracing::warn!(volume = self.home.name, member, "Left a member of a backup out");
        }
        Ok(())
    }

    /// Makes the volumes of what is in the driver's own form.
    async fn receive(&self, pool: &Pool, watch: Watch) -> Result<()> {
        let of_snapshot = |one: &Saved| (one.name.clone(), self.home.snapshot(&one.name));
        let mut volumes: Vec<(String, Volume)> = self.snapshots.iter().map(of_snapshot).collect();
        volumes.push((String::new(), self.home.volume()));
        let (archive, headers) = (self.archive.clone(), self.streams.clone());
        pool.receive(archive, STREAMS, headers, volumes.clone(), watch)
            .await?;
        if self.is_block {
            for (_, volume) in &volumes {
                pool.require_block(volume).await?;
            }
        }
        Ok(())
    }

    async fn remove_volumes(&mut self, task: &Task) -> Result<()> {
        if !self.is_new {
            return Ok(());
        }
        let pool = self.home.pool(&task.app)?;
        Ok(pool.delete_volume(&self.home.volume()).await?)
    }
}
