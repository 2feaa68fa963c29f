//! The host's side of an instance's card: rules for its configuration, its veth pair, its port on a bridge.

mod addresses;
mod card;
mod filter;
mod host_end;
mod ipvlan;
pub(crate) mod parent;
mod routed;
mod settings;
mod shaping;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::os::fd::{AsFd, OwnedFd};

use lxd_model::Invalid;
use lxd_sys::netlink::{self, Kind, LinkChange, Mac, NewLink, Peer, Route};
use lxd_sys::system;
use tokio::task::spawn_blocking;

use crate::subnet::Subnet;
use crate::{Error, Network, Result};

pub use card::{Card, HostSide};
pub use host_end::Before;

/// A veth pair to be made for a card: one end on the host, the other in the instance.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Veth {
    /// The name of the host's end; see [`random_name`].
    pub host_name: String,
    /// The name of the instance's end.
    pub name: String,
    /// The hardware address of the instance's end.
    pub hwaddr: String,
    /// The MTU of both ends; see [`mtu`].
    pub mtu: Option<u32>,
    /// The bridge that the host's end becomes a port of; none for `p2p`.
    pub parent: Option<String>,
    /// Networks that are behind the instance, routed to the host's end (`p2p`).
    pub routes: Vec<Subnet>,
}

/// A name for a host end that nobody has: `veth` and eight hexadecimal digits.
pub fn random_name() -> String {
    let mut bytes = [0; 4];
    // See the bridge driver: never fails for so few bytes.
    let _ = rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty());
    format!("veth{:08x}", u32::from_be_bytes(bytes))
}

/// The MTU of an interface, such as a card's bridge.
///
/// # Errors
/// [`Error::NoInterface`] and [`Error::Interfaces`].
pub async fn mtu(interface: &str) -> Result<u32> {
    let name = interface.to_owned();
    let link = netlink::run(move |socket| socket.link(&name))
        .await
        .map_err(Error::Interfaces)?;
    link.map(|link| link.mtu)
        .ok_or_else(|| Error::NoInterface(interface.to_owned()))
}

/// Makes the pair, its far end born in `netns`, and connects the host's end. 1 ms. Nothing is left when it fails.
///
/// # Errors
/// [`Error::Invalid`] for an unreadable hardware address, [`Error::Interfaces`].
pub async fn attach(veth: Veth, netns: OwnedFd) -> Result<()> {
    let hwaddr = match veth.hwaddr.as_str() {
        "" => None,
        text => Some(text.parse::<Mac>().map_err(Invalid::new)?),
    };
    let work = move || {
        let mut socket = netlink::Socket::open()?;
        let peer = Peer {
            name: &veth.name,
            mac: hwaddr,
            mtu: veth.mtu,
            netns: Some(netns.as_fd()),
        };
        let link = NewLink {
            mtu: veth.mtu,
            ..NewLink::new(&veth.host_name, Kind::Veth(peer))
        };
        socket.add_link(&link)?;
        connect(&mut socket, &veth).inspect_err(|_| {
            // The first failure is what matters.
            let _ = socket.delete_link(&veth.host_name);
        })
    };
    spawn_blocking(work)
        .await
        .map_err(Error::Stopped)?
        .map_err(Error::Interfaces)
}

/// Connects a host end that somebody else has made (liblxc's helper, while a container starts), or connects it again.
///
/// # Errors
/// [`Error::Interfaces`].
pub async fn connect_host_end(veth: Veth) -> Result<()> {
    let work = move || connect(&mut netlink::Socket::open()?, &veth);
    spawn_blocking(work)
        .await
        .map_err(Error::Stopped)?
        .map_err(Error::Interfaces)
}

fn connect(socket: &mut netlink::Socket, veth: &Veth) -> std::result::Result<(), netlink::Error> {
    if veth.parent.is_some() {
        // A port needs no address of its own; not to have one keeps the instance from talking to the host behind its bridge.
        let setting = format!("net/ipv6/conf/{}/disable_ipv6", veth.host_name);
        if let Err(error) = system::set_sysctl(&setting, "1") {
            tracing::debug!(%error, "No IPv6 to be switched off on the host's end of a card");
        }
    }
    let change = LinkChange {
        up: Some(true),
        master: veth.parent.as_deref().map(Some),
        ..LinkChange::default()
    };
    socket.change_link(&veth.host_name, &change)?;
    if !veth.routes.is_empty() {
        let index = socket.index(&veth.host_name)?;
        for net in &veth.routes {
            socket.replace_route(&Route::direct(net.network(), net.prefix, index))?;
        }
    }
    Ok(())
}

/// Deletes a pair by its host end; false when it is gone already, as it is when its instance's namespace has ended. 20 ms:
/// don't wait for it where an instance stops.
///
/// # Errors
/// [`Error::Interfaces`].
pub async fn detach(host_name: &str) -> Result<bool> {
    let name = host_name.to_owned();
    netlink::run(move |socket| socket.delete_link(&name))
        .await
        .map_err(Error::Interfaces)
}

/// Whether a `bridged` card on a managed network may have these fixed addresses. `device` is the card's configuration.
///
/// # Errors
/// The first broken rule, in the reference's words.
pub fn validate_addresses(
    network: &Network,
    device: &BTreeMap<String, String>,
) -> std::result::Result<(), Invalid> {
    for family in ["ipv4", "ipv6"] {
        validate_address(network, device, family)?;
    }
    Ok(())
}

fn validate_address(
    network: &Network,
    device: &BTreeMap<String, String>,
    family: &str,
) -> std::result::Result<(), Invalid> {
    let key = format!("{family}.address");
    let text = device.get(&key).map_or("", String::as_str);
    let filtering = format!("security.{family}_filtering");
    let filtered = Network {
        config: device.clone(),
        ..Network::default()
    }
    .is_on(&filtering, false);
    match text {
        "" => return Ok(()),
        "none" if filtered => return Ok(()),
        "none" => {
            return Err(Invalid::new(format!(
                "Cannot have {key} as none unless using {filtering}"
            )));
        }
        _ => {}
    }
    let subnet = network.get(&key).parse::<Subnet>().ok();
    let dhcp = subnet.is_some() && network.is_on(&format!("{family}.dhcp"), true);
    let name = &network.name;
    if family == "ipv4" && !dhcp && !filtered {
        return Err(Invalid::new(format!(
            "Cannot specify {key:?} when DHCP is disabled (unless using {filtering}) on network {name:?}"
        )));
    }
    if family == "ipv6" && !filtered && !(dhcp && network.is_on("ipv6.dhcp.stateful", false)) {
        return Err(Invalid::new(format!(
            "Cannot specify {key:?} when DHCP or \"ipv6.dhcp.stateful\" are disabled (unless using {filtering}) on network {name:?}"
        )));
    }
    let address = text.parse::<IpAddr>().ok();
    match (subnet, address) {
        (Some(subnet), Some(address)) if address == subnet.address => Err(Invalid::new(format!(
            "IP address {text:?} is assigned to parent managed network device {:?}",
            device.get("parent").map_or("", String::as_str)
        ))),
        (Some(subnet), Some(address)) if subnet.contains(address) => Ok(()),
        (None, Some(_)) => Ok(()),
        _ => Err(Invalid::new(format!(
            "Device IP address {text:?} not within network {name:?} subnet"
        ))),
    }
}

#[cfg(test)]
mod tests;
