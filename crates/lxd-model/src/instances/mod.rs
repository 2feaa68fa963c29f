//! Instances: their types and states.

pub mod architecture;
pub mod boot;
pub mod naming;
pub mod pattern;
pub mod size;
pub mod volatile;

use serde::{Deserialize, Serialize};

use crate::Invalid;

/// What an instance is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum InstanceType {
    /// A system container.
    #[default]
    Container,
    /// A virtual machine.
    VirtualMachine,
}

impl InstanceType {
    /// The type of a request: the empty text means a container.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        match text {
            "" | "container" => Ok(Self::Container),
            "virtual-machine" => Ok(Self::VirtualMachine),
            _ => Err(Invalid::new("Invalid instance type")),
        }
    }

    /// The API's word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Container => "container",
            Self::VirtualMachine => "virtual-machine",
        }
    }

    /// The number in the database.
    pub fn id(self) -> i64 {
        match self {
            Self::Container => 0,
            Self::VirtualMachine => 1,
        }
    }

    /// The type with a number.
    pub fn from_id(id: i64) -> Result<Self, Invalid> {
        match id {
            0 => Ok(Self::Container),
            1 => Ok(Self::VirtualMachine),
            _ => Err(Invalid::new("Invalid instance type")),
        }
    }
}

/// The state of an instance, with the API's words and numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Status {
    /// Not running.
    Stopped,
    /// Running.
    Running,
    /// On its way up.
    Starting,
    /// On its way down.
    Stopping,
    /// On its way down after a failure.
    Aborting,
    /// Being frozen.
    Freezing,
    /// All its processes are frozen.
    Frozen,
    /// Being thawed.
    Thawed,
    /// Can't be asked, or broken.
    Error,
    /// Running, and the guest says that it is up.
    Ready,
}

impl Status {
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::Stopped,
        Self::Running,
        Self::Starting,
        Self::Stopping,
        Self::Aborting,
        Self::Freezing,
        Self::Frozen,
        Self::Thawed,
        Self::Error,
        Self::Ready,
    ];

    /// The API's number.
    pub fn code(self) -> u16 {
        match self {
            Self::Stopped => 102,
            Self::Running => 103,
            Self::Starting => 106,
            Self::Stopping => 107,
            Self::Aborting => 108,
            Self::Freezing => 109,
            Self::Frozen => 110,
            Self::Thawed => 111,
            Self::Error => 112,
            Self::Ready => 113,
        }
    }

    /// The API's word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Stopped => "Stopped",
            Self::Running => "Running",
            Self::Starting => "Starting",
            Self::Stopping => "Stopping",
            Self::Aborting => "Aborting",
            Self::Freezing => "Freezing",
            Self::Frozen => "Frozen",
            Self::Thawed => "Thawed",
            Self::Error => "Error",
            Self::Ready => "Ready",
        }
    }

    /// The status with a word, whatever its case: liblxc's `RUNNING`, and what `volatile.last_state.power` holds.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|status| status.as_str().eq_ignore_ascii_case(text))
    }

    /// Whether processes of the instance exist.
    pub fn is_running(self) -> bool {
        !matches!(self, Self::Stopped | Self::Error | Self::Starting)
    }
}
