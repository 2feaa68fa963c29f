//! Backups of instances: archives that the server keeps, and instances made from such archives.

mod expiry;
#[cfg(test)]
mod full_tests;
mod header;
mod import;
mod index;
mod make;
#[cfg(test)]
mod tests;

use std::path::PathBuf;
use std::sync::Arc;

use lxd_api::instance_backups::InstanceBackup;
use lxd_db::cluster::Tx;
use lxd_db::cluster::instances::backups as rows;
use lxd_instance::Key;
use serde::{Deserialize, Serialize};

pub(crate) use expiry::spawn as spawn_expiry;
pub(crate) use header::{HEADER, Header, check_form};
pub use import::{Request, import, receive};
pub use make::create;
pub(crate) use make::free_name;

use super::list::wire_backup;
use super::record::Record;
use crate::app::{App, blocking};
use crate::ctx::Ctx;
use crate::error::{Context as _, Error, Result};
use crate::events::{Action, Lifecycle};
use crate::operations::{self, Kind, OnCrash, Operation, Options, Step, Task, Work, Works};
use crate::steps;

/// What the reference says before it says that a backup is not there.
const LOADING: &str = "Load backup from database";

/// The kinds of works of this folder.
pub(super) fn works(works: &mut Works) {
    works.add::<make::Make>();
    works.add::<import::Import>();
    works.add::<Rename>();
    works.add::<Delete>();
}

/// A backup's file, open for sending.
#[derive(Debug)]
pub struct Exported {
    /// Bytes.
    pub size: u64,
    /// When it was written.
    pub modified: std::time::SystemTime,
    /// The file.
    pub file: std::fs::File,
}

/// The backups of an instance, by name.
///
/// # Errors
/// Not found; the caller may not see the project.
pub async fn list(app: &Arc<App>, ctx: &Ctx, name: &str) -> Result<Vec<InstanceBackup>> {
    ctx.require_project()?;
    let mut tx = app.cluster.read().await?;
    let id = lxd_db::cluster::instances::id(&mut tx, &ctx.project, name).await?;
    let all = rows::list(&mut tx, &[id]).await?;
    Ok(all.into_iter().map(wire_backup).collect())
}

/// One backup.
///
/// # Errors
/// As [`list`].
pub async fn get(app: &Arc<App>, ctx: &Ctx, name: &str, backup: &str) -> Result<InstanceBackup> {
    ctx.require_project()?;
    let mut tx = app.cluster.read().await?;
    find(&mut tx, &ctx.project, name, backup).await.map(wire_backup)
}

/// Opens a backup's file.
///
/// # Errors
/// As [`get`]; the file is gone.
pub async fn export(app: &Arc<App>, ctx: &Ctx, name: &str, backup: &str) -> Result<Exported> {
    get(app, ctx, name, backup).await?;
    let path = file(app, &Key::new(&ctx.project, name), backup);
    let exported = blocking(move || {
        let failed = |error| Error::internal(format!("Failed reading {}", path.display())).because(error);
        let file = std::fs::File::open(&path).map_err(failed)?;
        let facts = file.metadata().map_err(failed)?;
        Ok(Exported {
            size: facts.len(),
            modified: facts.modified().map_err(failed)?,
            file,
        })
    });
    let exported = exported.await?;
    tell(app, ctx, (name, backup), Action::InstanceBackupRetrieved, None);
    Ok(exported)
}

/// Gives a backup another name, as an operation.
///
/// # Errors
/// Not found; a bad name; the caller may not see the project.
pub async fn rename(app: &Arc<App>, ctx: &Ctx, name: &str, old: &str, new: &str) -> Result<Operation> {
    ctx.require_project()?;
    check_name(new)?;
    get(app, ctx, name, old).await?;
    let options = Options::task(Kind::BackupRename).resource("instances", name);
    let (app, owned) = (Arc::clone(app), ctx.clone());
    let work = Rename {
        project: ctx.project.clone(),
        instance: name.to_owned(),
        old: old.to_owned(),
        new: new.to_owned(),
    };
    let operations = Arc::clone(&app.operations);
    operations.spawn(ctx, options, move |operation| async move {
        let key = Key::new(&work.project, &work.instance);
        let _old = lock(&app, &key, &work.old).await;
        let mut tx = app.cluster.read().await?;
        if work.old != work.new
            && find(&mut tx, &work.project, &work.instance, &work.new)
                .await
                .is_ok()
        {
            return Err(Error::conflict(format!(
                "Backup \"{}/{}\" already exists",
                work.instance, work.new
            )));
        }
        drop(tx);
        let done = operations::run_in(&app, &owned, &operation, work).await?;
        let name = (done.instance.as_str(), done.new.as_str());
        tell(&app, &owned, name, Action::InstanceBackupRenamed, Some(&done.old));
        Ok(())
    })
}

