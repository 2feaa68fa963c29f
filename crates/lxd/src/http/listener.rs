//! Listeners: the unix socket, and the network address that can change while the daemon runs.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use lxd_core::server::{ConfigChange, ConfigHook};
use parking_lot::RwLock;
use rustix::io::Errno;
use rustls::ServerConfig;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpSocket, TcpStream, UnixListener, UnixStream};
use tokio::sync::Mutex;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::connection::{self, Peer};
use super::service::Edge;
use crate::daemon::users;

/// The key of the network address.
pub(crate) const HTTPS_ADDRESS: &str = "core.https_address";

/// The port of network addresses that name none.
const DEFAULT_PORT: u16 = 8443;

/// How many connections may wait to be accepted.
const BACKLOG: u32 = 4096;

/// Bytes that the kernel keeps for a local client that is behind (twice this, with its own bookkeeping). With its usual fifth of a
/// megabyte, a client that writes out what a program prints waits for the daemon whenever others have the processors.
const AHEAD: usize = 2 << 20;

/// How long a client may take for the TLS handshake.
const HANDSHAKE_PATIENCE: Duration = Duration::from_secs(15);

/// How long accepting rests after it failed, so that running out of file descriptors is no busy loop.
const REST: Duration = Duration::from_millis(100);

/// Why a network address can't be listened on. The texts are the reference's.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ListenError {
    /// Not an address.
    #[error("cannot set 'core.https_address' to '{0}': Couldn't resolve {host:?}", host = host(.0))]
    Address(String),
    /// The kernel refused.
    #[error("Cannot listen on network HTTPS socket {address:?}: listen tcp {address}: bind: {}", words(.reason))]
    Bind {
        /// The address.
        address: String,
        /// What the kernel said; part of the text.
        reason: io::Error,
    },
}

/// An address without its port.
fn host(address: &str) -> &str {
    match address.rsplit_once(':') {
        Some((host, port)) if port.parse::<u16>().is_ok() => host,
        _ => address,
    }
}

impl ListenError {
    fn is_taken(&self) -> bool {
        matches!(self, Self::Bind { reason, .. } if reason.kind() == io::ErrorKind::AddrInUse)
    }
}

/// All listeners of the daemon and the connections that came through them.
pub(crate) struct Listeners {
    edge: Arc<Edge>,
    tls: RwLock<Arc<ServerConfig>>,
    https: Mutex<Option<Https>>,
    connections: TaskTracker,
    closing: CancellationToken,
}

/// The network listener.
struct Https {
    /// The address, as it is configured.
    address: String,
    end: CancellationToken,
    task: JoinHandle<()>,
}

impl Listeners {
    /// No listeners yet.
    pub(crate) fn new(edge: Arc<Edge>, tls: Arc<ServerConfig>) -> Arc<Self> {
        Arc::new(Self {
            edge,
            tls: RwLock::new(tls),
            https: Mutex::default(),
            connections: TaskTracker::new(),
            closing: CancellationToken::new(),
        })
    }

    /// Serves the unix socket until the daemon stops.
    pub(crate) fn serve_unix(self: &Arc<Self>, listener: UnixListener) {
        let this = Arc::clone(self);
        self.connections.spawn(async move {
            loop {
                tokio::select! {
                    accepted = listener.accept() => match accepted {
                        Ok((stream, _)) => this.accept_unix(stream),
                        Err(error) => failed(&error).await,
                    },
                    () = this.closing.cancelled() => return,
                }
            }
        });
    }

