//! The files of backups of custom volumes: `backups/custom/POOL/PROJECT_VOLUME/NAME`.

use std::io;
use std::path::{Path, PathBuf};

use crate::app::{App, blocking};
use crate::error::{Error, Result};
use crate::storage_volumes::home::Home;

/// The file of a backup.
pub(super) fn file(app: &App, home: &Home, name: &str) -> PathBuf {
    folder(app, home).join(name)
}

fn folder(app: &App, home: &Home) -> PathBuf {
    app.paths.volume_backups(&home.pool, &home.project, &home.name)
}

/// Removes a file; not being there is fine. The folder goes with the last one, and that of the pool.
pub(super) fn remove(path: &Path) -> Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(Error::internal(format!("Failed removing {}", path.display())).because(error));
        }
        _ => {}
    }
    for folder in path.ancestors().skip(1).take(2) {
        // They are not empty otherwise.
        let _ = std::fs::remove_dir(folder);
    }
    Ok(())
}

/// Lets the backups follow a volume that got another name. None, or having done so, is fine.
///
/// # Errors
/// The disk.
pub(in crate::storage_volumes) async fn move_folder(app: &App, from: &Home, to: &Home) -> Result<()> {
    let (from, to) = (folder(app, from), folder(app, to));
    blocking(move || match std::fs::rename(&from, &to) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(Error::internal(format!("Failed renaming {}", from.display())).because(error))
        }
        _ => Ok(()),
    })
    .await
}

/// Removes the backups of a volume that is deleted.
///
/// # Errors
/// The disk.
pub(in crate::storage_volumes) async fn remove_folder(app: &App, home: &Home) -> Result<()> {
    let folder = folder(app, home);
    blocking(move || {
        match std::fs::remove_dir_all(&folder) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(Error::internal(format!("Failed removing {}", folder.display())).because(error));
            }
            _ => {}
        }
        if let Some(pool) = folder.parent() {
            // It is not empty otherwise.
            let _ = std::fs::remove_dir(pool);
        }
        Ok(())
    })
    .await
}
