//! What is looked after by the clock, until the daemon stops.

use std::sync::Arc;
use std::time::Duration;

use crate::app::App;
use crate::error::Result;

/// Looks at once, and again after each interval. What goes wrong is logged, with `failure` for its text.
pub(crate) fn every<F, Fut>(app: &Arc<App>, interval: Duration, failure: &'static str, look: F)
where
    F: Fn(Arc<App>) -> Fut + Send + 'static,
    Fut: Future<Output = Result<()>> + Send,
{
    let (app, shutdown) = (Arc::downgrade(app), app.shutdown.clone());
    tokio::spawn(async move {
        let mut tick = tokio::time::interval(interval);
        loop {
            tokio::select! {
                _ = tick.tick() => {}
                () = shutdown.cancelled() => return,
            }
            let Some(app) = app.upgrade() else { return };
            note(failure, look(app).await);
        }
    });
}

/// Looks at the beginning of each minute, whether the look before has ended or not.
pub(crate) fn each_minute<F, Fut>(app: &Arc<App>, failure: &'static str, look: F)
where
    F: Fn(Arc<App>) -> Fut + Send + 'static,
    Fut: Future<Output = Result<()>> + Send + 'static,
{
    let (app, shutdown) = (Arc::downgrade(app), app.shutdown.clone());
    tokio::spawn(async move {
        loop {
            let Some(now) = app.upgrade().map(|app| app.clock.now()) else {
                return;
            };
            let second = now.as_second().rem_euclid(60).unsigned_abs();
            tokio::select! {
                () = tokio::time::sleep(Duration::from_secs(60 - second)) => {}
                () = shutdown.cancelled() => return,
            }
            let Some(app) = app.upgrade() else { return };
            let looking = look(app);
            tokio::spawn(async move { note(failure, looking.await) });
        }
    });
}

fn note(failure: &'static str, done: Result<()>) {
    if let Err(error) = done {
        tracing::error!(err = error.text(), "{failure}");
    }
}
