//! The files of an image, as they came.

use std::io::{Read as _, Seek as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use lxd_db::cluster::InstanceType;
use lxd_model::images::Packing;
use lxd_storage::images::ImageFiles;

use super::{locks::Reading, url, visible, works};
use crate::app::{App, blocking};
use crate::ctx::Ctx;
use crate::error::{Error, Result};
use crate::events::{Action, Lifecycle};

/// The files of an image; they stay where they are while this lives.
#[derive(Debug)]
pub struct Export {
    /// The files in order: the one, or metadata and then the root file system.
    pub files: Vec<Exported>,
    /// The image's fingerprint.
    pub fingerprint: String,
    _reading: Reading,
}

/// A file that is open for sending.
#[derive(Debug)]
pub struct Exported {
    /// The name of its part of a form; empty for an image that is one file.
    pub part: &'static str,
    /// The name that a client may keep it under.
    pub filename: String,
    /// Bytes.
    pub size: u64,
    /// When it was written.
    pub modified: SystemTime,
    /// The file.
    pub file: std::fs::File,
}

/// Opens the files of an image. With the secret of a token for it anybody may have them.
///
/// # Errors
/// Not found, also for what the caller may not see; several images begin so.
pub async fn export(app: &Arc<App>, ctx: &Ctx, fingerprint: &str, secret: Option<&str>) -> Result<Export> {
    let image = visible(app, ctx, fingerprint, secret).await?;
    let fingerprint = image.content.fingerprint;
    let reading = app.images.read(&fingerprint).await;
    let root_part = match image.content.kind {
        InstanceType::Container => "rootfs",
        InstanceType::VirtualMachine => "rootfs.img",
    };
    let (owner, name) = (Arc::clone(app), fingerprint.clone());
    let files = blocking(move || {
        Ok(match works::files(&owner, &name) {
            ImageFiles::Unified(path) => vec![open("", &path, &name)?],
            ImageFiles::Split { metadata, rootfs } => vec![
                open("metadata", &metadata, &format!("meta-{name}"))?,
                open(root_part, &rootfs, &name)?,
            ],
        })
    })
    .await?;
    let event = Lifecycle::new(Action::ImageRetrieved, url(&image.project, &fingerprint)).by(ctx);
    app.events.lifecycle(&image.project, &event);
    Ok(Export {
        files,
        fingerprint,
        _reading: reading,
    })
}

fn open(part: &'static str, path: &Path, stem: &str) -> Result<Exported> {
    let failed = |error| {
        let path: PathBuf = path.to_owned();
        Error::internal(format!("Failed reading {}", path.display())).because(error)
    };
    let file = std::fs::File::open(path).map_err(failed)?;
    let facts = file.metadata().map_err(failed)?;
    let mut header = Vec::new();
    let size = u64::try_from(Packing::HEADER).unwrap_or_default();
    (&file).take(size).read_to_end(&mut header).map_err(failed)?;
    (&file).rewind().map_err(failed)?;
    // A disk of a virtual machine may be in a format without a sign.
    let extension = Packing::detect(&header).map_or("", Packing::extension);
    Ok(Exported {
        part,
        filename: format!("{stem}{extension}"),
        size: facts.len(),
        modified: facts.modified().map_err(failed)?,
        file,
    })
}
