//! Devices of instances: one [`Kind`] for each type, which plans what a guest gets and changes what a guest has.
//!
//! A start asks every device to [`Kind::prepare`], hands the plans to the driver, and calls [`Kind::started`] once the
//! guest runs. Plugging in is the same with [`crate::drivers::Guest::attach`] in the driver's place. Whatever a device has
//! on the host goes with [`Kind::stopped`], which is harmless for a device that was never there.

pub mod change;
pub mod disk;
pub mod infiniband;
pub mod nic;
pub mod none;
pub mod plan;
pub mod proxy;
pub mod tpm;
pub mod unix;

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;

use futures::future::BoxFuture;
use lxd_model::devices::start_order;

use crate::drivers::Guest;
use crate::error::Error;
use crate::instance::Instance;
use crate::ports::{Network, Storage};
pub use plan::{Mount, Plan};

/// A device's configuration.
pub type DeviceConfig = BTreeMap<String, String>;

/// What kinds of devices use besides the instance.
#[derive(Clone)]
pub struct Host {
    /// Volumes.
    pub storage: Arc<dyn Storage>,
    /// Networks.
    pub network: Arc<dyn Network>,
    /// The program `lxd-helper`, for what must run beside a guest or in its namespaces.
    pub helper: PathBuf,
    /// Network namespaces of guests that have cards of the host, by instance and device: to take those back.
    pub(crate) kept: Arc<parking_lot::Mutex<BTreeMap<String, OwnedFd>>>,
}

/// One device of an instance.
#[derive(Debug, Clone)]
pub struct Device {
    /// The instance as it starts, runs or has run.
    pub instance: Arc<Instance>,
    /// The device's name.
    pub name: String,
    /// Its configuration.
    pub config: DeviceConfig,
}

impl Device {
    /// A value, where one is set.
    pub fn value(&self, key: &str) -> Option<&str> {
        value(&self.config, key)
    }

    /// Whether a boolean is true.
    pub fn is_set(&self, key: &str) -> bool {
        self.value(key).is_some_and(lxd_model::config::is_true)
    }

    /// Whether a boolean that is true by default was turned off.
    pub fn is_unset(&self, key: &str) -> bool {
        self.value(key)
            .is_some_and(|value| !lxd_model::config::is_true(value))
    }

    /// A `volatile.DEVICE.*` value.
    pub fn volatile(&self, key: &str) -> Option<&str> {
        self.instance.volatile(&self.name, key)
    }

    /// Where a file of this device is: `devices/INSTANCE/KIND.DEVICE.PATH`, with the parts' dashes doubled and the path's
    /// slashes as dashes.
    pub fn file(&self, kind: &str, path: &str) -> PathBuf {
        let name = format!(
            "{kind}.{}.{}",
            encode(&self.name),
            encode(path.trim_start_matches('/'))
        );
        self.instance.paths.devices.join(name)
    }

    /// The error of this device that could not be started, or added to what runs.
    pub fn failed(&self, source: Error) -> Error {
        Error::Device {
            action: "start",
            device: self.name.clone(),
            source: Box::new(source),
        }
    }
}

/// What a device wants to be told of while it runs.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Watches {
    /// Paths on the host that may come and go.
    pub paths: Vec<PathBuf>,
    /// Hardware that may come and go.
    pub hardware: bool,
}

/// A type of device. All but `check`, `hot_plugs` and `watches` may wait.
pub trait Kind: Send + Sync {
    /// Refuses what can never be started. Pure: looks at no file.
    fn check(&self, device: &Device) -> Result<(), Error>;

