//! Rules for a device as a whole: keys that need or exclude each other. Those of [`before`] are judged before the values
//! of single keys, as with the reference, those of [`after`] after them.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::tables::vlan_range;
use super::{Context, Device, Devices, Surroundings, property};
use crate::config::check::{is_true, parse_cidr};
use crate::instances::InstanceType;
use crate::{ErrorKind, Invalid};

/// What is wrong whatever the values are.
pub(super) fn before(kind: &str, device: &Device, networks: &impl Surroundings) -> Result<(), Invalid> {
    match kind {
        "nic" => {
            managed_or_not(device)?;
            let variant = property(device, "nictype");
            if variant == "ovn" && property(device, "network").is_empty() {
                return Err(Invalid::of_kind(
                    ErrorKind::NotFound,
                    "Error loading network config for \"\": Network not found",
                ));
            }
            if variant == "bridged" || !property(device, "network").is_empty() {
                bridged(device, networks)?;
            }
            Ok(())
        }
        "gpu" => gpu(device),
        "unix-char" | "unix-block" => node(device, &networks.device_folder()),
        _ => Ok(()),
    }
}

/// What is wrong with values that are right by themselves.
pub(super) fn after(
    (name, device): (&str, &Device),
    (kind, variant): (&str, &str),
    devices: &Devices,
    context: Context,
) -> Result<(), Invalid> {
    match kind {
        "nic" => {
            if variant == "bridged" {
                tagged(device)?;
            }
            super::nic::validate(name, device, devices, variant)
        }
        "disk" => disk((name, device), devices),
        "unix-char" | "unix-block" => unix_device(device),
        "unix-hotplug" => hotplug(device),
        "gpu" if variant == "mig" => mig(device),
        "proxy" => super::proxy::validate(device),
        "tpm" => tpm(device, context),
        _ => Ok(()),
    }
}

fn has(device: &Device, key: &str) -> bool {
    !property(device, key).is_empty()
}

fn refuse<T>(text: impl Into<String>) -> Result<T, Invalid> {
    Err(Invalid::new(text))
}

/// What a managed network decides is not for the card.
fn managed_or_not(device: &Device) -> Result<(), Invalid> {
    if !has(device, "network") {
        return Ok(());
    }
    let keys = ["nictype", "parent", "mtu", "maas.subnet.ipv4", "maas.subnet.ipv6"];
    match keys.iter().find(|key| device.contains_key(**key)) {
        Some(key) => refuse(format!(
            "Cannot use {key:?} property in conjunction with \"network\" property"
        )),
        None => Ok(()),
    }
}

fn bridged(device: &Device, networks: &impl Surroundings) -> Result<(), Invalid> {
    let network = match property(device, "network") {
        "" => property(device, "parent"),
        network => network,
    };
    if networks.config(network).is_some() {
        if property(device, "vlan") == "0" {
            return refuse("VLAN ID 0 is not allowed for native Linux bridges");
        }
        tagged(device)?;
    }
    for family in [4, 6] {
        address_on_bridge(device, network, family, networks)?;
    }
    let filters = |family: u8| is_true(property(device, &format!("security.ipv{family}_filtering")));
    if (has(device, "vlan") || has(device, "vlan.tagged")) && (filters(4) || filters(6)) {
        return refuse("IP filtering cannot be used with VLAN filtering");
    }
    Ok(())
}

fn tagged(device: &Device) -> Result<(), Invalid> {
    let untagged = property(device, "vlan").parse::<u16>().ok();
    let ranges = property(device, "vlan.tagged").split(',').map(str::trim);
    for range in ranges.filter(|range| !range.is_empty()) {
        let (first, last) = vlan_range(range).map_err(Invalid::new)?;
        if let Some(vlan) = untagged.filter(|vlan| (first..=last).contains(vlan)) {
            return refuse(format!(
                "Invalid value for device option \"vlan.tagged\": Tagged VLAN ID \"{vlan}\" cannot be the same as untagged VLAN ID"
            ));
        }
    }
    Ok(())
}

