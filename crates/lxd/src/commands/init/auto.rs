//! `lxd init --auto` and `--minimal`: the defaults, and what the flags say.

use std::collections::BTreeMap;

use lxd_api::init::{InitNetworksProjectPost, InitPreseed};
use lxd_api::networks::Network;
use lxd_api::profiles::ProfilesPost;
use lxd_api::server::Server;
use lxd_api::storage_pools::StoragePoolsPost;
use serde_json::Value;

use super::super::client::Client;
use super::Wishes;

/// The pool that is made unless the flags say otherwise.
pub(super) const POOL: &str = "default";

/// The bridge that is made where no managed network is.
pub(super) const BRIDGE: &str = "lxdbr0";

type Device = BTreeMap<String, String>;

/// What there is already.
#[derive(Debug, Default)]
pub(super) struct Present {
    pub(super) pools: Vec<String>,
    pub(super) has_network: bool,
    pub(super) interfaces: Vec<String>,
    pub(super) profile: ProfilesPost,
}

impl Present {
    /// Asks the daemon.
    pub(super) async fn ask(client: &Client) -> Result<Self, String> {
        let pools = client.get::<Vec<String>>("/1.0/storage-pools").await?;
        let networks = client.get::<Vec<Network>>("/1.0/networks?recursion=1").await?;
        Ok(Self {
            pools: pools
                .iter()
                .filter_map(|url| url.rsplit('/').next())
                .map(ToOwned::to_owned)
                .collect(),
            has_network: networks.iter().any(|network| network.managed),
            interfaces: networks.into_iter().map(|network| network.name).collect(),
            profile: client.get("/1.0/profiles/default").await?,
        })
    }

    fn has_device(&self, wanted: impl Fn(&Device) -> bool) -> bool {
        self.profile.devices.values().any(wanted)
    }
}

/// The preseed of the defaults.
///
/// # Errors
/// No daemon, or flags that the server can't follow.
pub(super) async fn preseed(
    client: &Client,
    server: &Server,
    wishes: &Wishes,
) -> Result<InitPreseed, String> {
    let drivers: Vec<&str> = server
        .environment
        .storage_supported_drivers
        .iter()
        .map(|driver| driver.name.as_str())
        .collect();
    decide(wishes, &drivers, &Present::ask(client).await?)
}

/// The driver of new pools: the first of these that works here.
pub(super) fn best_driver<'a>(drivers: &[&'a str]) -> &'a str {
    let wanted = ["zfs", "overlay", "btrfs", "dir"];
    let found = wanted
        .iter()
        .find_map(|wanted| drivers.iter().find(|driver| *driver == wanted));
    found.or(drivers.first()).copied().unwrap_or("dir")
}

fn decide(wishes: &Wishes, drivers: &[&str], present: &Present) -> Result<InitPreseed, String> {
    let mut preseed = InitPreseed::default();
    listen(wishes, &mut preseed)?;
    let mut profile = ProfilesPost {
        name: "default".into(),
        ..ProfilesPost::default()
    };
    if let Some(pool) = pool(wishes, drivers, present, &mut preseed)?
        && !present.has_device(|device| device.get("type").is_some_and(|t| t == "disk") && is_root(device))
    {
        profile.devices.insert(
            "root".into(),
            device(&[("path", "/"), ("pool", &pool), ("type", "disk")]),
        );
    }
    if !present.has_network {
        preseed.networks.push(bridge(BRIDGE, "auto", "auto"));
        if !present.has_device(|device| device.get("type").is_some_and(|t| t == "nic")) {
            profile.devices.insert("eth0".into(), nic(BRIDGE));
        }
    }
    if !profile.devices.is_empty() {
        preseed.profiles.push(profile);
    }
    Ok(preseed)
}

fn listen(wishes: &Wishes, preseed: &mut InitPreseed) -> Result<(), String> {
    match &wishes.address {
        Some(address) => {
            preseed.config.insert(
                "core.https_address".into(),
                listen_address(address, wishes.port.unwrap_or(8443)).into(),
            );
        }
        None if wishes.port.is_some() => {
            return Err("--network-port can't be used without --network-address".into());
        }
        None if wishes.password.is_some() => {
            return Err("--trust-password can't be used without --network-address".into());
        }
        None => {}
    }
    if let Some(password) = &wishes.password {
        preseed
            .config
            .insert("core.trust_password".into(), Value::String(password.clone()));
    }
    Ok(())
}

/// Address and port as the server's configuration has them; `all` is every address.
pub(super) fn listen_address(address: &str, port: i64) -> String {
    match address {
        "all" | "" => format!("[::]:{port}"),
        address if address.contains(':') && !address.starts_with('[') => format!("[{address}]:{port}"),
        address => format!("{address}:{port}"),
    }
}

