//! Devices of instances and profiles: which keys each type takes, and what makes a set of them valid.

pub mod nic;
pub mod proxy;
mod rules;
mod tables;

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

pub use tables::TABLES;

use crate::config::{Config, For, Table, Wording};
use crate::instances::InstanceType;
use crate::{Invalid, names};

/// One device's configuration.
pub type Device = BTreeMap<String, String>;
/// Devices by name.
pub type Devices = BTreeMap<String, Device>;

/// A type of device, and the kind of it where there are several.
#[derive(Debug, Clone, Copy)]
pub struct DeviceKind {
    /// The value of `type`.
    pub device_type: &'static str,
    /// The value of `nictype` or `gputype`, else empty.
    pub variant: &'static str,
    /// Which instances may have it.
    pub applies: For,
    /// Its keys, without `type` and the variant's key.
    pub table: Table,
}

/// What the devices are for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Context {
    /// A profile: any type of instance, and the set may be incomplete.
    Profile,
    /// An instance's own and inherited devices together.
    Instance(InstanceType),
}

/// What devices need to know of where they are.
pub trait Surroundings {
    /// The kind of network card for a managed network (`bridged` for a bridge).
    ///
    /// # Errors
    /// "Failed to load network ...".
    fn nictype(&self, network: &str) -> Result<String, Invalid>;

    /// The network's configuration, if there is a managed network of that name and it is known.
    fn config(&self, _network: &str) -> Option<&Config> {
        None
    }

    /// The folder of the host's device nodes.
    fn device_folder(&self) -> Cow<'_, str> {
        Cow::Borrowed("/dev")
    }
}

impl<F: Fn(&str) -> Result<String, Invalid>> Surroundings for F {
    fn nictype(&self, network: &str) -> Result<String, Invalid> {
        self(network)
    }
}

/// A property of a device, empty when unset.
pub fn property<'d>(device: &'d Device, name: &str) -> &'d str {
    device.get(name).map(String::as_str).unwrap_or_default()
}

/// The kind of a device.
pub fn kind_of(device: &Device, networks: &impl Surroundings) -> Result<&'static DeviceKind, Invalid> {
    let device_type = property(device, "type");
    let variant = match device_type {
        "" => return Err(Invalid::new("Missing device type in config")),
        "nic" if !property(device, "network").is_empty() => networks.nictype(property(device, "network"))?,
        "nic" => property(device, "nictype").to_owned(),
        "infiniband" if !["physical", "sriov"].contains(&property(device, "nictype")) => {
            return Err(Invalid::new("Unsupported device type"));
        }
        "gpu" => match property(device, "gputype") {
            kind @ ("mdev" | "mig" | "sriov") => kind.to_owned(),
            _ => "physical".to_owned(),
        },
        _ => String::new(),
    };
    let known = TABLES
        .iter()
        .find(|kind| kind.device_type == device_type && kind.variant == variant);
    known.ok_or_else(|| Invalid::new("Unsupported device type"))
}

/// Checks a set of devices: each one's name, type and keys, and that they get along.
///
/// Instances are checked twice: their own devices, and all with those of their profiles.
pub fn validate(devices: &Devices, context: Context, networks: &impl Surroundings) -> Result<(), Invalid> {
    for (name, device) in devices {
        validate_one(name, device, devices, context, networks).map_err(|reason| match name.len() > 64 {
            true => reason,
            false => reason.within(&format!("Device validation failed for {name:?}: ")),
        })?;
    }
    Ok(())
}

/// The root disk: the one disk device with path `/` and without a source. Its name and configuration.
pub fn root_disk(devices: &Devices) -> Result<(&str, &Device), Invalid> {
    let mut roots = devices.iter().filter(|(_, device)| is_root_disk(device));
    match (roots.next(), roots.next()) {
        (Some((name, device)), None) => Ok((name, device)),
        (None, _) => Err(Invalid::new("No root device could be found")),
        (Some(_), Some(_)) => Err(Invalid::new("More than one root device found")),
    }
}

/// Whether a device is a root disk.
pub fn is_root_disk(device: &Device) -> bool {
    property(device, "type") == "disk"
        && property(device, "path") == "/"
        && property(device, "source").is_empty()
}

