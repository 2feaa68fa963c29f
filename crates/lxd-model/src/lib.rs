//! The nouns of LXD and their rules, without I/O, clock or async.

mod error;
pub mod names;
pub mod units;
pub mod yaml;

pub use error::{ErrorKind, Invalid};
