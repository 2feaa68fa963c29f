//! The states of an operation and what may follow what.

/// The state of an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub enum Status {
    /// Made, not begun.
    Pending,
    /// At work (or, of class token, waiting to be used).
    Running,
    /// Asked to stop early, undoing.
    Cancelling,
    /// Done.
    Success,
    /// Failed, and undone.
    Failure,
    /// Stopped early, and undone.
    Cancelled,
}

impl Status {
    /// The number on the wire.
    pub fn code(self) -> u16 {
        match self {
            Self::Pending => 105,
            Self::Running => 103,
            Self::Cancelling => 104,
            Self::Success => 200,
            Self::Failure => 400,
            Self::Cancelled => 401,
        }
    }

    /// The word on the wire.
    pub fn text(self) -> &'static str {
        match self {
            Self::Pending => "Pending",
            Self::Running => "Running",
            Self::Cancelling => "Cancelling",
            Self::Success => "Success",
            Self::Failure => "Failure",
            Self::Cancelled => "Cancelled",
        }
    }

    /// Whether nothing follows this state.
    pub fn is_final(self) -> bool {
        matches!(self, Self::Success | Self::Failure | Self::Cancelled)
    }
}

/// The class of an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Class {
    /// Work that needs nobody.
    Task,
    /// Work that talks to the client over websockets.
    Websocket,
    /// A secret that waits for its use.
    Token,
}

impl Class {
    /// The word on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Task => "task",
            Self::Websocket => "websocket",
            Self::Token => "token",
        }
    }
}
