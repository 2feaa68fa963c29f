//! The cluster, as a server shows it that is in none.

use std::sync::Arc;

use lxd_api::cluster::{Cluster, ClusterMemberConfigKey};
use lxd_db::cluster::{networks, storage_pools};
use lxd_model::config::Config;

use crate::app::App;
use crate::ctx::Ctx;
use crate::error::{Error, Result};

/// Keys of pools that each member has its own values of, as far as whoever joins is asked for them.
const OF_POOLS: [&str; 5] = [
    "lvm.thinpool_name",
    "lvm.vg_name",
    "size",
    "source",
    "zfs.pool_name",
];

/// The same of networks.
const OF_NETWORKS: [&str; 4] = [
    "bgp.ipv4.nexthop",
    "bgp.ipv6.nexthop",
    "bridge.external_interfaces",
    "parent",
];

/// That there is no cluster, and what a server would be asked that joins one which this server began.
///
/// # Errors
/// The caller is not trusted; the database can't be read.
pub async fn get(app: &Arc<App>, ctx: &Ctx) -> Result<Cluster> {
    ctx.require_trusted()?;
    let mut tx = app.cluster.read().await?;
    let node = app.cluster.node_id();
    let mut member_config = Vec::new();
    for pool in storage_pools::list(&mut tx, node).await? {
        let asked = keys(
            "storage-pool",
            "storage pool",
            &pool.name,
            (&pool.config, &OF_POOLS),
        );
        member_config.extend(asked);
    }
    for network in networks::list(&mut tx, None, node).await? {
        let asked = keys(
            "network",
            "network",
            &network.name,
            (&network.config, &OF_NETWORKS),
        );
        member_config.extend(asked);
    }
    Ok(Cluster {
        enabled: false,
        member_config,
        server_name: String::new(),
    })
}

/// What the members of a cluster are asked for.
///
/// # Errors
/// Always, as long as there is no cluster.
pub fn members(ctx: &Ctx) -> Result<()> {
    ctx.require_trusted()?;
    Err(Error::internal("Server is not clustered"))
}

/// What only a cluster can be asked for: its groups, and to let somebody join.
///
/// # Errors
/// As [`members`].
pub fn whole(ctx: &Ctx) -> Result<()> {
    ctx.require_trusted()?;
    Err(Error::bad_request("This server is not clustered"))
}

/// A member by its name, to be evacuated or restored.
///
/// # Errors
/// There is none.
pub fn member(ctx: &Ctx) -> Result<()> {
    ctx.require_trusted()?;
    Err(Error::not_found("Cluster member not found"))
}

/// A row that is to be renamed or deleted without a look at the cluster before; scripts know the texts.
///
/// # Errors
/// There is none.
pub fn row(ctx: &Ctx, is_group: bool) -> Result<()> {
    ctx.require_trusted()?;
    Err(Error::internal(match is_group {
        true => "Query deleted 0 rows instead of 1",
        false => "expected to update one row, not 0",
    }))
}

fn keys(
    entity: &str,
    shown: &str,
    name: &str,
    (config, own): (&Config, &[&str]),
) -> Vec<ClusterMemberConfigKey> {
    let asked = own.iter().filter(|key| config.contains_key(**key));
    asked
        .map(|key| ClusterMemberConfigKey {
            description: format!("{key:?} property for {shown} {name:?}"),
            entity: entity.into(),
            key: (*key).into(),
            name: name.into(),
            value: String::new(),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use lxd_api::storage_pools::StoragePoolsPost;
    use lxd_model::ErrorKind;

    use super::*;
    use crate::testing::TestApp;

    #[tokio::test]
    async fn whoever_joined_would_be_asked_for_what_each_member_has_its_own_of() {
        let app = TestApp::start().await;
        let ctx = Ctx::daemon("default");
        assert_eq!(get(&app, &ctx).await.unwrap().member_config, []);
        let pool = StoragePoolsPost {
            name: "p1".into(),
            driver: "dir".into(),
            config: [("user.x".into(), "1".into())].into(),
            ..StoragePoolsPost::default()
        };
        crate::storage_pools::create(&app, &ctx, pool).await.unwrap();
        let cluster = get(&app, &ctx).await.unwrap();
        let [key] = cluster.member_config.as_slice() else {
            panic!("{cluster:?}")
        };
        assert_eq!(
            (
                key.entity.as_str(),
                key.name.as_str(),
                key.key.as_str(),
                key.value.as_str()
            ),
            ("storage-pool", "p1", "source", "")
        );
        assert_eq!(key.description, "\"source\" property for storage pool \"p1\"");
        assert!(!cluster.enabled && cluster.server_name.is_empty());
    }

    #[test]
    fn there_are_no_members() {
        let ctx = Ctx::daemon("default");
        let kinds = [members(&ctx), whole(&ctx), member(&ctx), row(&ctx, true)]
            .map(|refused| refused.unwrap_err().kind());
        assert_eq!(
            kinds,
            [
                ErrorKind::Internal,
                ErrorKind::BadRequest,
                ErrorKind::NotFound,
                ErrorKind::Internal
            ]
        );
    }
}
