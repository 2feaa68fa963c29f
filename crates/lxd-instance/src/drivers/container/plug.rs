//! Devices that come to a running container and go again: mounts, device nodes, network cards, block limits.

use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use liblxc::nic::{Kind, Nic};
use lxd_sys::cgroup::{DeviceRule, Throttle, Version, Write};
use lxd_sys::netlink::{self, Socket};
use lxd_sys::{mount, process};

use super::blocking;
use super::config::{self, DEVICES};
use super::guest::Container;
use crate::devices::{Mount, Plan, nic};
use crate::drivers::Guest;
use crate::error::Error;
use crate::instance::{Instance, InstancePaths};

/// Makes the names of mounts on their way in differ from each other.
static NUMBER: AtomicU32 = AtomicU32::new(0);

impl Container {
    /// Gives the container everything of a plan; what was done is undone when something fails.
    pub(super) async fn plug(&self, instance: &Instance, plan: &Plan) -> Result<(), Error> {
        let mut done = Plan::new(&plan.device);
        let plugged = self.plug_steps(instance, plan, &mut done).await;
        if plugged.is_err() {
            for error in self.unplug(instance, &done).await {
                tracing::warn!(instance = %self.key, device = plan.device, %error, "Failed to undo a part of a device");
            }
        }
        plugged
    }

    async fn plug_steps(&self, instance: &Instance, plan: &Plan, done: &mut Plan) -> Result<(), Error> {
        for rule in &plan.rules {
            self.permit(instance, *rule, "allow").await?;
            done.rules.push(*rule);
        }
        for mount in &plan.mounts {
            self.inject(instance, mount).await?;
            done.mounts.push(mount.clone());
        }
        if !plan.cards.is_empty() {
            done.cards.clone_from(&plan.cards);
            let (_, log, _) = config::files(instance);
            self.shared
                .helper
                .plug_cards(self.pid(), &log, &plan.cards)
                .await?;
            self.prioritise_plans(instance, std::slice::from_ref(plan))
                .await?;
        }
        if !plan.throttles.is_empty() {
            self.limit(&plan.throttles).await?;
        }
        self.announce(instance, plan).await;
        Ok(())
    }

    /// Takes everything of a plan out of the container.
    pub(super) async fn unplug(&self, instance: &Instance, plan: &Plan) -> Vec<Error> {
        let mut errors = Vec::new();
        for mount in plan.mounts.iter().rev() {
            errors.extend(self.eject(instance, mount).await.err());
        }
        for rule in &plan.rules {
            errors.extend(self.permit(instance, *rule, "deny").await.err());
        }
        if !plan.cards.is_empty() {
            let (cards, pid) = (plan.cards.clone(), self.pid());
            errors.extend(blocking(move || take_cards(&cards, pid)).await.err());
        }
        let open: Vec<Throttle> = plan
            .throttles
            .iter()
            .map(|throttle| Throttle::open(throttle.device))
            .collect();
        if !open.is_empty() {
            errors.extend(self.limit(&open).await.err());
        }
        self.announce(instance, plan).await;
        errors
    }

    /// Limits what the container reads and writes of block devices.
    pub(super) async fn limit(&self, throttles: &[Throttle]) -> Result<(), Error> {
        let mut writes = Vec::new();
        for throttle in throttles {
            let missing = Error::MissingController { controller: "blkio" };
            writes.extend(throttle.writes(&self.shared.cgroups, true).ok_or(missing)?);
        }
        let group = self.group.clone();
        let written = blocking(move || Ok(writes.iter().try_for_each(|write| group.write(write)))).await?;
        written.map_err(|source| self.cgroup_error("change the limits of", source))
    }

    /// Lets the container use a device, or not any more.
    ///
    /// Only privileged ones have a list of devices; those that every container may use stay on it.
    async fn permit(&self, instance: &Instance, rule: DeviceRule, verb: &'static str) -> Result<(), Error> {
        let text = rule.to_string();
        if instance.idmap.is_some() || DEVICES.contains(&text.as_str()) {
            return Ok(());
        }
        let (file, key) = match verb {
            "allow" => ("devices.allow", "devices.allow"),
            _ => ("devices.deny", "devices.deny"),
        };
        if self.shared.cgroups.version("devices") == Some(Version::V1) {
            let write = Write {
                version: Version::V1,
                controller: "devices",
                file,
                value: text,
            };
            let group = self.group.clone();
            let written = blocking(move || Ok(group.write(&write))).await?;
            return written.map_err(|source| self.cgroup_error("change the devices of", source));
        }
        let (name, folder) = (self.key.prefixed(), &instance.paths.containers);
        self.shared.helper.set_cgroup(&name, folder, key, &text).await
    }

    /// Shows a copy of a mount inside: through the folder of shared mounts, because mounts that arrive that way have their
    /// options locked, so that nobody inside makes a read-only one writable.
    pub(super) async fn inject(&self, instance: &Instance, wanted: &Mount) -> Result<(), Error> {
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("lxdmount_{}_{number}", std::process::id());
        let place = instance.paths.shmounts.join(&name);
        let (on_host, owned) = (place.clone(), wanted.clone());
        let made = blocking(move || show(&owned, on_host)).await;
        let moved = match made {
            Ok(()) => {
                let target = format!("/{}", wanted.target.display());
                let kind = if wanted.is_file { "file" } else { "dir" };
                let (spaces, namespaces) = self.namespaces(instance, "mnt")?;
                let words = ["mount", &name, &target, kind, &wanted.propagation, spaces];
                self.shared.helper.inside(&words, namespaces).await
            }
            Err(error) => Err(error),
        };
        let gone = blocking(move || hide(place)).await;
        moved.and(gone)
    }

