//! The trust list, and the server's own certificate.

pub mod server_certificate;
pub mod x509;

pub use server_certificate::ServerCertificate;
