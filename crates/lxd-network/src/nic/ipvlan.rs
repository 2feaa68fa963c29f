//! Cards that share the hardware address of a card of the host; in mode `l3s` the host answers for their addresses there.

use std::net::IpAddr;

use lxd_sys::netlink::{Route, Socket};

use super::card::{Card, HostSide};
use super::parent;
use super::settings;
use crate::{Error, Result};

/// The link that leads to addresses which the host is only to answer for.
const LOOPBACK: &str = "lo";

/// Whether the card switches by hardware address, as a port of a switch would.
fn is_l2(card: &Card) -> bool {
    card.get("mode") == "l2"
}

/// What the card gets inside.
///
/// # Errors
/// No parent; a kernel setting that stands against it.
pub(super) async fn prepare(card: &Card) -> Result<HostSide> {
    let mut side = parent::find(card).await?;
    // A VLAN exists after this only: its settings are seen to later.
    if !is_l2(card) && card.get("vlan").is_empty() {
        check_settings(card)?;
    }
    for (index, family, whole) in [(0, "ipv4", 32), (1, "ipv6", 128)] {
        let (addresses, gateway) = (format!("{family}.address"), format!("{family}.gateway"));
        for text in card.list(&addresses) {
            let (host, length) = text.split_once('/').unwrap_or((text, ""));
            if let Ok(address) = host.parse() {
                let default = match (is_l2(card), whole) {
                    (true, 32) => 24,
                    (true, _) => 64,
                    (false, whole) => whole,
                };
                side.addresses.push((address, length.parse().unwrap_or(default)));
            }
        }
        match card.get(&gateway) {
            "" | "auto" => side.defaults[index] = !is_l2(card) && card.list(&addresses).next().is_some(),
            text => side.gateways.extend(text.parse::<IpAddr>().ok()),
        }
    }
    Ok(side)
}

fn check_settings(card: &Card) -> Result<()> {
    let parent = card.parent();
    let mut wanted = Vec::new();
    if card.list("ipv4.address").next().is_some() {
        wanted.push(["ipv4", parent, "forwarding"]);
    }
    if card.list("ipv6.address").next().is_some() {
        wanted.push(["ipv6", parent, "forwarding"]);
        wanted.push(["ipv6", parent, "proxy_ndp"]);
    }
    settings::check("IPVLAN in L3S mode", &wanted)
}

/// The addresses that the host answers for on the parent.
fn answered(card: &Card) -> Vec<(IpAddr, u8)> {
    if is_l2(card) {
        return Vec::new();
    }
    let families = [("ipv4.address", 32), ("ipv6.address", 128)];
    let all = families.into_iter().flat_map(|(key, length)| {
        card.list(key)
            .filter_map(move |text| Some((text.split('/').next()?.parse().ok()?, length)))
    });
    all.collect()
}

/// Makes the host answer for the card's addresses. Where the parent is a VLAN of ours, its settings follow. Blocking.
pub(super) fn connect(socket: &mut Socket, card: &Card) -> Result<()> {
    let addresses = answered(card);
    if addresses.is_empty() {
        return Ok(());
    }
    let link = parent::name(card);
    if !card.get("vlan").is_empty() {
        settings::set(card, &format!("ipv4/conf/{link}/forwarding"), "1")?;
        if addresses.iter().any(|(address, _)| address.is_ipv6()) {
            settings::set(card, &format!("ipv6/conf/{link}/forwarding"), "1")?;
            settings::set(card, &format!("ipv6/conf/{link}/proxy_ndp"), "1")?;
        }
    }
    let parent = socket.index(&link).map_err(Error::Interfaces)?;
    let loopback = socket.index(LOOPBACK).map_err(Error::Interfaces)?;
    for (address, length) in addresses {
        // The kernel answers only for what it would send elsewhere.
        socket
            .replace_route(&Route::direct(address, length, loopback))
            .map_err(Error::Interfaces)?;
        socket.add_proxy(parent, address).map_err(Error::Interfaces)?;
    }
    Ok(())
}

/// Takes that back. What is gone already is fine. Blocking.
pub(super) fn disconnect(socket: &mut Socket, card: &Card) -> Result<()> {
    let addresses = answered(card);
    if addresses.is_empty() {
        return Ok(());
    }
    let parent = socket.link(&parent::name(card)).map_err(Error::Interfaces)?;
    let loopback = socket.index(LOOPBACK).map_err(Error::Interfaces)?;
    for (address, length) in addresses {
        if let Some(parent) = &parent {
            socket
                .delete_proxy(parent.index, address)
                .map_err(Error::Interfaces)?;
        }
        socket
            .delete_route(&Route::direct(address, length, loopback))
            .map_err(Error::Interfaces)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use lxd_sys::netlink::{self, Kind, LinkChange, NewLink};

    use super::super::card::card;
    use super::*;

    #[test]
    fn the_host_answers_for_addresses_of_l3s_alone() {
        let addresses = [
            ("ipv4.address", "10.0.0.5, 10.0.0.6"),
            ("ipv6.address", "fd00::5"),
        ];
        let own = card("ipvlan", &addresses);
        let shown: Vec<String> = answered(&own)
            .iter()
            .map(|(address, length)| format!("{address}/{length}"))
            .collect();
        assert_eq!(shown, ["10.0.0.5/32", "10.0.0.6/32", "fd00::5/128"]);
        let l2 = card("ipvlan", &[addresses[0], ("mode", "l2")]);
        assert!(answered(&l2).is_empty());
    }

    #[test]
    fn proxies_and_routes_come_and_go() {
        netlink::in_new_namespace(|| {
            let mut socket = Socket::open().unwrap();
            socket.add_link(&NewLink::new("br0", Kind::Bridge)).unwrap();
            let up = LinkChange {
                up: Some(true),
                ..LinkChange::default()
            };
            for link in ["lo", "br0"] {
                socket.change_link(link, &up).unwrap();
            }
            let own = card("ipvlan", &[("parent", "br0"), ("ipv4.address", "10.0.0.5")]);
            let leads = |socket: &mut Socket| {
                let mut routes = socket.routes().unwrap().into_iter();
                routes.any(|route| route.destination.to_string() == "10.0.0.5")
            };
            connect(&mut socket, &own).unwrap();
            connect(&mut socket, &own).unwrap();
            assert!(leads(&mut socket));
            disconnect(&mut socket, &own).unwrap();
            disconnect(&mut socket, &own).unwrap();
            assert!(!leads(&mut socket));
            let index = socket.index("br0").unwrap();
            assert!(!socket.delete_proxy(index, "10.0.0.5".parse().unwrap()).unwrap());
        })
        .unwrap();
    }
}
