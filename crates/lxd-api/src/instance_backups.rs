//! Wire types: backups of instances.

use crate::time::Time;
use crate::wire::wire;

wire! {
    /// An instance backup.
    pub struct InstanceBackup {
        name: String,
        created_at: Time,
        expires_at: Time,
        instance_only: bool,
        container_only: bool,
        optimized_storage: bool,
    }
}

wire! {
    /// What a POST to an instance backup asks for.
    pub struct InstanceBackupPost {
        name: String,
    }
}

wire! {
    /// A new instance backup, as a client asks for it.
    pub struct InstanceBackupsPost {
        compression_algorithm: String,
        container_only: bool,
        expires_at: Time,
        instance_only: bool,
        name: String,
        optimized_storage: bool,
    }
}
