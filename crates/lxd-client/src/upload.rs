//! Files that go to a server: streamed, several of them in parts of one body.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use futures::{Stream, StreamExt, TryStreamExt, stream};
use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use tokio_util::io::ReaderStream;

use crate::client::Client;
use crate::connection::Body;
use crate::operations::Background;
use crate::{Error, Result};

/// How much is read from a file at once, in bytes.
const CHUNK: usize = 1 << 18;
/// Separates the parts of a body; no file that holds it by chance is split, as it is followed by a header.
const BOUNDARY: &str = "----lxd-client-7f1c9a3e5b2d4860af";

/// A body to send, with its headers.
#[derive(Debug)]
pub struct Upload {
    headers: HeaderMap,
    parts: Vec<Piece>,
    sent: Arc<AtomicU64>,
}

/// A file as one part of a body.
#[derive(Debug, Clone)]
pub struct UploadPart {
    /// The part's name, as in `rootfs`.
    pub name: &'static str,
    /// The file.
    pub path: PathBuf,
}

#[derive(Debug)]
enum Piece {
    Text(String),
    File(PathBuf, u64),
    Stdin,
}

impl Upload {
    /// One file as the body itself.
    ///
    /// # Errors
    /// [`Error::File`] when it can't be read.
    pub async fn file(path: &Path) -> Result<Self> {
        Ok(Self::single(Piece::file(path).await?))
    }

    /// A text as the body itself.
    pub fn text(text: &str) -> Self {
        Self::single(Piece::Text(text.to_owned()))
    }

    /// All that comes from standard input as the body itself.
    pub fn stdin() -> Self {
        Self::single(Piece::Stdin)
    }

    fn single(piece: Piece) -> Self {
        let kind = HeaderValue::from_static("application/octet-stream");
        Self {
            headers: HeaderMap::from_iter([(CONTENT_TYPE, kind)]),
            parts: vec![piece],
            sent: Arc::default(),
        }
    }

    /// Several files as the parts of a `multipart/form-data` body.
    ///
    /// # Errors
    /// [`Error::File`] when one can't be read.
    pub async fn files(files: &[UploadPart]) -> Result<Self> {
        let mut parts = Vec::new();
        for UploadPart { name, path } in files {
            let file = path
                .file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .replace('"', "\\\"");
            parts.push(Piece::Text(format!(
                "--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"{name}\"; filename=\"{file}\"\r\n\
                 Content-Type: application/octet-stream\r\n\r\n"
            )));
            parts.push(Piece::file(path).await?);
            parts.push(Piece::Text("\r\n".into()));
        }
        parts.push(Piece::Text(format!("--{BOUNDARY}--\r\n")));
        let upload = Self {
            headers: HeaderMap::new(),
            parts,
            sent: Arc::default(),
        };
        upload.header(
            "content-type",
            &format!("multipart/form-data; boundary={BOUNDARY}"),
        )
    }

    /// Adds a header.
    ///
    /// # Errors
    /// [`Error::Url`] for a value that no header may have.
    pub fn header(mut self, name: &'static str, value: &str) -> Result<Self> {
        let value = HeaderValue::from_str(value).map_err(|_| Error::Url(value.to_string()))?;
        self.headers.insert(HeaderName::from_static(name), value);
        Ok(self)
    }

    /// How many bytes there are.
    pub fn length(&self) -> u64 {
        self.parts.iter().map(Piece::length).sum()
    }

    /// Counts the bytes that have been sent; to be read while the request runs.
    pub fn counter(&self) -> Arc<AtomicU64> {
        self.sent.clone()
    }

    fn into_body(self) -> (HeaderMap, Body) {
        let mut headers = self.headers.clone();
        // How much comes from standard input nobody knows.
        if !self.parts.iter().any(|piece| matches!(piece, Piece::Stdin)) {
            headers.insert(CONTENT_LENGTH, HeaderValue::from(self.length()));
        }
        debug_assert!(headers.contains_key(CONTENT_TYPE));
        let sent = self.sent;
        let chunks = stream::iter(self.parts)
            .then(Piece::open)
            .try_flatten()
            .inspect_ok(move |chunk: &Bytes| {
                sent.fetch_add(chunk.len() as u64, Ordering::Relaxed);
            });
        (
            headers,
            StreamBody::new(chunks.map_ok(Frame::data)).boxed_unsync(),
        )
    }
}

impl Piece {
    async fn file(path: &Path) -> Result<Self> {
        let failed = |source| Error::File {
            path: path.into(),
            source,
        };
        let meta = tokio::fs::metadata(path).await.map_err(failed)?;
        Ok(Self::File(path.into(), meta.len()))
    }

    fn length(&self) -> u64 {
        match self {
            Self::Text(text) => text.len() as u64,
            Self::File(_, bytes) => *bytes,
            Self::Stdin => 0,
        }
    }

    async fn open(self) -> io::Result<futures::stream::BoxStream<'static, io::Result<Bytes>>> {
        match self {
            Self::Text(text) => Ok(stream::once(async move { Ok(Bytes::from(text)) }).boxed()),
            Self::Stdin => Ok(boxed(ReaderStream::with_capacity(tokio::io::stdin(), CHUNK))),
            Self::File(path, _) => {
                let file = tokio::fs::File::open(path).await?;
                Ok(boxed(ReaderStream::with_capacity(file, CHUNK)))
            }
        }
    }
}

fn boxed<S>(stream: S) -> futures::stream::BoxStream<'static, io::Result<Bytes>>
where
    S: Stream<Item = io::Result<Bytes>> + Send + 'static,
{
    stream.boxed()
}

impl Client {
    /// Sends files by POST and starts the operation that takes them in.
    pub async fn upload(&self, path: &str, upload: Upload) -> Result<Background> {
        let (headers, body) = upload.into_body();
        let response = self.request(Method::POST, path, headers, body).await?;
        let reply = self.collect(path, response).await?;
        reply.check(&self.url(path))?;
        self.background_of(&reply, path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn parts_add_up_to_the_announced_length() {
        let folder = tempfile::tempdir().unwrap();
        let (a, b) = (folder.path().join("a"), folder.path().join("b"));
        std::fs::write(&a, b"meta").unwrap();
        std::fs::write(&b, vec![7u8; 300_000]).unwrap();
        let parts = [
            UploadPart {
                name: "metadata",
                path: a,
            },
            UploadPart {
                name: "rootfs",
                path: b,
            },
        ];
        let upload = Upload::files(&parts).await.unwrap();
        let (length, counter) = (upload.length(), upload.counter());
        let (headers, body) = upload.into_body();
        let sent = body.collect().await.unwrap().to_bytes();
        assert_eq!(sent.len() as u64, length);
        assert_eq!(headers[CONTENT_LENGTH].to_str().unwrap(), length.to_string());
        assert_eq!(counter.load(Ordering::Relaxed), length);
        assert!(sent.starts_with(b"------lxd-client"));
    }
}
