//! The configuration keys of bridge networks, and what their values may be.
//!
//! The keys and the texts are those of LXD 5.0.2, as its daemon answers.

use std::net::IpAddr;

use lxd_model::Invalid;

use crate::subnet::{Range, Subnet};
use crate::{Error, Network, Result};

/// What a value has to be.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Check {
    Any,
    Bool,
    OneOf(&'static [&'static str]),
    Address,
    AddressOf(Family),
    Subnet,
    /// An address with a prefix that leaves room for hosts, or `none`, or `auto`.
    HostSubnet(Family),
    Networks(Family),
    Ranges(Family),
    Integer,
    Between(i64, i64),
    Asn,
    Port,
    Mtu,
    Mac,
    Interface,
    Interfaces,
    /// The name of something that can't exist on this server yet.
    Missing,
}

use Check::*;

#[derive(Debug, Clone, Copy, PartialEq)]
enum Family {
    V4,
    V6,
}

use Family::{V4, V6};

/// Whether there is a mechanism behind a key.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Built {
    Yes,
    Not,
}

use Built::{Not, Yes};

const ACTIONS: Check = OneOf(&["allow", "drop", "reject"]);

/// All keys; `*` stands for one name that the user chooses.
const KEYS: &[(&str, Check, Built)] = &[
    ("bgp.peers.*.address", Address, Not),
    ("bgp.peers.*.asn", Asn, Not),
    ("bgp.peers.*.password", Any, Not),
    ("bridge.driver", OneOf(&["native", "openvswitch"]), Yes),
    ("bridge.external_interfaces", Interfaces, Yes),
    ("bridge.hwaddr", Mac, Yes),
    ("bridge.mode", OneOf(&["standard", "fan"]), Yes),
    ("bridge.mtu", Mtu, Yes),
    ("dns.domain", Any, Yes),
    ("dns.mode", OneOf(&["dynamic", "managed", "none"]), Yes),
    ("dns.search", Any, Yes),
    ("dns.zone.forward", Missing, Not),
    ("dns.zone.reverse.ipv4", Missing, Not),
    ("dns.zone.reverse.ipv6", Missing, Not),
    ("fan.overlay_subnet", Subnet, Not),
    ("fan.type", OneOf(&["vxlan", "ipip"]), Not),
    ("fan.underlay_subnet", Subnet, Not),
    ("ipv4.address", HostSubnet(V4), Yes),
    ("ipv4.dhcp", Bool, Yes),
    ("ipv4.dhcp.expiry", Any, Yes),
    ("ipv4.dhcp.gateway", AddressOf(V4), Yes),
    ("ipv4.dhcp.ranges", Ranges(V4), Yes),
    ("ipv4.firewall", Bool, Yes),
    ("ipv4.nat", Bool, Yes),
    ("ipv4.nat.address", AddressOf(V4), Yes),
    ("ipv4.nat.order", OneOf(&["before", "after"]), Yes),
    ("ipv4.ovn.ranges", Ranges(V4), Yes),
    ("ipv4.routes", Networks(V4), Yes),
    ("ipv4.routing", Bool, Yes),
    ("ipv6.address", HostSubnet(V6), Yes),
    ("ipv6.dhcp", Bool, Yes),
    ("ipv6.dhcp.expiry", Any, Yes),
    ("ipv6.dhcp.ranges", Ranges(V6), Yes),
    ("ipv6.dhcp.stateful", Bool, Yes),
    ("ipv6.firewall", Bool, Yes),
    ("ipv6.nat", Bool, Yes),
    ("ipv6.nat.address", AddressOf(V6), Yes),
    ("ipv6.nat.order", OneOf(&["before", "after"]), Yes),
    ("ipv6.ovn.ranges", Ranges(V6), Yes),
    ("ipv6.routes", Networks(V6), Yes),
    ("ipv6.routing", Bool, Yes),
    ("maas.subnet.ipv4", Any, Yes),
    ("maas.subnet.ipv6", Any, Yes),
    ("raw.dnsmasq", Any, Yes),
    ("security.acls", Any, Yes),
    ("security.acls.default.egress.action", ACTIONS, Yes),
    ("security.acls.default.egress.logged", Bool, Yes),
    ("security.acls.default.ingress.action", ACTIONS, Yes),
    ("security.acls.default.ingress.logged", Bool, Yes),
    ("tunnel.*.group", Address, Not),
    ("tunnel.*.id", Integer, Not),
    ("tunnel.*.interface", Interface, Not),
    ("tunnel.*.local", Address, Not),
    ("tunnel.*.port", Port, Not),
    ("tunnel.*.protocol", OneOf(&["gre", "vxlan"]), Not),
    ("tunnel.*.remote", Address, Not),
    ("tunnel.*.ttl", Between(0, 255), Not),
];

