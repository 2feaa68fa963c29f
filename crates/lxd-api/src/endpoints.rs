//! The table of every endpoint of the API: method, path, name and who may call it. Declared once; the router, the
//! 501 answers, `api/not-yet.txt` and the coverage tests come from it.

/// Who may call an endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Only callers on the unix socket or with a trusted certificate.
    Trusted,
    /// Anybody; the use case decides what an untrusted caller gets.
    Anyone,
}

/// One row of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Row {
    /// The name of the endpoint.
    pub endpoint: Endpoint,
    /// The HTTP method.
    pub method: &'static str,
    /// The path, with parameters in braces.
    pub path: &'static str,
    /// Who may call it.
    pub access: Access,
}

macro_rules! endpoints {
    ($($path:literal { $($method:ident $name:ident $access:ident;)* })*) => {
        /// The name of an endpoint.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[allow(missing_docs, reason = "the names are method and path; the table says both")]
        pub enum Endpoint { $($($name,)*)* }

        /// All endpoints: the public ones first, in the order of their paths, then the internal ones.
        pub const ENDPOINTS: &[Row] = &[
            $($(Row {
                endpoint: Endpoint::$name,
                method: stringify!($method),
                path: $path,
                access: Access::$access,
            },)*)*
        ];
    };
}

endpoints! {
    "/" {
        GET ApiGet Anyone;
    }
    "/1.0" {
        GET ServerGet Anyone;
        PUT ServerPut Trusted;
        PATCH ServerPatch Trusted;
    }
    "/1.0/certificates" {
        GET CertificatesGet Trusted;
        POST CertificatesPost Anyone;
    }
    "/1.0/certificates/{fingerprint}" {
        GET CertificateGet Trusted;
        PUT CertificatePut Trusted;
        PATCH CertificatePatch Trusted;
        DELETE CertificateDelete Trusted;
    }
    "/1.0/cluster" {
        GET ClusterGet Trusted;
        PUT ClusterPut Trusted;
    }
    "/1.0/cluster/certificate" {
        PUT ClusterCertificatePut Trusted;
    }
    "/1.0/cluster/groups" {
        GET ClusterGroupsGet Trusted;
        POST ClusterGroupsPost Trusted;
    }
    "/1.0/cluster/groups/{name}" {
        GET ClusterGroupGet Trusted;
        POST ClusterGroupPost Trusted;
        PUT ClusterGroupPut Trusted;
        PATCH ClusterGroupPatch Trusted;
        DELETE ClusterGroupDelete Trusted;
    }
    "/1.0/cluster/members" {
        GET ClusterMembersGet Trusted;
        POST ClusterMembersPost Trusted;
    }
    "/1.0/cluster/members/{name}" {
        GET ClusterMemberGet Trusted;
        POST ClusterMemberPost Trusted;
        PUT ClusterMemberPut Trusted;
        PATCH ClusterMemberPatch Trusted;
        DELETE ClusterMemberDelete Trusted;
    }
    "/1.0/cluster/members/{name}/state" {
        POST ClusterMemberStatePost Trusted;
    }
    "/1.0/events" {
        GET EventsGet Trusted;
    }
    "/1.0/images" {
        GET ImagesGet Anyone;
        POST ImagesPost Anyone;
    }
    "/1.0/images/aliases" {
        GET ImageAliasesGet Trusted;
        POST ImageAliasesPost Trusted;
    }
    "/1.0/images/aliases/{name}" {
        GET ImageAliasGet Anyone;
        POST ImageAliasPost Trusted;
        PUT ImageAliasPut Trusted;
        PATCH ImageAliasPatch Trusted;
        DELETE ImageAliasDelete Trusted;
    }
    "/1.0/images/{fingerprint}" {
        GET ImageGet Anyone;
        PUT ImagePut Trusted;
        PATCH ImagePatch Trusted;
        DELETE ImageDelete Trusted;
    }
    "/1.0/images/{fingerprint}/export" {
        GET ImageExportGet Anyone;
        POST ImageExportPost Trusted;
    }
    "/1.0/images/{fingerprint}/refresh" {
        POST ImageRefreshPost Trusted;
    }
    "/1.0/images/{fingerprint}/secret" {
        POST ImageSecretPost Trusted;
    }
    "/1.0/instances" {
        GET InstancesGet Trusted;
        POST InstancesPost Trusted;
        PUT InstancesPut Trusted;
    }
    "/1.0/instances/{name}" {
        GET InstanceGet Trusted;
        POST InstancePost Trusted;
        PUT InstancePut Trusted;
        PATCH InstancePatch Trusted;
        DELETE InstanceDelete Trusted;
    }
    "/1.0/instances/{name}/backups" {
        GET InstanceBackupsGet Trusted;
        POST InstanceBackupsPost Trusted;
    }
    "/1.0/instances/{name}/backups/{backup}" {
        GET InstanceBackupGet Trusted;
        POST InstanceBackupPost Trusted;
        DELETE InstanceBackupDelete Trusted;
    }
    "/1.0/instances/{name}/backups/{backup}/export" {
        GET InstanceBackupExportGet Trusted;
    }
    "/1.0/instances/{name}/console" {
        GET InstanceConsoleGet Trusted;
        POST InstanceConsolePost Trusted;
        DELETE InstanceConsoleDelete Trusted;
    }
    "/1.0/instances/{name}/exec" {
        POST InstanceExecPost Trusted;
    }
    "/1.0/instances/{name}/files" {
        GET InstanceFilesGet Trusted;
        HEAD InstanceFilesHead Trusted;
        POST InstanceFilesPost Trusted;
        DELETE InstanceFilesDelete Trusted;
    }
    "/1.0/instances/{name}/logs" {
        GET InstanceLogsGet Trusted;
    }
    "/1.0/instances/{name}/logs/{file}" {
        GET InstanceLogGet Trusted;
        DELETE InstanceLogDelete Trusted;
    }
    "/1.0/instances/{name}/metadata" {
        GET InstanceMetadataGet Trusted;
        PUT InstanceMetadataPut Trusted;
        PATCH InstanceMetadataPatch Trusted;
    }
    "/1.0/instances/{name}/metadata/templates" {
        GET InstanceMetadataTemplatesGet Trusted;
        POST InstanceMetadataTemplatesPost Trusted;
        DELETE InstanceMetadataTemplatesDelete Trusted;
    }
    "/1.0/instances/{name}/sftp" {
        GET InstanceSftpGet Trusted;
    }
    "/1.0/instances/{name}/snapshots" {
        GET InstanceSnapshotsGet Trusted;
        POST InstanceSnapshotsPost Trusted;
    }
    "/1.0/instances/{name}/snapshots/{snapshot}" {
        GET InstanceSnapshotGet Trusted;
        POST InstanceSnapshotPost Trusted;
        PUT InstanceSnapshotPut Trusted;
        PATCH InstanceSnapshotPatch Trusted;
        DELETE InstanceSnapshotDelete Trusted;
    }
    "/1.0/instances/{name}/state" {
        GET InstanceStateGet Trusted;
        PUT InstanceStatePut Trusted;
    }
    "/1.0/metrics" {
        GET MetricsGet Trusted;
    }
    "/1.0/network-acls" {
        GET NetworkAclsGet Trusted;
        POST NetworkAclsPost Trusted;
    }
    "/1.0/network-acls/{name}" {
        GET NetworkAclGet Trusted;
        POST NetworkAclPost Trusted;
        PUT NetworkAclPut Trusted;
        PATCH NetworkAclPatch Trusted;
        DELETE NetworkAclDelete Trusted;
    }
    "/1.0/network-acls/{name}/log" {
        GET NetworkAclLogGet Trusted;
    }
    "/1.0/network-zones" {
        GET NetworkZonesGet Trusted;
        POST NetworkZonesPost Trusted;
    }
    "/1.0/network-zones/{name}" {
        GET NetworkZoneGet Trusted;
        PUT NetworkZonePut Trusted;
        PATCH NetworkZonePatch Trusted;
        DELETE NetworkZoneDelete Trusted;
    }
    "/1.0/network-zones/{name}/records" {
        GET NetworkZoneRecordsGet Trusted;
        POST NetworkZoneRecordsPost Trusted;
    }
    "/1.0/network-zones/{name}/records/{record}" {
        GET NetworkZoneRecordGet Trusted;
        PUT NetworkZoneRecordPut Trusted;
        PATCH NetworkZoneRecordPatch Trusted;
        DELETE NetworkZoneRecordDelete Trusted;
    }
    "/1.0/networks" {
        GET NetworksGet Trusted;
        POST NetworksPost Trusted;
    }
    "/1.0/networks/{name}" {
        GET NetworkGet Trusted;
        POST NetworkPost Trusted;
        PUT NetworkPut Trusted;
        PATCH NetworkPatch Trusted;
        DELETE NetworkDelete Trusted;
    }
    "/1.0/networks/{name}/forwards" {
        GET NetworkForwardsGet Trusted;
        POST NetworkForwardsPost Trusted;
    }
    "/1.0/networks/{name}/forwards/{address}" {
        GET NetworkForwardGet Trusted;
        PUT NetworkForwardPut Trusted;
        PATCH NetworkForwardPatch Trusted;
        DELETE NetworkForwardDelete Trusted;
    }
    "/1.0/networks/{name}/leases" {
        GET NetworkLeasesGet Trusted;
    }
    "/1.0/networks/{name}/peers" {
        GET NetworkPeersGet Trusted;
        POST NetworkPeersPost Trusted;
    }
    "/1.0/networks/{name}/peers/{peer}" {
        GET NetworkPeerGet Trusted;
        PUT NetworkPeerPut Trusted;
        PATCH NetworkPeerPatch Trusted;
        DELETE NetworkPeerDelete Trusted;
    }
    "/1.0/networks/{name}/state" {
        GET NetworkStateGet Trusted;
    }
    "/1.0/operations" {
        GET OperationsGet Trusted;
    }
    "/1.0/operations/{id}" {
        GET OperationGet Trusted;
        DELETE OperationDelete Trusted;
    }
    "/1.0/operations/{id}/wait" {
        GET OperationWaitGet Anyone;
    }
    "/1.0/operations/{id}/websocket" {
        GET OperationWebsocketGet Anyone;
    }
    "/1.0/profiles" {
        GET ProfilesGet Trusted;
        POST ProfilesPost Trusted;
    }
    "/1.0/profiles/{name}" {
        GET ProfileGet Trusted;
        POST ProfilePost Trusted;
        PUT ProfilePut Trusted;
        PATCH ProfilePatch Trusted;
        DELETE ProfileDelete Trusted;
    }
    "/1.0/projects" {
        GET ProjectsGet Trusted;
        POST ProjectsPost Trusted;
    }
    "/1.0/projects/{name}" {
        GET ProjectGet Trusted;
        POST ProjectPost Trusted;
        PUT ProjectPut Trusted;
        PATCH ProjectPatch Trusted;
        DELETE ProjectDelete Trusted;
    }
    "/1.0/projects/{name}/state" {
        GET ProjectStateGet Trusted;
    }
    "/1.0/resources" {
        GET ResourcesGet Trusted;
    }
    "/1.0/storage-pools" {
        GET StoragePoolsGet Trusted;
        POST StoragePoolsPost Trusted;
    }
    "/1.0/storage-pools/{name}" {
        GET StoragePoolGet Trusted;
        PUT StoragePoolPut Trusted;
        PATCH StoragePoolPatch Trusted;
        DELETE StoragePoolDelete Trusted;
    }
    "/1.0/storage-pools/{name}/resources" {
        GET StoragePoolResourcesGet Trusted;
    }
    "/1.0/storage-pools/{name}/volumes" {
        GET StorageVolumesGet Trusted;
        POST StorageVolumesPost Trusted;
    }
    "/1.0/storage-pools/{name}/volumes/{type}" {
        GET StorageVolumesTypeGet Trusted;
        POST StorageVolumesTypePost Trusted;
    }
    "/1.0/storage-pools/{name}/volumes/{type}/{volume}" {
        GET StorageVolumeGet Trusted;
        POST StorageVolumePost Trusted;
        PUT StorageVolumePut Trusted;
        PATCH StorageVolumePatch Trusted;
        DELETE StorageVolumeDelete Trusted;
    }
    "/1.0/storage-pools/{name}/volumes/{type}/{volume}/backups" {
        GET StorageVolumeBackupsGet Trusted;
        POST StorageVolumeBackupsPost Trusted;
    }
    "/1.0/storage-pools/{name}/volumes/{type}/{volume}/backups/{backup}" {
        GET StorageVolumeBackupGet Trusted;
        POST StorageVolumeBackupPost Trusted;
        DELETE StorageVolumeBackupDelete Trusted;
    }
    "/1.0/storage-pools/{name}/volumes/{type}/{volume}/backups/{backup}/export" {
        GET StorageVolumeBackupExportGet Trusted;
    }
    "/1.0/storage-pools/{name}/volumes/{type}/{volume}/snapshots" {
        GET StorageVolumeSnapshotsGet Trusted;
        POST StorageVolumeSnapshotsPost Trusted;
    }
    "/1.0/storage-pools/{name}/volumes/{type}/{volume}/snapshots/{snapshot}" {
        GET StorageVolumeSnapshotGet Trusted;
        POST StorageVolumeSnapshotPost Trusted;
        PUT StorageVolumeSnapshotPut Trusted;
        PATCH StorageVolumeSnapshotPatch Trusted;
        DELETE StorageVolumeSnapshotDelete Trusted;
    }
    "/1.0/storage-pools/{name}/volumes/{type}/{volume}/state" {
        GET StorageVolumeStateGet Trusted;
    }
    "/1.0/warnings" {
        GET WarningsGet Trusted;
    }
    "/1.0/warnings/{uuid}" {
        GET WarningGet Trusted;
        PUT WarningPut Trusted;
        PATCH WarningPatch Trusted;
        DELETE WarningDelete Trusted;
    }
    "/internal/shutdown" {
        PUT InternalShutdownPut Trusted;
    }
    "/internal/ready" {
        GET InternalReadyGet Trusted;
    }
    "/internal/sql" {
        GET InternalSqlGet Trusted;
        POST InternalSqlPost Trusted;
    }
    "/internal/testing/image-refresh" {
        GET InternalTestingImageRefreshGet Trusted;
    }
    "/internal/gc" {
        GET InternalGcGet Trusted;
    }
    "/internal/recover/validate" {
        POST InternalRecoverValidatePost Trusted;
    }
    "/internal/recover/import" {
        POST InternalRecoverImportPost Trusted;
    }
}

impl Endpoint {
    /// The row of this endpoint.
    pub fn row(self) -> &'static Row {
        &ENDPOINTS[self as usize]
    }
}

impl Row {
    /// Whether the endpoint is one of the daemon's own, outside `/1.0`.
    pub fn is_internal(&self) -> bool {
        self.path.starts_with("/internal")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_holds_every_method_of_the_api_once() {
        let public: Vec<_> = ENDPOINTS.iter().filter(|row| !row.is_internal()).collect();
        assert_eq!(public.len(), 185);
        let mut seen = std::collections::BTreeSet::new();
        for row in ENDPOINTS {
            assert!(
                seen.insert((row.method, row.path)),
                "{} {} is there twice",
                row.method,
                row.path
            );
            assert_eq!(row.endpoint.row(), row);
        }
    }
}
