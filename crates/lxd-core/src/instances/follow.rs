//! What instances do by themselves: they end, and they reboot.

use std::sync::Arc;

use lxd_instance::lifecycle::Phase;
use lxd_instance::{Cause, Event, Key};

use super::start::{self, tell};
use super::{delete, stop};
use crate::app::App;
use crate::ctx::Ctx;
use crate::error::Result;
use crate::events::Action;

/// Follows events until the daemon stops.
pub(super) fn spawn(app: &Arc<App>) {
    let Some(mut events) = app.instances.take_events() else {
        return;
    };
    let (app, shutdown) = (Arc::downgrade(app), app.shutdown.clone());
    tokio::spawn(async move {
        loop {
            let event = tokio::select! {
                event = events.recv() => event,
                () = shutdown.cancelled() => return,
            };
            let (Some(event), Some(app)) = (event, app.upgrade()) else {
                return;
            };
            if let Event::Stopped(key, cause @ (Cause::Inside | Cause::Reboot)) = event {
                // Each on its own: an instance that takes its time keeps no other one waiting.
                tokio::spawn(async move { follow(&app, key, cause).await });
            }
        }
    });
}

async fn follow(app: &Arc<App>, key: Key, cause: Cause) {
    let ctx = Ctx::daemon(&key.project);
    tell(app, &ctx, &key, Action::InstanceShutdown);
    let followed = match cause {
        Cause::Reboot => again(app, &ctx, &key).await,
        _ => gone(app, &ctx, &key).await,
    };
    if let Err(error) = followed {
        tracing::error!(instance = %key, err = error.text(), "Failed following the end of an instance");
    }
}

/// Starts an instance that rebooted.
async fn again(app: &Arc<App>, ctx: &Ctx, key: &Key) -> Result<()> {
    let guard = app.instances.lock(key).await;
    if app.instances.registry.phase(key) != Phase::Stopped {
        return Ok(());
    }
    if let Err(error) = start::run_locked(app, ctx, key, None).await {
        drop(guard);
        gone(app, ctx, key).await?;
        return Err(error);
    }
    tell(app, ctx, key, Action::InstanceRestarted);
    Ok(())
}

/// Writes down that an instance has ended, and deletes an ephemeral one.
pub(super) async fn gone(app: &Arc<App>, ctx: &Ctx, key: &Key) -> Result<()> {
    let guard = app.instances.lock(key).await;
    if app.instances.registry.phase(key) != Phase::Stopped {
        // Somebody has started it again already.
        return Ok(());
    }
    let is_ephemeral = stop::note_stopped(app, key).await?;
    drop(guard);
    if is_ephemeral {
        delete::run(app, ctx, key, None).await?;
    }
    Ok(())
}
