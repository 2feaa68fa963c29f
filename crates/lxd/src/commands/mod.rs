//! The sub-commands: one file each. They talk to the running daemon over its unix socket.

pub(crate) mod activateifneeded;
mod answers;
mod client;
pub(crate) mod generate;
pub(crate) mod init;
pub(crate) mod not_yet;
pub(crate) mod output;
pub(crate) mod recover;
pub(crate) mod shutdown;
pub(crate) mod sql;
mod table;
pub(crate) mod version;
pub(crate) mod waitready;

/// The version that we are compatible with and show as ours.
pub(crate) const VERSION: &str = env!("CARGO_PKG_VERSION");
