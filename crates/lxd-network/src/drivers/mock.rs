//! A driver without a host: networks in memory, for the tests of whoever uses drivers.

use std::collections::BTreeMap;

use futures::future::BoxFuture;
use lxd_api::networks::NetworkLease;
use lxd_model::{ErrorKind, Invalid};
use parking_lot::Mutex;

use crate::dnsmasq::{HostEntry, LeaseNic};
use crate::{Capabilities, Driver, Error, Fill, Network, Result};

/// The twin. It keeps what a host would keep, and can be told to fail.
#[derive(Debug, Default)]
pub struct Mock {
    networks: Mutex<BTreeMap<String, State>>,
    fail: Mutex<Option<&'static str>>,
}

#[derive(Debug, Clone, Default)]
struct State {
    up: bool,
    config: BTreeMap<String, String>,
    hosts: BTreeMap<String, HostEntry>,
}

impl Mock {
    /// A host without networks.
    pub fn new() -> Self {
        Self::default()
    }

    /// Makes the next call of this method fail, with nothing changed.
    pub fn fail_next(&self, method: &'static str) {
        *self.fail.lock() = Some(method);
    }

    /// The names of the networks on this host, and whether they are up.
    pub fn networks(&self) -> Vec<(String, bool)> {
        self.networks
            .lock()
            .iter()
            .map(|(name, state)| (name.clone(), state.up))
            .collect()
    }

    /// The hosts that a network was told about, by file name.
    pub fn hosts(&self, network: &str) -> Vec<String> {
        let networks = self.networks.lock();
        networks
            .get(network)
            .map(|state| state.hosts.keys().cloned().collect())
            .unwrap_or_default()
    }

    fn check(&self, method: &'static str) -> Result<()> {
        let mut fail = self.fail.lock();
        if *fail == Some(method) {
            *fail = None;
            let text = format!("{method} was told to fail");
            return Err(Invalid::of_kind(ErrorKind::Internal, text).into());
        }
        Ok(())
    }

    fn done<'a, T: Send + 'a>(result: Result<T>) -> BoxFuture<'a, Result<T>> {
        Box::pin(std::future::ready(result))
    }

    fn with<T>(&self, name: &str, change: impl FnOnce(&mut State) -> T) -> Result<T> {
        let mut networks = self.networks.lock();
        networks
            .get_mut(name)
            .map(change)
            .ok_or_else(|| Error::NoInterface(name.to_owned()))
    }
}

impl Driver for Mock {
    fn capabilities(&self) -> Capabilities {
        Capabilities {
            kind: "mock",
            nictype: "bridged",
            leases: true,
            interface: true,
            rename: true,
            owns_parent: false,
        }
    }

    fn validate(&self, network: &Network) -> Result<()> {
        match network
            .config
            .keys()
            .find(|key| *key != "address" && !key.starts_with("user."))
        {
            Some(key) => Err(Error::UnknownKey {
                network: network.name.clone(),
                key: key.clone(),
            }),
            None => Ok(()),
        }
    }

