//! The one error of the use cases: a kind that the edge maps to a status code, a text, and what caused it.
//!
//! A mechanism's error becomes an [`Error`] by `?`, with its kind kept. [`Context::context`] says what was being
//! done: `db.insert(..).await.context("Failed creating instance record")?`. [`Error::text`] prints the whole chain as
//! clients see it, outer text first: `Failed creating instance record: UNIQUE constraint failed: ...`.

use std::error::Error as StdError;
use std::fmt;

use lxd_model::ErrorKind;

type Source = Box<dyn StdError + Send + Sync + 'static>;

/// The result of a use case.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a use case failed.
#[derive(Debug)]
pub struct Error {
    kind: ErrorKind,
    /// `None`: the source says it all.
    message: Option<String>,
    source: Option<Source>,
}

macro_rules! constructors {
    ($($(#[$doc:meta])* $name:ident => $kind:ident;)*) => {
        impl Error {
            $($(#[$doc])* pub fn $name(message: impl Into<String>) -> Self {
                Self::new(ErrorKind::$kind, message)
            })*
        }
    };
}

constructors! {
    /// The request is wrong and will be wrong again.
    bad_request => BadRequest;
    /// The caller may not do this.
    forbidden => Forbidden;
    /// The thing does not exist, as far as the caller may know.
    not_found => NotFound;
    /// The thing exists already, or its state does not allow this now.
    conflict => Conflict;
    /// The thing has changed since the caller read it.
    precondition_failed => PreconditionFailed;
    /// This server can't do it.
    not_implemented => NotImplemented;
    /// The server is starting, stopping, or without its database.
    unavailable => Unavailable;
    /// The body or a part of it is larger than is accepted.
    too_large => TooLarge;
    /// The caller, or the end of the daemon, cancelled the work.
    cancelled => Cancelled;
    /// Our side failed.
    internal => Internal;
}

impl Error {
    /// An error of a kind, with its text.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: Some(message.into()),
            source: None,
        }
    }

    /// An error that is another one, seen as a failure of the given kind.
    pub fn from_source(kind: ErrorKind, source: impl Into<Source>) -> Self {
        Self {
            kind,
            message: None,
            source: Some(source.into()),
        }
    }

    /// A refusal that the reference answers with its status for internal errors, although the request is to blame: a
    /// profile in use, a name that is taken. Clients that look at the status expect that.
    pub fn refused(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Internal, message)
    }

    /// The same error with what caused it.
    #[must_use]
    pub fn because(mut self, source: impl Into<Source>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// What sort of failure this is.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// The same error, seen as another kind.
    #[must_use]
    pub fn with_kind(mut self, kind: ErrorKind) -> Self {
        self.kind = kind;
        self
    }

    /// The text of the error and of everything that caused it, outer first, joined by `: `, as clients see it.
    pub fn text(&self) -> String {
        let mut text = self.message.clone().unwrap_or_default();
        let mut next: Option<&(dyn StdError + 'static)> = self.source.as_ref().map(|s| &**s as _);
        while let Some(error) = next {
            let part = error.to_string();
            if !part.is_empty() {
                if !text.is_empty() {
                    text.push_str(": ");
                }
                text.push_str(&part);
            }
            next = error.source();
        }
        text
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.message, &self.source) {
            (Some(message), _) => f.write_str(message),
            (None, Some(source)) => fmt::Display::fmt(source, f),
            (None, None) => fmt::Display::fmt(&self.kind, f),
        }
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match (&self.message, &self.source) {
            (Some(_), source) => source.as_ref().map(|source| &**source as _),
            // What it shows is that error itself, which must not be told twice.
            (None, source) => source.as_ref()?.source(),
        }
    }
}

/// Each mechanism's error keeps its kind and its text.
macro_rules! from_mechanism {
    ($($error:ty),*) => {
        $(impl From<$error> for Error {
            fn from(error: $error) -> Self {
                Self::from_source(error.kind(), error)
            }
        })*
    };
}

from_mechanism!(
    lxd_model::Invalid,
    lxd_db::Error,
    lxd_storage::StorageError,
    lxd_storage::images::ImageError,
    lxd_network::Error,
    lxd_instance::Error
);

/// Another server's answer; only what it says of the thing asked for is told on with its status.
impl From<lxd_client::Error> for Error {
    fn from(error: lxd_client::Error) -> Self {
        let kind = match error.code() {
            403 => ErrorKind::Forbidden,
            404 => ErrorKind::NotFound,
            _ => ErrorKind::Internal,
        };
        // Its text holds what caused it.
        Self::new(kind, error.to_string())
    }
}

impl From<lxd_sys::path::PathError> for Error {
    fn from(error: lxd_sys::path::PathError) -> Self {
        lxd_storage::StorageError::from(error).into()
    }
}

/// Says what was being done when something failed.
pub trait Context<T> {
    /// Puts a text before the error's own; the kind stays.
    fn context(self, doing: impl Into<String>) -> Result<T>;

    /// The same with a text that is only made when needed.
    fn with_context<S: Into<String>>(self, doing: impl FnOnce() -> S) -> Result<T>;
}

impl<T, E: Into<Error>> Context<T> for std::result::Result<T, E> {
    fn context(self, doing: impl Into<String>) -> Result<T> {
        self.with_context(|| doing)
    }

    fn with_context<S: Into<String>>(self, doing: impl FnOnce() -> S) -> Result<T> {
        self.map_err(|error| {
            let inner: Error = error.into();
            Error::new(inner.kind, doing()).because(inner)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_is_the_chain_with_each_part_once() {
        let invalid = lxd_model::Invalid::new("Unknown key \"x\"");
        let failed: Result<()> = Err(invalid)
            .context("Invalid config")
            .context("Failed creating instance");
        let error = failed.unwrap_err();
        assert_eq!(
            error.text(),
            "Failed creating instance: Invalid config: Unknown key \"x\""
        );
        assert_eq!(error.kind(), ErrorKind::BadRequest);
        assert_eq!(error.to_string(), "Failed creating instance");
    }

    #[test]
    fn an_error_without_a_text_of_its_own_reads_as_its_source() {
        let error = Error::from_source(ErrorKind::NotFound, std::io::Error::other("gone"));
        assert_eq!((error.text(), error.to_string()), ("gone".into(), "gone".into()));
    }
}
