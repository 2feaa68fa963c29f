//! The kinds of failure that callers tell apart; the HTTP edge alone maps them to status codes.

use std::fmt;

/// What sort of failure an error is, seen by who must act on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// The request is wrong and will be wrong again: a bad name, an unknown key, a value out of range.
    BadRequest,
    /// The caller may not do this.
    Forbidden,
    /// The thing named does not exist (or the caller may not know that it does).
    NotFound,
    /// The thing exists already, or its state does not allow this now.
    Conflict,
    /// The thing has changed since the caller read it (`If-Match`).
    PreconditionFailed,
    /// The request is right, but this server can't do it (yet).
    NotImplemented,
    /// The server is starting, stopping, or has lost its database; the same request may succeed later.
    Unavailable,
    /// The body or a part of it is larger than is accepted.
    TooLarge,
    /// The caller, or the end of the daemon, cancelled the work.
    Cancelled,
    /// Our side failed: a kernel call, a process, the disk, a bug.
    Internal,
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::BadRequest => "bad request",
            Self::Forbidden => "not authorized",
            Self::NotFound => "not found",
            Self::Conflict => "conflict",
            Self::PreconditionFailed => "precondition failed",
            Self::NotImplemented => "not implemented",
            Self::Unavailable => "unavailable",
            Self::TooLarge => "too large",
            Self::Cancelled => "cancelled",
            Self::Internal => "internal error",
        })
    }
}

/// A rule of this crate that a value broke. The text names the key or thing, the value and the reason.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Invalid {
    kind: ErrorKind,
    message: String,
}

impl Invalid {
    /// A broken rule that is the caller's fault: [`ErrorKind::BadRequest`].
    pub fn new(message: impl Into<String>) -> Self {
        Self {
            kind: ErrorKind::BadRequest,
            message: message.into(),
        }
    }

    /// A broken rule of another kind, such as [`ErrorKind::Conflict`] or [`ErrorKind::Forbidden`].
    pub fn of_kind(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
        }
    }

    /// The kind of failure.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// The same text as another kind: some endpoints of the reference answer 500 where others answer 400.
    #[must_use]
    pub fn into_kind(self, kind: ErrorKind) -> Self {
        Self { kind, ..self }
    }

    /// The same kind with what was being done in front: `"Invalid config: "`.
    #[must_use]
    pub fn within(self, prefix: &str) -> Self {
        Self {
            message: format!("{prefix}{}", self.message),
            ..self
        }
    }
}
