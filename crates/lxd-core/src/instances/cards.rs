//! The network cards of instances, joined with the networks that they are on.

use lxd_db::cluster::projects::{self, DEFAULT, Feature};
use lxd_db::cluster::{Tx, networks};
use lxd_instance::Instance;
use lxd_instance::ports::{self, NicDevice, NicHost};
use lxd_model::ErrorKind;
use lxd_model::devices::{Device, Devices, property};
use lxd_network::dnsmasq::HostEntry;
use lxd_network::nat;
use lxd_network::nic::{Before, Card};

use crate::app::App;
use crate::error::Result;

/// Before a card exists; see [`lxd_instance::ports::Network::prepare_nic`].
pub(super) async fn prepare(app: &App, nic: NicDevice<'_>) -> Result<NicHost> {
    let side = app.networks.prepare_card(&whole(app, nic).await?).await?;
    Ok(NicHost {
        master: side.master,
        parent: side.parent,
        created: side.created,
        mtu: side.mtu,
        original: side.original,
        addresses: side.addresses,
        gateways: side.gateways,
        defaults: side.defaults,
    })
}

/// Changes a running card.
pub(super) async fn change(app: &App, old: NicDevice<'_>, new: NicDevice<'_>) -> Result<()> {
    let (old, new) = (whole(app, old).await?, whole(app, new).await?);
    Ok(app.networks.card_changed(&old, &new).await?)
}

/// After a card has gone.
pub(super) async fn gone(app: &App, nic: NicDevice<'_>) -> Result<()> {
    let last = |key: &str| nic.instance.volatile(nic.device, key).unwrap_or_default();
    let before = Before {
        name: nic.host_name,
        hwaddr: last("last_state.hwaddr"),
        mtu: last("last_state.mtu"),
        created: last("last_state.created") == "true",
    };
    Ok(app.networks.card_gone(&plain(nic), before).await?)
}

/// Leads ports of the host to an instance, or no longer.
pub(super) async fn forward(
    app: &App,
    instance: &Instance,
    device: &str,
    forward: Option<&ports::Forward>,
) -> Result<()> {
    let chain = format!("{}.{device}", instance.key.prefixed());
    let wanted = forward.map(|forward| nat::Forward {
        protocol: forward.protocol,
        listen: forward.listen,
        connect: forward.connect,
        listen_ports: forward.listen_ports.clone(),
        connect_ports: forward.connect_ports.clone(),
    });
    Ok(app.networks.forward(&chain, wanted.as_ref()).await?)
}

/// A card without its network's configuration, which costs nothing to look up.
pub(super) fn plain(nic: NicDevice<'_>) -> Card {
    let mut config = nic.instance.devices.get(nic.device).cloned().unwrap_or_default();
    let nictype = match property(&config, "nictype") {
        "" => "bridged",
        other => other,
    };
    let nictype = nictype.to_owned();
    if nictype == "bridged"
        && let Some(network) = config.get("network").cloned()
    {
        config.insert("parent".into(), network);
    }
    Card {
        project: nic.instance.key.project.clone(),
        instance: nic.instance.key.name.clone(),
        device: nic.device.to_owned(),
        nictype,
        config,
        network: None,
        host_name: nic.host_name.to_owned(),
        hwaddr: nic.hwaddr.to_owned(),
    }
}

async fn whole(app: &App, nic: NicDevice<'_>) -> Result<Card> {
    let mut card = plain(nic);
    if let Some(device) = nic.instance.devices.get(nic.device)
        && let Some(network) = managed(app, &nic.instance.key.project, device).await?
    {
        card.network = Some(value(&network));
    }
    Ok(card)
}

/// The bridge that a card is a port of; none for other kinds of cards.
fn bridge_of(device: &Device) -> Option<&str> {
    match (property(device, "network"), property(device, "nictype")) {
        ("", "bridged") => Some(property(device, "parent")).filter(|parent| !parent.is_empty()),
        (network, "" | "bridged") if !network.is_empty() => Some(network),
        _ => None,
    }
}

