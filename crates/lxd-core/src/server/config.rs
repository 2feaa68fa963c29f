//! The server's configuration in memory, and who follows its changes.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use futures::future::BoxFuture;
use lxd_db::cluster::Cluster;
use lxd_db::node::Node;
use lxd_model::config::{Config, server::TABLE};
use parking_lot::RwLock;
use tokio::sync::{Mutex, MutexGuard};

use crate::error::Result;

/// A change of the configuration, before it is stored.
#[derive(Debug, Clone, PartialEq)]
pub struct ConfigChange {
    /// All keys before.
    pub old: Config,
    /// All keys after.
    pub new: Config,
    /// The keys that differ.
    pub changed: BTreeSet<String>,
}

impl ConfigChange {
    /// The value of a key before, or its default.
    pub fn before(&self, key: &str) -> &str {
        TABLE.value(&self.old, key)
    }

    /// The value of a key after, or its default.
    pub fn after(&self, key: &str) -> &str {
        TABLE.value(&self.new, key)
    }

    fn reversed(&self) -> Self {
        Self {
            old: self.new.clone(),
            new: self.old.clone(),
            changed: self.changed.clone(),
        }
    }
}

/// Something that follows the configuration, such as a listener.
pub trait ConfigHook: Send + Sync {
    /// Makes a change true; it is stored only if all hooks succeed. If a later hook or the database fails, the same hook
    /// is called with the change reversed.
    fn follow<'a>(&'a self, change: &'a ConfigChange) -> BoxFuture<'a, Result<()>>;
}

struct Registered {
    keys: &'static [&'static str],
    hook: Arc<dyn ConfigHook>,
}

/// The configuration of this server: its own keys and those of the cluster.
pub struct ServerConfig {
    current: RwLock<Arc<Config>>,
    revision: AtomicU64,
    hooks: RwLock<Vec<Registered>>,
    turn: Mutex<()>,
}

impl ServerConfig {
    /// Reads the configuration.
    ///
    /// # Errors
    /// A database can't be read.
    pub async fn load(node: &Node, cluster: &Cluster) -> Result<Self> {
        let mut tx = cluster.read().await?;
        let mut config = lxd_db::cluster::config::get(&mut tx).await?;
        config.extend(node.config().await?);
        Ok(Self {
            current: RwLock::new(Arc::new(config)),
            revision: AtomicU64::new(1),
            hooks: RwLock::default(),
            turn: Mutex::default(),
        })
    }

    /// All keys that are set, secrets in clear.
    pub fn all(&self) -> Arc<Config> {
        Arc::clone(&self.current.read())
    }

    /// The value of a key, or its default, or the empty text.
    pub fn get(&self, key: &str) -> String {
        TABLE.value(&self.current.read(), key).to_owned()
    }

    /// Whether a boolean key is true.
    pub fn is_true(&self, key: &str) -> bool {
        TABLE.is_true(&self.current.read(), key)
    }

    /// A number that moves whenever what `GET /1.0` says may have changed.
    pub fn revision(&self) -> u64 {
        self.revision.load(Ordering::Acquire)
    }

    /// Says that something that `GET /1.0` shows has changed: pools, the certificate.
    pub fn touch(&self) {
        self.revision.fetch_add(1, Ordering::AcqRel);
    }

    /// Calls a hook when one of some keys changes.
    pub fn on_change(&self, keys: &'static [&'static str], hook: Arc<dyn ConfigHook>) {
        self.hooks.write().push(Registered { keys, hook });
    }

    /// Waits for the right to change the configuration.
    pub(super) async fn turn(&self) -> MutexGuard<'_, ()> {
        self.turn.lock().await
    }

    /// Replaces what is in memory.
    pub(super) fn set(&self, config: Config) {
        *self.current.write() = Arc::new(config);
        self.touch();
    }

    /// Lets every hook follow; those that did go back when one fails.
    pub(super) async fn follow(&self, change: &ConfigChange) -> Result<()> {
        let hooks = self.concerned(change);
        for (index, hook) in hooks.iter().enumerate() {
            if let Err(error) = hook.follow(change).await {
                // The one that failed, too: it may have closed the old listener before the new one failed.
                back(&hooks[..=index], change).await;
                return Err(error);
            }
        }
        Ok(())
    }

    /// Lets every hook go back.
    pub(super) async fn follow_back(&self, change: &ConfigChange) {
        back(&self.concerned(change), change).await;
    }

    fn concerned(&self, change: &ConfigChange) -> Vec<Arc<dyn ConfigHook>> {
        let hooks = self.hooks.read();
        let concerned = hooks
            .iter()
            .filter(|registered| registered.keys.iter().any(|key| change.changed.contains(*key)));
        concerned.map(|registered| Arc::clone(&registered.hook)).collect()
    }
}

async fn back(hooks: &[Arc<dyn ConfigHook>], change: &ConfigChange) {
    let reversed = change.reversed();
    for hook in hooks.iter().rev() {
        if let Err(error) = hook.follow(&reversed).await {
            tracing::error!(err = error.text(), "Failed going back to the old configuration");
        }
    }
}
