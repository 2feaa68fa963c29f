//! How connections over TCP are secured: which server is believed, and who the client is.

use std::collections::HashSet;
use std::sync::Arc;

use parking_lot::Mutex;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{WebPkiServerVerifier, verify_server_name};
use rustls::crypto::{
    CryptoProvider, WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature,
};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use sha2::{Digest as _, Sha256};

use crate::certificates::{Certificate, KeyPair};
use crate::client::split_url;
use crate::proxies::Proxies;
use crate::transport::Address;
use crate::{Error, Result};

/// The file in which Linux distributions keep the certificates of well-known authorities, unless the environment says
/// another one.
const SYSTEM_ROOTS: &str = "/etc/ssl/certs/ca-certificates.crt";

/// What is said of a server that nobody believed vouches for.
const UNKNOWN: &str = "x509: certificate signed by unknown authority";

/// Which servers are believed.
#[derive(Debug, Clone)]
pub enum Trust {
    /// The one with this certificate.
    Pinned(Certificate),
    /// Those that the host's well-known authorities vouch for.
    Authorities,
}

/// How to secure connections.
#[derive(Debug, Clone)]
pub struct Tls {
    /// Which servers are believed.
    pub trust: Trust,
    /// Who the client is; none for public servers.
    pub identity: Option<KeyPair>,
}

impl Tls {
    pub(crate) fn config(&self) -> Result<Arc<ClientConfig>> {
        let verifier: Arc<dyn ServerCertVerifier> = match &self.trust {
            Trust::Pinned(certificate) => pinned(certificate)?,
            Trust::Authorities => authorities()?,
        };
        config(verifier, self.identity.as_ref())
    }
}

/// The certificate that the server at an HTTPS URL shows, without believing it.
///
/// # Errors
/// [`Error::Unreachable`] or [`Error::Untrusted`] when there is no TLS server.
pub async fn server_certificate(url: &str) -> Result<Certificate> {
    let (host, port) = split_url(url)?;
    let anybody = Arc::new(Pinned::new(None));
    let tls = config(anybody.clone(), None)?;
    let proxies = Proxies::default();
    let address = Address::Https {
        host,
        port,
        tls,
        proxies,
    };
    let connected = address.connect("Get", &address.base()).await;
    let seen = anybody.seen.lock().take();
    match (connected, seen) {
        (_, Some(der)) => Certificate::from_der(der.as_ref()),
        (Err(error), None) => Err(error),
        (Ok(_), None) => Err(Error::Certificate(format!(
            "The server at {url} shows no certificate"
        ))),
    }
}

fn config(verifier: Arc<dyn ServerCertVerifier>, identity: Option<&KeyPair>) -> Result<Arc<ClientConfig>> {
    let unusable =
        |error: &dyn std::fmt::Display| Error::Certificate(format!("Unusable client certificate: {error}"));
    let builder = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(|error| unusable(&error))?
        .dangerous()
        .with_custom_certificate_verifier(verifier);
    let config = match identity {
        Some(pair) => {
            let chain = vec![CertificateDer::from(pair.certificate.der().to_vec())];
            let key = PrivateKeyDer::from_pem_slice(pair.key.as_bytes()).map_err(|error| unusable(&error))?;
            builder
                .with_client_auth_cert(chain, key)
                .map_err(|error| unusable(&error))?
        }
        None => builder.with_no_client_auth(),
    };
    Ok(Arc::new(config))
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

/// Why a connection could not be secured, in the words of the reference.
pub(crate) fn reason(error: &std::io::Error) -> String {
    let inner = error
        .get_ref()
        .and_then(|inner| inner.downcast_ref::<rustls::Error>());
    match inner {
        Some(rustls::Error::InvalidCertificate(bad)) => match bad {
            CertificateError::UnknownIssuer | CertificateError::BadSignature => UNKNOWN.to_owned(),
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
                "x509: certificate has expired or is not yet valid".to_owned()
            }
            CertificateError::NotValidForNameContext { expected, presented } => {
                let wanted = expected.to_str();
                if presented.is_empty() {
                    format!("x509: certificate is not valid for any names, but wanted to match {wanted}")
                } else {
                    let names: Vec<&str> = presented.iter().map(|name| plain_name(name)).collect();
                    format!(
                        "x509: certificate is valid for {}, not {wanted}",
                        names.join(", ")
                    )
                }
            }
            other => format!("x509: {other}"),
        },
        Some(rustls::Error::General(text)) => text.clone(),
        _ => error.to_string(),
    }
}

