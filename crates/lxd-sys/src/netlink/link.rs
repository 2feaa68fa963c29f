//! Network interfaces: create, change, delete, list.

use std::fmt;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::str::FromStr;

use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::link::{
    BridgeStpState, InfoBridge, InfoData, InfoKind, InfoMacVlan, InfoVeth, InfoVlan, LinkAttribute,
    LinkFlags, LinkInfo, LinkMessage, MacVlanMode, State, VlanFlags,
};

use super::{Error, Socket};

/// A 48-bit hardware address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mac(pub [u8; 6]);

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

impl FromStr for Mac {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let invalid = || format!("{text:?} is not a MAC address");
        let mut bytes = [0; 6];
        let mut parts = text.split(':');
        for byte in &mut bytes {
            let pair = |p: &&str| p.len() == 2 && p.bytes().all(|b| b.is_ascii_hexdigit());
            let part = parts.next().filter(pair).ok_or_else(invalid)?;
            *byte = u8::from_str_radix(part, 16).map_err(|_| invalid())?;
        }
        parts.next().is_none().then_some(Self(bytes)).ok_or_else(invalid)
    }
}

/// A link to be made. Everything in it is one request: it is never seen half made.
#[derive(Debug, Clone)]
pub struct NewLink<'a> {
    /// Its name.
    pub name: &'a str,
    /// What it is.
    pub kind: Kind<'a>,
    /// Its hardware address; the kernel's random choice otherwise.
    pub mac: Option<Mac>,
    /// Its MTU in bytes.
    pub mtu: Option<u32>,
    /// The bridge it becomes a port of.
    pub master: Option<&'a str>,
    /// Length of the transmit queue in packets.
    pub tx_queue_len: Option<u32>,
    /// Where it is to be born, when not in the socket's namespace.
    pub netns: Option<BorrowedFd<'a>>,
    /// Whether it is up from the start.
    pub up: bool,
}

impl<'a> NewLink<'a> {
    /// A link with the kernel's defaults, down.
    pub fn new(name: &'a str, kind: Kind<'a>) -> Self {
        Self {
            name,
            kind,
            mac: None,
            mtu: None,
            master: None,
            tx_queue_len: None,
            netns: None,
            up: false,
        }
    }
}

/// The kinds of links that can be made.
#[derive(Debug, Clone)]
pub enum Kind<'a> {
    /// A bridge.
    Bridge,
    /// A link that swallows packets.
    Dummy,
    /// One end of a pair.
    Veth(Peer<'a>),
    /// A link with its own hardware address on another link.
    Macvlan {
        /// The link below, in the socket's namespace.
        parent: &'a str,
        /// How links on the same parent talk to each other.
        mode: MacvlanMode,
    },
    /// A link that carries one VLAN of another link.
    Vlan {
        /// The link below, in the socket's namespace.
        parent: &'a str,
        /// The VLAN.
        id: u16,
        /// Whether switches are told of it (GVRP).
        gvrp: bool,
    },
}

/// How macvlan links on one parent talk to each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MacvlanMode {
    /// Directly.
    Bridge,
    /// Not at all.
    Private,
    /// Through the switch outside.
    Vepa,
    /// There is only one.
    Passthrough,
}

/// The other end of a veth pair. It is always born down: the kernel can't set it up before the pair is complete.
#[derive(Debug, Clone)]
pub struct Peer<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its hardware address.
    pub mac: Option<Mac>,
    /// Its MTU in bytes.
    pub mtu: Option<u32>,
    /// The namespace it is born in (0.8 ms; moving it there afterwards takes 20).
    pub netns: Option<BorrowedFd<'a>>,
}

/// What is to be changed about a link; `None` leaves it.
#[derive(Debug, Clone, Copy, Default)]
pub struct LinkChange<'a> {
    /// Up or down.
    pub up: Option<bool>,
    /// A new name (the link has to be down on kernels before 6.2).
    pub name: Option<&'a str>,
    /// The hardware address.
    pub mac: Option<Mac>,
    /// The hardware address of a link that has a longer one, such as InfiniBand's.
    pub address: Option<&'a [u8]>,
    /// The MTU in bytes.
    pub mtu: Option<u32>,
    /// The bridge it becomes a port of, or none.
    pub master: Option<Option<&'a str>>,
    /// Length of the transmit queue in packets.
    pub tx_queue_len: Option<u32>,
    /// The namespace it moves to (20 ms in the kernel).
    pub netns: Option<BorrowedFd<'a>>,
}