    /// Makes on the host what the guest is to get, and says what that is. A failure may leave parts for
    /// [`Kind::stopped`].
    fn prepare<'a>(&'a self, host: &'a Host, device: &'a Device) -> BoxFuture<'a, Result<Plan, Error>>;

    /// What a guest has of this device now: what taking it out takes out.
    fn present<'a>(&'a self, host: &'a Host, device: &'a Device) -> BoxFuture<'a, Result<Plan, Error>>;

    /// Called when a guest has got what [`Kind::prepare`] planned.
    fn started<'a>(
        &'a self,
        _host: &'a Host,
        _device: &'a Device,
        _plan: &'a Plan,
        _guest: &'a Arc<dyn Guest>,
    ) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(async { Ok(()) })
    }

    /// Puts away what is on the host, after the guest is gone or without the device. Also when there is nothing.
    fn stopped<'a>(&'a self, host: &'a Host, device: &'a Device) -> BoxFuture<'a, Vec<Error>>;

    /// Brings a running guest from `old` to `new`, which differ only in keys that take effect without replacing the
    /// device. Gives the `volatile.*` keys that this sets.
    fn update<'a>(
        &'a self,
        _host: &'a Host,
        _old: &'a Device,
        _new: &'a Device,
        _guest: &'a Arc<dyn Guest>,
    ) -> BoxFuture<'a, Result<Vec<(String, String)>, Error>> {
        Box::pin(async { Ok(Vec::new()) })
    }

    /// Brings a running guest in line with what the host has now.
    fn refresh<'a>(
        &'a self,
        _host: &'a Host,
        _device: &'a Device,
        _guest: &'a Arc<dyn Guest>,
    ) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(async { Ok(()) })
    }

    /// What must happen for [`Kind::refresh`] to be called.
    fn watches(&self, _device: &Device) -> Watches {
        Watches::default()
    }

    /// Whether a running guest can get and lose it.
    fn hot_plugs(&self, _device: &Device) -> bool {
        true
    }
}

/// The kind of a device.
///
/// # Errors
/// [`Error::DeviceValue`] for a type that nobody knows.
pub fn kind_of(device: &Device) -> Result<&'static dyn Kind, Error> {
    match device.value("type").unwrap_or_default() {
        "none" => Ok(&none::None),
        "nic" => Ok(&nic::Cards),
        "disk" => Ok(&disk::Disk),
        "proxy" => Ok(&proxy::Proxy),
        "unix-char" | "unix-block" => Ok(&unix::PATH),
        "unix-hotplug" => Ok(&unix::HOTPLUG),
        "usb" => Ok(&unix::USB),
        "gpu" => Ok(&unix::GPU),
        "infiniband" => Ok(&infiniband::Infiniband),
        "tpm" => Ok(&tpm::Tpm),
        other => Err(Error::DeviceValue(format!("Unsupported device type {other:?}"))),
    }
}

/// The devices of an instance in the order of starting.
pub fn all(instance: &Arc<Instance>) -> Vec<Device> {
    let ordered = start_order(&instance.devices).into_iter();
    ordered
        .map(|(name, config)| Device {
            instance: instance.clone(),
            name: name.to_owned(),
            config: config.clone(),
        })
        .collect()
}

/// The devices of one type, in the order of their names.
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
pub fn check(instance: &Arc<Instance>) -> Result<(), Error> {
    for device in all(instance) {
        let checked = kind_of(&device).and_then(|kind| kind.check(&device));
        checked.map_err(|source| device.failed(source))?;
    }
    Ok(())
}

/// A part of a file's name: what the reference's own files are called, so that either finds the other's.
pub fn encode(part: &str) -> String {
    part.replace('-', "--").replace('/', "-")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::instance::tests::plain;

    #[test]
    fn names_of_files_are_the_references() {
        let device = Device {
            instance: Arc::new(plain("/x".as_ref(), "c1")),
            name: "my-disk".into(),
            config: DeviceConfig::new(),
        };
        assert_eq!(
            device.file("unix", "/dev/a-b/c"),
            std::path::Path::new("/x/devices/c1/unix.my--disk.dev-a--b-c")
        );
    }

    #[test]
    fn a_type_that_nobody_knows_is_refused_by_name() {
        let mut instance = plain("/x".as_ref(), "c1");
        instance
            .devices
            .insert("d".into(), [("type".to_owned(), "teapot".to_owned())].into());
        let refused = check(&Arc::new(instance)).unwrap_err();
        assert_eq!(refused.to_string(), "Failed to start device \"d\"");
    }
}
