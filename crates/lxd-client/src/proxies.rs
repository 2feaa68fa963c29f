//! Proxies: which server is reached through which.

use std::fmt::Write as _;
use std::io;
use std::net::IpAddr;
use std::sync::Arc;

use hyper_util::client::proxy::matcher::{Intercept, Matcher};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::transport::{in_time, tcp};

/// The most that a proxy may answer to CONNECT, in bytes.
const ANSWER: usize = 16 << 10;

/// Which servers are reached through a proxy. This host is always reached directly.
#[derive(Debug, Clone)]
pub struct Proxies(Arc<Matcher>);

/// A proxy that a request goes through.
#[derive(Debug)]
pub(crate) struct Proxy(Intercept);

impl Default for Proxies {
    /// What the environment says (`HTTPS_PROXY`, `HTTP_PROXY`, `NO_PROXY`).
    fn default() -> Self {
        Self::new("", "", "")
    }
}

impl Proxies {
    /// The proxies for `http` and `https` URLs, and the hosts that need none, separated by commas. Where one of them is
    /// empty the environment says.
    pub fn new(http: &str, https: &str, ignored: &str) -> Self {
        let or_environment = |given: &str, names: [&str; 2]| match given {
            "" => names
                .into_iter()
                .find_map(|name| std::env::var(name).ok().filter(|value| !value.is_empty()))
                .unwrap_or_default(),
            given => given.to_owned(),
        };
        let matcher = Matcher::builder()
            .http(or_environment(http, ["HTTP_PROXY", "http_proxy"]))
            .https(or_environment(https, ["HTTPS_PROXY", "https_proxy"]))
            .no(or_environment(ignored, ["NO_PROXY", "no_proxy"]));
        Self(Arc::new(matcher.build()))
    }

    /// The proxy for a server, if it has one.
    pub(crate) fn of(&self, scheme: &str, host: &str, port: u16) -> Option<Proxy> {
        let is_here = host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback());
        if is_here {
            return None;
        }
        let host = if host.contains(':') {
            format!("[{host}]")
        } else {
            host.to_owned()
        };
        let url = format!("{scheme}://{host}:{port}/").parse().ok()?;
        self.0.intercept(&url).map(Proxy)
    }
}

impl Proxy {
    /// Connects to the proxy.
    pub(crate) async fn connect(&self) -> io::Result<TcpStream> {
        let uri = self.0.uri();
        if uri.scheme_str() != Some("http") {
            let text = format!("proxies with URLs as {uri} are not supported: only http://");
            return Err(io::Error::new(io::ErrorKind::Unsupported, text));
        }
        let host = uri.host().unwrap_or_default().trim_matches(['[', ']']);
        tcp(host, uri.port_u16().unwrap_or(80)).await
    }

    /// Connects to a server through the proxy.
    pub(crate) async fn tunnel(&self, authority: &str) -> io::Result<TcpStream> {
        let mut stream = self.connect().await?;
        let mut request = format!("CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n");
        if let Some(auth) = self.0.basic_auth().and_then(|auth| auth.to_str().ok()) {
            // Writing to a String can't fail.
            let _ = write!(request, "Proxy-Authorization: {auth}\r\n");
        }
        request.push_str("\r\n");
        in_time(async {
            stream.write_all(request.as_bytes()).await?;
            judge(&head(&mut stream).await?)
        })
        .await?;
        Ok(stream)
    }
}

/// Reads the head of an answer and not a byte more.
async fn head(stream: &mut TcpStream) -> io::Result<Vec<u8>> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        if head.len() > ANSWER {
            return Err(io::Error::other("the proxy's answer is too long"));
        }
        head.push(stream.read_u8().await?);
    }
    Ok(head)
}

fn judge(head: &[u8]) -> io::Result<()> {
    let text = String::from_utf8_lossy(head);
    let line = text.lines().next().unwrap_or_default();
    match line.split_once(' ') {
        Some((version, status)) if version.starts_with("HTTP/1.") && status.starts_with('2') => Ok(()),
        Some((_, status)) => Err(io::Error::other(status.trim().to_owned())),
        None => Err(io::Error::other("the proxy does not speak HTTP")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_host_and_the_ignored_are_reached_directly() {
        let proxies = Proxies::new("http://p:3128", "http://u:w@q:3129", "example.com,10.0.0.0/8");
        let of = |scheme, host| {
            proxies
                .of(scheme, host, 443)
                .map(|proxy| proxy.0.uri().to_string())
        };
        assert_eq!(of("http", "a.org").unwrap(), "http://p:3128/");
        assert_eq!(of("https", "a.org").unwrap(), "http://q:3129/");
        assert_eq!(of("https", "fd00::1").unwrap(), "http://q:3129/");
        for host in [
            "localhost",
            "127.0.0.2",
            "::1",
            "example.com",
            "x.example.com",
            "10.1.2.3",
        ] {
            assert_eq!(of("https", host), None, "{host}");
        }
    }

    #[tokio::test]
    async fn a_tunnel_is_asked_for_and_may_be_refused() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let proxy = tokio::spawn(async move {
            let mut asked = Vec::new();
            for answer in [
                "HTTP/1.1 200 Fine\r\nX: y\r\n\r\nhello",
                "HTTP/1.1 403 Forbidden\r\n\r\n",
            ] {
                let (mut stream, _) = listener.accept().await.unwrap();
                asked.push(String::from_utf8(head(&mut stream).await.unwrap()).unwrap());
                stream.write_all(answer.as_bytes()).await.unwrap();
            }
            asked
        });
        let proxies = Proxies::new("", &format!("http://u:w@{address}"), "");
        let through = proxies.of("https", "images.example", 443).unwrap();
        let mut stream = through.tunnel("images.example:443").await.unwrap();
        let mut hello = [0; 5];
        stream.read_exact(&mut hello).await.unwrap();
        assert_eq!(&hello, b"hello");
        let refused = through.tunnel("images.example:443").await.unwrap_err();
        assert_eq!(refused.to_string(), "403 Forbidden");
        let asked = proxy.await.unwrap();
        assert_eq!(
            asked[0],
            "CONNECT images.example:443 HTTP/1.1\r\nHost: images.example:443\r\nProxy-Authorization: Basic dTp3\r\n\r\n"
        );
    }
}
