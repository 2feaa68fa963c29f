//! Making a backup of a custom volume: its row, then its archive.

use std::fs::File;
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path as FsPath, PathBuf};
use std::sync::Arc;

use lxd_api::Time;
use lxd_api::storage_volumes::StoragePoolVolumeBackupsPost;
use lxd_db::cluster::storage_volumes::backups as rows;
use lxd_db::cluster::storage_volumes::snapshots as snapshot_rows;
use lxd_db::cluster::{ContentType, projects};
use lxd_storage::images::UPLOAD_PREFIX;
use lxd_storage::images::pack::{Compressor, Packer};
use lxd_storage::{BLOCK_FILE, Held, Pool, View, Volume, Watch};
use serde::{Deserialize, Serialize};

use super::index::{BLOCK_ENDING, Config, Index, PATH, SNAPSHOTS, STREAMS, TYPE, VOLUME};
use super::{check_name, files, row_of, tell};
use crate::app::{App, blocking};
use crate::ctx::Ctx;
use crate::error::{Context as _, Error, Result};
use crate::events::Action;
use crate::instances::backups::{HEADER, Header, free_name};
use crate::instances::steps_of;
use crate::operations::{Kind, OnCrash, Operation, Options, Step, Task, Work};
use crate::steps;
use crate::storage_volumes::home::{self, Home};
use crate::storage_volumes::snapshots::{custom_volume, wire as wire_snapshot};
use crate::storage_volumes::{Path, wire};

/// Makes a backup of a custom volume, as an operation.
///
/// # Errors
/// Not found; a bad name or compressor; the project has no backups.
pub async fn create(
    app: &Arc<App>,
    ctx: &Ctx,
    path: Path<'_>,
    post: StoragePoolVolumeBackupsPost,
) -> Result<Operation> {
    let volume = custom_volume(app, ctx, path).await?;
    let mut tx = app.cluster.read().await?;
    let project = projects::get(&mut tx, &ctx.project).await?;
    let blocked = lxd_model::config::project::TABLE.is_true(&project.config, "restricted")
        && lxd_model::config::project::TABLE.value(&project.config, "restricted.backups") == "block";
    if blocked {
        let text = format!("Project {:?} doesn't allow for backup creation", ctx.project);
        return Err(Error::forbidden(text));
    }
    let taken = rows::list(&mut tx, &[volume.id]).await?;
    drop(tx);
    let name = if post.name.is_empty() {
        free_name(taken.iter().map(|backup| backup.name.as_str()))
    } else {
        post.name.clone()
    };
    check_name(&name)?;
    let algorithm = match post.compression_algorithm.as_str() {
        "" => app.config.get("backups.compression_algorithm"),
        given => given.to_owned(),
    };
    Compressor::for_backup(&algorithm)?;
    let home = Home::of(&volume);
    let work = Make {
        home: home.clone(),
        name,
        // The reference keeps whole seconds.
        created_at: Time::from_unix(app.clock.now().as_second()),
        expires_at: post.expires_at,
        volume_only: post.volume_only,
        algorithm,
        // Without a form of the driver's own it is a backup like any other, as in the reference.
        is_optimized: post.optimized_storage && home.pool(app)?.has_streams(),
        is_new: false,
    };
    let options = Options::task(Kind::VolumeBackupCreate)
        .resource("storage_volumes", &home.name)
        .resource("backups", &work.name)
        .may_cancel();
    let (app, owned) = (Arc::clone(app), ctx.clone());
    let operations = Arc::clone(&app.operations);
    operations.spawn(ctx, options, move |operation| async move {
        let done = home::run(&app, &owned, vec![home], work, Some(&operation)).await;
        let done = done.context("Create volume backup")?;
        tell(
            &app,
            &owned,
            &done.home,
            &done.name,
            Action::StorageVolumeBackupCreated,
        );
        Ok(())
    })
}