    /// Serves a network address in place of the one that is served now; none when it is empty. Connections that are
    /// there stay. The new address is bound before the old one is given up, unless that is what keeps it from being
    /// bound (`127.0.0.1:8443` and `:8443`); if it then fails, none is served.
    ///
    /// # Errors
    /// The address is none, or is taken.
    pub(crate) async fn serve_https(self: &Arc<Self>, address: &str) -> Result<(), ListenError> {
        let mut https = self.https.lock().await;
        if https.as_ref().is_some_and(|https| https.address == address) {
            return Ok(());
        }
        if address.is_empty() {
            end(https.take()).await;
            return Ok(());
        }
        let listener = match bind(address).await {
            Err(error) if error.is_taken() && https.is_some() => {
                end(https.take()).await;
                bind(address).await?
            }
            result => result?,
        };
        let until = self.closing.child_token();
        let (this, ended) = (Arc::clone(self), until.clone());
        let task = self.connections.spawn(async move {
            loop {
                tokio::select! {
                    accepted = listener.accept() => match accepted {
                        Ok((stream, from)) => this.accept_https(stream, from),
                        Err(error) => failed(&error).await,
                    },
                    () = ended.cancelled() => return,
                }
            }
        });
        end(https.replace(Https {
            address: address.to_owned(),
            end: until,
            task,
        }))
        .await;
        Ok(())
    }

    /// Ends all listeners, and waits for the requests at work to be answered, for at most the given time.
    pub(crate) async fn close(&self, patience: Duration) {
        self.closing.cancel();
        self.connections.close();
        let _ = tokio::time::timeout(patience, self.connections.wait()).await;
    }

    fn accept_unix(&self, stream: UnixStream) {
        let Ok(credentials) = stream.peer_cred() else {
            return;
        };
        let uid = credentials.uid();
        // Who may not have more has the usual.
        let _ = rustix::net::sockopt::set_socket_send_buffer_size_force(&stream, AHEAD);
        let (edge, closing) = (Arc::clone(&self.edge), self.closing.clone());
        self.connections.spawn(async move {
            let peer = Peer::Unix {
                uid,
                username: users::name_of(uid).await,
            };
            connection::run(edge, peer, stream, closing).await;
        });
    }

    fn accept_https(&self, stream: TcpStream, address: SocketAddr) {
        let acceptor = TlsAcceptor::from(Arc::clone(&self.tls.read()));
        let (edge, closing) = (Arc::clone(&self.edge), self.closing.clone());
        self.connections.spawn(async move {
            let shake = tokio::time::timeout(HANDSHAKE_PATIENCE, handshake(acceptor, stream));
            match shake.await {
                Ok(Ok(Some(stream))) => {
                    let certificate = stream
                        .get_ref()
                        .1
                        .peer_certificates()
                        .and_then(|chain| chain.first());
                    let certificate = certificate.map(|certificate| certificate.to_vec());
                    connection::run(edge, Peer::Tls { address, certificate }, stream, closing).await;
                }
                Ok(Ok(None)) => {}
                Ok(Err(error)) => tracing::debug!(%address, err = %error, "TLS handshake failed"),
                Err(_) => tracing::debug!(%address, "TLS handshake took too long"),
            }
        });
    }
}

/// Lets the network listener follow the configuration.
pub(crate) struct Follower(pub(crate) Arc<Listeners>);

impl ConfigHook for Follower {
    fn follow<'a>(&'a self, change: &'a ConfigChange) -> BoxFuture<'a, lxd_core::Result<()>> {
        Box::pin(async move {
            let served = self.0.serve_https(change.after(HTTPS_ADDRESS)).await;
            served.map_err(|error| lxd_core::Error::internal(error.to_string()))
        })
    }
}

async fn end(https: Option<Https>) {
    if let Some(https) = https {
        https.end.cancel();
        let _ = https.task.await;
    }
}

type TlsStream = tokio_rustls::server::TlsStream<TcpStream>;

/// Shakes hands; a client that speaks plain HTTP is told so.
async fn handshake(acceptor: TlsAcceptor, mut stream: TcpStream) -> io::Result<Option<TlsStream>> {
    stream.set_nodelay(true)?;
    let mut first = [0];
    if stream.peek(&mut first).await? == 1 && first[0].is_ascii_uppercase() {
        tell_plain_http(&mut stream).await?;
        return Ok(None);
    }
    acceptor.accept(stream).await.map(Some)
}

