//! The files around the cluster database: the administrator's patch, the copy made before it runs, dumps.

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use dqlite::Connection;
use dqlite::wire::FileContent;

use crate::{Error, Result};

/// A patch file that waits to be run.
#[derive(Debug)]
pub(super) struct Patch {
    path: PathBuf,
    backup: PathBuf,
    sql: String,
}

/// Makes the folders, and copies the database away where a patch is about to change it.
pub(super) fn prepare(directory: &Path) -> Result<Option<Patch>> {
    let global = directory.join("global");
    create_folder(directory, 0o700)?;
    create_folder(&global, 0o750)?;
    let path = directory.join("patch.global.sql");
    let sql = match fs::read_to_string(&path) {
        Ok(sql) => sql,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => {
            return Err(Error::File {
                action: "read",
                path,
                source,
            });
        }
    };
    let backup = directory.join("global.bak");
    copy_folder(&global, &backup)?;
    Ok(Some(Patch { path, backup, sql }))
}

impl Patch {
    /// Runs the patch in one transaction, and removes the file once that is committed.
    pub(super) async fn apply(self, connection: &mut Connection) -> Result<()> {
        tracing::info!(path = %self.path.display(), "running the administrator's patch of the cluster database");
        let result = match connection.execute_batch("BEGIN IMMEDIATE").await {
            Ok(_) => connection.execute_batch(&self.sql).await,
            Err(error) => Err(error),
        };
        let result = match result {
            Ok(_) => connection.execute_batch("COMMIT").await,
            Err(error) => Err(error),
        };
        if let Err(error) = result {
            let source = Box::new(crate::sql::refused(error));
            return Err(Error::Patch {
                path: self.path,
                backup: self.backup,
                source,
            });
        }
        let Self { path, .. } = self;
        tokio::fs::remove_file(&path).await.map_err(|source| Error::File {
            action: "remove",
            path,
            source,
        })
    }
}

/// Writes the files of a dump beside the node's own, each whole or not at all.
pub(super) fn write_dump(directory: &Path, files: &[FileContent]) -> Result<()> {
    for file in files {
        let path = directory.join(&file.name);
        let part = directory.join(format!("{}.part", file.name));
        let written = fs::OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&part)
            .and_then(|mut handle| handle.write_all(&file.content))
            .and_then(|()| fs::rename(&part, &path));
        if let Err(source) = written {
            let _ = fs::remove_file(&part);
            return Err(Error::File {
                action: "write",
                path,
                source,
            });
        }
    }
    Ok(())
}

fn create_folder(path: &Path, mode: u32) -> Result<()> {
    match fs::DirBuilder::new().mode(mode).create(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(Error::File {
            action: "create",
            path: path.to_owned(),
            source: error,
        }),
        _ => Ok(()),
    }
}

/// Copies a folder of plain files, replacing an older copy.
fn copy_folder(from: &Path, to: &Path) -> Result<()> {
    let failed = |action, path: &Path| {
        let path = path.to_owned();
        move |source| Error::File { action, path, source }
    };
    match fs::remove_dir_all(to) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed("remove", to)(error)),
        _ => create_folder(to, 0o750)?,
    }
    for entry in fs::read_dir(from).map_err(failed("list", from))? {
        let entry = entry.map_err(failed("list", from))?;
        let target = to.join(entry.file_name());
        if entry.file_type().is_ok_and(|kind| kind.is_file()) {
            fs::copy(entry.path(), &target).map_err(failed("copy", &target))?;
        }
    }
    Ok(())
}