/// Devices in the order in which they start: network cards, then disks by the depth of their paths, then the rest.
/// Devices of type `none` are left out.
pub fn start_order(devices: &Devices) -> Vec<(&str, &Device)> {
    let mut ordered: Vec<(&str, &Device)> = devices
        .iter()
        .filter(|(_, d)| property(d, "type") != "none")
        .map(|(n, d)| (n.as_str(), d))
        .collect();
    ordered.sort_by_key(|(name, device)| {
        let rank = match property(device, "type") {
            "nic" | "infiniband" => 0,
            "disk" => 1,
            "proxy" => 3,
            _ => 2,
        };
        (rank, property(device, "path").to_owned(), (*name).to_owned())
    });
    ordered
}

/// What changed between two sets of devices. A device whose type changed is in both lists.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// Devices to take away, with their old configuration.
    pub removed: Devices,
    /// Devices to add.
    pub added: Devices,
    /// Devices of which only keys changed that take effect without replacing them: new configuration.
    pub updated: Devices,
}

/// Compares two sets of expanded devices.
pub fn changes(old: &Devices, new: &Devices) -> Changes {
    let mut changes = Changes::default();
    for (name, device) in old {
        match new.get(name) {
            Some(now) if now == device => {}
            Some(now) if updates_in_place(device, now) => {
                changes.updated.insert(name.clone(), now.clone());
            }
            Some(now) => {
                changes.removed.insert(name.clone(), device.clone());
                changes.added.insert(name.clone(), now.clone());
            }
            None => {
                changes.removed.insert(name.clone(), device.clone());
            }
        }
    }
    let fresh = new.iter().filter(|(name, _)| !old.contains_key(*name));
    changes
        .added
        .extend(fresh.map(|(name, device)| (name.clone(), device.clone())));
    changes
}

fn updates_in_place(old: &Device, new: &Device) -> bool {
    let kind = |device| kind_of(device, &|_: &str| Ok("bridged".to_owned()));
    let (Ok(before), Ok(after)) = (kind(old), kind(new)) else {
        return false;
    };
    if (before.device_type, before.variant) != (after.device_type, after.variant) {
        return false;
    }
    let names: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
    let changed = names.into_iter().filter(|name| old.get(*name) != new.get(*name));
    changed
        .into_iter()
        .all(|name| name.starts_with("user.") || after.table.find(name).is_some_and(|key| key.live))
}

fn validate_one(
    name: &str,
    device: &Device,
    devices: &Devices,
    context: Context,
    networks: &impl Surroundings,
) -> Result<(), Invalid> {
    names::device(name)?;
    let loading = |reason: Invalid| reason.within(&format!("Failed loading device {name:?}: "));
    let network = property(device, "network");
    if property(device, "type") == "nic" && !network.is_empty() {
        networks.nictype(network).map_err(loading)?;
    }
    rules::before(property(device, "type"), device, networks)?;
    let kind = kind_of(device, networks).map_err(loading)?;
    let fits = match (kind.applies, context) {
        (For::Any, _) | (_, Context::Profile) => true,
        (For::Container, Context::Instance(kind)) => kind == InstanceType::Container,
        (For::VirtualMachine, Context::Instance(kind)) => kind == InstanceType::VirtualMachine,
    };
    if !fits {
        return Err(Invalid::new("Unsupported device type"));
    }
    let mut keys = device.clone();
    for selector in ["type", selector_of(kind.device_type)] {
        keys.remove(selector);
    }
    let prefix = match kind.device_type {
        "pci" | "tpm" => "Failed to validate config: ",
        _ => "",
    };
    kind.table
        .validate(&keys, Wording::Device)
        .map_err(|reason| reason.within(prefix))?;
    rules::after((name, device), (kind.device_type, kind.variant), devices, context)
}

/// The key that selects the variant of a type.
fn selector_of(device_type: &str) -> &'static str {
    match device_type {
        "nic" | "infiniband" => "nictype",
        "gpu" => "gputype",
        _ => "type",
    }
}

#[cfg(test)]
mod tests;
