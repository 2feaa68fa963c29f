//! What can go wrong between this process, the C library and the database engine.

use std::path::PathBuf;

use crate::wire::DecodeError;

/// Result codes of SQLite and dqlite that callers act on.
pub mod code {
    /// `SQLITE_BUSY`: another connection holds the write lock, or a commit is being replicated.
    pub const BUSY: u64 = 5;
    /// `SQLITE_CONSTRAINT`, the low byte of every constraint code.
    pub const CONSTRAINT: u64 = 19;
    /// `SQLITE_CONSTRAINT_UNIQUE`.
    pub const CONSTRAINT_UNIQUE: u64 = 2067;
    /// `SQLITE_CONSTRAINT_PRIMARYKEY`.
    pub const CONSTRAINT_PRIMARY_KEY: u64 = 1555;
    /// `SQLITE_FULL`: no room on the disk.
    pub const FULL: u64 = 13;
    /// `SQLITE_IOERR_NOT_LEADER`: this member does not lead; nothing was written.
    pub const NOT_LEADER: u64 = 10250;
    /// `SQLITE_IOERR_LEADERSHIP_LOST`: leadership went away during the commit; whether it holds is unknown.
    pub const LEADERSHIP_LOST: u64 = 10506;
}

/// A failure of the node, of a connection, or of a statement.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The C library refused to create, configure or start a node.
    #[error("cannot {action} the dqlite node in {directory}: {message}")]
    Node {
        /// What was being done, such as `start`.
        action: &'static str,
        /// The node's data directory.
        directory: PathBuf,
        /// The library's own words.
        message: String,
    },
    /// The node's socket could not be reached.
    #[error("cannot connect to the dqlite node at {address}")]
    Connect {
        /// The abstract socket, written with a leading `@`.
        address: String,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// Reading from or writing to the node failed; the connection is of no more use.
    #[error("lost the connection to the dqlite node")]
    Io(#[from] std::io::Error),
    /// The node sent what the protocol does not allow; the connection is of no more use.
    #[error("malformed answer from the dqlite node")]
    Decode(#[from] DecodeError),
    /// The node answered a request with an answer that belongs to another.
    #[error("unexpected answer from the dqlite node: {got} instead of {wanted}")]
    Unexpected {
        /// The kind that was waited for.
        wanted: &'static str,
        /// The kind that came.
        got: &'static str,
    },
    /// The columns' names alone fill the engine's buffer, which makes it send empty parts of the result for ever.
    #[error("the names of the result's columns are too long for the engine: give them short ones with AS")]
    ColumnNames,
    /// An earlier call was abandoned half way, so that requests and answers no longer match.
    #[error("the connection to the dqlite node was abandoned in the middle of a request")]
    Abandoned,
    /// The engine refused the statement.
    #[error("{message}")]
    Engine {
        /// The extended SQLite result code; see [`code`].
        code: u64,
        /// The engine's own words.
        message: String,
    },
    /// More parameters than the protocol's one-byte count can name.
    #[error("a statement has {0} parameters, 255 at most are possible")]
    TooManyParameters(usize),
    /// A text parameter or a name contains a NUL byte, which would silently cut it short.
    #[error("a text for the database contains a NUL byte: {0:?}")]
    Nul(String),
    /// A column does not hold the type that was asked for.
    #[error("column {index} ({column}) holds {found}, not {wanted}")]
    Type {
        /// Position, from zero.
        index: usize,
        /// Its name in the result.
        column: String,
        /// The type asked for.
        wanted: &'static str,
        /// The type of the value there.
        found: &'static str,
    },
    /// A row has fewer columns than were asked for.
    #[error("there is no column {index} in a row of {width}")]
    NoColumn {
        /// Position, from zero.
        index: usize,
        /// How many there are.
        width: usize,
    },
    /// The task that was to run a blocking call died.
    #[error("the task for a dqlite call ended early")]
    Task(#[from] tokio::task::JoinError),
}

impl Error {
    /// The engine's code, where the engine is who refused.
    pub fn engine_code(&self) -> Option<u64> {
        match self {
            Self::Engine { code, .. } => Some(*code),
            _ => None,
        }
    }

    /// Whether the same statement may succeed a moment later: the database was locked.
    pub fn is_busy(&self) -> bool {
        self.engine_code().is_some_and(|code| code & 0xff == code::BUSY)
    }

    /// Whether a UNIQUE or PRIMARY KEY constraint refused the statement.
    ///
    /// dqlite 1.11 reports extended codes for statements, but only the primary one while stepping in some paths,
    /// so the engine's words decide where the code is the general one.
    pub fn is_unique_violation(&self) -> bool {
        match self {
            Self::Engine {
                code: code::CONSTRAINT_UNIQUE | code::CONSTRAINT_PRIMARY_KEY,
                ..
            } => true,
            Self::Engine {
                code: code::CONSTRAINT,
                message,
            } => message.starts_with("UNIQUE constraint"),
            _ => false,
        }
    }

    /// Whether the connection can no longer be used and must be replaced.
    pub fn is_fatal(&self) -> bool {
        match self {
            Self::Io(_) | Self::Decode(_) | Self::Unexpected { .. } | Self::ColumnNames | Self::Abandoned => {
                true
            }
            Self::Engine { code, .. } => matches!(*code, code::NOT_LEADER | code::LEADERSHIP_LOST),
            _ => false,
        }
    }
}
