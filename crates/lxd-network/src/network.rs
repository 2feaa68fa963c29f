//! A managed network as the database knows it, and the drivers by type.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use crate::drivers::uplink;
use crate::subnet::Range;
use crate::{Driver, Error, Host, Result, Settings, drivers};

/// A managed network: what is stored about it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Network {
    /// Its row's id.
    pub id: i64,
    /// Its name, also that of its interface.
    pub name: String,
    /// What users say it is for.
    pub description: String,
    /// Its configuration, without defaults.
    pub config: BTreeMap<String, String>,
}

impl Network {
    /// The value of a key; empty when it isn't set.
    pub fn get(&self, key: &str) -> &str {
        self.config.get(key).map_or("", String::as_str)
    }

    /// Whether a boolean key is on, `default` when it isn't set.
    pub fn is_on(&self, key: &str, default: bool) -> bool {
        match self.get(key) {
            "" => default,
            value => ["true", "1", "yes", "on"]
                .iter()
                .any(|yes| value.eq_ignore_ascii_case(yes)),
        }
    }

    /// The values of a key that is a list separated by commas.
    pub fn list(&self, key: &str) -> Vec<&str> {
        self.get(key)
            .split(',')
            .map(str::trim)
            .filter(|item| !item.is_empty())
            .collect()
    }

    /// The ranges of addresses that a key lists; its name begins with the family of addresses. Unreadable ones are skipped
    /// (they were refused when they were set).
    pub fn ranges(&self, key: &str) -> Vec<Range> {
        let ipv4 = key.starts_with("ipv4.");
        let parsed = self.list(key).into_iter();
        parsed.filter_map(|item| Range::parse(item, ipv4).ok()).collect()
    }

    /// The directory of its files.
    pub fn directory(&self, host: &Host) -> PathBuf {
        host.networks().join(&self.name)
    }
}

/// All network drivers of this host. Keep one for the daemon's life: it holds the running dnsmasq processes.
pub struct Networks {
    host: Arc<Host>,
    bridge: Arc<drivers::bridge::Bridge>,
}

impl Networks {
    /// The drivers, with the directory and the names they work with.
    pub fn new(settings: Settings) -> Self {
        let host = Arc::new(Host::new(settings));
        let bridge = Arc::new(drivers::bridge::Bridge::new(Arc::clone(&host)));
        Self { host, bridge }
    }

    /// The host they work on.
    pub fn host(&self) -> &Arc<Host> {
        &self.host
    }

    pub(crate) fn bridge(&self) -> &dyn Driver {
        self.bridge.as_ref()
    }

    /// The driver of a network type as the API names it; the empty name is `bridge`.
    ///
    /// # Errors
    /// [`Error::TypeNotImplemented`] and [`Error::UnknownType`].
    pub fn driver(&self, kind: &str) -> Result<Arc<dyn Driver>> {
        match kind {
            "" | drivers::bridge::TYPE => Ok(Arc::clone(&self.bridge) as Arc<dyn Driver>),
            "ovn" => Err(Error::TypeNotImplemented(kind.to_owned())),
            _ => {
                let uplinks = [uplink::MACVLAN, uplink::SRIOV, uplink::PHYSICAL];
                let found = uplinks.into_iter().find(|driver| driver.is(kind));
                Ok(Arc::new(found.ok_or(Error::UnknownType)?))
            }
        }
    }
}
