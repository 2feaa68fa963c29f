//! Bringing up what the databases say should be there: pools are mounted, networks started.
//!
//! What does not come up is logged and warned about, and keeps nobody else from starting.

use std::sync::Arc;

use futures::future::join_all;
use lxd_db::cluster::warnings::Key;
use lxd_db::cluster::{State, networks, storage_pools};
use lxd_model::warnings::WarningType;

use crate::app::App;
use crate::error::{Error, Result};
use crate::warnings;

/// The reference's numbers for what warnings are about.
const NETWORK: i64 = 8;
const STORAGE_POOL: i64 = 12;

/// Mounts the pools, all at once.
///
/// # Errors
/// The database can't be read.
pub(crate) async fn open_pools(app: &Arc<App>) -> Result<()> {
    let mut tx = app.cluster.read().await?;
    let all = storage_pools::list(&mut tx, app.cluster.node_id()).await?;
    drop(tx);
    let pools = all.into_iter().filter(|pool| pool.state == State::Created);
    join_all(pools.map(async |pool| {
        let about = About {
            kind: WarningType::StoragePoolUnavailable,
            sort: STORAGE_POOL,
            id: pool.id,
            project: None,
        };
        let result = app.pools.open(&pool.name, &pool.driver, pool.config).await;
        judge(app, &pool.name, about, result.map(drop).map_err(Error::from)).await;
    }))
    .await;
    Ok(())
}

/// Starts the networks, all at once.
///
/// # Errors
/// The database can't be read.
pub(crate) async fn start_networks(app: &Arc<App>) -> Result<()> {
    let mut tx = app.cluster.read().await?;
    let all = networks::list(&mut tx, None, app.cluster.node_id()).await?;
    drop(tx);
    let networks = all.into_iter().filter(|network| network.state == State::Created);
    join_all(networks.map(async |network| {
        let about = About {
            kind: WarningType::NetworkUnavailable,
            sort: NETWORK,
            id: network.id,
            project: Some(network.project.clone()),
        };
        let result = start_network(app, &network).await;
        judge(app, &network.name, about, result).await;
    }))
    .await;
    Ok(())
}

async fn start_network(app: &App, network: &networks::Network) -> Result<()> {
    let stored = lxd_network::Network {
        id: network.id,
        name: network.name.clone(),
        description: network.description.clone(),
        config: network.config.clone(),
    };
    let driver = app.networks.driver(network.kind.as_str())?;
    Ok(driver.start(&stored).await?)
}

/// What a warning would be about.
struct About {
    kind: WarningType,
    sort: i64,
    id: i64,
    project: Option<String>,
}

async fn judge(app: &App, name: &str, about: About, result: Result<()>) {
    let Err(error) = result else { return };
    let text = error.text();
    tracing::error!(name, err = text, "{}", about.kind.as_str());
    let key = Key {
        node_id: Some(app.cluster.node_id()),
        project: about.project.as_deref(),
        entity: Some((about.sort, about.id)),
        type_code: about.kind.id(),
    };
    if let Err(error) = warnings::add(app, key, &text).await {
        tracing::error!(err = error.text(), "Failed recording a warning");
    }
}

#[cfg(test)]
mod tests {
    use lxd_db::Config;

    use crate::testing::{TestApp, root};
    use crate::warnings;

    #[tokio::test]
    async fn what_does_not_come_up_is_warned_about_and_stops_nobody() {
        let app = TestApp::start().await;
        let mut tx = app.cluster.begin().await.unwrap();
        let node_id = app.cluster.node_id();
        for (name, driver) in [("good", "dir"), ("bad", "nonsense")] {
            let id = super::storage_pools::create(&mut tx, name, driver, "", &Config::new(), node_id)
                .await
                .unwrap();
            super::storage_pools::set_state(&mut tx, id, node_id, super::State::Created)
                .await
                .unwrap();
        }
        tx.commit().await.unwrap();

        let app = app.restart().await;
        let all = warnings::list(&app, &root(), None).await.unwrap();
        let told: Vec<_> = all
            .iter()
            .filter(|w| !w.entity_url.is_empty())
            .map(|w| (w.r#type.as_str(), w.entity_url.as_str(), w.severity.as_str()))
            .collect();
        assert_eq!(
            told,
            [("Storage pool unavailable", "/1.0/storage-pools/bad", "high")]
        );
        assert!(app.pools.get("bad").is_err());
        assert!(app.pools.get("good").is_ok());
    }
}
