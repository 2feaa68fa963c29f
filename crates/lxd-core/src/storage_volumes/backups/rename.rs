//! Renaming backups of custom volumes.

use std::path::Path as File;
use std::sync::Arc;

use lxd_db::cluster::storage_volumes::backups as rows;
use serde::{Deserialize, Serialize};

use super::{check_name, files, found, options, row_of};
use crate::app::{App, blocking};
use crate::ctx::Ctx;
use crate::error::{Error, Result};
use crate::events::{Action, Lifecycle};
use crate::operations::{Kind, OnCrash, Operation, Step, Task, Work};
use crate::steps;
use crate::storage_volumes::Path;
use crate::storage_volumes::home::{self, Home};

/// Gives a backup another name, as an operation.
///
/// # Errors
/// Not found; a bad name; the caller may not see the project.
pub async fn rename(app: &Arc<App>, ctx: &Ctx, path: Path<'_>, old: &str, new: &str) -> Result<Operation> {
    check_name(new)?;
    let (home, row) = found(app, ctx, path, old).await?;
    let options = options(Kind::VolumeBackupRename, &home);
    let work = Rename {
        home: home.clone(),
        id: row.id,
        old: row.name,
        new: new.to_owned(),
    };
    let (app, owned) = (Arc::clone(app), ctx.clone());
    let operations = Arc::clone(&app.operations);
    operations.spawn(ctx, options, move |operation| async move {
        let done = home::run(&app, &owned, vec![home], work, Some(&operation)).await?;
        let url = done.home.url_of("backups", &done.new);
        let event = Lifecycle::new(Action::StorageVolumeBackupRenamed, url).with("old_name", done.old);
        app.events.lifecycle(&done.home.project, &event.by(&owned));
        Ok(())
    })
}

/// Another name: of the row, of the file.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(in crate::storage_volumes) struct Rename {
    pub(super) home: Home,
    pub(super) id: i64,
    pub(super) old: String,
    pub(super) new: String,
}

impl Work for Rename {
    const KIND: &'static str = "storage-volume-backups.rename";
    const ON_CRASH: OnCrash = OnCrash::Undo;

    fn steps() -> &'static [Step<Self>] {
        steps![Self;
            "row": Self::rename_row => Self::restore_row;
            unrecorded "file": Self::rename_file => Self::restore_file;
        ]
    }
}

impl Rename {
    async fn rename_row(&mut self, task: &Task) -> Result<()> {
        let mut tx = task.app.cluster.read().await?;
        if self.old != self.new && row_of(&mut tx, &self.home, &self.new).await.is_some() {
            let text = format!("Backup \"{}/{}\" already exists", self.home.name, self.new);
            return Err(Error::conflict(text));
        }
        drop(tx);
        self.move_row(task, &self.old, &self.new).await
    }

    async fn restore_row(&mut self, task: &Task) -> Result<()> {
        self.move_row(task, &self.new, &self.old).await
    }

    async fn move_row(&self, task: &Task, from: &str, to: &str) -> Result<()> {
        let mut tx = task.app.cluster.begin().await?;
        let Some(row) = row_of(&mut tx, &self.home, from).await else {
            return Ok(());
        };
        // Who is called so may be another backup, if this was undone already.
        if row.id == self.id {
            rows::rename(&mut tx, row.volume_id, from, to).await?;
            tx.commit().await?;
        }
        Ok(())
    }

    async fn rename_file(&mut self, task: &Task) -> Result<()> {
        let (old, new) = self.files(task);
        blocking(move || move_file(&old, &new)).await
    }

    async fn restore_file(&mut self, task: &Task) -> Result<()> {
        let mut tx = task.app.cluster.read().await?;
        let is_other = row_of(&mut tx, &self.home, &self.new)
            .await
            .is_some_and(|row| row.id != self.id);
        drop(tx);
        let (old, new) = self.files(task);
        blocking(move || {
            if is_other || old.exists() {
                Ok(())
            } else {
                move_file(&new, &old)
            }
        })
        .await
    }

    fn files(&self, task: &Task) -> (std::path::PathBuf, std::path::PathBuf) {
        (
            files::file(&task.app, &self.home, &self.old),
            files::file(&task.app, &self.home, &self.new),
        )
    }
}

fn move_file(from: &File, to: &File) -> Result<()> {
    match std::fs::rename(from, to) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(Error::internal(format!("Failed renaming {}", from.display())).because(error))
        }
        _ => Ok(()),
    }
}
