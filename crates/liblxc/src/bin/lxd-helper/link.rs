//! Makes pairs of network cards by netlink, the inner end born in the container's namespace.
//!
//! Moving a card to another namespace waits some 20 ms for the kernel's RCU; creating it there does not.
#![allow(unsafe_code, reason = "netlink, setns and one ioctl")]

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::time::Duration;

use liblxc::protocol::Nic;

const VETH_INFO_PEER: u16 = 1;
const IFLA_LINKINFO: u16 = 18;
const IFLA_NET_NS_FD: u16 = 28;
const IFLA_INFO_KIND: u16 = 1;
const IFLA_INFO_DATA: u16 = 2;
const UP: u32 = libc::IFF_UP as u32;

/// How often, and after which pauses, a name that is still in use is tried again: the cards of a container that
/// reboots by itself vanish with their old namespace, some 30 ms after its last process.
const RETRIES: (u32, Duration) = (100, Duration::from_millis(5));

/// Creates the pair and sets the host end up. A host end that is a bridge's port speaks no IPv6 of its own.
pub(crate) fn create_veth(nic: &Nic, namespace: &File) -> io::Result<()> {
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
        let path = format!("/proc/sys/net/ipv6/conf/{}/disable_ipv6", nic.host_name);
        match std::fs::write(&path, "1") {
            // A kernel without IPv6 has nothing to disable.
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => transact(&netlink, &raise(index(&nic.host_name)?))?,
        }
    }
    Ok(())
}

/// Moves this process into the namespace and sets these cards up there.
pub(crate) fn raise_inside<'a>(namespace: &File, names: impl Iterator<Item = &'a str>) -> io::Result<()> {
    // SAFETY: plain system call; this process has one thread.
    if unsafe { libc::setns(namespace.as_raw_fd(), libc::CLONE_NEWNET) } < 0 {
        return Err(io::Error::last_os_error());
    }
    let netlink = open()?;
    names
        .into_iter()
        .try_for_each(|name| transact(&netlink, &raise(index(name)?)))
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
    if let Some(hwaddr) = nic.hwaddr {
        message.attribute(libc::IFLA_ADDRESS, &hwaddr);
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
    fn new(kind: u16, flags: libc::c_int, index: u32, link_flags: u32) -> Self {
        let flags = flags | libc::NLM_F_REQUEST | libc::NLM_F_ACK;
        let mut message = Self(vec![0; 4]);
        message.0.extend_from_slice(&kind.to_ne_bytes());
        message.0.extend_from_slice(&(flags as u16).to_ne_bytes());
        message.0.extend_from_slice(&[0; 8]);
        message.link_header(index, link_flags);
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
