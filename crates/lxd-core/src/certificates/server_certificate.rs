//! The server's own certificate: made once, self-signed, ECDSA P-384, valid for ten years, as the reference makes it.

use std::fs;
use std::io::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan as _};
use rcgen::{
    CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose,
    PKCS_ECDSA_P384_SHA384, SanType,
};

use super::x509;
use crate::error::{Error, Result};
use crate::paths::Paths;

/// The certificate that the server shows on the network.
#[derive(Debug, Clone)]
pub struct ServerCertificate {
    /// The certificate, in PEM, with its chain if it has one.
    pub certificate_pem: String,
    /// The key, in PEM.
    pub key_pem: String,
    /// SHA-256 of the certificate, in hexadecimal.
    pub fingerprint: String,
}

impl ServerCertificate {
    /// Loads the certificate from the state directory, the cluster's where there is one, or makes it first.
    ///
    /// # Errors
    /// A file can't be read or written, or holds no certificate.
    pub fn load_or_make(paths: &Paths, host_name: &str) -> Result<Self> {
        if paths.cluster_certificate().exists() {
            return Self::load(&paths.cluster_certificate(), &paths.cluster_key());
        }
        let (certificate, key) = (paths.server_certificate(), paths.server_key());
        // The key is written first, so a key without a certificate is what a crash has left.
        if !certificate.exists() {
            let made = make(host_name, Timestamp::now())?;
            write(&key, &made.1, 0o600)?;
            write(&certificate, &made.0, 0o644)?;
        }
        Self::load(&certificate, &key)
    }

    fn load(certificate: &Path, key: &Path) -> Result<Self> {
        let (certificate_pem, key_pem) = (read(certificate)?, read(key)?);
        let der = x509::from_pem(&certificate_pem).map_err(|error| {
            Error::internal(format!("Failed loading {}", certificate.display())).because(error)
        })?;
        Ok(Self {
            fingerprint: x509::fingerprint(&der),
            certificate_pem,
            key_pem,
        })
    }
}

/// Makes a certificate and its key, both in PEM.
fn make(host_name: &str, now: Timestamp) -> Result<(String, String)> {
    let failed = |error: rcgen::Error| Error::internal("Failed making the server certificate").because(error);
    let key = KeyPair::generate_for(&PKCS_ECDSA_P384_SHA384).map_err(failed)?;
    let mut params = CertificateParams::default();
    let mut name = DistinguishedName::new();
    name.push(DnType::OrganizationName, "linuxcontainers.org");
    name.push(DnType::CommonName, format!("root@{host_name}"));
    params.distinguished_name = name;
    if let Ok(dns) = host_name.try_into() {
        params.subject_alt_names.push(SanType::DnsName(dns));
    }
    params
        .subject_alt_names
        .push(SanType::IpAddress(IpAddr::V4(Ipv4Addr::LOCALHOST)));
    params
        .subject_alt_names
        .push(SanType::IpAddress(IpAddr::V6(Ipv6Addr::LOCALHOST)));
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![
        KeyUsagePurpose::DigitalSignature,
        KeyUsagePurpose::KeyEncipherment,
    ];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let today = TimeZone::UTC.to_datetime(now).date();
    let end = today.checked_add(10.years()).unwrap_or(today);
    let day = |date: Date| {
        rcgen::date_time_ymd(
            date.year().into(),
            date.month().unsigned_abs(),
            date.day().unsigned_abs(),
        )
    };
    params.not_before = day(today);
    params.not_after = day(end);
    let certificate = params.self_signed(&key).map_err(failed)?;
    Ok((certificate.pem(), key.serialize_pem()))
}

fn read(path: &Path) -> Result<String> {
    fs::read_to_string(path)
        .map_err(|error| Error::internal(format!("Failed reading {}", path.display())).because(error))
}

/// Writes a file as a whole or not at all.
fn write(path: &Path, text: &str, mode: u32) -> Result<()> {
    let partial = PathBuf::from(format!("{}.new", path.display()));
    let written = || -> std::io::Result<()> {
        let mut file = fs::OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(mode)
            .open(&partial)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&partial, path)
    };
    written().map_err(|error| Error::internal(format!("Failed writing {}", path.display())).because(error))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn it_is_made_once() {
        let dir = tempfile::tempdir().unwrap();
        let paths = Paths::new(dir.path());
        let made = ServerCertificate::load_or_make(&paths, "host1").unwrap();
        let loaded = ServerCertificate::load_or_make(&paths, "host2").unwrap();
        assert_eq!(made.fingerprint, loaded.fingerprint);
        let mode = fs::metadata(paths.server_key()).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let der = x509::from_pem(&made.certificate_pem).unwrap();
        assert_eq!(x509::common_name(&der).unwrap(), "root@host1");
        assert_eq!(x509::to_pem(&der), made.certificate_pem.replace("\r\n", "\n"));
        let now = Timestamp::now().as_second();
        x509::check_dates(&der, now).unwrap();
        assert!(x509::check_dates(&der, now + 11 * 366 * 86400).is_err());
    }

    #[test]
    fn a_key_alone_is_what_a_crash_left() {
        let dir = tempfile::tempdir().unwrap();
        let paths = Paths::new(dir.path());
        fs::write(paths.server_key(), "half").unwrap();
        ServerCertificate::load_or_make(&paths, "host1").unwrap();
        assert!(
            fs::read_to_string(paths.server_key())
                .unwrap()
                .contains("PRIVATE KEY")
        );
    }
}
