//! Root file systems that are made of an older image's and a difference, by the program `xdelta3`.

use std::path::PathBuf;

use futures::StreamExt as _;
use lxd_client::SimpleStreams;
use lxd_model::images::is_fingerprint_prefix;
use lxd_model::simplestreams::{Delta, Listed};
use lxd_storage::images::Fingerprint;
use lxd_sys::command::{Command, Stream};
use tokio_util::io::ReaderStream;

use super::files;
use crate::app::{App, blocking};
use crate::error::{Error, Result};
use crate::images::receive::{FirstPart, Upload, within_room};
use crate::operations::Operation;

const TOOL: &str = "xdelta3";

/// The first part of an image, and the whole of it if there was a difference to something that is here.
pub(super) enum Made {
    /// Both parts.
    Whole(Upload),
    /// There is nothing to make the second part of.
    First(FirstPart),
}

/// Makes the second part of an image of what is here. What goes wrong is logged: the whole file can still be fetched.
pub(super) async fn make(
    app: &App,
    operation: &Operation,
    (server, listed): (&SimpleStreams, &Listed),
    first: FirstPart,
) -> Made {
    let Some((delta, base)) = usable(app, listed).await else {
        return Made::First(first);
    };
    match patched(app, operation, (server, listed), (delta, base), &first).await {
        Ok((rootfs, fingerprint)) => Made::Whole(first.with(rootfs, &fingerprint)),
        Err(error) => {
            tracing::warn!(
                err = error.text(),
                fingerprint = listed.image.fingerprint,
                base = delta.base,
                "Failed making an image of a difference"
            );
            Made::First(first)
        }
    }
}

/// A difference to an image whose root file system is here, and that.
async fn usable<'a>(app: &App, listed: &'a Listed) -> Option<(&'a Delta, PathBuf)> {
    if listed.deltas.is_empty() {
        return None;
    }
    let here: Vec<PathBuf> = listed
        .deltas
        .iter()
        // The list is a stranger's: nothing but a fingerprint may become a part of a path.
        .map(
            |delta| match delta.base.len() == 64 && is_fingerprint_prefix(&delta.base) {
                true => app.paths.image_rootfs(&delta.base),
                false => PathBuf::new(),
            },
        )
        .collect();
    let found = blocking(move || {
        if Command::new(TOOL).resolve().is_err() {
            return Ok(None);
        }
        let mut here = here.into_iter().enumerate();
        Ok(here.find(|(_, path)| path.is_file()))
    });
    let (at, base) = found.await.ok().flatten()?;
    Some((listed.deltas.get(at)?, base))
}

/// Fetches the difference and applies it.
async fn patched(
    app: &App,
    operation: &Operation,
    (server, listed): (&SimpleStreams, &Listed),
    (delta, base): (&Delta, PathBuf),
    first: &FirstPart,
) -> Result<(lxd_storage::images::Received, Fingerprint)> {
    let directory = app.paths.images();
    let file = server.file(&delta.file.path).await?;
    let chunks = files::watched(file, operation, "rootfs delta");
    let (difference, hash) = within_room(&directory, Fingerprint::new(), u64::MAX, chunks).await?;
    files::compare(&server.url(&delta.file.path), &hash.hex(), &delta.file.sha256)?;
    let size = listed.rootfs.as_ref().map_or(0, |rootfs| rootfs.size);
    let limit = if size > 0 { size } else { u64::MAX };
    let command = Command::new(TOOL)
        .args(["-d", "-c", "-s"])
        .arg(base)
        .arg(difference.path())
        .stdout(Stream::Pipe);
    let child = command.spawn();
    let mut child =
        child.map_err(|error| Error::internal(format!("Failed starting {TOOL}")).because(error))?;
    child.kill_on_drop(true);
    let pipe = child
        .take_stdout()
        .ok_or_else(|| Error::internal("The pipe of a program is missing"))?;
    let pipe = tokio::net::unix::pipe::Receiver::from_owned_fd(pipe)
        .map_err(|error| Error::internal("Failed reading from a program").because(error))?;
    let content = ReaderStream::with_capacity(pipe, 1 << 18);
    let (rootfs, fingerprint) = within_room(&directory, first.hash(), limit, content.boxed()).await?;
    let exit = child.wait().await;
    let exit = exit.map_err(|error| Error::internal("Failed waiting for a program").because(error))?;
    if !exit.is_success() {
        return Err(Error::internal(format!("{TOOL} failed: {exit:?}")));
    }
    let url = listed
        .rootfs
        .as_ref()
        .map_or(String::new(), |rootfs| server.url(&rootfs.path));
    files::compare(&url, &fingerprint.hex(), &listed.image.fingerprint)?;
    Ok((rootfs, fingerprint))
}
