//! What goes over before the data: a description in JSON, and what the receiver says to it.

use lxd_api::instance_snapshots::InstanceSnapshot;
use lxd_api::instances::Instance;
use lxd_api::profiles::Profile;
use lxd_api::storage_pools::StoragePool;
use lxd_api::storage_volumes::{StorageVolume, StorageVolumeSnapshot};
use serde::{Deserialize, Serialize};

/// The description as it goes over.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Info {
    pub(crate) config: Described,
}

/// A volume and its snapshots; with them the instance that it is of.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub(crate) struct Described {
    pub(crate) container: Option<Instance>,
    pub(crate) snapshots: Option<Vec<InstanceSnapshot>>,
    pub(crate) pool: Option<StoragePool>,
    pub(crate) profiles: Option<Vec<Profile>>,
    pub(crate) volume: Option<StorageVolume>,
    pub(crate) volume_snapshots: Option<Vec<StorageVolumeSnapshot>>,
}

/// What the receiver says to it.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub(crate) struct Answer {
    pub(crate) status_code: u16,
    pub(crate) error: String,
    pub(crate) refresh: Option<bool>,
}
