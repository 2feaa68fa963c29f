//! Receiving an upload into a temporary file, hashed on the way.

use std::fmt::Write as _;
use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use futures::{Stream, StreamExt};
use sha2::{Digest, Sha256};
use tokio::sync::mpsc;

use super::ImageError;
use crate::watch::Watch;

/// Names of unfinished uploads begin so.
pub const UPLOAD_PREFIX: &str = ".lxd-upload-";

/// SHA-256 over the files of an image: of the one, or of metadata and then root file system.
#[derive(Debug, Clone)]
pub struct Fingerprint(Option<Sha256>);

impl Default for Fingerprint {
    fn default() -> Self {
        Self::new()
    }
}

impl Fingerprint {
    /// Of nothing yet.
    pub fn new() -> Self {
        Self(Some(Sha256::new()))
    }

    /// None, for files that nobody asks the fingerprint of.
    pub fn none() -> Self {
        Self(None)
    }

    /// Of a whole file, added to what was hashed before.
    pub fn file(mut self, path: &Path) -> Result<Self, ImageError> {
        if self.0.is_none() {
            return Ok(self);
        }
        let failed = |e| ImageError::file("reading", path, e);
        let mut file = File::open(path).map_err(failed)?;
        let mut buffer = vec![0; 256 * 1024];
        loop {
            match file.read(&mut buffer).map_err(failed)? {
                0 => return Ok(self),
                n => self.update(buffer.get(..n).unwrap_or_default()),
            }
        }
    }

    /// Adds bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        if let Some(hash) = &mut self.0 {
            hash.update(bytes);
        }
    }

    /// 64 lower case hexadecimal digits; empty where there is none.
    pub fn hex(&self) -> String {
        let hash = self.0.clone().map(Digest::finalize);
        hash.iter()
            .flatten()
            .fold(String::with_capacity(64), |mut text, byte| {
                // Writing to a String can't fail.
                let _ = write!(text, "{byte:02x}");
                text
            })
    }
}

/// A temporary file that is being written; gone when dropped.
#[derive(Debug)]
pub struct Upload {
    file: tempfile::NamedTempFile,
    fingerprint: Fingerprint,
    size: u64,
}

impl Upload {
    /// Begins a file in `directory` (where the image will stay, so that it is only renamed); `fingerprint` goes on from an earlier file.
    pub fn begin(directory: &Path, fingerprint: Fingerprint) -> Result<Self, ImageError> {
        let file = tempfile::Builder::new()
            .prefix(UPLOAD_PREFIX)
            .tempfile_in(directory);
        let file = file.map_err(|e| ImageError::file("creating a file in", directory, e))?;
        Ok(Self {
            file,
            fingerprint,
            size: 0,
        })
    }

    /// Adds bytes.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), ImageError> {
        self.fingerprint.update(bytes);
        self.size += bytes.len() as u64;
        let path = self.file.path().to_path_buf();
        self.file
            .write_all(bytes)
            .map_err(|e| ImageError::file("writing", &path, e))
    }

    /// The file itself, for who writes without [`Self::write`].
    pub fn writer(&self) -> Result<File, ImageError> {
        let file = self.file.as_file().try_clone();
        file.map_err(|e| ImageError::file("opening", self.file.path(), e))
    }

    /// Ends a file that was written through [`Self::writer`].
    pub fn seal(self) -> Result<(Received, Fingerprint), ImageError> {
        let fingerprint = self.fingerprint.file(self.file.path())?;
        let size = self.file.as_file().metadata();
        let size = size
            .map_err(|e| ImageError::file("examining", self.file.path(), e))?
            .len();
        let file = self.file.into_temp_path();
        Ok((Received { file, size }, fingerprint))
    }

    /// Ends the file; the fingerprint goes on to the next one.
    pub fn finish(self) -> (Received, Fingerprint) {
        (
            Received {
                file: self.file.into_temp_path(),
                size: self.size,
            },
            self.fingerprint,
        )
    }
}

/// A file that was received; gone when dropped before it is kept.
#[derive(Debug)]
pub struct Received {
    file: tempfile::TempPath,
    size: u64,
}

impl Received {
    /// Where it is for now.
    pub fn path(&self) -> &Path {
        &self.file
    }

    /// Bytes.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Gives it its name, in the same file system, replacing what is there.
    pub fn keep(self, path: &Path) -> Result<PathBuf, ImageError> {
        self.file
            .persist(path)
            .map_err(|e| ImageError::file("renaming an upload to", path, e.error))?;
        Ok(path.to_path_buf())
    }
}

/// Receives one file from a stream of chunks, as from an HTTP body, without blocking the runtime. At most `limit` bytes.
pub async fn receive<S, E>(
    directory: &Path,
    fingerprint: Fingerprint,
    limit: u64,
    stream: S,
    watch: Watch,
) -> Result<(Received, Fingerprint), ImageError>
where
    S: Stream<Item = Result<Bytes, E>>,
    E: std::fmt::Display,
{
    let (sender, mut receiver) = mpsc::channel::<Bytes>(16);
    let directory = directory.to_path_buf();
    let writer = tokio::task::spawn_blocking(move || {
        let mut upload = Upload::begin(&directory, fingerprint)?;
        while let Some(chunk) = receiver.blocking_recv() {
            upload.write(&chunk)?;
            if !watch.advance(chunk.len() as u64) {
                return Err(ImageError::Cancelled);
            }
        }
        Ok(upload)
    });
    let mut failure = None;
    let mut size = 0_u64;
    let mut stream = std::pin::pin!(stream);
    while let Some(chunk) = stream.next().await {
        match chunk {
            Ok(chunk) => {
                size += chunk.len() as u64;
                if size > limit {
                    failure = Some(ImageError::TooLarge {
                        reason: format!("the upload has more than {limit} bytes"),
                    });
                    break;
                }
                // The writer is gone when it failed, and says why below.
                if sender.send(chunk).await.is_err() {
                    break;
                }
            }
            Err(error) => {
                failure = Some(ImageError::Upload(error.to_string()));
                break;
            }
        }
    }
    drop(sender);
    let upload = writer.await.map_err(|e| ImageError::Upload(e.to_string()))??;
    match failure {
        Some(failure) => Err(failure),
        None => Ok(upload.finish()),
    }
}

/// Removes unfinished uploads from `directory`; for the start of the daemon. Returns how many there were.
pub fn clean_uploads(directory: &Path) -> Result<usize, ImageError> {
    let failed = |e| ImageError::file("cleaning", directory, e);
    let mut removed = 0;
    for entry in std::fs::read_dir(directory).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        if entry.file_name().to_string_lossy().starts_with(UPLOAD_PREFIX) {
            std::fs::remove_file(entry.path()).map_err(failed)?;
            removed += 1;
        }
    }
    Ok(removed)
}
