//! Graphics cards: what the kernel's drivers show, and what only the PCI bus does.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use lxd_api::resources::{
    ResourcesGPU, ResourcesGPUCard, ResourcesGPUCardDRM, ResourcesGPUCardMdev, ResourcesGPUCardNvidia,
    ResourcesGPUCardSRIOV,
};

use super::names::Names;
use super::sysfs::{Host, bus_address, entries, hex_id, is_pci, link, node, number, text, usb_address};

pub(super) fn read(host: &Host, names: &Names) -> ResourcesGPU {
    let mut cards = Vec::new();
    let mut virtual_functions = BTreeSet::new();
    let drm = entries(&host.path("sys/class/drm"));
    let is_card = |name: &str| {
        name.strip_prefix("card")
            .is_some_and(|id| id.parse::<u64>().is_ok())
    };
    let mut devices: Vec<std::path::PathBuf> = drm
        .into_iter()
        .filter(|(name, _)| is_card(name))
        .map(|(_, path)| path.join("device"))
        .collect();
    for (_, path) in entries(&host.path("sys/bus/pci/devices")) {
        // Display controllers, whether driven or not.
        if text(&path.join("class")).starts_with("0x03") {
            devices.push(path);
        }
    }
    let mut seen = BTreeSet::new();
    for device in devices {
        let Ok(real) = std::fs::canonicalize(&device) else {
            continue;
        };
        if !seen.insert(real) {
            continue;
        }
        let mut card = card(host, names, &device);
        let functions = functions(&device);
        if let Some(sriov) = &mut card.sriov {
            for function in &functions {
                sriov.vfs.push(self::card(host, names, function));
            }
        }
        virtual_functions.extend(functions.iter().map(|path| bus_address(path, is_pci)));
        cards.push(card);
    }
    cards.retain(|card| card.pci_address.is_empty() || !virtual_functions.contains(&card.pci_address));
    let all = cards
        .iter()
        .map(|card| 1 + card.sriov.as_ref().map_or(0, |sriov| sriov.vfs.len()));
    ResourcesGPU {
        total: all.sum::<usize>() as u64,
        cards,
    }
}

fn card(host: &Host, names: &Names, device: &Path) -> ResourcesGPUCard {
    let driver = host.driver(device);
    let (vendor_id, product_id) = (hex_id(&device.join("vendor")), hex_id(&device.join("device")));
    let (vendor, product) = names.of(&vendor_id, &product_id);
    let pci_address = bus_address(device, is_pci);
    ResourcesGPUCard {
        drm: drm(device),
        mdev: mdev(device),
        numa_node: node(device),
        nvidia: nvidia(host, &pci_address),
        sriov: sriov(device),
        usb_address: usb_address(device),
        driver: driver.name,
        driver_version: driver.version,
        pci_address,
        product,
        product_id,
        vendor,
        vendor_id,
    }
}

fn drm(device: &Path) -> Option<ResourcesGPUCardDRM> {
    let nodes = entries(&device.join("drm"));
    let mut drm = ResourcesGPUCardDRM::default();
    for (name, path) in &nodes {
        let number = text(&path.join("dev"));
        if let Some(id) = name.strip_prefix("card") {
            drm.id = id.parse().unwrap_or(0);
            (drm.card_name, drm.card_device) = (name.clone(), number);
        } else if name.starts_with("renderD") {
            (drm.render_name, drm.render_device) = (name.clone(), number);
        } else if name.starts_with("controlD") {
            (drm.control_name, drm.control_device) = (name.clone(), number);
        }
    }
    (!nodes.is_empty()).then_some(drm)
}

/// The kinds of mediated devices that a card can be divided into.
fn mdev(device: &Path) -> Option<BTreeMap<String, ResourcesGPUCardMdev>> {
    let kinds = entries(&device.join("mdev_supported_types"));
    let kinds = kinds.into_iter().map(|(kind, path)| {
        let devices = entries(&path.join("devices")).into_iter().map(|(name, _)| name);
        let mdev = ResourcesGPUCardMdev {
            api: text(&path.join("device_api")),
            available: number(&path.join("available_instances")),
            description: text(&path.join("description")),
            devices: devices.collect(),
            name: text(&path.join("name")),
        };
        (kind, mdev)
    });
    let kinds: BTreeMap<String, ResourcesGPUCardMdev> = kinds.collect();
    (!kinds.is_empty()).then_some(kinds)
}

/// What NVIDIA's driver says of a card under `/proc`. CUDA's version it does not say.
fn nvidia(host: &Host, pci_address: &str) -> Option<ResourcesGPUCardNvidia> {
    let information = text(
        &host
            .path("proc/driver/nvidia/gpus")
            .join(pci_address)
            .join("information"),
    );
    if pci_address.is_empty() || information.is_empty() {
        return None;
    }
    let value = |key: &str| {
        let mut lines = information.lines().filter_map(|line| line.split_once(':'));
        let found = lines.find(|(name, _)| name.trim() == key);
        found
            .map(|(_, value)| value.trim().to_owned())
            .unwrap_or_default()
    };
    let minor = value("Device Minor");
    Some(ResourcesGPUCardNvidia {
        card_device: format!("195:{minor}"),
        card_name: format!("nvidia{minor}"),
        model: value("Model"),
        nvrm_version: text(&host.path("sys/module/nvidia/version")),
        uuid: value("GPU UUID"),
        ..ResourcesGPUCardNvidia::default()
    })
}

fn sriov(device: &Path) -> Option<ResourcesGPUCardSRIOV> {
    let maximum_vfs = number(&device.join("sriov_totalvfs"));
    (maximum_vfs > 0).then(|| ResourcesGPUCardSRIOV {
        current_vfs: number(&device.join("sriov_numvfs")),
        maximum_vfs,
        vfs: Vec::new(),
    })
}

/// The virtual functions of a device.
pub(super) fn functions(device: &Path) -> Vec<std::path::PathBuf> {
    let links = entries(device).into_iter();
    let functions = links.filter(|(name, path)| name.starts_with("virtfn") && !link(path).is_empty());
    functions.map(|(_, path)| path).collect()
}
