//! Ports of the host that lead to an instance by rules of the firewall.

use std::net::{IpAddr, SocketAddr};

use lxd_sys::nft::{Batch, Family, Hook};

use crate::{Error, Networks, Result};

/// The chains of a forward with where they hang: packets that come in, packets of the host itself, and the instance's own
/// packets to itself.
const CHAINS: [(&str, &str, i32); 3] = [
    ("prert", "prerouting", -100),
    ("out", "output", -100),
    ("pstrt", "postrouting", 100),
];

/// Ports that lead to an instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Forward {
    /// `tcp` or `udp`.
    pub protocol: &'static str,
    /// The address on the host.
    pub listen: IpAddr,
    /// The address of the instance, of the same family.
    pub connect: IpAddr,
    /// Ports on the host.
    pub listen_ports: Vec<u16>,
    /// Ports of the instance: as many, or one.
    pub connect_ports: Vec<u16>,
}

impl Networks {
    /// Leads ports to an instance; nothing takes that back. `chain` is `[PROJECT_]INSTANCE.DEVICE`.
    ///
    /// # Errors
    /// [`Error::CardRules`]; nothing has changed then.
    pub async fn forward(&self, chain: &str, forward: Option<&Forward>) -> Result<()> {
        let applied = batch(chain, forward).apply(self.host().runner.as_ref()).await;
        applied.map_err(|source| Error::CardRules {
            what: "change the forwarded ports",
            card: chain.to_owned(),
            source,
        })
    }
}

fn batch(chain: &str, forward: Option<&Forward>) -> Batch {
    let mut batch = Batch::new(Family::Inet, "lxd");
    for (prefix, hook, priority) in CHAINS {
        let name = format!("{prefix}.{chain}");
        let Some(forward) = forward else {
            batch.delete_chain(&name);
            continue;
        };
        let rules = if prefix == "pstrt" {
            hairpins(forward)
        } else {
            translations(forward)
        };
        let hook = Hook {
            kind: "nat",
            hook,
            priority,
        };
        batch.replace_chain(&name, hook, &rules);
    }
    batch
}

fn family(forward: &Forward) -> &'static str {
    if forward.listen.is_ipv4() { "ip" } else { "ip6" }
}

fn translations(forward: &Forward) -> Vec<String> {
    let (family, protocol, listen) = (family(forward), forward.protocol, forward.listen);
    let rule = |ports: String, target: u16| {
        let target = SocketAddr::new(forward.connect, target);
        format!("{family} daddr {listen} {protocol} dport {ports} dnat {family} to {target}")
    };
    match forward.connect_ports[..] {
        [target] => ranges(&forward.listen_ports)
            .into_iter()
            .map(|ports| rule(ports, target))
            .collect(),
        _ => {
            let pairs = forward.listen_ports.iter().zip(&forward.connect_ports);
            pairs
                .map(|(port, target)| rule(port.to_string(), *target))
                .collect()
        }
    }
}

/// An instance that calls itself by the host's address must get answers from there.
fn hairpins(forward: &Forward) -> Vec<String> {
    let (family, protocol, own) = (family(forward), forward.protocol, forward.connect);
    let rule =
        |ports| format!("{family} saddr {own} {family} daddr {own} {protocol} dport {ports} masquerade");
    ranges(&forward.connect_ports).into_iter().map(rule).collect()
}

/// Ports as nft writes them: runs of them as ranges.
fn ranges(ports: &[u16]) -> Vec<String> {
    let mut runs: Vec<(u16, u16)> = Vec::new();
    for port in ports {
        match runs.last_mut() {
            Some((_, last)) if last.checked_add(1) == Some(*port) => *last = *port,
            _ => runs.push((*port, *port)),
        }
    }
    let text = |(first, last): (u16, u16)| {
        if first == last {
            first.to_string()
        } else {
            format!("{first}-{last}")
        }
    };
    runs.into_iter().map(text).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(listen: &str, connect: &str, listen_ports: &[u16], connect_ports: &[u16]) -> Vec<String> {
        let forward = Forward {
            protocol: "tcp",
            listen: listen.parse().unwrap(),
            connect: connect.parse().unwrap(),
            listen_ports: listen_ports.to_vec(),
            connect_ports: connect_ports.to_vec(),
        };
        let batch = batch("c1.p", Some(&forward));
        let lines = batch.text().lines();
        lines
            .filter_map(|line| line.strip_prefix("add rule inet lxd "))
            .map(str::to_owned)
            .collect()
    }

    #[test]
    fn single_ports_ranges_and_many_to_one() {
        assert_eq!(
            rules("10.7.1.1", "10.7.1.50", &[1111, 1112], &[80, 81]),
            [
                "prert.c1.p ip daddr 10.7.1.1 tcp dport 1111 dnat ip to 10.7.1.50:80",
                "prert.c1.p ip daddr 10.7.1.1 tcp dport 1112 dnat ip to 10.7.1.50:81",
                "out.c1.p ip daddr 10.7.1.1 tcp dport 1111 dnat ip to 10.7.1.50:80",
                "out.c1.p ip daddr 10.7.1.1 tcp dport 1112 dnat ip to 10.7.1.50:81",
                "pstrt.c1.p ip saddr 10.7.1.50 ip daddr 10.7.1.50 tcp dport 80-81 masquerade",
            ]
        );
        assert_eq!(
            rules("fd00::1", "fd00::50", &[1111, 1112, 1119], &[80]),
            [
                "prert.c1.p ip6 daddr fd00::1 tcp dport 1111-1112 dnat ip6 to [fd00::50]:80",
                "prert.c1.p ip6 daddr fd00::1 tcp dport 1119 dnat ip6 to [fd00::50]:80",
                "out.c1.p ip6 daddr fd00::1 tcp dport 1111-1112 dnat ip6 to [fd00::50]:80",
                "out.c1.p ip6 daddr fd00::1 tcp dport 1119 dnat ip6 to [fd00::50]:80",
                "pstrt.c1.p ip6 saddr fd00::50 ip6 daddr fd00::50 tcp dport 80 masquerade",
            ]
        );
        assert!(
            batch("c1.p", None)
                .text()
                .contains("delete chain inet lxd out.c1.p")
        );
    }
}
