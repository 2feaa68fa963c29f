//! Wire types: storage volumes.

use std::collections::BTreeMap;

use crate::time::Time;
use crate::wire::{part_of, wire};

wire! {
    /// A storage pool volume backup.
    pub struct StoragePoolVolumeBackup {
        created_at: Time,
        expires_at: Time,
        name: String,
        optimized_storage: bool,
        volume_only: bool,
    }
}

wire! {
    /// What a POST to a storage pool volume backup asks for.
    pub struct StoragePoolVolumeBackupPost {
        name: String,
    }
}

wire! {
    /// A new storage pool volume backup, as a client asks for it.
    pub struct StoragePoolVolumeBackupsPost {
        compression_algorithm: String,
        expires_at: Time,
        name: String,
        optimized_storage: bool,
        volume_only: bool,
    }
}

wire! {
    /// A storage volume.
    pub struct StorageVolume {
        config: BTreeMap<String, String>,
        description: String,
        #[serde(skip_serializing_if = "crate::wire::is_default")]
        restore: String,
        name: String,
        r#type: String,
        used_by: Vec<String>,
        location: String,
        content_type: String,
        project: String,
        created_at: Time,
    }
}

wire! {
    /// What a POST to a storage volume asks for.
    pub struct StorageVolumePost {
        migration: bool,
        name: String,
        pool: String,
        project: String,
        target: Option<StorageVolumePostTarget>,
        volume_only: bool,
    }
}

wire! {
    /// A storage volume post target.
    pub struct StorageVolumePostTarget {
        certificate: String,
        operation: String,
        secrets: BTreeMap<String, String>,
    }
}

wire! {
    /// What a PUT may change of a storage volume.
    pub struct StorageVolumePut {
        config: BTreeMap<String, String>,
        description: String,
        #[serde(skip_serializing_if = "crate::wire::is_default")]
        restore: String,
    }
}

wire! {
    /// A storage volume snapshot.
    pub struct StorageVolumeSnapshot {
        description: String,
        expires_at: Option<Time>,
        name: String,
        config: BTreeMap<String, String>,
        content_type: String,
        created_at: Time,
    }
}

wire! {
    /// What a POST to a storage volume snapshot asks for.
    pub struct StorageVolumeSnapshotPost {
        name: String,
    }
}

wire! {
    /// What a PUT may change of a storage volume snapshot.
    pub struct StorageVolumeSnapshotPut {
        description: String,
        expires_at: Option<Time>,
    }
}

wire! {
    /// A new storage volume snapshot, as a client asks for it.
    pub struct StorageVolumeSnapshotsPost {
        expires_at: Option<Time>,
        name: String,
    }
}

wire! {
    /// A storage volume source.
    pub struct StorageVolumeSource {
        certificate: String,
        mode: String,
        name: String,
        operation: String,
        pool: String,
        project: String,
        refresh: bool,
        secrets: BTreeMap<String, String>,
        r#type: String,
        volume_only: bool,
    }
}

wire! {
    /// Run-time state of a storage volume.
    pub struct StorageVolumeState {
        usage: Option<StorageVolumeStateUsage>,
    }
}

wire! {
    /// Run-time state of a storage volume: usage.
    pub struct StorageVolumeStateUsage {
        total: i64,
        used: u64,
    }
}

wire! {
    /// A new storage volume, as a client asks for it.
    pub struct StorageVolumesPost {
        config: BTreeMap<String, String>,
        description: String,
        #[serde(skip_serializing_if = "crate::wire::is_default")]
        restore: String,
        name: String,
        r#type: String,
        source: StorageVolumeSource,
        content_type: String,
    }
}

part_of! { StorageVolumePut of StorageVolume: config, description, restore }
part_of! { StorageVolumeSnapshotPut of StorageVolumeSnapshot: description, expires_at }
