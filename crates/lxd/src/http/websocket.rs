//! Websockets: the handshake, and both directions as the use cases want them.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures::{Sink, SinkExt as _, StreamExt as _};
use http::header::{
    CONNECTION, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION, UPGRADE,
    X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderMap, HeaderValue, StatusCode};
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use lxd_core::operations::{Message, Socket};
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::{Message as Frame, Role, WebSocketConfig};
use tokio_tungstenite::{WebSocketStream, tungstenite};

use super::answer::{self, Answer};
use super::request::Call;

/// The largest message that is accepted, in bytes. Clients send at most 128 KiB at a time.
const MESSAGE_LIMIT: usize = 16 << 20;

/// How often an idle listener is asked whether it is still there.
const PING: Duration = Duration::from_secs(30);

/// A websocket of the daemon's side.
pub(crate) type Connection = WebSocketStream<TokioIo<Upgraded>>;

/// An upgrade that was granted and will happen once the answer is sent.
pub(crate) struct Handshake {
    answer: Answer,
    upgrade: OnUpgrade,
}

/// Checks the handshake of a request.
///
/// # Errors
/// The answer to send instead: the request is no websocket handshake.
pub(crate) fn handshake(call: &mut Call) -> Result<Handshake, Box<Answer>> {
    handshake_of(&call.headers, &mut call.upgrade)
}

/// As [`handshake`], of a request that is no [`Call`].
///
/// # Errors
/// As [`handshake`].
pub(crate) fn handshake_of(
    headers: &HeaderMap,
    upgrade: &mut Option<OnUpgrade>,
) -> Result<Handshake, Box<Answer>> {
    let key = if is_handshake(headers) {
        headers.get(SEC_WEBSOCKET_KEY)
    } else {
        None
    };
    let (Some(key), Some(upgrade)) = (key, upgrade.take()) else {
        let mut refusal = answer::bytes("text/plain; charset=utf-8", "Bad Request\n");
        *refusal.status_mut() = StatusCode::BAD_REQUEST;
        let headers = refusal.headers_mut();
        headers.insert(SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
        headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        return Err(Box::new(refusal));
    };
    let accept = derive_accept_key(key.as_bytes());
    let mut answer = answer::bare(StatusCode::SWITCHING_PROTOCOLS);
    answer
        .headers_mut()
        .insert(UPGRADE, HeaderValue::from_static("websocket"));
    answer
        .headers_mut()
        .insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    answer::set_header(&mut answer, SEC_WEBSOCKET_ACCEPT, &accept);
    Ok(Handshake { answer, upgrade })
}

impl Handshake {
    /// Gives the answer to send, and calls back with the websocket once the client has it.
    pub(crate) fn then<F, Fut>(self, serve: F) -> Answer
    where
        F: FnOnce(Connection) -> Fut + Send + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        let upgrade = self.upgrade;
        tokio::spawn(async move {
            match upgrade.await {
                Ok(upgraded) => {
                    let config = WebSocketConfig::default()
                        .read_buffer_size(32 << 10)
                        .write_buffer_size(32 << 10)
                        .max_message_size(Some(MESSAGE_LIMIT));
                    let io = TokioIo::new(upgraded);
                    serve(WebSocketStream::from_raw_socket(io, Role::Server, Some(config)).await).await;
                }
                Err(error) => tracing::debug!(err = %error, "Failed upgrading to a websocket"),
            }
        });
        self.answer
    }
}

/// Both directions of a websocket, as operations take them over.
pub(crate) fn socket(connection: Connection) -> Socket {
    let (sender, receiver) = connection.split();
    let receiver = receiver.filter_map(|frame| async move {
        match frame {
            Ok(Frame::Text(text)) => Some(Ok(Message::Text(text.as_str().to_owned()))),
            Ok(Frame::Binary(data)) => Some(Ok(Message::Binary(data))),
            Ok(Frame::Close(_)) => Some(Ok(Message::Close)),
            Ok(Frame::Ping(_) | Frame::Pong(_) | Frame::Frame(_)) => None,
            Err(error) => Some(Err(io::Error::other(error))),
        }
    });
    let sender = Guarded(Some(sender)).with(|message: Message| async move {
        Ok::<_, io::Error>(match message {
            Message::Text(text) => Frame::text(text),
            Message::Binary(data) => Frame::Binary(data),
            Message::Close => Frame::Close(None),
        })
    });
    Socket {
        receiver: Box::pin(receiver),
        sender: Box::pin(sender),
    }
}

/// A sink that stays broken once it is: others may not be used after their first error.
struct Guarded<S>(Option<S>);

impl<S: Sink<Frame, Error = tungstenite::Error> + Unpin> Guarded<S> {
    fn ask(
        &mut self,
        question: impl FnOnce(Pin<&mut S>) -> Poll<Result<(), tungstenite::Error>>,
    ) -> Poll<io::Result<()>> {
        let Some(sink) = &mut self.0 else {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        };
        let answer = question(Pin::new(sink));
        if let Poll::Ready(Err(_)) = answer {
            self.0 = None;
        }
        answer.map_err(io::Error::other)
    }
}

impl<S: Sink<Frame, Error = tungstenite::Error> + Unpin> Sink<Frame> for Guarded<S> {
    type Error = io::Error;

    fn poll_ready(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.ask(|sink| sink.poll_ready(cx))
    }

    fn start_send(mut self: Pin<&mut Self>, frame: Frame) -> io::Result<()> {
        match self.ask(|sink| Poll::Ready(sink.start_send(frame))) {
            Poll::Ready(done) => done,
            Poll::Pending => Ok(()),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.ask(|sink| sink.poll_flush(cx))
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.ask(|sink| sink.poll_close(cx))
    }
}

/// Sends texts to a client until they end, the client goes away, or it does not take them.
pub(crate) async fn send_all<S>(connection: Connection, mut texts: S)
where
    S: futures::Stream<Item = Bytes> + Unpin,
{
    let (mut sender, mut receiver) = connection.split();
    let mut ping = tokio::time::interval(PING);
    ping.reset();
    loop {
        let frame = tokio::select! {
            text = texts.next() => match text.and_then(|text| text.try_into().ok()) {
                Some(text) => Frame::Text(text),
                None => break,
            },
            frame = receiver.next() => match frame {
                Some(Ok(Frame::Close(_)) | Err(_)) | None => break,
                Some(Ok(_)) => continue,
            },
            _ = ping.tick() => Frame::Ping(Bytes::new()),
        };
        match tokio::time::timeout(PING, sender.send(frame)).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) | Err(_) => return,
        }
    }
    let _ = tokio::time::timeout(PING, sender.close()).await;
}

fn is_handshake(headers: &HeaderMap) -> bool {
    let has = |name, word: &str| {
        headers
            .get_all(name)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .any(|value| {
                value
                    .split(',')
                    .any(|part| part.trim().eq_ignore_ascii_case(word))
            })
    };
    has(UPGRADE, "websocket") && has(CONNECTION, "upgrade") && has(SEC_WEBSOCKET_VERSION, "13")
}
