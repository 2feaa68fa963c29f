//! Certificates and keys as files hold them.

use rcgen::{
    CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair as GeneratedKey,
    KeyUsagePurpose, PKCS_ECDSA_P384_SHA384,
};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use sha2::{Digest, Sha256};

use crate::{Error, Result};

/// A certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certificate {
    der: Vec<u8>,
    pem: String,
}

/// A certificate with its private key.
#[derive(Debug, Clone)]
pub struct KeyPair {
    /// The certificate.
    pub certificate: Certificate,
    /// The private key, as PEM.
    pub key: String,
}

impl Certificate {
    /// The first certificate in a PEM file's text.
    ///
    /// # Errors
    /// [`Error::Certificate`] when there is none.
    pub fn from_pem(pem: &str) -> Result<Self> {
        let der = CertificateDer::from_pem_slice(pem.as_bytes())
            .map_err(|error| Error::Certificate(format!("Invalid certificate: {error}")))?;
        Ok(Self {
            der: der.as_ref().to_vec(),
            pem: pem.to_string(),
        })
    }

    /// A certificate in its binary form.
    ///
    /// # Errors
    /// [`Error::Certificate`] when it is not one.
    pub fn from_der(der: &[u8]) -> Result<Self> {
        x509_parser::parse_x509_certificate(der)
            .map_err(|error| Error::Certificate(format!("Invalid certificate: {error}")))?;
        Ok(Self {
            der: der.to_vec(),
            pem: pem_text("CERTIFICATE", der),
        })
    }

    /// The binary form.
    pub fn der(&self) -> &[u8] {
        &self.der
    }

    /// The text form, as in files.
    pub fn pem(&self) -> &str {
        &self.pem
    }

    /// The text form without its first and last line and line ends, as the API sends it.
    pub fn base64(&self) -> String {
        let clean = pem_text("CERTIFICATE", &self.der);
        clean.lines().filter(|line| !line.starts_with("-----")).collect()
    }

    /// The SHA-256 hash of the binary form, in hexadecimal: how LXD names certificates.
    pub fn fingerprint(&self) -> String {
        Sha256::digest(&self.der)
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect()
    }
}

impl KeyPair {
    /// A new client certificate for `name` (as in `root@host`) with a new ECDSA P-384 key, good for ten years.
    ///
    /// # Errors
    /// [`Error::Certificate`] when the random number generator fails.
    pub fn generate_client(name: &str) -> Result<Self> {
        let failed =
            |error: rcgen::Error| Error::Certificate(format!("Failed to make a client certificate: {error}"));
        let key = GeneratedKey::generate_for(&PKCS_ECDSA_P384_SHA384).map_err(failed)?;
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params
            .distinguished_name
            .push(DnType::OrganizationName, "linuxcontainers.org");
        params.distinguished_name.push(DnType::CommonName, name);
        let now = std::time::SystemTime::now();
        params.not_before = now.into();
        params.not_after = (now + std::time::Duration::from_secs(10 * 365 * 24 * 3600)).into();
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![
            KeyUsagePurpose::DigitalSignature,
            KeyUsagePurpose::KeyEncipherment,
        ];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        let certificate = params.self_signed(&key).map_err(failed)?;
        Ok(Self {
            certificate: Certificate::from_pem(&certificate.pem())?,
            key: key.serialize_pem(),
        })
    }
}

fn pem_text(label: &str, der: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for chunk in der.chunks(3) {
        let word = chunk
            .iter()
            .enumerate()
            .fold(0u32, |word, (at, byte)| word | u32::from(*byte) << (16 - 8 * at));
        for digit in 0..4 {
            let value = (word >> (18 - 6 * digit)) & 63;
            text.push(if digit <= chunk.len() {
                char::from(DIGITS[value as usize])
            } else {
                '='
            });
        }
    }
    let mut pem = format!("-----BEGIN {label}-----\n");
    for line in text.as_bytes().chunks(64) {
        pem.push_str(&String::from_utf8_lossy(line));
        pem.push('\n');
    }
    pem + &format!("-----END {label}-----\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_generated_pair_is_read_back() {
        let pair = KeyPair::generate_client("root@host").unwrap();
        let again = Certificate::from_der(pair.certificate.der()).unwrap();
        assert_eq!(again.fingerprint(), pair.certificate.fingerprint());
        assert_eq!(
            Certificate::from_pem(again.pem()).unwrap().der(),
            pair.certificate.der()
        );
        assert!(pair.key.starts_with("-----BEGIN"));
        let (_, parsed) = x509_parser::parse_x509_certificate(again.der()).unwrap();
        assert_eq!(
            parsed.subject().to_string(),
            "O=linuxcontainers.org, CN=root@host"
        );
    }

    #[test]
    fn base64_pads_the_last_group() {
        for (bytes, text) in [(&b"a"[..], "YQ=="), (b"ab", "YWI="), (b"abc", "YWJj")] {
            assert_eq!(
                pem_text("X", bytes),
                format!("-----BEGIN X-----\n{text}\n-----END X-----\n")
            );
        }
    }
}
