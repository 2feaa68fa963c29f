//! Who uses a custom volume: the instances that must not run while it changes, and follow it when it moves.

use lxd_db::cluster::Tx;
use lxd_db::cluster::storage_volumes::StorageVolume as Row;
use lxd_db::cluster::storage_volumes::users as rows;
use lxd_instance::Key;

use super::home::Home;
use crate::app::App;
use crate::error::Result;

/// Whether an instance that runs has the volume as a disk.
///
/// # Errors
/// The database can't be read.
pub(super) async fn has_running(app: &App, tx: &mut Tx, volume: &Row) -> Result<bool> {
    let users = rows::instances(tx, &volume.project, (&volume.pool, &volume.name)).await?;
    Ok(users
        .iter()
        .any(|(project, name)| app.instances.is_running(&Key::new(project, name))))
}

/// Lets the disks of instances and profiles follow a volume within its project.
///
/// # Errors
/// The database can't be written.
pub(super) async fn follow(tx: &mut Tx, old: &Home, new: &Home) -> Result<()> {
    let (from, to) = ((old.pool.as_str(), old.name.as_str()), (&*new.pool, &*new.name));
    Ok(rows::follow(tx, &old.project, from, to).await?)
}

/// Writes the files of the instances that use a volume, which say so. What can't be written now is at their next change.
pub(super) async fn refresh_files(app: &App, home: &Home) {
    let refreshed = async {
        let mut tx = app.cluster.read().await?;
        let users = rows::instances(&mut tx, &home.project, (&home.pool, &home.name)).await?;
        drop(tx);
        for (project, name) in users {
            crate::instances::refresh_backup_file(app, &Key::new(&project, &name)).await?;
        }
        Ok::<(), crate::error::Error>(())
    };
    if let Err(error) = refreshed.await {
        tracing::warn!(
            volume = home.name,
            err = error.text(),
            "Failed writing the files of who uses a volume"
        );
    }
}
