//! Commands about networks.

use std::collections::BTreeMap;

use lxd_api::instances::{Instance, InstancePut};
use lxd_api::networks::{Network, NetworkLease, NetworkPost, NetworksPost};
use lxd_api::profiles::{Profile, ProfilePut};
use lxd_client::{Etag, path};

use super::configured::Place;
use super::{network_info, not_yet};
use crate::context::{Context, Resource};
use crate::error::{Error, Result};
use crate::key_values::strict_pairs;
use crate::render::{List, list as print_list, sort_rows};

/// Devices of an instance or a profile.
type Devices = BTreeMap<String, BTreeMap<String, String>>;

/// Runs a command about networks.
pub(super) async fn run(cx: &Context, path: &str) -> Result<()> {
    match path {
        "network attach" | "network detach" => instance_devices(cx, path == "network attach").await,
        "network attach-profile" | "network detach-profile" => {
            profile_devices(cx, path == "network attach-profile").await
        }
        "network create" => create(cx).await,
        "network delete" => delete(cx).await,
        "network edit" => edit(cx).await,
        "network get" => place(&network(cx)?).print_value::<Network>(cx.argument(1)).await,
        "network info" => network_info::run(&network(cx)?).await,
        "network list" => list(cx).await,
        "network list-leases" => leases(cx).await,
        "network rename" => rename(cx).await,
        "network set" => set(cx).await,
        "network show" => place(&network(cx)?).show::<Network>().await,
        "network unset" => place(&network(cx)?).unset::<Network>(cx.argument(1)).await,
        _ => not_yet(),
    }
}

fn network(cx: &Context) -> Result<Resource> {
    let mut network = cx.named(cx.argument(0), "network")?;
    network.client = network.client.on_target(cx.text("target"));
    Ok(network)
}

fn place(network: &Resource) -> Place<'_> {
    Place {
        client: &network.client,
        path: path(&["networks", &network.name]),
    }
}

async fn create(cx: &Context) -> Result<()> {
    let network = network(cx)?;
    let request = NetworksPost {
        name: network.name.clone(),
        r#type: cx.text("type").into(),
        config: strict_pairs(&cx.arguments()[1..], |word| format!("Bad key/value pair: {word}"))?,
        ..NetworksPost::default()
    };
    network.client.create(&path(&["networks"]), &request).await?;
    match cx.text("target") {
        "" => cx.tell(&format!("Network {} created", network.name)),
        member => cx.tell(&format!("Network {} pending on member {member}", network.name)),
    }
}

async fn delete(cx: &Context) -> Result<()> {
    let network = cx.named(cx.argument(0), "network")?;
    network.client.remove(&path(&["networks", &network.name])).await?;
    cx.tell(&format!("Network {} deleted", network.name))
}

async fn edit(cx: &Context) -> Result<()> {
    let network = network(cx)?;
    if crate::context::stdin_is_terminal() {
        must_be_managed(&network).await?;
    }
    place(&network).edit::<Network>().await
}

async fn set(cx: &Context) -> Result<()> {
    let network = network(cx)?;
    must_be_managed(&network).await?;
    place(&network).set_words::<Network>(&cx.arguments()[1..]).await
}

async fn must_be_managed(network: &Resource) -> Result<()> {
    let shown: Network = network.client.get(&path(&["networks", &network.name])).await?;
    if shown.managed {
        Ok(())
    } else {
        Err(Error::message("Only managed networks can be modified"))
    }
}

async fn rename(cx: &Context) -> Result<()> {
    let (network, new) = (cx.named(cx.argument(0), "network")?, cx.argument(1));
    let request = NetworkPost { name: new.into() };
    network
        .client
        .create(&path(&["networks", &network.name]), &request)
        .await?;
    cx.tell(&format!("Network {} renamed to {new}", network.name))
}

async fn list(cx: &Context) -> Result<()> {
    let remote = cx.resource_or_default(0)?;
    let networks: Vec<Network> = remote.client.get("/1.0/networks?recursion=1").await?;
    let row = |network: &Network| {
        let address = |key: &str| network.config.get(key).cloned().unwrap_or_default();
        vec![
            network.name.clone(),
            network.r#type.clone(),
            if network.managed { "YES" } else { "NO" }.into(),
            address("ipv4.address"),
            address("ipv6.address"),
            network.description.clone(),
            network.used_by.len().to_string(),
            network.status.to_uppercase(),
        ]
    };
    let is_shown = |network: &&Network| !["loopback", "unknown"].contains(&network.r#type.as_str());
    let mut rows: Vec<_> = networks.iter().filter(is_shown).map(row).collect();
    sort_rows(&mut rows);
    let header = [
        "NAME",
        "TYPE",
        "MANAGED",
        "IPV4",
        "IPV6",
        "DESCRIPTION",
        "USED BY",
        "STATE",
    ];
    print_list(
        cx.text("format"),
        &List {
            header: &header,
            rows: &rows,
            raw: &networks,
        },
    )
}

async fn leases(cx: &Context) -> Result<()> {
    let network = network(cx)?;
    let leases: Vec<NetworkLease> = network
        .client
        .get(&path(&["networks", &network.name, "leases"]))
        .await?;
    let is_cluster = leases
        .iter()
        .any(|lease| !["", "none"].contains(&lease.location.as_str()));
    let row = |lease: &NetworkLease| {
        let mut cells = vec![
            lease.hostname.clone(),
            lease.hwaddr.clone(),
            lease.address.clone(),
            lease.r#type.to_uppercase(),
        ];
        if is_cluster {
            cells.push(lease.location.clone());
        }
        cells
    };
    let mut rows: Vec<_> = leases.iter().map(row).collect();
    sort_rows(&mut rows);
    let mut header = vec!["HOSTNAME", "MAC ADDRESS", "IP ADDRESS", "TYPE"];
    if is_cluster {
        header.push("LOCATION");
    }
    print_list(
        cx.text("format"),
        &List {
            header: &header,
            rows: &rows,
            raw: &leases,
        },
    )
}

/// The nic that `network attach` makes; that of a profile always names its parent.
async fn new_nic(
    cx: &Context,
    network: &Resource,
    by_parent: bool,
) -> Result<(String, BTreeMap<String, String>)> {
    let shown: Network = network.client.get(&path(&["networks", &network.name])).await?;
    let mut nic = BTreeMap::from([("type".to_owned(), "nic".to_owned())]);
    if shown.managed && !by_parent {
        nic.insert("network".into(), network.name.clone());
    } else {
        let kind = if shown.r#type == "bridge" {
            "bridged"
        } else {
            "macvlan"
        };
        nic.insert("nictype".into(), kind.into());
        nic.insert("parent".into(), network.name.clone());
    }
    if !cx.argument(3).is_empty() {
        nic.insert("name".into(), cx.argument(3).into());
    }
    let device = if cx.argument(2).is_empty() {
        network.name.as_str()
    } else {
        cx.argument(2)
    };
    Ok((device.to_owned(), nic))
}

