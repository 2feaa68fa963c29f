//! Image files: receiving them, looking into them, unpacking them. Nothing in an image is trusted.

mod ahead;
mod compression;
mod ingest;
mod metadata;
pub mod pack;
mod squashfs;
mod tar;
mod unpack;

#[cfg(test)]
pub(crate) mod fixtures;
#[cfg(test)]
mod tests;

use std::io;
use std::path::PathBuf;

use lxd_model::ErrorKind;

pub use compression::{Compression, Decoder};
pub use ingest::{Fingerprint, Received, UPLOAD_PREFIX, Upload, clean_uploads, receive};
pub use metadata::{Contents, METADATA_MAX, read_contents, read_member};
pub use tar::{Acl, Kind, Member, Members};
pub use unpack::{Layout, Limits, Part, Unpacked, unpack, unpack_parts};

/// The files of an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ImageFiles {
    /// One archive with `metadata.yaml`, `rootfs/` and perhaps `templates/`.
    Unified(PathBuf),
    /// An archive with `metadata.yaml` and templates, and another with what is in the root file system.
    Split {
        /// The first.
        metadata: PathBuf,
        /// The second.
        rootfs: PathBuf,
    },
}

/// Why an image was refused.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    /// Not an archive of a kind we know. The text is the reference's.
    #[error("Unsupported compression")]
    UnsupportedCompression,
    /// An empty file. The text is the reference's.
    #[error("EOF")]
    Empty,
    /// No `metadata.yaml`. The text is the reference's.
    #[error("Metadata tarball is missing metadata.yaml")]
    NoMetadata,
    /// `metadata.yaml` is larger than [`METADATA_MAX`].
    #[error("metadata.yaml has {size} bytes; at most {METADATA_MAX} are accepted")]
    MetadataTooLarge {
        /// Its size.
        size: u64,
    },
    /// Neither a container's nor a virtual machine's root in it. The text is the reference's.
    #[error("Invalid instance type")]
    NoRoot,
    /// A member that may not be unpacked.
    #[error("Image member {member:?}: {reason}")]
    Member {
        /// Its path in the archive.
        member: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A member that could not be written.
    #[error("Unpacking image member {member:?}")]
    Write {
        /// Its path in the archive.
        member: String,
        /// What happened.
        #[source]
        source: lxd_sys::path::PathError,
    },
    /// The archive is larger than allowed once unpacked.
    #[error("Image is too large: {reason}")]
    TooLarge {
        /// Which limit it breaks.
        reason: String,
    },
    /// There is not room for all of it, whether it was tried or not.
    #[error("No more than {bytes} bytes have room")]
    NoRoom {
        /// What has room, apart from what must stay free.
        bytes: u64,
        /// What the kernel says, or would.
        #[source]
        source: std::io::Error,
    },
    /// The archive ends early, or its checksums are wrong.
    #[error("Reading image archive{}: truncated or corrupt", after(.member))]
    Corrupt {
        /// The last member that was seen.
        member: String,
        /// What the decoder said.
        #[source]
        source: io::Error,
    },
    /// A file of ours could not be read or written.
    #[error("{doing} {}", path.display())]
    File {
        /// What was being done.
        doing: &'static str,
        /// To which path.
        path: PathBuf,
        /// The kernel's answer.
        #[source]
        source: io::Error,
    },
    /// An archive could not be written.
    #[error("Writing the archive")]
    Pack {
        /// What happened.
        #[source]
        source: io::Error,
    },
    /// A tree that was to be packed could not be read.
    #[error(transparent)]
    Tree(lxd_sys::path::PathError),
    /// The upload broke off.
    #[error("{0}")]
    Upload(String),
    /// `unsquashfs` failed or is missing.
    #[error(transparent)]
    Command(#[from] lxd_sys::command::Error),
    /// The caller asked to stop.
    #[error("Cancelled")]
    Cancelled,
}

impl From<lxd_sys::path::PathError> for ImageError {
    fn from(error: lxd_sys::path::PathError) -> Self {
        Self::Tree(error)
    }
}

fn after(member: &str) -> String {
    if member.is_empty() {
        String::new()
    } else {
        format!(" after {member:?}")
    }
}

impl ImageError {
    /// More than the bytes that there is room for; it need not be tried until not one is left.
    pub fn no_room(bytes: u64) -> Self {
        Self::NoRoom {
            bytes,
            source: rustix::io::Errno::NOSPC.into(),
        }
    }

    /// How the failure counts. (The reference answers 500, or fails the operation, for each kind of broken image.)
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Cancelled => ErrorKind::Cancelled,
            Self::MetadataTooLarge { .. } | Self::TooLarge { .. } => ErrorKind::TooLarge,
            Self::File { .. }
            | Self::NoRoom { .. }
            | Self::Write { .. }
            | Self::Pack { .. }
            | Self::Tree(_)
            | Self::Command(_) => ErrorKind::Internal,
            _ => ErrorKind::BadRequest,
        }
    }

    fn member(path: &[u8], reason: impl Into<String>) -> Self {
        Self::Member {
            member: String::from_utf8_lossy(path).into_owned(),
            reason: reason.into(),
        }
    }

    fn file(doing: &'static str, path: &std::path::Path, source: io::Error) -> Self {
        Self::File {
            doing,
            path: path.to_path_buf(),
            source,
        }
    }
}
