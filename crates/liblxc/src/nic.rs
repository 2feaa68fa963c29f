//! A network card of a container, as words that the helper is given.

use std::fmt::Write;
use std::net::IpAddr;

use crate::protocol::Malformed;

/// What a card is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Kind {
    /// One end of a pair, whose other end stays on the host.
    #[default]
    Veth,
    /// A card with an address of its own on a card of the host.
    Macvlan,
    /// A card with the address of a card of the host, on the link layer.
    IpvlanL2,
    /// The same on the network layer.
    IpvlanL3s,
    /// A card of the host, which is taken away from it.
    Moved,
}

impl Kind {
    const NAMES: [(Self, &str); 5] = [
        (Self::Veth, "veth"),
        (Self::Macvlan, "macvlan"),
        (Self::IpvlanL2, "ipvlan-l2"),
        (Self::IpvlanL3s, "ipvlan-l3s"),
        (Self::Moved, "moved"),
    ];

    fn name(self) -> &'static str {
        Self::NAMES
            .iter()
            .find(|(kind, _)| *kind == self)
            .map_or("", |(_, name)| name)
    }
}

/// One card, made by `net` in the container's network namespace at each start and destroyed by the kernel with it, or
/// given back by `net-back`. Written `name=eth0,host=veth0a1b2c3d,hwaddr=..,mtu=1500,master=lxdbr0`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Nic {
    /// What it is made of.
    pub kind: Kind,
    /// The card's name inside.
    pub name: String,
    /// The other end's name on the host, or the name of the card there.
    pub host_name: String,
    /// Hardware address inside: six bytes, or the twenty of an InfiniBand card.
    pub hwaddr: Option<Vec<u8>>,
    /// Size of packets on both ends, in bytes.
    pub mtu: Option<u32>,
    /// Length of the transmission queue on both ends.
    pub queue_length: Option<u32>,
    /// The bridge that the host end becomes a port of.
    pub master: Option<String>,
    /// The card of the host below.
    pub parent: Option<String>,
    /// Addresses inside, with the lengths of their prefixes.
    pub addresses: Vec<(IpAddr, u8)>,
    /// Gateways of default routes inside, on the card itself.
    pub gateways: Vec<IpAddr>,
    /// Whether a default route without a gateway goes to the card, for IPv4 and for IPv6.
    pub defaults: [bool; 2],
}

impl Nic {
    /// The argument of `net` for this card. Names hold no comma: the kernel and the config keys see to that.
    pub fn to_argument(&self) -> String {
        let mut text = format!("name={},host={}", self.name, self.host_name);
        if self.kind != Kind::Veth {
            text += &format!(",kind={}", self.kind.name());
        }
        if let Some(hwaddr) = &self.hwaddr {
            text += &format!(",hwaddr={}", format_hwaddr(hwaddr));
        }
        if let Some(mtu) = self.mtu {
            text += &format!(",mtu={mtu}");
        }
        if let Some(length) = self.queue_length {
            text += &format!(",qlen={length}");
        }
        for (key, name) in [("master", &self.master), ("parent", &self.parent)] {
            if let Some(name) = name {
                let _ = write!(text, ",{key}={name}");
            }
        }
        for (address, length) in &self.addresses {
            let _ = write!(text, ",address={address}/{length}");
        }
        for gateway in &self.gateways {
            let _ = write!(text, ",via={gateway}");
        }
        for (key, is_wanted) in ["default4", "default6"].iter().zip(self.defaults) {
            if is_wanted {
                let _ = write!(text, ",{key}=1");
            }
        }
        text
    }