/// Whether a device is still a card on the same network after a change.
pub(super) fn are_on_one_network(before: &Device, after: &Device) -> bool {
    let keys = ["type", "network", "nictype", "parent"];
    keys.iter()
        .all(|key| property(before, key) == property(after, key))
}

/// The managed network behind a card: by its `network`, or by the name of its `parent`.
async fn managed(app: &App, project: &str, device: &Device) -> Result<Option<networks::Network>> {
    if bridge_of(device).is_none() {
        return Ok(None);
    }
    let mut tx = app.cluster.read().await?;
    find(app, &mut tx, project, device).await
}

/// The managed network behind a card, in a transaction.
pub(super) async fn network_in(
    app: &App,
    tx: &mut Tx,
    project: &str,
    device: &Device,
) -> Result<Option<lxd_network::Network>> {
    Ok(find(app, tx, project, device).await?.as_ref().map(value))
}

async fn find(app: &App, tx: &mut Tx, project: &str, device: &Device) -> Result<Option<networks::Network>> {
    let Some(bridge) = bridge_of(device) else {
        return Ok(None);
    };
    let is_named = !property(device, "network").is_empty();
    let home = if is_named {
        projects::effective(tx, project, Feature::Networks).await?
    } else {
        DEFAULT.to_owned()
    };
    match networks::get(tx, &home, bridge, app.cluster.node_id()).await {
        Ok(network) => Ok(Some(network)),
        Err(error) if error.kind() == ErrorKind::NotFound && !is_named => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn value(row: &networks::Network) -> lxd_network::Network {
    lxd_network::Network {
        id: row.id,
        name: row.name.clone(),
        description: row.description.clone(),
        config: row.config.clone(),
    }
}

fn host_entry(instance: &Instance, name: &str, device: &Device, hwaddr: &str) -> HostEntry {
    let own = property(device, "hwaddr");
    HostEntry {
        project: instance.key.project.clone(),
        instance: instance.key.name.clone(),
        device: name.to_owned(),
        hwaddr: if own.is_empty() { hwaddr } else { own }.to_owned(),
        ipv4: property(device, "ipv4.address").parse().ok(),
        ipv6: property(device, "ipv6.address").parse().ok(),
    }
}

/// Lets managed networks forget these cards of an instance, because it is gone or has another name, or they are. What is gone
/// already is fine.
///
/// # Errors
/// A network that can't forget; the others have.
pub(super) async fn forget(app: &App, instance: &Instance, devices: &Devices) -> Result<()> {
    let mut outcome = Ok(());
    let cards = devices
        .iter()
        .filter(|(_, device)| property(device, "type") == "nic");
    for (name, device) in cards {
        let hwaddr = instance.volatile(name, "hwaddr").unwrap_or_default();
        let Ok(Some(network)) = managed(app, &instance.key.project, device).await else {
            continue;
        };
        let entry = host_entry(instance, name, device, hwaddr);
        let driver = app.networks.driver(network.kind.as_str())?;
        if let Err(error) = driver.remove_host(&value(&network), &entry).await {
            outcome = Err(error.into());
        }
    }
    outcome
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_card_that_is_masked_or_moved_is_on_no_network_of_before() {
        let device = |pairs: &[(&str, &str)]| -> Device {
            let owned = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
            pairs.iter().map(owned).collect()
        };
        let card = device(&[("type", "nic"), ("network", "n"), ("name", "eth0")]);
        let other = device(&[("type", "nic"), ("network", "n"), ("name", "eth1")]);
        assert!(are_on_one_network(&card, &other));
        let masked = device(&[("type", "none")]);
        let moved = device(&[("type", "nic"), ("network", "m"), ("name", "eth0")]);
        assert!(!are_on_one_network(&card, &masked) && !are_on_one_network(&card, &moved));
    }
}
