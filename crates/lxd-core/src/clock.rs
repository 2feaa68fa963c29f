//! What time it is: the system's clock, or one that a test moves by hand.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use lxd_api::Time;
use parking_lot::Mutex;

/// A clock. Clones show the same time.
#[derive(Debug, Clone, Default)]
pub struct Clock(Option<Arc<Mutex<Timestamp>>>);

impl Clock {
    /// The system's clock.
    pub fn system() -> Self {
        Self(None)
    }

    /// A clock that stands at an instant until [`Clock::advance`] moves it.
    pub fn standing_at(instant: Timestamp) -> Self {
        Self(Some(Arc::new(Mutex::new(instant))))
    }

    /// The present.
    pub fn now(&self) -> Timestamp {
        match &self.0 {
            Some(standing) => *standing.lock(),
            None => Timestamp::now(),
        }
    }

    /// The present, as the API writes it.
    pub fn time(&self) -> Time {
        Time::from(self.now())
    }

    /// Moves a standing clock on; the system's clock moves by itself.
    pub fn advance(&self, by: SignedDuration) {
        if let Some(standing) = &self.0 {
            let mut now = standing.lock();
            *now = now.saturating_add(by).unwrap_or(*now);
        }
    }
}
