//! What can go wrong with pools, volumes and image files.

use std::io;
use std::path::{Path, PathBuf};

use lxd_model::{ErrorKind, Invalid};
use lxd_sys::command;
use lxd_sys::mount::MountError;
use lxd_sys::path::PathError;
use lxd_sys::userns::UsernsError;

use crate::images::ImageError;

/// A failure of this crate. Texts that the reference has too are the same.
#[derive(Debug, thiserror::Error)]
pub enum StorageError {
    /// No driver of this name exists. (The reference answers 500 here and for [`Self::DriverUnavailable`].)
    #[error("Unknown driver")]
    UnknownDriver {
        /// The name.
        driver: String,
    },
    /// The driver exists in LXD but is not built into this server.
    #[error("Storage driver {driver:?} is not supported by this server yet (supported: btrfs, dir, overlay)")]
    DriverUnavailable {
        /// Its name.
        driver: String,
    },
    /// A key or value of a pool's or volume's configuration.
    #[error(transparent)]
    Invalid(#[from] Invalid),
    /// A pool's source, or another part of a request, in the reference's words.
    #[error("{message}")]
    Refused {
        /// Seen by the user.
        message: String,
        /// How it counts.
        kind: ErrorKind,
    },
    /// A volume that should be there is not.
    #[error("{kind} volume {name:?} not found in pool {pool:?}")]
    VolumeNotFound {
        /// The word for its type.
        kind: &'static str,
        /// Its name on disk.
        name: String,
        /// The pool.
        pool: String,
    },
    /// A volume is there that should not be.
    #[error("{kind} volume {name:?} already exists in pool {pool:?}")]
    VolumeExists {
        /// The word for its type.
        kind: &'static str,
        /// Its name on disk.
        name: String,
        /// The pool.
        pool: String,
    },
    /// A volume is mounted or being read.
    #[error("Volume {name:?} in pool {pool:?} is in use")]
    VolumeBusy {
        /// Its name on disk.
        name: String,
        /// The pool.
        pool: String,
    },
    /// An image could not be read or unpacked.
    #[error(transparent)]
    Image(#[from] ImageError),
    /// A file operation that names itself.
    #[error(transparent)]
    Path(#[from] PathError),
    /// A mount that names itself.
    #[error(transparent)]
    Mount(#[from] MountError),
    /// An id map that names itself.
    #[error(transparent)]
    Userns(#[from] UsernsError),
    /// Another program.
    #[error(transparent)]
    Command(#[from] command::Error),
    /// A call on a path.
    #[error("{doing} {}", path.display())]
    Io {
        /// What was being done, as the beginning of a sentence.
        doing: &'static str,
        /// To which path.
        path: PathBuf,
        /// The kernel's answer.
        #[source]
        source: io::Error,
    },
    /// Several things failed while tearing down; each was tried.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    Several(Vec<StorageError>),
    /// The caller asked to stop.
    #[error("Cancelled")]
    Cancelled,
    /// A task of ours broke down.
    #[error("A storage task panicked: {0}")]
    Panicked(String),
}

impl StorageError {
    /// How the failure counts.
    pub fn kind(&self) -> ErrorKind {
        match self {
            // The reference answers all errors of pool creation with 500, and scripts compare.
            Self::UnknownDriver { .. } | Self::Invalid(_) => ErrorKind::Internal,
            Self::DriverUnavailable { .. } => ErrorKind::Internal,
            Self::Refused { kind, .. } => *kind,
            Self::VolumeNotFound { .. } => ErrorKind::NotFound,
            Self::VolumeExists { .. } | Self::VolumeBusy { .. } => ErrorKind::Conflict,
            Self::Image(error) => error.kind(),
            Self::Path(PathError::Cancelled) | Self::Cancelled => ErrorKind::Cancelled,
            Self::Path(error) if error.io_kind() == Some(io::ErrorKind::NotFound) => ErrorKind::NotFound,
            Self::Path(PathError::Escapes { .. }) => ErrorKind::BadRequest,
            Self::Several(errors) => errors.first().map_or(ErrorKind::Internal, Self::kind),
            _ => ErrorKind::Internal,
        }
    }

    pub(crate) fn io(doing: &'static str, path: &Path, source: impl Into<io::Error>) -> Self {
        Self::Io {
            doing,
            path: path.to_path_buf(),
            source: source.into(),
        }
    }

    pub(crate) fn refused(message: impl Into<String>) -> Self {
        Self::Refused {
            message: message.into(),
            kind: ErrorKind::Internal,
        }
    }

    /// Nothing, the only failure, or all of them.
    pub(crate) fn collect(mut errors: Vec<Self>) -> Result<(), Self> {
        match errors.len() {
            0 => Ok(()),
            1 => Err(errors.remove(0)),
            _ => Err(Self::Several(errors)),
        }
    }
}
