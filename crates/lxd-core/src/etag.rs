//! ETags: a digest of the part of an object that clients may write, checked before a change (`If-Match`).

use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::error::{Error, Result};

/// An object and its ETag.
#[derive(Debug, Clone, PartialEq)]
pub struct Tagged<T> {
    /// The object.
    pub value: T,
    /// The digest of what of it can be changed, as the `ETag` header carries it.
    pub etag: String,
}

impl<T> Tagged<T> {
    /// An object with the digest of its writable part.
    pub fn new(value: T, writable: &impl Serialize) -> Self {
        Self {
            value,
            etag: etag(writable),
        }
    }
}

/// The digest of a value: SHA-256 of its JSON, in hexadecimal.
pub fn etag(writable: &impl Serialize) -> String {
    let json = serde_json::to_vec(writable).unwrap_or_default();
    hex(&Sha256::digest(json))
}

/// Refuses a change when the caller saw another state than the present one. No `If-Match` and `*` match anything.
///
/// # Errors
/// [`lxd_model::ErrorKind::PreconditionFailed`] when they differ.
pub fn check(if_match: Option<&str>, writable: &impl Serialize) -> Result<()> {
    let Some(wanted) = if_match.map(|tag| tag.trim().trim_start_matches("W/").trim_matches('"')) else {
        return Ok(());
    };
    if wanted.is_empty() || wanted == "*" {
        return Ok(());
    }
    let present = etag(writable);
    if wanted == present {
        return Ok(());
    }
    Err(Error::precondition_failed(format!(
        "ETag doesn't match: {present} vs {wanted}"
    )))
}

/// Bytes in lower-case hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    bytes
        .iter()
        .flat_map(|b| {
            [
                DIGITS[usize::from(b >> 4)] as char,
                DIGITS[usize::from(b & 15)] as char,
            ]
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_another_state_is_refused() {
        let tag = etag(&("a", 1));
        assert_eq!(tag.len(), 64);
        for matching in [None, Some("*"), Some(""), Some(tag.as_str())] {
            assert!(check(matching, &("a", 1)).is_ok());
        }
        assert!(check(Some(&format!("\"{tag}\"")), &("a", 1)).is_ok());
        let error = check(Some(&tag), &("a", 2)).unwrap_err();
        assert_eq!(error.kind(), lxd_model::ErrorKind::PreconditionFailed);
        assert!(
            error.text().starts_with("ETag doesn't match: "),
            "{}",
            error.text()
        );
    }
}