/// The pool to use, made where it is not there.
fn pool(
    wishes: &Wishes,
    drivers: &[&str],
    present: &Present,
    preseed: &mut InitPreseed,
) -> Result<Option<String>, String> {
    if let Some(backend) = &wishes.backend
        && !drivers.contains(&backend.as_str())
    {
        return Err(format!(
            "The requested backend '{backend}' isn't supported by lxd init"
        ));
    }
    if wishes.backend.as_deref() == Some("dir") && (wishes.device.is_some() || wishes.loop_size.is_some()) {
        return Err(
            "None of --storage-pool, --storage-create-device or --storage-create-loop may be used with the \
                    'dir' backend"
                .into(),
        );
    }
    if wishes.device.is_some() && wishes.loop_size.is_some() {
        return Err("Only one of --storage-create-device or --storage-create-loop can be specified".into());
    }
    let name = wishes.pool.as_deref().unwrap_or(POOL);
    if present.pools.iter().any(|pool| pool == name) {
        return Ok(Some(name.to_owned()));
    }
    if !present.pools.is_empty() && wishes.pool.is_none() && wishes.backend.is_none() {
        return Ok(None);
    }
    let driver = wishes.backend.as_deref().unwrap_or_else(|| best_driver(drivers));
    let mut config = BTreeMap::new();
    if let Some(device) = &wishes.device {
        config.insert("source".into(), device.clone());
    }
    if let Some(size) = wishes.loop_size {
        config.insert("size".into(), format!("{size}GB"));
    }
    let pool = StoragePoolsPost {
        name: name.into(),
        driver: driver.into(),
        config,
        ..StoragePoolsPost::default()
    };
    preseed.storage_pools.push(pool);
    Ok(Some(name.to_owned()))
}

/// A managed bridge.
pub(super) fn bridge(name: &str, ipv4: &str, ipv6: &str) -> InitNetworksProjectPost {
    let config = [("ipv4.address", ipv4), ("ipv6.address", ipv6)];
    InitNetworksProjectPost {
        name: name.into(),
        project: "default".into(),
        config: config
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .into(),
        ..InitNetworksProjectPost::default()
    }
}

/// A network card on a managed network.
pub(super) fn nic(network: &str) -> Device {
    device(&[("type", "nic"), ("name", "eth0"), ("network", network)])
}

/// A device of a profile.
pub(super) fn device(pairs: &[(&str, &str)]) -> Device {
    pairs
        .iter()
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
        .collect()
}

fn is_root(device: &Device) -> bool {
    device.get("path").is_some_and(|path| path == "/")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(value: &str) -> Option<String> {
        Some(value.to_owned())
    }

    #[test]
    fn a_fresh_server_gets_a_pool_a_bridge_and_a_profile_with_both() {
        let preseed = decide(&Wishes::default(), &["dir", "overlay"], &Present::default()).unwrap();
        assert_eq!(preseed.storage_pools[0].driver, "overlay");
        assert_eq!(preseed.networks[0].name, "lxdbr0");
        let devices = &preseed.profiles[0].devices;
        assert_eq!(devices["root"]["pool"], "default");
        assert_eq!(devices["eth0"]["network"], "lxdbr0");
        assert!(preseed.config.is_empty());
    }

    #[test]
    fn what_is_there_is_left_alone() {
        let mut profile = ProfilesPost::default();
        profile
            .devices
            .insert("root".into(), device(&[("type", "disk"), ("path", "/")]));
        let present = Present {
            pools: vec!["p".into()],
            has_network: true,
            profile,
            ..Present::default()
        };
        let preseed = decide(&Wishes::default(), &["dir"], &present).unwrap();
        assert_eq!(preseed, InitPreseed::default());
    }

    #[test]
    fn flags_are_followed_or_refused() {
        let wishes = Wishes {
            address: text("::1"),
            port: Some(9000),
            password: text("foo"),
            backend: text("dir"),
            pool: text("p"),
            ..Wishes::default()
        };
        let preseed = decide(&wishes, &["dir", "overlay"], &Present::default()).unwrap();
        assert_eq!(preseed.config["core.https_address"], "[::1]:9000");
        assert_eq!(preseed.config["core.trust_password"], "foo");
        assert_eq!(
            (
                preseed.storage_pools[0].name.as_str(),
                preseed.storage_pools[0].driver.as_str()
            ),
            ("p", "dir")
        );
        for wrong in [
            Wishes {
                backend: text("zfs"),
                ..Wishes::default()
            },
            Wishes {
                port: Some(1),
                ..Wishes::default()
            },
            Wishes {
                password: text("x"),
                ..Wishes::default()
            },
            Wishes {
                backend: text("dir"),
                loop_size: Some(5),
                ..Wishes::default()
            },
            Wishes {
                device: text("/dev/x"),
                loop_size: Some(5),
                ..Wishes::default()
            },
        ] {
            assert!(
                decide(&wrong, &["dir"], &Present::default()).is_err(),
                "{wrong:?}"
            );
        }
        assert_eq!(listen_address("all", 8443), "[::]:8443");
    }
}
