//! Makes network cards by netlink, born in the container's namespace; moves cards of the host there and back.
//!
//! Moving a card to another namespace waits some 20 ms for the kernel's RCU; creating it there does not.
#![allow(unsafe_code, reason = "netlink, setns and one ioctl")]

use std::fs::File;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::time::Duration;

use liblxc::nic::{Kind, Nic};

const VETH_INFO_PEER: u16 = 1;
const IFLA_LINKINFO: u16 = 18;
const IFLA_NET_NS_FD: u16 = 28;
const IFLA_INFO_KIND: u16 = 1;
const IFLA_INFO_DATA: u16 = 2;
/// Modes of linux/if_link.h: how macvlan cards on one parent talk to each other, and which layer ipvlan works on.
const MACVLAN_BRIDGE: u32 = 4;
const IPVLAN_L2: u16 = 0;
const IPVLAN_L3S: u16 = 2;
const IFA_F_NODAD: u8 = 2;
const UP: u32 = libc::IFF_UP as u32;

/// How often, and after which pauses, a name that is still in use is tried again: the cards of a container that
/// reboots by itself vanish with their old namespace, some 30 ms after its last process.
const RETRIES: (u32, Duration) = (100, Duration::from_millis(5));

/// Creates the pair and sets the host end up.
fn create_veth(nic: &Nic, namespace: &File) -> io::Result<()> {
    let netlink = open()?;
    let master = nic.master.as_deref().map(index).transpose()?;
    let request = creation(nic, namespace, master);
    let mut tries = 0;
    while let Err(error) = transact(&netlink, &request) {
        tries += 1;
        if error.raw_os_error() != Some(libc::EEXIST) || tries > RETRIES.0 {
            return Err(error);
        }
        std::thread::sleep(RETRIES.1);
    }
    if master.is_some() {
        keep_quiet(&nic.host_name)?;
        transact(&netlink, &raise(index(&nic.host_name)?))?;
    }
    Ok(())
}

/// Makes the host's end of a card what [`create`] would have made of it: CRIU has made the pair.
pub(crate) fn settle(nic: &Nic) -> io::Result<()> {
    let netlink = open()?;
    let mut message = Message::change(index(&nic.host_name)?, 0);
    message.sizes(nic);
    if let Some(master) = &nic.master {
        message.attribute(libc::IFLA_MASTER, &index(master)?.to_ne_bytes());
    }
    transact(&netlink, &message.finish())?;
    if nic.master.is_some() {
        keep_quiet(&nic.host_name)?;
    }
    transact(&netlink, &raise(index(&nic.host_name)?))
}