/// Refuses keys that no bridge has, also where they are to be removed.
pub(super) fn check_removed(network: &Network) -> Result<()> {
    let removed = network.config.iter().filter(|(_, value)| value.is_empty());
    let mut keys = removed.map(|(key, _)| key);
    match keys.find(|key| !key.starts_with("user.") && find(key).is_none()) {
        Some(key) => Err(Error::UnknownKey {
            network: network.name.clone(),
            key: key.clone(),
        }),
        None => Ok(()),
    }
}

/// Whether a bridge may be configured like this. Empty values count as not set.
///
/// # Errors
/// The first broken rule, in the order of the keys.
pub(super) fn validate(network: &Network) -> Result<()> {
    let set = || network.config.iter().filter(|(_, value)| !value.is_empty());
    for (key, value) in set() {
        if key.starts_with("user.") {
            continue;
        }
        // Known to the reference's documentation, and refused by its daemon with this text.
        if key == "bgp.ipv4.nexthop" || key == "bgp.ipv6.nexthop" {
            return Err(Invalid::new(format!("Invalid network configuration key: {key}")).into());
        }
        let name = &network.name;
        if let Some(tunnel) = key
            .strip_prefix("tunnel.")
            .and_then(|rest| rest.split('.').next())
            && name.len() + 1 + tunnel.len() > 15
        {
            let text = format!("Network name too long for tunnel interface: {name}-{tunnel}");
            return Err(Invalid::new(text).into());
        }
        let (_, check, _) = find(key).ok_or_else(|| Error::UnknownKey {
            network: name.clone(),
            key: key.clone(),
        })?;
        check.apply(value).map_err(|reason| Error::Value {
            network: name.clone(),
            key: key.clone(),
            reason,
        })?;
    }
    validate_mode(network)?;
    validate_ranges(network, "ipv4")?;
    validate_ranges(network, "ipv6")?;
    if let Some(acl) = network.list("security.acls").first() {
        return Err(Invalid::new(format!("Network ACL {acl:?} does not exist")).into());
    }
    for (key, _) in set() {
        if matches!(find(key), Some((_, _, Not))) {
            return Err(Error::KeyNotImplemented {
                network: network.name.clone(),
                key: key.clone(),
            });
        }
    }
    Ok(())
}

fn validate_mode(network: &Network) -> Result<()> {
    let not_built = |key: &str| {
        Err(Error::KeyNotImplemented {
            network: network.name.clone(),
            key: key.to_owned(),
        })
    };
    if network.get("bridge.mode") == "fan" {
        return not_built("bridge.mode");
    }
    if network
        .config
        .iter()
        .any(|(key, value)| key.starts_with("fan.") && !value.is_empty())
    {
        return Err(Invalid::new("FAN configuration may only be set when in 'fan' mode").into());
    }
    if network.get("bridge.driver") == "openvswitch" {
        return not_built("bridge.driver");
    }
    Ok(())
}

