//! The packet filter rules of a bridge network: four chains of table `inet lxd`.

use lxd_sys::nft::{Batch, Family, Hook};

use super::plan::{Nat, Plan, Side};

/// The table that all rules of ours are in.
const TABLE: &str = "lxd";

/// The chains a network can have, with where they hang, in the order they are made.
const CHAINS: [(&str, Hook); 4] = [
    (
        "pstrt",
        Hook {
            kind: "nat",
            hook: "postrouting",
            priority: 100,
        },
    ),
    (
        "fwd",
        Hook {
            kind: "filter",
            hook: "forward",
            priority: 0,
        },
    ),
    (
        "in",
        Hook {
            kind: "filter",
            hook: "input",
            priority: 0,
        },
    ),
    (
        "out",
        Hook {
            kind: "filter",
            hook: "output",
            priority: 0,
        },
    ),
];

/// ICMP messages that DHCP clients and the bridge need from each other.
const ICMP: &str = "3, 11, 12";
const ICMPV6_IN: &str = "1, 2, 3, 4, 133, 135, 136, 143";
const ICMPV6_OUT: &str = "1, 2, 3, 4, 128, 134, 135, 136, 143";

/// The batch that makes the rules exactly these, whatever was there before.
pub(super) fn apply(plan: &Plan) -> Batch {
    let mut batch = Batch::new(Family::Inet, TABLE);
    let rules = [
        nat(plan),
        forward(plan),
        local(plan, "iifname", "dport"),
        local(plan, "oifname", "sport"),
    ];
    for ((prefix, hook), rules) in CHAINS.into_iter().zip(rules) {
        let chain = format!("{prefix}.{}", plan.name);
        if rules.is_empty() {
            batch.delete_chain(&chain);
        } else {
            batch.replace_chain(&chain, hook, &rules);
        }
    }
    batch
}

/// Whether a network has any rules.
pub(super) fn is_wanted(plan: &Plan) -> bool {
    plan.sides().any(|side| side.firewall || side.nat.is_some())
}

/// The batch that removes a network's chains.
pub(super) fn remove(network: &str) -> Batch {
    let mut batch = Batch::new(Family::Inet, TABLE);
    for (prefix, _) in CHAINS {
        batch.delete_chain(&format!("{prefix}.{network}"));
    }
    batch
}

fn nat(plan: &Plan) -> Vec<String> {
    let rule = |side: &Side| {
        let (family, net) = (family(side), side.subnet.cidr());
        let matching = format!("{family} saddr {net} {family} daddr != {net}");
        match side.nat? {
            Nat::Masquerade => Some(format!("{matching} masquerade")),
            Nat::To(address) => Some(format!("{matching} snat {family} to {address}")),
        }
    };
    plan.sides().filter_map(rule).collect()
}

fn forward(plan: &Plan) -> Vec<String> {
    let mut rules = Vec::new();
    for side in plan.sides().filter(|side| side.firewall) {
        let version = if side.subnet.address.is_ipv4() {
            "ip version 4"
        } else {
            "ip6 version 6"
        };
        let verdict = if side.routing { "accept" } else { "reject" };
        for direction in ["oifname", "iifname"] {
            rules.push(format!("{version} {direction} \"{}\" {verdict}", plan.name));
        }
    }
    rules
}

/// What instances may ask of the host itself (input), and the host answer (output): DNS, DHCP, and ICMP with DHCP.
fn local(plan: &Plan, interface: &str, port: &str) -> Vec<String> {
    if !plan.sides().any(|side| side.firewall) {
        return Vec::new();
    }
    let on = format!("{interface} \"{}\"", plan.name);
    let mut rules = vec![
        format!("{on} tcp {port} 53 accept"),
        format!("{on} udp {port} 53 accept"),
    ];
    for side in plan.sides().filter(|side| side.firewall && side.dhcp) {
        let (protocol, types, dhcp) = match (side.subnet.address.is_ipv4(), port) {
            (true, _) => ("icmp", ICMP, 67),
            (false, "dport") => ("icmpv6", ICMPV6_IN, 547),
            (false, _) => ("icmpv6", ICMPV6_OUT, 547),
        };
        rules.push(format!("{on} {protocol} type {{ {types} }} accept"));
        rules.push(format!("{on} udp {port} {dhcp} accept"));
    }
    rules
}

fn family(side: &Side) -> &'static str {
    if side.subnet.address.is_ipv4() {
        "ip"
    } else {
        "ip6"
    }
}
