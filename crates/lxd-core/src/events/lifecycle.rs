//! Lifecycle events: what happened to which noun, by whom.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::ctx::Ctx;

/// Who asked for what happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Requestor {
    /// The user's name on the unix socket, the certificate's fingerprint on the network.
    pub username: String,
    /// `unix` or `tls`.
    pub protocol: String,
    /// `@` or the remote address.
    pub address: String,
}

/// A lifecycle event: `Lifecycle::new(Action::ProfileCreated, "/1.0/profiles/p").by(ctx)`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Lifecycle {
    action: &'static str,
    source: String,
    #[serde(skip_serializing_if = "Map::is_empty")]
    context: Map<String, Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    requestor: Option<Requestor>,
}

impl Lifecycle {
    /// What happened to the thing at a URL (see [`crate::urls::object`]).
    pub fn new(action: Action, source: impl Into<String>) -> Self {
        Self {
            action: action.as_str(),
            source: source.into(),
            context: Map::new(),
            requestor: None,
        }
    }

    /// Names who asked.
    #[must_use]
    pub fn by(mut self, ctx: &Ctx) -> Self {
        self.requestor = ctx.requestor();
        self
    }

    /// Adds a detail, such as `old_name` of a rename.
    #[must_use]
    pub fn with(mut self, key: &str, value: impl Into<Value>) -> Self {
        self.context.insert(key.into(), value.into());
        self
    }
}

macro_rules! actions {
    ($($name:ident = $text:literal,)*) => {
        /// What can happen, in the reference's words.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        #[allow(missing_docs, reason = "each name is its text")]
        pub enum Action { $($name,)* }

        impl Action {
            /// The word on the wire.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }
        }
    };
}

