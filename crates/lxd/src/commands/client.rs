//! A client of the daemon on this host, as small as the sub-commands need it.

use std::future::Future;
use std::io;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use lxd_api::envelope::{AnyResponse, ResponseType};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::net::UnixStream;

use crate::daemon::log::errno_text;

/// Why the daemon gave no answer, or which one.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ClientError {
    /// Nobody listens.
    #[error("{method} \"http://unix.socket{path}\": dial unix {}: connect: {}", socket.display(), errno_text(.reason))]
    Connect {
        /// The method, spelled `Get`.
        method: String,
        /// The path.
        path: String,
        /// The socket.
        socket: PathBuf,
        /// Why not; part of the text.
        reason: io::Error,
    },
    /// The connection broke.
    #[error("{method} \"http://unix.socket{path}\": {reason}")]
    Broken {
        /// The method, spelled `Get`.
        method: String,
        /// The path.
        path: String,
        /// Why; part of the text.
        reason: hyper::Error,
    },
    /// The answer makes no sense.
    #[error("The daemon's answer to {path:?} is not understood: {reason}")]
    Answer {
        /// The path.
        path: String,
        /// Why; part of the text.
        reason: serde_json::Error,
    },
    /// The request can't be written down.
    #[error("Invalid request: {0}")]
    Request(String),
    /// The daemon refused or failed.
    #[error("{text}")]
    Refused {
        /// The HTTP status.
        code: u16,
        /// What the daemon said.
        text: String,
    },
}

impl ClientError {
    /// Whether the daemon said that the thing does not exist.
    pub(crate) fn is_not_found(&self) -> bool {
        matches!(self, Self::Refused { code: 404, .. })
    }
}

impl From<ClientError> for String {
    fn from(error: ClientError) -> Self {
        error.to_string()
    }
}

/// A client of the daemon of a state directory.
pub(crate) struct Client {
    socket: PathBuf,
}

impl Client {
    /// A client; nothing is connected yet.
    pub(crate) fn new(dir: &Path) -> Self {
        Self {
            socket: dir.join("unix.socket"),
        }
    }

    /// Asks for something.
    pub(crate) async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, ClientError> {
        let metadata = self.request("GET", path, None).await?;
        serde_json::from_value(metadata).map_err(|reason| ClientError::Answer {
            path: path.into(),
            reason,
        })
    }

    /// Sends something, and waits for the operation if the daemon makes one of it.
    pub(crate) async fn send(
        &self,
        method: &str,
        path: &str,
        body: &impl Serialize,
    ) -> Result<Value, ClientError> {
        let body = serde_json::to_vec(body).map_err(|error| ClientError::Request(error.to_string()))?;
        self.request(method, path, Some(body)).await
    }

    async fn request(&self, method: &str, path: &str, body: Option<Vec<u8>>) -> Result<Value, ClientError> {
        let answer = self.exchange(method, path, body).await?;
        match answer.r#type {
            ResponseType::Sync => Ok(answer.metadata),
            ResponseType::Error => Err(ClientError::Refused {
                code: answer.error_code,
                text: answer.error,
            }),
            ResponseType::Async => {
                let ended = self
                    .exchange("GET", &format!("{}/wait", answer.operation), None)
                    .await?;
                let error = ended.metadata["err"].as_str().unwrap_or_default();
                if ended.metadata["status_code"] == 200 {
                    Ok(ended.metadata)
                } else {
                    Err(ClientError::Refused {
                        code: 400,
                        text: error.to_owned(),
                    })
                }
            }
        }
    }

    async fn exchange(
        &self,
        method: &str,
        path: &str,
        body: Option<Vec<u8>>,
    ) -> Result<AnyResponse, ClientError> {
        let spelled = method[..1].to_owned() + &method[1..].to_lowercase();
        let stream = UnixStream::connect(&self.socket)
            .await
            .map_err(|reason| ClientError::Connect {
                method: spelled.clone(),
                path: path.into(),
                socket: self.socket.clone(),
                reason,
            })?;
        let broken = |reason| ClientError::Broken {
            method: spelled.clone(),
            path: path.into(),
            reason,
        };
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
        tokio::spawn(connection);
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", "unix.socket")
            .header("content-type", "application/json")
            .body(Full::new(Bytes::from(body.unwrap_or_default())))
            .map_err(|error| ClientError::Request(error.to_string()))?;
        let answer = sender.send_request(request).await.map_err(broken)?;
        let bytes = answer.into_body().collect().await.map_err(broken)?.to_bytes();
        serde_json::from_slice(&bytes).map_err(|reason| ClientError::Answer {
            path: path.into(),
            reason,
        })
    }
}

/// Runs the asynchronous part of a command.
pub(crate) fn block_on<T>(work: impl Future<Output = Result<T, String>>) -> Result<T, String> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| format!("Failed to start: {error}"))?;
    runtime.block_on(work)
}
