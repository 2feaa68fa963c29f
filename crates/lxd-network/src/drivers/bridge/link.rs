//! The kernel's side of a bridge network: link, settings, addresses, routes, ports.

use std::net::IpAddr;

use lxd_sys::netlink::{self, Kind, LinkChange, NewLink, Route, Socket};
use lxd_sys::system;

use super::plan::{Plan, Side};
use crate::subnet::Subnet;
use crate::{Error, Result};

/// Who made a route, in the kernel's numbers: the kernel itself for a link's own network, and an administrator.
const PROTOCOL_STATIC: u8 = 4;

/// Makes the bridge, or puts right what differs about it. Blocking: 1 to 3 ms.
pub(super) fn apply(plan: &Plan) -> Result<()> {
    let network = plan.name.as_str();
    let kernel = |source| Error::Kernel {
        network: network.to_owned(),
        source,
    };
    let mut socket = Socket::open().map_err(kernel)?;
    match socket.link(network).map_err(kernel)? {
        None => {
            let link = NewLink {
                mac: Some(plan.mac),
                mtu: Some(plan.mtu),
                ..NewLink::new(network, Kind::Bridge)
            };
            socket.add_link(&link).map_err(kernel)?;
        }
        Some(link) if link.kind != "bridge" => return Err(Error::InterfaceExists(network.to_owned())),
        Some(link) => {
            let change = LinkChange {
                mac: (link.mac() != plan.mac.to_string()).then_some(plan.mac),
                mtu: (link.mtu != plan.mtu).then_some(plan.mtu),
                ..LinkChange::default()
            };
            if change.mac.is_some() || change.mtu.is_some() {
                socket.change_link(network, &change).map_err(kernel)?;
            }
        }
    }
    settings(plan)?;
    // Up before the addresses: IPv6 ones are not kept while it is down.
    socket
        .change_link(
            network,
            &LinkChange {
                up: Some(true),
                ..LinkChange::default()
            },
        )
        .map_err(kernel)?;
    let index = socket.index(network).map_err(kernel)?;
    addresses(&mut socket, plan, index).map_err(kernel)?;
    routes(&mut socket, plan, index).map_err(kernel)?;
    ports(&mut socket, plan, index)
}

/// Deletes the bridge; false when there was none. Blocking: 20 ms.
pub(super) fn delete(network: &str) -> Result<bool> {
    let kernel = |source| Error::Kernel {
        network: network.to_owned(),
        source,
    };
    Socket::open()
        .and_then(|mut socket| socket.delete_link(network))
        .map_err(kernel)
}

/// All networks that the host's addresses and routes reach, default routes aside. Blocking.
pub(super) fn used_subnets() -> std::result::Result<Vec<Subnet>, netlink::Error> {
    let mut socket = Socket::open()?;
    let addresses = socket.addresses()?.into_iter().map(|a| Subnet {
        address: a.address,
        prefix: a.prefix,
    });
    let routes = socket.routes()?.into_iter().filter(|route| route.prefix > 0);
    Ok(addresses
        .chain(routes.map(|r| Subnet {
            address: r.destination,
            prefix: r.prefix,
        }))
        .collect())
}

fn settings(plan: &Plan) -> Result<()> {
    let sysctl = |source| Error::Sysctl {
        network: plan.name.clone(),
        source,
    };
    let set = |name: &str, value: &str| system::set_sysctl(name, value).map_err(sysctl);
    if plan.ipv4.as_ref().is_some_and(|side| side.routing) {
        set("net/ipv4/ip_forward", "1")?;
    }
    let own = |name: &str| format!("net/ipv6/conf/{}/{name}", plan.name);
    if !has_ipv6() {
        return Ok(());
    }
    let Some(ipv6) = &plan.ipv6 else {
        return set(&own("disable_ipv6"), "1");
    };
    set(&own("disable_ipv6"), "0")?;
    set(&own("autoconf"), "0")?;
    // The address is ours alone on this link, and dnsmasq has to bind to it at once.
    set(&own("accept_dad"), "0")?;
    if ipv6.routing && system::sysctl("net/ipv6/conf/all/forwarding").map_err(sysctl)? != "1" {
        keep_router_advertisements();
        set("net/ipv6/conf/all/forwarding", "1")?;
    }
    Ok(())
}

