//! Certificates as bytes: PEM, base64, fingerprints, names, dates.

use base64::engine::general_purpose::STANDARD;
use base64::{DecodeError, Engine as _};
use lxd_model::ErrorKind;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use sha2::{Digest as _, Sha256};
use x509_parser::prelude::{FromDer as _, X509Certificate};

use crate::error::{Error, Result};
use crate::etag::hex;

/// SHA-256 of a certificate in DER, in hexadecimal.
pub fn fingerprint(der: &[u8]) -> String {
    hex(&Sha256::digest(der))
}

/// A certificate in PEM.
pub fn to_pem(der: &[u8]) -> String {
    let text = STANDARD.encode(der);
    let mut pem = String::from("-----BEGIN CERTIFICATE-----\n");
    for line in text.as_bytes().chunks(64) {
        pem.extend(line.iter().map(|b| *b as char));
        pem.push('\n');
    }
    pem.push_str("-----END CERTIFICATE-----\n");
    pem
}

/// The first certificate of a PEM text, in DER.
///
/// # Errors
/// There is none.
pub fn from_pem(pem: &str) -> Result<Vec<u8>> {
    let der = CertificateDer::from_pem_slice(pem.as_bytes())
        .map_err(|_| Error::bad_request("No certificate found in the PEM text"))?;
    Ok(der.as_ref().to_vec())
}

/// A certificate as clients send it: DER in base64 without PEM's lines.
///
/// # Errors
/// Not base64, or not a certificate.
pub fn from_base64(text: &str) -> Result<Vec<u8>> {
    let text: String = text.split_whitespace().collect();
    let der = STANDARD
        .decode(&text)
        .map_err(|error| Error::bad_request(illegal(&error)))?;
    parse(&der)?;
    Ok(der)
}

/// The common name of a certificate's subject; empty when it has none.
///
/// # Errors
/// Not a certificate.
pub fn common_name(der: &[u8]) -> Result<String> {
    let certificate = parse(der)?;
    let mut names = certificate.subject().iter_common_name();
    Ok(names
        .next()
        .and_then(|name| name.as_str().ok())
        .unwrap_or_default()
        .to_owned())
}

/// Refuses a certificate whose time has not begun or is over.
///
/// # Errors
/// The certificate is not valid at the given second since the Unix epoch, or is no certificate.
pub fn check_dates(der: &[u8], now: i64) -> Result<()> {
    let certificate = parse(der)?;
    let validity = certificate.validity();
    if now < validity.not_before.timestamp() {
        return Err(Error::bad_request("The provided certificate isn't valid yet"));
    }
    if now > validity.not_after.timestamp() {
        return Err(Error::bad_request("The provided certificate is expired"));
    }
    Ok(())
}

/// The reference's words for what is not base64.
fn illegal(error: &DecodeError) -> String {
    match error {
        DecodeError::InvalidByte(at, _) | DecodeError::InvalidLastSymbol { offset: at, .. } => {
            format!("illegal base64 data at input byte {at}")
        }
        DecodeError::InvalidLength(length) => format!("illegal base64 data at input byte {length}"),
        DecodeError::InvalidPadding => "illegal base64 data at input byte 0".into(),
    }
}

fn parse(der: &[u8]) -> Result<X509Certificate<'_>> {
    match X509Certificate::from_der(der) {
        Ok((_, certificate)) => Ok(certificate),
        Err(_) => Err(Error::new(ErrorKind::BadRequest, "Invalid certificate material")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_certificate_is_refused() {
        for text in ["", "xx", "Zm9v", "-----"] {
            assert_eq!(
                from_base64(text).unwrap_err().kind(),
                ErrorKind::BadRequest,
                "{text}"
            );
        }
        assert!(from_pem("nothing").is_err());
    }
}
