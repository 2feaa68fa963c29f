//! Requests and their answers.

use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, ETAG, HOST, IF_MATCH, USER_AGENT};
use http::{HeaderMap, HeaderValue, Method, Request};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use lxd_api::envelope::ResponseType;
use lxd_api::operations::Operation;
use lxd_model::urls::shown;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::connection::{Body, Connections};
use crate::operations::Background;
use crate::proxies::Proxies;
use crate::tls::Tls;
use crate::transport::{Address, Stream};
use crate::{Error, Result};

/// The version of a thing as the server named it; empty where there is none.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Etag(pub(crate) String);

/// A server, and the project and cluster member that requests are about.
#[derive(Debug, Clone)]
pub struct Client {
    connections: Arc<Connections>,
    project: String,
    target: String,
}

/// An answer whose shape the caller does not know beforehand.
#[derive(Debug, Clone)]
pub struct Reply {
    /// The HTTP status.
    pub code: u16,
    /// The answer's headers.
    pub headers: HeaderMap,
    /// The answer's body.
    pub body: Bytes,
    /// The server's words for the status.
    reason: String,
}

/// The envelope with its content left as text, so that it is parsed once, as the type it has.
#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(default, rename = "type")]
    r#type: ResponseType,
    #[serde(default)]
    operation: String,
    #[serde(default)]
    error_code: u16,
    #[serde(default)]
    error: String,
    #[serde(default, borrow)]
    metadata: Option<&'a RawValue>,
}

impl Client {
    /// A server on this host, by its socket.
    pub fn unix(socket: impl Into<PathBuf>) -> Self {
        Self::new(Address::Unix(socket.into()))
    }

    /// A server by its URL `https://HOST[:PORT]`; the port is 443 where none is given.
    ///
    /// # Errors
    /// [`Error::Url`] for anything else, [`Error::Certificate`] for certificates or keys that can't be used.
    pub fn https(url: &str, tls: &Tls) -> Result<Self> {
        Self::https_through(url, tls, &Proxies::default())
    }

    /// As [`Client::https`], with proxies other than the environment's.
    ///
    /// # Errors
    /// As [`Client::https`].
    pub fn https_through(url: &str, tls: &Tls, proxies: &Proxies) -> Result<Self> {
        let (host, port) = split_url(url)?;
        Ok(Self::new(Address::Https {
            host,
            port,
            tls: tls.config()?,
            proxies: proxies.clone(),
        }))
    }

    fn new(address: Address) -> Self {
        Self {
            connections: Arc::new(Connections::new(address)),
            project: String::new(),
            target: String::new(),
        }
    }

    /// The same server, for requests about a project; "" leaves the choice to the server.
    #[must_use]
    pub fn in_project(&self, project: &str) -> Self {
        Self {
            project: project.into(),
            ..self.clone()
        }
    }

    /// The same server, for requests about a cluster member; "" leaves the choice to the server.
    #[must_use]
    pub fn on_target(&self, target: &str) -> Self {
        Self {
            target: target.into(),
            ..self.clone()
        }
    }

    /// The project that requests are about; "" where none was chosen.
    pub fn project(&self) -> &str {
        &self.project
    }

    /// Whether the server is reached by a unix socket.
    pub fn is_local(&self) -> bool {
        matches!(self.connections.address(), Address::Unix(_))
    }

    /// The URL that requests go to, without a path.
    pub fn base(&self) -> String {
        self.connections.address().base()
    }

    /// Reads a thing.
    pub async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T> {
        Ok(self.get_with_etag(path).await?.0)
    }

    /// Reads a thing and its version.
    pub async fn get_with_etag<T: DeserializeOwned>(&self, path: &str) -> Result<(T, Etag)> {
        let reply = self
            .call(Method::GET, path, Bytes::new(), &Etag::default())
            .await?;
        let etag = reply
            .headers
            .get(ETAG)
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default();
        Ok((reply.metadata(&self.url(path))?, Etag(etag.into())))
    }

    /// Makes a thing; the answer's content is not looked at.
    pub async fn create<B: Serialize + ?Sized>(&self, path: &str, body: &B) -> Result<()> {
        self.call(Method::POST, path, json(body)?, &Etag::default())
            .await
            .map(drop)
    }

    /// Makes a thing and reads the answer's content.
    pub async fn create_and_get<B: Serialize + ?Sized, T: DeserializeOwned>(
        &self,
        path: &str,
        body: &B,
    ) -> Result<T> {
        let reply = self
            .call(Method::POST, path, json(body)?, &Etag::default())
            .await?;
        reply.metadata(&self.url(path))
    }

    /// Replaces a thing, provided it is still the version of `etag`.
    pub async fn replace<B: Serialize + ?Sized>(&self, path: &str, body: &B, etag: &Etag) -> Result<()> {
        self.call(Method::PUT, path, json(body)?, etag).await.map(drop)
    }

