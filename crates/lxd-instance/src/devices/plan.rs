//! What a device puts into a guest, as plain values: the same for a start, for plugging in and for taking out.

use std::path::PathBuf;

use liblxc::protocol::Nic;
use lxd_sys::cgroup::{DeviceRule, Throttle};

/// What one device has in a guest.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Plan {
    /// The device's name.
    pub device: String,
    /// What is mounted inside, in this order.
    pub mounts: Vec<Mount>,
    /// Device nodes that the guest may use.
    pub rules: Vec<DeviceRule>,
    /// Pairs of network cards.
    pub cards: Vec<Nic>,
    /// Limits on block devices.
    pub throttles: Vec<Throttle>,
    /// Options of the root's own mount, such as `ro`.
    pub root_options: Vec<String>,
    /// Variables for the guest's init.
    pub environment: Vec<(String, String)>,
    /// What processes inside are told about, as the kernel would; each is a list of `KEY=value`.
    pub uevents: Vec<Vec<String>>,
    /// `volatile.*` keys that this sets; an empty value takes one away.
    pub volatile: Vec<(String, String)>,
}

impl Plan {
    /// A plan that does nothing yet.
    pub fn new(device: &str) -> Self {
        Self {
            device: device.to_owned(),
            ..Self::default()
        }
    }
}

/// Something of the host that appears inside.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Mount {
    /// Where it is on the host, ready to be seen: ids mapped, read-only if it shall be.
    pub source: PathBuf,
    /// Where it goes, without the leading slash.
    pub target: PathBuf,
    /// Whether it is a single file.
    pub is_file: bool,
    /// The mounts beneath it come along.
    pub recursive: bool,
    /// No writing.
    pub read_only: bool,
    /// How mounts beneath it travel, as mount(8) says it, such as `rshared`; the kernel's choice if empty.
    pub propagation: String,
    /// The place inside was made for it and goes with it.
    pub removes_target: bool,
}

impl Mount {
    /// The options of a mount entry of liblxc.
    pub fn options(&self) -> String {
        let mut options = vec![if self.recursive { "rbind" } else { "bind" }];
        if self.read_only {
            options.insert(0, "ro");
        }
        if !self.propagation.is_empty() {
            options.push(&self.propagation);
        }
        options.push(if self.is_file { "create=file" } else { "create=dir" });
        options.join(",")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_liblxcs() {
        let mut mount = Mount {
            is_file: true,
            ..Mount::default()
        };
        assert_eq!(mount.options(), "bind,create=file");
        mount = Mount {
            recursive: true,
            read_only: true,
            propagation: "rslave".into(),
            ..Mount::default()
        };
        assert_eq!(mount.options(), "ro,rbind,rslave,create=dir");
    }
}
