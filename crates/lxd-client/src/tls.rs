//! How connections over TCP are secured: which server is believed, and who the client is.

use std::sync::Arc;

use parking_lot::Mutex;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{
    CryptoProvider, WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature,
};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};

use crate::certificates::{Certificate, KeyPair};
use crate::client::split_url;
use crate::transport::Address;
use crate::{Error, Result};

/// The file in which Linux distributions keep the certificates of well-known authorities.
const SYSTEM_ROOTS: &str = "/etc/ssl/certs/ca-certificates.crt";

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
            Trust::Pinned(certificate) => Arc::new(Pinned::new(Some(certificate.der()))),
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
    let address = Address::Https { host, port, tls };
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

fn authorities() -> Result<Arc<dyn ServerCertVerifier>> {
    let mut roots = RootCertStore::empty();
    // A host without the file believes nobody, and says so when a server is reached.
    if let Ok(certificates) = CertificateDer::pem_file_iter(SYSTEM_ROOTS) {
        roots.add_parsable_certificates(certificates.filter_map(std::result::Result::ok));
    }
    if roots.is_empty() {
        return Ok(Arc::new(Nobody(provider().signature_verification_algorithms)));
    }
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider()).build();
    Ok(verifier.map_err(|error| Error::Certificate(format!("{SYSTEM_ROOTS}: {error}")))?)
}

/// Believes one certificate, or any when none is given, and remembers which one it saw.
#[derive(Debug)]
struct Pinned {
    expected: Option<Vec<u8>>,
    seen: Mutex<Option<CertificateDer<'static>>>,
    algorithms: WebPkiSupportedAlgorithms,
}

impl Pinned {
    fn new(expected: Option<&[u8]>) -> Self {
        Self {
            expected: expected.map(<[u8]>::to_vec),
            seen: Mutex::new(None),
            algorithms: provider().signature_verification_algorithms,
        }
    }
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> std::result::Result<ServerCertVerified, rustls::Error> {
        *self.seen.lock() = Some(end_entity.clone().into_owned());
        match &self.expected {
            Some(expected) if expected.as_slice() != end_entity.as_ref() => Err(rustls::Error::General(
                "x509: the server shows another certificate than the trusted one".into(),
            )),
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

/// Believes no server.
#[derive(Debug)]
struct Nobody(WebPkiSupportedAlgorithms);

impl ServerCertVerifier for Nobody {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> std::result::Result<ServerCertVerified, rustls::Error> {
        Err(rustls::Error::General(
            "x509: certificate signed by unknown authority".into(),
        ))
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, dss, &self.0)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, dss, &self.0)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_schemes()
    }
}
