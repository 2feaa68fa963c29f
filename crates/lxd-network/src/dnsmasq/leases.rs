//! The addresses that a network's instances have: fixed ones, computed ones, and those dnsmasq has leased.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;

use lxd_api::networks::NetworkLease;
use lxd_sys::netlink::Mac;

use crate::subnet::Subnet;
use crate::{Error, Result};

/// dnsmasq's own file.
const FILE: &str = "dnsmasq.leases";

/// An instance's card whose leases are asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LeaseNic {
    /// The instance's name.
    pub instance: String,
    /// The card's hardware address.
    pub hwaddr: String,
    /// The IPv4 address it always gets.
    pub ipv4: Option<Ipv4Addr>,
    /// The IPv6 address it always gets.
    pub ipv6: Option<Ipv6Addr>,
}

/// A line of dnsmasq's file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    /// The address.
    pub address: IpAddr,
    /// The hardware address, where it is known: DHCPv6 clients are free to hide it.
    pub hwaddr: Option<String>,
    /// The name the client gave, or got; empty when there is none.
    pub hostname: String,
    /// The client's id: DHCPv4 client id or DHCPv6 DUID.
    pub client: Option<Vec<u8>>,
    /// DHCPv6: the number of the association.
    pub association: u32,
}

/// All of dnsmasq's file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LeaseFile {
    /// The leases.
    pub leases: Vec<Lease>,
    /// The server's own DHCPv6 id.
    pub server: Option<Vec<u8>>,
}

/// Reads a network's leases; none when there is no file.
pub(crate) async fn read(directory: &Path) -> Result<LeaseFile> {
    let path = directory.join(FILE);
    match tokio::fs::read_to_string(&path).await {
        Ok(text) => Ok(LeaseFile::parse(&text)),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(LeaseFile::default()),
        Err(source) => Err(Error::File {
            what: "read",
            path,
            source,
        }),
    }
}

impl LeaseFile {
    /// Reads the file's text; lines that make no sense are skipped.
    pub fn parse(text: &str) -> Self {
        let mut file = Self::default();
        for line in text.lines() {
            let fields: Vec<&str> = line.split_whitespace().collect();
            match fields[..] {
                ["duid", id] => file.server = bytes(id),
                [_, id, address, hostname, client, ..] => {
                    file.leases.extend(lease(id, address, hostname, client))
                }
                _ => {}
            }
        }
        file
    }
}

fn lease(id: &str, address: &str, hostname: &str, client: &str) -> Option<Lease> {
    let address: IpAddr = address.parse().ok()?;
    let client = bytes(client);
    let (hwaddr, association) = if address.is_ipv4() {
        // Other hardware than Ethernet has its type in front: `06-...`.
        (Some(id.to_ascii_lowercase()), 0)
    } else {
        // Temporary associations have a T in front.
        (
            client.as_deref().and_then(duid_mac),
            id.trim_start_matches('T').parse().unwrap_or(0),
        )
    };
    let hostname = if hostname == "*" {
        String::new()
    } else {
        hostname.to_owned()
    };
    Some(Lease {
        address,
        hwaddr,
        hostname,
        client,
        association,
    })
}

/// Bytes written as `01:76:c1`; nothing for `*`.
fn bytes(text: &str) -> Option<Vec<u8>> {
    text.split(':')
        .map(|pair| u8::from_str_radix(pair, 16).ok())
        .collect()
}

/// The hardware address inside a DUID of type 1 (with time) or 3 (without), Ethernet (RFC 8415 section 11).
fn duid_mac(duid: &[u8]) -> Option<String> {
    let mac = match duid {
        [0, 1, 0, 1, _, _, _, _, mac @ ..] | [0, 3, 0, 1, mac @ ..] => mac,
        _ => return None,
    };
    Some(Mac(mac.try_into().ok()?).to_string())
}

/// What a list of leases is made of, besides cards and file.
pub(crate) struct View<'a> {
    pub(crate) network: &'a str,
    /// The network's own addresses, when they are to be listed.
    pub(crate) own: &'a [IpAddr],
    /// The IPv6 network in which cards choose their own addresses.
    pub(crate) stateless: Option<Subnet>,
    pub(crate) location: &'a str,
}

impl View<'_> {
    /// The network's own addresses, then each card's fixed and computed ones, then leased ones of these cards.
    pub(crate) fn list(&self, nics: &[LeaseNic], file: &LeaseFile) -> Vec<NetworkLease> {
        let mut all: Vec<NetworkLease> = self.own.iter().map(|address| self.gateway(*address)).collect();
        for nic in nics {
            let entry = |address: IpAddr, kind: &str| NetworkLease {
                hostname: nic.instance.clone(),
                hwaddr: nic.hwaddr.clone(),
                address: address.to_string(),
                r#type: kind.to_owned(),
                location: self.location.to_owned(),
            };
            all.extend(nic.ipv4.map(|address| entry(address.into(), "static")));
            all.extend(nic.ipv6.map(|address| entry(address.into(), "static")));
            if nic.ipv6.is_none()
                && let Some(address) = self.stateless.and_then(|subnet| eui64(subnet, &nic.hwaddr))
            {
                all.push(entry(address, "dynamic"));
            }
        }
        for lease in &file.leases {
            let address = lease.address.to_string();
            let of_nic = lease
                .hwaddr
                .as_ref()
                .and_then(|mac| nics.iter().find(|nic| nic.hwaddr.eq_ignore_ascii_case(mac)));
            if let Some(nic) = of_nic
                && !all.iter().any(|other| other.address == address)
            {
                all.push(NetworkLease {
                    hostname: lease.hostname.clone(),
                    hwaddr: nic.hwaddr.clone(),
                    address,
                    r#type: "dynamic".into(),
                    location: self.location.to_owned(),
                });
            }
        }
        all
    }

    fn gateway(&self, address: IpAddr) -> NetworkLease {
        NetworkLease {
            hostname: format!("{}.gw", self.network),
            address: address.to_string(),
            r#type: "gateway".into(),
            ..NetworkLease::default()
        }
    }
}

/// The address that a card without privacy extensions gives itself in a /64 (RFC 4291, appendix A).
fn eui64(subnet: Subnet, hwaddr: &str) -> Option<IpAddr> {
    let IpAddr::V6(network) = subnet.network() else {
        return None;
    };
    if subnet.prefix != 64 {
        return None;
    }
    let [a, b, c, d, e, f] = hwaddr.parse::<Mac>().ok()?.0;
    let host = u64::from_be_bytes([a ^ 2, b, c, 0xff, 0xfe, d, e, f]);
    Some(Ipv6Addr::from_bits(network.to_bits() | u128::from(host)).into())
}
