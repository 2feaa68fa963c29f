//! The addresses that a network's instances have.

use std::collections::BTreeMap;
use std::sync::Arc;

use lxd_api::networks::NetworkLease;
use lxd_model::devices::{Device, property};
use lxd_network::dnsmasq::LeaseNic;

use super::{find, home_of};
use crate::app::App;
use crate::ctx::Ctx;
use crate::error::{Error, Result};
use crate::projects::{limits::Member, members};

/// The addresses in use on a managed network: those of the project's instances, and in the network's own project its own.
///
/// # Errors
/// Not found; the caller may not see the project; the type of network hands out none.
pub async fn leases(app: &Arc<App>, ctx: &Ctx, name: &str) -> Result<Vec<NetworkLease>> {
    ctx.require_project()?;
    let mut tx = app.cluster.read().await?;
    let home = home_of(&mut tx, ctx).await?;
    let network = find(app, &mut tx, &home, name).await?;
    let members = members(&mut tx, &ctx.project).await?;
    drop(tx);
    let driver = app.networks.driver(&network.kind)?;
    if !driver.capabilities().leases {
        return Err(Error::refused("Not implemented"));
    }
    let nics: Vec<LeaseNic> = members.iter().flat_map(|member| cards(member, name)).collect();
    Ok(driver
        .leases(&network.plain(), &nics, ctx.project == network.project)
        .await?)
}

/// An instance's cards on a network.
fn cards<'a>(member: &'a Member, network: &'a str) -> impl Iterator<Item = LeaseNic> + 'a {
    let on_it = move |device: &Device| {
        property(device, "type") == "nic"
            && (property(device, "network") == network
                || (property(device, "nictype") == "bridged" && property(device, "parent") == network))
    };
    let cards = member.devices.iter().filter(move |(_, device)| on_it(device));
    cards.filter_map(|(name, device)| card(&member.name, &member.config, name, device))
}

fn card(instance: &str, config: &BTreeMap<String, String>, name: &str, device: &Device) -> Option<LeaseNic> {
    let volatile = config.get(&format!("volatile.{name}.hwaddr"));
    let hwaddr = match property(device, "hwaddr") {
        "" => volatile?.clone(),
        own => own.to_owned(),
    };
    Some(LeaseNic {
        instance: instance.to_owned(),
        hwaddr,
        ipv4: property(device, "ipv4.address").parse().ok(),
        ipv6: property(device, "ipv6.address").parse().ok(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map<const N: usize>(pairs: [(&str, &str); N]) -> BTreeMap<String, String> {
        pairs
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .into()
    }

    #[test]
    fn cards_are_found_by_network_and_by_parent() {
        let fixed = map([
            ("type", "nic"),
            ("network", "n"),
            ("ipv4.address", "10.0.0.9"),
            ("hwaddr", "00:16:3e:00:00:09"),
        ]);
        let bridged = map([("type", "nic"), ("nictype", "bridged"), ("parent", "n")]);
        let member = Member {
            name: "c1".into(),
            kind: lxd_model::instances::InstanceType::default(),
            config: map([("volatile.eth1.hwaddr", "00:16:3e:00:00:01")]),
            devices: [
                ("eth0".to_owned(), fixed),
                ("eth1".to_owned(), bridged.clone()),
                ("never-started".to_owned(), bridged),
                ("eth2".to_owned(), map([("type", "nic"), ("network", "other")])),
                ("root".to_owned(), map([("type", "disk"), ("path", "/")])),
            ]
            .into(),
        };
        let found: Vec<_> = cards(&member, "n").map(|card| (card.hwaddr, card.ipv4)).collect();
        assert_eq!(
            found,
            [
                ("00:16:3e:00:00:09".to_owned(), "10.0.0.9".parse().ok()),
                ("00:16:3e:00:00:01".to_owned(), None)
            ]
        );
    }
}
