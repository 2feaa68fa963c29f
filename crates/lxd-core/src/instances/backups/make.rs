//! Making a backup: its row, then its archive.

use std::fs::File;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use lxd_api::Time;
use lxd_api::instance_backups::InstanceBackupsPost;
use lxd_db::cluster::instances::backups as rows;
use lxd_db::cluster::projects;
use lxd_instance::Key;
use lxd_storage::images::UPLOAD_PREFIX;
use lxd_storage::images::pack::{Compressor, Packer};
use lxd_storage::{Access, Held, Pool, Volume, Watch};
use lxd_sys::userns::IdMap;
use serde::{Deserialize, Serialize};

use super::super::backup_file;
use super::super::record::Record;
use super::super::shift::running;
use super::header::{HEADER, Header};
use super::index::{INSTANCE, Index, PATH, SNAPSHOTS, STREAMS};
use super::{check_name, file, find, lock, tell};
use crate::app::{App, blocking};
use crate::ctx::Ctx;
use crate::error::{Context as _, Error, Result};
use crate::events::Action;
use crate::operations::{self, Kind, OnCrash, Operation, Options, Step, Task, Work};
use crate::steps;

/// Makes a backup of an instance, as an operation.
///
/// # Errors
/// Not found; a bad name or compressor; the project has no backups.
pub async fn create(app: &Arc<App>, ctx: &Ctx, name: &str, post: InstanceBackupsPost) -> Result<Operation> {
    let record = super::record(app, ctx, name).await?;
    let mut tx = app.cluster.read().await?;
    let project = projects::get(&mut tx, &ctx.project).await?;
    let blocked = lxd_model::config::project::TABLE.is_true(&project.config, "restricted")
        && lxd_model::config::project::TABLE.value(&project.config, "restricted.backups") == "block";
    if blocked {
        let text = format!("Project {:?} doesn't allow for backup creation", ctx.project);
        return Err(Error::forbidden(text));
    }
    let taken = rows::list(&mut tx, &[record.row.id]).await?;
    drop(tx);
    let wanted = if post.name.is_empty() {
        free_name(taken.iter().map(|backup| backup.name.as_str()))
    } else {
        post.name.clone()
    };
    check_name(&wanted)?;
    let algorithm = match post.compression_algorithm.as_str() {
        "" => app.config.get("backups.compression_algorithm"),
        given => given.to_owned(),
    };
    Compressor::for_backup(&algorithm)?;
    let work = Make {
        project: ctx.project.clone(),
        instance: name.to_owned(),
        name: wanted,
        // The reference keeps whole seconds.
        created_at: Time::from_unix(app.clock.now().as_second()),
        expires_at: post.expires_at,
        instance_only: post.instance_only || post.container_only,
        algorithm,
        // Without a form of the driver's own it is a backup like any other, as in the reference.
        is_optimized: post.optimized_storage && app.pools.get(record.pool())?.has_streams(),
    };
    let options = Options::task(Kind::BackupCreate)
        .resource("instances", name)
        .resource_url("backups", crate::urls::plain(&["backups", &work.name]))
        .may_cancel();
    let (app, owned) = (Arc::clone(app), ctx.clone());
    let operations = Arc::clone(&app.operations);
    operations.spawn(ctx, options, move |operation| async move {
        let _guard = lock(&app, &work.key(), &work.name).await;
        let mut tx = app.cluster.read().await?;
        if find(&mut tx, &work.project, &work.instance, &work.name)
            .await
            .is_ok()
        {
            let text = format!("Backup \"{}/{}\" already exists", work.instance, work.name);
            return Err(Error::conflict(text)).context("Create backup");
        }
        drop(tx);
        let done = operations::run_in(&app, &owned, &operation, work).await;
        let done = done.context("Create backup")?;
        tell(
            &app,
            &owned,
            (&done.instance, &done.name),
            Action::InstanceBackupCreated,
            None,
        );
        Ok(())
    })
}

/// `backup0`, or the number behind the highest one of those that are taken.
pub(crate) fn free_name<'a>(taken: impl Iterator<Item = &'a str>) -> String {
    let numbers = taken.filter_map(|name| name.strip_prefix("backup")?.parse::<u64>().ok());
    format!(
        "backup{}",
        numbers.max().map_or(0, |highest| highest.saturating_add(1))
    )
}

/// A backup in the making.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(in super::super) struct Make {
    pub(in super::super) project: String,
    pub(in super::super) instance: String,
    pub(in super::super) name: String,
    pub(in super::super) created_at: Time,
    pub(in super::super) expires_at: Time,
    pub(in super::super) instance_only: bool,
    pub(in super::super) algorithm: String,
    /// Whether volumes are in the driver's own form.
    #[serde(default)]
    pub(in super::super) is_optimized: bool,
}

impl Work for Make {
    const KIND: &'static str = "instance_backups.create";
    const ON_CRASH: OnCrash = OnCrash::Undo;

    fn steps() -> &'static [Step<Self>] {
        steps![Self;
            "row": Self::insert => Self::delete_row;
            unrecorded "archive": Self::write => Self::delete_file;
        ]
    }
}

impl Make {
    fn key(&self) -> Key {
        Key::new(&self.project, &self.instance)
    }

    /// The volume of a snapshot, or of the instance for no name.
    fn volume(&self, snapshot: &str) -> Volume {
        match snapshot {
            "" => Volume::container(&self.project, &self.instance),
            name => Volume::container(&self.project, &format!("{}/{name}", self.instance)),
        }
    }

