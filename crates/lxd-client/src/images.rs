//! Images: files in and out.

use std::path::{Path, PathBuf};

use lxd_api::images::{Image, ImageAliasesEntry};
use lxd_model::simplestreams::Listed;
use lxd_model::urls::shown;

use crate::client::{Client, escape, path};
use crate::download::{Download, Progress, save};
use crate::{Error, Result, SimpleStreams};

/// An image that was saved as files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExportedImage {
    /// The metadata, or the whole of a unified image.
    pub metadata: PathBuf,
    /// The root file system of a split image.
    pub rootfs: Option<PathBuf>,
}

/// Which of an image's files one is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ImagePart {
    /// All of it.
    Whole,
    /// The metadata of a split image.
    Metadata,
    /// The root file system of a split image.
    Root,
}

/// Makes a file's name of what the server calls it.
pub type NameOf<'a> = &'a (dyn Fn(&str, ImagePart) -> String + Sync);

/// The end of the file that is being written; it gets its name once it is complete.
const PARTIAL: &str = ".part";

impl Client {
    /// What an alias of an image means.
    ///
    /// # Errors
    /// There is none.
    pub async fn image_alias(&self, name: &str) -> Result<ImageAliasesEntry> {
        self.get(&path(&["images", "aliases", name])).await
    }

    /// An image by its fingerprint or the beginning of it; with a secret for it also one that is not public.
    ///
    /// # Errors
    /// There is none that may be seen.
    pub async fn image(&self, fingerprint: &str, secret: &str) -> Result<Image> {
        self.get(&with_secret(&["images", fingerprint], secret)).await
    }

    /// The whole URL of an image's files.
    pub fn image_url(&self, fingerprint: &str, secret: &str) -> String {
        self.url(&with_secret(&["images", fingerprint, "export"], secret))
    }

    /// Begins to fetch an image by its fingerprint.
    pub async fn image_file(&self, fingerprint: &str) -> Result<Download> {
        self.download(&path(&["images", fingerprint, "export"])).await
    }

    /// Saves an image in a folder, under the names that `name_of` makes of what the server calls its files.
    pub async fn export_image(
        &self,
        fingerprint: &str,
        folder: &Path,
        name_of: NameOf<'_>,
        progress: Progress<'_>,
    ) -> Result<ExportedImage> {
        let download = self.image_file(fingerprint).await?;
        let Some(boundary) = download.boundary() else {
            let called = download.filename().unwrap_or_else(|| fingerprint.to_string());
            let file = folder.join(name_of(plain_name(&called), ImagePart::Whole));
            let partial = folder.join(format!("{fingerprint}{PARTIAL}"));
            let saved = download.save(&partial, progress).await;
            return finish(saved.map(drop), &partial, &file).map(|()| ExportedImage {
                metadata: file,
                rootfs: None,
            });
        };
        let mut parts = multer::Multipart::new(download, boundary);
        let (mut metadata, mut rootfs) = (None, None);
        let mut before = 0;
        let broken = |error: multer::Error| Error::Answer {
            url: fingerprint.into(),
            reason: error.to_string(),
        };
        while let Some(field) = parts.next_field().await.map_err(broken)? {
            let is_root = field.name().is_some_and(|name| name.starts_with("rootfs"));
            let (part, saved) = if is_root {
                (ImagePart::Root, &mut rootfs)
            } else {
                (ImagePart::Metadata, &mut metadata)
            };
            let file = folder.join(name_of(
                plain_name(field.file_name().unwrap_or(fingerprint)),
                part,
            ));
            let partial = folder.join(format!("{fingerprint}.{part:?}{PARTIAL}"));
            let chunks = futures::TryStreamExt::map_err(field, broken);
            let received = save(chunks, &partial, before, progress).await;
            before += received.as_ref().map_or(0, |received| received.bytes);
            if let Err(error) = finish(received.map(drop), &partial, &file) {
                forget(metadata.as_slice());
                return Err(error);
            }
            *saved = Some(file);
        }
        let metadata = metadata.ok_or_else(|| Error::Answer {
            url: fingerprint.into(),
            reason: "the image has no metadata part".into(),
        })?;
        Ok(ExportedImage { metadata, rootfs })
    }
}

impl SimpleStreams {
    /// Saves an image in a folder, under the names that `name_of` makes of what the server calls its files.
    ///
    /// # Errors
    /// The server can't be reached; a file is not what the server's lists promise.
    pub async fn export_image(
        &self,
        listed: &Listed,
        folder: &Path,
        name_of: NameOf<'_>,
        progress: Progress<'_>,
    ) -> Result<ExportedImage> {
        let first = if listed.rootfs.is_some() {
            ImagePart::Metadata
        } else {
            ImagePart::Whole
        };
        let fingerprint = &listed.image.fingerprint;
        let mut before = 0;
        let mut saved = Vec::new();
        let root = listed.rootfs.iter().map(|root| (root, ImagePart::Root));
        for (listed, part) in std::iter::once((&listed.metadata, first)).chain(root) {
            let file = folder.join(name_of(plain_name(&listed.path), part));
            let partial = folder.join(format!("{fingerprint}.{part:?}{PARTIAL}"));
            let received = match self.file(&listed.path).await {
                Ok(there) => save(there.chunks, &partial, before, progress).await,
                Err(error) => Err(error),
            };
            let checked = received.and_then(|received| {
                before += received.bytes;
                if listed.sha256.is_empty() || received.sha256.eq_ignore_ascii_case(&listed.sha256) {
                    return Ok(());
                }
                let url = shown(&self.url(&listed.path));
                let (got, promised) = (received.sha256, &listed.sha256);
                let reason = format!("Hash mismatch for {url}: {got} != {promised}");
                Err(Error::Cut { url, reason })
            });
            if let Err(error) = finish(checked, &partial, &file) {
                forget(&saved);
                return Err(error);
            }
            saved.push(file);
        }
        let mut saved = saved.into_iter();
        Ok(ExportedImage {
            metadata: saved.next().unwrap_or_default(),
            rootfs: saved.next(),
        })
    }
}

/// What a server calls a file, without any folder.
fn plain_name(called: &str) -> &str {
    match called.rsplit('/').next() {
        None | Some("" | "." | "..") => "image",
        Some(name) => name,
    }
}

fn with_secret(parts: &[&str], secret: &str) -> String {
    match secret {
        "" => path(parts),
        secret => format!("{}?secret={}", path(parts), escape(secret)),
    }
}

/// Removes what is of no use without the rest.
fn forget(files: &[PathBuf]) {
    for file in files {
        // What matters is why the rest did not come.
        let _ = std::fs::remove_file(file);
    }
}

/// Gives a complete file its name, or removes what there is of an incomplete one.
fn finish(saved: Result<()>, partial: &Path, file: &Path) -> Result<()> {
    let done = saved.and_then(|()| {
        std::fs::rename(partial, file).map_err(|source| Error::File {
            path: file.into(),
            source,
        })
    });
    if done.is_err() {
        // What matters is why the file is incomplete.
        let _ = std::fs::remove_file(partial);
    }
    done
}

#[cfg(test)]
mod tests {
    use super::plain_name;

    #[test]
    fn files_of_servers_stay_in_their_folder() {
        for (called, name) in [
            ("a.tar.gz", "a.tar.gz"),
            ("images/1/rootfs.squashfs", "rootfs.squashfs"),
            ("../../etc/passwd", "passwd"),
            ("/etc/..", "image"),
            ("", "image"),
        ] {
            assert_eq!(plain_name(called), name);
        }
    }
}
