//! Bridges: a link of the host, its addresses, dnsmasq for DHCP and DNS, firewall rules and NAT.

mod config;
mod defaults;
mod dhcp;
mod firewall;
mod link;
mod plan;

#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use futures::future::BoxFuture;
use lxd_api::networks::NetworkLease;
use lxd_sys::nft;
use lxd_sys::nft::Batch;
use parking_lot::Mutex;
use tokio::task::spawn_blocking;

use crate::dnsmasq::{self, HostEntry, LeaseNic, Service, leases};
use crate::{Capabilities, Driver, Error, Fill, Host, Network, Result};
use plan::Plan;

/// The API's name of this type.
pub const TYPE: &str = "bridge";

/// The driver of bridge networks.
pub struct Bridge {
    host: Arc<Host>,
    /// The group dnsmasq works as, once looked up.
    group: Mutex<Option<Option<&'static str>>>,
}

impl Bridge {
    /// The driver on a host.
    pub fn new(host: Arc<Host>) -> Self {
        Self {
            host,
            group: Mutex::new(None),
        }
    }

    fn plan(&self, network: &Network) -> Result<Plan> {
        Plan::new(&self.host, network)
    }

    fn service(&self, plan: &Plan, directory: &Path) -> Option<Service> {
        let group = *self.group.lock().get_or_insert_with(dnsmasq::group);
        dhcp::service(plan, directory, group, self.host.settings.debug)
    }

    async fn filter(&self, network: &str, what: &'static str, batch: Batch) -> Result<()> {
        batch
            .apply(self.host.runner.as_ref())
            .await
            .map_err(|source| Error::Program {
                what,
                network: network.to_owned(),
                source,
            })
    }

    /// Firewall rules and dnsmasq need nothing of each other, only the link.
    async fn bring_up(&self, network: &Network) -> Result<()> {
        let plan = self.plan(network)?;
        let directory = network.directory(&self.host);
        make_directories(&self.host.networks(), &directory).await?;
        let batch = if nft::is_installed() {
            firewall::apply(&plan)
        } else if firewall::is_wanted(&plan) {
            return Err(Error::NoNft);
        } else {
            Batch::new(nft::Family::Inet, "none")
        };
        let service = self.service(&plan, &directory);
        blocking(move || link::apply(&plan)).await?;
        let (filtered, served) = tokio::join!(
            self.filter(&network.name, "apply the firewall rules", batch),
            self.serve(&directory, service)
        );
        served.and(filtered)
    }

    async fn serve(&self, directory: &Path, service: Option<Service>) -> Result<()> {
        match service {
            Some(service) => self.host.services.ensure(service, &self.host.runner).await,
            None => self.host.services.remove(directory).await,
        }
    }

    async fn bring_down(&self, network: &Network) -> Result<()> {
        let name = network.name.clone();
        let directory = network.directory(&self.host);
        let unfilter = async {
            if !nft::is_installed() {
                return Ok(());
            }
            self.filter(
                &network.name,
                "remove the firewall rules",
                firewall::remove(&network.name),
            )
            .await
        };
        let (stopped, unfiltered, unlinked) = tokio::join!(
            self.host.services.stop(&directory),
            unfilter,
            blocking(move || link::delete(&name).map(drop))
        );
        Error::collect(
            [stopped, unfiltered, unlinked]
                .into_iter()
                .filter_map(Result::err)
                .collect(),
        )
    }

    async fn undo(&self, network: &Network, failed: Error) -> Error {
        match self.remove_all(network).await {
            Ok(()) => failed,
            Err(undo) => {
                tracing::error!(network = network.name, error = %undo, "Failed to undo the creation of a network");
                failed
            }
        }
    }

    async fn remove_all(&self, network: &Network) -> Result<()> {
        let down = self.bring_down(network).await;
        let directory = network.directory(&self.host);
        let removed = match tokio::fs::remove_dir_all(&directory).await {
            Err(source) if source.kind() != std::io::ErrorKind::NotFound => Err(Error::File {
                what: "remove",
                path: directory,
                source,
            }),
            _ => Ok(()),
        };
        Error::collect([down, removed].into_iter().filter_map(Result::err).collect())
    }

    async fn change(&self, old: &Network, new: &Network) -> Result<()> {
        let (before, after) = (self.plan(old)?, self.plan(new)?);
        if before == after {
            return Ok(());
        }
        let freed: Vec<String> = before
            .ports
            .iter()
            .filter(|p| !after.ports.contains(p))
            .cloned()
            .collect();
        if !freed.is_empty() {
            let name = new.name.clone();
            blocking(move || link::free_ports(&name, &freed)).await?;
        }
        let directory = new.directory(&self.host);
        make_directories(&self.host.networks(), &directory).await?;
        let batch = firewall::apply(&after);
        let rules_differ = batch != firewall::apply(&before);
        let service = self.service(&after, &directory);
        blocking(move || link::apply(&after)).await?;
        if rules_differ {
            self.filter(&new.name, "apply the firewall rules", batch).await?;
        }
        self.serve(&directory, service).await
    }
}

impl Driver for Bridge {
    fn capabilities(&self) -> Capabilities {
        Capabilities {
            kind: TYPE,
            nictype: "bridged",
            leases: true,
            interface: true,
            rename: true,
            owns_parent: false,
        }
    }

    fn validate(&self, network: &Network) -> Result<()> {
        config::validate(network)
    }

