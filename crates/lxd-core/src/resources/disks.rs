//! Disks and their partitions. What has no hardware, such as a loop device, is no disk.

use std::collections::HashMap;
use std::path::Path;

use lxd_api::resources::{ResourcesStorage, ResourcesStorageDisk, ResourcesStorageDiskPartition};

use super::sysfs::{Host, bus_address, entries, is_pci, link, node, number, text, usb_address};

/// What the kernel's `size` counts, in bytes.
const SECTOR: u64 = 512;

/// The names that udev has given to disks, by the kernel's.
struct Named {
    by_id: HashMap<String, String>,
    by_path: HashMap<String, String>,
}

pub(super) fn read(host: &Host) -> ResourcesStorage {
    let blocks = entries(&host.path("sys/class/block"));
    let is_disk = |path: &Path| path.join("device").exists() && !path.join("partition").exists();
    let named = |kind: &str| -> HashMap<String, String> {
        let links = entries(&host.path("dev/disk").join(kind)).into_iter();
        // Of several names the first counts.
        links.rev().map(|(name, path)| (link(&path), name)).collect()
    };
    let names = Named {
        by_id: named("by-id"),
        by_path: named("by-path"),
    };
    let disks: Vec<ResourcesStorageDisk> = blocks
        .iter()
        .filter(|(_, path)| is_disk(path))
        .map(|(name, path)| disk(&names, name, path))
        .collect();
    let partitions: usize = disks.iter().map(|disk| disk.partitions.len()).sum();
    ResourcesStorage {
        total: (disks.len() + partitions) as u64,
        disks,
    }
}

fn disk(names: &Named, name: &str, path: &Path) -> ResourcesStorageDisk {
    let device = path.join("device");
    let kind = match usb_address(&device) {
        usb if !usb.is_empty() => "usb".to_owned(),
        _ => link(&device.join("subsystem")),
    };
    let first = |names: [&str; 2]| {
        let texts = names.map(|name| text(&device.join(name)));
        texts
            .into_iter()
            .find(|text| !text.is_empty())
            .unwrap_or_default()
    };
    ResourcesStorageDisk {
        block_size: number(&path.join("queue/physical_block_size")),
        device: text(&path.join("dev")),
        device_id: names.by_id.get(name).cloned().unwrap_or_default(),
        device_path: names.by_path.get(name).cloned().unwrap_or_default(),
        firmware_version: first(["firmware_rev", "rev"]),
        id: name.to_owned(),
        model: text(&device.join("model")),
        numa_node: node(&device),
        partitions: partitions(name, path),
        pci_address: bus_address(&device, is_pci),
        read_only: number(&path.join("ro")) == 1,
        removable: number(&path.join("removable")) == 1,
        rpm: number(&path.join("queue/rotational")),
        serial: first(["serial", "vpd_pg80"]),
        size: number(&path.join("size")) * SECTOR,
        r#type: kind,
        usb_address: usb_address(&device),
        wwn: first(["wwid", "wwn"]),
    }
}

fn partitions(disk: &str, path: &Path) -> Vec<ResourcesStorageDiskPartition> {
    let parts = entries(path)
        .into_iter()
        .filter(|(name, _)| name.starts_with(disk));
    let parts = parts.filter(|(_, path)| path.join("partition").exists());
    parts
        .map(|(id, path)| ResourcesStorageDiskPartition {
            device: text(&path.join("dev")),
            id,
            partition: number(&path.join("partition")),
            read_only: number(&path.join("ro")) == 1,
            size: number(&path.join("size")) * SECTOR,
        })
        .collect()
}