/// State of a link as the kernel sees it (RFC 2863).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OperState {
    /// The driver doesn't say (loopback).
    #[default]
    Unknown,
    /// Up.
    Up,
    /// Down.
    Down,
    /// Down, because the link below is.
    LowerLayerDown,
    /// Something else.
    Other,
}

/// Counters of a link since it was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[expect(
    missing_docs,
    reason = "the kernel's names (struct rtnl_link_stats64) say it all"
)]
pub struct Stats {
    pub rx_bytes: u64,
    pub tx_bytes: u64,
    pub rx_packets: u64,
    pub tx_packets: u64,
    pub rx_errors: u64,
    pub tx_errors: u64,
    pub rx_dropped: u64,
    pub tx_dropped: u64,
}

/// What only bridges have.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct BridgeFacts {
    /// Priority of the bridge's id.
    pub priority: u16,
    /// Hardware address of the bridge's id.
    pub address: [u8; 6],
    /// Whether the spanning tree protocol is on.
    pub stp: bool,
    /// Forwarding delay in hundredths of a second.
    pub forward_delay: u64,
    /// The VLAN of untagged packets.
    pub default_vlan: u16,
    /// Whether VLANs are filtered.
    pub vlan_filtering: bool,
}

/// A link as it is now.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Link {
    /// Its number in its namespace.
    pub index: u32,
    /// Its name.
    pub name: String,
    /// The kernel's kind (`bridge`, `veth`, `vlan`, `dummy`, `tun` ...); empty for hardware and loopback.
    pub kind: String,
    /// Hardware type (`ARPHRD_*`): 1 Ethernet, 772 loopback, 512 PPP.
    pub hardware: u16,
    /// Hardware address; empty when there is none.
    pub address: Vec<u8>,
    /// MTU in bytes.
    pub mtu: u32,
    /// `IFF_*` flags.
    pub flags: u32,
    /// Whether it carries packets.
    pub state: OperState,
    /// Whether a device of the machine is behind it, as opposed to software alone (kernel 5.14 and later).
    pub physical: bool,
    /// The bridge or bond it belongs to, by index.
    pub master: Option<u32>,
    /// The link below or the veth peer, by index (of [`Link::peer_netns`] where that is set).
    pub lower: Option<u32>,
    /// The kernel's number of the namespace that [`Link::lower`] is in, when that is another one.
    pub peer_netns: Option<i32>,
    /// Its VLAN, when it is one.
    pub vlan: Option<u16>,
    /// Its facts as a bridge, when it is one.
    pub bridge: Option<BridgeFacts>,
    /// Its counters.
    pub stats: Stats,
}

impl Link {
    /// Whether it was set up (`IFF_UP`).
    pub fn is_up(&self) -> bool {
        self.flags & libc::IFF_UP as u32 != 0
    }

    /// Whether it is the loopback.
    pub fn is_loopback(&self) -> bool {
        self.flags & libc::IFF_LOOPBACK as u32 != 0
    }

    /// Its hardware address as text, pairs of digits separated by colons; empty when there is none.
    pub fn mac(&self) -> String {
        let pairs: Vec<String> = self.address.iter().map(|b| format!("{b:02x}")).collect();
        pairs.join(":")
    }
}

impl Socket {
    /// Makes a link.
    ///
    /// # Errors
    /// [`Error::NoLink`] for a master or parent that is not there, [`Error::Request`] with `EEXIST` for a name in use.
    pub fn add_link(&mut self, new: &NewLink<'_>) -> Result<(), Error> {
        let mut message = LinkMessage::default();
        let attributes = &mut message.attributes;
        attributes.push(LinkAttribute::IfName(new.name.to_owned()));
        attributes.extend(new.mac.map(|m| LinkAttribute::Address(m.0.to_vec())));
        attributes.extend(new.mtu.map(LinkAttribute::Mtu));
        attributes.extend(new.tx_queue_len.map(LinkAttribute::TxQueueLen));
        attributes.extend(new.netns.map(|fd| LinkAttribute::NetNsFd(fd.as_raw_fd())));
        if let Some(master) = new.master {
            attributes.push(LinkAttribute::Controller(self.index(master)?));
        }
        if let Kind::Macvlan { parent, .. } | Kind::Vlan { parent, .. } = new.kind {
            attributes.push(LinkAttribute::Link(self.index(parent)?));
        }
        attributes.push(LinkAttribute::LinkInfo(info(&new.kind)));
        set_up(&mut message, new.up.then_some(true));
        let what = || format!("create network interface {:?}", new.name);
        self.act(
            what,
            RouteNetlinkMessage::NewLink(message),
            NLM_F_CREATE | NLM_F_EXCL,
        )
    }