/// A card's own address must be one that its network's DHCP server can give.
fn address_on_bridge(
    device: &Device,
    network: &str,
    family: u8,
    networks: &impl Surroundings,
) -> Result<(), Invalid> {
    let key = format!("ipv{family}.address");
    let address = property(device, &key);
    let filters = is_true(property(device, &format!("security.ipv{family}_filtering")));
    let Some(config) = networks.config(network) else {
        let is_named = !property(device, "network").is_empty();
        return match (address, filters) {
            _ if is_named => Ok(()),
            ("" | "none", false) => Ok(()),
            ("", true) => refuse(format!(
                "IPv{family} filtering requires a manually specified {key} when using an unmanaged parent bridge"
            )),
            (_, false) => refuse(format!(
                "Cannot use manually specified {key} when using unmanaged parent bridge"
            )),
            (_, true) => Ok(()),
        };
    };
    if address.is_empty() {
        return Ok(());
    }
    let of = |key: &str| config.get(key).map_or("", String::as_str);
    let own = of(&key);
    let serves = !matches!(own, "" | "none")
        && !crate::config::is_false(of(&format!("ipv{family}.dhcp")))
        && (family == 4 || is_true(of("ipv6.dhcp.stateful")));
    if !serves && !filters {
        let what = if family == 4 {
            "DHCP is disabled"
        } else {
            "DHCP or \"ipv6.dhcp.stateful\" are disabled"
        };
        return refuse(format!(
            "Cannot specify {key:?} when {what} (unless using security.ipv{family}_filtering) on network {network:?}"
        ));
    }
    if address == "none" {
        return match filters {
            true => Ok(()),
            false => refuse(format!(
                "Cannot have {key} as none unless using security.ipv{family}_filtering"
            )),
        };
    }
    if matches!(own, "" | "none") || is_within(address, own) {
        return Ok(());
    }
    refuse(format!(
        "Device IP address {address:?} not within network {network:?} subnet"
    ))
}

/// Whether an address is one of a subnet, written as an address in it with the length of its prefix.
fn is_within(address: &str, subnet: &str) -> bool {
    let Ok((network, length)) = parse_cidr(subnet) else {
        return false;
    };
    match network {
        std::net::IpAddr::V4(network) => address.parse::<Ipv4Addr>().is_ok_and(|address| {
            let mask = u32::MAX.checked_shl(32 - u32::from(length)).unwrap_or(0);
            u32::from(address) & mask == u32::from(network) & mask
        }),
        std::net::IpAddr::V6(network) => address.parse::<Ipv6Addr>().is_ok_and(|address| {
            let mask = u128::MAX.checked_shl(128 - u32::from(length)).unwrap_or(0);
            u128::from(address) & mask == u128::from(network) & mask
        }),
    }
}

fn gpu(device: &Device) -> Result<(), Invalid> {
    let excludes: &[(&str, &[&str])] = &[
        ("pci", &["id", "productid", "vendorid"]),
        ("id", &["pci", "productid", "vendorid"]),
    ];
    if matches!(property(device, "gputype"), "mdev" | "mig" | "sriov") {
        return Ok(());
    }
    for (key, others) in excludes {
        let both = others.iter().find(|other| has(device, key) && has(device, other));
        if let Some(other) = both {
            return refuse(format!("Cannot use {other:?} when when {key:?} is set"));
        }
    }
    Ok(())
}

