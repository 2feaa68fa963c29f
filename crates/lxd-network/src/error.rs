//! What can go wrong with networks.

use std::io;
use std::path::PathBuf;

use lxd_model::{ErrorKind, Invalid};
use lxd_sys::{command, netlink, nft, system};

/// A failure of this crate. The texts are the reference's where it has one.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A rule of the model or of a driver was broken.
    #[error(transparent)]
    Invalid(#[from] Invalid),
    /// One key of a network's configuration has a value it can't have.
    #[error("Invalid value for network {network:?} option {key:?}: {reason}")]
    Value {
        /// The network.
        network: String,
        /// The key.
        key: String,
        /// What is wrong with the value; names it.
        reason: String,
    },
    /// There is no such key.
    #[error("Invalid option for network {network:?} option {key:?}")]
    UnknownKey {
        /// The network.
        network: String,
        /// The key.
        key: String,
    },
    /// The key is right, but what it asks for isn't built.
    #[error("Network {network:?} option {key:?} is not implemented on this server")]
    KeyNotImplemented {
        /// The network.
        network: String,
        /// The key.
        key: String,
    },
    /// The type is right, but isn't built.
    #[error("Network type {0:?} is not implemented on this server")]
    TypeNotImplemented(String),
    /// There is no such type.
    #[error("Unknown driver")]
    UnknownType,
    /// The name is taken by an interface that isn't ours.
    #[error("Network interface {0:?} already exists")]
    InterfaceExists(String),
    /// The interface isn't there.
    #[error("Network interface {0:?} not found")]
    NoInterface(String),
    /// A key that was left to us could not be filled.
    #[error("Failed generating auto config: {0}")]
    Auto(&'static str),
    /// dnsmasq is not installed.
    #[error("dnsmasq is required for LXD managed bridges")]
    NoDnsmasq,
    /// nft is not installed.
    #[error("nft is required for the firewall of LXD managed bridges")]
    NoNft,
    /// dnsmasq did not start.
    #[error(
        "The DNS and DHCP service exited prematurely: Process exited with non-zero value {code} ({output:?})"
    )]
    DnsmasqExited {
        /// Its exit code, -1 when a signal ended it.
        code: i32,
        /// What it wrote before.
        output: String,
    },
    /// Another interface could not be made a port of the bridge.
    #[error("Only unconfigured network interfaces can be bridged")]
    ConfiguredInterface(String),
    /// A kernel request failed.
    #[error("Failed to set up network {network:?}")]
    Kernel {
        /// The network.
        network: String,
        /// The request and the answer.
        #[source]
        source: netlink::Error,
    },
    /// Looking at the host's interfaces failed.
    #[error("Failed to read the state of network interfaces")]
    Interfaces(#[source] netlink::Error),
    /// A kernel setting could not be changed.
    #[error("Failed to set up network {network:?}")]
    Sysctl {
        /// The network.
        network: String,
        /// The setting and the answer.
        #[source]
        source: system::Error,
    },
    /// A program failed.
    #[error("Failed to {what} of network {network:?}")]
    Program {
        /// What was being done.
        what: &'static str,
        /// The network.
        network: String,
        /// The program and its answer.
        #[source]
        source: command::Error,
    },
    /// tc could not limit a card.
    #[error("Failed to create {what}: Failed to run: {command}{}", outcome(.failed))]
    Shaping {
        /// What was being made.
        what: &'static str,
        /// The command.
        command: String,
        /// The program's answer, which is told with the rest.
        failed: command::Error,
    },
    /// The rules of one card failed.
    #[error("Failed to {what} of card {card:?}")]
    CardRules {
        /// What was being done.
        what: &'static str,
        /// The card's chain.
        card: String,
        /// The program and its answer.
        #[source]
        source: command::Error,
    },
    /// A network has no address left for a card.
    #[error("No available IP could not be found on network {0:?}")]
    NoFreeAddress(String),
    /// The firewall's rules could not be listed.
    #[error("Failed to read the firewall rules")]
    Firewall(#[source] nft::Error),
    /// A file could not be read or written.
    #[error("Failed to {what} {}", path.display())]
    File {
        /// What was being done: `read`, `write` ...
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// The answer.
        #[source]
        source: io::Error,
    },
    /// A lease could not be given back.
    #[error("Failed to release the DHCP lease of {address}")]
    Release {
        /// The leased address.
        address: std::net::IpAddr,
        /// The answer.
        #[source]
        source: io::Error,
    },
    /// Several parts of taking something down failed.
    #[error("{}", join(.0))]
    Several(Vec<Error>),
    /// A task of ours was stopped half-way.
    #[error("The work was stopped")]
    Stopped(#[source] tokio::task::JoinError),
}

impl Error {
    /// What kind of failure it is.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Invalid(invalid) => invalid.kind(),
            Self::Value { .. } | Self::UnknownKey { .. } | Self::UnknownType => ErrorKind::BadRequest,
            Self::InterfaceExists(_) | Self::ConfiguredInterface(_) => ErrorKind::BadRequest,
            Self::KeyNotImplemented { .. } | Self::TypeNotImplemented(_) | Self::NoNft => {
                ErrorKind::NotImplemented
            }
            Self::NoInterface(_) => ErrorKind::NotFound,
            Self::Stopped(_) => ErrorKind::Cancelled,
            _ => ErrorKind::Internal,
        }
    }

    /// All of what went wrong while taking something down; nothing when nothing did.
    pub(crate) fn collect(mut errors: Vec<Error>) -> Result<(), Error> {
        match errors.len() {
            0 => Ok(()),
            1 => Err(errors.remove(0)),
            _ => Err(Self::Several(errors)),
        }
    }
}

/// How a program ended, as the reference tells it.
fn outcome(failed: &command::Error) -> String {
    match failed {
        command::Error::Failed { code, stderr, .. } => format!(": exit status {code} ({})", stderr.trim()),
        other => format!(": {other}"),
    }
}

/// Each failure with its sources: one line for what would otherwise be only the first.
fn join(errors: &[Error]) -> String {
    let texts: Vec<String> = errors
        .iter()
        .map(|error| {
            let mut text = error.to_string();
            let mut source = std::error::Error::source(error);
            while let Some(inner) = source {
                text = format!("{text}: {inner}");
                source = inner.source();
            }
            text
        })
        .collect();
    texts.join("; ")
}
