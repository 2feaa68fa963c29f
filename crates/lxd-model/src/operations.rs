//! Operations: their types, with the numbers and texts that the API and the database know.

use crate::auth::Permission;

/// What an operation does. The number is that of the `operations` table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum OperationType {
    /// Creating bootstrap node.
    ClusterBootstrap = 1,
    /// Joining cluster.
    ClusterJoin = 2,
    /// Backing up instance.
    BackupCreate = 3,
    /// Renaming instance backup.
    BackupRename = 4,
    /// Restoring backup.
    BackupRestore = 5,
    /// Removing instance backup.
    BackupRemove = 6,
    /// Showing console.
    ConsoleShow = 7,
    /// Creating instance.
    InstanceCreate = 8,
    /// Updating instance.
    InstanceUpdate = 9,
    /// Renaming instance.
    InstanceRename = 10,
    /// Migrating instance.
    InstanceMigrate = 11,
    /// Live-migrating instance.
    InstanceLiveMigrate = 12,
    /// Freezing instance.
    InstanceFreeze = 13,
    /// Unfreezing instance.
    InstanceUnfreeze = 14,
    /// Deleting instance.
    InstanceDelete = 15,
    /// Starting instance.
    InstanceStart = 16,
    /// Stopping instance.
    InstanceStop = 17,
    /// Restarting instance.
    InstanceRestart = 18,
    /// Executing command.
    CommandExec = 19,
    /// Snapshotting instance.
    SnapshotCreate = 20,
    /// Renaming snapshot.
    SnapshotRename = 21,
    /// Restoring snapshot.
    SnapshotRestore = 22,
    /// Transferring snapshot.
    SnapshotTransfer = 23,
    /// Updating snapshot.
    SnapshotUpdate = 24,
    /// Deleting snapshot.
    SnapshotDelete = 25,
    /// Downloading image.
    ImageDownload = 26,
    /// Deleting image.
    ImageDelete = 27,
    /// Image download token.
    ImageToken = 28,
    /// Refreshing image.
    ImageRefresh = 29,
    /// Copying storage volume.
    VolumeCopy = 30,
    /// Creating storage volume.
    VolumeCreate = 31,
    /// Migrating storage volume.
    VolumeMigrate = 32,
    /// Moving storage volume.
    VolumeMove = 33,
    /// Creating storage volume snapshot.
    VolumeSnapshotCreate = 34,
    /// Deleting storage volume snapshot.
    VolumeSnapshotDelete = 35,
    /// Updating storage volume snapshot.
    VolumeSnapshotUpdate = 36,
    /// Renaming project.
    ProjectRename = 37,
    /// Cleaning up expired images.
    ImagesExpire = 38,
    /// Pruning leftover image files.
    ImagesPruneLeftover = 39,
    /// Updating images.
    ImagesUpdate = 40,
    /// Synchronizing images.
    ImagesSynchronize = 41,
    /// Expiring log files.
    LogsExpire = 42,
    /// Updating instance types.
    InstanceTypesUpdate = 43,
    /// Cleaning up expired instance backups.
    BackupsExpire = 44,
    /// Cleaning up expired instance snapshots.
    SnapshotsExpire = 45,
    /// Cleaning up expired volume snapshots.
    VolumeSnapshotsExpire = 46,
    /// Creating custom volume backup.
    VolumeBackupCreate = 47,
    /// Deleting custom volume backup.
    VolumeBackupRemove = 48,
    /// Renaming custom volume backup.
    VolumeBackupRename = 49,
    /// Restoring custom volume backup.
    VolumeBackupRestore = 50,
    /// Pruning resolved warnings.
    WarningsPruneResolved = 51,
    /// Executing operation.
    ClusterJoinToken = 52,
    /// Renaming storage volume snapshot.
    VolumeSnapshotRename = 53,
    /// Evacuating cluster member.
    ClusterMemberEvacuate = 54,
    /// Restoring cluster member.
    ClusterMemberRestore = 55,
    /// Executing operation.
    CertificateAddToken = 56,
    /// Remove orphaned operations.
    RemoveOrphanedOperations = 57,
    /// Renewing server certificate.
    RenewServerCertificate = 58,
    /// Remove expired tokens.
    RemoveExpiredTokens = 59,
}