    fn fill(&self, mut network: Network, why: Fill) -> BoxFuture<'_, Result<Network>> {
        Box::pin(async move {
            blocking(move || {
                config::check_removed(&network)?;
                let used = if defaults::needs_subnets(&network.config, why) {
                    link::used_subnets().map_err(Error::Interfaces)?
                } else {
                    Vec::new()
                };
                defaults::fill(&mut network.config, why, link::has_ipv6(), &used, random)?;
                Ok(network)
            })
            .await
        })
    }

    fn create<'a>(&'a self, network: &'a Network) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            let name = network.name.clone();
            if blocking(move || crate::interfaces::exists(&name)).await? {
                return Err(Error::InterfaceExists(network.name.clone()));
            }
            match self.bring_up(network).await {
                Ok(()) => Ok(()),
                Err(failed) => Err(self.undo(network, failed).await),
            }
        })
    }

    fn start<'a>(&'a self, network: &'a Network) -> BoxFuture<'a, Result<()>> {
        Box::pin(self.bring_up(network))
    }

    fn stop<'a>(&'a self, network: &'a Network) -> BoxFuture<'a, Result<()>> {
        Box::pin(self.bring_down(network))
    }

    fn update<'a>(&'a self, old: &'a Network, new: &'a Network) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            let Err(failed) = self.change(old, new).await else {
                return Ok(());
            };
            if let Err(undo) = self.change(new, old).await {
                tracing::error!(network = new.name, error = %undo, "Failed to undo the change of a network");
            }
            Err(failed)
        })
    }

    fn rename<'a>(&'a self, network: &'a Network, name: &'a str) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            let taken = name.to_owned();
            if blocking(move || crate::interfaces::exists(&taken)).await? {
                return Err(Error::InterfaceExists(name.to_owned()));
            }
            let renamed = Network {
                name: name.to_owned(),
                ..network.clone()
            };
            let (from, to) = (network.directory(&self.host), renamed.directory(&self.host));
            self.bring_down(network).await?;
            let outcome = match move_directory(&from, &to).await {
                Ok(()) => self.bring_up(&renamed).await,
                Err(failed) => Err(failed),
            };
            let Err(failed) = outcome else { return Ok(()) };
            let undone = [
                self.bring_down(&renamed).await,
                move_directory(&to, &from).await,
                self.bring_up(network).await,
            ];
            if let Err(undo) = Error::collect(undone.into_iter().filter_map(Result::err).collect()) {
                tracing::error!(network = network.name, error = %undo, "Failed to undo the renaming of a network");
            }
            Err(failed)
        })
    }

    fn delete<'a>(&'a self, network: &'a Network) -> BoxFuture<'a, Result<()>> {
        Box::pin(self.remove_all(network))
    }

    fn leases<'a>(
        &'a self,
        network: &'a Network,
        nics: &'a [LeaseNic],
        gateways: bool,
    ) -> BoxFuture<'a, Result<Vec<NetworkLease>>> {
        Box::pin(async move {
            let plan = self.plan(network)?;
            let file = leases::read(&network.directory(&self.host)).await?;
            let own: Vec<_> = plan.sides().map(|side| side.subnet.address).collect();
            let stateless = plan
                .ipv6
                .as_ref()
                .filter(|_| !plan.stateful)
                .map(|side| side.subnet);
            let view = leases::View {
                network: &network.name,
                own: if gateways { &own } else { &[] },
                stateless,
                location: &self.host.settings.location,
            };
            Ok(view.list(nics, &file))
        })
    }

    fn add_hosts<'a>(&'a self, network: &'a Network, entries: &'a [HostEntry]) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            let directory = network.directory(&self.host);
            make_directories(&self.host.networks(), &directory).await?;
            let names = matches!(network.get("dns.mode"), "" | "managed");
            if dnsmasq::hosts::write(&directory, entries, names).await? {
                self.host.services.reload(&directory).await?;
            }
            Ok(())
        })
    }

    fn remove_host<'a>(&'a self, network: &'a Network, entry: &'a HostEntry) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            let directory = network.directory(&self.host);
            let removed = dnsmasq::hosts::remove(&directory, entry).await;
            if matches!(removed, Ok(true)) {
                self.host.services.reload(&directory).await?;
            }
            let servers: Vec<_> = self
                .plan(network)?
                .sides()
                .map(|side| side.subnet.address)
                .collect();
            let released = dnsmasq::release::release(network, &directory, &entry.hwaddr, &servers).await;
            Error::collect(
                [removed.map(drop), released]
                    .into_iter()
                    .filter_map(Result::err)
                    .collect(),
            )
        })
    }
}

/// Runs something that waits for the kernel where waiting is allowed.
async fn blocking<T, F>(work: F) -> Result<T>
where
    T: Send + 'static,
    F: FnOnce() -> Result<T> + Send + 'static,
{
    spawn_blocking(work).await.map_err(Error::Stopped)?
}

fn random() -> [u8; 8] {
    let mut bytes = [0; 8];
    // Never fails nor falls short for so few bytes once the kernel is up; zeros would only be a dull choice.
    let _ = rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty());
    bytes
}

/// The directory of all networks and that of one, which dnsmasq's user may pass but not list.
async fn make_directories(networks: &Path, directory: &Path) -> Result<()> {
    let make = |path: PathBuf, mode| async move {
        let made = tokio::fs::DirBuilder::new().mode(mode).create(&path).await;
        match made {
            Err(source) if source.kind() != std::io::ErrorKind::AlreadyExists => Err(Error::File {
                what: "create",
                path,
                source,
            }),
            _ => Ok(()),
        }
    };
    make(networks.to_owned(), 0o711).await?;
    make(directory.to_owned(), 0o711).await?;
    make(directory.join(dnsmasq::hosts::DIRECTORY), 0o755).await
}

async fn move_directory(from: &Path, to: &Path) -> Result<()> {
    match tokio::fs::rename(from, to).await {
        Err(source) if source.kind() != std::io::ErrorKind::NotFound => Err(Error::File {
            what: "move",
            path: from.to_owned(),
            source,
        }),
        _ => Ok(()),
    }
}
