//! The nouns of LXD and their rules, without I/O, clock or async.

mod error;

pub use error::{ErrorKind, Invalid};
