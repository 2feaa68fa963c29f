//! Web servers: pages and files by URL, over kept connections, with redirects; broken downloads go on where they broke.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD as STANDARD;
use bytes::Bytes;
use futures::{Stream, StreamExt as _};
use http::header::{
    AUTHORIZATION, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG, HOST, LAST_MODIFIED, LOCATION, RANGE,
    USER_AGENT,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Uri};
use http_body_util::{BodyExt as _, BodyStream, Full};
use hyper::body::Incoming;
use lxd_model::urls::shown;
use parking_lot::Mutex;

use crate::connection::Connections;
use crate::proxies::Proxies;
use crate::tls::Tls;
use crate::transport::Address;
use crate::{Error, Result};

/// How many times a server may send the client elsewhere.
const REDIRECTS: usize = 10;
/// How many times in a row a broken download is taken up again without getting on.
const ATTEMPTS: u32 = 5;
/// How long a download may stand still until its connection counts as broken.
const STALLED: Duration = Duration::from_secs(60);
/// The pause before the first new attempt; it doubles.
const PAUSE: Duration = Duration::from_millis(100);

/// A client of web servers.
#[derive(Debug)]
pub struct Web {
    tls: Arc<rustls::ClientConfig>,
    proxies: Proxies,
    agent: HeaderValue,
    servers: Mutex<HashMap<String, Arc<Connections>>>,
}

/// A page that was read whole.
#[derive(Debug, Clone)]
pub struct Page {
    /// The HTTP status.
    pub status: u16,
    /// The server's words for it.
    reason: String,
    /// The answer's headers.
    pub headers: HeaderMap,
    /// What it holds.
    pub body: Bytes,
}

/// A file on its way.
pub struct WebFile {
    /// Bytes, where the server says.
    pub length: Option<u64>,
    /// The answer's headers.
    pub headers: HeaderMap,
    /// Where it was found in the end.
    pub url: String,
    /// Its content.
    pub chunks: Pin<Box<dyn Stream<Item = Result<Bytes>> + Send>>,
}

/// A form on its way: files one after another.
pub struct WebForm {
    parts: multer::Multipart<'static>,
    url: String,
}

/// A file of a form.
pub struct WebPart {
    /// The name of the part.
    pub name: String,
    /// The name of the file; empty if it has none.
    pub filename: String,
    /// Its content.
    pub chunks: Pin<Box<dyn Stream<Item = Result<Bytes>> + Send>>,
}

impl Page {
    /// The status and the server's words for it.
    pub fn status_text(&self) -> String {
        format!("{} {}", self.status, self.reason)
    }
}

impl WebFile {
    /// The files in it, if it is a form; else itself.
    ///
    /// # Errors
    /// It is none.
    pub fn form(self) -> std::result::Result<WebForm, Box<Self>> {
        let kind = self.headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
        match kind.and_then(|kind| multer::parse_boundary(kind).ok()) {
            Some(boundary) => Ok(WebForm {
                parts: multer::Multipart::new(self.chunks, boundary),
                url: self.url,
            }),
            None => Err(Box::new(self)),
        }
    }
}

impl WebForm {
    /// The next file. The one before must have been read.
    ///
    /// # Errors
    /// The connection broke for good; it is no form.
    pub async fn next(&mut self) -> Result<Option<WebPart>> {
        let (url, told) = (self.url.clone(), self.url.clone());
        let failed = move |url: &str, error: multer::Error| match error {
            multer::Error::StreamReadFailed(inner) => match inner.downcast::<Error>() {
                Ok(own) => *own,
                Err(other) => Error::Cut {
                    url: url.to_owned(),
                    reason: other.to_string(),
                },
            },
            other => Error::Cut {
                url: url.to_owned(),
                reason: other.to_string(),
            },
        };
        let field = self
            .parts
            .next_field()
            .await
            .map_err(|error| failed(&told, error))?;
        Ok(field.map(|field| WebPart {
            name: field.name().unwrap_or_default().to_owned(),
            filename: field.file_name().unwrap_or_default().to_owned(),
            chunks: Box::pin(field.map(move |chunk| chunk.map_err(|error| failed(&url, error)))),
        }))
    }
}

