//! What instances need of storage and networks. The use cases join these with the crates that can do it.

use std::error::Error;
use std::fmt;

use futures::future::BoxFuture;
use lxd_model::ErrorKind;

use crate::instance::Instance;

/// Why a port could not do what it was asked to: another crate's error, in its own words.
#[derive(Debug)]
pub struct PortError {
    /// The kind of failure.
    pub kind: ErrorKind,
    error: Box<dyn Error + Send + Sync>,
}

impl PortError {
    /// Wraps another crate's error.
    pub fn new(kind: ErrorKind, error: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self {
            kind,
            error: error.into(),
        }
    }
}

impl fmt::Display for PortError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)
    }
}

impl Error for PortError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        // This wrapper stands in the chain for the error itself.
        self.error.source()
    }
}

/// What every port answers with.
pub type PortResult<T> = Result<T, PortError>;

/// A root volume that is ready to be started from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RootVolume {
    /// The folder that becomes `/`.
    pub rootfs: std::path::PathBuf,
    /// Whether files there belong to ids inside (0 and up), so that the container must mount it with its own id map. If
    /// not, they belong to the host's ids of the container's map already, by an idmapped mount or on disk.
    pub needs_idmap: bool,
    /// `volatile.*` keys that this changes, such as `volatile.last_state.idmap`.
    pub volatile: Vec<(String, String)>,
}

/// A volume that a user made, ready to be seen by an instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CustomVolume {
    /// Its folder.
    pub path: std::path::PathBuf,
    /// Whether files there belong to ids inside (0 and up), so that the mount must map them.
    pub needs_idmap: bool,
}

/// Root volumes, and those that users made.
pub trait Storage: Send + Sync {
    /// Makes the instance's root volume ready for its id map. Doing it twice is harmless.
    fn mount_root<'a>(&'a self, instance: &'a Instance) -> BoxFuture<'a, PortResult<RootVolume>>;

    /// Undoes [`Storage::mount_root`]. Also harmless when it was never mounted.
    fn unmount_root<'a>(&'a self, instance: &'a Instance) -> BoxFuture<'a, PortResult<()>>;

    /// Makes a volume of a pool ready for a disk of the instance. Doing it twice is harmless.
    fn mount_volume<'a>(
        &'a self,
        instance: &'a Instance,
        pool: &'a str,
        name: &'a str,
    ) -> BoxFuture<'a, PortResult<CustomVolume>>;

    /// Undoes [`Storage::mount_volume`], for this instance. Also harmless when it was never mounted.
    fn unmount_volume<'a>(
        &'a self,
        instance: &'a Instance,
        pool: &'a str,
        name: &'a str,
    ) -> BoxFuture<'a, PortResult<()>>;
}

/// What the host has ready for a network card.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct NicHost {
    /// The bridge that its end on the host becomes a port of.
    pub master: Option<String>,
    /// The host's card below it, or that becomes it.
    pub parent: Option<String>,
    /// Whether that one was made for it.
    pub created: bool,
    /// The network's packet size in bytes, for cards that have none configured.
    pub mtu: Option<u32>,
    /// MAC address and packet size of a card of the host that becomes this one.
    pub original: Option<(String, u32)>,
    /// Addresses inside, with the lengths of their prefixes.
    pub addresses: Vec<(std::net::IpAddr, u8)>,
    /// Gateways of default routes inside.
    pub gateways: Vec<std::net::IpAddr>,
    /// Whether default routes inside go to the card itself, for IPv4 and IPv6.
    pub defaults: [bool; 2],
}

/// Ports of the host that lead to ports of an instance by rules of the firewall.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Forward {
    /// `tcp` or `udp`.
    pub protocol: &'static str,
    /// The address on the host.
    pub listen: std::net::IpAddr,
    /// The address of the instance.
    pub connect: std::net::IpAddr,
    /// Ports on the host.
    pub listen_ports: Vec<u16>,
    /// Ports of the instance: as many, or one.
    pub connect_ports: Vec<u16>,
}

/// A network card of an instance that starts, runs, or has stopped.
#[derive(Debug, Clone, Copy)]
pub struct NicDevice<'a> {
    /// The instance.
    pub instance: &'a Instance,
    /// The device's name, such as `eth0`.
    pub device: &'a str,
    /// The name of the card's end on the host; empty before it has one.
    pub host_name: &'a str,
    /// The MAC address inside; empty before it has one.
    pub hwaddr: &'a str,
}

/// Networks.
pub trait Network: Send + Sync {
    /// Before the card exists: says where it belongs, and lays down what must be there before its first packet, such as
    /// filters and static leases.
    fn prepare_nic<'a>(&'a self, nic: NicDevice<'a>) -> BoxFuture<'a, PortResult<NicHost>>;

    /// After its host end exists and is up: routes, shaping, isolation.
    fn nic_started<'a>(&'a self, nic: NicDevice<'a>) -> BoxFuture<'a, PortResult<()>>;

    /// Brings a running card from the configuration of `old` to that of `new`.
    fn nic_changed<'a>(&'a self, old: NicDevice<'a>, new: NicDevice<'a>) -> BoxFuture<'a, PortResult<()>>;

    /// After the card is gone, which the kernel sees to; also harmless when it never was. Waits for nothing.
    fn nic_stopped<'a>(&'a self, nic: NicDevice<'a>) -> BoxFuture<'a, PortResult<()>>;

    /// Leads ports of the host to an instance; none at all takes that back. Doing it twice is harmless.
    fn forward<'a>(
        &'a self,
        instance: &'a Instance,
        device: &'a str,
        forward: Option<&'a Forward>,
    ) -> BoxFuture<'a, PortResult<()>>;
}