fn validate_ranges(network: &Network, family: &str) -> Result<()> {
    let (ovn_key, dhcp_key) = (format!("{family}.ovn.ranges"), format!("{family}.dhcp.ranges"));
    let ovn = network.ranges(&ovn_key);
    let (version, in_use) = match family {
        "ipv4" => ("4", network.is_on("ipv4.dhcp", true)),
        _ => (
            "6",
            network.is_on("ipv6.dhcp", true) && network.is_on("ipv6.dhcp.stateful", false),
        ),
    };
    if ovn.is_empty() || !in_use {
        return Ok(());
    }
    let dhcp = network.ranges(&dhcp_key);
    if dhcp.is_empty() {
        let text = format!(
            "{ovn_key:?} must be used in conjunction with non-overlapping {dhcp_key:?} when DHCPv{version} is enabled"
        );
        return Err(Invalid::new(text).into());
    }
    match ovn
        .iter()
        .find(|range| dhcp.iter().any(|other| other.overlaps(**range)))
    {
        Some(range) => {
            let text =
                format!("The range specified in {ovn_key:?} (\"{range}\") cannot overlap with {dhcp_key:?}");
            Err(Invalid::new(text).into())
        }
        None => Ok(()),
    }
}

fn find(key: &str) -> Option<(&'static str, Check, Built)> {
    KEYS.iter()
        .copied()
        .find(|(pattern, _, _)| match pattern.split_once('*') {
            None => *pattern == key,
            Some((before, after)) => key
                .strip_prefix(before)
                .and_then(|rest| rest.strip_suffix(after))
                .is_some_and(|name| !name.is_empty() && !name.contains('.')),
        })
}

impl Check {
    fn apply(self, value: &str) -> std::result::Result<(), String> {
        match self {
            Any => Ok(()),
            Bool => is_bool(value),
            OneOf(allowed) if allowed.contains(&value) => Ok(()),
            OneOf(allowed) => Err(format!(
                "Invalid value {value:?} (not one of [{}])",
                allowed.join(" ")
            )),
            Address => value
                .parse::<IpAddr>()
                .map(drop)
                .map_err(|_| format!("Not an IP address {value:?}")),
            AddressOf(family) => is_address(value, family),
            Check::Subnet => value.parse::<Subnet>().map(drop),
            HostSubnet(family) => is_host_subnet(value, family),
            Networks(family) => each(value, |item| is_network(item, family)),
            Ranges(family) => each(value, |item| Range::parse(item, family == V4).map(drop)),
            Integer => is_integer(value, i64::MIN, i64::MAX)
                .then_some(())
                .ok_or_else(|| format!("Invalid value for an integer {value:?}")),
            Between(low, high) => is_integer(value, low, high).then_some(()).ok_or_else(|| {
                format!("Invalid value for an integer {value:?}. Must be between {low} and {high}")
            }),
            Asn => is_asn(value),
            Port => is_port(value),
            Mtu => is_mtu(value),
            Mac => value
                .parse::<lxd_sys::netlink::Mac>()
                .map(drop)
                .map_err(|_| "Invalid MAC address, must be 6 bytes of hex separated by colons".to_owned()),
            Interface => lxd_model::names::interface(value).map_err(|e| e.to_string()),
            Interfaces => value.split(',').map(str::trim).try_for_each(|item| {
                lxd_model::names::interface(item).map_err(|e| format!("Invalid interface name {item:?}: {e}"))
            }),
            Missing => Err(format!("Network zone {value:?} doesn't exist")),
        }
    }
}

fn each(
    value: &str,
    check: impl Fn(&str) -> std::result::Result<(), String>,
) -> std::result::Result<(), String> {
    value
        .split(',')
        .map(str::trim)
        .try_for_each(|item| check(item).map_err(|reason| format!("Item {item:?}: {reason}")))
}

fn is_bool(value: &str) -> std::result::Result<(), String> {
    let known = ["true", "1", "yes", "on", "false", "0", "no", "off"];
    if known.iter().any(|word| value.eq_ignore_ascii_case(word)) {
        return Ok(());
    }
    Err(format!("Invalid value for a boolean {value:?}"))
}

fn is_integer(value: &str, low: i64, high: i64) -> bool {
    value
        .parse::<i64>()
        .is_ok_and(|number| (low..=high).contains(&number))
}

fn is_asn(value: &str) -> std::result::Result<(), String> {
    let number: i64 = value
        .parse()
        .map_err(|_| format!("Invalid value for an integer {value:?}"))?;
    if (1..=4_294_967_294).contains(&number) {
        return Ok(());
    }
    Err("Value isn't within valid range. Must be between 1 and 4294967294".into())
}

