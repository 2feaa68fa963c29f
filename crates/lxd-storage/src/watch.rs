//! How long work is watched and ended by whoever asked for it.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio_util::sync::CancellationToken;

/// Called with the number of bytes done so far, from the thread that does the work: it must be quick.
pub type Progress = Arc<dyn Fn(u64) + Send + Sync>;

/// Progress and cancellation of one piece of work; clones belong to the same work.
#[derive(Clone)]
pub struct Watch {
    cancel: CancellationToken,
    progress: Option<Progress>,
    done: Arc<AtomicU64>,
}

impl Watch {
    /// Work that ends early when `cancel` is cancelled, and reports to `progress`.
    pub fn new(cancel: CancellationToken, progress: Option<Progress>) -> Self {
        Self {
            cancel,
            progress,
            done: Arc::new(AtomicU64::new(0)),
        }
    }

    /// Work that nobody watches.
    pub fn none() -> Self {
        Self::new(CancellationToken::new(), None)
    }

    /// Counts bytes; `false` when the work is to stop.
    pub fn advance(&self, bytes: u64) -> bool {
        let done = self.done.fetch_add(bytes, Ordering::Relaxed) + bytes;
        if bytes > 0
            && let Some(progress) = &self.progress
        {
            progress(done);
        }
        !self.is_cancelled()
    }

    /// Ends when the work is to stop.
    pub async fn cancelled(&self) {
        self.cancel.cancelled().await;
    }

    /// Whether the work is to stop.
    pub fn is_cancelled(&self) -> bool {
        self.cancel.is_cancelled()
    }
}

impl Default for Watch {
    fn default() -> Self {
        Self::none()
    }
}

impl fmt::Debug for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watch")
            .field("done", &self.done)
            .finish_non_exhaustive()
    }
}
