//! The addresses that filters let a card use, where its configuration leaves them to the network.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;

use lxd_sys::netlink::Mac;

use super::card::Card;
use crate::dnsmasq::HostEntry;
use crate::dnsmasq::hosts::{self, DIRECTORY};
use crate::dnsmasq::leases::{self, LeaseFile};
use crate::subnet::{Range, Subnet};
use crate::{Error, Network, Result};

/// The fixed addresses of a card, of each family.
pub(super) type Fixed = (Option<Ipv4Addr>, Option<Ipv6Addr>);

/// The addresses that a card has by its configuration, or has to be given because it is filtered: those that it had, or
/// free ones. They are its own once its entry is written.
///
/// # Errors
/// [`Error::File`]; [`Error::NoFreeAddress`].
pub(super) async fn fixed(card: &Card, directory: &Path) -> Result<Fixed> {
    let mut ipv4 = card.get("ipv4.address").parse().ok();
    let mut ipv6 = card.get("ipv6.address").parse().ok();
    let Some(network) = &card.network else {
        return Ok((ipv4, ipv6));
    };
    let wants = |family: &str| {
        card.get(&format!("{family}.address")).is_empty()
            && card.is_on(&format!("security.{family}_filtering"))
            && network.is_on(&format!("{family}.dhcp"), true)
    };
    let (wants_ipv4, wants_ipv6) = (wants("ipv4"), wants("ipv6"));
    if !wants_ipv4 && !wants_ipv6 {
        return Ok((ipv4, ipv6));
    }
    let entries = entries(&directory.join(DIRECTORY)).await?;
    let leases = leases::read(directory).await?;
    let taken = Taken {
        own: entry(card).file_name(),
        hwaddr: card.hwaddr.clone(),
        entries,
        leases,
    };
    if wants_ipv4 && let Ok(subnet) = network.get("ipv4.address").parse::<Subnet>() {
        ipv4 = Some(taken.free_ipv4(network, subnet)?);
    }
    if wants_ipv6 && let Ok(subnet) = network.get("ipv6.address").parse::<Subnet>() {
        // Without DHCP the card makes its address of its hardware address, which may have changed.
        let has_dhcp = network.is_on("ipv6.dhcp.stateful", false);
        let earlier = taken.own_ipv6(subnet).filter(|_| has_dhcp);
        ipv6 = earlier.or_else(|| {
            let mac = card.hwaddr.parse::<Mac>().ok()?;
            eui64(subnet, mac)
        });
    }
    Ok((ipv4, ipv6))
}

/// What the network's dnsmasq is told about a card.
pub(super) fn entry(card: &Card) -> HostEntry {
    HostEntry {
        project: card.project.clone(),
        instance: card.instance.clone(),
        device: card.device.clone(),
        hwaddr: card.hwaddr.clone(),
        ipv4: card.get("ipv4.address").parse().ok(),
        ipv6: card.get("ipv6.address").parse().ok(),
    }
}

/// Who has which address.
struct Taken {
    own: String,
    hwaddr: String,
    /// The addresses in the entries of cards, by the names of their files.
    entries: Vec<(String, Vec<IpAddr>)>,
    leases: LeaseFile,
}

impl Taken {
    fn by_others(&self, address: IpAddr) -> bool {
        let fixed = self
            .entries
            .iter()
            .any(|(name, addresses)| *name != self.own && addresses.contains(&address));
        fixed
            || self.leases.leases.iter().any(|lease| {
                lease.address == address && lease.hwaddr.as_deref() != Some(self.hwaddr.as_str())
            })
    }

    fn own(&self) -> impl Iterator<Item = IpAddr> {
        let entry = self.entries.iter().filter(|(name, _)| *name == self.own);
        let leased = self.leases.leases.iter();
        let leased = leased.filter(|lease| lease.hwaddr.as_deref() == Some(self.hwaddr.as_str()));
        let addresses = entry.flat_map(|(_, addresses)| addresses.iter().copied());
        addresses.chain(leased.map(|lease| lease.address))
    }

    fn own_ipv6(&self, subnet: Subnet) -> Option<Ipv6Addr> {
        self.own().find_map(|address| match address {
            IpAddr::V6(address) if subnet.contains(address.into()) => Some(address),
            _ => None,
        })
    }

