//! The keys of projects: features, limits, restrictions.

use super::check::{ABSOLUTE_PATH, COMPRESSION, Check, Reason, parse_cidr};
use super::{Config, Key, Table, Wording};
use crate::Invalid;
use crate::instances::architecture;

/// All keys of projects.
pub const TABLE: Table = Table {
    noun: "project",
    keys: KEYS,
};

/// Checks a project's configuration.
pub fn validate(config: &Config) -> Result<(), Invalid> {
    TABLE.validate(config, Wording::Project)
}

/// What most restrictions may be set to.
const SWITCH: Check = Check::OneOf(&["block", "allow"]);
const MANAGED: Check = Check::OneOf(&["block", "allow", "managed"]);

const KEYS: &[Key] = &[
    Key::new("backups.compression_algorithm", COMPRESSION),
    Key::new("features.profiles", Check::Bool).default("false"),
    Key::new("features.images", Check::Bool).default("false"),
    Key::new("features.storage.volumes", Check::Bool).default("false"),
    Key::new("features.networks", Check::Bool).default("false"),
    Key::new("images.auto_update_cached", Check::Bool),
    Key::new("images.auto_update_interval", Check::Integer),
    Key::new("images.compression_algorithm", COMPRESSION),
    Key::new("images.default_architecture", Check::OneOf(architecture::NAMES)),
    Key::new("images.remote_cache_expiry", Check::Integer),
    Key::new("limits.instances", Check::Uint32),
    Key::new("limits.containers", Check::Uint32),
    Key::new("limits.virtual-machines", Check::Uint32),
    Key::new("limits.memory", Check::Bytes),
    Key::new("limits.processes", Check::Uint32),
    Key::new("limits.cpu", Check::Uint32),
    Key::new("limits.disk", Check::Bytes),
    Key::new("limits.networks", Check::Uint32),
    Key::new("restricted", Check::Bool).default("false"),
    Key::new("restricted.backups", SWITCH).default("block"),
    Key::new("restricted.cluster.groups", Check::Any),
    Key::new("restricted.cluster.target", SWITCH).default("block"),
    Key::new(
        "restricted.containers.interception",
        Check::OneOf(&["allow", "block", "full"]),
    )
    .default("block"),
    Key::new("restricted.containers.nesting", SWITCH).default("block"),
    Key::new("restricted.containers.lowlevel", SWITCH).default("block"),
    Key::new(
        "restricted.containers.privilege",
        Check::OneOf(&["allow", "unprivileged", "isolated"]),
    )
    .default("unprivileged"),
    Key::new("restricted.virtual-machines.lowlevel", SWITCH).default("block"),
    Key::new("restricted.devices.unix-char", SWITCH).default("block"),
    Key::new("restricted.devices.unix-block", SWITCH).default("block"),
    Key::new("restricted.devices.unix-hotplug", SWITCH).default("block"),
    Key::new("restricted.devices.infiniband", SWITCH).default("block"),
    Key::new("restricted.devices.gpu", SWITCH).default("block"),
    Key::new("restricted.devices.usb", SWITCH).default("block"),
    Key::new("restricted.devices.pci", SWITCH).default("block"),
    Key::new("restricted.devices.proxy", SWITCH).default("block"),
    Key::new("restricted.devices.nic", MANAGED).default("managed"),
    Key::new("restricted.devices.disk", MANAGED).default("managed"),
    Key::new("restricted.devices.disk.paths", Check::List(&ABSOLUTE_PATH)),
    Key::new("restricted.idmap.uid", ID_RANGES),
    Key::new("restricted.idmap.gid", ID_RANGES),
    Key::new("restricted.networks.access", Check::Any),
    Key::new("restricted.networks.uplinks", Check::Any),
    Key::new("restricted.networks.subnets", Check::Custom("string", subnets)),
    Key::new("restricted.networks.zones", Check::Any),
    Key::new("restricted.snapshots", SWITCH).default("block"),
    Key::new("user.*", Check::Any),
];

/// Numbers and ranges of ids: `1000,2000-2999`.
const ID_RANGES: Check = Check::List(&Check::Custom("string", id_range));

fn id_range(value: &str) -> Result<(), Reason> {
    let number = |text: &str| {
        text.parse::<u32>()
            .map_err(|_| format!("Invalid number {text:?}"))
    };
    match value.split_once('-').filter(|(first, _)| !first.is_empty()) {
        Some((first, last)) => match number(first)? <= number(last)? {
            true => Ok(()),
            false => Err(format!(
                "Start of range {first:?} must not be above its end {last:?}"
            )),
        },
        None => number(value).map(drop),
    }
}

/// `UPLINK:SUBNET` items.
fn subnets(value: &str) -> Result<(), Reason> {
    value.split(',').map(str::trim).try_for_each(|item| {
        let form =
            || format!("Subnet {item:?} invalid, must be in the format of \"<uplink network>:<subnet>\"");
        let (_, subnet) = item.split_once(':').ok_or_else(form)?;
        parse_cidr(subnet).map(drop)
    })
}
