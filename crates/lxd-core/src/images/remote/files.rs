//! The files of an image on their way in: watched, and compared with what was promised.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures::{Stream, StreamExt as _};
use lxd_client::{Web, WebFile, WebForm};
use lxd_storage::images::Fingerprint as Hash;
use parking_lot::Mutex;

use crate::app::App;
use crate::error::{Error, Result};
use crate::images::receive::{Upload, invalid_form};
use crate::operations::Operation;

/// What the progress of a download is called.
const STAGE: &str = "download";

type Chunks = Pin<Box<dyn Stream<Item = lxd_client::Result<Bytes>> + Send>>;

/// Fetches an image in one request: one file, or a form of two.
pub(super) async fn whole(app: &App, operation: &Operation, (web, url): (&Arc<Web>, &str)) -> Result<Upload> {
    let file = web.file(url).await.map_err(|error| match error {
        lxd_client::Error::NoFile { status, code, .. } => lxd_client::Error::Refused {
            code,
            text: format!("Unable to fetch {url:?}: {status}"),
        },
        other => other,
    })?;
    let length = file.length;
    match file.form() {
        Ok(form) => split(app, operation, (form, length)).await,
        Err(file) => Upload::unified(app, watched(*file, operation, "")).await,
    }
}

async fn split(
    app: &App,
    operation: &Operation,
    (mut form, length): (WebForm, Option<u64>),
) -> Result<Upload> {
    let part = form.next().await?.filter(|part| part.name == "metadata");
    let part = part.ok_or_else(invalid_form)?;
    let first = Upload::first_part(app, shown(part.chunks, operation, ("metadata", length))).await?;
    let part = form.next().await?.ok_or_else(invalid_form)?;
    let chunks = shown(part.chunks, operation, ("rootfs", length));
    first.second_part(app, &part.name, &part.filename, chunks).await
}

/// The content of a file, with its progress shown.
pub(super) fn watched(file: WebFile, operation: &Operation, name: &str) -> Chunks {
    let length = file.length;
    shown(file.chunks, operation, (name, length))
}

fn shown(chunks: Chunks, operation: &Operation, (name, length): (&str, Option<u64>)) -> Chunks {
    let progress = operation.progress(STAGE, name, length).text_only();
    Box::pin(chunks.inspect(move |chunk| {
        if let Ok(chunk) = chunk {
            progress.add(chunk.len() as u64);
        }
    }))
}

/// Compares the hash of a file with the one that was promised.
pub(super) fn compare(url: &str, got: &str, promised: &str) -> Result<()> {
    if promised.is_empty() || got.eq_ignore_ascii_case(promised) {
        return Ok(());
    }
    Err(Error::bad_request(format!(
        "Hash mismatch for {url}: {got} != {promised}"
    )))
}

/// Hashes what passes by.
pub(super) struct Hashed {
    chunks: Chunks,
    hash: Arc<Mutex<Hash>>,
}

/// The hash of what has passed by so far.
pub(super) struct Seen(Arc<Mutex<Hash>>);

impl Hashed {
    /// The same chunks, and their hash to be asked for at the end.
    pub(super) fn new(chunks: Chunks) -> (Self, Seen) {
        let hash = Arc::new(Mutex::new(Hash::new()));
        let seen = Seen(Arc::clone(&hash));
        (Self { chunks, hash }, seen)
    }
}

impl Seen {
    pub(super) fn hex(&self) -> String {
        self.0.lock().hex()
    }
}

impl Stream for Hashed {
    type Item = lxd_client::Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let next = std::task::ready!(self.chunks.poll_next_unpin(cx));
        if let Some(Ok(chunk)) = &next {
            self.hash.lock().update(chunk);
        }
        Poll::Ready(next)
    }
}
