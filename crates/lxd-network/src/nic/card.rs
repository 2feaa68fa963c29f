//! An instance's card as its network side sees it: plain values.

use std::collections::BTreeMap;
use std::net::IpAddr;

use crate::Network;
use crate::subnet::Subnet;

/// A card of an instance that starts, runs, or has stopped.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Card {
    /// The instance's project.
    pub project: String,
    /// The instance.
    pub instance: String,
    /// The device's name.
    pub device: String,
    /// The kind of card, as `nictype` names it.
    pub nictype: String,
    /// The device's configuration.
    pub config: BTreeMap<String, String>,
    /// The managed network behind it, where there is one.
    pub network: Option<Network>,
    /// The name of its end on the host.
    pub host_name: String,
    /// Its hardware address inside.
    pub hwaddr: String,
}

/// What the host has ready for a card, and what the card gets inside.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HostSide {
    /// The bridge that the host's end becomes a port of.
    pub master: Option<String>,
    /// The link below the card, or the one that becomes the card.
    pub parent: Option<String>,
    /// Whether that link was made for it.
    pub created: bool,
    /// The size of packets, in bytes, of cards that have none configured.
    pub mtu: Option<u32>,
    /// Hardware address and packet size of a link that becomes the card, for the time after.
    pub original: Option<(String, u32)>,
    /// Addresses inside with the lengths of their prefixes.
    pub addresses: Vec<(IpAddr, u8)>,
    /// Where default routes inside go.
    pub gateways: Vec<IpAddr>,
    /// Whether default routes inside go to the card itself, for IPv4 and IPv6.
    pub defaults: [bool; 2],
}

impl Card {
    /// A value of its configuration; empty when it isn't set.
    pub fn get(&self, key: &str) -> &str {
        self.config.get(key).map_or("", String::as_str)
    }

    /// Whether a boolean key is on.
    pub fn is_on(&self, key: &str) -> bool {
        self.is_on_or(key, false)
    }

    /// Whether a boolean key is on, `default` when it isn't set.
    pub fn is_on_or(&self, key: &str, default: bool) -> bool {
        match self.get(key) {
            "" => default,
            value => lxd_model::config::is_true(value),
        }
    }

    /// The host's link behind it: its managed network, or its parent.
    pub fn parent(&self) -> &str {
        match &self.network {
            Some(network) => &network.name,
            None => self.get("parent"),
        }
    }

    /// The values of a key that is a list separated by commas.
    pub fn list(&self, key: &str) -> impl Iterator<Item = &str> {
        self.get(key)
            .split(',')
            .map(str::trim)
            .filter(|item| !item.is_empty())
    }

    /// The networks behind the instance.
    pub fn routes(&self, ipv4: bool) -> Vec<Subnet> {
        let family = if ipv4 { "ipv4" } else { "ipv6" };
        let keys = [format!("{family}.routes"), format!("{family}.routes.external")];
        let parsed = keys
            .iter()
            .flat_map(|key| self.list(key).filter_map(|text| text.parse().ok()));
        parsed.collect()
    }

    /// Whether packets of the card are filtered at all.
    pub fn is_filtered(&self) -> bool {
        FILTERS.iter().any(|key| self.is_on(key))
    }

    /// What its chains of rules are called behind their prefix: `[PROJECT_]INSTANCE.DEVICE`.
    pub fn chain(&self) -> String {
        match self.project.as_str() {
            "" | "default" => format!("{}.{}", self.instance, self.device),
            project => format!("{project}_{}.{}", self.instance, self.device),
        }
    }
}

/// The keys that ask for filters.
pub(super) const FILTERS: [&str; 3] = [
    "security.mac_filtering",
    "security.ipv4_filtering",
    "security.ipv6_filtering",
];

#[cfg(test)]
pub(super) fn card(nictype: &str, config: &[(&str, &str)]) -> Card {
    Card {
        project: "default".into(),
        instance: "c1".into(),
        device: "eth0".into(),
        nictype: nictype.into(),
        config: config
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
            .collect(),
        network: None,
        host_name: "veth7c60424a".into(),
        hwaddr: "00:16:3e:3b:2c:42".into(),
    }
}
