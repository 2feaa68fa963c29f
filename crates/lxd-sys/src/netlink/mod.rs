//! Links, addresses, routes and neighbours through rtnetlink.
//!
//! A [`Socket`] is cheap (two system calls), blocking and single-threaded: open one for a task and drop it. Most requests take
//! 0.05 to 1 ms. Deleting a link and moving one between namespaces make the kernel wait for a grace period of about
//! 20 ms: use [`run`] for those in async code, create links where they belong ([`NewLink::netns`], [`Peer::netns`]), and let a dying
//! network namespace delete its own.

mod address;
mod link;
mod namespace;
mod neighbour;
mod route;
mod socket;

#[cfg(test)]
mod tests;

use std::io;

pub use address::Address;
pub use link::{BridgeFacts, Kind, Link, LinkChange, Mac, MacvlanMode, NewLink, OperState, Peer, Stats};
pub use namespace::{current_namespace, in_namespace, in_new_namespace, new_namespace};
pub use neighbour::Neighbour;
pub use route::Route;
pub use socket::Socket;

/// A request to the kernel that failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no netlink socket to be had.
    #[error("Failed to open a netlink socket")]
    Open(#[source] io::Error),
    /// The network namespace could not be entered.
    #[error("Failed to enter the network namespace")]
    Namespace(#[source] io::Error),
    /// The kernel refused.
    #[error("Failed to {what}")]
    Request {
        /// What was asked for, with names.
        what: String,
        /// The kernel's answer.
        #[source]
        source: io::Error,
    },
    /// There is no link of that name.
    #[error("Network interface {name:?} doesn't exist")]
    NoLink {
        /// The name.
        name: String,
    },
    /// The kernel's answer can't be read.
    #[error("Failed to understand the kernel's answer to: {what}")]
    Malformed {
        /// What was asked for.
        what: String,
        /// Where it breaks off.
        #[source]
        source: netlink_packet_core::DecodeError,
    },
}

impl Error {
    /// Whether the thing named does not exist.
    pub fn is_missing(&self) -> bool {
        match self {
            Self::NoLink { .. } => true,
            Self::Request { source, .. } => {
                matches!(
                    source.raw_os_error(),
                    Some(libc::ENODEV | libc::ESRCH | libc::EADDRNOTAVAIL | libc::ENOENT)
                )
            }
            _ => false,
        }
    }

    /// Whether the thing to be made exists already.
    pub fn exists(&self) -> bool {
        matches!(self, Self::Request { source, .. } if source.raw_os_error() == Some(libc::EEXIST))
    }
}

/// Runs several requests on one new socket of the current namespace, on a thread that may wait.
///
/// # Errors
/// Those of `requests`, and [`Error::Open`].
pub async fn run<T, F>(requests: F) -> Result<T, Error>
where
    T: Send + 'static,
    F: FnOnce(&mut Socket) -> Result<T, Error> + Send + 'static,
{
    match tokio::task::spawn_blocking(|| requests(&mut Socket::open()?)).await {
        Ok(answer) => answer,
        Err(stopped) => Err(Error::Open(io::Error::other(stopped))),
    }
}