    fn file(&self, app: &App) -> PathBuf {
        file(app, &self.key(), &self.name)
    }

    /// The archive until it is complete.
    fn partial(&self, app: &App) -> PathBuf {
        file(app, &self.key(), &format!("{UPLOAD_PREFIX}{}", self.name))
    }

    async fn insert(&mut self, task: &Task) -> Result<()> {
        let mut tx = task.app.cluster.begin().await?;
        let instance_id = lxd_db::cluster::instances::id(&mut tx, &self.project, &self.instance).await?;
        let row = rows::Backup {
            id: 0,
            instance_id,
            name: self.name.clone(),
            created_at: self.created_at.timestamp(),
            expires_at: self.expires_at.timestamp(),
            instance_only: self.instance_only,
            optimized_storage: self.is_optimized,
        };
        rows::create(&mut tx, &row).await?;
        Ok(tx.commit().await?)
    }

    async fn delete_row(&mut self, task: &Task) -> Result<()> {
        let mut tx = task.app.cluster.begin().await?;
        let Ok(row) = find(&mut tx, &self.project, &self.instance, &self.name).await else {
            return Ok(());
        };
        rows::delete(&mut tx, row.id).await?;
        Ok(tx.commit().await?)
    }

    async fn delete_file(&mut self, task: &Task) -> Result<()> {
        let (file, partial) = (self.file(&task.app), self.partial(&task.app));
        blocking(move || {
            remove(&partial)?;
            remove(&file)
        })
        .await
    }

    async fn write(&mut self, task: &Task) -> Result<()> {
        let contents = Contents::collect(&task.app, self).await?;
        let (partial, file) = (self.partial(&task.app), self.file(&task.app));
        let compressor = Compressor::parse(&self.algorithm)?;
        let progress = task.operation.progress("create_backup", "", None);
        let progress = super::super::create::steps_of(progress);
        let watch = Watch::new(task.ctx.cancel.clone(), Some(progress));
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

/// The volumes of an instance and its snapshots.
enum Volumes {
    /// As files.
    Files {
        snapshots: Vec<(String, Access)>,
        instance: Access,
        /// The ids of the running instance, if its mount shows them.
        ids: Option<IdMap>,
    },
    /// In the driver's own form, with a place for what is on its way.
    Streams { held: Held, scratch: PathBuf },
}

impl Contents {
    async fn collect(app: &Arc<App>, make: &Make) -> Result<Self> {
        let mut tx = app.cluster.read().await?;
        let record = Record::load(&mut tx, &make.project, &make.instance).await?;
        let mut config = backup_file::content(app, &mut tx, &record).await?;
        if make.instance_only {
            config.snapshots.clear();
            config.volume_snapshots.clear();
        }
        backup_file::write(app, &mut tx, &record).await?;
        drop(tx);
        let pool = app.pools.get(record.pool())?;
        let names: Vec<String> = config.snapshots.iter().map(|one| one.name.clone()).collect();
        let volumes = match make.is_optimized {
            true => Volumes::streams(app, &pool, make, &names).await?,
            false => Volumes::files(&pool, make, (&names, &record)).await?,
        };
        let index = Index {
            name: make.instance.clone(),
            backend: pool.driver().name.to_owned(),
            pool: pool.name().to_owned(),
            snapshots: names,
            optimized: make.is_optimized,
            optimized_header: make.is_optimized,
            r#type: record.row.kind.as_str().to_owned(),
            config: Some(config),
            streams: Vec::new(),
        };
        let index = index.to_text()?;
        Ok(Self { index, volumes })
    }

    fn pack<W: std::io::Write>(self, out: W, watch: Watch) -> Result<W> {
        let mut packer = Packer::new(out, watch);
        packer.file(PATH, self.index.as_bytes())?;
        match self.volumes {
            Volumes::Files {
                snapshots,
                instance,
                ids,
            } => {
                for (name, access) in &snapshots {
                    access.pack(&mut packer, &format!("{SNAPSHOTS}/{name}"), None)?;
                }
                instance.pack(&mut packer, INSTANCE, ids.as_ref())?;
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
    async fn files(pool: &Pool, make: &Make, (names, record): (&[String], &Record)) -> Result<Self> {
        let mut snapshots = Vec::new();
        for name in names {
            snapshots.push((name.clone(), pool.access(&make.volume(name)).await?));
        }
        let instance = pool.access(&make.volume("")).await?;
        let ids = match instance.shows_mapped_ids() {
            true => running(&record.config)?,
            false => None,
        };
        Ok(Self::Files {
            snapshots,
            instance,
            ids,
        })
    }

    async fn streams(app: &App, pool: &Pool, make: &Make, names: &[String]) -> Result<Self> {
        let names = names.iter().map(String::as_str).chain([""]);
        let volumes = names.map(|name| (name.to_owned(), make.volume(name))).collect();
        Ok(Self::Streams {
            held: pool.hold(volumes).await?,
            scratch: app.paths.backups(),
        })
    }
}

fn create_file(path: &Path) -> Result<File> {
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

/// Removes a file; not being there is fine. The folder goes with the last one.
pub(super) fn remove(path: &Path) -> Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(Error::internal(format!("Failed removing {}", path.display())).because(error));
        }
        _ => {}
    }
    if let Some(folder) = path.parent() {
        // It is not empty otherwise.
        let _ = std::fs::remove_dir(folder);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_numbered() {
        assert_eq!(free_name([].into_iter()), "backup0");
        assert_eq!(
            free_name(["backup7", "backup2", "backupx"].into_iter()),
            "backup8"
        );
    }
}
