//! Whether the daemon has something to do when nobody has asked yet: `lxd activateifneeded`.

use std::path::Path;

use lxd_db::cluster::{Cluster, Options};
use lxd_db::node::Node;
use lxd_db::sql::Outcome;
use lxd_model::config::server::TABLE;

use crate::error::{Context as _, Result};
use crate::paths::Paths;

/// Why the daemon should run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// It listens on the network.
    HttpsAddress,
    /// Instances start by themselves, or ran when it was last stopped.
    Instances,
    /// Snapshots of instances are scheduled.
    InstanceSnapshots,
    /// Snapshots of volumes are scheduled.
    VolumeSnapshots,
}

impl Reason {
    /// What the daemon has, in the reference's words.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::HttpsAddress => "core.https_address set",
            Self::Instances => "auto-started instances",
            Self::InstanceSnapshots => "scheduled instance snapshots",
            Self::VolumeSnapshots => "scheduled volume snapshots",
        }
    }
}

/// The keys of each instance with those of its profiles, the instance's own first.
const EXPANDED: &str = "
    SELECT instance_id AS id, key, value, 1 AS is_own FROM instances_config
    UNION ALL
    SELECT instances_profiles.instance_id, profiles_config.key, profiles_config.value, 0 FROM profiles_config
    JOIN instances_profiles ON instances_profiles.profile_id = profiles_config.profile_id";

/// Looks into the databases of a state directory whose daemon does not run. The caller holds the directory's lock.
///
/// # Errors
/// A database can't be read.
pub async fn reason(dir: &Path) -> Result<Option<Reason>> {
    let paths = Paths::new(dir);
    if !paths.node_database().exists() {
        return Ok(None);
    }
    let node = Node::open(&paths.database())
        .await
        .context("Failed opening the node database")?;
    if !TABLE
        .value(&node.config().await?, "core.https_address")
        .is_empty()
    {
        return Ok(Some(Reason::HttpsAddress));
    }
    if !paths.cluster_database().join("metadata1").exists() {
        return Ok(None);
    }
    let extensions = i64::try_from(lxd_api::extensions::EXTENSIONS.len()).unwrap_or(i64::MAX);
    let cluster = Cluster::open(Options::standalone(paths.database(), extensions))
        .await
        .context("Failed opening the cluster database")?;
    let found = search(&cluster).await;
    cluster.close().await?;
    found
}

async fn search(cluster: &Cluster) -> Result<Option<Reason>> {
    let is_yes = "lower(value) IN ('true', '1', 'yes', 'on')";
    let autostart = format!(
        "SELECT 1 FROM instances WHERE coalesce(
             (SELECT {is_yes} FROM ({EXPANDED}) WHERE id = instances.id AND key = 'boot.autostart'
              ORDER BY is_own DESC LIMIT 1),
             (SELECT value = 'RUNNING' FROM instances_config
              WHERE instance_id = instances.id AND key = 'volatile.last_state.power'),
             0) LIMIT 1"
    );
    let scheduled =
        format!("SELECT 1 FROM ({EXPANDED}) WHERE key = 'snapshots.schedule' AND value <> '' LIMIT 1");
    let volumes =
        "SELECT 1 FROM storage_volumes_config WHERE key = 'snapshots.schedule' AND value <> '' LIMIT 1";
    for (query, reason) in [
        (autostart.as_str(), Reason::Instances),
        (scheduled.as_str(), Reason::InstanceSnapshots),
        (volumes, Reason::VolumeSnapshots),
    ] {
        let outcomes = cluster.run_sql(query).await?;
        if matches!(outcomes.first(), Some(Outcome::Selected { rows, .. }) if !rows.is_empty()) {
            return Ok(Some(reason));
        }
    }
    Ok(None)
}
