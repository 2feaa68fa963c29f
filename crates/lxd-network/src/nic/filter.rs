//! The rules that keep a card from using other cards' addresses: two chains of table `bridge lxd` for each card.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use lxd_sys::netlink::Mac;
use lxd_sys::nft::{Batch, Family, Hook};

use super::card::Card;
use crate::subnet::Subnet;

/// The table that all rules of ours are in.
const TABLE: &str = "lxd";

/// Where filters of bridges hang: nft's own `filter` priority for them.
const PRIORITY: i32 = -200;

/// What a card may use of one family of addresses.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Allowed {
    Everything,
    Nothing,
    Only(Vec<Subnet>),
}

/// The batch that lays down a card's filters. `ipv4` and `ipv6` are the addresses that it has, fixed or given to it.
pub(super) fn apply(card: &Card, mac: Mac, ipv4: Option<Ipv4Addr>, ipv6: Option<Ipv6Addr>) -> Batch {
    let chain = card.chain();
    let mut batch = Batch::new(Family::Bridge, TABLE);
    let v4 = allowed(card, "ipv4", ipv4.map(IpAddr::V4));
    let v6 = allowed(card, "ipv6", ipv6.map(IpAddr::V6));
    for (prefix, hook, local) in [("in", "input", true), ("fwd", "forward", false)] {
        let hook = Hook {
            kind: "filter",
            hook,
            priority: PRIORITY,
        };
        let on = format!("iifname \"{}\"", card.host_name);
        let rules: Vec<String> = rules(mac, &v4, &v6, local)
            .into_iter()
            .map(|rule| format!("{on} {rule}"))
            .collect();
        batch.replace_chain(&format!("{prefix}.{chain}"), hook, &rules);
    }
    batch
}

/// The batch that removes a card's filters.
pub(super) fn remove(card: &Card) -> Batch {
    let chain = card.chain();
    let mut batch = Batch::new(Family::Bridge, TABLE);
    for prefix in ["in", "fwd"] {
        batch.delete_chain(&format!("{prefix}.{chain}"));
    }
    batch
}

fn allowed(card: &Card, family: &str, address: Option<IpAddr>) -> Allowed {
    if !card.is_on(&format!("security.{family}_filtering")) {
        return Allowed::Everything;
    }
    let Some(address) = address else {
        return Allowed::Nothing;
    };
    let prefix = if address.is_ipv4() { 32 } else { 128 };
    let mut all = vec![Subnet { address, prefix }];
    all.extend(card.routes(address.is_ipv4()));
    Allowed::Only(all)
}

fn rules(mac: Mac, v4: &Allowed, v6: &Allowed, local: bool) -> Vec<String> {
    let digits: String = mac.0.iter().map(|byte| format!("{byte:02x}")).collect();
    let mut rules = vec![
        format!("ether saddr != {mac} drop"),
        format!("arp saddr ether != {mac} drop"),
        // The address that a neighbour advertisement tells of is its own.
        format!("icmpv6 type nd-neighbor-advert @nh,528,48 != 0x{digits} drop"),
    ];
    match v4 {
        Allowed::Everything => {}
        Allowed::Nothing => rules.extend(["ether type arp drop", "ether type ip drop"].map(Into::into)),
        Allowed::Only(nets) => {
            if local {
                rules.push("ip saddr 0.0.0.0 ip daddr 255.255.255.255 udp dport 67 accept".into());
            }
            for net in nets {
                let text = text(*net);
                rules.push(format!("arp saddr ip {text} accept"));
                rules.push(format!("ip saddr {text} accept"));
            }
            rules.extend(["ether type arp drop", "ether type ip drop"].map(Into::into));
        }
    }
    match v6 {
        Allowed::Everything => {}
        Allowed::Nothing => rules.push("ether type ip6 drop".into()),
        Allowed::Only(nets) => {
            if local {
                rules.push("ip6 saddr fe80::/10 ip6 daddr ff02::1:2 udp dport 547 accept".into());
                rules.push(
                    "ip6 saddr fe80::/10 ip6 daddr ff02::2 icmpv6 type nd-router-solicit accept".into(),
                );
            }
            rules.push("icmpv6 type nd-router-advert drop".into());
            for net in nets {
                let pair = [
                    format!("icmpv6 type nd-neighbor-advert {} accept", advertised(*net)),
                    format!("ip6 saddr {} accept", text(*net)),
                ];
                let [first, second] = pair;
                rules.extend(if local { [first, second] } else { [second, first] });
            }
            rules.push("ether type ip6 drop".into());
        }
    }
    if [v4, v6].iter().any(|allowed| matches!(allowed, Allowed::Only(_))) {
        rules.push("ether type != { arp, ip, ip6 } drop".into());
    }
    rules
}

/// A network as nft writes it, a single address without its length.
fn text(net: Subnet) -> String {
    let whole = if net.address.is_ipv4() { 32 } else { 128 };
    if net.prefix == whole {
        net.address.to_string()
    } else {
        net.cidr()
    }
}