    fn fill(&self, mut network: Network, why: Fill) -> BoxFuture<'_, Result<Network>> {
        network.config.retain(|_, value| !value.is_empty());
        if why == Fill::Create {
            network
                .config
                .entry("address".into())
                .or_insert_with(|| "10.0.0.1/24".into());
        }
        Self::done(self.check("fill").map(|()| network))
    }

    fn create<'a>(&'a self, network: &'a Network) -> BoxFuture<'a, Result<()>> {
        let create = || {
            self.check("create")?;
            let mut networks = self.networks.lock();
            if networks.contains_key(&network.name) {
                return Err(Error::InterfaceExists(network.name.clone()));
            }
            let state = State {
                up: true,
                config: network.config.clone(),
                ..State::default()
            };
            networks.insert(network.name.clone(), state);
            Ok(())
        };
        Self::done(create())
    }

    fn start<'a>(&'a self, network: &'a Network) -> BoxFuture<'a, Result<()>> {
        let start = || {
            self.check("start")?;
            let mut networks = self.networks.lock();
            let state = networks.entry(network.name.clone()).or_default();
            (state.up, state.config) = (true, network.config.clone());
            Ok(())
        };
        Self::done(start())
    }

    fn stop<'a>(&'a self, network: &'a Network) -> BoxFuture<'a, Result<()>> {
        let stop = || {
            self.check("stop")?;
            // One that is gone is down.
            let _ = self.with(&network.name, |state| state.up = false);
            Ok(())
        };
        Self::done(stop())
    }

    fn update<'a>(&'a self, _old: &'a Network, new: &'a Network) -> BoxFuture<'a, Result<()>> {
        let update = || {
            self.check("update")?;
            self.with(&new.name, |state| state.config = new.config.clone())
        };
        Self::done(update())
    }

    fn rename<'a>(&'a self, network: &'a Network, name: &'a str) -> BoxFuture<'a, Result<()>> {
        let rename = || {
            self.check("rename")?;
            let mut networks = self.networks.lock();
            if networks.contains_key(name) {
                return Err(Error::InterfaceExists(name.to_owned()));
            }
            let state = networks
                .remove(&network.name)
                .ok_or_else(|| Error::NoInterface(network.name.clone()))?;
            networks.insert(name.to_owned(), state);
            Ok(())
        };
        Self::done(rename())
    }

    fn delete<'a>(&'a self, network: &'a Network) -> BoxFuture<'a, Result<()>> {
        Self::done(self.check("delete").map(|()| {
            self.networks.lock().remove(&network.name);
        }))
    }

    fn leases<'a>(
        &'a self,
        _network: &'a Network,
        nics: &'a [LeaseNic],
        _gateways: bool,
    ) -> BoxFuture<'a, Result<Vec<NetworkLease>>> {
        let fixed = nics.iter().filter_map(|nic| {
            Some(NetworkLease {
                hostname: nic.instance.clone(),
                hwaddr: nic.hwaddr.clone(),
                address: nic.ipv4?.to_string(),
                r#type: "static".into(),
                ..NetworkLease::default()
            })
        });
        Self::done(self.check("leases").map(|()| fixed.collect()))
    }

    fn add_hosts<'a>(&'a self, network: &'a Network, entries: &'a [HostEntry]) -> BoxFuture<'a, Result<()>> {
        let add = || {
            self.check("add_hosts")?;
            self.with(&network.name, |state| {
                state
                    .hosts
                    .extend(entries.iter().map(|entry| (entry.file_name(), entry.clone())));
            })
        };
        Self::done(add())
    }

    fn remove_host<'a>(&'a self, network: &'a Network, entry: &'a HostEntry) -> BoxFuture<'a, Result<()>> {
        let remove = || {
            self.check("remove_host")?;
            let _ = self.with(&network.name, |state| state.hosts.remove(&entry.file_name()));
            Ok(())
        };
        Self::done(remove())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::drivers::conformance;

    #[tokio::test]
    async fn it_behaves_as_a_driver() {
        let mock = Mock::new();
        let change = [("address".to_owned(), "10.0.1.1/24".to_owned())];
        conformance::run(&mock, "lxtmock0", "lxtmock1", change.into()).await;
        assert!(mock.networks().is_empty());
    }

    #[tokio::test]
    async fn it_fails_when_told_to() {
        let mock = Mock::new();
        let network = Network {
            name: "lxtmock0".into(),
            ..Network::default()
        };
        mock.fail_next("create");
        assert_eq!(
            mock.create(&network).await.unwrap_err().kind(),
            ErrorKind::Internal
        );
        assert!(mock.networks().is_empty());
        mock.create(&network).await.unwrap();
        assert_eq!(mock.networks(), [("lxtmock0".to_owned(), true)]);
    }
}