/// Answers a client that speaks HTTP without TLS. What it has sent is read first: closing a connection with unread
/// data resets it, and the answer would be lost.
async fn tell_plain_http(stream: &mut TcpStream) -> io::Result<()> {
    let text = "HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.\n";
    let mut request = [0; 4096];
    let _ = stream.read(&mut request).await?;
    stream.write_all(text.as_bytes()).await?;
    stream.shutdown().await
}

/// Binds `host:port`, `host`, `[v6]:port`, `v6` or `:port`; no host means all addresses of both families.
async fn bind(address: &str) -> Result<TcpListener, ListenError> {
    let invalid = || ListenError::Address(address.to_owned());
    let (host, port) = split(address).ok_or_else(invalid)?;
    if host.is_empty() {
        let bound = match listen((Ipv6Addr::UNSPECIFIED, port).into()) {
            Err(error) if error.raw_os_error() == Some(Errno::AFNOSUPPORT.raw_os_error()) => {
                listen((Ipv4Addr::UNSPECIFIED, port).into())
            }
            bound => bound,
        };
        return bound.map_err(|reason| ListenError::Bind {
            address: format!(":{port}"),
            reason,
        });
    }
    let socket = match host.parse::<IpAddr>() {
        Ok(ip) => SocketAddr::new(ip, port),
        Err(_) => tokio::net::lookup_host((host, port))
            .await
            .ok()
            .and_then(|mut all| all.next())
            .ok_or_else(invalid)?,
    };
    listen(socket).map_err(|reason| ListenError::Bind {
        address: socket.to_string(),
        reason,
    })
}

fn listen(socket: SocketAddr) -> io::Result<TcpListener> {
    let listener = if socket.is_ipv6() {
        TcpSocket::new_v6()
    } else {
        TcpSocket::new_v4()
    }?;
    listener.set_reuseaddr(true)?;
    listener.bind(socket)?;
    listener.listen(BACKLOG)
}

/// The host (empty: all) and port that an address means.
fn split(address: &str) -> Option<(&str, u16)> {
    if address.parse::<Ipv6Addr>().is_ok() {
        return Some((address, DEFAULT_PORT));
    }
    let (host, port) = match address.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, port.parse().ok()?),
        _ => (address, DEFAULT_PORT),
    };
    Some((
        host.strip_prefix('[')
            .and_then(|rest| rest.strip_suffix(']'))
            .unwrap_or(host),
        port,
    ))
}

fn words(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::AddrInUse => "address already in use".into(),
        io::ErrorKind::AddrNotAvailable => "cannot assign requested address".into(),
        io::ErrorKind::PermissionDenied => "permission denied".into(),
        _ => error.to_string(),
    }
}

async fn failed(error: &io::Error) {
    tracing::warn!(err = %error, "Failed to accept a connection");
    tokio::time::sleep(REST).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_as_the_reference_reads_them() {
        for (text, wanted) in [
            ("127.0.0.1:9000", Some(("127.0.0.1", 9000))),
            ("127.0.0.1", Some(("127.0.0.1", 8443))),
            ("localhost:77", Some(("localhost", 77))),
            ("[::]:8443", Some(("::", 8443))),
            ("[::1]", Some(("::1", 8443))),
            ("::", Some(("::", 8443))),
            (":9000", Some(("", 9000))),
            ("127.0.0.1:99999", None),
            ("127.0.0.1:x", None),
        ] {
            assert_eq!(split(text), wanted, "{text}");
        }
    }

    #[tokio::test]
    async fn a_taken_address_is_an_error_that_names_it() {
        let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = taken.local_addr().unwrap().to_string();
        let error = bind(&address).await.unwrap_err().to_string();
        let wanted = format!(
            "Cannot listen on network HTTPS socket \"{address}\": listen tcp {address}: bind: address already in use"
        );
        assert_eq!(error, wanted);
    }
}