/// A backup in the making.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(in crate::storage_volumes) struct Make {
    pub(super) home: Home,
    pub(super) name: String,
    pub(super) created_at: Time,
    pub(super) expires_at: Time,
    pub(super) volume_only: bool,
    pub(super) algorithm: String,
    /// Whether volumes are in the driver's own form.
    #[serde(default)]
    pub(super) is_optimized: bool,
    /// Whether nothing of the name was there before; from then on whatever is there is this work's.
    pub(super) is_new: bool,
}

impl Work for Make {
    const KIND: &'static str = "storage-volume-backups.create";
    const ON_CRASH: OnCrash = OnCrash::Undo;

    fn steps() -> &'static [Step<Self>] {
        steps![Self;
            "check": Self::check;
            "row": Self::insert => Self::delete_row;
            unrecorded "archive": Self::write => Self::delete_file;
        ]
    }
}

impl Make {
    async fn check(&mut self, task: &Task) -> Result<()> {
        let mut tx = task.app.cluster.read().await?;
        if row_of(&mut tx, &self.home, &self.name).await.is_some() {
            let text = format!("Backup \"{}/{}\" already exists", self.home.name, self.name);
            return Err(Error::conflict(text));
        }
        self.is_new = true;
        Ok(())
    }

    async fn insert(&mut self, task: &Task) -> Result<()> {
        let mut tx = task.app.cluster.begin().await?;
        let Some(volume) = self.home.row(&mut tx).await else {
            return Err(Error::not_found("Storage pool volume not found"));
        };
        let row = rows::Backup {
            id: 0,
            volume_id: volume.id,
            name: self.name.clone(),
            created_at: self.created_at.timestamp(),
            expires_at: self.expires_at.timestamp(),
            volume_only: self.volume_only,
            optimized_storage: self.is_optimized,
        };
        rows::create(&mut tx, &row).await?;
        Ok(tx.commit().await?)
    }

    async fn delete_row(&mut self, task: &Task) -> Result<()> {
        if !self.is_new {
            return Ok(());
        }
        let mut tx = task.app.cluster.begin().await?;
        if let Some(row) = row_of(&mut tx, &self.home, &self.name).await {
            rows::delete(&mut tx, row.id).await?;
            tx.commit().await?;
        }
        Ok(())
    }

    /// The archive until it is complete.
    fn partial(&self, app: &App) -> PathBuf {
        files::file(app, &self.home, &format!("{UPLOAD_PREFIX}{}", self.name))
    }

    async fn delete_file(&mut self, task: &Task) -> Result<()> {
        if !self.is_new {
            return Ok(());
        }
        let file = files::file(&task.app, &self.home, &self.name);
        let partial = self.partial(&task.app);
        blocking(move || {
            files::remove(&partial)?;
            files::remove(&file)
        })
        .await
    }

    async fn write(&mut self, task: &Task) -> Result<()> {
        let contents = Contents::collect(&task.app, self).await?;
        let file = files::file(&task.app, &self.home, &self.name);
        let partial = self.partial(&task.app);
        let compressor = Compressor::parse(&self.algorithm)?;
        let progress = task.operation.progress("create_backup", "", None);
        let watch = Watch::new(task.ctx.cancel.clone(), Some(steps_of(progress)));
        blocking(move || {
            let out = create_file(&partial)?;
            let failed =
                |error| Error::internal(format!("Failed writing {}", partial.display())).because(error);
            let packing = compressor.into_file(out).map_err(failed)?;
            let packing = contents.pack(packing, watch)?;
            let written = packing.finish().map_err(failed)?;
            written.sync_all().map_err(failed)?;
            std::fs::rename(&partial, &file).map_err(failed)
        })
        .await
    }
}

/// What goes into an archive.
struct Contents {
    index: String,
    volumes: Volumes,
}

/// The volume and its snapshots.
enum Volumes {
    /// As files.
    Files {
        is_block: bool,
        snapshots: Vec<(String, View)>,
        volume: View,
    },
    /// In the driver's own form, with a place for what is on its way.
    Streams { held: Held, scratch: PathBuf },
}

