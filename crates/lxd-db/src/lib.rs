//! The node database and the cluster database: schemas, one file of queries per noun, transactions.
//!
//! [`cluster::Cluster`] is replicated by dqlite and holds what all members share; [`node::Node`] is a plain SQLite file
//! with what only this member needs, its journal of operations among it. Both have the tables of LXD 5.0.2, and
//! tables of our own whose names begin with `lxdrs_`.

pub mod architecture;
pub mod cluster;
mod error;
pub mod node;
pub mod sql;
pub mod time;

pub use dqlite::memory;
pub use error::{Error, Noun};

/// The result of everything here.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A set of configuration keys.
pub type Config = std::collections::BTreeMap<String, String>;

/// Devices by name.
pub type Devices = std::collections::BTreeMap<String, Config>;