    fn free_ipv4(&self, network: &Network, subnet: Subnet) -> Result<Ipv4Addr> {
        let mut ranges = network.ranges("ipv4.dhcp.ranges");
        if ranges.is_empty() {
            ranges.push(Range {
                start: subnet.nth(2),
                end: subnet.nth(-2),
            });
        }
        let usable = |address: &IpAddr| {
            let within = ranges.iter().any(|r| r.start <= *address && *address <= r.end);
            within && *address != subnet.address && !self.by_others(*address)
        };
        let own = self.own().find(usable);
        let free = || {
            ranges.iter().find_map(|range| {
                let (IpAddr::V4(start), IpAddr::V4(end)) = (range.start, range.end) else {
                    return None;
                };
                let mut all =
                    (start.to_bits()..=end.to_bits()).map(|bits| IpAddr::V4(Ipv4Addr::from_bits(bits)));
                all.find(usable)
            })
        };
        match own.or_else(free) {
            Some(IpAddr::V4(address)) => Ok(address),
            _ => Err(Error::NoFreeAddress(network.name.clone())),
        }
    }
}

/// The address that a card gives itself by its hardware address.
fn eui64(subnet: Subnet, mac: Mac) -> Option<Ipv6Addr> {
    let IpAddr::V6(net) = subnet.network() else {
        return None;
    };
    let [a, b, c, d, e, f] = mac.0;
    let host = u64::from_be_bytes([a ^ 2, b, c, 0xff, 0xfe, d, e, f]);
    (subnet.prefix <= 64).then(|| Ipv6Addr::from_bits(net.to_bits() | u128::from(host)))
}

async fn entries(directory: &Path) -> Result<Vec<(String, Vec<IpAddr>)>> {
    let path = directory.to_owned();
    let read = move || {
        let listed = match std::fs::read_dir(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            listed => listed?,
        };
        let mut all = Vec::new();
        for entry in listed {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            // An entry may go while we look.
            let text = std::fs::read_to_string(entry.path()).unwrap_or_default();
            if !name.starts_with('.') {
                all.push((name, hosts::addresses(&text)));
            }
        }
        Ok(all)
    };
    let done: std::io::Result<_> = tokio::task::spawn_blocking(read).await.map_err(Error::Stopped)?;
    done.map_err(|source| Error::File {
        what: "read",
        path: directory.to_owned(),
        source,
    })
}

#[cfg(test)]
mod tests {
    use super::super::card::card;
    use super::*;

    fn filtered(instance: &str, hwaddr: &str) -> Card {
        let config = [("ipv4.address", "10.7.7.1/24"), ("ipv6.address", "fd42:7::1/64")];
        let network = Network {
            name: "br0".into(),
            config: config.map(|(k, v)| (k.to_owned(), v.to_owned())).into(),
            ..Network::default()
        };
        Card {
            instance: instance.into(),
            hwaddr: hwaddr.into(),
            network: Some(network),
            ..card(
                "bridged",
                &[
                    ("security.ipv4_filtering", "true"),
                    ("security.ipv6_filtering", "true"),
                ],
            )
        }
    }

    #[tokio::test]
    async fn cards_keep_their_addresses_and_take_free_ones() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path();
        std::fs::create_dir(path.join(DIRECTORY)).unwrap();
        let (one, two) = (
            filtered("c1", "00:16:3e:3b:2c:42"),
            filtered("c2", "00:16:3e:00:00:02"),
        );
        std::fs::write(
            path.join("dnsmasq.leases"),
            "1700000000 00:16:3e:00:00:09 10.7.7.2 x 01:00\n1700000000 00:16:3e:00:00:02 10.7.7.9 y 01:00\n",
        )
        .unwrap();
        let first = fixed(&one, path).await.unwrap();
        assert_eq!(
            first,
            (
                Some("10.7.7.3".parse().unwrap()),
                Some("fd42:7::216:3eff:fe3b:2c42".parse().unwrap())
            )
        );
        let mut written = entry(&one);
        (written.ipv4, written.ipv6) = first;
        hosts::write(path, &[written], true).await.unwrap();
        assert_eq!(fixed(&one, path).await.unwrap(), first, "what is written stays");
        let mut renewed = one.clone();
        renewed.hwaddr = "00:16:3e:3b:2c:43".into();
        assert_eq!(
            fixed(&renewed, path).await.unwrap(),
            (first.0, Some("fd42:7::216:3eff:fe3b:2c43".parse().unwrap())),
            "what follows from the hardware address follows it"
        );
        assert_eq!(
            fixed(&two, path).await.unwrap().0,
            Some("10.7.7.9".parse().unwrap()),
            "its lease"
        );
        let mut small = two.clone();
        small.hwaddr = "00:16:3e:00:00:03".into();
        if let Some(network) = &mut small.network {
            network
                .config
                .insert("ipv4.dhcp.ranges".into(), "10.7.7.2-10.7.7.3".into());
        }
        let none = fixed(&small, path).await.unwrap_err();
        assert_eq!(
            none.to_string(),
            "No available IP could not be found on network \"br0\""
        );
        let plain = card("bridged", &[("ipv4.address", "10.7.7.50")]);
        assert_eq!(
            fixed(&plain, path).await.unwrap(),
            (Some("10.7.7.50".parse().unwrap()), None)
        );
    }
}
