//! The handlers: one file per noun. A handler decodes, makes one call to `lxd-core`, and encodes.
//!
//! To add one: write `pub(super) async fn name(call: Call) -> Outcome` in the noun's file, and its row below. The
//! endpoint then no longer answers 501 and leaves `api/not-yet.txt` (`cargo xtask generate`).

mod certificates;
mod cluster;
mod events;
mod image_aliases;
mod images;
mod instance_backups;
mod instance_files;
mod instance_logs;
mod instance_metadata;
mod instance_snapshots;
mod instances;
mod internal;
mod networks;
mod operations;
mod profiles;
mod projects;
pub(crate) mod server;
mod storage_pools;
mod storage_volume_backups;
mod storage_volume_snapshots;
mod storage_volumes;
mod warnings;

use futures::future::BoxFuture;
use lxd_api::endpoints::{ENDPOINTS, Endpoint, Row};

pub(crate) use images::export_image;

use crate::http::answer::Outcome;
use crate::http::request::Call;

/// A handler of one endpoint.
pub(crate) type Handler = fn(Call) -> BoxFuture<'static, Outcome>;

macro_rules! handlers {
    ($($endpoint:ident => $noun:ident::$function:ident,)*) => {
        /// The handler of an endpoint; `None` where there is none yet.
        pub(crate) fn handler(endpoint: Endpoint) -> Option<Handler> {
            match endpoint {
                $(Endpoint::$endpoint => Some(|call| Box::pin($noun::$function(call))),)*
                _ => None,
            }
        }
    };
}