fn disk((name, device): (&str, &Device), devices: &Devices) -> Result<(), Invalid> {
    let [source, path, pool] = ["source", "path", "pool"].map(|key| property(device, key));
    let is_ceph = source.starts_with("ceph:") || source.starts_with("cephfs:");
    if device.contains_key("required") && device.contains_key("optional") {
        return refuse(
            "Cannot use both \"required\" and deprecated \"optional\" properties at the same time",
        );
    }
    if source.is_empty() && path != "/" {
        return refuse("Disk entry is missing the required \"source\" or \"path\" property");
    }
    if path == "/" && !source.is_empty() {
        return refuse("Root disk entry may not have a \"source\" property set");
    }
    if path == "/" && pool.is_empty() {
        return refuse("Root disk entry must have a \"pool\" property set");
    }
    if path != "/" && device.contains_key("size") {
        return refuse("Only the root disk may have a size quota");
    }
    if path != "/" && device.contains_key("size.state") {
        return refuse("Only the root disk may have a migration size quota");
    }
    if device.contains_key("recursive") && (path == "/" || !pool.is_empty()) {
        return refuse("The recursive option is only supported for additional bind-mounted paths");
    }
    if is_true(property(device, "recursive")) && is_true(property(device, "readonly")) {
        return refuse("Recursive read-only bind-mounts aren't currently supported by the kernel");
    }
    if !is_ceph
        && ["ceph.cluster_name", "ceph.user_name"]
            .iter()
            .any(|key| has(device, key))
    {
        return refuse(format!(
            "Invalid options ceph.cluster_name/ceph.user_name for source {source:?}"
        ));
    }
    let twin = |other: &Device| property(other, "type") == "disk" && property(other, "path") == path;
    if !path.is_empty() && devices.iter().any(|(other, d)| other != name && twin(d)) {
        return refuse(format!("More than one disk device uses the same path {path:?}"));
    }
    disk_source(device, source, pool)
}

fn disk_source(device: &Device, source: &str, pool: &str) -> Result<(), Invalid> {
    if pool.is_empty() {
        let is_elsewhere = ["ceph:", "cephfs:", "cloud-init:"]
            .iter()
            .any(|prefix| source.starts_with(prefix));
        return match source.is_empty() || source.starts_with('/') || is_elsewhere {
            true => Ok(()),
            false => refuse("Source path must be absolute for local sources"),
        };
    }
    if device.contains_key("shift") {
        return refuse(
            "The \"shift\" property cannot be used with custom storage volumes (set \"security.shifted=true\" on the volume instead)",
        );
    }
    match source.starts_with('/') {
        true => refuse("Storage volumes cannot be specified as absolute paths"),
        false => Ok(()),
    }
}

/// Nodes are looked for where the host's are.
fn node(device: &Device, folder: &str) -> Result<(), Invalid> {
    let source = property(device, "source");
    match source.is_empty() || source.starts_with(folder) {
        true => Ok(()),
        false => refuse(format!(
            "Invalid value for device option \"source\": Path needs to be in {folder}"
        )),
    }
}

fn unix_device(device: &Device) -> Result<(), Invalid> {
    if !has(device, "source") && !has(device, "path") {
        return refuse("Unix device entry is missing the required \"source\" or \"path\" property");
    }
    Ok(())
}

fn hotplug(device: &Device) -> Result<(), Invalid> {
    match has(device, "vendorid") || has(device, "productid") {
        true => Ok(()),
        false => refuse("Unix hotplug devices require a vendorid or a productid"),
    }
}

fn mig(device: &Device) -> Result<(), Invalid> {
    let numbers = ["mig.ci", "mig.gi"];
    if let Some(key) = numbers
        .iter()
        .find(|key| has(device, "mig.uuid") && has(device, key))
    {
        return refuse(format!("Cannot use {key:?} when \"mig.uuid\" is set"));
    }
    match has(device, "mig.uuid") || (has(device, "mig.gi") && has(device, "mig.ci")) {
        true => Ok(()),
        false => refuse("Either \"mig.uuid\" or both \"mig.gi\" and \"mig.ci\" must be set"),
    }
}

fn tpm(device: &Device, context: Context) -> Result<(), Invalid> {
    if context != Context::Instance(InstanceType::Container) {
        return Ok(());
    }
    match ["path", "pathrm"].iter().find(|key| !has(device, key)) {
        Some(key) => refuse(format!(
            "Failed to validate config: Invalid value for device option {key:?}: Required value"
        )),
        None => Ok(()),
    }
}
