//! `lxc storage volume attach` and `detach`: volumes as disks of instances and profiles.

use std::collections::BTreeMap;

use lxd_api::instances::{Instance, InstancePut};
use lxd_api::profiles::{Profile, ProfilePut};
use lxd_client::{Etag, path};

use super::storage::pool;
use super::storage_volume::kind_and_name;
use crate::context::Context;
use crate::error::{Error, Result};

type Device = BTreeMap<String, String>;
type Devices = BTreeMap<String, Device>;

/// Attaches a volume to an instance, or detaches it.
pub(super) async fn of_instance(cx: &Context, attach: bool) -> Result<()> {
    let pool = pool(cx)?;
    let volume = volume(cx, "instances")?;
    let at = path(&["instances", cx.argument(2)]);
    let (instance, etag): (Instance, Etag) = pool.client.get_with_etag(&at).await?;
    let mut change = InstancePut::from(&instance);
    if attach {
        add(&mut change.devices, new_disk(cx, &pool.name, volume))?;
    } else {
        remove(&mut change.devices, (&pool.name, volume), cx.argument(3))?;
    }
    let changed = pool.client.update(&at, &change, &etag).await?;
    cx.wait(&changed, "").await.map(drop)
}

/// Attaches a volume to a profile, or detaches it.
pub(super) async fn of_profile(cx: &Context, attach: bool) -> Result<()> {
    let pool = pool(cx)?;
    let volume = volume(cx, "profiles")?;
    let at = path(&["profiles", cx.argument(2)]);
    let (profile, etag): (Profile, Etag) = pool.client.get_with_etag(&at).await?;
    let mut change = ProfilePut::from(&profile);
    if attach {
        add(&mut change.devices, new_disk(cx, &pool.name, volume))?;
    } else {
        remove(&mut change.devices, (&pool.name, volume), cx.argument(3))?;
    }
    Ok(pool.client.replace(&at, &change, &etag).await?)
}

fn volume<'a>(cx: &'a Context, owners: &str) -> Result<&'a str> {
    match kind_and_name(cx.argument(1)) {
        ("custom", volume) => Ok(volume),
        _ => Err(Error::message(format!(
            "Only \"custom\" volumes can be attached to {owners}"
        ))),
    }
}

/// The disk that `attach` makes: a fourth word is its path, unless a fifth one is.
fn new_disk(cx: &Context, pool: &str, volume: &str) -> (String, Device) {
    let (name, path) = match (cx.argument(3), cx.argument(4)) {
        (path, "") => (volume, path),
        (name, path) => (name, path),
    };
    let disk = [
        ("type", "disk"),
        ("pool", pool),
        ("source", volume),
        ("path", path),
    ];
    let given = disk.into_iter().filter(|(_, value)| !value.is_empty());
    let disk = given.map(|(key, value)| (key.to_owned(), value.to_owned()));
    (name.to_owned(), disk.collect())
}

fn add(devices: &mut Devices, (name, disk): (String, Device)) -> Result<()> {
    if devices.contains_key(&name) {
        return Err(Error::message(format!("Device already exists: {name}")));
    }
    devices.insert(name, disk);
    Ok(())
}

/// Takes the disk that is named, or the only one that is the volume, out.
fn remove(devices: &mut Devices, (pool, volume): (&str, &str), name: &str) -> Result<()> {
    let has = |disk: &Device, key: &str, value: &str| disk.get(key).is_some_and(|found| found == value);
    let is_it =
        |disk: &Device| has(disk, "type", "disk") && has(disk, "pool", pool) && has(disk, "source", volume);
    let name = if name.is_empty() {
        let mut found = devices.iter().filter(|(_, disk)| is_it(disk));
        let first = found.next();
        let (name, _) = first.ok_or_else(|| Error::message("No device found for this storage volume"))?;
        if found.next().is_some() {
            return Err(Error::message(
                "More than one device matches, specify the device name",
            ));
        }
        name.clone()
    } else if devices.contains_key(name) {
        name.to_owned()
    } else {
        return Err(Error::message("The specified device doesn't exist"));
    };
    devices.remove(&name);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_only_disk_of_a_volume_needs_no_name() {
        let disk = |source: &str| {
            let disk = [("type", "disk"), ("pool", "p"), ("source", source)];
            Device::from(disk.map(|(key, value)| (key.to_owned(), value.to_owned())))
        };
        let mut devices: Devices = [("a", disk("v1")), ("b", disk("v2")), ("c", disk("v2"))]
            .map(|(name, disk)| (name.to_owned(), disk))
            .into();
        for (volume, name, text) in [
            ("v3", "", "No device found for this storage volume"),
            ("v2", "", "More than one device matches, specify the device name"),
            ("v2", "x", "The specified device doesn't exist"),
        ] {
            let error = remove(&mut devices, ("p", volume), name).unwrap_err();
            assert_eq!(error.to_string(), text);
        }
        remove(&mut devices, ("p", "v1"), "").unwrap();
        remove(&mut devices, ("p", "v2"), "c").unwrap();
        assert_eq!(devices.keys().collect::<Vec<_>>(), ["b"]);
        assert!(add(&mut devices, ("b".into(), disk("v9"))).is_err());
    }
}