/// A type with its text and the permission that cancelling such an operation takes; [`None`]: the server's own.
type Row = (OperationType, &'static str, Option<Permission>);

const ROWS: &[Row] = &[
    (OperationType::ClusterBootstrap, "Creating bootstrap node", None),
    (OperationType::ClusterJoin, "Joining cluster", None),
    (
        OperationType::BackupCreate,
        "Backing up instance",
        Some(Permission::ManageInstances),
    ),
    (
        OperationType::BackupRename,
        "Renaming instance backup",
        Some(Permission::ManageInstances),
    ),
    (
        OperationType::BackupRestore,
        "Restoring backup",
        Some(Permission::ManageInstances),
    ),
    (
        OperationType::BackupRemove,
        "Removing instance backup",
        Some(Permission::ManageInstances),
    ),
    (
        OperationType::ConsoleShow,
        "Showing console",
        Some(Permission::OperateInstances),
    ),
    (
        OperationType::InstanceCreate,
        "Creating instance",
        Some(Permission::ManageInstances),
    ),
    (
        OperationType::InstanceUpdate,
        "Updating instance",
        Some(Permission::ManageInstances),
    ),
    (
        OperationType::InstanceRename,
        "Renaming instance",
        Some(Permission::ManageInstances),
    ),
    (
        OperationType::InstanceMigrate,
        "Migrating instance",
        Some(Permission::ManageInstances),
    ),
    (
        OperationType::InstanceLiveMigrate,
        "Live-migrating instance",
        Some(Permission::ManageInstances),
    ),
    (
        OperationType::InstanceFreeze,
        "Freezing instance",
        Some(Permission::OperateInstances),
    ),
    (
        OperationType::InstanceUnfreeze,
        "Unfreezing instance",
        Some(Permission::OperateInstances),
    ),
    (
        OperationType::InstanceDelete,
        "Deleting instance",
        Some(Permission::ManageInstances),
    ),
    (
        OperationType::InstanceStart,
        "Starting instance",
        Some(Permission::OperateInstances),
    ),
    (
        OperationType::InstanceStop,
        "Stopping instance",
        Some(Permission::OperateInstances),
    ),
    (
        OperationType::InstanceRestart,
        "Restarting instance",
        Some(Permission::OperateInstances),
    ),
    (
        OperationType::CommandExec,
        "Executing command",
        Some(Permission::OperateInstances),
    ),
    (
        OperationType::SnapshotCreate,
        "Snapshotting instance",
        Some(Permission::OperateInstances),
    ),
    (
        OperationType::SnapshotRename,
        "Renaming snapshot",
        Some(Permission::ManageInstances),
    ),
    (
        OperationType::SnapshotRestore,
        "Restoring snapshot",
        Some(Permission::ManageInstances),
    ),
    (
        OperationType::SnapshotTransfer,
        "Transferring snapshot",
        Some(Permission::ManageInstances),
    ),
    (
        OperationType::SnapshotUpdate,
        "Updating snapshot",
        Some(Permission::ManageInstances),
    ),
    (
        OperationType::SnapshotDelete,
        "Deleting snapshot",
        Some(Permission::ManageInstances),
    ),
    (
        OperationType::ImageDownload,
        "Downloading image",
        Some(Permission::ManageImages),
    ),
    (
        OperationType::ImageDelete,
        "Deleting image",
        Some(Permission::ManageImages),
    ),
    (
        OperationType::ImageToken,
        "Image download token",
        Some(Permission::ManageImages),
    ),
    (
        OperationType::ImageRefresh,
        "Refreshing image",
        Some(Permission::ManageImages),
    ),
    (
        OperationType::VolumeCopy,
        "Copying storage volume",
        Some(Permission::ManageStorageVolumes),
    ),
    (
        OperationType::VolumeCreate,
        "Creating storage volume",
        Some(Permission::ManageStorageVolumes),
    ),
    (
        OperationType::VolumeMigrate,
        "Migrating storage volume",
        Some(Permission::ManageStorageVolumes),
    ),
    (
        OperationType::VolumeMove,
        "Moving storage volume",
        Some(Permission::ManageStorageVolumes),
    ),
    (
        OperationType::VolumeSnapshotCreate,
        "Creating storage volume snapshot",
        Some(Permission::ManageStorageVolumes),
    ),
    (
        OperationType::VolumeSnapshotDelete,
        "Deleting storage volume snapshot",
        Some(Permission::ManageStorageVolumes),
    ),
    (
        OperationType::VolumeSnapshotUpdate,
        "Updating storage volume snapshot",
        Some(Permission::ManageStorageVolumes),
    ),
    (OperationType::ProjectRename, "Renaming project", None),
    (OperationType::ImagesExpire, "Cleaning up expired images", None),
    (
        OperationType::ImagesPruneLeftover,
        "Pruning leftover image files",
        None,
    ),
    (OperationType::ImagesUpdate, "Updating images", None),
    (OperationType::ImagesSynchronize, "Synchronizing images", None),
    (OperationType::LogsExpire, "Expiring log files", None),
    (
        OperationType::InstanceTypesUpdate,
        "Updating instance types",
        None,
    ),
    (
        OperationType::BackupsExpire,
        "Cleaning up expired instance backups",
        None,
    ),
    (
        OperationType::SnapshotsExpire,
        "Cleaning up expired instance snapshots",
        None,
    ),
    (
        OperationType::VolumeSnapshotsExpire,
        "Cleaning up expired volume snapshots",
        None,
    ),
    (
        OperationType::VolumeBackupCreate,
        "Creating custom volume backup",
        Some(Permission::ManageStorageVolumes),
    ),
    (
        OperationType::VolumeBackupRemove,
        "Deleting custom volume backup",
        Some(Permission::ManageStorageVolumes),
    ),
    (
        OperationType::VolumeBackupRename,
        "Renaming custom volume backup",
        Some(Permission::ManageStorageVolumes),
    ),
    (
        OperationType::VolumeBackupRestore,
        "Restoring custom volume backup",
        Some(Permission::ManageStorageVolumes),
    ),
    (
        OperationType::WarningsPruneResolved,
        "Pruning resolved warnings",
        None,
    ),
    (OperationType::ClusterJoinToken, "Executing operation", None),
    (
        OperationType::VolumeSnapshotRename,
        "Renaming storage volume snapshot",
        Some(Permission::ManageStorageVolumes),
    ),
    (
        OperationType::ClusterMemberEvacuate,
        "Evacuating cluster member",
        None,
    ),
    (
        OperationType::ClusterMemberRestore,
        "Restoring cluster member",
        None,
    ),
    (OperationType::CertificateAddToken, "Executing operation", None),
    (
        OperationType::RemoveOrphanedOperations,
        "Remove orphaned operations",
        None,
    ),
    (
        OperationType::RenewServerCertificate,
        "Renewing server certificate",
        None,
    ),
    (OperationType::RemoveExpiredTokens, "Remove expired tokens", None),
];

impl OperationType {
    /// All types in the order of their numbers.
    pub fn all() -> impl Iterator<Item = Self> {
        ROWS.iter().map(|row| row.0)
    }

    /// The number in the database.
    pub fn id(self) -> i64 {
        i64::from(self as u8)
    }

    /// The type with a number.
    pub fn from_id(id: i64) -> Option<Self> {
        let place = usize::try_from(id).ok()?.checked_sub(1)?;
        ROWS.get(place).map(|row| row.0)
    }

    /// The text that clients see.
    pub fn description(self) -> &'static str {
        ROWS[self as usize - 1].1
    }

    /// What a caller must be allowed to do to see into it and cancel it.
    pub fn permission(self) -> Option<Permission> {
        ROWS[self as usize - 1].2
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_stand_at_their_numbers() {
        for (place, kind) in OperationType::all().enumerate() {
            assert_eq!(kind.id(), i64::try_from(place).unwrap() + 1);
            assert_eq!(OperationType::from_id(kind.id()), Some(kind));
        }
        assert_eq!(OperationType::from_id(0), None);
        assert_eq!(OperationType::from_id(-1), None);
        assert_eq!(OperationType::CertificateAddToken.id(), 56);
        assert_eq!(OperationType::InstanceCreate.description(), "Creating instance");
    }
}
