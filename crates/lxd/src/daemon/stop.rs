//! How the daemon is told to end, and who waits for what meanwhile.

use std::io;
use std::sync::Arc;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;

/// What happens to the instances when the daemon ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum How {
    /// They go on; the next daemon takes them over.
    LeaveInstances,
    /// They are shut down: the host goes down, or the user says so.
    StopInstances {
        /// Does not wait for operations.
        force: bool,
    },
}

#[derive(Debug, Clone, Copy, Default)]
struct State {
    is_ready: bool,
    wanted: Option<How>,
    is_finished: bool,
}

/// The phases of the daemon's life.
pub(crate) struct Stop(watch::Sender<State>);

impl Stop {
    /// A daemon that is starting, and that signals will end: SIGPWR with the instances, SIGTERM, SIGINT and SIGQUIT
    /// without.
    ///
    /// # Errors
    /// A signal handler can't be installed.
    pub(crate) fn on_signals() -> io::Result<Arc<Self>> {
        let stop = Self::new();
        let how = How::StopInstances { force: false };
        stop.on(
            signal(SignalKind::from_raw(rustix::process::Signal::POWER.as_raw()))?,
            how,
        );
        for kind in [
            SignalKind::terminate(),
            SignalKind::interrupt(),
            SignalKind::quit(),
        ] {
            stop.on(signal(kind)?, How::LeaveInstances);
        }
        Ok(stop)
    }

    fn new() -> Arc<Self> {
        Arc::new(Self(watch::Sender::new(State::default())))
    }

    fn on(self: &Arc<Self>, mut signal: Signal, how: How) {
        let stop = Arc::clone(self);
        tokio::spawn(async move {
            while signal.recv().await.is_some() {
                stop.request(how);
            }
        });
    }

    /// Asks the daemon to end. The first request counts.
    pub(crate) fn request(&self, how: How) {
        self.0.send_if_modified(|state| {
            let is_first = state.wanted.is_none();
            state.wanted.get_or_insert(how);
            is_first
        });
    }

    /// Waits until somebody wants the daemon to end.
    pub(crate) async fn wanted(&self) -> How {
        let mut states = self.0.subscribe();
        loop {
            if let Some(how) = states.borrow_and_update().wanted {
                return how;
            }
            let _ = states.changed().await;
        }
    }

    /// Whether somebody wants the daemon to end.
    pub(crate) fn is_wanted(&self) -> bool {
        self.0.borrow().wanted.is_some()
    }

    /// Start-up is done.
    pub(crate) fn set_ready(&self) {
        self.0.send_modify(|state| state.is_ready = true);
    }

    /// Whether start-up is done.
    pub(crate) fn is_ready(&self) -> bool {
        self.0.borrow().is_ready
    }

    /// Operations and, where asked for, instances have ended.
    pub(crate) fn set_finished(&self) {
        self.0.send_modify(|state| state.is_finished = true);
    }

    /// Waits until operations and instances have ended.
    pub(crate) async fn finished(&self) {
        let mut states = self.0.subscribe();
        let _ = states.wait_for(|state| state.is_finished).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_first_wish_counts() {
        let stop = Stop::new();
        assert!(!stop.is_wanted());
        stop.request(How::LeaveInstances);
        stop.request(How::StopInstances { force: true });
        assert_eq!(stop.wanted().await, How::LeaveInstances);
        stop.set_finished();
        stop.finished().await;
    }
}