actions! {
    CertificateCreated = "certificate-created",
    CertificateDeleted = "certificate-deleted",
    CertificateUpdated = "certificate-updated",
    ClusterCertificateUpdated = "cluster-certificate-updated",
    ClusterDisabled = "cluster-disabled",
    ClusterEnabled = "cluster-enabled",
    ClusterGroupCreated = "cluster-group-created",
    ClusterGroupDeleted = "cluster-group-deleted",
    ClusterGroupRenamed = "cluster-group-renamed",
    ClusterGroupUpdated = "cluster-group-updated",
    ClusterMemberAdded = "cluster-member-added",
    ClusterMemberRemoved = "cluster-member-removed",
    ClusterMemberRenamed = "cluster-member-renamed",
    ClusterMemberUpdated = "cluster-member-updated",
    ClusterTokenCreated = "cluster-token-created",
    ConfigUpdated = "config-updated",
    ImageAliasCreated = "image-alias-created",
    ImageAliasDeleted = "image-alias-deleted",
    ImageAliasRenamed = "image-alias-renamed",
    ImageAliasUpdated = "image-alias-updated",
    ImageCreated = "image-created",
    ImageDeleted = "image-deleted",
    ImageRefreshed = "image-refreshed",
    ImageRetrieved = "image-retrieved",
    ImageSecretCreated = "image-secret-created",
    ImageUpdated = "image-updated",
    InstanceBackupCreated = "instance-backup-created",
    InstanceBackupDeleted = "instance-backup-deleted",
    InstanceBackupRenamed = "instance-backup-renamed",
    InstanceBackupRetrieved = "instance-backup-retrieved",
    InstanceConsole = "instance-console",
    InstanceConsoleReset = "instance-console-reset",
    InstanceConsoleRetrieved = "instance-console-retrieved",
    InstanceCreated = "instance-created",
    InstanceDeleted = "instance-deleted",
    InstanceExec = "instance-exec",
    InstanceFileDeleted = "instance-file-deleted",
    InstanceFilePushed = "instance-file-pushed",
    InstanceFileRetrieved = "instance-file-retrieved",
    InstanceLogDeleted = "instance-log-deleted",
    InstanceLogRetrieved = "instance-log-retrieved",
    InstanceMetadataRetrieved = "instance-metadata-retrieved",
    InstanceMetadataTemplateCreated = "instance-metadata-template-created",
    InstanceMetadataTemplateDeleted = "instance-metadata-template-deleted",
    InstanceMetadataTemplateRetrieved = "instance-metadata-template-retrieved",
    InstanceMetadataUpdated = "instance-metadata-updated",
    InstancePaused = "instance-paused",
    InstanceReady = "instance-ready",
    InstanceRenamed = "instance-renamed",
    InstanceRestarted = "instance-restarted",
    InstanceRestored = "instance-restored",
    InstanceResumed = "instance-resumed",
    InstanceShutdown = "instance-shutdown",
    InstanceSnapshotCreated = "instance-snapshot-created",
    InstanceSnapshotDeleted = "instance-snapshot-deleted",
    InstanceSnapshotRenamed = "instance-snapshot-renamed",
    InstanceSnapshotUpdated = "instance-snapshot-updated",
    InstanceStarted = "instance-started",
    InstanceStopped = "instance-stopped",
    InstanceUpdated = "instance-updated",
    NetworkAclCreated = "network-acl-created",
    NetworkAclDeleted = "network-acl-deleted",
    NetworkAclRenamed = "network-acl-renamed",
    NetworkAclUpdated = "network-acl-updated",
    NetworkCreated = "network-created",
    NetworkDeleted = "network-deleted",
    NetworkForwardCreated = "network-forward-created",
    NetworkForwardDeleted = "network-forward-deleted",
    NetworkForwardUpdated = "network-forward-updated",
    NetworkPeerCreated = "network-peer-created",
    NetworkPeerDeleted = "network-peer-deleted",
    NetworkPeerUpdated = "network-peer-updated",
    NetworkRenamed = "network-renamed",
    NetworkUpdated = "network-updated",
    NetworkZoneCreated = "network-zone-created",
    NetworkZoneDeleted = "network-zone-deleted",
    NetworkZoneRecordCreated = "network-zone-record-created",
    NetworkZoneRecordDeleted = "network-zone-record-deleted",
    NetworkZoneRecordUpdated = "network-zone-record-updated",
    NetworkZoneUpdated = "network-zone-updated",
    OperationCancelled = "operation-cancelled",
    ProfileCreated = "profile-created",
    ProfileDeleted = "profile-deleted",
    ProfileRenamed = "profile-renamed",
    ProfileUpdated = "profile-updated",
    ProjectCreated = "project-created",
    ProjectDeleted = "project-deleted",
    ProjectRenamed = "project-renamed",
    ProjectUpdated = "project-updated",
    StoragePoolCreated = "storage-pool-created",
    StoragePoolDeleted = "storage-pool-deleted",
    StoragePoolUpdated = "storage-pool-updated",
    StorageVolumeBackupCreated = "storage-volume-backup-created",
    StorageVolumeBackupDeleted = "storage-volume-backup-deleted",
    StorageVolumeBackupRenamed = "storage-volume-backup-renamed",
    StorageVolumeBackupRetrieved = "storage-volume-backup-retrieved",
    StorageVolumeCreated = "storage-volume-created",
    StorageVolumeDeleted = "storage-volume-deleted",
    StorageVolumeRenamed = "storage-volume-renamed",
    StorageVolumeRestored = "storage-volume-restored",
    StorageVolumeSnapshotCreated = "storage-volume-snapshot-created",
    StorageVolumeSnapshotDeleted = "storage-volume-snapshot-deleted",
    StorageVolumeSnapshotRenamed = "storage-volume-snapshot-renamed",
    StorageVolumeSnapshotUpdated = "storage-volume-snapshot-updated",
    StorageVolumeUpdated = "storage-volume-updated",
    WarningAcknowledged = "warning-acknowledged",
    WarningDeleted = "warning-deleted",
    WarningReset = "warning-reset",
}
