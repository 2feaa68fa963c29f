//! Images: files in and out.

use std::path::{Path, PathBuf};

use lxd_api::images::{Image, ImageAliasesEntry};

use crate::client::{Client, escape, path};
use crate::download::{Download, Progress, save};
use crate::{Error, Result};

/// An image that was saved as files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExportedImage {
    /// The metadata, or the whole of a unified image.
    pub metadata: PathBuf,
    /// The root file system of a split image.
    pub rootfs: Option<PathBuf>,
}

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
    ///
    /// The second argument of `name_of` is true for the root file system of a split image.
    pub async fn export_image(
        &self,
        fingerprint: &str,
        folder: &Path,
        name_of: &(dyn Fn(&str, bool) -> String + Sync),
        progress: Progress<'_>,
    ) -> Result<ExportedImage> {
        let download = self.image_file(fingerprint).await?;
        let Some(boundary) = download.boundary() else {
            let called = download.filename().unwrap_or_else(|| fingerprint.to_string());
            let file = folder.join(name_of(&called, false));
            let partial = folder.join(format!("{fingerprint}{PARTIAL}"));
            let saved = download.save(&partial, progress).await;
            return finish(saved.map(drop), &partial, &file).map(|()| ExportedImage {
                metadata: file,
                rootfs: None,
            });
        };
        let mut parts = multer::Multipart::new(download, boundary);
        let mut files = Vec::new();
        let mut before = 0;
        let broken = |error: multer::Error| Error::Answer {
            url: fingerprint.into(),
            reason: error.to_string(),
        };
        while let Some(field) = parts.next_field().await.map_err(broken)? {
            let rootfs = field.name().is_some_and(|name| name.starts_with("rootfs"));
            let called = field.file_name().unwrap_or(fingerprint).to_string();
            let file = folder.join(name_of(&called, rootfs));
            let partial = folder.join(format!("{fingerprint}.{}{PARTIAL}", files.len()));
            let chunks = futures::TryStreamExt::map_err(field, broken);
            let saved = save(chunks, &partial, before, progress).await;
            before += saved.as_ref().map_or(0, |saved| saved.bytes);
            finish(saved.map(drop), &partial, &file)?;
            files.push((rootfs, file));
        }
        let take = |wanted| {
            files
                .iter()
                .find(|(rootfs, _)| *rootfs == wanted)
                .map(|(_, file)| file.clone())
        };
        let metadata = take(false).ok_or_else(|| Error::Answer {
            url: fingerprint.into(),
            reason: "the image has no metadata part".into(),
        })?;
        Ok(ExportedImage {
            metadata,
            rootfs: take(true),
        })
    }
}

fn with_secret(parts: &[&str], secret: &str) -> String {
    match secret {
        "" => path(parts),
        secret => format!("{}?secret={}", path(parts), escape(secret)),
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
