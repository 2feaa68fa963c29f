//! Connections that are kept and used again.

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::combinators::UnsyncBoxBody;
use hyper::body::Incoming;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;

use crate::transport::Address;
use crate::{Error, Result};

/// What requests carry.
pub(crate) type Body = UnsyncBoxBody<Bytes, std::io::Error>;

/// Open connections to one server.
#[derive(Debug)]
pub(crate) struct Connections {
    address: Address,
    /// What error texts name when the server can't be reached; else what was asked for.
    first: Option<&'static str>,
    idle: Mutex<Vec<SendRequest<Body>>>,
}

impl Connections {
    /// No connection yet, to a server of the API.
    pub(crate) fn new(address: Address) -> Self {
        Self {
            // A server that can't be reached can't be reached for any path: the reference's texts name the first one.
            first: Some("/1.0"),
            ..Self::web(address)
        }
    }

    /// No connection yet, to a web server.
    pub(crate) fn web(address: Address) -> Self {
        Self {
            address,
            first: None,
            idle: Mutex::default(),
        }
    }

    /// The server's address.
    pub(crate) fn address(&self) -> &Address {
        &self.address
    }

    /// Sends a request over a kept connection, or over a new one where none is free.
    pub(crate) async fn send(&self, request: Request<Body>) -> Result<Response<Incoming>> {
        let method = verb(request.method());
        let base = self.address.base();
        let url = match request.uri().scheme() {
            Some(_) => request.uri().to_string(),
            None => format!("{base}{}", request.uri()),
        };
        let mut request = request;
        if let Some(mut sender) = self.take_idle() {
            match sender.try_send_request(request).await {
                Ok(response) => {
                    self.idle.lock().push(sender);
                    return Ok(response);
                }
                // The server closed the kept connection meanwhile; the request was not sent.
                Err(mut error) => match error.take_message() {
                    Some(unsent) => request = unsent,
                    None => return Err(broken(method, &url, &error.into_error())),
                },
            }
        }
        let stream = match self.first {
            Some(first) => self.address.connect("Get", &format!("{base}{first}")).await?,
            None => self.address.connect(method, &url).await?,
        };
        let (mut sender, connection) = handshake(TokioIo::new(stream))
            .await
            .map_err(|error| broken(method, &url, &error))?;
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "connection to the server ended");
            }
        });
        let response = sender
            .send_request(request)
            .await
            .map_err(|error| broken(method, &url, &error))?;
        self.idle.lock().push(sender);
        Ok(response)
    }

    fn take_idle(&self) -> Option<SendRequest<Body>> {
        let mut idle = self.idle.lock();
        idle.retain(|sender| !sender.is_closed());
        let at = idle.iter().position(SendRequest::is_ready)?;
        Some(idle.swap_remove(at))
    }
}

/// A method as the reference's error texts spell it.
pub(crate) fn verb(method: &http::Method) -> &'static str {
    match method.as_str() {
        "POST" => "Post",
        "PUT" => "Put",
        "PATCH" => "Patch",
        "DELETE" => "Delete",
        "HEAD" => "Head",
        _ => "Get",
    }
}

fn broken(method: &'static str, url: &str, error: &hyper::Error) -> Error {
    let mut reason = error.to_string();
    if let Some(source) = std::error::Error::source(error) {
        reason = format!("{reason}: {source}");
    }
    Error::Broken {
        method,
        url: url.into(),
        reason,
    }
}
