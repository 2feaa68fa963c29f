//! `lxc import`: an instance from a backup file.

use std::path::Path;

use lxd_client::Upload;

use super::image::{opening, upload_with_progress};
use crate::context::Context;
use crate::error::{Error, Result};

/// `lxc import`.
pub(super) async fn import(cx: &Context) -> Result<()> {
    let words = cx.arguments();
    // The first word is a remote if it ends like one.
    let (remote, words) = match words.split_first() {
        Some((first, rest)) if first.ends_with(':') && !rest.is_empty() => (first.as_str(), rest),
        _ => ("", words),
    };
    let file = words.first().ok_or(Error::Count)?;
    let client = cx.resource(remote)?.client;
    let spooled = if file == "-" { Some(spool()?) } else { None };
    let file = spooled.as_ref().map_or(Path::new(file), |spooled| spooled.path());
    std::fs::metadata(file).map_err(|source| opening(file, &source))?;
    let mut upload = Upload::file(file).await?;
    for (header, value) in [
        ("x-lxd-name", words.get(1).map_or("", String::as_str)),
        ("x-lxd-pool", cx.text("storage")),
    ] {
        if !value.is_empty() {
            upload = upload.header(header, value)?;
        }
    }
    let title = "Importing instance: ";
    let background = upload_with_progress(cx, (&client, "instances"), upload, title).await?;
    cx.wait(&background, title).await.map(drop)
}

/// What comes through standard input, as a file: its length is announced.
fn spool() -> Result<tempfile::NamedTempFile> {
    let failed = |source| Error::Terminal {
        doing: "Failed to read standard input",
        source,
    };
    let mut file = tempfile::NamedTempFile::new().map_err(failed)?;
    std::io::copy(&mut std::io::stdin().lock(), &mut file).map_err(failed)?;
    Ok(file)
}
