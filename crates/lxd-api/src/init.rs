//! Wire types: the preseed of `lxd init`.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::cluster::ClusterMemberConfigKey;
use crate::profiles::ProfilesPost;
use crate::projects::ProjectsPost;
use crate::storage_pools::StoragePoolsPost;
use crate::wire::wire;

wire! {
    /// The part of the preseed that concerns the cluster.
    pub struct InitClusterPreseed {
        cluster_address: String,
        cluster_certificate: String,
        cluster_certificate_path: String,
        cluster_password: String,
        cluster_token: String,
        enabled: bool,
        member_config: Vec<ClusterMemberConfigKey>,
        server_address: String,
        server_name: String,
    }
}

wire! {
    /// The part of the preseed that concerns this server alone.
    pub struct InitLocalPreseed {
        config: BTreeMap<String, Value>,
        networks: Vec<InitNetworksProjectPost>,
        storage_pools: Vec<StoragePoolsPost>,
        profiles: Vec<ProfilesPost>,
        projects: Vec<ProjectsPost>,
    }
}

wire! {
    /// A network of the preseed and the project that it goes into.
    pub struct InitNetworksProjectPost {
        config: BTreeMap<String, String>,
        description: String,
        name: String,
        r#type: String,
        #[serde(alias = "Project")]
        project: String,
    }
}

wire! {
    /// What `lxd init --preseed` reads.
    pub struct InitPreseed {
        config: BTreeMap<String, Value>,
        networks: Vec<InitNetworksProjectPost>,
        storage_pools: Vec<StoragePoolsPost>,
        profiles: Vec<ProfilesPost>,
        projects: Vec<ProjectsPost>,
        cluster: Option<InitClusterPreseed>,
    }
}