    pub(super) async fn eject(&self, instance: &Instance, wanted: &Mount) -> Result<(), Error> {
        let target = format!("/{}", wanted.target.display());
        let (spaces, namespaces) = self.namespaces(instance, "mnt")?;
        let removes = if wanted.removes_target { "remove" } else { "keep" };
        let words = ["unmount", &target, removes, spaces];
        self.shared.helper.inside(&words, namespaces).await
    }

    /// Tells processes inside what comes or goes. A kernel that lets nobody do so (before Linux 4.18) leaves them to look.
    async fn announce(&self, instance: &Instance, plan: &Plan) {
        for event in &plan.uevents {
            if let Err(error) = self.tell(instance, event).await {
                tracing::debug!(instance = %self.key, device = plan.device, %error, "Nobody inside is told of a device");
            }
        }
    }

    /// Tells processes inside of an event of the kernel.
    async fn tell(&self, instance: &Instance, event: &[String]) -> Result<(), Error> {
        let (spaces, namespaces) = self.namespaces(instance, "net")?;
        let mut words = vec!["uevent", spaces];
        words.extend(event.iter().map(String::as_str));
        self.shared.helper.inside(&words, namespaces).await
    }

    /// The container's namespaces for the helper, with a letter for each.
    fn namespaces(&self, instance: &Instance, kind: &str) -> Result<(&'static str, Vec<OwnedFd>), Error> {
        let init = self.init();
        let kinds: &[&str] = match instance.idmap {
            Some(_) => &["user", kind],
            None => &[kind],
        };
        let open = |kind: &&str| process::namespace(init.pid(), kind).map(OwnedFd::from);
        let opened: std::io::Result<Vec<OwnedFd>> = kinds.iter().map(open).collect();
        let opened = opened.map_err(|source| self.process_error("enter the namespaces of", source))?;
        // The descriptors are of this init: its number can't be another process's while it has not ended.
        if init.has_ended() {
            return Err(Error::Gone(self.key.clone()));
        }
        Ok((if kinds.len() == 2 { "us" } else { "s" }, opened))
    }
}

/// Takes away the mounts of disks that were on their way into an instance when a daemon died. Guests have copies of those
/// that have arrived.
pub(super) fn clear_transit(paths: &[InstancePaths]) {
    let is_transit = |target: &Path| {
        let name = target.file_name().unwrap_or_default().to_string_lossy();
        let is_in = |paths: &InstancePaths| {
            let parent = target.parent();
            parent == Some(&paths.shmounts) || parent == Some(&paths.devices) && name.starts_with("disk.")
        };
        paths.iter().any(is_in)
    };
    for mount in mount::mounts().unwrap_or_default().into_iter().rev() {
        if !is_transit(&mount.target) {
            continue;
        }
        let is_shared = paths
            .iter()
            .any(|paths| mount.target.parent() == Some(&paths.shmounts));
        let cleared = match is_shared {
            true => hide(mount.target),
            false => mount::detach(&mount.target).map_err(Error::Mount),
        };
        if let Err(error) = cleared {
            tracing::warn!(%error, "A mount that was on its way into an instance stays");
        }
    }
}

/// Attaches a copy of a mount at a new place.
fn show(wanted: &Mount, place: PathBuf) -> Result<(), Error> {
    let made = match wanted.is_file {
        true => std::fs::File::create(&place).map(drop),
        false => std::fs::create_dir(&place),
    };
    made.map_err(Error::file("create", &place))?;
    let tree = mount::open_tree(&wanted.source, wanted.recursive).map_err(Error::Mount)?;
    if wanted.read_only {
        mount::set_read_only(tree.as_fd(), wanted.recursive).map_err(Error::Mount)?;
    }
    mount::attach(tree.as_fd(), &place).map_err(Error::Mount)
}

/// Undoes [`show`].
fn hide(place: PathBuf) -> Result<(), Error> {
    mount::detach(&place).map_err(Error::Mount)?;
    let removed = match place.is_dir() {
        true => std::fs::remove_dir(&place),
        false => std::fs::remove_file(&place),
    };
    match removed {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(Error::file("remove", &place)(error))
        }
        _ => Ok(()),
    }
}

/// Takes cards out of a container: pairs by their ends on the host, the host's own by moving them back. What is gone is fine.
fn take_cards(cards: &[Nic], pid: i32) -> Result<(), Error> {
    let failed = |source: lxd_sys::netlink::Error| Error::Card(source);
    let mut socket = Socket::open().map_err(failed)?;
    let links = socket.links().map_err(failed)?;
    for card in cards {
        match card.kind {
            Kind::Veth if links.iter().any(|link| link.name == card.host_name) => {
                socket.delete_link(&card.host_name).map_err(failed)?;
            }
            Kind::Veth => {}
            Kind::Moved => {
                let namespace = process::namespace(pid, "net")
                    .map_err(netlink::Error::Namespace)
                    .map_err(failed)?;
                nic::take_back(namespace.as_fd(), &card.name, &card.host_name).map_err(failed)?;
            }
            Kind::Macvlan | Kind::IpvlanL2 | Kind::IpvlanL3s => {
                let namespace = process::namespace(pid, "net")
                    .map_err(netlink::Error::Namespace)
                    .map_err(failed)?;
                let mut inside = Socket::open_in(namespace.as_fd()).map_err(failed)?;
                inside.delete_link(&card.name).map_err(failed)?;
            }
        }
    }
    Ok(())
}
