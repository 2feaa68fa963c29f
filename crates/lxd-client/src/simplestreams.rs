//! Image servers that are plain web servers: their lists, kept on disk and asked for again only if they changed.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::HeaderName;
use http::header::{DATE, ETAG, LAST_MODIFIED};
use lxd_model::simplestreams::{Catalogue, INDEX, parse_index, parse_products};
use lxd_model::urls::shown;
use serde::{Deserialize, Serialize};

use crate::web::{Page, Web, WebFile, join};
use crate::{Error, Result};

/// The longest list, in bytes; those of the big servers have some megabytes.
const LIMIT: usize = 256 << 20;
/// How long a list that was kept is good enough when its server can't be reached.
const GOOD: Duration = Duration::from_secs(3600);

/// A server.
#[derive(Debug, Clone)]
pub struct SimpleStreams {
    web: Arc<Web>,
    /// Its URL, with a slash at the end.
    base: String,
    /// Where lists are kept.
    cache: Option<PathBuf>,
}

/// What tells whether a list that was kept is still the server's.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Validators {
    url: String,
    etag: String,
    last_modified: String,
}

struct Kept {
    validators: Validators,
    body: Bytes,
    age: Duration,
}

impl SimpleStreams {
    /// The server at a URL. Lists are kept in the folder `cache`, if there is one.
    pub fn new(web: Arc<Web>, url: &str, cache: Option<PathBuf>) -> Self {
        Self {
            web,
            base: format!("{}/", url.trim_end_matches('/')),
            cache,
        }
    }

    /// All that the server has; `architecture` is this host's.
    ///
    /// # Errors
    /// The server can't be reached, or its lists can't be read.
    pub async fn catalogue(&self, architecture: &str) -> Result<Catalogue> {
        let of = |list: &'static str| move |reason: String| Error::Streams { list, reason };
        let stream = of("stream");
        let index = self.document(INDEX).await.map_err(stream)?;
        let mut images = Vec::new();
        let paths = parse_index(&index);
        for path in paths.map_err(|error| stream(undecoded("stream", INDEX, &error)))? {
            let products = of("products");
            let list = self.document(&path).await.map_err(products)?;
            let listed = tokio::task::spawn_blocking(move || parse_products(&list)).await;
            let listed = listed.map_err(|error| products(error.to_string()))?;
            images.extend(listed.map_err(|error| products(undecoded("products", &path, &error)))?);
        }
        Ok(Catalogue::new(images, architecture))
    }

    /// Begins to fetch a file by its path on the server.
    ///
    /// # Errors
    /// The server can't be reached, or has no such file.
    pub async fn file(&self, path: &str) -> Result<WebFile> {
        self.web.file(&join(&self.base, path)).await
    }

    /// The whole URL of a file.
    pub fn url(&self, path: &str) -> String {
        join(&self.base, path)
    }

    /// A list, or why it can't be had.
    async fn document(&self, path: &str) -> std::result::Result<Bytes, String> {
        let url = join(&self.base, path);
        let kept = self.kept(&url).await;
        let mut headers = Vec::new();
        if let Some(Kept { validators, .. }) = &kept {
            for (name, value) in [
                ("if-none-match", &validators.etag),
                ("if-modified-since", &validators.last_modified),
            ] {
                if !value.is_empty() {
                    headers.push((name, value.clone()));
                }
            }
        }
        match (self.web.page(&url, &headers, LIMIT).await, kept) {
            (Ok(page), _) if page.status == 200 => {
                self.keep(&url, &page).await;
                Ok(page.body)
            }
            (Ok(page), Some(kept)) if page.status == 304 => Ok(kept.body),
            (Ok(page), _) => {
                let url = shown(&url);
                Err(format!("Unable to fetch {url}: {}", page.status_text()))
            }
            (Err(error), Some(kept)) if kept.age < GOOD => {
                tracing::debug!(url = shown(&url), %error, "Using the list that was kept");
                Ok(kept.body)
            }
            (Err(error), _) => Err(error.to_string()),
        }
    }

    fn place(&self, url: &str) -> Option<PathBuf> {
        let name = crate::download::sha256_hex(url.as_bytes());
        self.cache.as_ref().map(|folder| folder.join(name))
    }

    async fn kept(&self, url: &str) -> Option<Kept> {
        let path = self.place(url)?;
        let age = tokio::fs::metadata(&path).await.ok()?.modified().ok()?;
        let mut body = Bytes::from(tokio::fs::read(&path).await.ok()?);
        let end = body.iter().position(|byte| *byte == b'\n')?;
        let first = body.split_to(end + 1);
        let validators: Validators = serde_json::from_slice(&first).ok()?;
        (validators.url == url).then(|| Kept {
            validators,
            body,
            age: SystemTime::now().duration_since(age).unwrap_or_default(),
        })
    }

    /// Keeps a list; without it all works as well.
    async fn keep(&self, url: &str, page: &Page) {
        let Some(path) = self.place(url) else { return };
        let text = |name: HeaderName| {
            let value = page.headers.get(name).and_then(|value| value.to_str().ok());
            value.unwrap_or_default().to_owned()
        };
        let mut validators = Validators {
            url: url.to_owned(),
            etag: text(ETAG),
            last_modified: text(LAST_MODIFIED),
        };
        if is_fresh(&validators.last_modified, &text(DATE)) {
            // It may change again in the same second.
            validators.last_modified = String::new();
        }
        let Ok(mut content) = serde_json::to_vec(&validators) else {
            return;
        };
        content.push(b'\n');
        content.extend_from_slice(&page.body);
        if let Err(error) = replace(&path, content).await {
            tracing::debug!(path = %path.display(), %error, "Failed keeping a list");
        }
    }
}

fn undecoded(list: &str, path: &str, error: &dyn std::fmt::Display) -> String {
    format!("Failed decoding {list} JSON from {path:?}: {error}")
}

/// Whether something changed less than a minute before a date, or nobody knows when.
fn is_fresh(last_modified: &str, date: &str) -> bool {
    let parsed = |text| httpdate::parse_http_date(text).ok();
    match (parsed(last_modified), parsed(date)) {
        (Some(changed), Some(now)) => {
            now.duration_since(changed)
                .is_ok_and(|age| age < Duration::from_secs(60))
                || changed > now
        }
        _ => true,
    }
}

/// Writes a file so that nobody ever sees a part of it.
async fn replace(path: &Path, content: Vec<u8>) -> std::io::Result<()> {
    static NUMBER: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);
    let number = NUMBER.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    let new = path.with_extension(format!("{}-{number}.new", std::process::id()));
    tokio::fs::write(&new, content).await?;
    let renamed = tokio::fs::rename(&new, path).await;
    if renamed.is_err() {
        let _ = tokio::fs::remove_file(&new).await;
    }
    renamed
}
