//! What may be done in which phase of an instance's life: one pure function.

use std::fmt;
use std::time::Duration;

/// Where an instance is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Phase {
    /// Nothing runs.
    Stopped,
    /// Being started.
    Starting,
    /// Running.
    Running,
    /// Running, with all processes standing still.
    Frozen,
    /// Asked to shut down, and not done with it.
    Stopping,
}

impl Phase {
    /// The status that clients see, with its code in the API.
    pub fn status(self) -> (&'static str, u16) {
        match self {
            Self::Stopped => ("Stopped", 102),
            // An instance that starts was stopped until now, and one that is asked to stop still runs.
            Self::Starting => ("Stopped", 102),
            Self::Running | Self::Stopping => ("Running", 103),
            Self::Frozen => ("Frozen", 110),
        }
    }

    /// Whether processes exist.
    pub fn is_running(self) -> bool {
        matches!(self, Self::Running | Self::Frozen | Self::Stopping)
    }
}

/// What is asked of an instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Request {
    /// Start it.
    Start,
    /// Stop it: kill it if `force`, else ask its init.
    Stop {
        /// Kill.
        force: bool,
    },
    /// Stop it and start it again.
    Restart {
        /// Kill.
        force: bool,
    },
    /// Make all its processes stand still.
    Freeze,
    /// Let them go on.
    Thaw,
    /// Run a program in it.
    Exec,
    /// Save what runs.
    Dump,
}

/// How to stop an instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stop {
    /// Kill it instead of asking its init.
    pub force: bool,
    /// How long to wait for its init; for ever if none.
    pub timeout: Option<Duration>,
}

impl Stop {
    /// Kills.
    pub fn kill() -> Self {
        Self {
            force: true,
            timeout: None,
        }
    }

    /// Asks, and waits.
    pub fn ask(timeout: Option<Duration>) -> Self {
        Self {
            force: false,
            timeout,
        }
    }
}

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Action {
    /// Start it.
    Start,
    /// Kill it, and thaw it so that it can die.
    Kill,
    /// Ask its init to shut down.
    Halt,
    /// Thaw it, then ask its init to shut down.
    ThawAndHalt,
    /// It is shutting down already: wait with whoever asked first.
    Join,
    /// Freeze it.
    Freeze,
    /// Thaw it.
    Thaw,
    /// Run the program.
    Exec,
    /// Save what runs.
    Dump,
}

/// Why nothing is done. The texts are those that scripts know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Refusal {
    /// Asked to start what runs.
    AlreadyRunning,
    /// Asked to stop what does not run.
    AlreadyStopped,
    /// Asked for something that only a running instance can do.
    NotRunning,
    /// Asked to freeze or thaw what does not run.
    ContainerNotRunning,
    /// Asked to thaw what is not frozen.
    NotFrozen,
    /// Asked to freeze what is frozen.
    AlreadyFrozen,
    /// Asked to run a program in a frozen instance.
    Frozen,
    /// Somebody else's start or stop is under way.
    Busy(&'static str),
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::AlreadyRunning => "The instance is already running",
            Self::AlreadyStopped => "The instance is already stopped",
            Self::NotRunning => "Instance is not running",
            Self::ContainerNotRunning => "The container isn't running",
            Self::NotFrozen => "The container is already running",
            Self::AlreadyFrozen => "The container is already frozen",
            Self::Frozen => "Instance is frozen",
            Self::Busy(action) => return write!(f, "Instance is busy running a {action:?} operation"),
        })
    }
}

impl std::error::Error for Refusal {}

/// Decides what a request means in a phase.
///
/// # Errors
/// The reason why nothing is done.
pub fn decide(phase: Phase, request: Request) -> Result<Action, Refusal> {
    use Phase::{Frozen, Running, Starting, Stopped, Stopping};
    use Request::{Dump, Exec, Freeze, Restart, Start, Stop, Thaw};
    match (phase, request) {
        (Stopped, Start) => Ok(Action::Start),
        (Running | Frozen, Start) => Err(Refusal::AlreadyRunning),
        (Stopped, Stop { .. } | Restart { .. }) => Err(Refusal::AlreadyStopped),
        (Stopped, Freeze | Thaw) => Err(Refusal::ContainerNotRunning),
        (Stopped, Dump) | (Stopped | Starting, Exec) => Err(Refusal::NotRunning),
        (Starting, _) => Err(Refusal::Busy("start")),
        // A kill never waits for anything.
        (Running | Frozen | Stopping, Stop { force: true } | Restart { force: true }) => Ok(Action::Kill),
        (Running, Stop { force: false } | Restart { force: false }) => Ok(Action::Halt),
        (Frozen, Stop { force: false }) => Ok(Action::ThawAndHalt),
        (Frozen, Restart { force: false }) => Err(Refusal::NotRunning),
        (Stopping, Stop { force: false }) => Ok(Action::Join),
        (Stopping, Exec) => Ok(Action::Exec),
        (Running | Frozen, Dump) => Ok(Action::Dump),
        (Stopping, Start | Restart { force: false } | Freeze | Thaw | Dump) => Err(Refusal::Busy("stop")),
        (Running, Freeze) => Ok(Action::Freeze),
        (Running, Thaw) => Err(Refusal::NotFrozen),
        (Frozen, Thaw) => Ok(Action::Thaw),
        (Frozen, Freeze) => Err(Refusal::AlreadyFrozen),
        (Running, Exec) => Ok(Action::Exec),
        (Frozen, Exec) => Err(Refusal::Frozen),
    }
}