    /// Reads an argument of `net`.
    ///
    /// # Errors
    /// [`Malformed`].
    pub fn parse(text: &str) -> Result<Self, Malformed> {
        let mut nic = Self::default();
        for item in text.split(',') {
            let (key, value) = item.split_once('=').ok_or(Malformed("key=value wanted"))?;
            let number = || value.parse::<u32>().map_err(|_| Malformed("number wanted"));
            let address = |text: &str| text.parse::<IpAddr>().map_err(|_| Malformed("IP address wanted"));
            match key {
                "name" => nic.name = value.to_owned(),
                "host" => nic.host_name = value.to_owned(),
                "kind" => {
                    let known = Kind::NAMES.iter().find(|(_, name)| *name == value);
                    nic.kind = known.ok_or(Malformed("unknown kind of nic"))?.0;
                }
                "hwaddr" => {
                    nic.hwaddr = Some(parse_address(value).ok_or(Malformed("hardware address wanted"))?)
                }
                "mtu" => nic.mtu = Some(number()?),
                "qlen" => nic.queue_length = Some(number()?),
                "master" => nic.master = Some(value.to_owned()),
                "parent" => nic.parent = Some(value.to_owned()),
                "address" => {
                    let (host, length) = value
                        .split_once('/')
                        .ok_or(Malformed("length of a prefix wanted"))?;
                    let length = length.parse().map_err(|_| Malformed("number wanted"))?;
                    nic.addresses.push((address(host)?, length));
                }
                "via" => nic.gateways.push(address(value)?),
                "default4" => nic.defaults[0] = true,
                "default6" => nic.defaults[1] = true,
                _ => return Err(Malformed("unknown key of a nic")),
            }
        }
        let fits = |name: &str| (1..16).contains(&name.len());
        if fits(&nic.name) && fits(&nic.host_name) {
            Ok(nic)
        } else {
            Err(Malformed("nic without names"))
        }
    }
}

/// Reads a MAC address of six hexadecimal pairs with colons.
pub fn parse_hwaddr(text: &str) -> Option<[u8; 6]> {
    parse_address(text)?.try_into().ok()
}

/// Reads the address of a card, which has six pairs, or of an InfiniBand card, which has twenty.
fn parse_address(text: &str) -> Option<Vec<u8>> {
    let pair = |part: &str| {
        let is_pair = part.len() == 2 && part.bytes().all(|byte| byte.is_ascii_hexdigit());
        is_pair.then(|| u8::from_str_radix(part, 16).ok()).flatten()
    };
    let address: Vec<u8> = text.split(':').map(pair).collect::<Option<_>>()?;
    matches!(address.len(), 6 | 20).then_some(address)
}

/// Hexadecimal pairs with colons.
pub fn format_hwaddr(address: &[u8]) -> String {
    let pairs: Vec<String> = address.iter().map(|byte| format!("{byte:02x}")).collect();
    pairs.join(":")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        for text in [
            "name=eth0,host=veth1,hwaddr=00:16:3e:00:ff:01,mtu=1400,qlen=5,master=br0",
            "name=r0,host=veth2,parent=eth0,address=10.1.1.9/32,address=fd00::9/128,via=169.254.0.1,via=fe80::1",
            "name=m0,host=mac1,kind=macvlan,parent=eth0",
            "name=i0,host=i1,kind=ipvlan-l3s,parent=eth0,default4=1,default6=1",
            "name=p0,host=eth9,kind=moved,mtu=9000",
            "name=ib0,host=ib1,kind=moved,hwaddr=80:00:02:08:fe:80:00:00:00:00:00:00:00:02:c9:03:00:00:0d:41",
        ] {
            let nic = Nic::parse(text).unwrap();
            assert_eq!(nic.to_argument(), text);
        }
        let nic = Nic::parse("name=eth0,host=veth1,hwaddr=00:16:3e:00:ff:01").unwrap();
        assert_eq!(nic.hwaddr, Some(vec![0, 0x16, 0x3e, 0, 0xff, 1]));
    }

    #[test]
    fn nonsense_is_refused() {
        for bad in [
            "",
            "name=eth0",
            "name=eth0,host=v,mtu=x",
            "name=a,host=b,hwaddr=0:1",
            "name=a,host=b,c=d",
            "name=a,host=b,kind=x",
            "name=a,host=b,address=1.2.3.4",
            "name=a,host=b,via=x",
        ] {
            assert!(Nic::parse(bad).is_err(), "{bad}");
        }
    }
}
