//! The machine as its firmware describes it.

use lxd_api::resources::{
    ResourcesSystem, ResourcesSystemChassis, ResourcesSystemFirmware, ResourcesSystemMotherboard,
};

use super::sysfs::{Host, text};

pub(super) fn read(host: &Host) -> ResourcesSystem {
    let dmi = host.path("sys/class/dmi/id");
    let value = |name: &str| text(&dmi.join(name));
    let is_known = dmi.exists();
    ResourcesSystem {
        chassis: is_known.then(|| ResourcesSystemChassis {
            serial: value("chassis_serial"),
            r#type: chassis(&value("chassis_type")).to_owned(),
            vendor: value("chassis_vendor"),
            version: value("chassis_version"),
        }),
        family: value("product_family"),
        firmware: is_known.then(|| ResourcesSystemFirmware {
            date: value("bios_date"),
            vendor: value("bios_vendor"),
            version: value("bios_version"),
        }),
        motherboard: is_known.then(|| ResourcesSystemMotherboard {
            product: value("board_name"),
            serial: value("board_serial"),
            vendor: value("board_vendor"),
            version: value("board_version"),
        }),
        product: value("product_name"),
        serial: value("product_serial"),
        sku: value("product_sku"),
        r#type: kind(host).to_owned(),
        uuid: value("product_uuid"),
        vendor: value("sys_vendor"),
        version: value("product_version"),
    }
}

fn kind(host: &Host) -> &'static str {
    let marks = [
        "run/systemd/container",
        ".dockerenv",
        "run/.containerenv",
        "dev/lxd/sock",
    ];
    if marks.iter().any(|mark| host.path(mark).exists()) {
        return "container";
    }
    let processors = text(&host.path("proc/cpuinfo"));
    let mut flags = processors.lines().filter(|line| line.starts_with("flags"));
    if flags.any(|line| line.split_whitespace().any(|flag| flag == "hypervisor")) {
        return "virtual-machine";
    }
    "physical"
}

/// The form of a case, by its number in the SMBIOS specification (7.4.1).
fn chassis(number: &str) -> &'static str {
    match number.parse().unwrap_or(0) {
        3 => "Desktop",
        4 => "Low Profile Desktop",
        5 => "Pizza Box",
        6 => "Mini Tower",
        7 => "Tower",
        8 => "Portable",
        9 => "Laptop",
        10 => "Notebook",
        11 => "Hand Held",
        12 => "Docking Station",
        13 => "All In One",
        14 => "Sub Notebook",
        15 => "Space-saving",
        16 => "Lunch Box",
        17 => "Main Server Chassis",
        18 => "Expansion Chassis",
        19 => "Sub Chassis",
        20 => "Bus Expansion Chassis",
        21 => "Peripheral Chassis",
        22 => "RAID Chassis",
        23 => "Rack Mount Chassis",
        24 => "Sealed-case PC",
        25 => "Multi-system chassis",
        26 => "Compact PCI",
        27 => "Advanced TCA",
        28 => "Blade",
        29 => "Blade Enclosure",
        30 => "Tablet",
        31 => "Convertible",
        32 => "Detachable",
        33 => "IoT Gateway",
        34 => "Embedded PC",
        35 => "Mini PC",
        36 => "Stick PC",
        1 => "Other",
        _ => "Unknown",
    }
}