/// The phase after an action has succeeded. Killing ends when the last process is gone, not here.
pub fn after(phase: Phase, action: Action) -> Phase {
    match action {
        Action::Start | Action::Thaw => Phase::Running,
        Action::Kill | Action::Halt | Action::ThawAndHalt | Action::Join => Phase::Stopping,
        Action::Freeze => Phase::Frozen,
        // Whether it goes on afterwards is another question.
        Action::Exec | Action::Dump => phase,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const PHASES: [Phase; 5] = [
        Phase::Stopped,
        Phase::Starting,
        Phase::Running,
        Phase::Frozen,
        Phase::Stopping,
    ];
    const REQUESTS: [Request; 9] = [
        Request::Start,
        Request::Stop { force: true },
        Request::Stop { force: false },
        Request::Restart { force: true },
        Request::Restart { force: false },
        Request::Freeze,
        Request::Thaw,
        Request::Exec,
        Request::Dump,
    ];

    /// What can happen to an instance: somebody asks, or its last process ends.
    #[derive(Debug, Clone, Copy)]
    enum Happening {
        Asked(Request),
        Ended,
        GaveUpStopping,
    }

    fn happening() -> impl Strategy<Value = Happening> {
        prop_oneof![
            8 => prop::sample::select(REQUESTS.to_vec()).prop_map(Happening::Asked),
            1 => Just(Happening::Ended),
            1 => Just(Happening::GaveUpStopping),
        ]
    }

    proptest! {
        /// A toy kernel (`processes`, `frozen`) follows the decisions; it must never be told what makes no sense.
        #[test]
        fn decisions_fit_the_world(happenings in prop::collection::vec(happening(), 0..60)) {
            let (mut phase, mut processes, mut frozen) = (Phase::Stopped, false, false);
            for happening in happenings {
                match happening {
                    Happening::Ended => {
                        if phase.is_running() && !frozen {
                            (phase, processes) = (Phase::Stopped, false);
                        }
                    }
                    Happening::GaveUpStopping => {
                        if phase == Phase::Stopping {
                            phase = Phase::Running;
                        }
                    }
                    Happening::Asked(request) => {
                        let Ok(action) = decide(phase, request) else { continue };
                        match action {
                            Action::Start => {
                                prop_assert!(!processes, "two starts");
                                processes = true;
                            }
                            Action::Kill => {
                                prop_assert!(processes);
                                // The driver thaws what it kills.
                                frozen = false;
                            }
                            Action::Dump => prop_assert!(processes),
                            Action::Halt | Action::Join | Action::Exec => prop_assert!(processes && !frozen),
                            Action::ThawAndHalt | Action::Thaw => {
                                prop_assert!(processes && frozen);
                                frozen = false;
                            }
                            Action::Freeze => {
                                prop_assert!(processes && !frozen);
                                frozen = true;
                            }
                        }
                        phase = after(phase, action);
                    }
                }
                prop_assert_eq!(phase.is_running(), processes);
                prop_assert_eq!(phase == Phase::Frozen, frozen);
            }
        }
    }

    #[test]
    fn whatever_runs_can_be_killed() {
        for phase in PHASES.into_iter().filter(|phase| phase.is_running()) {
            assert_eq!(decide(phase, Request::Stop { force: true }), Ok(Action::Kill));
        }
    }

    #[test]
    fn refusals_are_the_texts_that_scripts_know() {
        let text = |phase, request| decide(phase, request).unwrap_err().to_string();
        let clean = Request::Stop { force: false };
        assert_eq!(
            text(Phase::Running, Request::Start),
            "The instance is already running"
        );
        assert_eq!(
            text(Phase::Frozen, Request::Start),
            "The instance is already running"
        );
        assert_eq!(text(Phase::Stopped, clean), "The instance is already stopped");
        assert_eq!(
            text(Phase::Stopped, Request::Restart { force: true }),
            "The instance is already stopped"
        );
        assert_eq!(
            text(Phase::Frozen, Request::Restart { force: false }),
            "Instance is not running"
        );
        assert_eq!(
            text(Phase::Stopped, Request::Freeze),
            "The container isn't running"
        );
        assert_eq!(text(Phase::Stopped, Request::Thaw), "The container isn't running");
        assert_eq!(
            text(Phase::Running, Request::Thaw),
            "The container is already running"
        );
        assert_eq!(
            text(Phase::Frozen, Request::Freeze),
            "The container is already frozen"
        );
        assert_eq!(text(Phase::Stopped, Request::Exec), "Instance is not running");
        assert_eq!(
            text(Phase::Stopping, Request::Start),
            "Instance is busy running a \"stop\" operation"
        );
    }
}
