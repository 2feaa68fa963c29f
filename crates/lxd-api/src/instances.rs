//! Wire types: instances.

use std::collections::BTreeMap;

use crate::instance_backups::InstanceBackup;
use crate::instance_snapshots::InstanceSnapshot;
use crate::instance_state::InstanceState;
use crate::instance_state::InstanceStatePut;
use crate::time::Time;
use crate::wire::{part_of, wire};

wire! {
    /// An instance.
    pub struct Instance {
        architecture: String,
        config: BTreeMap<String, String>,
        devices: BTreeMap<String, BTreeMap<String, String>>,
        ephemeral: bool,
        profiles: Vec<String>,
        #[serde(skip_serializing_if = "crate::wire::is_default")]
        restore: String,
        stateful: bool,
        description: String,
        created_at: Time,
        expanded_config: BTreeMap<String, String>,
        expanded_devices: BTreeMap<String, BTreeMap<String, String>>,
        name: String,
        status: String,
        status_code: u16,
        last_used_at: Time,
        location: String,
        r#type: String,
        project: String,
    }
}

wire! {
    /// An instance with its backups, state and snapshots: what `recursion=2` lists.
    pub struct InstanceFull {
        architecture: String,
        config: BTreeMap<String, String>,
        devices: BTreeMap<String, BTreeMap<String, String>>,
        ephemeral: bool,
        profiles: Vec<String>,
        #[serde(skip_serializing_if = "crate::wire::is_default")]
        restore: String,
        stateful: bool,
        description: String,
        created_at: Time,
        expanded_config: BTreeMap<String, String>,
        expanded_devices: BTreeMap<String, BTreeMap<String, String>>,
        name: String,
        status: String,
        status_code: u16,
        last_used_at: Time,
        location: String,
        r#type: String,
        project: String,
        backups: Option<Vec<InstanceBackup>>,
        state: Option<InstanceState>,
        snapshots: Option<Vec<InstanceSnapshot>>,
    }
}

wire! {
    /// What a POST to an instance asks for.
    pub struct InstancePost {
        allow_inconsistent: bool,
        container_only: bool,
        instance_only: bool,
        #[serde(skip_serializing_if = "Option::is_none")]
        live: Option<bool>,
        migration: bool,
        name: String,
        pool: String,
        project: String,
        target: Option<InstancePostTarget>,
    }
}

wire! {
    /// An instance post target.
    pub struct InstancePostTarget {
        certificate: String,
        operation: String,
        secrets: BTreeMap<String, String>,
    }
}

wire! {
    /// What a PUT may change of an instance.
    pub struct InstancePut {
        architecture: String,
        config: BTreeMap<String, String>,
        devices: BTreeMap<String, BTreeMap<String, String>>,
        ephemeral: bool,
        profiles: Vec<String>,
        #[serde(skip_serializing_if = "crate::wire::is_default")]
        restore: String,
        stateful: bool,
        description: String,
    }
}

wire! {
    /// Where a new instance comes from.
    pub struct InstanceSource {
        alias: String,
        allow_inconsistent: bool,
        #[serde(rename = "base-image")]
        base_image: String,
        certificate: String,
        container_only: bool,
        fingerprint: String,
        instance_only: bool,
        live: bool,
        mode: String,
        operation: String,
        project: String,
        properties: BTreeMap<String, String>,
        protocol: String,
        refresh: bool,
        secret: String,
        secrets: BTreeMap<String, String>,
        server: String,
        source: String,
        r#type: String,
    }
}

wire! {
    /// A new instance, as a client asks for it.
    pub struct InstancesPost {
        architecture: String,
        config: BTreeMap<String, String>,
        devices: BTreeMap<String, BTreeMap<String, String>>,
        ephemeral: bool,
        profiles: Option<Vec<String>>,
        #[serde(skip_serializing_if = "crate::wire::is_default")]
        restore: String,
        stateful: bool,
        description: String,
        name: String,
        source: InstanceSource,
        #[serde(skip_serializing_if = "crate::wire::is_default")]
        instance_type: String,
        r#type: String,
    }
}

wire! {
    /// A state change of all instances at once.
    pub struct InstancesPut {
        state: InstanceStatePut,
    }
}

part_of! { InstancePut of Instance: architecture, config, devices, ephemeral, profiles, restore, stateful, description }
