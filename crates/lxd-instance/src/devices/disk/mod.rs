//! Disks: the root disk, whose volume the storage port mounts, and what else of the host or of a pool appears inside.

mod source;
mod throttle;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use futures::future::BoxFuture;
use lxd_sys::mount;

use super::{Device, DeviceConfig, Host, Kind, Mount, Plan, value};
use crate::drivers::Guest;
use crate::drivers::container::blocking;
use crate::error::Error;
use source::Source;
pub use throttle::{Rates, parse_rates};

/// The kind.
pub struct Disk;

/// Whether a disk holds the instance's `/`.
pub fn is_root(config: &DeviceConfig) -> bool {
    value(config, "path") == Some("/") && value(config, "pool").is_some() && value(config, "source").is_none()
}

impl Kind for Disk {
    fn check(&self, device: &Device) -> Result<(), Error> {
        check(device)
    }

    fn prepare<'a>(&'a self, host: &'a Host, device: &'a Device) -> BoxFuture<'a, Result<Plan, Error>> {
        Box::pin(async move {
            let mut plan = Plan::new(&device.name);
            if is_root(&device.config) {
                if device.is_set("readonly") {
                    plan.root_options.push("ro".into());
                }
            } else {
                let Some(source) = Source::find(host, device).await? else {
                    return Ok(plan);
                };
                let (owned, place) = (device.clone(), place(device));
                let recursive = device.is_set("recursive");
                let made = blocking(move || source.show(&owned, &place)).await?;
                plan.mounts.push(mount_of(device, made.is_file, recursive));
            }
            let owned = device.clone();
            plan.throttles = blocking(move || throttle::of_disk(&owned)).await?;
            Ok(plan)
        })
    }

    fn started<'a>(
        &'a self,
        _host: &'a Host,
        device: &'a Device,
        plan: &'a Plan,
        _guest: &'a Arc<dyn Guest>,
    ) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(async move {
            if plan.mounts.is_empty() {
                return Ok(());
            }
            // The guest has its own copy now; what is mounted on the host only keeps the source busy.
            let place = place(device);
            blocking(move || mount::detach(&place).map_err(Error::Mount)).await
        })
    }

    fn present<'a>(&'a self, _host: &'a Host, device: &'a Device) -> BoxFuture<'a, Result<Plan, Error>> {
        Box::pin(async move {
            let mut plan = Plan::new(&device.name);
            let place = place(device);
            if let Ok(found) = std::fs::symlink_metadata(&place) {
                plan.mounts
                    .push(mount_of(device, !found.is_dir(), device.is_set("recursive")));
            }
            let owned = device.clone();
            plan.throttles = blocking(move || throttle::only_of_disk(&owned)).await?;
            Ok(plan)
        })
    }

    fn stopped<'a>(&'a self, host: &'a Host, device: &'a Device) -> BoxFuture<'a, Vec<Error>> {
        Box::pin(async move {
            if is_root(&device.config) {
                return Vec::new();
            }
            let place = place(device);
            let mut errors: Vec<Error> = blocking(move || remove(&place)).await.err().into_iter().collect();
            if let Some(pool) = device.value("pool") {
                let name = device.value("source").unwrap_or_default();
                let unmounted = host.storage.unmount_volume(&device.instance, pool, name).await;
                errors.extend(unmounted.err().map(Error::Port));
            }
            errors
        })
    }

    fn update<'a>(
        &'a self,
        _host: &'a Host,
        old: &'a Device,
        new: &'a Device,
        guest: &'a Arc<dyn Guest>,
    ) -> BoxFuture<'a, Result<Vec<(String, String)>, Error>> {
        Box::pin(async move {
            let (old, new) = (old.instance.clone(), new.instance.clone());
            let throttles = blocking(move || throttle::between(&old, &new)).await?;
            guest.throttle(&throttles).await?;
            Ok(Vec::new())
        })
    }

    fn hot_plugs(&self, device: &Device) -> bool {
        !is_root(&device.config)
    }
}

fn check(device: &Device) -> Result<(), Error> {
    let bad = |text: String| Err(Error::DeviceValue(text));
    for key in ["limits.read", "limits.write", "limits.max"] {
        parse_rates(device.value(key).unwrap_or_default())?;
    }
    if is_root(&device.config) {
        return Ok(());
    }
    let source = device.value("source").unwrap_or_default();
    if source.starts_with("ceph:") || source.starts_with("cephfs:") {
        return bad(format!(
            "Disk source {source:?} needs Ceph, which this server does not support"
        ));
    }
    if source == "cloud-init:config" {
        return bad("disks with source=cloud-init:config are only supported by virtual machines".into());
    }
    if device.value("path").is_none() {
        // The reference covers the container's root with such a disk, after which nothing runs there any more.
        return bad("Disk entry is missing the required \"path\" property".into());
    }
    if let Some(word) = device.value("propagation")
        && mount::propagation(word).is_none()
    {
        return bad(format!("Invalid propagation mode {word:?}"));
    }
    Ok(())
}

/// Where the disk is on the host while a guest gets it.
fn place(device: &Device) -> PathBuf {
    device.file("disk", device.value("path").unwrap_or_default())
}

fn mount_of(device: &Device, is_file: bool, recursive: bool) -> Mount {
    let path = device.value("path").unwrap_or_default();
    Mount {
        source: place(device),
        target: Path::new(path.trim_start_matches('/')).to_owned(),
        is_file,
        recursive,
        read_only: device.is_set("readonly"),
        propagation: device.value("propagation").unwrap_or_default().to_owned(),
        removes_target: true,
    }
}

/// Takes what is mounted at a place away, and the place itself.
fn remove(place: &Path) -> Result<(), Error> {
    mount::detach(place).map_err(Error::Mount)?;
    let removed = match place.symlink_metadata() {
        Ok(found) if found.is_dir() => std::fs::remove_dir(place),
        Ok(_) => std::fs::remove_file(place),
        Err(error) => Err(error),
    };
    match removed {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(Error::file("remove", place)(error))
        }
        _ => Ok(()),
    }
}