/// Whether this kernel has IPv6 at all.
pub(super) fn has_ipv6() -> bool {
    std::path::Path::new("/proc/sys/net/ipv6/conf").is_dir()
}

/// A forwarding host stops listening to router advertisements, and would lose its own default route, unless told not to.
fn keep_router_advertisements() {
    let Ok(entries) = std::fs::read_dir("/proc/sys/net/ipv6/conf") else {
        return;
    };
    for entry in entries.flatten() {
        let name = format!("net/ipv6/conf/{}/accept_ra", entry.file_name().to_string_lossy());
        // Links come and go while we walk.
        if system::sysctl(&name).is_ok_and(|value| value == "1") {
            let _ = system::set_sysctl(&name, "2");
        }
    }
}

fn addresses(socket: &mut Socket, plan: &Plan, index: u32) -> std::result::Result<(), netlink::Error> {
    let wanted: Vec<(IpAddr, u8)> = plan
        .sides()
        .map(|side| (side.subnet.address, side.subnet.prefix))
        .collect();
    let present: Vec<(IpAddr, u8)> = socket
        .addresses()?
        .into_iter()
        .filter(|a| a.index == index && a.scope == "global")
        .map(|a| (a.address, a.prefix))
        .collect();
    for (address, prefix) in present.iter().filter(|a| !wanted.contains(a)) {
        socket.delete_address(&plan.name, *address, *prefix)?;
    }
    for (address, prefix) in wanted.iter().filter(|a| !present.contains(a)) {
        socket.add_address(&plan.name, *address, *prefix)?;
    }
    Ok(())
}

fn routes(socket: &mut Socket, plan: &Plan, index: u32) -> std::result::Result<(), netlink::Error> {
    let of = |side: &Side| side.routes.clone();
    let wanted: Vec<Route> = plan
        .sides()
        .flat_map(of)
        .map(|net| Route {
            protocol: PROTOCOL_STATIC,
            ..Route::direct(net.network(), net.prefix, index)
        })
        .collect();
    let present: Vec<Route> = socket
        .routes()?
        .into_iter()
        .filter(|route| route.index == Some(index) && route.protocol == PROTOCOL_STATIC)
        .collect();
    for route in present.iter().filter(|route| !wanted.contains(route)) {
        socket.delete_route(route)?;
    }
    for route in wanted.iter().filter(|route| !present.contains(route)) {
        socket.replace_route(route)?;
    }
    Ok(())
}

/// Makes the host's interfaces that the network names its ports. Ones that aren't there are skipped: they may be plugged
/// in later.
fn ports(socket: &mut Socket, plan: &Plan, index: u32) -> Result<()> {
    if plan.ports.is_empty() {
        return Ok(());
    }
    let kernel = |source| Error::Kernel {
        network: plan.name.clone(),
        source,
    };
    let addresses = socket.addresses().map_err(kernel)?;
    for port in &plan.ports {
        let Some(link) = socket.link(port).map_err(kernel)? else {
            tracing::warn!(
                network = plan.name,
                interface = port,
                "Skipping an external interface that is not there"
            );
            continue;
        };
        if link.master == Some(index) {
            continue;
        }
        if addresses
            .iter()
            .any(|a| a.index == link.index && a.scope == "global")
        {
            return Err(Error::ConfiguredInterface(port.clone()));
        }
        let change = LinkChange {
            up: Some(true),
            master: Some(Some(&plan.name)),
            ..LinkChange::default()
        };
        socket.change_link(port, &change).map_err(kernel)?;
    }
    Ok(())
}

/// Frees ports that one configuration names and the next doesn't. Blocking.
pub(super) fn free_ports(network: &str, ports: &[String]) -> Result<()> {
    let kernel = |source| Error::Kernel {
        network: network.to_owned(),
        source,
    };
    let mut socket = Socket::open().map_err(kernel)?;
    let index = socket.index(network).map_err(kernel)?;
    for port in ports {
        let link = socket.link(port).map_err(kernel)?;
        if link.is_none_or(|link| link.master != Some(index)) {
            continue;
        }
        match socket.change_link(
            port,
            &LinkChange {
                master: Some(None),
                ..LinkChange::default()
            },
        ) {
            Err(e) if !e.is_missing() => return Err(kernel(e)),
            _ => {}
        }
    }
    Ok(())
}
