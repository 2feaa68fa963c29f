//! Neighbours: who was seen on which link with which hardware address.

use std::net::IpAddr;

use netlink_packet_core::{NLM_F_CREATE, NLM_F_REPLACE};
use netlink_packet_route::neighbour::{
    NeighbourAddress, NeighbourAttribute, NeighbourFlags, NeighbourMessage, NeighbourState,
};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};

use super::{Error, Socket};

/// A row of the ARP or NDP table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Neighbour {
    /// The link, by index.
    pub index: u32,
    /// The neighbour's address.
    pub address: IpAddr,
    /// Its hardware address.
    pub mac: Vec<u8>,
    /// Whether the row is of use: reachable, stale, being probed or permanent, and not failed or incomplete.
    pub valid: bool,
}

impl Socket {
    /// All neighbours with a known hardware address.
    ///
    /// # Errors
    /// [`Error::Request`].
    pub fn neighbours(&mut self) -> Result<Vec<Neighbour>, Error> {
        let mut all = Vec::new();
        for family in [AddressFamily::Inet, AddressFamily::Inet6] {
            let mut message = NeighbourMessage::default();
            message.header.family = family;
            let answers = self.dump(
                || "list neighbours".into(),
                RouteNetlinkMessage::GetNeighbour(message),
            )?;
            all.extend(answers.into_iter().filter_map(read));
        }
        Ok(all)
    }

    /// Makes this host answer for an address on a link, in the place of whoever has it. Doing it twice is harmless.
    ///
    /// # Errors
    /// [`Error::Request`].
    pub fn add_proxy(&mut self, index: u32, address: IpAddr) -> Result<(), Error> {
        self.act(
            || format!("answer for the address {address}"),
            RouteNetlinkMessage::NewNeighbour(proxy(index, address)),
            NLM_F_CREATE | NLM_F_REPLACE,
        )
    }

    /// Undoes [`Socket::add_proxy`]; false when it was not done.
    ///
    /// # Errors
    /// [`Error::Request`].
    pub fn delete_proxy(&mut self, index: u32, address: IpAddr) -> Result<bool, Error> {
        match self.act(
            || format!("no longer answer for the address {address}"),
            RouteNetlinkMessage::DelNeighbour(proxy(index, address)),
            0,
        ) {
            Ok(()) => Ok(true),
            Err(e) if e.is_missing() => Ok(false),
            Err(e) => Err(e),
        }
    }
}

fn proxy(index: u32, address: IpAddr) -> NeighbourMessage {
    let mut message = NeighbourMessage::default();
    message.header.ifindex = index;
    message.header.flags = NeighbourFlags::Proxy;
    let (family, address) = match address {
        IpAddr::V4(a) => (AddressFamily::Inet, NeighbourAddress::Inet(a)),
        IpAddr::V6(a) => (AddressFamily::Inet6, NeighbourAddress::Inet6(a)),
    };
    message.header.family = family;
    message.attributes.push(NeighbourAttribute::Destination(address));
    message
}

fn read(answer: RouteNetlinkMessage) -> Option<Neighbour> {
    let RouteNetlinkMessage::NewNeighbour(message) = answer else {
        return None;
    };
    let (mut address, mut mac) = (None, None);
    for attribute in message.attributes {
        match attribute {
            NeighbourAttribute::Destination(NeighbourAddress::Inet(a)) => address = Some(IpAddr::V4(a)),
            NeighbourAttribute::Destination(NeighbourAddress::Inet6(a)) => address = Some(IpAddr::V6(a)),
            NeighbourAttribute::LinkLayerAddress(bytes) => mac = Some(bytes),
            _ => {}
        }
    }
    let valid = !matches!(
        message.header.state,
        NeighbourState::Failed | NeighbourState::Incomplete | NeighbourState::None
    );
    Some(Neighbour {
        index: message.header.ifindex,
        address: address?,
        mac: mac?,
        valid,
    })
}