    /// Changes a link.
    ///
    /// # Errors
    /// [`Error::NoLink`], also for a new master that is not there, and [`Error::Request`].
    pub fn change_link(&mut self, name: &str, change: &LinkChange<'_>) -> Result<(), Error> {
        let mut message = LinkMessage::default();
        // By index: the name in a request by index is a new name.
        message.header.index = self.index(name)?;
        let attributes = &mut message.attributes;
        attributes.extend(change.name.map(|n| LinkAttribute::IfName(n.to_owned())));
        attributes.extend(change.mac.map(|m| LinkAttribute::Address(m.0.to_vec())));
        attributes.extend(change.address.map(|a| LinkAttribute::Address(a.to_vec())));
        attributes.extend(change.mtu.map(LinkAttribute::Mtu));
        attributes.extend(change.tx_queue_len.map(LinkAttribute::TxQueueLen));
        attributes.extend(change.netns.map(|fd| LinkAttribute::NetNsFd(fd.as_raw_fd())));
        match change.master {
            Some(Some(master)) => attributes.push(LinkAttribute::Controller(self.index(master)?)),
            Some(None) => attributes.push(LinkAttribute::Controller(0)),
            None => {}
        }
        set_up(&mut message, change.up);
        self.act(
            || format!("change network interface {name:?}"),
            RouteNetlinkMessage::SetLink(message),
            0,
        )
    }

    /// Deletes a link (20 ms in the kernel); false when there was none.
    ///
    /// # Errors
    /// [`Error::Request`].
    pub fn delete_link(&mut self, name: &str) -> Result<bool, Error> {
        let mut message = LinkMessage::default();
        message.attributes.push(LinkAttribute::IfName(name.to_owned()));
        match self.act(
            || format!("delete network interface {name:?}"),
            RouteNetlinkMessage::DelLink(message),
            0,
        ) {
            Ok(()) => Ok(true),
            Err(e) if e.is_missing() => Ok(false),
            Err(e) => Err(e),
        }
    }

    /// The link of that name, if there is one.
    ///
    /// # Errors
    /// [`Error::Request`].
    pub fn link(&mut self, name: &str) -> Result<Option<Link>, Error> {
        let mut message = LinkMessage::default();
        message.attributes.push(LinkAttribute::IfName(name.to_owned()));
        match self.get(
            || format!("get network interface {name:?}"),
            RouteNetlinkMessage::GetLink(message),
        ) {
            Ok(answers) => Ok(answers.into_iter().find_map(read)),
            Err(e) if e.is_missing() => Ok(None),
            Err(e) => Err(e),
        }
    }

    /// All links, in the kernel's order (by index).
    ///
    /// # Errors
    /// [`Error::Request`].
    pub fn links(&mut self) -> Result<Vec<Link>, Error> {
        let request = RouteNetlinkMessage::GetLink(LinkMessage::default());
        let answers = self.dump(|| "list network interfaces".into(), request)?;
        Ok(answers.into_iter().filter_map(read).collect())
    }

    /// The index of the link of that name.
    ///
    /// # Errors
    /// [`Error::NoLink`] and [`Error::Request`].
    pub fn index(&mut self, name: &str) -> Result<u32, Error> {
        self.link(name)?
            .map(|link| link.index)
            .ok_or_else(|| Error::NoLink {
                name: name.to_owned(),
            })
    }
}

fn set_up(message: &mut LinkMessage, up: Option<bool>) {
    if let Some(up) = up {
        message.header.flags = if up { LinkFlags::Up } else { LinkFlags::empty() };
        message.header.change_mask = LinkFlags::Up;
    }
}

