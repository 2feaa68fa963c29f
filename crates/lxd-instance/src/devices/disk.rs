//! Disks: the root disk, whose volume the storage port mounts.

use super::{DeviceConfig, value};
use crate::error::Error;

/// The keys of disks.
pub const KEYS: [&str; 21] = [
    "boot.priority",
    "ceph.cluster_name",
    "ceph.user_name",
    "io.bus",
    "io.cache",
    "limits.max",
    "limits.read",
    "limits.write",
    "path",
    "pool",
    "propagation",
    "raw.mount.options",
    "readonly",
    "recursive",
    "required",
    "shift",
    "size",
    "size.state",
    "source",
    "type",
    "attached",
];

/// Whether a disk holds the instance's `/`.
pub fn is_root(config: &DeviceConfig) -> bool {
    value(config, "path") == Some("/") && value(config, "pool").is_some() && value(config, "source").is_none()
}

/// Refuses a disk that can't be started.
///
/// # Errors
/// [`Error::DeviceValue`].
pub fn check(config: &DeviceConfig) -> Result<(), Error> {
    if let Some(key) = config
        .keys()
        .find(|key| !KEYS.contains(&key.as_str()) && !key.starts_with("user."))
    {
        return Err(Error::DeviceValue(format!("Invalid device option {key:?}")));
    }
    if is_root(config) {
        return Ok(());
    }
    Err(Error::DeviceValue("Only root disks are supported".into()))
}
