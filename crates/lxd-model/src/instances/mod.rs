//! Instances: their types and states.

pub mod architecture;

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