/// Takes the nic that is named, or the only one on the network, out.
fn remove_nic(devices: &mut Devices, network: &str, device: &str) -> Result<()> {
    let is_on = |nic: &BTreeMap<String, String>| {
        let names = |key: &str| nic.get(key).is_some_and(|name| name == network);
        nic.get("type").is_some_and(|kind| kind == "nic") && (names("network") || names("parent"))
    };
    let device = if device.is_empty() {
        let mut found = devices
            .iter()
            .filter(|(_, nic)| is_on(nic))
            .map(|(name, _)| name.clone());
        let first = found
            .next()
            .ok_or_else(|| Error::message("No device found for this network"))?;
        if found.next().is_some() {
            return Err(Error::message(
                "More than one device matches, specify the device name",
            ));
        }
        first
    } else {
        let nic = devices
            .get(device)
            .ok_or_else(|| Error::message("The specified device doesn't exist"))?;
        if !is_on(nic) {
            return Err(Error::message("The specified device doesn't match the network"));
        }
        device.to_owned()
    };
    devices.remove(&device);
    Ok(())
}

fn add_nic(devices: &mut Devices, (device, nic): (String, BTreeMap<String, String>)) -> Result<()> {
    if devices.contains_key(&device) {
        return Err(Error::message(format!("Device already exists: {device}")));
    }
    devices.insert(device, nic);
    Ok(())
}

async fn instance_devices(cx: &Context, attach: bool) -> Result<()> {
    let network = cx.named(cx.argument(0), "network")?;
    let at = path(&["instances", cx.argument(1)]);
    let nic = if attach {
        Some(new_nic(cx, &network, false).await?)
    } else {
        None
    };
    let (instance, etag): (Instance, Etag) = network.client.get_with_etag(&at).await?;
    let mut change = InstancePut::from(&instance);
    match nic {
        Some(nic) => add_nic(&mut change.devices, nic)?,
        None => remove_nic(&mut change.devices, &network.name, cx.argument(2))?,
    }
    let changed = network.client.update(&at, &change, &etag).await?;
    cx.wait(&changed, "").await.map(drop)
}

async fn profile_devices(cx: &Context, attach: bool) -> Result<()> {
    let network = cx.named(cx.argument(0), "network")?;
    let at = path(&["profiles", cx.argument(1)]);
    let nic = if attach {
        Some(new_nic(cx, &network, true).await?)
    } else {
        None
    };
    let (profile, etag): (Profile, Etag) = network.client.get_with_etag(&at).await?;
    let mut change = ProfilePut::from(&profile);
    match nic {
        Some(nic) => add_nic(&mut change.devices, nic)?,
        None => remove_nic(&mut change.devices, &network.name, cx.argument(2))?,
    }
    Ok(network.client.replace(&at, &change, &etag).await?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn devices() -> Devices {
        let nic = |network: &str| {
            BTreeMap::from([
                ("type".to_owned(), "nic".to_owned()),
                ("network".to_owned(), network.to_owned()),
            ])
        };
        BTreeMap::from([
            ("a".into(), nic("n1")),
            ("b".into(), nic("n2")),
            ("c".into(), nic("n2")),
        ])
    }

    #[test]
    fn the_only_nic_of_a_network_needs_no_name() {
        let mut some = devices();
        remove_nic(&mut some, "n1", "").unwrap();
        assert!(!some.contains_key("a"));
        for (network, device, text) in [
            ("n1", "", "No device found for this network"),
            ("n2", "", "More than one device matches, specify the device name"),
            ("n1", "b", "The specified device doesn't match the network"),
            ("n2", "x", "The specified device doesn't exist"),
        ] {
            assert_eq!(
                remove_nic(&mut some, network, device).unwrap_err().to_string(),
                text
            );
        }
        remove_nic(&mut some, "n2", "c").unwrap();
        assert_eq!(some.len(), 1);
    }
}
