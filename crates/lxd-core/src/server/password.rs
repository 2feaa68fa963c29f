//! The trust password: stored as the reference stores it, 32 bytes of salt and 64 of scrypt in hexadecimal.

use scrypt::Params;
use subtle::ConstantTimeEq as _;

use crate::error::{Error, Result};
use crate::etag::hex;
use crate::operations::fill_random;

const SALT: usize = 32;
const HASH: usize = 64;
/// scrypt's cost: N = 2^14, r = 8, p = 1, which an existing database was filled with.
const COST: (u8, u32, u32) = (14, 8, 1);

/// The stored form of a password. Takes some 50 ms of processor time on purpose.
///
/// # Errors
/// Never in practice: the parameters are constants.
pub async fn hash(password: String) -> Result<String> {
    let mut salt = [0; SALT];
    fill_random(&mut salt);
    let hash = derive(password, salt).await?;
    Ok(format!("{}{}", hex(&salt), hex(&hash)))
}

/// Whether a password is the stored one. Takes the same time whether it is or not.
///
/// # Errors
/// The stored value is not one.
pub async fn verify(stored: &str, password: String) -> Result<bool> {
    let bytes = unhex(stored).filter(|bytes| bytes.len() == SALT + HASH);
    let bytes = bytes.ok_or_else(|| Error::internal("The stored trust password is damaged"))?;
    let mut salt = [0; SALT];
    salt.copy_from_slice(&bytes[..SALT]);
    let hash = derive(password, salt).await?;
    Ok(hash.ct_eq(&bytes[SALT..]).into())
}

async fn derive(password: String, salt: [u8; SALT]) -> Result<[u8; HASH]> {
    let work = move || {
        let mut hash = [0; HASH];
        let params = Params::new(COST.0, COST.1, COST.2).ok()?;
        scrypt::scrypt(password.as_bytes(), &salt, &params, &mut hash).ok()?;
        Some(hash)
    };
    let hash = tokio::task::spawn_blocking(work).await.ok().flatten();
    hash.ok_or_else(|| Error::internal("Failed hashing the trust password"))
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digits: Option<Vec<u32>> = text.chars().map(|c| c.to_digit(16)).collect();
    let digits = digits?;
    if digits.len() % 2 != 0 {
        return None;
    }
    digits
        .chunks(2)
        .map(|pair| u8::try_from(pair[0] * 16 + pair[1]).ok())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Made by the reference for `foo`.
    const FOO: &str = "8fe934b64d417267f0d95a5e1783b3519c58e550c61c809a2cf0bdd44deea4b93f45468725617f882a155e75d6ce3\
                       f81624aec5dfdad2e57a5d02caa4541d82d923ab29fb5465ec8f03343e57c4589a820f7476f6912bca31ae19e687c\
                       1e6c45";

    #[tokio::test]
    async fn passwords_of_the_reference_are_known() {
        assert!(verify(FOO, "foo".into()).await.unwrap());
        assert!(!verify(FOO, "bar".into()).await.unwrap());
    }

    #[tokio::test]
    async fn what_is_hashed_is_verified() {
        let (one, two) = (hash("x".into()).await.unwrap(), hash("x".into()).await.unwrap());
        assert_ne!(one, two);
        assert_eq!(one.len(), 192);
        assert!(verify(&one, "x".into()).await.unwrap());
        assert!(verify("nonsense", "x".into()).await.is_err());
    }
}