impl Web {
    /// A client that calls itself `agent`.
    ///
    /// # Errors
    /// [`Error::Certificate`] for certificates or keys that can't be used.
    pub fn new(tls: &Tls, proxies: &Proxies, agent: &str) -> Result<Self> {
        Ok(Self {
            tls: tls.config()?,
            proxies: proxies.clone(),
            agent: HeaderValue::from_str(agent).map_err(|_| Error::Url(agent.to_owned()))?,
            servers: Mutex::default(),
        })
    }

    /// Asks for a page without its content.
    ///
    /// # Errors
    /// The server can't be reached.
    pub async fn head(&self, url: &str, headers: &[(&'static str, String)]) -> Result<Page> {
        let (response, _) = self.send(Method::HEAD, url, &header_map(headers)?).await?;
        Ok(Page {
            status: response.status().as_u16(),
            reason: reason(&response),
            headers: response.headers().clone(),
            body: Bytes::new(),
        })
    }

    /// Reads a page of at most `limit` bytes, whatever its status.
    ///
    /// # Errors
    /// The server can't be reached; the page is too long, or breaks off.
    pub async fn page(&self, url: &str, headers: &[(&'static str, String)], limit: usize) -> Result<Page> {
        let (response, url) = self.send(Method::GET, url, &header_map(headers)?).await?;
        let reason = reason(&response);
        let (parts, body) = response.into_parts();
        let body = http_body_util::Limited::new(body, limit).collect();
        let failed = |reason: String| Error::Answer { url, reason };
        let body = match tokio::time::timeout(STALLED * 5, body).await {
            Ok(Ok(body)) => body.to_bytes(),
            Ok(Err(error)) => return Err(failed(error.to_string())),
            Err(_) => return Err(failed("i/o timeout".to_owned())),
        };
        Ok(Page {
            status: parts.status.as_u16(),
            reason,
            headers: parts.headers,
            body,
        })
    }

    /// Begins to fetch a file. If the connection breaks the rest is asked for.
    ///
    /// # Errors
    /// The server can't be reached, or has no such file.
    pub async fn file(self: &Arc<Self>, url: &str) -> Result<WebFile> {
        let (response, place) = self.send(Method::GET, url, &HeaderMap::new()).await?;
        if response.status() != StatusCode::OK {
            return Err(Error::NoFile {
                url: url.to_owned(),
                code: response.status().as_u16(),
                status: format!("{} {}", response.status().as_u16(), reason(&response)),
            });
        }
        let headers = response.headers().clone();
        let length = content_length(&headers);
        let url = place.clone();
        let transfer = Transfer {
            web: Arc::clone(self),
            place,
            same: validators(&headers),
            body: Some(BodyStream::new(response.into_body())),
            at: 0,
            skip: 0,
            length,
            attempts: 0,
        };
        let chunks = futures::stream::try_unfold(transfer, Transfer::next);
        Ok(WebFile {
            length,
            headers,
            url,
            chunks: Box::pin(chunks),
        })
    }

    /// Sends a request, follows redirects, and says where it ended.
    async fn send(
        &self,
        method: Method,
        url: &str,
        headers: &HeaderMap,
    ) -> Result<(Response<Incoming>, String)> {
        let mut place = url.to_owned();
        for _ in 0..=REDIRECTS {
            let response = self.send_once(&method, &place, headers).await?;
            let to = response.headers().get(LOCATION).and_then(|to| to.to_str().ok());
            match to.filter(|_| response.status().is_redirection()) {
                Some(to) => place = join(&place, to),
                None => return Ok((response, place)),
            }
        }
        Err(Error::Broken {
            method: crate::connection::verb(&method),
            url: place,
            reason: format!("stopped after {REDIRECTS} redirects"),
        })
    }

    async fn send_once(&self, method: &Method, url: &str, headers: &HeaderMap) -> Result<Response<Incoming>> {
        let scheme = url.split_once("://").map_or("", |(scheme, _)| scheme);
        if !matches!(scheme, "http" | "https") {
            return Err(Error::Broken {
                method: crate::connection::verb(method),
                url: url.to_owned(),
                reason: format!("unsupported protocol scheme {scheme:?}"),
            });
        }
        let (server, path) = self.server(url)?;
        let target = if server.address().is_proxied() {
            format!("{}{path}", server.address().base())
        } else {
            path
        };
        let body = Full::new(Bytes::new()).map_err(|never| match never {});
        let mut request = Request::new(body.boxed_unsync());
        *request.method_mut() = method.clone();
        *request.uri_mut() = target.parse::<Uri>().map_err(|_| Error::Url(url.to_owned()))?;
        *request.headers_mut() = headers.clone();
        let host = HeaderValue::from_str(&server.address().host());
        request
            .headers_mut()
            .insert(HOST, host.map_err(|_| Error::Url(url.to_owned()))?);
        request.headers_mut().insert(USER_AGENT, self.agent.clone());
        if let Some(credentials) = credentials(url) {
            request.headers_mut().insert(AUTHORIZATION, credentials);
        }
        server.send(request).await
    }

    /// The connections to a URL's server, and its path.
    fn server(&self, url: &str) -> Result<(Arc<Connections>, String)> {
        let wrong = || Error::Url(url.to_owned());
        let uri: Uri = escaped(url).parse().map_err(|_| wrong())?;
        let is_secure = match uri.scheme_str() {
            Some("https") => true,
            Some("http") => false,
            _ => return Err(wrong()),
        };
        let host = uri.host().filter(|host| !host.is_empty()).ok_or_else(wrong)?;
        let host = host.trim_matches(['[', ']']).to_owned();
        let port = uri.port_u16().unwrap_or(if is_secure { 443 } else { 80 });
        let path = uri.path_and_query().map_or("/", |path| path.as_str()).to_owned();
        let proxies = self.proxies.clone();
        let address = if is_secure {
            let tls = Arc::clone(&self.tls);
            Address::Https {
                host,
                port,
                tls,
                proxies,
            }
        } else {
            Address::Http { host, port, proxies }
        };
        let mut servers = self.servers.lock();
        let server = servers
            .entry(address.base())
            .or_insert_with(|| Arc::new(Connections::web(address)));
        Ok((Arc::clone(server), path))
    }
}

/// How far a download is.
struct Transfer {
    web: Arc<Web>,
    place: String,
    /// What tells this version of the file from others.
    same: [Option<HeaderValue>; 3],
    body: Option<BodyStream<Incoming>>,
    /// Bytes that were given on.
    at: u64,
    /// Bytes that come again and are not given on.
    skip: u64,
    length: Option<u64>,
    attempts: u32,
}

impl Transfer {
    async fn next(mut self) -> Result<Option<(Bytes, Self)>> {
        loop {
            let why = match self.read().await {
                Ok(Some(chunk)) => {
                    let chunk = self.fresh(chunk);
                    if chunk.is_empty() {
                        continue;
                    }
                    self.at += chunk.len() as u64;
                    self.attempts = 0;
                    return Ok(Some((chunk, self)));
                }
                Ok(None) if self.length.is_none_or(|length| self.at >= length) => return Ok(None),
                Ok(None) => "unexpected EOF".to_owned(),
                Err(why) => why,
            };
            self.body = None;
            self.again(why).await?;
        }
    }

    /// What of a chunk was not there before the connection broke.
    fn fresh(&mut self, mut chunk: Bytes) -> Bytes {
        let known = usize::try_from(self.skip).unwrap_or(usize::MAX).min(chunk.len());
        self.skip -= known as u64;
        chunk.split_off(known)
    }

    async fn read(&mut self) -> std::result::Result<Option<Bytes>, String> {
        let Some(body) = &mut self.body else {
            return Err("unexpected EOF".to_owned());
        };
        match tokio::time::timeout(STALLED, body.next()).await {
            Ok(Some(Ok(frame))) => Ok(Some(frame.into_data().unwrap_or_default())),
            Ok(Some(Err(error))) => Err(broken(&error)),
            Ok(None) => Ok(None),
            Err(_) => Err("i/o timeout".to_owned()),
        }
    }

    /// Asks for the rest of the file.
    async fn again(&mut self, mut why: String) -> Result<()> {
        while self.attempts < ATTEMPTS {
            tokio::time::sleep(PAUSE * 2_u32.pow(self.attempts)).await;
            self.attempts += 1;
            tracing::debug!(
                url = shown(&self.place),
                at = self.at,
                why,
                "Taking a broken download up again"
            );
            let mut headers = HeaderMap::new();
            if self.at > 0 {
                headers.insert(
                    RANGE,
                    HeaderValue::from_str(&format!("bytes={}-", self.at)).unwrap_or(ZERO),
                );
            }
            let response = match self.web.send(Method::GET, &self.place, &headers).await {
                Ok((response, _)) => response,
                Err(error) => {
                    why = error.to_string();
                    continue;
                }
            };
            if self.take_up(&response) {
                self.body = Some(BodyStream::new(response.into_body()));
                return Ok(());
            }
            why = format!("the file changed, or is gone ({})", response.status());
        }
        Err(Error::Cut {
            url: self.place.clone(),
            reason: why,
        })
    }

    /// Whether an answer goes on with the file.
    fn take_up(&mut self, response: &Response<Incoming>) -> bool {
        let headers = response.headers();
        if validators(headers) != self.same {
            return false;
        }
        match response.status() {
            StatusCode::OK if content_length(headers) == self.length => self.skip = self.at,
            StatusCode::PARTIAL_CONTENT => {
                let range = headers.get(CONTENT_RANGE).and_then(|range| range.to_str().ok());
                let from =
                    range.and_then(|range| range.strip_prefix("bytes ")?.split('-').next()?.parse().ok());
                if from != Some(self.at) {
                    return false;
                }
                self.skip = 0;
            }
            _ => return false,
        }
        true
    }
}

const ZERO: HeaderValue = HeaderValue::from_static("bytes=0-");

/// What a broken connection is called.
fn broken(error: &hyper::Error) -> String {
    if error.is_incomplete_message() || error.is_body_write_aborted() {
        return "unexpected EOF".to_owned();
    }
    match std::error::Error::source(error) {
        Some(source) if source.to_string().contains("close_notify") => "unexpected EOF".to_owned(),
        Some(source) => source.to_string(),
        None => error.to_string(),
    }
}

/// The words that came with a status.
pub(crate) fn reason(response: &Response<Incoming>) -> String {
    let own = response.extensions().get::<hyper::ext::ReasonPhrase>();
    match own {
        Some(own) => String::from_utf8_lossy(own.as_bytes()).into_owned(),
        None => response
            .status()
            .canonical_reason()
            .unwrap_or_default()
            .to_owned(),
    }
}

/// The type is among them for the boundary of a form, which may be another one each time.
fn validators(headers: &HeaderMap) -> [Option<HeaderValue>; 3] {
    [ETAG, LAST_MODIFIED, CONTENT_TYPE].map(|name| headers.get(name).cloned())
}

fn content_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

fn header_map(headers: &[(&'static str, String)]) -> Result<HeaderMap> {
    headers
        .iter()
        .map(|(name, value)| {
            let value = HeaderValue::from_str(value).map_err(|_| Error::Url(value.clone()))?;
            Ok((HeaderName::from_static(name), value))
        })
        .collect()
}

/// The user name and password in a URL as the value of a header.
fn credentials(url: &str) -> Option<HeaderValue> {
    let (_, rest) = url.split_once("://")?;
    let (user, _) = rest.split(['/', '?', '#']).next()?.rsplit_once('@')?;
    let user: Vec<u8> = percent_encoding::percent_decode_str(user).collect();
    let mut value = HeaderValue::from_str(&format!("Basic {}", STANDARD.encode(user))).ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// A URL with what may not stand in one escaped.
fn escaped(url: &str) -> String {
    let mut whole = String::with_capacity(url.len());
    for letter in url.split('#').next().unwrap_or_default().chars() {
        if letter.is_ascii_graphic() && !"\"<>\\^`{|}".contains(letter) {
            whole.push(letter);
        } else {
            let mut bytes = [0; 4];
            whole.extend(
                letter
                    .encode_utf8(&mut bytes)
                    .bytes()
                    .map(|byte| format!("%{byte:02X}")),
            );
        }
    }
    whole
}

/// Where a link on a page leads.
pub(crate) fn join(base: &str, link: &str) -> String {
    if link.contains("://") {
        return link.to_owned();
    }
    let (scheme, rest) = base.split_once("://").unwrap_or(("https", base));
    if let Some(elsewhere) = link.strip_prefix("//") {
        return format!("{scheme}://{elsewhere}");
    }
    let rest = rest.split(['?', '#']).next().unwrap_or_default();
    let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
    if link.starts_with('/') {
        return format!("{scheme}://{host}{link}");
    }
    let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
    let slash = if folder.is_empty() { "" } else { "/" };
    format!("{scheme}://{host}/{folder}{slash}{link}")
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;
    use crate::tls::Trust;

    #[test]
    fn links_are_followed_from_where_they_stand() {
        for (link, to) in [
            ("https://b.org/x", "https://b.org/x"),
            ("//b.org/x", "http://b.org/x"),
            ("/x", "http://a.org:8/x"),
            ("x", "http://a.org:8/p/x"),
        ] {
            assert_eq!(join("http://a.org:8/p/q?r=/s", link), to);
        }
        assert_eq!(join("http://a.org", "x"), "http://a.org/x");
        assert_eq!(escaped("http://a/b c/ü?d=%20#e"), "http://a/b%20c/%C3%BC?d=%20");
    }

    #[test]
    fn a_password_in_a_url_is_sent() {
        let url = "https://me:p%40ss@a.org/x@y";
        assert_eq!(credentials(url).unwrap(), "Basic bWU6cEBzcw==");
        assert_eq!(credentials("https://a.org/x@y"), None);
    }

    /// Answers one connection after another with these texts, and gives what was asked.
    async fn serve(answers: Vec<String>) -> (String, tokio::task::JoinHandle<Vec<String>>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let server = tokio::spawn(async move {
            let mut asked = Vec::new();
            for answer in answers {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut request = Vec::new();
                while !request.ends_with(b"\r\n\r\n") {
                    request.push(stream.read_u8().await.unwrap());
                }
                asked.push(String::from_utf8(request).unwrap());
                stream.write_all(answer.as_bytes()).await.unwrap();
            }
            asked
        });
        (url, server)
    }

    fn web() -> Arc<Web> {
        let tls = Tls {
            trust: Trust::Authorities,
            identity: None,
        };
        Arc::new(Web::new(&tls, &Proxies::default(), "test").unwrap())
    }

    async fn whole(file: WebFile) -> Result<String> {
        let chunks: Vec<Result<Bytes>> = file.chunks.collect().await;
        let chunks: Result<Vec<Bytes>> = chunks.into_iter().collect();
        Ok(String::from_utf8(chunks?.concat()).unwrap())
    }

    #[tokio::test]
    async fn a_broken_download_goes_on_where_it_broke() {
        let head = |status: &str, more: &str| {
            format!("HTTP/1.1 {status}\r\nConnection: close\r\nETag: \"1\"\r\n{more}\r\n\r\n")
        };
        let (url, server) = serve(vec![
            head("302 Found", "Location: /there\r\nContent-Length: 0"),
            head("200 OK", "Content-Length: 10") + "0123",
            head(
                "206 Partial Content",
                "Content-Length: 6\r\nContent-Range: bytes 4-9/10",
            ) + "45",
            // A server that knows no ranges begins anew.
            head("200 OK", "Content-Length: 10") + "0123456789",
        ])
        .await;
        let file = web().file(&format!("{url}/here")).await.unwrap();
        assert_eq!(file.length, Some(10));
        assert_eq!(whole(file).await.unwrap(), "0123456789");
        let asked = server.await.unwrap();
        assert!(asked[1].starts_with("GET /there HTTP/1.1"));
        assert!(asked[2].contains("range: bytes=4-") && asked[3].contains("range: bytes=6-"));
        assert!(asked[0].contains("user-agent: test"));
    }

    #[tokio::test]
    async fn a_file_that_changed_is_not_patched_together() {
        let head = |tag: &str| {
            format!("HTTP/1.1 200 OK\r\nConnection: close\r\nETag: {tag}\r\nContent-Length: 10\r\n\r\n")
        };
        let again: Vec<String> = (0..ATTEMPTS).map(|_| head("b") + "abcdefghij").collect();
        let (url, server) = serve([vec![head("a") + "0123"], again].concat()).await;
        let error = whole(web().file(&url).await.unwrap()).await.unwrap_err();
        assert!(error.to_string().contains("the file changed"), "{error}");
        server.await.unwrap();
    }

    #[tokio::test]
    async fn what_is_not_there_is_said() {
        let (url, _server) = serve(vec!["HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n".into()]).await;
        let error = web().file(&format!("{url}/x")).await.err().unwrap();
        assert_eq!(
            (error.code(), error.to_string()),
            (404, format!("Unable to fetch {url}/x: 404 Not Found"))
        );
        assert!(web().file("ftp://x/").await.is_err());
    }
}
