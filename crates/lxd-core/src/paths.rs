//! Every path under `LXD_DIR`, in one place.
//!
//! The layout is the reference's, which scripts look at; instances and volumes of projects other than `default` have
//! the project's name and `_` before theirs.

use std::path::{Path, PathBuf};

use lxd_model::projects::instance_path;

/// The paths of one daemon.
#[derive(Debug, Clone)]
pub struct Paths {
    root: PathBuf,
}

macro_rules! fixed {
    ($($(#[$doc:meta])* $name:ident = $path:literal;)*) => {
        impl Paths {
            $($(#[$doc])* pub fn $name(&self) -> PathBuf {
                self.root.join($path)
            })*
        }
    };
}

fixed! {
    /// Backups of instances; those of volumes are in [`Paths::custom_backups`].
    backups = "backups";
    /// Backups of custom volumes.
    custom_backups = "backups/custom";
    /// Decompressed and other rebuildable files.
    cache = "cache";
    /// The named sizes of clouds, which the reference fetches.
    instance_types = "cache/instance_types.yaml";
    /// One link into its pool per container.
    containers = "containers";
    /// One link into its pool per virtual machine.
    virtual_machines = "virtual-machines";
    /// One link into its pool per container with snapshots.
    snapshots = "snapshots";
    /// One link into its pool per virtual machine with snapshots.
    virtual_machines_snapshots = "virtual-machines-snapshots";
    /// Both databases.
    database = "database";
    /// The node's own database.
    node_database = "database/local.db";
    /// The directory of the replicated database.
    cluster_database = "database/global";
    /// Device nodes and mounts of running instances.
    devices = "devices";
    /// The socket that instances talk to.
    devlxd = "devlxd";
    /// Loop files of pools.
    disks = "disks";
    /// Uploaded images by fingerprint.
    images = "images";
    /// One folder of logs per instance.
    logs = "logs";
    /// One folder of leases and settings per managed network.
    networks = "networks";
    /// Profiles and rules of security modules.
    security = "security";
    /// Shared with instances for mounts at run time.
    shmounts = "shmounts";
    /// One folder per pool.
    storage_pools = "storage-pools";
    /// The API's unix socket.
    socket = "unix.socket";
    /// The pid of the daemon that owns the directory.
    pid_file = "lxd.pid";
    /// The certificate of the server.
    server_certificate = "server.crt";
    /// Its key.
    server_key = "server.key";
    /// The authority of clients in PKI mode; absent otherwise.
    server_ca = "server.ca";
    /// The certificates that the authority has taken back.
    ca_revocations = "ca.crl";
    /// The certificate of the cluster.
    cluster_certificate = "cluster.crt";
    /// Its key.
    cluster_key = "cluster.key";
}

impl Paths {
    /// The paths under a state directory.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// The state directory itself.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// An image's file (for split images the metadata; the root file system has `.rootfs` appended).
    pub fn image(&self, fingerprint: &str) -> PathBuf {
        self.images().join(fingerprint)
    }

    /// The root file system of a split image.
    pub fn image_rootfs(&self, fingerprint: &str) -> PathBuf {
        self.images().join(format!("{fingerprint}.rootfs"))
    }

    /// The link to a container's volume.
    pub fn container(&self, project: &str, name: &str) -> PathBuf {
        self.containers().join(instance_path(project, name))
    }

    /// The link to a container's snapshots.
    pub fn container_snapshots(&self, project: &str, name: &str) -> PathBuf {
        self.snapshots().join(instance_path(project, name))
    }

    /// The folder of an instance's backups.
    pub fn instance_backups(&self, project: &str, name: &str) -> PathBuf {
        self.backups()
            .join("instances")
            .join(instance_path(project, name))
    }

    /// The folder of a custom volume's backups.
    pub fn volume_backups(&self, pool: &str, project: &str, name: &str) -> PathBuf {
        self.custom_backups().join(pool).join(format!("{project}_{name}"))
    }

    /// Devices of an instance.
    pub fn instance_devices(&self, project: &str, name: &str) -> PathBuf {
        self.devices().join(instance_path(project, name))
    }

    /// Logs of an instance.
    pub fn instance_logs(&self, project: &str, name: &str) -> PathBuf {
        self.logs().join(instance_path(project, name))
    }

    /// Shared mounts of an instance.
    pub fn instance_shmounts(&self, project: &str, name: &str) -> PathBuf {
        self.shmounts().join(instance_path(project, name))
    }

    /// Leases and settings of a managed network.
    pub fn network(&self, name: &str) -> PathBuf {
        self.networks().join(name)
    }

    /// The mount point of a pool.
    pub fn storage_pool(&self, name: &str) -> PathBuf {
        self.storage_pools().join(name)
    }

    /// Every directory that a running daemon needs, with its mode, parents first.
    pub fn directories(&self) -> Vec<(PathBuf, u32)> {
        [
            (".", 0o711),
            ("backups", 0o700),
            ("backups/custom", 0o700),
            ("backups/instances", 0o700),
            ("cache", 0o700),
            ("containers", 0o711),
            ("database", 0o700),
            ("database/global", 0o750),
            ("devices", 0o711),
            ("devlxd", 0o755),
            ("disks", 0o700),
            ("images", 0o700),
            ("logs", 0o700),
            ("networks", 0o711),
            ("security", 0o700),
            ("shmounts", 0o711),
            ("snapshots", 0o700),
            ("storage-pools", 0o711),
            ("virtual-machines", 0o711),
            ("virtual-machines-snapshots", 0o700),
        ]
        .into_iter()
        .map(|(path, mode)| (self.root.join(path), mode))
        .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_other_projects_stand_before_names() {
        let paths = Paths::new("/l");
        assert_eq!(paths.container("default", "c1"), Path::new("/l/containers/c1"));
        assert_eq!(paths.instance_logs("p", "c1"), Path::new("/l/logs/p_c1"));
        assert_eq!(paths.image_rootfs("ab"), Path::new("/l/images/ab.rootfs"));
    }

    #[test]
    fn parents_come_before_their_children() {
        let all = Paths::new("/l").directories();
        for (index, (path, _)) in all.iter().enumerate().skip(1) {
            let parent = path.parent().unwrap();
            assert!(
                parent == Path::new("/l") || all[..index].iter().any(|(p, _)| p == parent),
                "{path:?}"
            );
        }
    }
}
