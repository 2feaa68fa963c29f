//! One connection: who is at the other end, and its requests, one after the other.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::sync::CancellationToken;

use super::linger::Lingering;
use super::service::{Edge, serve};

/// How long a client may take to send the head of a request, or let a connection rest between two.
const HEAD_PATIENCE: Duration = Duration::from_mins(2);

/// The largest head of a request, in bytes. The properties of an image may travel in a header.
const HEAD_LIMIT: usize = 256 << 10;

/// Who is at the other end of a connection.
#[derive(Debug)]
pub(crate) enum Peer {
    /// A process on this host.
    Unix {
        /// Its user.
        uid: u32,
        /// The user's name, or number where it has none.
        username: String,
    },
    /// A host on the network.
    Tls {
        /// Its address.
        address: SocketAddr,
        /// The certificate that it showed, in DER.
        certificate: Option<Vec<u8>>,
    },
}

/// Answers the requests of a connection until either side ends it, or `closing` asks for the end after the present
/// request.
pub(super) async fn run<S>(edge: Arc<Edge>, peer: Peer, stream: S, closing: CancellationToken)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let peer = Arc::new(peer);
    let unread = Arc::new(AtomicBool::new(false));
    let stream = Lingering::new(stream, Arc::clone(&unread));
    let service = {
        let (edge, peer) = (Arc::clone(&edge), Arc::clone(&peer));
        service_fn(move |request| serve(Arc::clone(&edge), Arc::clone(&peer), Arc::clone(&unread), request))
    };
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .title_case_headers(true)
        .header_read_timeout(HEAD_PATIENCE)
        .max_buf_size(HEAD_LIMIT)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    let mut connection = std::pin::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = closing.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(peer = ?peer, err = %error, "Connection ended");
    }
}
