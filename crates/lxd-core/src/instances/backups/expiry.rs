//! Backups that have expired are removed, a while after their time.

use std::sync::Arc;
use std::time::Duration;

use lxd_db::cluster::instances as instance_rows;
use lxd_db::cluster::instances::{Filter, backups as rows};
use lxd_instance::Key;

use crate::app::App;
use crate::ctx::Ctx;
use crate::error::Result;
use crate::timers;

/// How often is looked.
const INTERVAL: Duration = Duration::from_secs(600);

/// Looks now and then, until the daemon stops.
pub(crate) fn spawn(app: &Arc<App>) {
    timers::every(
        app,
        INTERVAL,
        "Failed looking for expired backups",
        |app| async move { prune(&app).await },
    );
}

/// Removes the backups whose time has come.
///
/// # Errors
/// The database can't be read.
pub(in super::super) async fn prune(app: &Arc<App>) -> Result<()> {
    let now = app.clock.now();
    let mut tx = app.cluster.read().await?;
    let expired = rows::expired(&mut tx, now).await?;
    if expired.is_empty() {
        return Ok(());
    }
    let filter = Filter {
        node_id: Some(app.cluster.node_id()),
        ..Filter::default()
    };
    let instances = instance_rows::list(&mut tx, filter).await?;
    drop(tx);
    for backup in expired {
        let Some(of) = instances
            .iter()
            .find(|instance| instance.id == backup.instance_id)
        else {
            continue;
        };
        let (key, ctx) = (Key::new(&of.project, &of.name), Ctx::daemon(&of.project));
        if let Err(error) = super::remove(app, &ctx, (&key, &backup.name), None).await {
            tracing::error!(instance = %key, backup = backup.name, err = error.text(), "Failed removing an expired backup");
        }
    }
    Ok(())
}
