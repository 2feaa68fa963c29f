//! The environment part of `GET /1.0`.

use std::net::IpAddr;
use std::sync::Arc;

use lxd_api::server::ServerEnvironment;
use lxd_db::cluster::{Tx, storage_pools};

use super::facts::InstanceDriver;
use crate::app::App;
use crate::error::{Context as _, Error, Result};

/// The port where `core.https_address` names none.
const DEFAULT_PORT: u16 = 8443;

/// The environment as a caller in a project sees it.
pub(super) async fn get(app: &Arc<App>, project: &str) -> Result<ServerEnvironment> {
    let facts = &app.facts;
    let instance_driver = instance_driver(app).await;
    let certificate = app.server_certificate();
    let mut tx = app.cluster.read().await?;
    let mut used = drivers(&mut tx, app.cluster.node_id()).await?;
    drop(tx);
    used.sort();
    used.dedup();
    let version = |driver: &String| {
        let known = facts.storage_drivers.iter().find(|known| known.name == *driver);
        known.map_or_else(String::new, |known| known.version.clone())
    };
    let storage_version = used.iter().map(version).collect::<Vec<_>>().join(" | ");
    Ok(ServerEnvironment {
        addresses: addresses(&app.config.get("core.https_address")).await?,
        architectures: facts.architectures.clone(),
        certificate: certificate.certificate_pem.clone(),
        certificate_fingerprint: certificate.fingerprint.clone(),
        driver: instance_driver.names,
        driver_version: instance_driver.versions,
        firewall: facts.firewall.clone(),
        kernel: facts.kernel.clone(),
        kernel_architecture: facts.kernel_architecture.clone(),
        kernel_features: facts.kernel_features.clone(),
        kernel_version: facts.kernel_version.clone(),
        lxc_features: instance_driver.lxc_features,
        os_name: facts.os_name.clone(),
        os_version: facts.os_version.clone(),
        project: project.into(),
        server: "lxd".into(),
        server_clustered: false,
        server_event_mode: "full-mesh".into(),
        server_name: app.server_name().into(),
        server_pid: i64::from(rustix::process::getpid().as_raw_nonzero().get()),
        server_version: env!("CARGO_PKG_VERSION").into(),
        storage: used.join(" | "),
        storage_supported_drivers: facts.storage_drivers.clone(),
        storage_version,
    })
}

/// What runs instances, which the first caller finds out. Whoever can't answer is not asked again: that takes a process.
async fn instance_driver(app: &App) -> InstanceDriver {
    let asked = app.facts.instance_driver.get_or_init(|| ask(app));
    asked.await.clone()
}

async fn ask(app: &App) -> InstanceDriver {
    match app.instances.registry.features().await {
        Ok(features) => InstanceDriver {
            names: "lxc".into(),
            versions: features.version,
            lxc_features: features
                .extensions
                .into_iter()
                .map(|(name, is_there)| (name, is_there.to_string()))
                .collect(),
        },
        Err(error) => {
            tracing::warn!(%error, "The container library could not be asked what it can do");
            InstanceDriver::default()
        }
    }
}

async fn drivers(tx: &mut Tx, node_id: i64) -> Result<Vec<String>> {
    let pools = storage_pools::list(tx, node_id)
        .await
        .context("Failed listing storage pools")?;
    Ok(pools.into_iter().map(|pool| pool.driver).collect())
}

/// The addresses that clients can reach a listener by, each with its port: the host's own for a wildcard.
///
/// # Errors
/// The kernel does not list its addresses.
pub(crate) async fn addresses(listen: &str) -> Result<Vec<String>> {
    if listen.is_empty() {
        return Ok(Vec::new());
    }
    let (host, port) = split(listen);
    let wildcard = match host.as_str() {
        "" | "::" => Wildcard::Both,
        "0.0.0.0" => Wildcard::V4,
        _ => return Ok(vec![join(&host, port)]),
    };
    let all = lxd_sys::netlink::run(|socket| socket.addresses()).await;
    let all = all.map_err(|error| Error::internal("Failed listing the host's addresses").because(error))?;
    let reachable = all
        .into_iter()
        .map(|address| address.address)
        .filter(|address| is_reachable(*address, wildcard));
    Ok(reachable
        .map(|address| join(&address.to_string(), port))
        .collect())
}

#[derive(Clone, Copy, PartialEq)]
enum Wildcard {
    Both,
    V4,
}

fn is_reachable(address: IpAddr, wildcard: Wildcard) -> bool {
    match address {
        IpAddr::V4(v4) => !(v4.is_loopback() || v4.is_link_local() || v4.is_unspecified()),
        IpAddr::V6(v6) => {
            wildcard == Wildcard::Both
                && !(v6.is_loopback() || v6.is_unicast_link_local() || v6.is_unspecified())
        }
    }
}

/// Host (without brackets) and port of a listen address.
fn split(listen: &str) -> (String, u16) {
    let bare = |host: &str| host.trim_start_matches('[').trim_end_matches(']').to_owned();
    if listen.parse::<IpAddr>().is_ok() {
        return (listen.to_owned(), DEFAULT_PORT);
    }
    match listen.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (bare(host), port.parse().unwrap_or(DEFAULT_PORT)),
        _ => (bare(listen), DEFAULT_PORT),
    }
}

fn join(host: &str, port: u16) -> String {
    if host.contains(':') {
        format!("[{host}]:{port}")
    } else {
        format!("{host}:{port}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn listen_addresses_become_reachable_ones() {
        assert!(addresses("").await.unwrap().is_empty());
        for (listen, reachable) in [
            ("127.0.0.1:18999", "127.0.0.1:18999"),
            ("127.0.0.1", "127.0.0.1:8443"),
            ("[fd00::1]:1", "[fd00::1]:1"),
            ("fd00::1", "[fd00::1]:8443"),
            ("host", "host:8443"),
        ] {
            assert_eq!(addresses(listen).await.unwrap(), [reachable]);
        }
        for address in addresses(":8443").await.unwrap() {
            assert!(
                address.ends_with(":8443") && !address.starts_with("127."),
                "{address}"
            );
        }
        assert_eq!(split("[::]"), ("::".into(), 8443));
    }
}
