//! Addresses with a prefix length: reading, arithmetic, and picking one that nobody uses.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// How often a random subnet is drawn before giving up.
const TRIES: usize = 100;

/// An address and the network it is in: `10.0.3.1/24`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Subnet {
    /// The address; its host part is kept.
    pub address: IpAddr,
    /// Length of the network's prefix in bits.
    pub prefix: u8,
}

impl Subnet {
    /// The network's own address, all host bits zero.
    pub fn network(self) -> IpAddr {
        self.at(self.first())
    }

    /// The address that is `offset` after the network's first; from its end when negative (-1 is its last). Offsets beyond
    /// the network wrap around as two's complement does.
    pub fn nth(self, offset: i64) -> IpAddr {
        let from = if offset < 0 {
            self.last().wrapping_add(1)
        } else {
            self.first()
        };
        self.at(from.wrapping_add_signed(i128::from(offset)))
    }

    /// Whether an address is in the network.
    pub fn contains(self, address: IpAddr) -> bool {
        address.is_ipv4() == self.address.is_ipv4() && bits(address) & !self.host_mask() == self.first()
    }

    /// Whether two networks share an address.
    pub fn overlaps(self, other: Subnet) -> bool {
        self.contains(other.network()) || other.contains(self.network())
    }

    /// The network without a host part: `10.0.3.0/24`.
    pub fn cidr(self) -> String {
        format!("{}/{}", self.network(), self.prefix)
    }

    fn width(self) -> u8 {
        if self.address.is_ipv4() { 32 } else { 128 }
    }

    fn host_mask(self) -> u128 {
        let host_bits = u32::from(self.width() - self.prefix);
        1_u128.checked_shl(host_bits).map_or(u128::MAX, |one| one - 1)
    }

    fn first(self) -> u128 {
        bits(self.address) & !self.host_mask()
    }

    fn last(self) -> u128 {
        bits(self.address) | self.host_mask()
    }

    fn at(self, bits: u128) -> IpAddr {
        match self.address {
            // The network's numbers are below 2^32; only wrapped ones are cut.
            IpAddr::V4(_) => Ipv4Addr::from_bits((bits & u128::from(u32::MAX)) as u32).into(),
            IpAddr::V6(_) => Ipv6Addr::from_bits(bits).into(),
        }
    }
}

impl fmt::Display for Subnet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

impl FromStr for Subnet {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parse = || {
            let (address, prefix) = text.split_once('/')?;
            let address: IpAddr = address.parse().ok()?;
            let digits =
                !prefix.is_empty() && prefix.len() <= 3 && prefix.bytes().all(|b| b.is_ascii_digit());
            let prefix: u8 = digits.then(|| prefix.parse().ok())??;
            let subnet = Self { address, prefix };
            (prefix <= subnet.width()).then_some(subnet)
        };
        parse().ok_or_else(|| format!("invalid CIDR address: {text}"))
    }
}

fn bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(a) => a.to_bits().into(),
        IpAddr::V6(a) => a.to_bits(),
    }
}

/// A first and a last address: `10.0.3.10-10.0.3.20`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Range {
    /// The first.
    pub start: IpAddr,
    /// The last.
    pub end: IpAddr,
}

impl Range {
    /// Reads a range of the given family.
    ///
    /// # Errors
    /// What is wrong with the text.
    pub fn parse(text: &str, ipv4: bool) -> Result<Self, String> {
        let (start, end) = text
            .split_once('-')
            .ok_or("IP range must contain start and end IP addresses")?;
        let read = |part: &str| match part.trim().parse::<IpAddr>() {
            Ok(address) if address.is_ipv4() == ipv4 => Ok(address),
            _ => Err(format!(
                "Not an IPv{} address {:?}",
                if ipv4 { 4 } else { 6 },
                part.trim()
            )),
        };
        Ok(Self {
            start: read(start)?,
            end: read(end)?,
        })
    }

    /// Whether two ranges share an address.
    pub fn overlaps(self, other: Range) -> bool {
        bits(self.start) <= bits(other.end) && bits(other.start) <= bits(self.end)
    }
}

