//! dqlite's wire protocol: little-endian words of eight bytes, a header of one word, then the body.
//!
//! Everything here is a pure function over bytes. Decoding trusts no length it reads: it never panics and never
//! allocates more than the bytes it was given can fill.
//! The format is described at <https://dqlite.io/docs/reference/wire-protocol>.

mod decode;
mod encode;
#[cfg(test)]
mod tests;

pub use decode::{DecodeError, FileContent, RawMember, Response, RowBatch, decode_header, decode_response};
pub(crate) use encode::Request;

/// The version of the protocol, sent once after connecting.
pub const PROTOCOL_VERSION: u64 = 1;

/// The largest body that is accepted: a whole database may come in one message when it is dumped.
pub const MAX_BODY: usize = 1 << 30;

/// The head of every message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// The length of the body in bytes.
    pub length: usize,
    /// What the body is.
    pub kind: u8,
}

/// The codes of values in tuples.
pub(crate) mod tag {
    pub(crate) const INTEGER: u8 = 1;
    pub(crate) const FLOAT: u8 = 2;
    pub(crate) const TEXT: u8 = 3;
    pub(crate) const BLOB: u8 = 4;
    pub(crate) const NULL: u8 = 5;
    pub(crate) const UNIX_TIME: u8 = 9;
    pub(crate) const ISO8601: u8 = 10;
    pub(crate) const BOOLEAN: u8 = 11;
}
