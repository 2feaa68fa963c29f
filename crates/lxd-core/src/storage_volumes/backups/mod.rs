//! Backups of custom volumes: archives that the server keeps, and volumes made from such archives.

mod expiry;
mod files;
mod import;
mod index;
mod make;
mod rename;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use lxd_api::Time;
use lxd_api::storage_volumes::StoragePoolVolumeBackup;
use lxd_db::cluster::Tx;
use lxd_db::cluster::storage_volumes::backups as rows;
use serde::{Deserialize, Serialize};

pub(crate) use expiry::spawn as spawn_expiry;
pub(super) use files::{move_folder, remove_folder};
pub use import::{Request, import};
pub use make::create;
pub use rename::rename;

use super::Path;
use super::home::{self, Home};
use super::snapshots::custom_volume;
use crate::app::{App, blocking};
use crate::ctx::Ctx;
use crate::error::{Error, Result};
use crate::events::{Action, Lifecycle};
use crate::instances::backups::Exported;
pub use crate::instances::backups::receive;
use crate::operations::{Kind, OnCrash, Operation, Options, Step, Task, Work, Works};
use crate::steps;

/// The kinds of works of this folder.
pub(super) fn works(works: &mut Works) {
    works.add::<make::Make>();
    works.add::<import::Import>();
    works.add::<rename::Rename>();
    works.add::<Delete>();
}

/// The backups of a volume, oldest first.
///
/// # Errors
/// Not found; the caller may not see the project.
pub async fn list(app: &Arc<App>, ctx: &Ctx, path: Path<'_>) -> Result<Vec<StoragePoolVolumeBackup>> {
    let volume = custom_volume(app, ctx, path).await?;
    let mut tx = app.cluster.read().await?;
    let all = rows::list(&mut tx, &[volume.id]).await?;
    Ok(all.into_iter().map(wire).collect())
}

/// One backup.
///
/// # Errors
/// As [`list`].
pub async fn get(app: &Arc<App>, ctx: &Ctx, path: Path<'_>, name: &str) -> Result<StoragePoolVolumeBackup> {
    found(app, ctx, path, name).await.map(|(_, row)| wire(row))
}

/// Opens a backup's file.
///
/// # Errors
/// As [`get`]; the file is gone.
pub async fn export(app: &Arc<App>, ctx: &Ctx, path: Path<'_>, name: &str) -> Result<Exported> {
    let (home, _) = found(app, ctx, path, name).await?;
    let file = files::file(app, &home, name);
    let exported = blocking(move || {
        let failed = |error| Error::internal(format!("Failed reading {}", file.display())).because(error);
        let opened = std::fs::File::open(&file).map_err(failed)?;
        let facts = opened.metadata().map_err(failed)?;
        Ok(Exported {
            size: facts.len(),
            modified: facts.modified().map_err(failed)?,
            file: opened,
        })
    });
    let exported = exported.await?;
    tell(app, ctx, &home, name, Action::StorageVolumeBackupRetrieved);
    Ok(exported)
}

/// Deletes a backup, as an operation.
///
/// # Errors
/// Not found; the caller may not see the project.
pub async fn delete(app: &Arc<App>, ctx: &Ctx, path: Path<'_>, name: &str) -> Result<Operation> {
    let (home, row) = found(app, ctx, path, name).await?;
    let options = options(Kind::VolumeBackupRemove, &home);
    let (app, owned) = (Arc::clone(app), ctx.clone());
    let operations = Arc::clone(&app.operations);
    operations.spawn(ctx, options, move |operation| async move {
        remove(&app, &owned, home, row.name, Some(&operation)).await
    })
}

/// Deletes a backup, as the whole of an operation or by itself.
async fn remove(
    app: &Arc<App>,
    ctx: &Ctx,
    home: Home,
    name: String,
    operation: Option<&Operation>,
) -> Result<()> {
    let work = Delete {
        home: home.clone(),
        name,
    };
    let done = home::run(app, ctx, vec![home], work, operation).await?;
    tell(
        app,
        ctx,
        &done.home,
        &done.name,
        Action::StorageVolumeBackupDeleted,
    );
    Ok(())
}

async fn found(app: &App, ctx: &Ctx, path: Path<'_>, name: &str) -> Result<(Home, rows::Backup)> {
    let volume = custom_volume(app, ctx, path).await?;
    let mut tx = app.cluster.read().await?;
    let row = rows::get(&mut tx, volume.id, name).await?;
    Ok((Home::of(&volume), row))
}

/// The row of a backup, if the volume and the backup are there.
async fn row_of(tx: &mut Tx, home: &Home, name: &str) -> Option<rows::Backup> {
    let volume = home.row(tx).await?;
    rows::get(tx, volume.id, name).await.ok()
}

fn wire(row: rows::Backup) -> StoragePoolVolumeBackup {
    StoragePoolVolumeBackup {
        created_at: Time::from(row.created_at),
        expires_at: Time::from(row.expires_at),
        name: row.name,
        optimized_storage: row.optimized_storage,
        volume_only: row.volume_only,
    }
}

fn check_name(name: &str) -> Result<()> {
    if name.contains(['/', '\0']) || matches!(name, "" | "." | "..") || name.starts_with(".lxd-") {
        return Err(Error::bad_request("Backup names may not contain slashes"));
    }
    Ok(())
}

/// An operation on a backup that is there; the reference has a word of its own for the volume then.
fn options(kind: Kind, home: &Home) -> Options {
    Options::task(kind).resource("volume", &home.name)
}

fn tell(app: &App, ctx: &Ctx, home: &Home, name: &str, action: Action) {
    let event = Lifecycle::new(action, home.url_of("backups", name)).by(ctx);
    let event = match action {
        Action::StorageVolumeBackupCreated => event.with("type", "custom"),
        _ => event,
    };
    app.events.lifecycle(&home.project, &event);
}

/// The end of a backup: its file, then its row.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Delete {
    home: Home,
    name: String,
}

impl Work for Delete {
    const KIND: &'static str = "storage-volume-backups.delete";
    const ON_CRASH: OnCrash = OnCrash::Finish;

    fn steps() -> &'static [Step<Self>] {
        steps![Self;
            "file": Self::remove_file;
            unrecorded "row": Self::remove_row;
        ]
    }
}

impl Delete {
    async fn remove_file(&mut self, task: &Task) -> Result<()> {
        let path = files::file(&task.app, &self.home, &self.name);
        blocking(move || files::remove(&path)).await
    }

    async fn remove_row(&mut self, task: &Task) -> Result<()> {
        let mut tx = task.app.cluster.begin().await?;
        if let Some(row) = row_of(&mut tx, &self.home, &self.name).await {
            rows::delete(&mut tx, row.id).await?;
            tx.commit().await?;
        }
        Ok(())
    }
}

/// What fuzzers do with the text of an index: it is one and is written without a panic, or an error says why not.
#[doc(hidden)]
pub fn fuzz_index(text: &[u8]) {
    match index::Index::parse(text) {
        Ok(index) => drop(index.to_text()),
        Err(error) => assert!(!error.text().is_empty()),
    }
}
