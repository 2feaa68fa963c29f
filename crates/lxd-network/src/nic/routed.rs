//! Cards that are routed: the host answers for their addresses on the parent, and is their gateway.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use lxd_model::Invalid;
use lxd_sys::netlink::{self, Route, Socket};
use lxd_sys::nft::{Batch, Family, Hook};

use super::card::{Card, HostSide};
use super::{parent, settings};
use crate::{Error, Result};

/// Where the host is, seen from inside, unless the card says something else.
const HOST_IPV4: IpAddr = IpAddr::V4(Ipv4Addr::new(169, 254, 0, 1));
const HOST_IPV6: IpAddr = IpAddr::V6(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1));

/// How long somebody who has an address already may take to say so.
const PROBE: Duration = Duration::from_millis(500);
const PROBE_STEP: Duration = Duration::from_millis(50);

/// The families of addresses: name, and whether it is version 4.
const FAMILIES: [(&str, bool); 2] = [("ipv4", true), ("ipv6", false)];

/// The addresses of a family.
fn addresses(card: &Card, family: &str) -> Vec<IpAddr> {
    let key = format!("{family}.address");
    let list = card.list(&key);
    list.filter_map(|text| text.split('/').next()?.parse().ok())
        .collect()
}

fn host_address(card: &Card, family: &str, ipv4: bool) -> IpAddr {
    let default = if ipv4 { HOST_IPV4 } else { HOST_IPV6 };
    card.get(&format!("{family}.host_address"))
        .parse()
        .unwrap_or(default)
}

/// Checks that the host can route for a card, and says what the card gets inside.
///
/// # Errors
/// No parent; a kernel setting that stands against it; an address that somebody has already.
pub(super) async fn prepare(card: &Card) -> Result<HostSide> {
    let mut side = HostSide::default();
    if !card.parent().is_empty() {
        if card.get("vlan").is_empty() {
            check_settings(card)?;
        }
        side = parent::find(card).await?;
        side.original = None;
    }
    let outfitted = outfit(card, &mut side).await;
    if outfitted.is_err() && side.created {
        parent::remove_vlan(card).await?;
    }
    outfitted.map(|()| side)
}

/// Gives the card its addresses, unless somebody else has one of them.
async fn outfit(card: &Card, side: &mut HostSide) -> Result<()> {
    for (family, ipv4) in FAMILIES {
        let all = addresses(card, family);
        let length = if ipv4 { 32 } else { 128 };
        side.addresses
            .extend(all.iter().map(|address| (*address, length)));
        if !all.is_empty() && matches!(card.get(&format!("{family}.gateway")), "" | "auto") {
            side.gateways.push(host_address(card, family, ipv4));
        }
        let probes = card.is_on_or(&format!("{family}.neighbor_probe"), true);
        if let Some(parent) = side.parent.as_deref().filter(|_| probes && !all.is_empty()) {
            probe(parent, &all).await?;
        }
    }
    Ok(())
}

fn check_settings(card: &Card) -> Result<()> {
    let parent = card.parent();
    let mut wanted = Vec::new();
    if !addresses(card, "ipv4").is_empty() {
        wanted.push(["ipv4", parent, "forwarding"]);
    }
    if !addresses(card, "ipv6").is_empty() {
        wanted.push(["ipv6", "all", "forwarding"]);
        wanted.push(["ipv6", parent, "forwarding"]);
        wanted.push(["ipv6", "all", "proxy_ndp"]);
        wanted.push(["ipv6", parent, "proxy_ndp"]);
    }
    settings::check("Routed mode", &wanted)
}