    /// Changes parts of a thing.
    pub async fn patch<B: Serialize + ?Sized>(&self, path: &str, body: &B, etag: &Etag) -> Result<()> {
        self.call(Method::PATCH, path, json(body)?, etag).await.map(drop)
    }

    /// Deletes a thing.
    pub async fn remove(&self, path: &str) -> Result<()> {
        self.call(Method::DELETE, path, Bytes::new(), &Etag::default())
            .await
            .map(drop)
    }

    /// Starts an operation by POST.
    pub async fn start<B: Serialize + ?Sized>(&self, path: &str, body: &B) -> Result<Background> {
        self.background(Method::POST, path, json(body)?, &Etag::default())
            .await
    }

    /// Starts an operation by PUT, provided the thing is still the version of `etag`.
    pub async fn update<B: Serialize + ?Sized>(
        &self,
        path: &str,
        body: &B,
        etag: &Etag,
    ) -> Result<Background> {
        self.background(Method::PUT, path, json(body)?, etag).await
    }

    /// Starts an operation by DELETE.
    pub async fn delete(&self, path: &str) -> Result<Background> {
        self.background(Method::DELETE, path, Bytes::new(), &Etag::default())
            .await
    }

    /// Sends any request and gives the answer as it came, failures included.
    ///
    /// `body` is sent as JSON where it is not empty. The project is added where the path has none.
    pub async fn raw(&self, method: Method, path: &str, body: Bytes) -> Result<Reply> {
        self.exchange(method, path, body, &Etag::default()).await
    }

    async fn background(&self, method: Method, path: &str, body: Bytes, etag: &Etag) -> Result<Background> {
        let reply = self.call(method, path, body, etag).await?;
        self.background_of(&reply, path)
    }

    /// The operation that an answer tells of; an answer without one has ended already.
    pub(crate) fn background_of(&self, reply: &Reply, path: &str) -> Result<Background> {
        let url = self.url(path);
        let envelope = reply.envelope(&url)?;
        if envelope.operation.is_empty() {
            return Ok(Background::ended(self.clone()));
        }
        let operation: Operation = reply.metadata(&url)?;
        Ok(Background::new(self.clone(), operation))
    }

    async fn call(&self, method: Method, path: &str, body: Bytes, etag: &Etag) -> Result<Reply> {
        let reply = self.exchange(method, path, body, etag).await?;
        reply.check(&self.url(path))?;
        Ok(reply)
    }

    async fn exchange(&self, method: Method, path: &str, body: Bytes, etag: &Etag) -> Result<Reply> {
        let mut headers = HeaderMap::new();
        if !body.is_empty() {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        }
        if let Ok(value) = HeaderValue::from_str(&etag.0)
            && !etag.0.is_empty()
        {
            headers.insert(IF_MATCH, value);
        }
        let body = Full::new(body).map_err(|never| match never {}).boxed_unsync();
        let response = self.request(method, path, headers, body).await?;
        self.collect(path, response).await
    }

    /// Reads the whole of an answer.
    pub(crate) async fn collect(&self, path: &str, response: http::Response<Incoming>) -> Result<Reply> {
        let reason = crate::web::reason(&response);
        let (parts, body) = response.into_parts();
        let body = body.collect().await.map_err(|error| Error::Answer {
            url: self.url(path),
            reason: error.to_string(),
        })?;
        let reply = Reply {
            code: parts.status.as_u16(),
            headers: parts.headers,
            body: body.to_bytes(),
            reason,
        };
        tracing::debug!(
            code = reply.code,
            bytes = reply.body.len(),
            "Got response from LXD"
        );
        Ok(reply)
    }

    /// Sends a request with any body.
    pub(crate) async fn request(
        &self,
        method: Method,
        path: &str,
        headers: HeaderMap,
        body: Body,
    ) -> Result<http::Response<Incoming>> {
        let target = self.scoped(path);
        tracing::debug!(%method, url = shown(&format!("{}{target}", self.base())), "Sending request to LXD");
        let mut request = Request::new(body);
        *request.method_mut() = method;
        *request.uri_mut() = target.parse().map_err(|_| Error::Url(target.clone()))?;
        *request.headers_mut() = headers;
        let host =
            HeaderValue::from_str(&self.connections.address().host()).map_err(|_| Error::Url(self.base()))?;
        request.headers_mut().insert(HOST, host);
        request
            .headers_mut()
            .insert(USER_AGENT, HeaderValue::from_static("LXD 5.0.2"));
        self.connections.send(request).await
    }

    /// A connection of its own, for a websocket; also the Host header's value and the path with project and target.
    pub(crate) async fn connect(&self, path: &str) -> Result<(Stream, String, String)> {
        let target = self.scoped(path);
        let address = self.connections.address();
        let stream = address
            .connect("Get", &format!("{}{target}", self.base()))
            .await?;
        Ok((stream, address.host(), target))
    }

