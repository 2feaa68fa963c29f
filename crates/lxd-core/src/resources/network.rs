//! Network cards and their ports. What has no hardware is no card.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use lxd_api::resources::{
    ResourcesNetwork, ResourcesNetworkCard, ResourcesNetworkCardPort, ResourcesNetworkCardPortInfiniband,
    ResourcesNetworkCardSRIOV,
};

use super::gpu::functions;
use super::names::Names;
use super::sysfs::{Host, bus_address, entries, hex_id, is_pci, link, node, number, text, usb_address};

pub(super) fn read(host: &Host, names: &Names) -> ResourcesNetwork {
    let mut cards: BTreeMap<PathBuf, ResourcesNetworkCard> = BTreeMap::new();
    let mut order = Vec::new();
    for (name, path) in entries(&host.path("sys/class/net")) {
        let Ok(device) = std::fs::canonicalize(path.join("device")) else {
            continue;
        };
        // Several ports may be of one card.
        let card = cards.entry(device.clone()).or_insert_with(|| {
            order.push(device.clone());
            card(host, names, &device)
        });
        card.ports.push(port(&name, &path, &device));
    }
    for (_, path) in entries(&host.path("sys/bus/pci/devices")) {
        // Network controllers without a driver, or whose driver has made no port.
        let Ok(real) = std::fs::canonicalize(&path) else {
            continue;
        };
        let is_network = text(&path.join("class")).starts_with("0x02");
        if is_network && !cards.keys().any(|known| known.starts_with(&real)) {
            order.push(real.clone());
            cards.insert(real.clone(), card(host, names, &real));
        }
    }
    let virtual_functions: BTreeSet<PathBuf> = order
        .iter()
        .flat_map(|device| functions(device))
        .filter_map(|function| std::fs::canonicalize(function).ok())
        .collect();
    let total = order.len() as u64;
    let mut top = Vec::new();
    for device in order.iter().filter(|device| !virtual_functions.contains(*device)) {
        let Some(mut card) = cards.get(device).cloned() else {
            continue;
        };
        if let Some(sriov) = &mut card.sriov {
            let functions = functions(device)
                .into_iter()
                .filter_map(|path| std::fs::canonicalize(path).ok());
            sriov.vfs = functions
                .filter_map(|function| cards.get(&function).cloned())
                .collect();
        }
        top.push(card);
    }
    ResourcesNetwork { cards: top, total }
}

fn card(host: &Host, names: &Names, device: &Path) -> ResourcesNetworkCard {
    let driver = host.driver(device);
    let (vendor_id, product_id) = (hex_id(&device.join("vendor")), hex_id(&device.join("device")));
    let (vendor, product) = names.of(&vendor_id, &product_id);
    let maximum_vfs = number(&device.join("sriov_totalvfs"));
    ResourcesNetworkCard {
        driver: driver.name,
        driver_version: driver.version,
        firmware_version: String::new(),
        numa_node: node(device),
        pci_address: bus_address(device, is_pci),
        ports: Vec::new(),
        product,
        product_id,
        sriov: (maximum_vfs > 0).then(|| ResourcesNetworkCardSRIOV {
            current_vfs: number(&device.join("sriov_numvfs")),
            maximum_vfs,
            vfs: Vec::new(),
        }),
        usb_address: usb_address(device),
        vendor,
        vendor_id,
    }
}

fn port(name: &str, path: &Path, device: &Path) -> ResourcesNetworkCardPort {
    const INFINIBAND: u64 = 32;
    let kind = number(&path.join("type"));
    let link_detected = number(&path.join("carrier")) == 1;
    let duplex = text(&path.join("duplex"));
    let duplex = if matches!(duplex.as_str(), "full" | "half") {
        duplex
    } else {
        String::new()
    };
    ResourcesNetworkCardPort {
        address: text(&path.join("address")),
        id: name.to_owned(),
        infiniband: if kind == INFINIBAND {
            infiniband(device)
        } else {
            None
        },
        link_detected,
        link_duplex: if link_detected { duplex } else { String::new() },
        // A link that is down, or has no speed, says -1.
        link_speed: if link_detected {
            number(&path.join("speed"))
        } else {
            0
        },
        port: number(&path.join("dev_port")),
        port_type: "other".to_owned(),
        protocol: if kind == INFINIBAND {
            "infiniband"
        } else {
            "ethernet"
        }
        .to_owned(),
        transceiver_type: "internal".to_owned(),
        ..ResourcesNetworkCardPort::default()
    }
}

fn infiniband(device: &Path) -> Option<ResourcesNetworkCardPortInfiniband> {
    let first = |class: &str, prefix: &str| {
        let nodes = entries(&device.join(class));
        let node = nodes.into_iter().find(|(name, _)| name.starts_with(prefix));
        node.map(|(name, path)| (text(&path.join("dev")), name))
            .unwrap_or_default()
    };
    let (issm_device, issm_name) = first("infiniband_mad", "issm");
    let (mad_device, mad_name) = first("infiniband_mad", "umad");
    let (verb_device, verb_name) = first("infiniband_verbs", "uverbs");
    (!link(&device.join("driver")).is_empty()).then_some(ResourcesNetworkCardPortInfiniband {
        issm_device,
        issm_name,
        mad_device,
        mad_name,
        verb_device,
        verb_name,
    })
}
