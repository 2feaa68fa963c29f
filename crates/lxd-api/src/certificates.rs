//! Wire types: trusted certificates.

use crate::time::Time;
use crate::wire::{part_of, wire};

wire! {
    /// A certificate.
    pub struct Certificate {
        name: String,
        r#type: String,
        restricted: bool,
        projects: Vec<String>,
        certificate: String,
        fingerprint: String,
    }
}

wire! {
    /// A token that lets a client add its certificate.
    pub struct CertificateAddToken {
        client_name: String,
        fingerprint: String,
        addresses: Vec<String>,
        secret: String,
        expires_at: Time,
    }
}

wire! {
    /// What a PUT may change of a certificate.
    pub struct CertificatePut {
        name: String,
        r#type: String,
        restricted: bool,
        projects: Vec<String>,
        certificate: String,
    }
}

wire! {
    /// A new certificate, as a client asks for it.
    pub struct CertificatesPost {
        name: String,
        r#type: String,
        restricted: bool,
        projects: Vec<String>,
        certificate: String,
        password: String,
        token: bool,
    }
}

part_of! { CertificatePut of Certificate: name, r#type, restricted, projects, certificate }
