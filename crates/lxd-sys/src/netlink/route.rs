//! Routes of the main table.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use netlink_packet_core::{NLM_F_CREATE, NLM_F_REPLACE};
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteHeader, RouteMessage, RouteProtocol, RouteScope, RouteType,
};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};

use super::{Error, Socket};

/// A route of the main table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// Where to: the network's address; unspecified with prefix 0 is the default route.
    pub destination: IpAddr,
    /// Length of the network's prefix in bits.
    pub prefix: u8,
    /// Through which neighbour.
    pub gateway: Option<IpAddr>,
    /// Through which link, by index.
    pub index: Option<u32>,
    /// The source address of packets that have none yet.
    pub source: Option<IpAddr>,
    /// Who made it (`RTPROT_*`): 2 kernel, 3 boot, 4 static.
    pub protocol: u8,
    /// The table that it is in, when that is not the main one.
    pub table: Option<u32>,
}

impl Route {
    /// A route straight to a link, as `ip route add NET dev LINK` makes it (protocol `boot`).
    pub fn direct(destination: IpAddr, prefix: u8, index: u32) -> Self {
        Self {
            destination,
            prefix,
            gateway: None,
            index: Some(index),
            source: None,
            protocol: 3,
            table: None,
        }
    }
}

impl Socket {
    /// Makes a route, in place of one to the same destination.
    ///
    /// # Errors
    /// [`Error::Request`].
    pub fn replace_route(&mut self, route: &Route) -> Result<(), Error> {
        self.act(
            || format!("add the route to {}/{}", route.destination, route.prefix),
            RouteNetlinkMessage::NewRoute(message(route)),
            NLM_F_CREATE | NLM_F_REPLACE,
        )
    }

    /// Deletes a route; false when there was none.
    ///
    /// # Errors
    /// [`Error::Request`].
    pub fn delete_route(&mut self, route: &Route) -> Result<bool, Error> {
        match self.act(
            || format!("delete the route to {}/{}", route.destination, route.prefix),
            RouteNetlinkMessage::DelRoute(message(route)),
            0,
        ) {
            Ok(()) => Ok(true),
            Err(e) if e.is_missing() => Ok(false),
            Err(e) => Err(e),
        }
    }

    /// All unicast routes of the main table, IPv4 and IPv6.
    ///
    /// # Errors
    /// [`Error::Request`].
    pub fn routes(&mut self) -> Result<Vec<Route>, Error> {
        let request = RouteNetlinkMessage::GetRoute(RouteMessage::default());
        let answers = self.dump(|| "list routes".into(), request)?;
        Ok(answers.into_iter().filter_map(read).collect())
    }
}

fn message(route: &Route) -> RouteMessage {
    let mut message = RouteMessage::default();
    let header = &mut message.header;
    header.address_family = if route.destination.is_ipv4() {
        AddressFamily::Inet
    } else {
        AddressFamily::Inet6
    };
    header.destination_prefix_length = route.prefix;
    header.table = RouteHeader::RT_TABLE_MAIN;
    header.protocol = RouteProtocol::from(route.protocol);
    header.kind = RouteType::Unicast;
    header.scope = match (route.gateway, route.destination) {
        (None, IpAddr::V4(_)) => RouteScope::Link,
        _ => RouteScope::Universe,
    };
    let attributes = &mut message.attributes;
    if route.prefix > 0 {
        attributes.push(RouteAttribute::Destination(route.destination.into()));
    }
    attributes.extend(route.gateway.map(|a| RouteAttribute::Gateway(a.into())));
    attributes.extend(route.source.map(|a| RouteAttribute::PrefSource(a.into())));
    attributes.extend(route.index.map(RouteAttribute::Oif));
    if let Some(table) = route.table {
        // Numbers above 255 have no place in the header.
        message.header.table = RouteHeader::RT_TABLE_UNSPEC;
        message.attributes.push(RouteAttribute::Table(table));
    }
    message
}

fn read(answer: RouteNetlinkMessage) -> Option<Route> {
    let RouteNetlinkMessage::NewRoute(message) = answer else {
        return None;
    };
    let header = &message.header;
    let unspecified: IpAddr = match header.address_family {
        AddressFamily::Inet => Ipv4Addr::UNSPECIFIED.into(),
        AddressFamily::Inet6 => Ipv6Addr::UNSPECIFIED.into(),
        _ => return None,
    };
    if header.table != RouteHeader::RT_TABLE_MAIN || header.kind != RouteType::Unicast {
        return None;
    }
    let mut route = Route {
        destination: unspecified,
        prefix: header.destination_prefix_length,
        gateway: None,
        index: None,
        source: None,
        protocol: header.protocol.into(),
        table: None,
    };
    for attribute in message.attributes {
        match attribute {
            RouteAttribute::Destination(to) => route.destination = address(&to)?,
            RouteAttribute::Gateway(via) => route.gateway = address(&via),
            RouteAttribute::PrefSource(from) => route.source = address(&from),
            RouteAttribute::Oif(index) => route.index = Some(index),
            _ => {}
        }
    }
    Some(route)
}

fn address(address: &RouteAddress) -> Option<IpAddr> {
    match address {
        RouteAddress::Inet(a) => Some((*a).into()),
        RouteAddress::Inet6(a) => Some((*a).into()),
        _ => None,
    }
}
