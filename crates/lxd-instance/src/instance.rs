//! What the use cases tell this crate about an instance.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use lxd_sys::userns::{IdMap, IdRange};

/// Names an instance on this server.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key {
    /// The project.
    pub project: String,
    /// The instance's name in it.
    pub name: String,
}

impl Key {
    /// The key of these names.
    pub fn new(project: impl Into<String>, name: impl Into<String>) -> Self {
        Self {
            project: project.into(),
            name: name.into(),
        }
    }

    /// The name in paths, control groups and liblxc: `NAME`, or `PROJECT_NAME` outside the default project.
    pub fn prefixed(&self) -> String {
        match self.project.as_str() {
            "default" => self.name.clone(),
            project => format!("{project}_{}", self.name),
        }
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.project, self.name)
    }
}

/// The two types of instances.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum InstanceType {
    /// Shares the host's kernel.
    Container,
    /// Has its own.
    VirtualMachine,
}

/// Where an instance's files are. All are absolute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InstancePaths {
    /// `logs/[PROJECT_]NAME`, a folder.
    pub logs: PathBuf,
    /// `devices/[PROJECT_]NAME`, a folder.
    pub devices: PathBuf,
    /// `shmounts/[PROJECT_]NAME`, a folder.
    pub shmounts: PathBuf,
    /// `security/seccomp/[PROJECT_]NAME`, a file.
    pub seccomp: PathBuf,
    /// `containers`, the folder above all containers, which is half of the name liblxc knows one by.
    pub containers: PathBuf,
    /// `devlxd`, a folder.
    pub devlxd: PathBuf,
}

/// An instance as its profiles and its own configuration make it at this moment.
#[derive(Debug, Clone, PartialEq)]
pub struct Instance {
    /// Its project and name.
    pub key: Key,
    /// Its row in the database.
    pub id: i64,
    /// Container or virtual machine.
    pub kind: InstanceType,
    /// The kernel's name of its architecture, such as `x86_64`.
    pub architecture: String,
    /// Whether it is deleted when it stops.
    pub ephemeral: bool,
    /// Its configuration after the expansion of profiles, `volatile.*` keys included.
    pub config: BTreeMap<String, String>,
    /// Its devices after the expansion of profiles.
    pub devices: BTreeMap<String, BTreeMap<String, String>>,
    /// Its files.
    pub paths: InstancePaths,
    /// The ids that it uses on the host; none for a privileged container.
    pub idmap: Option<IdMap>,
}

impl Instance {
    /// A configuration value, where one is set.
    pub fn config(&self, key: &str) -> Option<&str> {
        self.config
            .get(key)
            .map(String::as_str)
            .filter(|value| !value.is_empty())
    }

    /// A boolean configuration value; anything but a true word is false.
    pub fn is_set(&self, key: &str) -> bool {
        self.config(key).is_some_and(is_true)
    }

    /// Whether a boolean that is true by default was turned off.
    pub fn is_unset(&self, key: &str) -> bool {
        self.config(key).is_some_and(|value| !is_true(value))
    }

    /// The user id on the host of one inside.
    pub fn host_uid(&self, inside: u32) -> u32 {
        outside(self.idmap.as_ref().map(|map| &map.uids), inside)
    }

    /// The group id on the host of one inside.
    pub fn host_gid(&self, inside: u32) -> u32 {
        outside(self.idmap.as_ref().map(|map| &map.gids), inside)
    }

    /// The volatile value of a device, such as `hwaddr` of `eth0`.
    pub fn volatile(&self, device: &str, key: &str) -> Option<&str> {
        self.config(&format!("volatile.{device}.{key}"))
    }

    /// The instance with `volatile.*` keys changed; an empty value takes one away.
    pub(crate) fn with_volatile(&self, changes: &[(String, String)]) -> Self {
        let mut now = self.clone();
        for (key, value) in changes {
            if value.is_empty() {
                now.config.remove(key);
            } else {
                now.config.insert(key.clone(), value.clone());
            }
        }
        now
    }
}

fn outside(ranges: Option<&Vec<IdRange>>, inside: u32) -> u32 {
    let range = ranges
        .into_iter()
        .flatten()
        .find(|range| inside.checked_sub(range.inside).is_some_and(|n| n < range.count));
    // An id without a place shows as nobody inside, whatever it is outside.
    range.map_or(inside, |range| range.outside + (inside - range.inside))
}

fn is_true(value: &str) -> bool {
    ["true", "1", "yes", "on"].contains(&value.to_ascii_lowercase().as_str())
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// An instance with nothing set, whose files are under `root`.
    pub(crate) fn plain(root: &std::path::Path, name: &str) -> Instance {
        Instance {
            key: Key::new("default", name),
            id: 1,
            kind: InstanceType::Container,
            architecture: "x86_64".into(),
            ephemeral: false,
            config: BTreeMap::new(),
            devices: BTreeMap::new(),
            paths: InstancePaths {
                logs: root.join("logs").join(name),
                devices: root.join("devices").join(name),
                shmounts: root.join("shmounts").join(name),
                seccomp: root.join("security/seccomp").join(name),
                containers: root.join("containers"),
                devlxd: root.join("devlxd"),
            },
            idmap: Some(IdMap::shifted(1_000_000, 65_536)),
        }
    }

    #[test]
    fn names_and_ids() {
        let mut instance = plain("/x".as_ref(), "c1");
        assert_eq!(instance.key.prefixed(), "c1");
        assert_eq!(Key::new("p", "c1").prefixed(), "p_c1");
        assert_eq!(
            (
                instance.host_uid(0),
                instance.host_uid(7),
                instance.host_uid(65_536)
            ),
            (1_000_000, 1_000_007, 65_536)
        );
        instance.idmap = None;
        assert_eq!(instance.host_uid(7), 7);
        instance.config.insert("security.devlxd".into(), "off".into());
        assert!(instance.is_unset("security.devlxd") && !instance.is_unset("security.nesting"));
    }
}
