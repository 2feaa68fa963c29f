//! Networks: their types, with the API's words and the database's numbers, and made-up interface names.

use crate::Invalid;

/// The bridge that `lxd init` makes.
pub const DEFAULT_BRIDGE: &str = "lxdbr0";

/// The type of a managed network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum NetworkType {
    /// A bridge of ours.
    Bridge,
    /// macvlan on an interface of the host.
    Macvlan,
    /// Virtual functions of a card.
    Sriov,
    /// An OVN network.
    Ovn,
    /// An interface of the host, as uplink.
    Physical,
}

impl NetworkType {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::Bridge,
        Self::Macvlan,
        Self::Sriov,
        Self::Ovn,
        Self::Physical,
    ];

    /// The API's word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Bridge => "bridge",
            Self::Macvlan => "macvlan",
            Self::Sriov => "sriov",
            Self::Ovn => "ovn",
            Self::Physical => "physical",
        }
    }

    /// The number in the database.
    pub fn id(self) -> i64 {
        match self {
            Self::Bridge => 0,
            Self::Macvlan => 1,
            Self::Sriov => 2,
            Self::Ovn => 3,
            Self::Physical => 4,
        }
    }

    /// The type with a number.
    pub fn from_id(id: i64) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.id() == id)
    }

    /// The type of a request; the empty text means a bridge.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        if text.is_empty() {
            return Ok(Self::Bridge);
        }
        let known = Self::ALL.into_iter().find(|kind| kind.as_str() == text);
        known.ok_or_else(|| Invalid::new("Unknown driver"))
    }

    /// The kind of network card that instances get on such a network; empty where they can't be on it.
    pub fn nictype(self) -> &'static str {
        match self {
            Self::Bridge => "bridged",
            Self::Macvlan => "macvlan",
            Self::Sriov => "sriov",
            Self::Ovn => "ovn",
            Self::Physical => "",
        }
    }
}

/// A name for the host's end of a card: the prefix (`veth`, `mac`, `tap`) and 8 hexadecimal digits of random bits.
pub fn interface_name(prefix: &str, random: u32) -> String {
    format!("{prefix}{random:08x}")
}

/// A hardware address in the range that Xen's project owns and LXD uses, from random bits.
pub fn hardware_address(random: u32) -> String {
    let [_, a, b, c] = random.to_be_bytes();
    format!("00:16:3e:{a:02x}:{b:02x}:{c:02x}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::names;

    #[test]
    fn words_and_numbers_go_both_ways() {
        for kind in NetworkType::ALL {
            assert_eq!(NetworkType::parse(kind.as_str()).unwrap(), kind);
            assert_eq!(NetworkType::from_id(kind.id()), Some(kind));
        }
        assert_eq!(
            NetworkType::parse("foo").unwrap_err().to_string(),
            "Unknown driver"
        );
    }

    #[test]
    fn made_up_names_are_valid() {
        names::interface(&interface_name("veth", u32::MAX)).unwrap();
        assert_eq!(hardware_address(0x00ab_cdef), "00:16:3e:ab:cd:ef");
    }
}
