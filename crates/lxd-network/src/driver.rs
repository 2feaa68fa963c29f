//! What every network driver can do.

use std::collections::BTreeMap;

use futures::future::BoxFuture;
use lxd_api::networks::NetworkLease;

use crate::dnsmasq::{HostEntry, LeaseNic};
use crate::{Network, Result};

/// What a driver's networks have, as data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Capabilities {
    /// The API's name of the type.
    pub kind: &'static str,
    /// The `nictype` that an instance's card on such a network gets.
    pub nictype: &'static str,
    /// Whether it hands out addresses and can list them.
    pub leases: bool,
    /// Whether the network is an interface of the host with the network's name.
    pub interface: bool,
    /// Whether networks can be renamed.
    pub rename: bool,
    /// Whether the interface that is its parent can serve no other network.
    pub owns_parent: bool,
}

/// Why a configuration is being filled in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fill {
    /// The network is new: absent keys get their creation defaults.
    Create,
    /// It exists: only values of `auto` are resolved.
    Update,
}

/// A type of network. Networks come in as plain values; the driver keeps nothing that the kernel or the network's
/// directory couldn't tell it again.
pub trait Driver: Send + Sync {
    /// What its networks have.
    fn capabilities(&self) -> Capabilities;

    /// Whether a network may be configured like this. Reads the network alone, never the host.
    ///
    /// # Errors
    /// The first broken rule, in the order of the keys.
    fn validate(&self, network: &Network) -> Result<()>;

    /// What a card on the network is configured with besides its own keys; nothing where the card is a port of it.
    fn card(&self, _network: &Network) -> BTreeMap<String, String> {
        BTreeMap::new()
    }

    /// The network with empty values removed and values left to us filled in.
    fn fill(&self, network: Network, why: Fill) -> BoxFuture<'_, Result<Network>>;

    /// Makes a network that did not exist, and starts it. Leaves nothing behind when it fails.
    fn create<'a>(&'a self, network: &'a Network) -> BoxFuture<'a, Result<()>>;

    /// Brings a network up, or puts right what differs about one that is up.
    fn start<'a>(&'a self, network: &'a Network) -> BoxFuture<'a, Result<()>>;

    /// Takes a network down; its files stay. One that is down already is no error.
    fn stop<'a>(&'a self, network: &'a Network) -> BoxFuture<'a, Result<()>>;

    /// Changes a running network from one configuration to another; goes back when it fails.
    fn update<'a>(&'a self, old: &'a Network, new: &'a Network) -> BoxFuture<'a, Result<()>>;

    /// Gives a network another name.
    fn rename<'a>(&'a self, network: &'a Network, name: &'a str) -> BoxFuture<'a, Result<()>>;

    /// Takes a network down and removes its files. One that is gone already is no error.
    fn delete<'a>(&'a self, network: &'a Network) -> BoxFuture<'a, Result<()>>;

    /// The addresses in use: the network's own when `gateways`, and those of `nics`.
    fn leases<'a>(
        &'a self,
        network: &'a Network,
        nics: &'a [LeaseNic],
        gateways: bool,
    ) -> BoxFuture<'a, Result<Vec<NetworkLease>>>;

    /// Tells the network about an instance's card: its fixed addresses and its name. Empty entries are forgotten.
    fn add_hosts<'a>(&'a self, network: &'a Network, entries: &'a [HostEntry]) -> BoxFuture<'a, Result<()>>;

    /// Forgets an instance's card and gives its leases back.
    fn remove_host<'a>(&'a self, network: &'a Network, entry: &'a HostEntry) -> BoxFuture<'a, Result<()>>;
}
