//! The host's network interfaces as the API shows them: those that no network of ours manages, and the state of any.

use lxd_api::networks::{
    NetworkState, NetworkStateAddress, NetworkStateBond, NetworkStateBridge, NetworkStateCounters,
    NetworkStateVLAN,
};
use lxd_sys::netlink::{self, Address, Link, Socket};

use crate::{Error, Result};

/// An interface of the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Interface {
    /// Its name.
    pub name: String,
    /// What the API calls its type.
    pub kind: &'static str,
}

/// The host's interfaces in the kernel's order, without the host ends of instances' cards.
///
/// # Errors
/// [`Error::Interfaces`].
pub async fn list() -> Result<Vec<Interface>> {
    let links = netlink::run(Socket::links).await.map_err(Error::Interfaces)?;
    Ok(links
        .into_iter()
        .filter(|link| !is_hidden(&link.name))
        .map(interface)
        .collect())
}

/// One interface of the host.
///
/// # Errors
/// [`Error::NoInterface`], also for the hidden ones; [`Error::Interfaces`].
pub async fn get(name: &str) -> Result<Interface> {
    let wanted = name.to_owned();
    let link = netlink::run(move |socket| socket.link(&wanted))
        .await
        .map_err(Error::Interfaces)?;
    link.filter(|link| !is_hidden(&link.name))
        .map(interface)
        .ok_or_else(|| Error::NoInterface(name.to_owned()))
}

/// What an interface has and does now.
///
/// # Errors
/// [`Error::NoInterface`] and [`Error::Interfaces`].
pub async fn state(name: &str) -> Result<NetworkState> {
    let (links, addresses) = netlink::run(|socket| Ok((socket.links()?, socket.addresses()?)))
        .await
        .map_err(Error::Interfaces)?;
    let link = links.iter().find(|link| link.name == name);
    let link = link.ok_or_else(|| Error::NoInterface(name.to_owned()))?;
    let mut state = describe(link, &links, &addresses);
    if link.kind == "bond" {
        state.bond = bond(link, &links).await;
    }
    Ok(state)
}

/// Whether there is an interface of that name. Blocking, 0.1 ms.
pub(crate) fn exists(name: &str) -> Result<bool> {
    let link = Socket::open()
        .and_then(|mut socket| socket.link(name))
        .map_err(Error::Interfaces)?;
    Ok(link.is_some())
}

/// The host ends of instances' cards are of no interest to anybody.
fn is_hidden(name: &str) -> bool {
    name.starts_with("veth")
}

fn interface(link: Link) -> Interface {
    let kind = match link.kind.as_str() {
        _ if link.is_loopback() => "loopback",
        "bridge" => "bridge",
        "bond" => "bond",
        "vlan" => "vlan",
        _ if link.physical => "physical",
        _ => "unknown",
    };
    Interface {
        name: link.name,
        kind,
    }
}

fn describe(link: &Link, links: &[Link], addresses: &[Address]) -> NetworkState {
    // Packets are never so many that the sign would show.
    let count = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
    let kind = match link.flags {
        _ if link.is_loopback() => "loopback",
        flags if flags & POINT_TO_POINT != 0 => "point-to-point",
        flags if flags & BROADCAST != 0 => "broadcast",
        _ => "unknown",
    };
    NetworkState {
        addresses: addresses
            .iter()
            .filter(|a| a.index == link.index)
            .map(address)
            .collect(),
        counters: NetworkStateCounters {
            bytes_received: count(link.stats.rx_bytes),
            bytes_sent: count(link.stats.tx_bytes),
            packets_received: count(link.stats.rx_packets),
            packets_sent: count(link.stats.tx_packets),
        },
        hwaddr: if link.is_loopback() {
            String::new()
        } else {
            link.mac()
        },
        mtu: link.mtu.into(),
        state: if link.is_up() { "up" } else { "down" }.to_owned(),
        r#type: kind.to_owned(),
        bridge: bridge(link, links),
        vlan: vlan(link, links),
        ..NetworkState::default()
    }
}

/// Flags of a link (netdevice(7)).
const BROADCAST: u32 = 0x2;
const POINT_TO_POINT: u32 = 0x10;

fn address(address: &Address) -> NetworkStateAddress {
    NetworkStateAddress {
        family: if address.address.is_ipv4() {
            "inet"
        } else {
            "inet6"
        }
        .to_owned(),
        address: address.address.to_string(),
        netmask: address.prefix.to_string(),
        scope: address.scope.to_owned(),
    }
}

fn members(link: &Link, links: &[Link]) -> Vec<String> {
    links
        .iter()
        .filter(|other| other.master == Some(link.index))
        .map(|other| other.name.clone())
        .collect()
}

fn bridge(link: &Link, links: &[Link]) -> Option<NetworkStateBridge> {
    let facts = link.bridge.as_ref()?;
    let digits: String = facts.address.iter().map(|byte| format!("{byte:02x}")).collect();
    Some(NetworkStateBridge {
        forward_delay: facts.forward_delay,
        id: format!("{:04x}.{digits}", facts.priority),
        stp: facts.stp,
        upper_devices: members(link, links),
        vlan_default: facts.default_vlan.into(),
        vlan_filtering: facts.vlan_filtering,
    })
}

fn vlan(link: &Link, links: &[Link]) -> Option<NetworkStateVLAN> {
    let id = link.vlan?;
    let lower = links
        .iter()
        .find(|other| Some(other.index) == link.lower && link.peer_netns.is_none());
    Some(NetworkStateVLAN {
        lower_device: lower.map(|other| other.name.clone()).unwrap_or_default(),
        vid: id.into(),
    })
}

/// What only sysfs says about bonds.
async fn bond(link: &Link, links: &[Link]) -> Option<NetworkStateBond> {
    let directory = std::path::Path::new("/sys/class/net")
        .join(&link.name)
        .join("bonding");
    let read = |name: &'static str| {
        let path = directory.join(name);
        async move {
            let text = tokio::fs::read_to_string(path).await.unwrap_or_default();
            // Modes come as a name and a number.
            text.split_whitespace().next().unwrap_or_default().to_owned()
        }
    };
    Some(NetworkStateBond {
        mode: read("mode").await,
        transmit_policy: read("xmit_hash_policy").await,
        up_delay: read("updelay").await.parse().unwrap_or(0),
        down_delay: read("downdelay").await.parse().unwrap_or(0),
        mii_frequency: read("miimon").await.parse().unwrap_or(0),
        mii_state: read("mii_status").await,
        lower_devices: members(link, links),
    })
}