impl fmt::Display for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.start, self.end)
    }
}

/// Draws `10.x.y.1/24` until it overlaps none of `used`. `random` gives bytes.
pub fn pick_ipv4(used: &[Subnet], mut random: impl FnMut() -> [u8; 8]) -> Option<Subnet> {
    (0..TRIES).find_map(|_| {
        let [x, y, ..] = random();
        free(Ipv4Addr::new(10, x, y, 1).into(), 24, used)
    })
}

/// Draws `fd42:x:y:z::1/64` until it overlaps none of `used`.
pub fn pick_ipv6(used: &[Subnet], mut random: impl FnMut() -> [u8; 8]) -> Option<Subnet> {
    (0..TRIES).find_map(|_| {
        let [a, b, c, d, e, f, ..] = random();
        let part = |high, low| u16::from_be_bytes([high, low]);
        free(
            Ipv6Addr::new(0xfd42, part(a, b), part(c, d), part(e, f), 0, 0, 0, 1).into(),
            64,
            used,
        )
    })
}

fn free(address: IpAddr, prefix: u8, used: &[Subnet]) -> Option<Subnet> {
    let subnet = Subnet { address, prefix };
    (!used.iter().any(|other| other.overlaps(subnet))).then_some(subnet)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subnet(text: &str) -> Subnet {
        text.parse().unwrap()
    }

    #[test]
    fn addresses_are_counted_from_both_ends() {
        for (text, offset, expected) in [
            ("10.1.1.1/24", 2, "10.1.1.2"),
            ("10.1.1.1/24", -2, "10.1.1.254"),
            ("10.1.1.129/25", 2, "10.1.1.130"),
            ("10.1.1.1/31", 2, "10.1.1.2"),
            ("10.1.1.1/31", -2, "10.1.1.0"),
            ("255.255.255.255/32", 2, "0.0.0.1"),
            ("0.0.0.0/0", -1, "255.255.255.255"),
            ("fd42::1/64", -1, "fd42::ffff:ffff:ffff:ffff"),
            ("fd42::1/80", 2, "fd42::2"),
            ("::/0", -1, "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"),
        ] {
            assert_eq!(subnet(text).nth(offset).to_string(), expected, "{text} {offset}");
        }
        assert_eq!(subnet("fd42:0:0:1::5/64").cidr(), "fd42:0:0:1::/64");
    }

    #[test]
    fn networks_overlap_when_one_holds_the_other() {
        for (a, b, expected) in [
            ("10.0.0.0/8", "10.1.1.1/24", true),
            ("10.1.1.1/24", "10.0.0.0/8", true),
            ("10.1.2.0/24", "10.1.1.1/24", false),
            ("::/0", "10.1.1.1/24", false),
            ("fd42::/16", "fd42:1::/64", true),
        ] {
            assert_eq!(subnet(a).overlaps(subnet(b)), expected, "{a} {b}");
        }
    }

    #[test]
    fn unreadable_ones_are_refused() {
        for text in [
            "",
            "10.1.1.1",
            "10.1.1.1/33",
            "10.1.1.1/",
            "10.1.1.1/+8",
            "fd42::1/129",
            "10.1.1/24",
            "x/24",
        ] {
            assert_eq!(
                text.parse::<Subnet>(),
                Err(format!("invalid CIDR address: {text}"))
            );
        }
    }

    #[test]
    fn what_is_in_use_is_avoided() {
        let mut draws = [[1, 2, 0, 0, 0, 0, 0, 0], [3, 4, 0, 0, 0, 0, 0, 0]]
            .into_iter()
            .cycle();
        let mut random = || draws.next().unwrap();
        let picked = pick_ipv4(&[subnet("10.1.0.0/16")], &mut random).unwrap();
        assert_eq!(picked.to_string(), "10.3.4.1/24");
        assert_eq!(pick_ipv4(&[subnet("10.0.0.0/8")], &mut random), None);
        assert_eq!(
            pick_ipv6(&[], || [1, 2, 3, 4, 5, 6, 7, 8]).unwrap().to_string(),
            "fd42:102:304:506::1/64"
        );
    }
}