/// The target of a neighbour advertisement within a network.
fn advertised(net: Subnet) -> String {
    let IpAddr::V6(address) = net.network() else {
        return String::new();
    };
    let length = u32::from(net.prefix.max(1));
    let value = address.to_bits() >> (128 - length);
    format!(
        "@nh,384,{length} 0x{value:0width$x}",
        width = length.div_ceil(4) as usize
    )
}

#[cfg(test)]
mod tests {
    use super::super::card::card;
    use super::*;

    const MAC: Mac = Mac([0x00, 0x16, 0x3e, 0x3b, 0x2c, 0x42]);

    fn lines(config: &[(&str, &str)], v4: Option<&str>, v6: Option<&str>) -> String {
        let card = card("bridged", config);
        let batch = apply(
            &card,
            MAC,
            v4.map(|a| a.parse().unwrap()),
            v6.map(|a| a.parse().unwrap()),
        );
        batch
            .text()
            .lines()
            .filter_map(|line| line.strip_prefix("add rule bridge lxd "))
            .map(|line| line.replace(" iifname \"veth7c60424a\"", "") + "\n")
            .collect()
    }

    #[test]
    fn hardware_addresses_alone() {
        assert_eq!(
            lines(&[("security.mac_filtering", "true")], None, None),
            "in.c1.eth0 ether saddr != 00:16:3e:3b:2c:42 drop
in.c1.eth0 arp saddr ether != 00:16:3e:3b:2c:42 drop
in.c1.eth0 icmpv6 type nd-neighbor-advert @nh,528,48 != 0x00163e3b2c42 drop
fwd.c1.eth0 ether saddr != 00:16:3e:3b:2c:42 drop
fwd.c1.eth0 arp saddr ether != 00:16:3e:3b:2c:42 drop
fwd.c1.eth0 icmpv6 type nd-neighbor-advert @nh,528,48 != 0x00163e3b2c42 drop
"
        );
    }

    #[test]
    fn addresses_and_routes_of_both_families() {
        let config = [
            ("security.ipv4_filtering", "true"),
            ("security.ipv6_filtering", "true"),
            ("ipv4.routes", "10.99.0.0/24"),
            ("ipv6.routes", "fd99::/64"),
        ];
        let text = lines(&config, Some("10.77.1.50"), Some("fd42:77:1::50"));
        let incoming: Vec<&str> = text
            .lines()
            .filter_map(|l| l.strip_prefix("in.c1.eth0 "))
            .skip(3)
            .collect();
        assert_eq!(
            incoming,
            [
                "ip saddr 0.0.0.0 ip daddr 255.255.255.255 udp dport 67 accept",
                "arp saddr ip 10.77.1.50 accept",
                "ip saddr 10.77.1.50 accept",
                "arp saddr ip 10.99.0.0/24 accept",
                "ip saddr 10.99.0.0/24 accept",
                "ether type arp drop",
                "ether type ip drop",
                "ip6 saddr fe80::/10 ip6 daddr ff02::1:2 udp dport 547 accept",
                "ip6 saddr fe80::/10 ip6 daddr ff02::2 icmpv6 type nd-router-solicit accept",
                "icmpv6 type nd-router-advert drop",
                "icmpv6 type nd-neighbor-advert @nh,384,128 0xfd420077000100000000000000000050 accept",
                "ip6 saddr fd42:77:1::50 accept",
                "icmpv6 type nd-neighbor-advert @nh,384,64 0xfd99000000000000 accept",
                "ip6 saddr fd99::/64 accept",
                "ether type ip6 drop",
                "ether type != { arp, ip, ip6 } drop",
            ]
        );
        let forward: Vec<&str> = text
            .lines()
            .filter_map(|l| l.strip_prefix("fwd.c1.eth0 "))
            .skip(3)
            .collect();
        assert_eq!(
            forward,
            [
                "arp saddr ip 10.77.1.50 accept",
                "ip saddr 10.77.1.50 accept",
                "arp saddr ip 10.99.0.0/24 accept",
                "ip saddr 10.99.0.0/24 accept",
                "ether type arp drop",
                "ether type ip drop",
                "icmpv6 type nd-router-advert drop",
                "ip6 saddr fd42:77:1::50 accept",
                "icmpv6 type nd-neighbor-advert @nh,384,128 0xfd420077000100000000000000000050 accept",
                "ip6 saddr fd99::/64 accept",
                "icmpv6 type nd-neighbor-advert @nh,384,64 0xfd99000000000000 accept",
                "ether type ip6 drop",
                "ether type != { arp, ip, ip6 } drop",
            ]
        );
    }

    #[test]
    fn no_address_at_all() {
        let text = lines(&[("security.ipv4_filtering", "true")], None, None);
        assert!(text.contains("in.c1.eth0 ether type arp drop\nin.c1.eth0 ether type ip drop\nfwd."));
        assert!(!text.contains("!= { arp"));
    }
}
