//! Network cards: which of their keys get along.

use std::collections::BTreeSet;
use std::net::IpAddr;

use super::{Device, Devices, property};
use crate::Invalid;
use crate::config::is_true;

/// What network cards are called inside, by device: their own `name`, else the one that is `known`, else the first `ethN`
/// (`ibN` for InfiniBand) that is free.
pub fn names(devices: &Devices, known: impl Fn(&str) -> Option<String>) -> Vec<(String, String)> {
    let prefix = |device: &Device| match property(device, "type") {
        "nic" => Some("eth"),
        "infiniband" => Some("ib"),
        _ => None,
    };
    let chosen = |name: &str, device: &Device| match property(device, "name") {
        "" => known(name),
        own => Some(own.to_owned()),
    };
    let cards = || {
        devices
            .iter()
            .filter_map(|(name, device)| Some((name, device, prefix(device)?)))
    };
    let mut taken: BTreeSet<String> = cards()
        .filter_map(|(name, device, _)| chosen(name, device))
        .collect();
    let named = cards().map(|(name, device, prefix)| {
        let inside = chosen(name, device).unwrap_or_else(|| {
            let mut free = (0..)
                .map(|number| format!("{prefix}{number}"))
                .filter(|name| !taken.contains(name));
            free.next().unwrap_or_default()
        });
        taken.insert(inside.clone());
        (name.clone(), inside)
    });
    named.collect()
}

/// Checks that a card's keys get along, and the card with the others. Each key by itself is fine already.
pub(super) fn validate(name: &str, device: &Device, devices: &Devices, variant: &str) -> Result<(), Invalid> {
    let network = property(device, "network");
    let parent = property(device, "parent");
    if matches!(variant, "bridged" | "macvlan" | "sriov") && network.is_empty() && parent.is_empty() {
        return Err(Invalid::new(
            "Invalid value for device option \"parent\": Required value",
        ));
    }
    if !network.is_empty() {
        let managed = [
            "nictype",
            "parent",
            "mtu",
            "vlan",
            "gvrp",
            "maas.subnet.ipv4",
            "maas.subnet.ipv6",
        ];
        for key in managed {
            // The reference lets bridges' cards have VLANs of their own.
            if device.contains_key(key)
                && !(key == "vlan" && variant == "bridged")
                && (key != "mtu" || variant != "ovn")
            {
                return Err(Invalid::new(format!(
                    "Cannot use {key:?} property in conjunction with \"network\" property"
                )));
            }
        }
    }
    let wanted = property(device, "name");
    let earlier = |other: &Device| property(other, "type") == "nic" && property(other, "name") == wanted;
    if !wanted.is_empty() && devices.iter().any(|(other, d)| other != name && earlier(d)) {
        let text =
            format!("Invalid value for device option \"name\": Duplicate NIC name detected {wanted:?}");
        return Err(Invalid::new(text));
    }
    match variant {
        "bridged" if network.is_empty() => unmanaged(device, false),
        "routed" => routed(name, device, devices),
        "ipvlan" => ipvlan(device),
        _ => Ok(()),
    }
}

/// A card on a bridge that it names as its parent, which may be a managed network by its name all the same.
fn unmanaged(device: &Device, is_known: bool) -> Result<(), Invalid> {
    for (family, shown) in [("ipv4", "IPv4"), ("ipv6", "IPv6")] {
        let address = property(device, &format!("{family}.address"));
        let filtering = format!("security.{family}_filtering");
        let is_filtered = is_true(property(device, &filtering));
        if address == "none" && !is_filtered {
            return Err(Invalid::new(format!(
                "Cannot have {family}.address as none unless using {filtering}"
            )));
        }
        if is_known {
            if !address.is_empty() && !is_filtered {
                return Err(Invalid::new(format!(
                    "Cannot use manually specified {family}.address when using unmanaged parent bridge"
                )));
            }
            if address.is_empty() && is_filtered {
                return Err(Invalid::new(format!(
                    "{shown} filtering requires a manually specified {family}.address when using an unmanaged parent bridge"
                )));
            }
        }
    }
    Ok(())
}

/// Checks a card on a bridge that is known to be no managed network.
///
/// # Errors
/// The first rule that is broken, in the reference's words.
pub fn validate_unmanaged(device: &Device) -> Result<(), Invalid> {
    unmanaged(device, true)
}

fn routed(name: &str, device: &Device, devices: &Devices) -> Result<(), Invalid> {
    for family in ["ipv4", "ipv6"] {
        let key = format!("{family}.address");
        let addresses = property(device, &key);
        let mut seen = BTreeSet::new();
        for address in addresses.split(',').map(str::trim).filter(|a| !a.is_empty()) {
            if !seen.insert(address) {
                return Err(Invalid::new(format!("Duplicate address {address:?} in {key:?}")));
            }
        }
        if addresses.is_empty() && !property(device, &format!("{family}.routes")).is_empty() {
            return Err(Invalid::new(format!("{family}.routes requires {key} to be set")));
        }
    }
    if !property(device, "vlan").is_empty() && property(device, "parent").is_empty() {
        return Err(Invalid::new(
            "The vlan setting can only be used when combined with a parent interface",
        ));
    }
    let is_auto =
        |device: &Device, family: &str| matches!(property(device, &format!("{family}.gateway")), "" | "auto");
    for (other, twin) in devices.iter().filter(|(other, _)| other.as_str() != name) {
        if property(twin, "type") != "nic" || property(twin, "nictype") != "routed" {
            continue;
        }
        for family in ["ipv4", "ipv6"] {
            if is_auto(device, family) && is_auto(twin, family) {
                return Err(Invalid::new(format!(
                    "Existing NIC {other:?} already uses \"{family}.gateway\" in auto mode"
                )));
            }
        }
    }
    Ok(())
}

fn ipvlan(device: &Device) -> Result<(), Invalid> {
    let is_l2 = property(device, "mode") == "l2";
    for (family, shown, ipv4) in [("ipv4", "IPv4", true), ("ipv6", "IPv6", false)] {
        let key = format!("{family}.gateway");
        let gateway = property(device, &key);
        let refuse = |why: String| {
            Err(Invalid::new(format!(
                "Invalid value for device option {key:?}: {why}"
            )))
        };
        match gateway {
            "" => {}
            "auto" | "none" if !is_l2 => {}
            text if is_l2 && text.parse::<IpAddr>().is_ok_and(|a| a.is_ipv4() == ipv4) => {}
            text if is_l2 => return refuse(format!("Not an {shown} address {text:?}")),
            text => return refuse(format!("Invalid gateway: {text}")),
        }
        let key = format!("{family}.address");
        for address in property(device, &key).split(',').map(str::trim) {
            if !is_l2 && address.contains('/') {
                return Err(Invalid::new(format!(
                    "Invalid value for device option {key:?}: Item {address:?}: Not an {shown} address {address:?}"
                )));
            }
        }
    }
    Ok(())
}
