//! `lxd init --dump`: the present configuration in the form of a preseed.

use std::collections::BTreeMap;

use lxd_api::init::{InitClusterPreseed, InitNetworksProjectPost, InitPreseed};
use lxd_api::networks::Network;
use lxd_api::profiles::{Profile, ProfilesPost};
use lxd_api::projects::{Project, ProjectsPost};
use lxd_api::server::Server;
use lxd_api::storage_pools::{StoragePool, StoragePoolsPost};
use lxd_model::yaml;
use serde::Serialize;
use serde_json::Value;

use super::super::client::Client;

/// The configuration as YAML, with an empty line at its end, as the reference prints it.
pub(super) async fn text(client: &Client, server: &Server) -> Result<String, String> {
    Ok(yaml(&preseed(client, server).await?)? + "\n")
}

/// A preseed as YAML; clusters are left out where there is none.
pub(super) fn yaml(preseed: &InitPreseed) -> Result<String, String> {
    yaml::to_string(&Shown {
        config: &preseed.config,
        networks: &preseed.networks,
        storage_pools: &preseed.storage_pools,
        profiles: &preseed.profiles,
        projects: &preseed.projects,
        cluster: preseed.cluster.as_ref(),
    })
    .map_err(|error| error.to_string())
}

/// A preseed in the order of the reference.
#[derive(Serialize)]
struct Shown<'a> {
    config: &'a BTreeMap<String, Value>,
    networks: &'a [InitNetworksProjectPost],
    storage_pools: &'a [StoragePoolsPost],
    profiles: &'a [ProfilesPost],
    projects: &'a [ProjectsPost],
    #[serde(skip_serializing_if = "Option::is_none")]
    cluster: Option<&'a InitClusterPreseed>,
}

async fn preseed(client: &Client, server: &Server) -> Result<InitPreseed, String> {
    let mut preseed = InitPreseed {
        config: server.config.clone(),
        ..InitPreseed::default()
    };
    for network in client.get::<Vec<Network>>("/1.0/networks?recursion=1").await? {
        if network.managed {
            preseed.networks.push(InitNetworksProjectPost {
                config: network.config,
                description: network.description,
                name: network.name,
                r#type: network.r#type,
                project: "default".into(),
            });
        }
    }
    for pool in client
        .get::<Vec<StoragePool>>("/1.0/storage-pools?recursion=1")
        .await?
    {
        preseed.storage_pools.push(StoragePoolsPost {
            config: pool.config,
            description: pool.description,
            name: pool.name,
            driver: pool.driver,
        });
    }
    for profile in client.get::<Vec<Profile>>("/1.0/profiles?recursion=1").await? {
        preseed.profiles.push(ProfilesPost {
            config: profile.config,
            description: profile.description,
            devices: profile.devices,
            name: profile.name,
        });
    }
    for project in client.get::<Vec<Project>>("/1.0/projects?recursion=1").await? {
        preseed.projects.push(ProjectsPost {
            config: project.config,
            description: project.description,
            name: project.name,
        });
    }
    Ok(preseed)
}
