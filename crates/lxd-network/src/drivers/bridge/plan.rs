//! What the host has to look like for a bridge network, as plain values.

use std::net::IpAddr;

use lxd_sys::netlink::Mac;

use crate::subnet::{Range, Subnet};
use crate::{Error, Host, Network, Result};

/// The MTU of bridges that don't say.
const DEFAULT_MTU: u32 = 1500;

/// A bridge network's configuration with its defaults, read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Plan {
    pub(super) name: String,
    pub(super) mac: Mac,
    pub(super) mtu: u32,
    pub(super) ipv4: Option<Side>,
    pub(super) ipv6: Option<Side>,
    pub(super) stateful: bool,
    pub(super) ports: Vec<String>,
    pub(super) dns: Option<String>,
    pub(super) search: String,
    pub(super) dhcp_gateway: String,
    pub(super) raw: String,
}

/// What is configured for IPv4 or for IPv6.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Side {
    pub(super) subnet: Subnet,
    pub(super) dhcp: bool,
    pub(super) expiry: String,
    pub(super) ranges: Vec<Range>,
    pub(super) firewall: bool,
    pub(super) routing: bool,
    pub(super) nat: Option<Nat>,
    pub(super) routes: Vec<Subnet>,
}

/// How addresses are translated on the way out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Nat {
    Masquerade,
    To(IpAddr),
}

impl Plan {
    /// Reads a network's configuration, which has to be valid and filled.
    pub(super) fn new(host: &Host, network: &Network) -> Result<Self> {
        let mac = match network.get("bridge.hwaddr") {
            "" => stable_mac(&host.settings.seed, &network.name),
            text => text.parse().map_err(|reason| Error::Value {
                network: network.name.clone(),
                key: "bridge.hwaddr".into(),
                reason,
            })?,
        };
        let dns = match (network.get("dns.mode"), network.get("dns.domain")) {
            ("none", _) => None,
            (_, "") => Some("lxd".to_owned()),
            (_, domain) => Some(domain.to_owned()),
        };
        Ok(Self {
            name: network.name.clone(),
            mac,
            mtu: network.get("bridge.mtu").parse().unwrap_or(DEFAULT_MTU),
            ipv4: side(network, "ipv4")?,
            ipv6: side(network, "ipv6")?,
            stateful: network.is_on("ipv6.dhcp.stateful", false),
            ports: network
                .list("bridge.external_interfaces")
                .into_iter()
                .map(str::to_owned)
                .collect(),
            dns,
            search: network.get("dns.search").to_owned(),
            dhcp_gateway: network.get("ipv4.dhcp.gateway").to_owned(),
            raw: network.get("raw.dnsmasq").to_owned(),
        })
    }

    /// Both sides that are configured.
    pub(super) fn sides(&self) -> impl Iterator<Item = &Side> {
        self.ipv4.iter().chain(&self.ipv6)
    }

    /// Whether the MTU has to be told to clients.
    pub(super) fn has_own_mtu(&self) -> bool {
        self.mtu != DEFAULT_MTU
    }
}

fn side(network: &Network, family: &str) -> Result<Option<Side>> {
    let key = |rest: &str| format!("{family}.{rest}");
    let text = network.get(&key("address"));
    if matches!(text, "" | "none") {
        return Ok(None);
    }
    let value_error = |reason| Error::Value {
        network: network.name.clone(),
        key: key("address"),
        reason,
    };
    let subnet = text.parse().map_err(value_error)?;
    let nat = match network.get(&key("nat.address")).parse() {
        _ if !network.is_on(&key("nat"), false) => None,
        Ok(address) => Some(Nat::To(address)),
        Err(_) => Some(Nat::Masquerade),
    };
    let expiry = match network.get(&key("dhcp.expiry")) {
        "" => "1h",
        text => text,
    };
    Ok(Some(Side {
        subnet,
        dhcp: network.is_on(&key("dhcp"), true),
        expiry: expiry.to_owned(),
        ranges: network.ranges(&key("dhcp.ranges")),
        firewall: network.is_on(&key("firewall"), true),
        routing: network.is_on(&key("routing"), true),
        nat,
        routes: network
            .list(&key("routes"))
            .iter()
            .filter_map(|item| item.parse().ok())
            .collect(),
    }))
}

/// A hardware address in the range of virtual interfaces that is always the same for one network of one server, so that
/// neighbours and DHCPv6 clients know it again after a restart.
fn stable_mac(seed: &str, name: &str) -> Mac {
    // FNV-1a: no secret, only spread.
    let hash = seed
        .bytes()
        .chain([0])
        .chain(name.bytes())
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
    let [.., a, b, c] = (hash ^ (hash >> 32)).to_be_bytes();
    Mac([0x00, 0x16, 0x3e, a, b, c])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hardware_addresses_are_stable_and_differ() {
        assert_eq!(stable_mac("a", "br0"), stable_mac("a", "br0"));
        assert_ne!(stable_mac("a", "br0"), stable_mac("a", "br1"));
        assert_ne!(stable_mac("a", "br0"), stable_mac("b", "br0"));
        assert_eq!(stable_mac("a", "br0").0[..3], [0x00, 0x16, 0x3e]);
    }
}