fn is_port(value: &str) -> std::result::Result<(), String> {
    let number: i64 = value
        .parse()
        .map_err(|_| format!("Invalid value for an integer: {value}"))?;
    if (0..=65535).contains(&number) {
        Ok(())
    } else {
        Err(format!("Invalid port number: {value}"))
    }
}

fn is_mtu(value: &str) -> std::result::Result<(), String> {
    let mtu: u32 = value.parse().map_err(|_| format!("Invalid MTU {value:?}"))?;
    if (1280..=16384).contains(&mtu) {
        return Ok(());
    }
    Err(format!("Out of MTU range (1280-16384) {value:?}"))
}

fn version(family: Family) -> &'static str {
    if family == V4 { "IPv4" } else { "IPv6" }
}

fn is_address(value: &str, family: Family) -> std::result::Result<(), String> {
    match value.parse::<IpAddr>() {
        Ok(address) if address.is_ipv4() == (family == V4) => Ok(()),
        _ => Err(format!("Not an {} address {value:?}", version(family))),
    }
}

fn is_host_subnet(value: &str, family: Family) -> std::result::Result<(), String> {
    if value == "none" || value == "auto" {
        return Ok(());
    }
    let subnet: Subnet = value.parse()?;
    if subnet.address.is_ipv4() != (family == V4) {
        return Err(format!("Not an {} address {value:?}", version(family)));
    }
    if subnet.network() == subnet.address || subnet.nth(0) == subnet.nth(-1) {
        return Err(format!("Not a usable {} address {value:?}", version(family)));
    }
    Ok(())
}

