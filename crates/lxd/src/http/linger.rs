//! Bodies that nobody read: what is left of them when the answer is known, and connections that end in the middle of one.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::HeaderValue;
use http::header::CONNECTION;
use http_body_util::BodyExt as _;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, ReadBuf};
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::answer::Answer;

/// Bytes of a body without a reader that are worth reading, so that the connection can be used again.
const DRAIN_LIMIT: u64 = 256 << 10;

/// How long such a body may take to arrive.
const DRAIN_PATIENCE: Duration = Duration::from_secs(2);

/// How long a connection that ends in the middle of a body still listens, so that its client gets to read the answer
/// instead of an error about what it sends.
const LINGER: Duration = Duration::from_secs(1);

/// The body of a request on loan: what its borrower leaves unread goes back to the lender.
#[derive(Debug)]
pub(crate) struct Lent {
    body: Option<Incoming>,
    back: Option<oneshot::Sender<Incoming>>,
}

/// Who gets back what is left of a body.
#[derive(Debug)]
pub(super) struct Lender(oneshot::Receiver<Incoming>);

/// Lends a body.
pub(super) fn lend(body: Incoming) -> (Lent, Lender) {
    let (back, rest) = oneshot::channel();
    let lent = Lent {
        body: Some(body),
        back: Some(back),
    };
    (lent, Lender(rest))
}

impl Lender {
    /// Reads what was left of the body, so that the client's next request can be told from it. Where that is too much, the
    /// answer says that the connection ends, and `unread` is set. Bodies that are still in use are left alone, and those
    /// that the client does not send before it is asked to (`waits`).
    pub(super) async fn settle(mut self, answer: &mut Answer, waits: bool, unread: &AtomicBool) {
        let Ok(rest) = self.0.try_recv() else { return };
        if !waits && rest.size_hint().lower() <= DRAIN_LIMIT {
            let drained = timeout(DRAIN_PATIENCE, drain(rest)).await;
            if drained.unwrap_or(false) {
                return;
            }
        }
        unread.store(true, Ordering::Relaxed);
        answer
            .headers_mut()
            .insert(CONNECTION, HeaderValue::from_static("close"));
    }
}

/// Reads a body to its end; no if it is too long or breaks off.
async fn drain(mut body: Incoming) -> bool {
    let mut read = 0;
    while let Some(frame) = body.frame().await {
        let Ok(frame) = frame else { return false };
        read += frame.data_ref().map_or(0, |data| data.len() as u64);
        if read > DRAIN_LIMIT {
            return false;
        }
    }
    true
}

impl Body for Lent {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        match &mut self.body {
            Some(body) => Pin::new(body).poll_frame(cx),
            None => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body
            .as_ref()
            .map_or_else(|| SizeHint::with_exact(0), Body::size_hint)
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        if let (Some(body), Some(back)) = (self.body.take(), self.back.take())
            && !body.is_end_stream()
        {
            // The lender may be gone with the connection.
            let _ = back.send(body);
        }
    }
}

/// A connection that goes on to listen for a moment after its end, if a body was left unread on it: closing it at once
/// would make the client's system throw away the answer.
pub(super) struct Lingering<S: AsyncRead + Unpin + Send + 'static> {
    stream: Option<S>,
    unread: Arc<AtomicBool>,
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send + 'static> Lingering<S> {
    pub(super) fn new(stream: S, unread: Arc<AtomicBool>) -> Self {
        Self {
            stream: Some(stream),
            unread,
        }
    }

    fn stream(&mut self) -> io::Result<Pin<&mut S>> {
        let stream = self.stream.as_mut().map(Pin::new);
        stream.ok_or_else(|| io::ErrorKind::NotConnected.into())
    }
}

impl<S: AsyncRead + Unpin + Send + 'static> Drop for Lingering<S> {
    fn drop(&mut self) {
        let Some(stream) = self.stream.take() else { return };
        if !self.unread.load(Ordering::Relaxed) {
            return;
        }
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(timeout(LINGER, listen(stream)));
        }
    }
}

/// Throws away what comes until the other end has no more to say.
async fn listen<S: AsyncRead + Unpin>(mut stream: S) {
    let mut block = vec![0; 64 << 10];
    while matches!(stream.read(&mut block).await, Ok(n) if n > 0) {}
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send + 'static> AsyncRead for Lingering<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.stream()?.poll_read(cx, into)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send + 'static> AsyncWrite for Lingering<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.stream()?.poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream()?.poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream()?.poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.stream()?.poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.as_ref().is_some_and(AsyncWrite::is_write_vectored)
    }
}
