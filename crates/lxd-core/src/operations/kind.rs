//! What operations do, in the reference's words and with its numbers.

macro_rules! kinds {
    ($($(#[$doc:meta])* $name:ident = $text:literal,)*) => {
        /// What an operation does.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
        #[allow(missing_docs, reason = "each name is its text")]
        pub enum Kind { $($name,)* }

        impl Kind {
            /// The description on the wire.
            pub fn description(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }
        }
    };
}

kinds! {
    BackupCreate = "Backing up instance",
    BackupRemove = "Removing instance backup",
    BackupRename = "Renaming instance backup",
    BackupRestore = "Restoring backup",
    BackupsExpire = "Cleaning up expired instance backups",
    CertificateAddToken = "Executing operation",
    CommandExec = "Executing command",
    ConsoleShow = "Showing console",
    CustomVolumeBackupCreate = "Creating custom volume backup",
    CustomVolumeBackupRemove = "Deleting custom volume backup",
    CustomVolumeBackupRename = "Renaming custom volume backup",
    CustomVolumeBackupRestore = "Restoring custom volume backup",
    ImageDelete = "Deleting image",
    ImageDownload = "Downloading image",
    ImageRefresh = "Refreshing image",
    ImageToken = "Image download token",
    ImagesExpire = "Cleaning up expired images",
    ImagesPruneLeftover = "Pruning leftover image files",
    ImagesUpdate = "Updating images",
    InstanceCreate = "Creating instance",
    InstanceDelete = "Deleting instance",
    InstanceFreeze = "Freezing instance",
    InstanceLiveMigrate = "Live-migrating instance",
    InstanceMigrate = "Migrating instance",
    InstanceRebuild = "Rebuilding instance",
    InstanceRename = "Renaming instance",
    InstanceRestart = "Restarting instance",
    InstanceStart = "Starting instance",
    InstanceStop = "Stopping instance",
    InstanceUnfreeze = "Unfreezing instance",
    InstanceUpdate = "Updating instance",
    InstanceStateUpdateBulk = "Updating instances",
    LogsExpire = "Expiring log files",
    ProjectRename = "Renaming project",
    SnapshotCreate = "Snapshotting instance",
    SnapshotDelete = "Deleting snapshot",
    SnapshotRename = "Renaming snapshot",
    SnapshotRestore = "Restoring snapshot",
    SnapshotTransfer = "Transferring snapshot",
    SnapshotUpdate = "Updating snapshot",
    VolumeCopy = "Copying storage volume",
    VolumeCreate = "Creating storage volume",
    VolumeMigrate = "Migrating storage volume",
    VolumeMove = "Moving storage volume",
    VolumeSnapshotCreate = "Creating storage volume snapshot",
    VolumeSnapshotDelete = "Deleting storage volume snapshot",
    VolumeSnapshotUpdate = "Updating storage volume snapshot",
    WarningsPrune = "Pruning resolved warnings",
}
