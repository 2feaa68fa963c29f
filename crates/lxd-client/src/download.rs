//! Files that come from a server: streamed to disk, counted and hashed on the way.

use std::path::Path;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures::{Stream, StreamExt};
use http::header::{CONTENT_DISPOSITION, CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderMap, Method};
use http_body_util::{BodyExt, BodyStream, Full};
use hyper::body::Incoming;
use sha2::{Digest, Sha256};
use tokio::io::AsyncWriteExt;

use crate::client::Client;
use crate::{Error, Result};

/// Tells how many bytes have gone by.
pub type Progress<'a> = &'a mut (dyn FnMut(u64) + Send);

/// The body of an answer, on its way.
#[derive(Debug)]
pub struct Download {
    headers: HeaderMap,
    body: BodyStream<Incoming>,
    url: String,
}

/// A file that has arrived.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Received {
    /// Its length in bytes.
    pub bytes: u64,
    /// Its SHA-256 hash in hexadecimal.
    pub sha256: String,
}

impl Client {
    /// Begins to fetch a file.
    ///
    /// # Errors
    /// What the server says where there is no such file.
    pub async fn download(&self, path: &str) -> Result<Download> {
        let nothing = Full::new(Bytes::new())
            .map_err(|never| match never {})
            .boxed_unsync();
        let response = self.request(Method::GET, path, HeaderMap::new(), nothing).await?;
        let url = self.url(path);
        if !response.status().is_success() {
            self.collect(path, response).await?.check(&url)?;
            return Err(Error::Answer {
                url,
                reason: "no file".into(),
            });
        }
        let (parts, body) = response.into_parts();
        Ok(Download {
            headers: parts.headers,
            body: BodyStream::new(body),
            url,
        })
    }
}

impl Download {
    /// The answer's headers.
    pub fn headers(&self) -> &HeaderMap {
        &self.headers
    }

    /// One of the headers as text; "" where there is none.
    pub fn header(&self, name: impl http::header::AsHeaderName) -> &str {
        self.headers
            .get(name)
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default()
    }

    /// How many bytes will come, where the server says.
    pub fn length(&self) -> Option<u64> {
        self.header(CONTENT_LENGTH).parse().ok()
    }

    /// What the file is called, where the server says.
    pub fn filename(&self) -> Option<String> {
        disposition_filename(self.header(CONTENT_DISPOSITION))
    }

    /// The boundary of a multipart body.
    pub(crate) fn boundary(&self) -> Option<String> {
        let kind = self.header(CONTENT_TYPE);
        let boundary = kind
            .strip_prefix("multipart/form-data")?
            .split("boundary=")
            .nth(1)?;
        Some(boundary.split(';').next()?.trim_matches('"').to_string())
    }

    /// The whole file, for small ones.
    pub async fn bytes(mut self) -> Result<Vec<u8>> {
        let mut all = Vec::new();
        while let Some(chunk) = self.next().await {
            all.extend_from_slice(&chunk?);
        }
        Ok(all)
    }

    /// Writes the file to disk, replacing what is there.
    pub async fn save(self, file: &Path, progress: Progress<'_>) -> Result<Received> {
        save(self, file, 0, progress).await
    }
}

impl Stream for Download {
    type Item = Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            return match std::task::ready!(self.body.poll_next_unpin(cx)) {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => Poll::Ready(Some(Ok(data))),
                    Err(_trailers) => continue,
                },
                Some(Err(error)) => Poll::Ready(Some(Err(Error::Answer {
                    url: self.url.clone(),
                    reason: error.to_string(),
                }))),
                None => Poll::Ready(None),
            };
        }
    }
}

/// Writes chunks to a file; `before` bytes have been counted already.
pub(crate) async fn save<S>(
    mut chunks: S,
    path: &Path,
    before: u64,
    progress: Progress<'_>,
) -> Result<Received>
where
    S: Stream<Item = Result<Bytes>> + Unpin,
{
    let failed = |source| Error::File {
        path: path.into(),
        source,
    };
    let mut file =
        tokio::io::BufWriter::with_capacity(1 << 20, tokio::fs::File::create(path).await.map_err(failed)?);
    let mut hash = Sha256::new();
    let mut bytes = 0;
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk?;
        hash.update(&chunk);
        file.write_all(&chunk).await.map_err(failed)?;
        bytes += chunk.len() as u64;
        progress(before + bytes);
    }
    file.flush().await.map_err(failed)?;
    Ok(Received {
        bytes,
        sha256: hex(&hash.finalize()),
    })
}

/// The SHA-256 hash of a text in hexadecimal.
pub(crate) fn sha256_hex(text: &[u8]) -> String {
    hex(&Sha256::digest(text))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The file name of a Content-Disposition header, with or without quotes.
fn disposition_filename(header: &str) -> Option<String> {
    let name = header
        .split(';')
        .map(str::trim)
        .find_map(|part| part.strip_prefix("filename="))?;
    Some(name.trim_matches('"').to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn file_names_may_be_quoted() {
        assert_eq!(
            disposition_filename("inline;filename=x.tar.gz").unwrap(),
            "x.tar.gz"
        );
        assert_eq!(
            disposition_filename("form-data; name=\"a\"; filename=\"b\"").unwrap(),
            "b"
        );
        assert_eq!(disposition_filename("inline"), None);
    }
}