/// Deletes a backup, as an operation.
///
/// # Errors
/// Not found; the caller may not see the project.
pub async fn delete(app: &Arc<App>, ctx: &Ctx, name: &str, backup: &str) -> Result<Operation> {
    get(app, ctx, name, backup).await?;
    let url = crate::urls::plain(&["container", name]);
    let options = Options::task(Kind::BackupRemove).resource_url("container", url);
    let (app, owned) = (Arc::clone(app), ctx.clone());
    let (key, backup) = (Key::new(&ctx.project, name), backup.to_owned());
    let operations = Arc::clone(&app.operations);
    operations.spawn(ctx, options, move |operation| async move {
        remove(&app, &owned, (&key, &backup), Some(&operation)).await
    })
}

/// Deletes a backup, as the whole of an operation or by itself.
async fn remove(
    app: &Arc<App>,
    ctx: &Ctx,
    (key, backup): (&Key, &str),
    operation: Option<&Operation>,
) -> Result<()> {
    let _guard = lock(app, key, backup).await;
    let work = Delete {
        project: key.project.clone(),
        instance: key.name.clone(),
        name: backup.to_owned(),
    };
    match operation {
        Some(operation) => operations::run_in(app, ctx, operation, work).await?,
        None => operations::run(app, ctx, work).await?,
    };
    tell(app, ctx, (&key.name, backup), Action::InstanceBackupDeleted, None);
    Ok(())
}

/// Keeps others away from a backup's name.
async fn lock(app: &App, key: &Key, backup: &str) -> super::runtime::Guard {
    // No instance's name has a slash.
    let key = Key::new(&key.project, format!("{}/{backup}", key.name));
    app.instances.lock(&key).await
}

async fn find(tx: &mut Tx, project: &str, instance: &str, backup: &str) -> Result<rows::Backup> {
    let id = lxd_db::cluster::instances::id(tx, project, instance).await?;
    rows::get(tx, id, backup).await.context(LOADING)
}

fn check_name(name: &str) -> Result<()> {
    if name.contains(['/', '\0']) || matches!(name, "" | "." | "..") || name.starts_with(".lxd-") {
        return Err(Error::bad_request("Backup names may not contain slashes"));
    }
    Ok(())
}

fn file(app: &App, key: &Key, backup: &str) -> PathBuf {
    app.paths.instance_backups(&key.project, &key.name).join(backup)
}

fn tell(app: &App, ctx: &Ctx, (instance, backup): (&str, &str), action: Action, old: Option<&str>) {
    let url = crate::urls::object(&ctx.project, &["instances", instance, "backups", backup]);
    let mut event = Lifecycle::new(action, url);
    if let Some(old) = old {
        event = event.with("old_name", format!("{instance}/{old}"));
    }
    app.events.lifecycle(&ctx.project, &event);
}

/// Another name: of the row, of the file.
#[derive(Serialize, Deserialize)]
pub(super) struct Rename {
    project: String,
    instance: String,
    old: String,
    new: String,
}

impl Work for Rename {
    const KIND: &'static str = "instance_backups.rename";
    const ON_CRASH: OnCrash = OnCrash::Undo;

    fn steps() -> &'static [Step<Self>] {
        steps![Self;
            "row": Self::rename_row => Self::restore_row;
            unrecorded "file": Self::rename_file => Self::restore_file;
        ]
    }
}

impl Rename {
    fn key(&self) -> Key {
        Key::new(&self.project, &self.instance)
    }

