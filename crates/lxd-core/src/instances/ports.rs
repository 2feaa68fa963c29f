//! What instances need of storage and networks, joined with the crates that can do it.

use std::sync::{Arc, OnceLock, Weak};

use futures::future::BoxFuture;
use lxd_instance::Instance;
use lxd_instance::ports::{
    CustomVolume, Forward, Network, NicDevice, NicHost, PortError, PortResult, RootVolume, Storage,
};
use lxd_model::devices::{property, root_disk};
use lxd_storage::{Pool, Volume};

use super::{cards, volumes};
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
        port(async move { volumes::make_ready(&self.app()?, instance, (pool, name)).await })
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

impl Network for Ports {
    fn prepare_nic<'a>(&'a self, nic: NicDevice<'a>) -> BoxFuture<'a, PortResult<NicHost>> {
        port(async move { cards::prepare(&*self.app()?, nic).await })
    }

    fn nic_started<'a>(&'a self, nic: NicDevice<'a>) -> BoxFuture<'a, PortResult<()>> {
        port(async move { Ok(self.app()?.networks.card_started(&cards::plain(nic)).await?) })
    }

    fn nic_changed<'a>(&'a self, old: NicDevice<'a>, new: NicDevice<'a>) -> BoxFuture<'a, PortResult<()>> {
        port(async move { cards::change(&*self.app()?, old, new).await })
    }

    fn nic_stopped<'a>(&'a self, nic: NicDevice<'a>) -> BoxFuture<'a, PortResult<()>> {
        port(async move { cards::gone(&*self.app()?, nic).await })
    }

    fn forward<'a>(
        &'a self,
        instance: &'a Instance,
        device: &'a str,
        forward: Option<&'a Forward>,
    ) -> BoxFuture<'a, PortResult<()>> {
        port(async move { cards::forward(&*self.app()?, instance, device, forward).await })
    }
}

/// Work of this crate as a port answers it.
fn port<'a, T: 'a>(work: impl Future<Output = Result<T>> + Send + 'a) -> BoxFuture<'a, PortResult<T>> {
    Box::pin(async move { work.await.map_err(|error| PortError::new(error.kind(), error)) })
}