fn is_network(value: &str, family: Family) -> std::result::Result<(), String> {
    let subnet: Subnet = value.parse()?;
    if subnet.address.is_ipv4() != (family == V4) {
        return Err(format!("Not an {} network {value:?}", version(family)));
    }
    if subnet.network() != subnet.address {
        return Err(format!("Not an {} network address {value:?}", version(family)));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(pairs: &[(&str, &str)]) -> String {
        let config = pairs
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
            .collect();
        let network = Network {
            name: "ntx".into(),
            config,
            ..Network::default()
        };
        validate(&network).map_or_else(|e| e.to_string(), |()| "ok".into())
    }

    #[test]
    fn values_are_answered_as_the_reference_does() {
        for (key, value, reason) in [
            ("bgp.peers.a.address", "b@d", "Not an IP address \"b@d\""),
            ("bgp.peers.a.asn", "b@d", "Invalid value for an integer \"b@d\""),
            (
                "bgp.peers.a.asn",
                "0",
                "Value isn't within valid range. Must be between 1 and 4294967294",
            ),
            (
                "bridge.driver",
                "b@d,",
                "Invalid value \"b@d,\" (not one of [native openvswitch])",
            ),
            (
                "bridge.external_interfaces",
                "b@d,",
                "Invalid interface name \"b@d\": Network interface contains invalid characters",
            ),
            (
                "bridge.hwaddr",
                "00-16-3e-aa-bb-cc",
                "Invalid MAC address, must be 6 bytes of hex separated by colons",
            ),
            (
                "bridge.mode",
                "x",
                "Invalid value \"x\" (not one of [standard fan])",
            ),
            ("bridge.mtu", "x", "Invalid MTU \"x\""),
            ("bridge.mtu", "1279", "Out of MTU range (1280-16384) \"1279\""),
            (
                "dns.mode",
                "x",
                "Invalid value \"x\" (not one of [dynamic managed none])",
            ),
            ("dns.zone.forward", "x", "Network zone \"x\" doesn't exist"),
            ("fan.overlay_subnet", "x", "invalid CIDR address: x"),
            ("ipv4.address", "10.1.1.1", "invalid CIDR address: 10.1.1.1"),
            (
                "ipv4.address",
                "10.1.1.0/24",
                "Not a usable IPv4 address \"10.1.1.0/24\"",
            ),
            (
                "ipv4.address",
                "10.1.1.1/32",
                "Not a usable IPv4 address \"10.1.1.1/32\"",
            ),
            ("ipv4.address", "fd00::1/64", "Not an IPv4 address \"fd00::1/64\""),
            ("ipv4.dhcp.gateway", "x", "Not an IPv4 address \"x\""),
            (
                "ipv4.dhcp.ranges",
                "x,",
                "Item \"x\": IP range must contain start and end IP addresses",
            ),
            (
                "ipv4.dhcp.ranges",
                "10.1.1.2-fd00::1",
                "Item \"10.1.1.2-fd00::1\": Not an IPv4 address \"fd00::1\"",
            ),
            ("ipv4.nat", "maybe", "Invalid value for a boolean \"maybe\""),
            (
                "ipv4.routes",
                "fd00::/64",
                "Item \"fd00::/64\": Not an IPv4 network \"fd00::/64\"",
            ),
            (
                "ipv4.routes",
                "10.1.0.1/16",
                "Item \"10.1.0.1/16\": Not an IPv4 network address \"10.1.0.1/16\"",
            ),
            ("ipv6.nat.address", "x", "Not an IPv6 address \"x\""),
            (
                "security.acls.default.egress.action",
                "x",
                "Invalid value \"x\" (not one of [allow drop reject])",
            ),
            (
                "tunnel.a.interface",
                "b@d",
                "Network interface contains invalid characters",
            ),
            ("tunnel.a.port", "x", "Invalid value for an integer: x"),
            ("tunnel.a.port", "70000", "Invalid port number: 70000"),
            (
                "tunnel.a.ttl",
                "256",
                "Invalid value for an integer \"256\". Must be between 0 and 255",
            ),
        ] {
            let expected = format!("Invalid value for network \"ntx\" option {key:?}: {reason}");
            assert_eq!(answer(&[(key, value)]), expected);
        }
    }

    #[test]
    fn keys_and_combinations_are_answered_as_the_reference_does() {
        for (pairs, expected) in [
            (
                &[("nope", "x")][..],
                "Invalid option for network \"ntx\" option \"nope\"",
            ),
            (
                &[("bgp.peers.a.foo", "x")],
                "Invalid option for network \"ntx\" option \"bgp.peers.a.foo\"",
            ),
            (
                &[("tunnel.aaaaaaaaaaaaa.id", "1")],
                "Network name too long for tunnel interface: ntx-aaaaaaaaaaaaa",
            ),
            (
                &[("fan.type", "ipip")],
                "FAN configuration may only be set when in 'fan' mode",
            ),
            (
                &[("bgp.ipv4.nexthop", "x")],
                "Invalid network configuration key: bgp.ipv4.nexthop",
            ),
            (
                &[("security.acls", "web,db")],
                "Network ACL \"web\" does not exist",
            ),
            (
                &[("ipv4.ovn.ranges", "10.1.1.2-10.1.1.5")],
                "\"ipv4.ovn.ranges\" must be used in conjunction with non-overlapping \"ipv4.dhcp.ranges\" when DHCPv4 is enabled",
            ),
            (
                &[
                    ("ipv4.ovn.ranges", "10.1.1.6-10.1.1.9"),
                    ("ipv4.dhcp.ranges", "10.1.1.2-10.1.1.7"),
                ],
                "The range specified in \"ipv4.ovn.ranges\" (\"10.1.1.6-10.1.1.9\") cannot overlap with \"ipv4.dhcp.ranges\"",
            ),
            (
                &[("tunnel.a.protocol", "gre")],
                "Network \"ntx\" option \"tunnel.a.protocol\" is not implemented on this server",
            ),
            (
                &[("bridge.mode", "fan")],
                "Network \"ntx\" option \"bridge.mode\" is not implemented on this server",
            ),
            (&[("nope", ""), ("ipv4.nat", "")], "ok"),
            (
                &[
                    ("ipv4.address", "10.1.1.1/31"),
                    ("ipv6.address", "none"),
                    ("ipv4.nat", "YES"),
                    ("user.x", "y"),
                    ("bridge.mtu", "9000"),
                ],
                "ok",
            ),
        ] {
            assert_eq!(answer(pairs), expected, "{pairs:?}");
        }
    }
}
