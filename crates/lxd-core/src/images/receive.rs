//! Receiving an image's files: streamed into the images' directory under a temporary name, hashed on the way.

use std::fmt::Display;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use futures::Stream;
use lxd_storage::Watch;
use lxd_storage::images::{Fingerprint, ImageError, ImageFiles, Received, clean_uploads, receive};

use super::Reading;
use crate::app::{App, blocking};
use crate::error::{Context as _, Error, Result};

/// The largest metadata archive of a split image, in bytes: it holds one YAML file and some templates.
const METADATA_LIMIT: u64 = 1 << 30;

/// Bytes that uploads leave free, so that the databases can still be written.
const RESERVE: u64 = 64 << 20;

/// The files of an image that have arrived. They are gone when this is dropped.
#[derive(Debug)]
pub struct Upload {
    pub(super) metadata: Received,
    pub(super) rootfs: Option<Received>,
    /// Whether the second file was called a virtual machine's disk.
    pub(super) is_disk: bool,
    /// SHA-256 over the files.
    pub(super) fingerprint: String,
    /// The name that the client's form gave to the last of them.
    pub(super) filename: String,
    /// The folder that they are in stays where it is.
    pub(super) still: Reading,
}

/// The first file of a split image that has arrived.
#[derive(Debug)]
pub struct FirstPart {
    metadata: Received,
    fingerprint: Fingerprint,
    still: Reading,
}

impl Upload {
    /// Receives an image that is one file.
    ///
    /// # Errors
    /// The stream breaks off; the disk is full.
    pub async fn unified<S, E>(app: &App, stream: S) -> Result<Self>
    where
        S: Stream<Item = Result<Bytes, E>>,
        E: Display,
    {
        let still = app.images.still().await;
        let (metadata, fingerprint) =
            within_room(&app.paths.images(), Fingerprint::new(), u64::MAX, stream).await?;
        Ok(Self {
            metadata,
            rootfs: None,
            is_disk: false,
            fingerprint: fingerprint.hex(),
            filename: String::new(),
            still,
        })
    }

    /// Receives the metadata archive of an image that is two files.
    ///
    /// # Errors
    /// As [`Upload::unified`].
    pub async fn first_part<S, E>(app: &App, stream: S) -> Result<FirstPart>
    where
        S: Stream<Item = Result<Bytes, E>>,
        E: Display,
    {
        let still = app.images.still().await;
        let (metadata, fingerprint) =
            within_room(&app.paths.images(), Fingerprint::new(), METADATA_LIMIT, stream).await?;
        Ok(FirstPart {
            metadata,
            fingerprint,
            still,
        })
    }

    /// Bytes of all files.
    pub(super) fn size(&self) -> u64 {
        self.metadata.size() + self.rootfs.as_ref().map_or(0, Received::size)
    }

    /// Where the files are for now.
    pub(super) fn files(&self) -> ImageFiles {
        let metadata = self.metadata.path().to_owned();
        match &self.rootfs {
            None => ImageFiles::Unified(metadata),
            Some(rootfs) => ImageFiles::Split {
                metadata,
                rootfs: rootfs.path().to_owned(),
            },
        }
    }
}

impl FirstPart {
    /// SHA-256 over the file.
    pub(super) fn hex(&self) -> String {
        self.fingerprint.hex()
    }

    /// The same, to go on with.
    pub(super) fn hash(&self) -> Fingerprint {
        self.fingerprint.clone()
    }

    /// The image of this and a container's root file system that is here, with the hash of both.
    pub(super) fn with(self, rootfs: Received, fingerprint: &Fingerprint) -> Upload {
        Upload {
            metadata: self.metadata,
            rootfs: Some(rootfs),
            is_disk: false,
            fingerprint: fingerprint.hex(),
            filename: String::new(),
            still: self.still,
        }
    }

    /// Receives the root file system. The form's name of the part says what it is.
    ///
    /// # Errors
    /// As [`Upload::unified`]; the name is none that a root file system has.
    pub async fn second_part<S, E>(self, app: &App, name: &str, filename: &str, stream: S) -> Result<Upload>
    where
        S: Stream<Item = Result<Bytes, E>>,
        E: Display,
    {
        let is_disk = match name {
            "rootfs" => false,
            "rootfs.img" => true,
            _ => return Err(invalid_form()),
        };
        let (rootfs, fingerprint) =
            within_room(&app.paths.images(), self.fingerprint, u64::MAX, stream).await?;
        Ok(Upload {
            metadata: self.metadata,
            rootfs: Some(rootfs),
            is_disk,
            fingerprint: fingerprint.hex(),
            filename: filename.to_owned(),
            still: self.still,
        })
    }
}

/// The refusal of a form that is not a metadata archive and then a root file system.
pub fn invalid_form() -> Error {
    Error::bad_request("Invalid multipart image")
}

/// Removes what a killed daemon had received half.
///
/// # Errors
/// The directory can't be read.
pub(crate) async fn clean(app: &App) -> Result<()> {
    let directories = [app.paths.images(), app.paths.backups()];
    blocking(move || {
        for directory in directories {
            let removed = clean_uploads(&directory).context("Failed removing unfinished uploads")?;
            if removed > 0 {
                tracing::info!(removed, directory = %directory.display(), "Removed unfinished uploads");
            }
        }
        Ok(())
    })
    .await
}

/// Receives a file of at most so many bytes into a directory, of whose file system something stays free.
///
/// # Errors
/// The stream breaks off; the disk is full, or nearly so.
pub(crate) async fn within_room<S, E>(
    directory: &Path,
    fingerprint: Fingerprint,
    limit: u64,
    stream: S,
) -> Result<(Received, Fingerprint)>
where
    S: Stream<Item = Result<Bytes, E>>,
    E: Display,
{
    let room = room(directory.to_owned()).await?;
    let received = receive(directory, fingerprint, limit.min(room), stream, Watch::none()).await;
    received.map_err(|error| match error {
        ImageError::TooLarge { .. } if room < limit => {
            let text = format!("Failed receiving a file into {}", directory.display());
            Error::internal(text).because(ImageError::no_room(room))
        }
        other => other.into(),
    })
}

async fn room(directory: PathBuf) -> Result<u64> {
    blocking(move || {
        let found = rustix::fs::statvfs(&directory).map_err(|error| {
            Error::internal(format!("Failed looking at {}", directory.display())).because(error)
        })?;
        Ok((found.f_bavail * found.f_frsize).saturating_sub(RESERVE))
    })
    .await
}
