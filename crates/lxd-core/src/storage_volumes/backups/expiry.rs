//! Backups of custom volumes that have expired are removed, a while after their time.

use std::sync::Arc;
use std::time::Duration;

use lxd_db::cluster::VolumeType;
use lxd_db::cluster::storage_volumes::backups as rows;
use lxd_db::cluster::storage_volumes::{self as volumes, Filter};

use crate::app::App;
use crate::ctx::Ctx;
use crate::error::Result;
use crate::storage_volumes::home::Home;
use crate::timers;

/// How often is looked.
const INTERVAL: Duration = Duration::from_secs(600);

/// Looks now and then, until the daemon stops.
pub(crate) fn spawn(app: &Arc<App>) {
    timers::every(
        app,
        INTERVAL,
        "Failed looking for expired backups of volumes",
        |app| async move { prune(&app).await },
    );
}

/// Removes the backups whose time has come.
///
/// # Errors
/// The database can't be read.
pub(super) async fn prune(app: &Arc<App>) -> Result<()> {
    let mut tx = app.cluster.read().await?;
    let expired = rows::expired(&mut tx, app.clock.now()).await?;
    if expired.is_empty() {
        return Ok(());
    }
    let filter = Filter {
        kind: Some(VolumeType::Custom),
        ..Filter::default()
    };
    let volumes = volumes::list(&mut tx, filter).await?;
    drop(tx);
    for backup in expired {
        let Some(volume) = volumes.iter().find(|volume| volume.id == backup.volume_id) else {
            continue;
        };
        let ctx = Ctx::daemon(&volume.project);
        if let Err(error) = super::remove(app, &ctx, Home::of(volume), backup.name.clone(), None).await {
            let (volume, backup) = (volume.name.as_str(), backup.name.as_str());
            tracing::error!(
                volume,
                backup,
                err = error.text(),
                "Failed removing an expired backup"
            );
        }
    }
    Ok(())
}
