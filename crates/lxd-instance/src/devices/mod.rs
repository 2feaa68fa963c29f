//! Devices of instances: which keys they have, and what a start makes of them.

pub mod disk;
pub mod nic;

use std::collections::BTreeMap;

use crate::error::Error;
use crate::instance::Instance;

/// A device's configuration.
pub type DeviceConfig = BTreeMap<String, String>;

/// The devices of one type, in the order of their names, which is the order of starting.
pub fn of_type<'a>(
    instance: &'a Instance,
    kind: &'a str,
) -> impl Iterator<Item = (&'a String, &'a DeviceConfig)> + 'a {
    instance
        .devices
        .iter()
        .filter(move |(_, config)| config.get("type").is_some_and(|t| t == kind))
}

/// A value of a device, where one is set.
pub(crate) fn value<'a>(config: &'a DeviceConfig, key: &str) -> Option<&'a str> {
    config
        .get(key)
        .map(String::as_str)
        .filter(|value| !value.is_empty())
}

/// Refuses devices that can't be started here, before anything is done.
///
/// # Errors
/// [`Error::Device`] with the first such device.
pub fn check(instance: &Instance) -> Result<(), Error> {
    for (name, config) in &instance.devices {
        let checked = match value(config, "type") {
            Some("none") => Ok(()),
            Some("nic") => nic::check(config),
            Some("disk") => disk::check(config),
            other => Err(Error::DeviceValue(format!(
                "Unsupported device type {:?}",
                other.unwrap_or_default()
            ))),
        };
        checked.map_err(|source| Error::Device {
            device: name.clone(),
            source: Box::new(source),
        })?;
    }
    Ok(())
}