    async fn move_row(&self, task: &Task, (from, to): (&str, &str)) -> Result<()> {
        let mut tx = task.app.cluster.begin().await?;
        let id = lxd_db::cluster::instances::id(&mut tx, &self.project, &self.instance).await?;
        rows::rename(&mut tx, id, from, to).await?;
        Ok(tx.commit().await?)
    }

    async fn rename_row(&mut self, task: &Task) -> Result<()> {
        self.move_row(task, (&self.old, &self.new)).await
    }

    async fn restore_row(&mut self, task: &Task) -> Result<()> {
        let mut tx = task.app.cluster.read().await?;
        let is_there = find(&mut tx, &self.project, &self.instance, &self.old)
            .await
            .is_ok();
        drop(tx);
        if is_there {
            return Ok(());
        }
        self.move_row(task, (&self.new, &self.old)).await
    }

    async fn rename_file(&mut self, task: &Task) -> Result<()> {
        let (old, new) = (
            file(&task.app, &self.key(), &self.old),
            file(&task.app, &self.key(), &self.new),
        );
        blocking(move || move_file(&old, &new)).await
    }

    async fn restore_file(&mut self, task: &Task) -> Result<()> {
        let (old, new) = (
            file(&task.app, &self.key(), &self.old),
            file(&task.app, &self.key(), &self.new),
        );
        blocking(move || {
            if old.exists() {
                Ok(())
            } else {
                move_file(&new, &old)
            }
        })
        .await
    }
}

fn move_file(from: &std::path::Path, to: &std::path::Path) -> Result<()> {
    match std::fs::rename(from, to) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(Error::internal(format!("Failed renaming {}", from.display())).because(error))
        }
        _ => Ok(()),
    }
}

/// The end of a backup: its row, then its file.
#[derive(Serialize, Deserialize)]
pub(super) struct Delete {
    project: String,
    instance: String,
    name: String,
}

impl Work for Delete {
    const KIND: &'static str = "instance_backups.delete";
    const ON_CRASH: OnCrash = OnCrash::Finish;

    fn steps() -> &'static [Step<Self>] {
        steps![Self;
            "file": Self::remove_file;
            unrecorded "row": Self::remove_row;
        ]
    }
}

impl Delete {
    async fn remove_row(&mut self, task: &Task) -> Result<()> {
        let mut tx = task.app.cluster.begin().await?;
        let Ok(row) = find(&mut tx, &self.project, &self.instance, &self.name).await else {
            return Ok(());
        };
        rows::delete(&mut tx, row.id).await?;
        Ok(tx.commit().await?)
    }

    async fn remove_file(&mut self, task: &Task) -> Result<()> {
        let path = file(&task.app, &Key::new(&self.project, &self.instance), &self.name);
        blocking(move || make::remove(&path)).await
    }
}

/// The record of an instance that the caller may see.
async fn record(app: &App, ctx: &Ctx, name: &str) -> Result<Record> {
    ctx.require_project()?;
    let mut tx = app.cluster.read().await?;
    Record::load(&mut tx, &ctx.project, name).await
}

/// What fuzzers do with the text of an index: it is one and is written without a panic, or an error says why not.
#[doc(hidden)]
pub fn fuzz_index(text: &[u8]) {
    match index::parse::<index::Index>(text) {
        Ok(index) => drop(index.to_text()),
        Err(error) => assert!(!error.text().is_empty()),
    }
}

#[cfg(test)]
mod fuzzed {
    use proptest::prelude::*;

    const GOOD: &[u8] = b"name: a\nbackend: dir\npool: p\nsnapshots: [s]\ntype: custom\nconfig: {volume: {name: v, config: {k: v}}}\n";

    proptest! {
        #[test]
        fn any_index_is_read_or_refused(at in 0..GOOD.len(), gone in 0..9_usize, new in proptest::collection::vec(any::<u8>(), 0..9)) {
            let end = (at + gone).min(GOOD.len());
            let text = [&GOOD[..at], &new, &GOOD[end..]].concat();
            super::fuzz_index(&text);
            crate::storage_volumes::backups::fuzz_index(&text);
        }
    }
}
