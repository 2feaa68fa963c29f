//! What instances need of storage and networks, joined with the crates that can do it.

use std::sync::{Arc, OnceLock, Weak};

use futures::future::BoxFuture;
use lxd_db::cluster::projects::{self, Feature};
use lxd_db::cluster::{ContentType, VolumeType, networks, projects::DEFAULT, storage_volumes};
use lxd_instance::Instance;
use lxd_instance::ports::{
    CustomVolume, Network, NicDevice, NicHost, PortError, PortResult, RootVolume, Storage,
};
use lxd_model::ErrorKind;
use lxd_model::devices::{Device, property, root_disk};
use lxd_network::Error as NetworkError;
use lxd_network::dnsmasq::HostEntry;
use lxd_storage::{Pool, Volume};

use crate::app::App;
use crate::error::{Error, Result};

/// Storage and networks of the daemon, for its instances.
#[derive(Default)]
pub(super) struct Ports(OnceLock<Weak<App>>);

impl Ports {
    pub(super) fn connect(&self, app: Weak<App>) {
        // Whoever comes second is the same daemon.
        let _ = self.0.set(app);
    }

    fn app(&self) -> Result<Arc<App>> {
        let app = self.0.get().and_then(Weak::upgrade);
        app.ok_or_else(|| Error::unavailable("LXD is shutting down"))
    }
}

/// The pool and the volume of an instance's root.
pub(super) fn root_volume(app: &App, instance: &Instance) -> Result<(Pool, Volume)> {
    let (_, root) = root_disk(&instance.devices)?;
    let pool = app.pools.get(property(root, "pool"))?;
    Ok((pool, Volume::container(&instance.key.project, &instance.key.name)))
}

impl Storage for Ports {
    fn mount_root<'a>(&'a self, instance: &'a Instance) -> BoxFuture<'a, PortResult<RootVolume>> {
        port(async move { mount_root(&*self.app()?, instance).await })
    }

    fn unmount_root<'a>(&'a self, instance: &'a Instance) -> BoxFuture<'a, PortResult<()>> {
        port(async move {
            let app = self.app()?;
            let (pool, volume) = root_volume(&app, instance)?;
            Ok(pool.unmount_instance(&volume).await?)
        })
    }

    fn mount_volume<'a>(
        &'a self,
        instance: &'a Instance,
        pool: &'a str,
        name: &'a str,
    ) -> BoxFuture<'a, PortResult<CustomVolume>> {
        port(async move { custom_volume(&*self.app()?, instance, (pool, name)).await })
    }

    fn unmount_volume<'a>(
        &'a self,
        _instance: &'a Instance,
        _pool: &'a str,
        _name: &'a str,
    ) -> BoxFuture<'a, PortResult<()>> {
        // A volume's folder is always there; who shows it has mounts of its own.
        Box::pin(async { Ok(()) })
    }

    fn root_usage<'a>(&'a self, instance: &'a Instance) -> BoxFuture<'a, PortResult<Option<u64>>> {
        port(async move {
            let app = self.app()?;
            let (pool, volume) = root_volume(&app, instance)?;
            Ok(pool.usage(&volume).await?)
        })
    }
}

async fn mount_root(app: &App, instance: &Instance) -> Result<RootVolume> {
    let (pool, volume) = root_volume(app, instance)?;
    let on_disk = instance
        .config("volatile.last_state.idmap")
        .filter(|map| *map != "[]");
    // The reference shifts files on disk where it can't map mounts; a map that is in the files already needs no other.
    let ids = match on_disk {
        Some(map) if instance.config("volatile.idmap.next") == Some(map) => None,
        Some(_) => {
            return Err(Error::not_implemented(
                "Failed to handle idmapped storage: the files belong to another id map",
            ));
        }
        None => instance.idmap.clone(),
    };
    let wants_map = ids.is_some();
    let mounted = pool.mount_instance(&volume, ids).await?;
    Ok(RootVolume {
        rootfs: mounted.rootfs,
        needs_idmap: wants_map && !mounted.mapped,
        volatile: Vec::new(),
    })
}

/// A volume that a user made, for a disk of an instance.
async fn custom_volume(app: &App, instance: &Instance, (pool, name): (&str, &str)) -> Result<CustomVolume> {
    let mut tx = app.cluster.read().await?;
    let home = projects::effective(&mut tx, &instance.key.project, Feature::StorageVolumes).await?;
    let key = storage_volumes::Key {
        pool,
        project: &home,
        kind: VolumeType::Custom,
        name,
    };
    let row = match storage_volumes::get(&mut tx, key).await {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            return Err(Error::not_found(
                "Failed loading custom volume: Storage volume not found",
            ));
        }
        found => found?,
    };
    drop(tx);
    if row.content_type == ContentType::Block {
        return Err(Error::bad_request(
            "Custom block volumes cannot be used on containers",
        ));
    }
    let is_on = |key: &str| {
        row.config
            .get(key)
            .is_some_and(|value| lxd_model::config::is_true(value))
    };
    // The reference shifts the files of a volume that is not `security.shifted` on disk, and notes the map.
    let on_disk = row
        .config
        .get("volatile.idmap.last")
        .filter(|map| *map != "[]" && !map.is_empty());
    let needs_idmap = match on_disk {
        _ if is_on("security.unmapped") => false,
        None => true,
        Some(map) if instance.config("volatile.idmap.next") == Some(map) => false,
        Some(_) => {
            return Err(Error::not_implemented(format!(
                "The files of storage volume {name:?} belong to another id map"
            )));
        }
    };
    Ok(CustomVolume {
        path: app.pools.get(pool)?.volume_path(&Volume::custom(&home, name)),
        needs_idmap,
    })
}

