//! What this crate tells the use cases without being asked.

use crate::instance::Key;

/// Why an instance has stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Cause {
    /// Somebody asked for it through [`crate::Instances::stop`], who writes the consequences.
    Requested,
    /// A restart through [`crate::Instances::restart`] that is about to start it again.
    Restart,
    /// Its own init ended, or somebody killed it.
    Inside,
    /// Its own init asked for a reboot: start it again.
    Reboot,
}

/// A change of an instance's phase.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// It runs.
    Started(Key),
    /// It has stopped, and everything that belonged to the run is torn down.
    Stopped(Key, Cause),
    /// All its processes stand still.
    Frozen(Key),
    /// They go on.
    Thawed(Key),
}
