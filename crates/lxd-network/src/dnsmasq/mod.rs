//! One dnsmasq for each network: its files, its process, its leases.
//!
//! In a network's directory: `dnsmasq.raw` (the user's own configuration), `dnsmasq.hosts/` (one file for each instance's
//! card), `dnsmasq.leases` (dnsmasq's own) and `dnsmasq.pid` (YAML, also read by the reference).

pub mod hosts;
pub mod leases;
mod process;
pub(crate) mod release;

#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

pub use hosts::HostEntry;
pub use leases::{Lease, LeaseNic};
pub use process::Services;

/// What dnsmasq is to be run as for one network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Service {
    /// The network's name, for messages.
    pub network: String,
    /// The network's directory.
    pub directory: PathBuf,
    /// The command line.
    pub args: Vec<String>,
    /// The content of `dnsmasq.raw`.
    pub raw: String,
}

impl Service {
    /// Where dnsmasq writes its process id when it has bound its sockets; gone again once it was read.
    pub fn started_file(directory: &Path) -> PathBuf {
        directory.join("dnsmasq.started")
    }
}

/// The group dnsmasq works as: the daemon's own, so that only its members are served by name, else one without rights.
pub(crate) fn group() -> Option<&'static str> {
    let groups = std::fs::read_to_string("/etc/group").unwrap_or_default();
    let exists = |name: &str| groups.lines().any(|line| line.split(':').next() == Some(name));
    ["lxd", "nogroup"].into_iter().find(|name| exists(name))
}