impl Network for Ports {
    fn prepare_nic<'a>(&'a self, nic: NicDevice<'a>) -> BoxFuture<'a, PortResult<NicHost>> {
        port(async move { prepare_nic(&*self.app()?, nic).await })
    }

    fn nic_started<'a>(&'a self, _nic: NicDevice<'a>) -> BoxFuture<'a, PortResult<()>> {
        // The helper makes the card a port of its bridge before it is up; nothing is left to be done.
        Box::pin(async { Ok(()) })
    }

    fn nic_stopped<'a>(&'a self, _nic: NicDevice<'a>) -> BoxFuture<'a, PortResult<()>> {
        // The card goes with its network namespace; its name and lease stay until the instance is deleted.
        Box::pin(async { Ok(()) })
    }
}

async fn prepare_nic(app: &App, nic: NicDevice<'_>) -> Result<NicHost> {
    let Some(device) = nic.instance.devices.get(nic.device) else {
        return Ok(NicHost::default());
    };
    let Some(bridge) = bridge_of(device) else {
        return Ok(NicHost::default());
    };
    if let Some(network) = managed(app, &nic.instance.key.project, device).await? {
        let driver = app.networks.driver(network.kind.as_str())?;
        let entry = host_entry(nic.instance, nic.device, device, nic.hwaddr);
        driver.add_hosts(&value(&network), &[entry]).await?;
    }
    let mtu = match lxd_network::nic::mtu(bridge).await {
        Err(NetworkError::NoInterface(name)) => {
            return Err(Error::bad_request(format!(
                "Parent device {name:?} doesn't exist"
            )));
        }
        found => found?,
    };
    Ok(NicHost {
        master: Some(bridge.to_owned()),
        mtu: Some(mtu),
    })
}

/// The bridge that a card is a port of; none for other kinds of cards.
fn bridge_of(device: &Device) -> Option<&str> {
    match (property(device, "network"), property(device, "nictype")) {
        ("", "bridged") => Some(property(device, "parent")).filter(|parent| !parent.is_empty()),
        ("", _) => None,
        (network, _) => Some(network),
    }
}

/// The managed network behind a card: by its `network`, or by the name of its `parent`.
async fn managed(app: &App, project: &str, device: &Device) -> Result<Option<networks::Network>> {
    let Some(bridge) = bridge_of(device) else {
        return Ok(None);
    };
    let mut tx = app.cluster.read().await?;
    let is_named = !property(device, "network").is_empty();
    let home = if is_named {
        projects::effective(&mut tx, project, Feature::Networks).await?
    } else {
        DEFAULT.to_owned()
    };
    match networks::get(&mut tx, &home, bridge, app.cluster.node_id()).await {
        Ok(network) => Ok(Some(network)),
        Err(error) if error.kind() == ErrorKind::NotFound && !is_named => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn value(row: &networks::Network) -> lxd_network::Network {
    lxd_network::Network {
        id: row.id,
        name: row.name.clone(),
        description: row.description.clone(),
        config: row.config.clone(),
    }
}

fn host_entry(instance: &Instance, name: &str, device: &Device, hwaddr: &str) -> HostEntry {
    let own = property(device, "hwaddr");
    HostEntry {
        project: instance.key.project.clone(),
        instance: instance.key.name.clone(),
        device: name.to_owned(),
        hwaddr: if own.is_empty() { hwaddr } else { own }.to_owned(),
        ipv4: property(device, "ipv4.address").parse().ok(),
        ipv6: property(device, "ipv6.address").parse().ok(),
    }
}

/// Lets managed networks forget the cards of an instance that is gone or has another name. What is gone already is fine.
///
/// # Errors
/// A network that can't forget; the others have.
pub(super) async fn forget_cards(app: &App, instance: &Instance) -> Result<()> {
    let mut outcome = Ok(());
    let cards = instance
        .devices
        .iter()
        .filter(|(_, device)| property(device, "type") == "nic");
    for (name, device) in cards {
        let hwaddr = instance.volatile(name, "hwaddr").unwrap_or_default();
        let Ok(Some(network)) = managed(app, &instance.key.project, device).await else {
            continue;
        };
        let entry = host_entry(instance, name, device, hwaddr);
        let driver = app.networks.driver(network.kind.as_str())?;
        if let Err(error) = driver.remove_host(&value(&network), &entry).await {
            outcome = Err(error.into());
        }
    }
    outcome
}

/// Work of this crate as a port answers it.
fn port<'a, T: 'a>(work: impl Future<Output = Result<T>> + Send + 'a) -> BoxFuture<'a, PortResult<T>> {
    Box::pin(async move { work.await.map_err(|error| PortError::new(error.kind(), error)) })
}
