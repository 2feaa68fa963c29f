//! Devices on USB, without hubs.

use std::path::Path;

use lxd_api::resources::{ResourcesUSB, ResourcesUSBDevice, ResourcesUSBDeviceInterface};

use super::sysfs::{Host, entries, number, text};

/// The class of hubs.
const HUB: u64 = 9;

pub(super) fn read(host: &Host) -> ResourcesUSB {
    let mut devices = Vec::new();
    for (_, path) in entries(&host.path("sys/bus/usb/devices")) {
        if !path.join("busnum").exists() || class(&path, "bDeviceClass") == HUB {
            continue;
        }
        devices.push(ResourcesUSBDevice {
            bus_address: number(&path.join("busnum")),
            device_address: number(&path.join("devnum")),
            interfaces: interfaces(host, &path),
            product: text(&path.join("product")),
            product_id: text(&path.join("idProduct")),
            // Megabits a second, 1.5 for the slowest.
            speed: text(&path.join("speed")).parse().unwrap_or(0.0),
            vendor: text(&path.join("manufacturer")),
            vendor_id: text(&path.join("idVendor")),
        });
    }
    ResourcesUSB {
        total: devices.len() as u64,
        devices,
    }
}

fn interfaces(host: &Host, device: &Path) -> Vec<ResourcesUSBDeviceInterface> {
    let interfaces = entries(device).into_iter();
    let interfaces = interfaces.filter(|(_, path)| path.join("bInterfaceNumber").exists());
    interfaces
        .map(|(_, path)| {
            let driver = host.driver(&path);
            let class_id = class(&path, "bInterfaceClass");
            ResourcesUSBDeviceInterface {
                class: name(class_id).to_owned(),
                class_id,
                driver: driver.name,
                driver_version: driver.version,
                number: class(&path, "bInterfaceNumber"),
                subclass: String::new(),
                subclass_id: class(&path, "bInterfaceSubClass"),
            }
        })
        .collect()
}

fn class(path: &Path, file: &str) -> u64 {
    u64::from_str_radix(&text(&path.join(file)), 16).unwrap_or(0)
}

/// What the USB Implementers Forum calls a class of interfaces.
fn name(class: u64) -> &'static str {
    match class {
        0x01 => "Audio",
        0x02 => "Communications",
        0x03 => "Human Interface Device",
        0x05 => "Physical Interface Device",
        0x06 => "Imaging",
        0x07 => "Printer",
        0x08 => "Mass Storage",
        0x09 => "Hub",
        0x0a => "CDC Data",
        0x0b => "Chip/SmartCard",
        0x0d => "Content Security",
        0x0e => "Video",
        0x0f => "Personal Healthcare",
        0xdc => "Diagnostic",
        0xe0 => "Wireless",
        0xef => "Miscellaneous Device",
        0xfe => "Application Specific Interface",
        0xff => "Vendor Specific Class",
        _ => "",
    }
}
