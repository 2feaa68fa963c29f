//! Where a server is reached: a unix socket, TLS over TCP, or for files of web servers TCP alone.

use std::io;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use rustls_pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::proxies::Proxies;
use crate::tls;
use crate::{Error, Result};

/// How long a connection may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// The address of a server.
#[derive(Debug, Clone)]
pub(crate) enum Address {
    /// A unix socket.
    Unix(PathBuf),
    /// A host with a port, and how to secure the connection.
    Https {
        host: String,
        port: u16,
        tls: Arc<rustls::ClientConfig>,
        proxies: Proxies,
    },
    /// A host with a port, for what needs no secrecy.
    Http {
        host: String,
        port: u16,
        proxies: Proxies,
    },
}

/// A connection, secured or local.
#[derive(Debug)]
pub enum Stream {
    /// A unix socket.
    Unix(UnixStream),
    /// TLS over TCP.
    Tls(Box<TlsStream<TcpStream>>),
    /// TCP alone.
    Plain(TcpStream),
}

impl Address {
    /// The URL's part before the path, as error texts show it.
    pub(crate) fn base(&self) -> String {
        match self {
            Self::Unix(_) => "http://unix.socket".into(),
            Self::Https { host, port, .. } => format!("https://{}", authority(host, *port)),
            Self::Http { host, port, .. } => format!("http://{}", authority(host, *port)),
        }
    }

    /// The value of the Host header.
    pub(crate) fn host(&self) -> String {
        let base = self.base();
        base.split("://").nth(1).unwrap_or(&base).to_string()
    }

    /// Opens a connection; `method` and `url` are for the error's text.
    pub(crate) async fn connect(&self, method: &'static str, url: &str) -> Result<Stream> {
        let unreachable = |place: String, source| Error::Unreachable {
            method,
            url: url.into(),
            place,
            source,
        };
        match self {
            Self::Unix(path) => match UnixStream::connect(path).await {
                Ok(stream) => Ok(Stream::Unix(stream)),
                Err(error) => Err(unreachable(format!("unix {}", path.display()), error)),
            },
            Self::Https {
                host,
                port,
                tls,
                proxies,
            } => {
                let proxy = proxies.of("https", host, *port);
                let stream = match &proxy {
                    Some(proxy) => proxy.tunnel(&authority(host, *port)).await,
                    None => tcp(host, *port).await,
                };
                let stream = stream.map_err(|error| unreachable(format!("tcp {}", self.host()), error))?;
                let untrusted = |reason: String| Error::Untrusted {
                    method,
                    url: url.into(),
                    reason,
                };
                let name =
                    ServerName::try_from(host.clone()).map_err(|error| untrusted(error.to_string()))?;
                let stream = TlsConnector::from(tls.clone()).connect(name, stream);
                let stream = in_time(stream).await;
                stream
                    .map(|stream| Stream::Tls(Box::new(stream)))
                    .map_err(|error| untrusted(tls::reason(&error)))
            }
            Self::Http { host, port, proxies } => {
                let stream = match proxies.of("http", host, *port) {
                    Some(proxy) => proxy.connect().await,
                    None => tcp(host, *port).await,
                };
                let stream = stream.map_err(|error| unreachable(format!("tcp {}", self.host()), error))?;
                Ok(Stream::Plain(stream))
            }
        }
    }

    /// Whether requests go to a proxy, which must be told the whole URL.
    pub(crate) fn is_proxied(&self) -> bool {
        matches!(self, Self::Http { host, port, proxies } if proxies.of("http", host, *port).is_some())
    }
}

/// Connects to a host.
pub(crate) async fn tcp(host: &str, port: u16) -> io::Result<TcpStream> {
    let stream = in_time(TcpStream::connect((host, port))).await?;
    // Small requests go back and forth: waiting for more to send only costs time.
    let _ = stream.set_nodelay(true);
    Ok(stream)
}

pub(crate) async fn in_time<T>(work: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    let late = |_| Err(io::Error::new(io::ErrorKind::TimedOut, "i/o timeout"));
    tokio::time::timeout(PATIENCE, work).await.unwrap_or_else(late)
}

fn authority(host: &str, port: u16) -> String {
    if host.contains(':') {
        format!("[{host}]:{port}")
    } else {
        format!("{host}:{port}")
    }
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Unix(stream) => Pin::new(stream).poll_read(cx, buf),
            Self::Tls(stream) => Pin::new(stream).poll_read(cx, buf),
            Self::Plain(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Unix(stream) => Pin::new(stream).poll_write(cx, buf),
            Self::Tls(stream) => Pin::new(stream).poll_write(cx, buf),
            Self::Plain(stream) => Pin::new(stream).poll_write(cx, buf),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Unix(stream) => Pin::new(stream).poll_flush(cx),
            Self::Tls(stream) => Pin::new(stream).poll_flush(cx),
            Self::Plain(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Unix(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
