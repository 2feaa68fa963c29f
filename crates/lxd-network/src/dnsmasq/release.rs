//! Giving leases back: the packets a client would send, sent for it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::path::Path;

use lxd_sys::netlink::{self, Mac};
use tokio::net::UdpSocket;

use super::leases::{self, Lease};
use crate::{Error, Network, Result};

/// Where DHCPv6 servers listen (RFC 8415 section 7.1).
const ALL_SERVERS: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 1, 2);

/// Gives back all leases of a hardware address. `servers` are the network's own addresses. The packets are on their way
/// when this returns; dnsmasq handles them within a millisecond.
pub(crate) async fn release(
    network: &Network,
    directory: &Path,
    hwaddr: &str,
    servers: &[IpAddr],
) -> Result<()> {
    let Ok(mac) = hwaddr.parse::<Mac>() else {
        return Ok(());
    };
    let file = leases::read(directory).await?;
    let own = mac.to_string();
    let mut errors = Vec::new();
    for lease in file
        .leases
        .iter()
        .filter(|lease| lease.hwaddr.as_deref() == Some(&own))
    {
        let sent = match (
            lease.address,
            servers.iter().find(|s| s.is_ipv4() == lease.address.is_ipv4()),
        ) {
            (IpAddr::V4(address), Some(IpAddr::V4(server))) => {
                send_v4(&network.name, *server, &packet_v4(mac, address, *server)).await
            }
            (IpAddr::V6(address), Some(_)) => match packet_v6(lease, address, file.server.as_deref()) {
                Some(packet) => send_v6(&network.name, &packet).await,
                None => continue,
            },
            _ => continue,
        };
        if let Err(source) = sent {
            errors.push(Error::Release {
                address: lease.address,
                source,
            });
        }
    }
    Error::collect(errors)
}

async fn send_v4(interface: &str, server: Ipv4Addr, packet: &[u8]) -> std::io::Result<()> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).await?;
    // dnsmasq looks at which link a packet came in: our own must seem to come from the network's.
    socket.bind_device(Some(interface.as_bytes()))?;
    socket.send_to(packet, (server, 67)).await.map(drop)
}

async fn send_v6(interface: &str, packet: &[u8]) -> std::io::Result<()> {
    let name = interface.to_owned();
    let index = netlink::run(move |socket| socket.index(&name))
        .await
        .map_err(std::io::Error::other)?;
    let socket = UdpSocket::bind((Ipv6Addr::UNSPECIFIED, 0)).await?;
    socket.bind_device(Some(interface.as_bytes()))?;
    let to = SocketAddr::V6(SocketAddrV6::new(ALL_SERVERS, 547, 0, index));
    socket.send_to(packet, to).await.map(drop)
}

/// A DHCPRELEASE (RFC 2131 section 4.4.6).
pub(super) fn packet_v4(mac: Mac, address: Ipv4Addr, server: Ipv4Addr) -> Vec<u8> {
    let mut packet = vec![0; 236];
    // A request, from Ethernet, with six bytes of hardware address.
    packet[..3].copy_from_slice(&[1, 1, 6]);
    packet[4..8].copy_from_slice(&mac.0[2..]);
    packet[12..16].copy_from_slice(&address.octets());
    packet[28..34].copy_from_slice(&mac.0);
    packet.extend([99, 130, 83, 99]);
    packet.extend([53, 1, 7, 54, 4]);
    packet.extend(server.octets());
    packet.push(255);
    packet
}

/// A RELEASE (RFC 8415 section 18.2.7); nothing when the ids it has to carry aren't known.
pub(super) fn packet_v6(lease: &Lease, address: Ipv6Addr, server: Option<&[u8]>) -> Option<Vec<u8>> {
    let (client, server) = (lease.client.as_deref()?, server?);
    let mut packet = vec![8, 1, 2, 3];
    option(&mut packet, 1, client);
    option(&mut packet, 2, server);
    let mut held = address.octets().to_vec();
    held.extend([0; 8]);
    let mut association = lease.association.to_be_bytes().to_vec();
    association.extend([0; 8]);
    option(&mut association, 5, &held);
    option(&mut packet, 3, &association);
    option(&mut packet, 8, &[0, 0]);
    Some(packet)
}

fn option(packet: &mut Vec<u8>, code: u16, value: &[u8]) {
    packet.extend(code.to_be_bytes());
    packet.extend(u16::try_from(value.len()).unwrap_or(u16::MAX).to_be_bytes());
    packet.extend(value);
}