/// Asks on the parent's network whether somebody has one of these addresses: a packet to it makes the kernel ask.
async fn probe(parent: &str, addresses: &[IpAddr]) -> Result<()> {
    for address in addresses {
        let any = match address {
            IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        };
        // What can't be asked on this network is nobody's there.
        let Ok(socket) = tokio::net::UdpSocket::bind((any, 0)).await else {
            continue;
        };
        if socket.bind_device(Some(parent.as_bytes())).is_ok() {
            let _ = socket.send_to(&[], (*address, 9)).await;
        }
    }
    let (name, wanted) = (parent.to_owned(), addresses.to_vec());
    let started = tokio::time::Instant::now();
    while started.elapsed() < PROBE {
        tokio::time::sleep(PROBE_STEP).await;
        let (name, wanted) = (name.clone(), wanted.clone());
        let seen = netlink::run(move |socket| {
            let index = socket.index(&name)?;
            let all = socket.neighbours()?.into_iter();
            let mut ours = all.filter(|n| n.index == index && n.valid && wanted.contains(&n.address));
            Ok(ours.next())
        });
        if let Some(neighbour) = seen.await.map_err(Error::Interfaces)? {
            let text = format!(
                "IP address {:?} is in use on parent device {parent:?}",
                neighbour.address.to_string()
            );
            return Err(Invalid::new(text).into());
        }
    }
    Ok(())
}

/// Makes the host the card's gateway, once its end is there. Blocking.
pub(super) fn connect(socket: &mut Socket, card: &Card) -> Result<()> {
    let link = card.host_name.as_str();
    let set = |name: &str, value: &str| settings::set(card, name, value);
    set(&format!("ipv4/conf/{link}/rp_filter"), "1")?;
    set(&format!("ipv4/conf/{link}/forwarding"), "1")?;
    if std::path::Path::new("/proc/sys/net/ipv6").is_dir() {
        set(&format!("ipv6/conf/{link}/forwarding"), "1")?;
        set(&format!("ipv6/conf/{link}/accept_ra"), "0")?;
    }
    let index = socket.index(link).map_err(Error::Interfaces)?;
    let parent = match card.parent() {
        "" => None,
        _ => Some(socket.index(&parent::name(card)).map_err(Error::Interfaces)?),
    };
    for (family, ipv4) in FAMILIES {
        let all = addresses(card, family);
        let Some(first) = all.first() else { continue };
        let length = if ipv4 { 32 } else { 128 };
        let own = host_address(card, family, ipv4);
        match socket.add_address(link, own, length) {
            Err(error) if !error.exists() => return Err(Error::Interfaces(error)),
            _ => {}
        }
        let mut routes: Vec<Route> = all
            .iter()
            .map(|address| Route::direct(*address, length, index))
            .collect();
        if let Ok(table) = card.get(&format!("{family}.host_table")).parse() {
            let again = routes.clone().into_iter();
            routes.extend(again.map(|route| Route {
                table: Some(table),
                ..route
            }));
        }
        routes.extend(card.routes(ipv4).into_iter().map(|net| Route {
            gateway: Some(*first),
            ..Route::direct(net.network(), net.prefix, index)
        }));
        for route in &routes {
            socket.replace_route(route).map_err(Error::Interfaces)?;
        }
        for address in parent
            .iter()
            .flat_map(|index| all.iter().map(move |a| (*index, *a)))
        {
            socket
                .add_proxy(address.0, address.1)
                .map_err(Error::Interfaces)?;
        }
    }
    Ok(())
}

/// Takes back what stays on the host when a card goes: its own routes go with it. Blocking.
pub(super) fn disconnect(socket: &mut Socket, card: &Card) -> Result<()> {
    if card.parent().is_empty() {
        return Ok(());
    }
    let Some(parent) = socket.link(&parent::name(card)).map_err(Error::Interfaces)? else {
        return Ok(());
    };
    for (family, _) in FAMILIES {
        for address in addresses(card, family) {
            socket
                .delete_proxy(parent.index, address)
                .map_err(Error::Interfaces)?;
        }
    }
    Ok(())
}

/// The batch that drops packets with somebody else's address; the host's end must be there.
pub(super) fn guard(card: &Card) -> Batch {
    let mut batch = Batch::new(Family::Inet, "lxd");
    let hook = Hook {
        kind: "filter",
        hook: "prerouting",
        priority: -300,
    };
    let rule = format!("iif \"{}\" fib saddr . iif oif missing drop", card.host_name);
    batch.replace_chain(&format!("prert.{}", card.chain()), hook, &[rule]);
    batch
}

/// The batch that removes it.
pub(super) fn unguard(card: &Card) -> Batch {
    let mut batch = Batch::new(Family::Inet, "lxd");
    batch.delete_chain(&format!("prert.{}", card.chain()));
    batch
}
