//! Websockets: events, and the streams of commands and consoles.

use futures::{SinkExt, StreamExt};
use lxd_api::events::Event;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;

pub use tokio_tungstenite::tungstenite::{Error as WebSocketError, Message};

use crate::client::{Client, path};
use crate::transport::Stream;
use crate::{Error, Result};

/// A two-way stream of messages with the server.
pub type WebSocket = WebSocketStream<Stream>;

/// The server's events, as they happen.
#[derive(Debug)]
pub struct Events {
    socket: WebSocket,
    url: String,
}

/// Why a websocket broke, in words for people: TLS says at length that the other end has gone without a word.
pub fn broken(error: &WebSocketError) -> String {
    match error {
        WebSocketError::Io(source) if source.kind() == std::io::ErrorKind::UnexpectedEof => {
            "unexpected EOF".to_owned()
        }
        other => other.to_string(),
    }
}

impl Client {
    /// Opens a websocket at a path, with project and target added like in other requests.
    pub async fn websocket(&self, path: &str) -> Result<WebSocket> {
        let (stream, host, target) = self.connect(path).await?;
        let url = format!("ws://{host}{target}");
        let failed = |reason: String| Error::WebSocket {
            url: url.clone(),
            reason,
        };
        let request = url
            .as_str()
            .into_client_request()
            .map_err(|error| failed(error.to_string()))?;
        match tokio_tungstenite::client_async(request, stream).await {
            Ok((socket, _)) => Ok(socket),
            Err(tungstenite::Error::Http(response)) => Err(failed(format!("status {}", response.status()))),
            Err(error) => Err(failed(broken(&error))),
        }
    }
}

impl Events {
    /// Starts to listen; no kinds means all of them.
    pub async fn open(client: &Client, kinds: &[&str]) -> Result<Self> {
        let mut at = path(&["events"]);
        if !kinds.is_empty() {
            at = format!("{at}?type={}", kinds.join(","));
        }
        Self::open_at(client, &at).await
    }

    /// Starts to listen to the events of all projects.
    pub async fn open_everywhere(client: &Client, kinds: &[&str]) -> Result<Self> {
        let kinds = if kinds.is_empty() {
            String::new()
        } else {
            format!("&type={}", kinds.join(","))
        };
        Self::open_at(client, &format!("{}?all-projects=true{kinds}", path(&["events"]))).await
    }

    async fn open_at(client: &Client, at: &str) -> Result<Self> {
        Ok(Self {
            socket: client.websocket(at).await?,
            url: client.url(at),
        })
    }

    /// The next event; none when the server closed the stream.
    pub async fn next(&mut self) -> Result<Option<Event>> {
        let failed = |reason: String| Error::WebSocket {
            url: self.url.clone(),
            reason,
        };
        loop {
            match self.socket.next().await {
                Some(Ok(Message::Text(text))) => {
                    return serde_json::from_str(&text)
                        .map(Some)
                        .map_err(|error| failed(error.to_string()));
                }
                Some(Ok(Message::Close(_))) | None => return Ok(None),
                Some(Ok(_)) => {}
                Some(Err(error)) => return Err(failed(broken(&error))),
            }
        }
    }

    /// Ends the stream.
    pub async fn close(mut self) {
        // The server notices a dropped connection as well.
        let _ = self.socket.send(Message::Close(None)).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_has_gone_is_told_in_two_words() {
        let long = "peer closed connection without sending TLS close_notify: https://example.org/why";
        let source = std::io::Error::new(std::io::ErrorKind::UnexpectedEof, long);
        assert_eq!(broken(&WebSocketError::Io(source)), "unexpected EOF");
        assert_eq!(
            broken(&WebSocketError::AlreadyClosed),
            WebSocketError::AlreadyClosed.to_string()
        );
    }
}