    /// The whole URL of a request, for messages.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("{}{}", self.base(), self.scoped(path))
    }

    /// A path with the project and the target where it does not name its own.
    fn scoped(&self, path: &str) -> String {
        let mut path = path.to_string();
        for (key, value) in [("project", &self.project), ("target", &self.target)] {
            let query = path.split_once('?').map_or("", |(_, query)| query);
            let named = query.split('&').any(|pair| pair.split('=').next() == Some(key));
            if value.is_empty()
                || named
                || (key == "project" && query.split('&').any(|pair| pair == "all-projects=true"))
            {
                continue;
            }
            let join = if path.contains('?') { '&' } else { '?' };
            path = format!("{path}{join}{key}={}", escape(value));
        }
        path
    }
}

impl Reply {
    /// Turns a failure that the server reports into an error.
    pub fn check(&self, url: &str) -> Result<()> {
        match self.envelope(url) {
            Ok(envelope) if envelope.r#type == ResponseType::Error => {
                let code = if envelope.error_code == 0 {
                    self.code
                } else {
                    envelope.error_code
                };
                Err(Error::Refused {
                    code,
                    text: envelope.error,
                })
            }
            Ok(_) => Ok(()),
            Err(_) if self.code >= 400 => Err(Error::Refused {
                code: self.code,
                text: format!("Failed to fetch {url}: {} {}", self.code, self.reason),
            }),
            Err(error) => Err(error),
        }
    }

    /// The content of the answer.
    pub(crate) fn metadata<T: DeserializeOwned>(&self, url: &str) -> Result<T> {
        let envelope = self.envelope(url)?;
        let text = envelope.metadata.map_or("null", RawValue::get);
        // Servers of the reference say null for a list or a map that is empty.
        let read = serde_json::from_str(text).or_else(|error| match text {
            "null" => serde_json::from_str("[]")
                .or_else(|_| serde_json::from_str("{}"))
                .map_err(|_| error),
            _ => Err(error),
        });
        read.map_err(|error| Error::Answer {
            url: url.into(),
            reason: error.to_string(),
        })
    }

    fn envelope(&self, url: &str) -> Result<Envelope<'_>> {
        serde_json::from_slice(&self.body).map_err(|error| Error::Answer {
            url: url.into(),
            reason: error.to_string(),
        })
    }
}

/// A path below `/1.0` from its parts, with each part escaped: `path(&["instances", "c1"])` is `/1.0/instances/c1`.
pub fn path(parts: &[&str]) -> String {
    parts.iter().fold("/1.0".to_string(), |path, part| {
        format!("{path}/{}", escape(part))
    })
}

/// Escapes what may not stand in a part of a path or in a query's value.
pub fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.~:@".contains(&byte) {
            escaped.push(char::from(byte));
        } else {
            escaped.push_str(&format!("%{byte:02X}"));
        }
    }
    escaped
}

fn json<B: Serialize + ?Sized>(body: &B) -> Result<Bytes> {
    let bytes = serde_json::to_vec(body).map_err(|error| Error::Answer {
        url: "request".into(),
        reason: error.to_string(),
    })?;
    Ok(Bytes::from(bytes))
}

/// Host and port of an HTTPS URL.
pub(crate) fn split_url(url: &str) -> Result<(String, u16)> {
    let wrong = || Error::Url(url.to_string());
    let rest = url.strip_prefix("https://").ok_or_else(wrong)?;
    let authority = rest.split(['/', '?']).next().unwrap_or_default();
    let authority = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    let (host, port) = match authority.strip_prefix('[') {
        Some(bracketed) => {
            let (host, rest) = bracketed.split_once(']').ok_or_else(wrong)?;
            (host, rest.strip_prefix(':'))
        }
        None => match authority.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (authority, None),
        },
    };
    if host.is_empty() {
        return Err(wrong());
    }
    let port = port.map_or(Ok(443), |port| port.parse().map_err(|_| wrong()))?;
    Ok((host.to_string(), port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_escaped_in_paths() {
        assert_eq!(
            path(&["images", "aliases", "debian/12"]),
            "/1.0/images/aliases/debian%2F12"
        );
    }

    #[test]
    fn project_and_target_are_added_unless_named() {
        let client = Client::unix("/x").in_project("a b").on_target("n1");
        assert_eq!(
            client.scoped("/1.0/x?recursion=1"),
            "/1.0/x?recursion=1&project=a%20b&target=n1"
        );
        assert_eq!(client.scoped("/1.0/x?project=p"), "/1.0/x?project=p&target=n1");
        assert_eq!(client.in_project("").on_target("").scoped("/1.0"), "/1.0");
    }

    #[test]
    fn urls_are_taken_apart() {
        assert_eq!(split_url("https://[::1]:8443").unwrap(), ("::1".into(), 8443));
        assert_eq!(
            split_url("https://u:p@example.com/some/path").unwrap(),
            ("example.com".into(), 443)
        );
        assert!(split_url("http://example.com").is_err());
    }
}
