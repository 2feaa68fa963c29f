//! Wire types: storage pools.

use std::collections::BTreeMap;

use crate::wire::{part_of, wire};

wire! {
    /// A storage pool.
    pub struct StoragePool {
        config: BTreeMap<String, String>,
        description: String,
        name: String,
        driver: String,
        #[serde(serialize_with = "crate::wire::null_list_when_empty")]
        used_by: Vec<String>,
        status: String,
        locations: Vec<String>,
    }
}

wire! {
    /// What a PUT may change of a storage pool.
    pub struct StoragePoolPut {
        config: BTreeMap<String, String>,
        description: String,
    }
}

wire! {
    /// A new storage pool, as a client asks for it.
    pub struct StoragePoolsPost {
        config: BTreeMap<String, String>,
        description: String,
        name: String,
        driver: String,
    }
}

part_of! { StoragePoolPut of StoragePool: config, description }
