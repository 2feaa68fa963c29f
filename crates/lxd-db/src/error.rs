//! What can go wrong in the databases, in the words that clients of LXD know.

use std::path::PathBuf;

use lxd_model::ErrorKind;

/// Things with a row, in the words that the reference's error texts use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Noun {
    /// A trusted certificate.
    Certificate,
    /// A group of cluster members.
    ClusterGroup,
    /// An image.
    Image,
    /// An alias of an image.
    ImageAlias,
    /// A container or virtual machine.
    Instance,
    /// A backup of an instance.
    InstanceBackup,
    /// A snapshot of an instance.
    InstanceSnapshot,
    /// A network.
    Network,
    /// A cluster member.
    Node,
    /// An operation.
    Operation,
    /// A profile.
    Profile,
    /// A project.
    Project,
    /// A storage pool.
    StoragePool,
    /// A storage volume.
    StorageVolume,
    /// A backup of a storage volume.
    StorageVolumeBackup,
    /// A snapshot of a storage volume.
    StorageVolumeSnapshot,
    /// A warning.
    Warning,
}

impl Noun {
    /// The noun at the beginning of "... not found".
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Certificate => "Certificate",
            Self::ClusterGroup => "Cluster group",
            Self::Image => "Image",
            Self::ImageAlias => "Image alias",
            Self::Instance => "Instance",
            Self::InstanceBackup => "Instance backup",
            Self::InstanceSnapshot => "InstanceSnapshot",
            Self::Network => "Network",
            Self::Node => "Cluster member",
            Self::Operation => "Operation",
            Self::Profile => "Profile",
            Self::Project => "Project",
            Self::StoragePool => "Storage pool",
            // The reference says the same of volumes and of their snapshots.
            Self::StorageVolume | Self::StorageVolumeSnapshot => "Storage pool volume",
            Self::StorageVolumeBackup => "Storage volume backup",
            Self::Warning => "Warning",
        }
    }

    /// What the reference says when the name is taken already.
    fn taken(self, name: &str) -> std::borrow::Cow<'static, str> {
        match self {
            Self::ImageAlias => return format!("Alias {name:?} already exists").into(),
            Self::StorageVolumeSnapshot => return format!("Snapshot {name:?} already in use").into(),
            Self::Certificate => "Certificate already in trust store",
            Self::ClusterGroup => "This \"cluster_groups\" entry already exists",
            Self::Image => "Image with same fingerprint already exists",
            Self::Instance => "This \"instances\" entry already exists",
            Self::InstanceBackup => "Backup already exists",
            Self::InstanceSnapshot => "This \"instances_snapshots\" entry already exists",
            Self::Network => "The network already exists",
            Self::Node => "The server already has a cluster member with this name or address",
            Self::Operation => "This \"operations\" entry already exists",
            Self::Profile => "The profile already exists",
            Self::Project => "This \"projects\" entry already exists",
            Self::StoragePool => "The storage pool already exists",
            Self::StorageVolume => "Volume by that name already exists",
            Self::StorageVolumeBackup => "Backup already exists",
            Self::Warning => "This \"warnings\" entry already exists",
        }
        .into()
    }
}

