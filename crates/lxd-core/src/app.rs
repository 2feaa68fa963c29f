//! The daemon's wiring, in one place: what exists once, how it starts and stops.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::error::Result;
use crate::events::Hub;
use crate::operations::{self, Faults, Journal, MemoryJournal, Operations, Works};
use crate::paths::Paths;

/// What the daemon is started with.
pub struct StartOptions {
    /// The state directory (`LXD_DIR`).
    pub dir: PathBuf,
    /// The hub that the log already feeds.
    pub events: Arc<Hub>,
    /// Faults on purpose, for tests.
    pub faults: Faults,
}

/// The daemon. There is one, behind an `Arc`.
pub struct App {
    /// Every path under the state directory.
    pub paths: Paths,
    /// What time it is.
    pub clock: Clock,
    /// The events stream.
    pub events: Arc<Hub>,
    /// Background work.
    pub operations: Arc<Operations>,
    /// The record of works with steps.
    pub journal: Arc<dyn Journal>,
    /// The kinds of works that can be taken up again.
    pub works: Works,
    /// Faults on purpose.
    pub faults: Faults,
    /// Ends when the daemon stops.
    pub shutdown: CancellationToken,
}

/// Every noun's works.
fn works() -> Works {
    #[cfg_attr(not(test), expect(unused_mut, reason = "no noun has works yet"))]
    let mut works = Works::default();
    #[cfg(test)]
    operations::tests::works(&mut works);
    works
}

impl App {
    /// Starts everything but the listeners: directories, databases, recovery of what was left half done, adoption of
    /// what runs.
    ///
    /// # Errors
    /// What could not be started.
    pub async fn start(options: StartOptions) -> Result<Arc<Self>> {
        let journal: Arc<dyn Journal> = Arc::new(MemoryJournal::default());
        let app = Arc::new(Self {
            paths: Paths::new(options.dir),
            clock: Clock::system(),
            operations: Operations::new(Arc::clone(&options.events), Arc::clone(&journal)),
            events: options.events,
            journal,
            works: works(),
            faults: options.faults,
            shutdown: CancellationToken::new(),
        });
        operations::recover(&app).await?;
        Ok(app)
    }

    /// Ends everything: no new operations, the running ones finish or (after the given time) are cancelled.
    pub async fn stop(&self, patience: Duration) {
        self.operations.stop(patience).await;
        self.shutdown.cancel();
    }
}
