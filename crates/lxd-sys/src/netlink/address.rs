//! Addresses of links.

use std::net::{IpAddr, Ipv4Addr};

use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL};
use netlink_packet_route::address::{AddressAttribute, AddressMessage, AddressScope};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};

use super::{Error, Socket};

/// An address of a link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    /// The link, by index.
    pub index: u32,
    /// The address.
    pub address: IpAddr,
    /// Length of the network's prefix in bits.
    pub prefix: u8,
    /// How far it is valid: `global`, `link` or `local` (this host only).
    pub scope: &'static str,
}

impl Socket {
    /// Gives a link an address; IPv4 ones with their broadcast address.
    ///
    /// # Errors
    /// [`Error::NoLink`]; [`Error::Request`] with `EEXIST` when it has it already.
    pub fn add_address(&mut self, link: &str, address: IpAddr, prefix: u8) -> Result<(), Error> {
        let message = self.address_message(link, address, prefix)?;
        self.act(
            || format!("add address {address}/{prefix} to network interface {link:?}"),
            RouteNetlinkMessage::NewAddress(message),
            NLM_F_CREATE | NLM_F_EXCL,
        )
    }

    /// Takes an address from a link; false when it did not have it.
    ///
    /// # Errors
    /// [`Error::NoLink`] and [`Error::Request`].
    pub fn delete_address(&mut self, link: &str, address: IpAddr, prefix: u8) -> Result<bool, Error> {
        let message = self.address_message(link, address, prefix)?;
        match self.act(
            || format!("delete address {address}/{prefix} from network interface {link:?}"),
            RouteNetlinkMessage::DelAddress(message),
            0,
        ) {
            Ok(()) => Ok(true),
            Err(e) if e.is_missing() => Ok(false),
            Err(e) => Err(e),
        }
    }

    /// All addresses of all links.
    ///
    /// # Errors
    /// [`Error::Request`].
    pub fn addresses(&mut self) -> Result<Vec<Address>, Error> {
        let request = RouteNetlinkMessage::GetAddress(AddressMessage::default());
        let answers = self.dump(|| "list addresses".into(), request)?;
        Ok(answers.into_iter().filter_map(read).collect())
    }

    fn address_message(&mut self, link: &str, address: IpAddr, prefix: u8) -> Result<AddressMessage, Error> {
        let mut message = AddressMessage::default();
        message.header.index = self.index(link)?;
        message.header.prefix_len = prefix;
        message.header.family = if address.is_ipv4() {
            AddressFamily::Inet
        } else {
            AddressFamily::Inet6
        };
        message.attributes.push(AddressAttribute::Address(address));
        message.attributes.push(AddressAttribute::Local(address));
        if let IpAddr::V4(v4) = address
            && prefix < 31
        {
            let broadcast = Ipv4Addr::from_bits(v4.to_bits() | (u32::MAX >> prefix));
            message.attributes.push(AddressAttribute::Broadcast(broadcast));
        }
        Ok(message)
    }
}

fn read(answer: RouteNetlinkMessage) -> Option<Address> {
    let RouteNetlinkMessage::NewAddress(message) = answer else {
        return None;
    };
    let mut found = None;
    for attribute in &message.attributes {
        match attribute {
            // On point-to-point links `Address` is the other end; `Local` is always ours.
            AddressAttribute::Local(address) => found = Some(*address),
            AddressAttribute::Address(address) => found = found.or(Some(*address)),
            _ => {}
        }
    }
    let scope = match message.header.scope {
        AddressScope::Link => "link",
        AddressScope::Host => "local",
        _ => "global",
    };
    Some(Address {
        index: message.header.index,
        address: found?,
        prefix: message.header.prefix_len,
        scope,
    })
}