impl std::fmt::Display for Noun {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A failure of one of the databases.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no such thing. The text is the reference's, which leaves the name out; it is in the variant.
    #[error("{noun} not found")]
    NotFound {
        /// What was looked for.
        noun: Noun,
        /// Its name, fingerprint or id.
        name: String,
    },
    /// The name is taken. The text is the reference's; the name is in the variant.
    #[error("{}", noun.taken(name))]
    Taken {
        /// What was to be made or renamed.
        noun: Noun,
        /// The name that is in use.
        name: String,
    },
    /// Several things match, where one was asked for.
    #[error("More than one {} matches {name:?}", noun.as_str().to_lowercase())]
    Ambiguous {
        /// What was looked for.
        noun: Noun,
        /// The part of a name or fingerprint that was given.
        name: String,
    },
    /// Profiles that an instance or an image names are not there.
    #[error("Requested profile {name:?} doesn't exist")]
    NoProfile {
        /// The first that is missing.
        name: String,
    },
    /// A thing cannot be stored as it is.
    #[error("{0}")]
    Invalid(String),
    /// The engine of the cluster database failed.
    #[error("the cluster database failed")]
    Cluster(#[source] dqlite::Error),
    /// The engine of the cluster database refused a statement of a user.
    #[error("{0}")]
    Statement(String),
    /// Other transactions held the cluster database's lock for too long.
    #[error("the cluster database was locked for {seconds} s")]
    Busy {
        /// How long was waited.
        seconds: u64,
    },
    /// A transaction that only reads was asked to write.
    #[error("a transaction that only reads cannot run {0:?}")]
    ReadOnly(String),
    /// A stored value is not what its column promises.
    #[error("the database holds {value:?} where {wanted} belongs")]
    Stored {
        /// The value.
        value: String,
        /// What was expected.
        wanted: &'static str,
    },
    /// The node database failed.
    #[error("the node database {path} failed to {action}")]
    Node {
        /// The file.
        path: PathBuf,
        /// What was being done.
        action: &'static str,
        /// SQLite's own error.
        #[source]
        source: rusqlite::Error,
    },
    /// The node database's thread is gone: the daemon is stopping.
    #[error("the node database is closed")]
    Closed,
    /// The database was written by a later version.
    #[error(
        "the {database} database has schema version {found}, which is newer than {supported}, the newest this version knows"
    )]
    Newer {
        /// `cluster` or `node`.
        database: &'static str,
        /// The version found.
        found: i64,
        /// The newest that is known here.
        supported: i64,
    },
    /// The database was written by a version that is too old to be taken over.
    #[error(
        "the {database} database has schema version {found}, older than {supported}: start LXD 5.0.2 on it once, then this version"
    )]
    Older {
        /// `cluster` or `node`.
        database: &'static str,
        /// The version found.
        found: i64,
        /// The oldest that is known here.
        supported: i64,
    },
    /// A patch file of the administrator failed.
    #[error("failed to run {path}; the database as it was is in {backup}")]
    Patch {
        /// The file.
        path: PathBuf,
        /// Where the copy was put.
        backup: PathBuf,
        /// Why.
        #[source]
        source: Box<Error>,
    },
    /// A file or folder of a database could not be handled.
    #[error("cannot {action} {path}")]
    File {
        /// What was being done.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
}

impl Error {
    /// What sort of failure this is.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::NotFound { .. } => ErrorKind::NotFound,
            Self::Taken { .. } => ErrorKind::Conflict,
            Self::Ambiguous { .. } | Self::NoProfile { .. } | Self::Invalid(_) => ErrorKind::BadRequest,
            Self::Busy { .. } | Self::Closed => ErrorKind::Unavailable,
            Self::Cluster(source) if source.is_fatal() || source.is_busy() => ErrorKind::Unavailable,
            _ => ErrorKind::Internal,
        }
    }

    pub(crate) fn not_found(noun: Noun, name: impl Into<String>) -> Self {
        Self::NotFound {
            noun,
            name: name.into(),
        }
    }

    /// Names the thing whose name is taken, where that is why the engine refused.
    pub(crate) fn taken(self, noun: Noun, name: &str) -> Self {
        match self {
            Self::Cluster(source) if source.is_unique_violation() => Self::Taken {
                noun,
                name: name.to_owned(),
            },
            other => other,
        }
    }

    /// The error with its sources, for a log.
    pub fn chain(&self) -> String {
        let mut text = self.to_string();
        let mut source = std::error::Error::source(self);
        while let Some(error) = source {
            text.push_str(": ");
            text.push_str(&error.to_string());
            source = error.source();
        }
        text
    }
}

impl From<dqlite::Error> for Error {
    fn from(source: dqlite::Error) -> Self {
        Self::Cluster(source)
    }
}
