//! Device nodes: `unix-char` and `unix-block` by path or number, `usb`, `unix-hotplug` and `gpu` by what the hardware says.
//!
//! All are the same thing: a set of nodes that the host has now, each made anew in the instance's folder of devices with
//! the instance's owner and mode, and shown inside. What a guest has is what that folder holds, so it is known after a
//! restart of the daemon, too.

mod gpu;
mod hardware;
mod hotplug;
mod node;
mod path;
mod usb;

use std::sync::Arc;

use futures::future::BoxFuture;

use super::{Device, Host, Kind, Plan, Watches};
use crate::drivers::Guest;
use crate::drivers::container::blocking;
use crate::error::Error;
pub(crate) use node::{Node, clear as remove_nodes, made as nodes_of};

/// A kind whose devices are nodes.
pub struct Nodes {
    /// The nodes that the host has for a device.
    find: fn(&Device) -> Result<Vec<Node>, Error>,
    /// Whether a start fails without any.
    is_required: fn(&Device) -> bool,
    /// What it says then.
    missing: &'static str,
    watches: fn(&Device) -> Watches,
}

/// `unix-char` and `unix-block`.
pub static PATH: Nodes = Nodes {
    find: path::find,
    is_required: |device| !device.is_unset("required"),
    missing: "The required device path doesn't exist and the major and minor settings are not specified",
    watches: path::watches,
};

/// `usb`.
pub static USB: Nodes = Nodes {
    find: usb::find,
    is_required: |device| device.is_set("required"),
    missing: "Required USB device not found",
    watches: hardware::watches,
};

/// `unix-hotplug`.
pub static HOTPLUG: Nodes = Nodes {
    find: hotplug::find,
    is_required: |device| device.is_set("required"),
    missing: "Required Unix Hotplug device not found",
    watches: hardware::watches,
};

/// `gpu`, whole ones.
pub static GPU: Nodes = Nodes {
    find: gpu::find,
    is_required: |_| true,
    missing: "Failed to detect requested GPU device",
    watches: |_| Watches::default(),
};

impl Kind for Nodes {
    fn check(&self, device: &Device) -> Result<(), Error> {
        node::Owner::of(device).map(drop)
    }

    fn prepare<'a>(&'a self, _host: &'a Host, device: &'a Device) -> BoxFuture<'a, Result<Plan, Error>> {
        let (find, owned) = (self.find, device.clone());
        Box::pin(async move {
            let nodes = blocking(move || {
                let nodes = find(&owned)?;
                node::clear(&owned)?;
                nodes.iter().try_for_each(|node| node.make(&owned))?;
                Ok(nodes)
            });
            let nodes = nodes.await?;
            if nodes.is_empty() && (self.is_required)(device) {
                return Err(Error::DeviceValue(self.missing.into()));
            }
            Ok(plan(device, &nodes))
        })
    }

    fn present<'a>(&'a self, _host: &'a Host, device: &'a Device) -> BoxFuture<'a, Result<Plan, Error>> {
        let owned = device.clone();
        Box::pin(async move {
            let nodes = blocking(move || node::made(&owned)).await?;
            Ok(plan(device, &nodes))
        })
    }

    fn stopped<'a>(&'a self, _host: &'a Host, device: &'a Device) -> BoxFuture<'a, Vec<Error>> {
        let owned = device.clone();
        Box::pin(async move {
            blocking(move || node::clear(&owned))
                .await
                .err()
                .into_iter()
                .collect()
        })
    }

    fn refresh<'a>(
        &'a self,
        _host: &'a Host,
        device: &'a Device,
        guest: &'a Arc<dyn Guest>,
    ) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(async move {
            if (self.watches)(device) == Watches::default() {
                return Ok(());
            }
            let (find, owned) = (self.find, device.clone());
            let (wanted, made) = blocking(move || Ok((find(&owned)?, node::made(&owned)?))).await?;
            let gone: Vec<Node> = made
                .iter()
                .filter(|node| !wanted.contains(node))
                .cloned()
                .collect();
            let new: Vec<Node> = wanted.into_iter().filter(|node| !made.contains(node)).collect();
            remove(device, guest, gone).await?;
            add(device, guest, new).await
        })
    }

    fn watches(&self, device: &Device) -> Watches {
        (self.watches)(device)
    }
}

async fn remove(device: &Device, guest: &Arc<dyn Guest>, gone: Vec<Node>) -> Result<(), Error> {
    if gone.is_empty() {
        return Ok(());
    }
    let mut plan = plan(device, &gone);
    plan.uevents = hardware::events(&gone, "remove");
    let mut left = guest.detach(&device.instance, &plan).await;
    let owned = device.clone();
    let removed = blocking(move || gone.iter().try_for_each(|node| node.remove(&owned))).await;
    left.extend(removed.err());
    left.into_iter().next().map_or(Ok(()), Err)
}

async fn add(device: &Device, guest: &Arc<dyn Guest>, new: Vec<Node>) -> Result<(), Error> {
    if new.is_empty() {
        return Ok(());
    }
    let mut plan = plan(device, &new);
    plan.uevents = hardware::events(&new, "add");
    let (owned, nodes) = (device.clone(), new.clone());
    blocking(move || nodes.iter().try_for_each(|node| node.make(&owned))).await?;
    let added = guest.attach(&device.instance, &plan).await;
    if added.is_err() {
        let owned = device.clone();
        // What stays of it goes with the device.
        let _ = blocking(move || new.iter().try_for_each(|node| node.remove(&owned))).await;
    }
    added
}

/// What a guest has of a device with these nodes.
pub(crate) fn shown(device: &Device, nodes: &[Node]) -> Plan {
    plan(device, nodes)
}

fn plan(device: &Device, nodes: &[Node]) -> Plan {
    Plan {
        mounts: nodes.iter().map(|node| node.mount(device)).collect(),
        rules: nodes.iter().map(Node::rule).collect(),
        ..Plan::new(&device.name)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::path::Path;

    use super::*;
    use crate::instance::tests::plain;

    /// A device of an instance whose files are under `root`.
    pub(crate) fn device(root: &Path, config: &[(&str, &str)]) -> Device {
        Device {
            instance: Arc::new(plain(root, "c1")),
            name: "d".into(),
            config: config
                .iter()
                .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
                .collect(),
        }
    }

    #[test]
    fn only_devices_that_may_be_missing_are_watched() {
        let root = Path::new("/x");
        let optional = device(root, &[("path", "/dev/a"), ("required", "false")]);
        assert_eq!(PATH.watches(&optional).paths, [Path::new("/dev/a")]);
        assert_eq!(
            PATH.watches(&device(root, &[("path", "/dev/a")])),
            Watches::default()
        );
        assert!(USB.watches(&device(root, &[])).hardware);
    }
}