handlers! {
    ApiGet => server::versions,
    CertificateDelete => certificates::delete,
    CertificateGet => certificates::get,
    CertificatePatch => certificates::patch,
    CertificatePut => certificates::update,
    CertificatesGet => certificates::list,
    CertificatesPost => certificates::create,
    ClusterGet => cluster::get,
    ClusterGroupDelete => cluster::delete_group,
    ClusterGroupGet => cluster::whole,
    ClusterGroupPatch => cluster::whole,
    ClusterGroupPost => cluster::whole,
    ClusterGroupPut => cluster::whole,
    ClusterGroupsGet => cluster::whole,
    ClusterGroupsPost => cluster::whole,
    ClusterMemberDelete => cluster::members,
    ClusterMemberGet => cluster::members,
    ClusterMemberPatch => cluster::members,
    ClusterMemberPost => cluster::rename_member,
    ClusterMemberPut => cluster::members,
    ClusterMemberStatePost => cluster::change_state,
    ClusterMembersGet => cluster::members,
    ClusterMembersPost => cluster::whole,
    EventsGet => events::get,
    ImageAliasDelete => image_aliases::delete,
    ImageAliasGet => image_aliases::get,
    ImageAliasPatch => image_aliases::patch,
    ImageAliasPost => image_aliases::rename,
    ImageAliasPut => image_aliases::update,
    ImageAliasesGet => image_aliases::list,
    ImageAliasesPost => image_aliases::create,
    ImageDelete => images::delete,
    ImageExportGet => images::export,
    ImageExportPost => images::send,
    ImageGet => images::get,
    ImagePatch => images::patch,
    ImagePut => images::update,
    ImageRefreshPost => images::refresh,
    ImageSecretPost => images::secret,
    ImagesGet => images::list,
    ImagesPost => images::create,
    InstanceBackupDelete => instance_backups::delete,
    InstanceBackupExportGet => instance_backups::export,
    InstanceBackupGet => instance_backups::get,
    InstanceBackupPost => instance_backups::rename,
    InstanceBackupsGet => instance_backups::list,
    InstanceBackupsPost => instance_backups::create,
    InstanceConsoleDelete => instance_logs::clear_console,
    InstanceConsoleGet => instance_logs::console,
    InstanceConsolePost => instances::console,
    InstanceDelete => instances::delete,
    InstanceExecPost => instances::exec,
    InstanceFilesDelete => instance_files::delete,
    InstanceFilesGet => instance_files::get,
    InstanceFilesHead => instance_files::head,
    InstanceFilesPost => instance_files::post,
    InstanceGet => instances::get,
    InstanceLogDelete => instance_logs::delete,
    InstanceLogGet => instance_logs::get,
    InstanceLogsGet => instance_logs::list,
    InstanceMetadataGet => instance_metadata::get,
    InstanceMetadataPatch => instance_metadata::patch,
    InstanceMetadataPut => instance_metadata::update,
    InstanceMetadataTemplatesDelete => instance_metadata::delete_template,
    InstanceMetadataTemplatesGet => instance_metadata::templates,
    InstanceMetadataTemplatesPost => instance_metadata::put_template,
    InstancePatch => instances::patch,
    InstancePost => instances::rename,
    InstancePut => instances::update,
    InstanceSftpGet => instance_files::sftp,
    InstanceSnapshotDelete => instance_snapshots::delete,
    InstanceSnapshotGet => instance_snapshots::get,
    InstanceSnapshotPatch => instance_snapshots::patch,
    InstanceSnapshotPost => instance_snapshots::rename,
    InstanceSnapshotPut => instance_snapshots::update,
    InstanceSnapshotsGet => instance_snapshots::list,
    InstanceSnapshotsPost => instance_snapshots::create,
    InstanceStateGet => instances::state,
    InstanceStatePut => instances::change,
    InstancesGet => instances::list,
    InstancesPost => instances::create,
    InstancesPut => instances::change_all,
    InternalGcGet => internal::collect,
    InternalReadyGet => internal::ready,
    InternalTestingImageRefreshGet => images::refresh_all,
    InternalRecoverImportPost => internal::recover,
    InternalRecoverValidatePost => internal::find_lost,
    InternalShutdownPut => internal::shutdown,
    InternalSqlGet => internal::dump,
    InternalSqlPost => internal::query,
    NetworkDelete => networks::delete,
    NetworkGet => networks::get,
    NetworkLeasesGet => networks::leases,
    NetworkPatch => networks::patch,
    NetworkPost => networks::rename,
    NetworkPut => networks::update,
    NetworkStateGet => networks::state,
    NetworksGet => networks::list,
    NetworksPost => networks::create,
    OperationDelete => operations::delete,
    OperationGet => operations::get,
    OperationWaitGet => operations::wait,
    OperationWebsocketGet => operations::websocket,
    OperationsGet => operations::list,
    ProfileDelete => profiles::delete,
    ProfileGet => profiles::get,
    ProfilePatch => profiles::patch,
    ProfilePost => profiles::rename,
    ProfilePut => profiles::update,
    ProfilesGet => profiles::list,
    ProfilesPost => profiles::create,
    ProjectDelete => projects::delete,
    ProjectGet => projects::get,
    ProjectPatch => projects::patch,
    ProjectPost => projects::rename,
    ProjectPut => projects::update,
    ProjectStateGet => projects::state,
    ProjectsGet => projects::list,
    ProjectsPost => projects::create,
    ResourcesGet => server::resources,
    ServerGet => server::get,
    ServerPatch => server::patch,
    ServerPut => server::update,
    StoragePoolDelete => storage_pools::delete,
    StoragePoolGet => storage_pools::get,
    StoragePoolPatch => storage_pools::patch,
    StoragePoolPut => storage_pools::update,
    StoragePoolResourcesGet => storage_pools::resources,
    StoragePoolsGet => storage_pools::list,
    StoragePoolsPost => storage_pools::create,
    StorageVolumeBackupDelete => storage_volume_backups::delete,
    StorageVolumeBackupExportGet => storage_volume_backups::export,
    StorageVolumeBackupGet => storage_volume_backups::get,
    StorageVolumeBackupPost => storage_volume_backups::rename,
    StorageVolumeBackupsGet => storage_volume_backups::list,
    StorageVolumeBackupsPost => storage_volume_backups::create,
    StorageVolumeDelete => storage_volumes::delete,
    StorageVolumeGet => storage_volumes::get,
    StorageVolumePatch => storage_volumes::patch,
    StorageVolumePost => storage_volumes::rename,
    StorageVolumePut => storage_volumes::update,
    StorageVolumeSnapshotDelete => storage_volume_snapshots::delete,
    StorageVolumeSnapshotGet => storage_volume_snapshots::get,
    StorageVolumeSnapshotPatch => storage_volume_snapshots::patch,
    StorageVolumeSnapshotPost => storage_volume_snapshots::rename,
    StorageVolumeSnapshotPut => storage_volume_snapshots::update,
    StorageVolumeSnapshotsGet => storage_volume_snapshots::list,
    StorageVolumeSnapshotsPost => storage_volume_snapshots::create,
    StorageVolumeStateGet => storage_volumes::state,
    StorageVolumesGet => storage_volumes::list,
    StorageVolumesPost => storage_volumes::create,
    StorageVolumesTypeGet => storage_volumes::list,
    StorageVolumesTypePost => storage_volumes::create,
    WarningDelete => warnings::delete,
    WarningGet => warnings::get,
    WarningPatch => warnings::patch,
    WarningPut => warnings::update,
    WarningsGet => warnings::list,
}

/// The endpoints that have no handler yet.
pub(crate) fn not_yet() -> Vec<&'static Row> {
    ENDPOINTS
        .iter()
        .filter(|row| handler(row.endpoint).is_none())
        .collect()
}