impl Contents {
    async fn collect(app: &App, make: &Make) -> Result<Self> {
        let home = &make.home;
        let mut tx = app.cluster.read().await?;
        let Some(row) = home.row(&mut tx).await else {
            return Err(Error::not_found("Storage pool volume not found"));
        };
        let kept = match make.volume_only {
            true => Vec::new(),
            false => snapshot_rows::list(&mut tx, &[row.id]).await?,
        };
        drop(tx);
        let pool = home.pool(app)?;
        let names: Vec<String> = kept.iter().map(|snapshot| snapshot.name.clone()).collect();
        let volumes = match make.is_optimized {
            true => Volumes::streams(app, &pool, home, &names).await?,
            false => Volumes::files(&pool, home, &names, row.content_type).await?,
        };
        let config = Config {
            volume_snapshots: kept.into_iter().map(|one| wire_snapshot(&row, one)).collect(),
            volume: Some(wire(row, Vec::new())),
        };
        let index = Index {
            name: home.name.clone(),
            backend: pool.driver().name.to_owned(),
            pool: pool.name().to_owned(),
            snapshots: names,
            optimized: make.is_optimized,
            optimized_header: make.is_optimized,
            r#type: TYPE.to_owned(),
            config: Some(config),
            streams: Vec::new(),
        };
        let index = index.to_text()?;
        Ok(Self { index, volumes })
    }

    fn pack<W: Write>(self, out: W, watch: Watch) -> Result<W> {
        let mut packer = Packer::new(out, watch);
        packer.file(PATH, self.index.as_bytes())?;
        match self.volumes {
            Volumes::Files {
                is_block,
                snapshots,
                volume,
            } => {
                for (name, view) in &snapshots {
                    pack_one(&mut packer, view, &format!("{SNAPSHOTS}/{name}"), is_block)?;
                }
                pack_one(&mut packer, &volume, VOLUME, is_block)?;
            }
            Volumes::Streams { held, scratch } => {
                let header = Header {
                    subvolumes: held.headers(),
                };
                packer.file(HEADER, header.to_text()?.as_bytes())?;
                held.pack(&mut packer, STREAMS, &scratch)?;
            }
        }
        Ok(packer.finish()?)
    }
}

impl Volumes {
    async fn files(pool: &Pool, home: &Home, names: &[String], content_type: ContentType) -> Result<Self> {
        let mut snapshots = Vec::with_capacity(names.len());
        for name in names {
            snapshots.push((name.clone(), pool.view(&home.snapshot(name)).await?));
        }
        Ok(Self::Files {
            is_block: content_type == ContentType::Block,
            snapshots,
            volume: pool.view(&home.volume()).await?,
        })
    }

    async fn streams(app: &App, pool: &Pool, home: &Home, names: &[String]) -> Result<Self> {
        let mut volumes: Vec<(String, Volume)> = names
            .iter()
            .map(|name| (name.clone(), home.snapshot(name)))
            .collect();
        volumes.push((String::new(), home.volume()));
        Ok(Self::Streams {
            held: pool.hold(volumes).await?,
            scratch: app.paths.backups(),
        })
    }
}

fn pack_one<W: Write>(packer: &mut Packer<W>, view: &View, name: &str, is_block: bool) -> Result<()> {
    if is_block {
        let file = view.rootfs().join(BLOCK_FILE);
        return Ok(packer.small_file(&file, &format!("{name}{BLOCK_ENDING}"))?);
    }
    Ok(packer.tree(view.rootfs(), name, None)?)
}

fn create_file(path: &FsPath) -> Result<File> {
    let failed = |error| Error::internal(format!("Failed creating {}", path.display())).because(error);
    if let Some(parent) = path.parent() {
        let made = std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(parent);
        made.map_err(failed)?;
    }
    let opened = std::fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path);
    opened.map_err(failed)
}