fn info(kind: &Kind<'_>) -> Vec<LinkInfo> {
    match kind {
        Kind::Bridge => vec![LinkInfo::Kind(InfoKind::Bridge)],
        Kind::Dummy => vec![LinkInfo::Kind(InfoKind::Dummy)],
        Kind::Veth(peer) => {
            let mut message = LinkMessage::default();
            message
                .attributes
                .push(LinkAttribute::IfName(peer.name.to_owned()));
            message
                .attributes
                .extend(peer.mac.map(|m| LinkAttribute::Address(m.0.to_vec())));
            message.attributes.extend(peer.mtu.map(LinkAttribute::Mtu));
            message
                .attributes
                .extend(peer.netns.map(|fd| LinkAttribute::NetNsFd(fd.as_raw_fd())));
            vec![
                LinkInfo::Kind(InfoKind::Veth),
                LinkInfo::Data(InfoData::Veth(InfoVeth::Peer(message))),
            ]
        }
        Kind::Macvlan { mode, .. } => {
            let mode = match mode {
                MacvlanMode::Bridge => MacVlanMode::Bridge,
                MacvlanMode::Private => MacVlanMode::Private,
                MacvlanMode::Vepa => MacVlanMode::Vepa,
                MacvlanMode::Passthrough => MacVlanMode::Passthrough,
            };
            let data = InfoData::MacVlan(vec![InfoMacVlan::Mode(mode)]);
            vec![LinkInfo::Kind(InfoKind::MacVlan), LinkInfo::Data(data)]
        }
        Kind::Vlan { id, gvrp, .. } => {
            let flags = gvrp.then_some(InfoVlan::Flags((VlanFlags::Gvrp, VlanFlags::Gvrp)));
            let data = InfoData::Vlan([InfoVlan::Id(*id)].into_iter().chain(flags).collect());
            vec![LinkInfo::Kind(InfoKind::Vlan), LinkInfo::Data(data)]
        }
    }
}

fn read(answer: RouteNetlinkMessage) -> Option<Link> {
    let RouteNetlinkMessage::NewLink(message) = answer else {
        return None;
    };
    let mut link = Link {
        index: message.header.index,
        hardware: message.header.link_layer_type.into(),
        flags: message.header.flags.bits(),
        ..Link::default()
    };
    for attribute in message.attributes {
        match attribute {
            LinkAttribute::IfName(name) => link.name = name,
            LinkAttribute::Address(bytes) => link.address = bytes,
            LinkAttribute::Mtu(mtu) => link.mtu = mtu,
            LinkAttribute::Controller(index) => link.master = Some(index),
            LinkAttribute::Link(index) => link.lower = Some(index),
            LinkAttribute::ParentDevName(_) => link.physical = true,
            LinkAttribute::LinkNetNsId(id) => link.peer_netns = Some(id),
            LinkAttribute::OperState(state) => link.state = oper_state(state),
            LinkAttribute::LinkInfo(infos) => read_info(&mut link, infos),
            LinkAttribute::Stats64(s) => {
                link.stats = Stats {
                    rx_bytes: s.rx_bytes,
                    tx_bytes: s.tx_bytes,
                    rx_packets: s.rx_packets,
                    tx_packets: s.tx_packets,
                    rx_errors: s.rx_errors,
                    tx_errors: s.tx_errors,
                    rx_dropped: s.rx_dropped,
                    tx_dropped: s.tx_dropped,
                };
            }
            _ => {}
        }
    }
    Some(link)
}

fn oper_state(state: State) -> OperState {
    match state {
        State::Unknown => OperState::Unknown,
        State::Up => OperState::Up,
        State::Down => OperState::Down,
        State::LowerLayerDown => OperState::LowerLayerDown,
        _ => OperState::Other,
    }
}

fn read_info(link: &mut Link, infos: Vec<LinkInfo>) {
    for info in infos {
        match info {
            LinkInfo::Kind(kind) => link.kind = kind.to_string(),
            LinkInfo::Data(InfoData::Bridge(facts)) => link.bridge = Some(read_bridge(facts)),
            LinkInfo::Data(InfoData::Vlan(facts)) => {
                link.vlan = facts.into_iter().find_map(|fact| match fact {
                    InfoVlan::Id(id) => Some(id),
                    _ => None,
                });
            }
            _ => {}
        }
    }
}

fn read_bridge(facts: Vec<InfoBridge>) -> BridgeFacts {
    let mut bridge = BridgeFacts::default();
    for fact in facts {
        match fact {
            InfoBridge::BridgeId(id) => (bridge.priority, bridge.address) = (id.priority, id.address),
            InfoBridge::StpState(state) => bridge.stp = state != BridgeStpState::Disabled,
            InfoBridge::ForwardDelay(delay) => bridge.forward_delay = u64::from(delay),
            InfoBridge::VlanDefaultPvid(vlan) => bridge.default_vlan = vlan,
            InfoBridge::VlanFiltering(on) => bridge.vlan_filtering = on,
            _ => {}
        }
    }
    bridge
}
