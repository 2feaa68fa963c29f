//! The nouns of LXD and their rules, without I/O, clock or async.

pub mod auth;
pub mod config;
pub mod devices;
mod error;
pub mod filter;
pub mod idmap;
pub mod images;
pub mod instances;
pub mod names;
pub mod networks;
pub mod operations;
pub mod profiles;
pub mod projects;
pub mod simplestreams;
pub mod storage;
pub mod templates;
pub mod units;
pub mod urls;
pub mod warnings;
pub mod yaml;

pub use error::{ErrorKind, Invalid};
