//! What is true of this machine and does not change while the daemon runs.

use std::collections::BTreeMap;
use std::path::Path;

use lxd_api::server::ServerStorageDriverInfo;
use lxd_sys::cgroup::{Cgroups, Layout};
use lxd_sys::{nft, system};
use tokio::sync::OnceCell;

/// Facts that `GET /1.0` shows. Gathered once, at the start.
#[derive(Debug, Default)]
pub struct Facts {
    /// The name that the kernel knows the host by.
    pub host_name: String,
    /// What the kernel runs, the native one first.
    pub architectures: Vec<String>,
    /// `Linux`.
    pub kernel: String,
    /// The machine, as the kernel names it.
    pub kernel_architecture: String,
    /// The release of the kernel.
    pub kernel_version: String,
    /// What this kernel can do for containers, each `true` or `false`.
    pub kernel_features: BTreeMap<String, String>,
    /// The distribution's name.
    pub os_name: String,
    /// Its version.
    pub os_version: String,
    /// `nftables`, or `xtables` where nft is missing.
    pub firewall: String,
    /// The storage drivers that work here.
    pub storage_drivers: Vec<ServerStorageDriverInfo>,
    /// Whether control groups are of version 2 alone.
    pub only_cgroup_v2: bool,
    /// What runs instances: empty until it has been asked, which takes a process.
    pub instance_driver: OnceCell<InstanceDriver>,
}

/// What runs instances.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct InstanceDriver {
    /// The names of the drivers, such as `lxc` or `lxc | qemu`.
    pub names: String,
    /// Their versions, in the same form.
    pub versions: String,
    /// What the container library can do, each `true` or `false`.
    pub lxc_features: BTreeMap<String, String>,
}

impl Facts {
    /// Asks the kernel and the distribution; idmapped mounts are tried in the given directory.
    pub fn gather(dir: &Path) -> Self {
        let kernel = system::kernel();
        let (os_name, os_version) = system::os_release();
        let architectures = system::architectures(&kernel.architecture);
        let drivers = lxd_storage::drivers::supported()
            .into_iter()
            .map(|found| ServerStorageDriverInfo {
                name: found.info.name.into(),
                remote: found.info.remote,
                version: found.version,
            });
        Self {
            host_name: kernel.hostname,
            architectures: architectures.into_iter().map(ToOwned::to_owned).collect(),
            kernel: kernel.name,
            kernel_architecture: kernel.architecture,
            kernel_version: kernel.release,
            kernel_features: kernel_features(&system::KernelFeatures::probe(dir)),
            os_name,
            os_version,
            firewall: if nft::is_installed() {
                "nftables"
            } else {
                "xtables"
            }
            .into(),
            storage_drivers: drivers.collect(),
            only_cgroup_v2: Cgroups::detect().is_ok_and(|groups| groups.layout() == Layout::Unified),
            instance_driver: OnceCell::new(),
        }
    }
}

fn kernel_features(features: &system::KernelFeatures) -> BTreeMap<String, String> {
    [
        (
            "idmapped_mounts",
            features.idmapped_mounts && lxd_storage::drivers::id_maps::are_allowed(),
        ),
        ("netnsid_getifaddrs", features.netnsid_getifaddrs),
        ("seccomp_listener", features.seccomp_listener),
        ("seccomp_listener_continue", features.seccomp_listener_continue),
        ("shiftfs", features.shiftfs),
        ("uevent_injection", features.uevent_injection),
        ("unpriv_fscaps", features.unpriv_fscaps),
    ]
    .into_iter()
    .map(|(name, is_there)| (name.to_owned(), is_there.to_string()))
    .collect()
}