/// A host end that is a bridge's port speaks no IPv6 of its own.
fn keep_quiet(name: &str) -> io::Result<()> {
    match std::fs::write(format!("/proc/sys/net/ipv6/conf/{name}/disable_ipv6"), "1") {
        // A kernel without IPv6 has nothing to disable.
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Makes one card in the namespace, or moves one there.
pub(crate) fn create(nic: &Nic, namespace: &File) -> io::Result<()> {
    let (kind, data) = match nic.kind {
        Kind::Veth => return create_veth(nic, namespace),
        Kind::Moved => return give_away(nic, namespace),
        Kind::Macvlan => ("macvlan", MACVLAN_BRIDGE.to_ne_bytes().to_vec()),
        Kind::IpvlanL2 => ("ipvlan", IPVLAN_L2.to_ne_bytes().to_vec()),
        Kind::IpvlanL3s => ("ipvlan", IPVLAN_L3S.to_ne_bytes().to_vec()),
    };
    let below = index(nic.parent.as_deref().unwrap_or_default())?;
    let mut message = Message::new(libc::RTM_NEWLINK, libc::NLM_F_CREATE | libc::NLM_F_EXCL, 0, 0);
    // The kernel looks the name up here, where the host may have one of the name that it shall have inside.
    message.text(libc::IFLA_IFNAME, &nic.host_name);
    message.sizes(nic);
    if let Some(hwaddr) = nic.hwaddr.as_ref().filter(|_| nic.kind == Kind::Macvlan) {
        message.attribute(libc::IFLA_ADDRESS, hwaddr);
    }
    message.attribute(libc::IFLA_LINK, &below.to_ne_bytes());
    message.attribute(IFLA_NET_NS_FD, &namespace.as_raw_fd().to_ne_bytes());
    let link = message.begin(IFLA_LINKINFO);
    message.text(IFLA_INFO_KIND, kind);
    let outer = message.begin(IFLA_INFO_DATA);
    // Both kinds have their mode in the first attribute.
    message.attribute(1, &data);
    message.end(outer);
    message.end(link);
    transact(&open()?, &message.finish())
}

/// Takes a card from the host.
fn give_away(nic: &Nic, namespace: &File) -> io::Result<()> {
    let netlink = open()?;
    let index = index(&nic.host_name)?;
    transact(&netlink, &Message::change(index, 0).finish())?;
    let mut message = Message::change(index, 0);
    message.sizes(nic);
    if let Some(hwaddr) = &nic.hwaddr {
        message.attribute(libc::IFLA_ADDRESS, hwaddr);
    }
    transact(&netlink, &message.finish())?;
    transact(&netlink, &moving(index, &nic.name, namespace))
}

/// Moves cards from the namespace back to the host, with their names there. Those that are gone are fine.
pub(crate) fn give_back(namespace: &File, nics: &[Nic]) -> io::Result<()> {
    let home = File::open("/proc/self/ns/net")?;
    enter(namespace)?;
    let netlink = open()?;
    let mut outcome = Ok(());
    for nic in nics {
        let Ok(index) = index(&nic.name) else { continue };
        let moved = transact(&netlink, &Message::change(index, 0).finish())
            .and_then(|()| transact(&netlink, &moving(index, &nic.host_name, &home)));
        outcome = outcome.and(moved);
    }
    outcome
}

/// The request that gives a card another name.
fn renaming(index: u32, name: &str) -> Vec<u8> {
    let mut message = Message::change(index, 0);
    message.text(libc::IFLA_IFNAME, name);
    message.finish()
}

/// The request that moves a card and gives it another name.
fn moving(index: u32, name: &str, namespace: &File) -> Vec<u8> {
    let mut message = Message::change(index, 0);
    message.text(libc::IFLA_IFNAME, name);
    message.attribute(IFLA_NET_NS_FD, &namespace.as_raw_fd().to_ne_bytes());
    message.finish()
}

fn enter(namespace: &File) -> io::Result<()> {
    // SAFETY: plain system call; this process has one thread.
    if unsafe { libc::setns(namespace.as_raw_fd(), libc::CLONE_NEWNET) } < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// Moves this process into the namespace and sets these cards and the loopback up there, with their addresses and routes.
pub(crate) fn raise_inside(namespace: &File, nics: &[Nic]) -> io::Result<()> {
    enter(namespace)?;
    let netlink = open()?;
    let is_born_inside = |nic: &&Nic| matches!(nic.kind, Kind::Macvlan | Kind::IpvlanL2 | Kind::IpvlanL3s);
    for nic in nics.iter().filter(is_born_inside) {
        let index = index(&nic.host_name)?;
        if let Err(error) = transact(&netlink, &renaming(index, &nic.name)) {
            // Whoever undoes this knows the card by a name that another one has.
            let _ = transact(&netlink, &Message::new(libc::RTM_DELLINK, 0, index, 0).finish());
            return Err(error);
        }
    }
    for name in nics.iter().map(|nic| nic.name.as_str()).chain(["lo"]) {
        transact(&netlink, &raise(index(name)?))?;
    }
    for nic in nics {
        let index = index(&nic.name)?;
        for (address, length) in &nic.addresses {
            transact(&netlink, &address_of(index, *address, *length))?;
        }
        for gateway in &nic.gateways {
            let length = if gateway.is_ipv4() { 32 } else { 128 };
            transact(&netlink, &route(index, (*gateway, length), None))?;
            transact(
                &netlink,
                &route(index, (unspecified(gateway.is_ipv4()), 0), Some(*gateway)),
            )?;
        }
        for (is_wanted, ipv4) in nic.defaults.into_iter().zip([true, false]) {
            if is_wanted {
                transact(&netlink, &route(index, (unspecified(ipv4), 0), None))?;
            }
        }
    }
    Ok(())
}

fn unspecified(ipv4: bool) -> IpAddr {
    if ipv4 {
        Ipv4Addr::UNSPECIFIED.into()
    } else {
        Ipv6Addr::UNSPECIFIED.into()
    }
}

fn family_and_bytes(address: IpAddr) -> (u8, Vec<u8>) {
    match address {
        IpAddr::V4(address) => (libc::AF_INET as u8, address.octets().to_vec()),
        IpAddr::V6(address) => (libc::AF_INET6 as u8, address.octets().to_vec()),
    }
}

/// The request that gives a card an address; nobody is asked whether it is free.
fn address_of(index: u32, address: IpAddr, length: u8) -> Vec<u8> {
    let (family, bytes) = family_and_bytes(address);
    let mut message = Message::request(libc::RTM_NEWADDR, libc::NLM_F_CREATE | libc::NLM_F_REPLACE);
    // `struct ifaddrmsg`: family, length of the prefix, flags, scope, index.
    message.0.extend_from_slice(&[family, length, IFA_F_NODAD, 0]);
    message.0.extend_from_slice(&index.to_ne_bytes());
    message.attribute(libc::IFA_LOCAL, &bytes);
    message.attribute(libc::IFA_ADDRESS, &bytes);
    message.finish()
}

/// The request that makes a route to a network, through a gateway or straight to the card.
fn route(index: u32, (net, length): (IpAddr, u8), gateway: Option<IpAddr>) -> Vec<u8> {
    let (family, bytes) = family_and_bytes(net);
    let scope = if gateway.is_none() && net.is_ipv4() {
        libc::RT_SCOPE_LINK
    } else {
        libc::RT_SCOPE_UNIVERSE
    };
    let mut message = Message::request(libc::RTM_NEWROUTE, libc::NLM_F_CREATE | libc::NLM_F_REPLACE);
    // `struct rtmsg`: family, lengths of both prefixes, type of service, table, protocol, scope, type, flags.
    let header = [
        family,
        length,
        0,
        0,
        libc::RT_TABLE_MAIN,
        libc::RTPROT_BOOT,
        scope,
        libc::RTN_UNICAST,
    ];
    message.0.extend_from_slice(&header);
    message.0.extend_from_slice(&[0; 4]);
    if length > 0 {
        message.attribute(libc::RTA_DST, &bytes);
    }
    if let Some(gateway) = gateway {
        message.attribute(libc::RTA_GATEWAY, &family_and_bytes(gateway).1);
    }
    message.attribute(libc::RTA_OIF, &index.to_ne_bytes());
    message.finish()
}

/// The request that makes both ends at once.
fn creation(nic: &Nic, namespace: &File, master: Option<u32>) -> Vec<u8> {
    let flags = if master.is_none() { UP } else { 0 };
    let mut message = Message::new(libc::RTM_NEWLINK, libc::NLM_F_CREATE | libc::NLM_F_EXCL, 0, flags);
    message.text(libc::IFLA_IFNAME, &nic.host_name);
    message.sizes(nic);
    if let Some(master) = master {
        message.attribute(libc::IFLA_MASTER, &master.to_ne_bytes());
    }
    let link = message.begin(IFLA_LINKINFO);
    message.text(IFLA_INFO_KIND, "veth");
    let data = message.begin(IFLA_INFO_DATA);
    let peer = message.begin(VETH_INFO_PEER);
    // A peer can't be set up before it is tied to its other end.
    message.link_header(0, 0);
    message.text(libc::IFLA_IFNAME, &nic.name);
    message.sizes(nic);
    if let Some(hwaddr) = &nic.hwaddr {
        message.attribute(libc::IFLA_ADDRESS, hwaddr);
    }
    message.attribute(IFLA_NET_NS_FD, &namespace.as_raw_fd().to_ne_bytes());
    for start in [peer, data, link] {
        message.end(start);
    }
    message.finish()
}

/// The request that sets a link up.
fn raise(index: u32) -> Vec<u8> {
    Message::new(libc::RTM_NEWLINK, 0, index, UP).finish()
}

/// A netlink message being written. Attributes are aligned to four bytes.
struct Message(Vec<u8>);

impl Message {
    /// A request about a link.
    fn new(kind: u16, flags: libc::c_int, index: u32, link_flags: u32) -> Self {
        let mut message = Self::request(kind, flags);
        message.link_header(index, link_flags);
        message
    }

    /// A request that changes a link and sets it up or down.
    fn change(index: u32, link_flags: u32) -> Self {
        let mut message = Self::request(libc::RTM_NEWLINK, 0);
        message.0.extend_from_slice(&[0; 4]);
        for number in [index, link_flags, UP] {
            message.0.extend_from_slice(&number.to_ne_bytes());
        }
        message
    }

    /// A request that says nothing yet.
    fn request(kind: u16, flags: libc::c_int) -> Self {
        let flags = flags | libc::NLM_F_REQUEST | libc::NLM_F_ACK;
        let mut message = Self(vec![0; 4]);
        message.0.extend_from_slice(&kind.to_ne_bytes());
        message.0.extend_from_slice(&(flags as u16).to_ne_bytes());
        message.0.extend_from_slice(&[0; 8]);
        message
    }

    /// `struct ifinfomsg`: family, padding, type, index, flags, mask of the flags to change.
    fn link_header(&mut self, index: u32, flags: u32) {
        self.0.extend_from_slice(&[0; 4]);
        for number in [index, flags, flags] {
            self.0.extend_from_slice(&number.to_ne_bytes());
        }
    }

    fn sizes(&mut self, nic: &Nic) {
        if let Some(mtu) = nic.mtu {
            self.attribute(libc::IFLA_MTU, &mtu.to_ne_bytes());
        }
        if let Some(length) = nic.queue_length {
            self.attribute(libc::IFLA_TXQLEN, &length.to_ne_bytes());
        }
    }

    fn text(&mut self, kind: u16, text: &str) {
        let start = self.begin(kind);
        self.0.extend_from_slice(text.as_bytes());
        self.0.push(0);
        self.end(start);
    }

    fn attribute(&mut self, kind: u16, value: &[u8]) {
        let start = self.begin(kind);
        self.0.extend_from_slice(value);
        self.end(start);
    }

    fn begin(&mut self, kind: u16) -> usize {
        let start = self.0.len();
        self.0.extend_from_slice(&[0; 2]);
        self.0.extend_from_slice(&kind.to_ne_bytes());
        start
    }

    /// Writes the length of the attribute that began at `start`, then the padding, which it does not count.
    fn end(&mut self, start: usize) {
        let length = (self.0.len() - start) as u16;
        self.0[start..start + 2].copy_from_slice(&length.to_ne_bytes());
        self.0.resize(self.0.len().next_multiple_of(4), 0);
    }

    fn finish(mut self) -> Vec<u8> {
        let length = self.0.len() as u32;
        self.0[..4].copy_from_slice(&length.to_ne_bytes());
        self.0
    }
}

fn open() -> io::Result<OwnedFd> {
    // SAFETY: plain system call; the descriptor is checked before it is owned.
    let fd = unsafe {
        libc::socket(
            libc::AF_NETLINK,
            libc::SOCK_RAW | libc::SOCK_CLOEXEC,
            libc::NETLINK_ROUTE,
        )
    };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: just returned by the kernel, owned by nobody else.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Sends one request and reads the kernel's verdict.
fn transact(netlink: &OwnedFd, request: &[u8]) -> io::Result<()> {
    let mut answer = [0u8; 8192];
    // SAFETY: both buffers are valid for the lengths given.
    let received = unsafe {
        if libc::send(netlink.as_raw_fd(), request.as_ptr().cast(), request.len(), 0) < 0 {
            return Err(io::Error::last_os_error());
        }
        libc::recv(netlink.as_raw_fd(), answer.as_mut_ptr().cast(), answer.len(), 0)
    };
    if received < 0 {
        return Err(io::Error::last_os_error());
    }
    // The header is 16 bytes, its type at offset 4; the error number follows it, 0 for success.
    let kind = u16::from_ne_bytes([answer[4], answer[5]]);
    let code = i32::from_ne_bytes([answer[16], answer[17], answer[18], answer[19]]);
    if received < 20 || i32::from(kind) != libc::NLMSG_ERROR {
        return Err(io::Error::other("the kernel's answer is not an acknowledgement"));
    }
    if code == 0 {
        Ok(())
    } else {
        Err(io::Error::from_raw_os_error(-code))
    }
}

/// The index of a card of this process's namespace.
fn index(name: &str) -> io::Result<u32> {
    let c_name = std::ffi::CString::new(name)?;
    // SAFETY: the name is NUL-terminated and outlives the call.
    match unsafe { libc::if_nametoindex(c_name.as_ptr()) } {
        0 => Err(io::Error::new(
            io::ErrorKind::NotFound,
            format!("network card {name} does not exist"),
        )),
        index => Ok(index),
    }
}
