//! What runs on this server, and who may change what at the same time.

use std::collections::HashMap;
use std::path::Path;
#[cfg(not(test))]
use std::path::PathBuf;
use std::sync::{Arc, Weak};

use lxd_instance::ports::{Network, Storage};
use lxd_instance::{Event, Instances, Key};
use lxd_model::idmap::{self, Range};
use parking_lot::Mutex;
use tokio::sync::mpsc::UnboundedReceiver;

use super::ports::Ports;
use crate::app::App;
use crate::error::{Context as _, Result};
use crate::paths::Paths;

/// Where the distribution keeps liblxc's common configuration, unless `LXD_LXC_TEMPLATE_CONFIG` says otherwise.
#[cfg(not(test))]
const LXC_TEMPLATE: &str = "/usr/share/lxc/config";

/// The instances that run, as `App` holds them.
pub struct Runtime {
    /// The door to what runs.
    pub registry: Instances,
    /// The ids that unprivileged containers may have; none if the host gives root none.
    pub host_ids: Option<Range>,
    ports: Arc<Ports>,
    locks: Locks,
    owed: Mutex<Vec<Key>>,
    events: Mutex<Option<UnboundedReceiver<Event>>>,
}

impl Runtime {
    /// Prepares; nothing runs yet as far as this is concerned.
    ///
    /// # Errors
    /// The socket for hooks can't be made, or the machine not be looked at.
    pub fn new(paths: &Paths) -> Result<Self> {
        let ports = Arc::new(Ports::default());
        let made = registry(paths, ports.clone(), ports.clone());
        let (registry, events) = made.context("Failed preparing for instances")?;
        Ok(Self::with(registry, events, ports))
    }

    pub(super) fn with(registry: Instances, events: UnboundedReceiver<Event>, ports: Arc<Ports>) -> Self {
        Self {
            registry,
            host_ids: host_ids(Path::new("/etc")),
            ports,
            locks: Locks::default(),
            owed: Mutex::default(),
            events: Mutex::new(Some(events)),
        }
    }

    /// Lets instances reach storage and networks. Once, when the daemon's parts are together.
    pub fn connect(&self, app: &Arc<App>) {
        self.ports.connect(Arc::downgrade(app) as Weak<App>);
    }

    /// Waits until nobody else changes the instance, and keeps others out until the guard is dropped.
    pub(crate) async fn lock(&self, key: &Key) -> Guard {
        let held = self.locks.lock(key).await;
        self.registry.end_stopped_files(key);
        held
    }

    /// Whether an instance runs, also while it is frozen.
    pub(crate) fn is_running(&self, key: &Key) -> bool {
        self.registry.phase(key).is_running()
    }

    /// Like [`Runtime::lock`], for whoever is about to look at files.
    pub(super) async fn lock_for_files(&self, key: &Key) -> Guard {
        self.locks.lock(key).await
    }

    /// Lets an instance start when the networks are up: a work that was taken up again has stopped it.
    pub(super) fn owe_start(&self, key: &Key) {
        self.owed.lock().push(key.clone());
    }

    /// The instances that are to start because of [`Self::owe_start`].
    pub(super) fn take_owed(&self) -> Vec<Key> {
        std::mem::take(&mut self.owed.lock())
    }

    pub(super) fn take_events(&self) -> Option<UnboundedReceiver<Event>> {
        self.events.lock().take()
    }
}

type Made = Result<(Instances, UnboundedReceiver<Event>), lxd_instance::Error>;

#[cfg(not(test))]
fn registry(paths: &Paths, storage: Arc<dyn Storage>, network: Arc<dyn Network>) -> Made {
    let settings = lxd_instance::Settings {
        helper: helper(),
        hook_socket: paths.root().join("hooks.socket"),
        seccomp_socket: paths.root().join("seccomp.socket"),
        devlxd: paths.devlxd(),
        lxc_template: std::env::var_os("LXD_LXC_TEMPLATE_CONFIG")
            .filter(|folder| !folder.is_empty())
            .map_or_else(|| LXC_TEMPLATE.into(), Into::into),
    };
    Instances::new(settings, storage, network)
}

/// In the tests of this crate instances run nowhere.
#[cfg(test)]
fn registry(paths: &Paths, storage: Arc<dyn Storage>, network: Arc<dyn Network>) -> Made {
    let driver = Arc::new(lxd_instance::drivers::mock::MockDriver::default());
    Instances::mock(driver, &paths.root().join("hooks.socket"), storage, network)
}

/// The helper program: beside the daemon, or where distributions put such programs.
#[cfg(not(test))]
fn helper() -> PathBuf {
    let beside = std::env::current_exe()
        .ok()
        .and_then(|program| Some(program.parent()?.to_owned()));
    let candidates = beside
        .iter()
        .flat_map(|folder| [folder.join("lxd-helper"), folder.join("../lxd-helper")]);
    let found = candidates.into_iter().find(|program| program.is_file());
    found.unwrap_or_else(|| PathBuf::from("/usr/lib/lxd/lxd-helper"))
}

fn host_ids(etc: &Path) -> Option<Range> {
    let read = |name: &str| std::fs::read_to_string(etc.join(name)).unwrap_or_default();
    let ids = ["uid_map", "gid_map"].map(|name| {
        let map = std::fs::read_to_string(Path::new("/proc/self").join(name));
        // A kernel without user namespaces has all ids.
        map.map_or(i64::from(u32::MAX), |text| idmap::ids_from_zero(&text))
    });
    idmap::host_range(&read("subuid"), &read("subgid"), ids[0].min(ids[1]))
}

type Lock = Arc<tokio::sync::Mutex<()>>;

/// One lock for each instance that somebody changes, or waits to change.
#[derive(Default)]
struct Locks(Arc<Mutex<HashMap<Key, Lock>>>);

/// The right to change one instance.
pub(crate) struct Guard {
    held: Option<tokio::sync::OwnedMutexGuard<()>>,
    key: Key,
    locks: Arc<Mutex<HashMap<Key, Lock>>>,
}

impl Locks {
    async fn lock(&self, key: &Key) -> Guard {
        let lock = Arc::clone(self.0.lock().entry(key.clone()).or_default());
        Guard {
            held: Some(lock.lock_owned().await),
            key: key.clone(),
            locks: Arc::clone(&self.0),
        }
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.held = None;
        let mut locks = self.locks.lock();
        // The map's own reference is the last one when nobody waits.
        if locks
            .get(&self.key)
            .is_some_and(|lock| Arc::strong_count(lock) == 1)
        {
            locks.remove(&self.key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn one_at_a_time_and_nothing_is_kept() {
        let locks = Locks::default();
        let (a, b) = (Key::new("default", "a"), Key::new("default", "b"));
        let first = locks.lock(&a).await;
        let other = locks.lock(&b).await;
        let waiting = locks.lock(&a);
        tokio::pin!(waiting);
        assert!(futures::poll!(&mut waiting).is_pending());
        drop(first);
        drop(waiting.await);
        drop(other);
        assert!(locks.0.lock().is_empty());
    }

    #[test]
    fn the_hosts_ids_are_those_of_root() {
        let etc = tempfile::tempdir().unwrap();
        assert_eq!(host_ids(etc.path()).map(|range| range.base), Some(1_000_000));
        for name in ["subuid", "subgid"] {
            std::fs::write(etc.path().join(name), "root:100000:65536\n").unwrap();
        }
        let range = host_ids(etc.path()).unwrap();
        assert_eq!((range.base, range.size), (100_000, 65_536));
    }
}
