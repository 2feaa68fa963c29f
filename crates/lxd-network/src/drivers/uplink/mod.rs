//! Networks that are an interface of the host: presets for cards of instances (`macvlan`, `sriov`), and uplinks of routers
//! (`physical`).

mod config;

use std::collections::BTreeMap;

use futures::future::BoxFuture;
use lxd_api::networks::NetworkLease;
use lxd_model::Invalid;
use lxd_sys::netlink::{self, LinkChange};

use crate::dnsmasq::{HostEntry, LeaseNic};
use crate::nic::{Card, parent};
use crate::{Capabilities, Driver, Error, Fill, Network, Result};
use config::{CREATED, PARENT};

/// What is particular about a type.
pub(super) struct Type {
    /// The API's name, which is that of the cards on it, too.
    name: &'static str,
    /// Its keys besides those of all types.
    keys: &'static [(&'static str, lxd_model::config::Check)],
    /// Keys that cards on it are configured with; none where instances can't be on it.
    handed_on: &'static [&'static str],
    /// Whether the interface is set up for it, and serves it alone.
    owns_parent: bool,
}

/// The driver of one type.
pub struct Uplink(&'static Type);

/// Cards with addresses of their own on an interface of the host.
pub const MACVLAN: Uplink = Uplink(&Type {
    name: "macvlan",
    keys: config::MACVLAN,
    handed_on: &[PARENT, "mtu", "vlan", "gvrp"],
    owns_parent: false,
});

/// Virtual functions of an interface of the host.
pub const SRIOV: Uplink = Uplink(&Type {
    name: "sriov",
    keys: &[],
    handed_on: &[PARENT, "mtu", "vlan"],
    owns_parent: false,
});

/// An interface of the host that virtual routers use.
pub const PHYSICAL: Uplink = Uplink(&Type {
    name: "physical",
    keys: config::UPLINK,
    handed_on: &[],
    owns_parent: true,
});

/// What an interface has when nobody says otherwise.
const ORDINARY_MTU: u32 = 1500;

impl Uplink {
    /// Whether this is the driver of a type.
    pub(crate) fn is(&self, kind: &str) -> bool {
        self.0.name == kind
    }

    async fn check_parent(&self, network: &Network) -> Result<()> {
        let name = network.get(PARENT).to_owned();
        let wanted = name.clone();
        let found = netlink::run(move |socket| socket.link(&wanted)).await;
        match found.map_err(Error::Interfaces)? {
            Some(_) => Ok(()),
            None => Err(Invalid::new(format!("Parent interface {name:?} not found")).into()),
        }
    }

    /// Makes the VLAN of an uplink, and gives the interface its packet size.
    async fn bring_up(&self, network: &Network) -> Result<()> {
        self.check_parent(network).await?;
        if !self.0.owns_parent {
            return Ok(());
        }
        let card = card_of(network);
        parent::find(&card).await?;
        match network.get("mtu").parse() {
            Ok(mtu) => set_mtu(&parent::name(&card), mtu).await,
            Err(_) => Ok(()),
        }
    }

    async fn bring_down(&self, network: &Network) -> Result<()> {
        if !self.0.owns_parent {
            return Ok(());
        }
        let card = card_of(network);
        if network.is_on(CREATED, false) {
            return parent::remove_vlan(&card).await;
        }
        match network.get("mtu") {
            "" => Ok(()),
            _ => set_mtu(&parent::name(&card), ORDINARY_MTU).await,
        }
    }
}

/// The interface of an uplink as a card of the host.
fn card_of(network: &Network) -> Card {
    Card {
        nictype: "physical".into(),
        config: network.config.clone(),
        ..Card::default()
    }
}

/// Sets the packet size of an interface. One that is gone is fine.
async fn set_mtu(name: &str, mtu: u32) -> Result<()> {
    let name = name.to_owned();
    let set = netlink::run(move |socket| match socket.link(&name)? {
        Some(link) if link.mtu != mtu => {
            let change = LinkChange {
                mtu: Some(mtu),
                ..LinkChange::default()
            };
            socket.change_link(&name, &change)
        }
        _ => Ok(()),
    });
    set.await.map_err(Error::Interfaces)
}

impl Driver for Uplink {
    fn capabilities(&self) -> Capabilities {
        Capabilities {
            kind: self.0.name,
            nictype: self.0.name,
            leases: false,
            interface: false,
            rename: true,
            owns_parent: self.0.owns_parent,
        }
    }

    fn validate(&self, network: &Network) -> Result<()> {
        config::validate(self.0, network)
    }

    fn fill(&self, mut network: Network, why: Fill) -> BoxFuture<'_, Result<Network>> {
        Box::pin(async move {
            config::validate(self.0, &network)?;
            network.config.retain(|_, value| !value.is_empty());
            if self.0.owns_parent && why == Fill::Create {
                let wanted = parent::name(&card_of(&network));
                let found = netlink::run(move |socket| socket.link(&wanted)).await;
                let is_missing = found.map_err(Error::Interfaces)?.is_none();
                let is_made = is_missing && !network.get("vlan").is_empty();
                network.config.insert(CREATED.into(), is_made.to_string());
            }
            Ok(network)
        })
    }

    fn card(&self, network: &Network) -> BTreeMap<String, String> {
        if self.0.handed_on.is_empty() {
            return BTreeMap::new();
        }
        let handed_on = self.0.handed_on.iter().map(|key| (*key, network.get(key)));
        [("nictype", self.0.name)]
            .into_iter()
            .chain(handed_on)
            .filter(|(_, value)| !value.is_empty())
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .collect()
    }

    fn create<'a>(&'a self, network: &'a Network) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            let up = self.bring_up(network).await;
            if up.is_err()
                && let Err(error) = self.bring_down(network).await
            {
                tracing::error!(network = network.name, %error, "Failed to undo the creation of a network");
            }
            up
        })
    }

    fn start<'a>(&'a self, network: &'a Network) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            match self.0.owns_parent {
                true => self.bring_up(network).await,
                // A card that is started looks for itself.
                false => Ok(()),
            }
        })
    }

    fn stop<'a>(&'a self, network: &'a Network) -> BoxFuture<'a, Result<()>> {
        Box::pin(self.bring_down(network))
    }

    fn update<'a>(&'a self, old: &'a Network, new: &'a Network) -> BoxFuture<'a, Result<()>> {
        let differs = |key: &&str| old.get(key) != new.get(key);
        let is_touched = [PARENT, "vlan", "mtu", "gvrp"].iter().any(differs);
        Box::pin(async move {
            if !self.0.owns_parent || !is_touched {
                return Ok(());
            }
            self.check_parent(new).await?;
            self.bring_down(old).await?;
            self.bring_up(new).await
        })
    }

    fn rename<'a>(&'a self, _network: &'a Network, _name: &'a str) -> BoxFuture<'a, Result<()>> {
        Box::pin(async { Ok(()) })
    }

    fn delete<'a>(&'a self, network: &'a Network) -> BoxFuture<'a, Result<()>> {
        Box::pin(self.bring_down(network))
    }

    fn leases<'a>(
        &'a self,
        _network: &'a Network,
        _nics: &'a [LeaseNic],
        _gateways: bool,
    ) -> BoxFuture<'a, Result<Vec<NetworkLease>>> {
        Box::pin(async { Ok(Vec::new()) })
    }

    fn add_hosts<'a>(
        &'a self,
        _network: &'a Network,
        _entries: &'a [HostEntry],
    ) -> BoxFuture<'a, Result<()>> {
        Box::pin(async { Ok(()) })
    }

    fn remove_host<'a>(&'a self, _network: &'a Network, _entry: &'a HostEntry) -> BoxFuture<'a, Result<()>> {
        Box::pin(async { Ok(()) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network(config: &[(&str, &str)]) -> Network {
        Network {
            name: "m1".into(),
            config: config
                .iter()
                .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
                .collect(),
            ..Network::default()
        }
    }

    #[test]
    fn keys_are_judged_in_the_references_words() {
        let up = ("parent", "eth0");
        let value = |key: &str, reason: &str| {
            Some(format!(
                "Invalid value for network \"m1\" option {key:?}: {reason}"
            ))
        };
        let unknown = |key: &str| Some(format!("Invalid option for network \"m1\" option {key:?}"));
        for (driver, config, refused) in [
            (&MACVLAN, &[][..], value("parent", "Required value")),
            (
                &MACVLAN,
                &[
                    up,
                    ("mtu", "1400"),
                    ("vlan", "7"),
                    ("gvrp", "true"),
                    ("user.x", "y"),
                ],
                None,
            ),
            (
                &MACVLAN,
                &[up, ("mtu", "70000")],
                value("mtu", "Out of MTU range (1280-16384) \"70000\""),
            ),
            (
                &MACVLAN,
                &[up, ("vlan", "9999")],
                value("vlan", "Out of VLAN ID range (0-4094) \"9999\""),
            ),
            (&MACVLAN, &[up, ("ipv4.address", "x")], unknown("ipv4.address")),
            (&SRIOV, &[up, ("gvrp", "true")], unknown("gvrp")),
            (&SRIOV, &[up, ("maas.subnet.ipv4", "x")], None),
            (
                &PHYSICAL,
                &[
                    up,
                    ("ipv4.gateway", "10.0.0.1/24"),
                    ("dns.nameservers", "10.0.0.1, fd00::1"),
                ],
                None,
            ),
            (
                &PHYSICAL,
                &[up, ("ipv4.gateway", "10.0.0.1")],
                value("ipv4.gateway", "invalid CIDR address: 10.0.0.1"),
            ),
            (
                &PHYSICAL,
                &[up, ("ovn.ingress_mode", "foo")],
                value(
                    "ovn.ingress_mode",
                    "Invalid value \"foo\" (not one of [l2proxy routed])",
                ),
            ),
        ] {
            let said = driver.validate(&network(config)).err();
            assert_eq!(said.map(|error| error.to_string()), refused, "{config:?}");
        }
    }

    #[test]
    fn cards_get_what_the_network_says() {
        let config = [
            ("parent", "eth0"),
            ("vlan", "7"),
            ("gvrp", "true"),
            ("user.x", "y"),
        ];
        let own = network(&config);
        let text = |card: BTreeMap<String, String>| format!("{card:?}");
        assert_eq!(
            text(MACVLAN.card(&own)),
            r#"{"gvrp": "true", "nictype": "macvlan", "parent": "eth0", "vlan": "7"}"#
        );
        assert_eq!(
            text(SRIOV.card(&own)),
            r#"{"nictype": "sriov", "parent": "eth0", "vlan": "7"}"#
        );
        assert!(PHYSICAL.card(&own).is_empty());
    }

    #[tokio::test]
    async fn a_parent_must_be_there_and_is_left_as_it_was() {
        for driver in [&MACVLAN, &SRIOV, &PHYSICAL] {
            let missing = network(&[("parent", "nosuch")]);
            let refused = driver.create(&missing).await.unwrap_err();
            assert_eq!(refused.to_string(), "Parent interface \"nosuch\" not found");
            let own = driver
                .fill(network(&[("parent", "lo"), ("user.x", "")]), Fill::Create)
                .await
                .unwrap();
            assert!(!own.config.contains_key("user.x"));
            assert_eq!(
                own.config.contains_key(CREATED),
                driver.capabilities().owns_parent
            );
            driver.create(&own).await.unwrap();
            driver.start(&own).await.unwrap();
            for _ in 0..2 {
                driver.delete(&own).await.unwrap();
            }
        }
    }
}