/// A name as `DnsName("a.org")` is shown, without what stands around it.
fn plain_name(shown: &str) -> &str {
    shown.split('"').nth(1).unwrap_or(shown)
}

/// The server with this certificate, or those that it vouches for if it is an authority's.
fn pinned(certificate: &Certificate) -> Result<Arc<dyn ServerCertVerifier>> {
    let mut roots = RootCertStore::empty();
    let issuer = match roots.add(CertificateDer::from(certificate.der().to_vec())) {
        Ok(()) => WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider())
            .build()
            .ok(),
        Err(_) => None,
    };
    Ok(Arc::new(Pinned {
        issuer,
        ..Pinned::new(Some(certificate.der()))
    }))
}

fn authorities() -> Result<Arc<dyn ServerCertVerifier>> {
    let path = std::env::var("SSL_CERT_FILE").unwrap_or_else(|_| SYSTEM_ROOTS.to_owned());
    let mut roots = RootCertStore::empty();
    let mut known = HashSet::new();
    // A host without the file believes nobody, and says so when a server is reached.
    if let Ok(certificates) = CertificateDer::pem_file_iter(&path) {
        for certificate in certificates.filter_map(std::result::Result::ok) {
            known.insert(<[u8; 32]>::from(Sha256::digest(&certificate)));
            // What can't be parsed vouches for nobody.
            let _ = roots.add(certificate);
        }
    }
    if roots.is_empty() {
        // No certificate is the empty one.
        return Ok(Arc::new(Pinned::new(Some(&[]))));
    }
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider()).build();
    let issued = verifier.map_err(|error| Error::Certificate(format!("{path}: {error}")))?;
    Ok(Arc::new(Authorities { known, issued }))
}

/// Believes those that the well-known authorities vouch for, and servers whose own certificate is among theirs: people
/// add the one that their server signed itself.
#[derive(Debug)]
struct Authorities {
    known: HashSet<[u8; 32]>,
    issued: Arc<WebPkiServerVerifier>,
}

impl ServerCertVerifier for Authorities {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> std::result::Result<ServerCertVerified, rustls::Error> {
        if !self.known.contains(&<[u8; 32]>::from(Sha256::digest(end_entity))) {
            return self.issued.verify_server_cert(
                end_entity,
                intermediates,
                server_name,
                ocsp_response,
                now,
            );
        }
        let parsed = ParsedCertificate::try_from(end_entity)?;
        verify_server_name(&parsed, server_name)?;
        let is_valid = x509_parser::parse_x509_certificate(end_entity).is_ok_and(|(_, certificate)| {
            let valid = certificate.validity();
            let now = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
            (valid.not_before.timestamp()..=valid.not_after.timestamp()).contains(&now)
        });
        if is_valid {
            Ok(ServerCertVerified::assertion())
        } else {
            Err(CertificateError::Expired.into())
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, rustls::Error> {
        self.issued.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, rustls::Error> {
        self.issued.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.issued.supported_verify_schemes()
    }
}

/// Believes one certificate, or any when none is given, and remembers which one it saw.
#[derive(Debug)]
struct Pinned {
    expected: Option<Vec<u8>>,
    /// Believes whom the certificate vouches for.
    issuer: Option<Arc<WebPkiServerVerifier>>,
    seen: Mutex<Option<CertificateDer<'static>>>,
    algorithms: WebPkiSupportedAlgorithms,
}

impl Pinned {
    fn new(expected: Option<&[u8]>) -> Self {
        Self {
            expected: expected.map(<[u8]>::to_vec),
            issuer: None,
            seen: Mutex::new(None),
            algorithms: provider().signature_verification_algorithms,
        }
    }
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> std::result::Result<ServerCertVerified, rustls::Error> {
        *self.seen.lock() = Some(end_entity.clone().into_owned());
        match &self.expected {
            Some(expected) if expected.as_slice() != end_entity.as_ref() => match &self.issuer {
                Some(issuer) => {
                    issuer.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
                }
                None => Err(CertificateError::UnknownIssuer.into()),
            },
            _ => Ok(ServerCertVerified::assertion()),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, dss, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, dss, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}
