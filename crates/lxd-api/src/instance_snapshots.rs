//! Wire types: snapshots of instances.

use std::collections::BTreeMap;

use crate::instances::InstancePostTarget;
use crate::time::Time;
use crate::wire::wire;

wire! {
    /// An instance snapshot.
    pub struct InstanceSnapshot {
        expires_at: Time,
        architecture: String,
        config: BTreeMap<String, String>,
        created_at: Time,
        devices: BTreeMap<String, BTreeMap<String, String>>,
        ephemeral: bool,
        expanded_config: BTreeMap<String, String>,
        expanded_devices: BTreeMap<String, BTreeMap<String, String>>,
        last_used_at: Time,
        name: String,
        profiles: Vec<String>,
        stateful: bool,
        size: i64,
    }
}

wire! {
    /// What a POST to an instance snapshot asks for.
    pub struct InstanceSnapshotPost {
        live: bool,
        migration: bool,
        name: String,
        target: InstancePostTarget,
    }
}

wire! {
    /// What a PUT may change of an instance snapshot.
    pub struct InstanceSnapshotPut {
        expires_at: Time,
    }
}

wire! {
    /// A new instance snapshot, as a client asks for it.
    pub struct InstanceSnapshotsPost {
        expires_at: Option<Time>,
        name: String,
        stateful: bool,
    }
}
