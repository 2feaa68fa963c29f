//! What warnings are about, as URLs. The numbers are those of the reference's database.

use std::collections::HashMap;

use lxd_db::Result;
use lxd_db::cluster::warnings::Warning;
use lxd_db::cluster::{Tx, instances, networks, profiles, projects, storage_pools};

use crate::urls;

/// Containers, from when they had a number of their own.
const CONTAINER: i64 = 0;
const PROFILE: i64 = 2;
const PROJECT: i64 = 3;
const INSTANCE: i64 = 5;
const NETWORK: i64 = 8;
const STORAGE_POOL: i64 = 12;
/// The last sort of thing that has a number.
const LAST: i64 = 17;

/// Whether a number stands for a sort of thing.
pub(super) fn is_known(code: i64) -> bool {
    (CONTAINER..=LAST).contains(&code)
}

/// The URLs of all things that some warnings may be about, read by sort and not by thing.
#[derive(Default)]
pub(super) struct Entities(HashMap<(i64, i64), String>);

impl Entities {
    /// Reads what the given warnings need.
    pub(super) async fn load(tx: &mut Tx, warnings: &[Warning], node_id: i64) -> Result<Self> {
        let about = |code: i64| {
            warnings
                .iter()
                .any(|warning| warning.entity.is_some_and(|(c, _)| c == code))
        };
        let mut urls = HashMap::new();
        if about(CONTAINER) || about(INSTANCE) {
            for instance in instances::list(tx, instances::Filter::default()).await? {
                let url = urls::object(&instance.project, &["instances", &instance.name]);
                urls.insert((CONTAINER, instance.id), url.clone());
                urls.insert((INSTANCE, instance.id), url);
            }
        }
        if about(PROFILE) {
            for profile in profiles::list(tx, None).await? {
                urls.insert(
                    (PROFILE, profile.id),
                    urls::object(&profile.project, &["profiles", &profile.name]),
                );
            }
        }
        if about(PROJECT) {
            for project in projects::list(tx).await? {
                urls.insert((PROJECT, project.id), urls::plain(&["projects", &project.name]));
            }
        }
        if about(NETWORK) {
            for network in networks::list(tx, None, node_id).await? {
                urls.insert(
                    (NETWORK, network.id),
                    urls::object(&network.project, &["networks", &network.name]),
                );
            }
        }
        if about(STORAGE_POOL) {
            for pool in storage_pools::list(tx, node_id).await? {
                urls.insert(
                    (STORAGE_POOL, pool.id),
                    urls::plain(&["storage-pools", &pool.name]),
                );
            }
        }
        Ok(Self(urls))
    }

    /// The URL of a thing; empty for things that are gone or have none.
    pub(super) fn url(&self, entity: (i64, i64)) -> String {
        self.0.get(&entity).cloned().unwrap_or_default()
    }
}
