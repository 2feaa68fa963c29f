//! Wire types: bringing back what pools hold and the database does not know (`lxd recover`).

use serde::{Deserialize, Serialize};

use crate::storage_pools::StoragePoolsPost;
use crate::wire::wire;

wire! {
    /// Pools to look into, besides those that the database knows.
    pub struct RecoverPost {
        pools: Vec<StoragePoolsPost>,
    }
}

/// A volume that the database does not know.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecoverVolume {
    /// Its name.
    pub name: String,
    /// `container`, `virtual-machine` or `volume`.
    pub r#type: String,
    /// How many snapshots it has.
    #[serde(rename = "snapshotCount")]
    pub snapshot_count: usize,
    /// Its project.
    pub project: String,
    /// Its pool.
    pub pool: String,
}

/// What was found, and what is missing to bring it back.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecoverFound {
    /// The volumes; `null` where there are none.
    #[serde(rename = "UnknownVolumes")]
    pub unknown_volumes: Option<Vec<RecoverVolume>>,
    /// Projects, profiles and networks that must be made before; `null` where there are none.
    #[serde(rename = "DependencyErrors")]
    pub dependency_errors: Option<Vec<String>>,
}
