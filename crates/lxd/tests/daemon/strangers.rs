//! Callers on the network that nobody has let in.

use std::sync::Arc;

use lxd_api::endpoints::{Access, ENDPOINTS};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, SignatureScheme};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::harness::{Answer, Daemon, parse, text};

/// Takes any certificate of the server's.
#[derive(Debug)]
struct Anything;

impl ServerCertVerifier for Anything {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![
            SignatureScheme::ECDSA_NISTP384_SHA384,
            SignatureScheme::ECDSA_NISTP256_SHA256,
        ]
    }
}

async fn ask(connector: &TlsConnector, address: &str, method: &str, path: &str) -> Answer {
    let stream = TcpStream::connect(address).await.unwrap();
    let name = ServerName::try_from("lxd").unwrap();
    let mut stream = connector.connect(name, stream).await.unwrap();
    let request =
        format!("{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 2\r\n\r\n{{}}");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    parse(&text(&answer))
}

/// Sends more than the connection holds before it looks for an answer.
async fn refused_upload(connector: &TlsConnector, address: &str) -> Answer {
    let stream = TcpStream::connect(address).await.unwrap();
    let name = ServerName::try_from("lxd").unwrap();
    let stream = connector.connect(name, stream).await.unwrap();
    let (mut from, mut to) = tokio::io::split(stream);
    let length = 64 << 20;
    let head = format!("POST /1.0/images HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n");
    to.write_all(head.as_bytes()).await.unwrap();
    let block = vec![0; 1 << 20];
    for _ in 0..4 {
        to.write_all(&block).await.unwrap();
    }
    let mut answer = Vec::new();
    let _ = from.read_to_end(&mut answer).await;
    parse(&text(&answer))
}

#[tokio::test]
async fn strangers_see_what_is_public_and_nothing_else() {
    let daemon = Daemon::start();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    drop(taken);
    let listen = json!({"config": {"core.https_address": address, "user.private": "x"}});
    assert_eq!(daemon.send("PATCH", "/1.0", &listen).status, 200);
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Anything))
        .with_no_client_auth();
    let connector = TlsConnector::from(Arc::new(config));

    for row in ENDPOINTS.iter().filter(|row| row.access == Access::Trusted) {
        let parts = row
            .path
            .split('/')
            .map(|part| if part.starts_with('{') { "x" } else { part });
        let answer = ask(
            &connector,
            &address,
            row.method,
            &parts.collect::<Vec<_>>().join("/"),
        )
        .await;
        assert_eq!(answer.status, 403, "{} {}", row.method, row.path);
        if row.method != "HEAD" {
            assert_eq!(answer.error(), "not authorized", "{} {}", row.method, row.path);
        }
    }
    assert_eq!(
        ask(&connector, &address, "POST", "/1.0/certificates")
            .await
            .status,
        403
    );
    assert_eq!(ask(&connector, &address, "DELETE", "/1.0").await.status, 403);
    assert_eq!(
        ask(&connector, &address, "GET", "/1.0/operations/x/wait")
            .await
            .status,
        403
    );
    assert_eq!(refused_upload(&connector, &address).await.status, 403);
    let server = ask(&connector, &address, "GET", "/1.0").await;
    let shown = server.metadata();
    assert_eq!(shown["auth"], "untrusted");
    assert!(
        shown.get("environment").is_none() && shown.get("config").is_none(),
        "{shown}"
    );
    assert!(server.header("Etag").is_none());

    let mut plain = TcpStream::connect(&address).await.unwrap();
    plain
        .write_all(b"GET /1.0 HTTP/1.1\r\nHost: x\r\n\r\n")
        .await
        .unwrap();
    let mut answer = String::new();
    let _ = plain.read_to_string(&mut answer).await;
    assert_eq!(
        answer,
        "HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.\n"
    );
}
