//! Control groups v1, v2 and hybrid: limits, accounting, freezing and clean-up.
//!
//! Which files exist depends on the version that a controller is mounted in, and on a hybrid host that differs from
//! controller to controller. [`Limits::writes`] decides what to write where; the rest reads and writes.

mod devices;
mod group;
mod limits;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};

pub use devices::{DeviceRule, Throttle};
pub use group::{Group, Usage};
pub use limits::{CpuShare, Limits, MemoryLimit, PageSize, Swap, Write};

/// How this machine mounts control groups.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    /// One hierarchy, version 2.
    Unified,
    /// Version 1 for controllers, version 2 at the side.
    Hybrid,
    /// Version 1 only.
    Legacy,
}

/// The version that a controller is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Version {
    /// One hierarchy for each controller or few.
    V1,
    /// The unified hierarchy.
    V2,
}

/// What went wrong with a control group.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The mounts of this machine can't be read.
    #[error("reading the control group mounts from {}", path.display())]
    Detect {
        /// The file that was read.
        path: PathBuf,
        /// What the kernel answered.
        #[source]
        source: io::Error,
    },
    /// The groups of a process can't be read.
    #[error("reading the control groups of process {pid}")]
    Process {
        /// The process.
        pid: i32,
        /// What the kernel answered.
        #[source]
        source: io::Error,
    },
    /// A file can't be read.
    #[error("reading {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the kernel answered.
        #[source]
        source: io::Error,
    },
    /// A file does not take a value.
    #[error("setting {} to {value:?}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// The value.
        value: String,
        /// What the kernel answered.
        #[source]
        source: io::Error,
    },
    /// A group can't be removed.
    #[error("removing control group {}", path.display())]
    Remove {
        /// The group's folder.
        path: PathBuf,
        /// What the kernel answered.
        #[source]
        source: io::Error,
    },
    /// The controller that is needed is not there.
    #[error("the {controller} control group controller is missing")]
    Missing {
        /// Its name.
        controller: &'static str,
    },
    /// Some process did not freeze in time.
    #[error("control group {path:?} did not freeze")]
    Freeze {
        /// The group's path.
        path: String,
    },
}

/// The hierarchies of this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cgroups {
    /// Mount point by controller, version 1. Named hierarchies are `name=systemd`.
    legacy: BTreeMap<String, PathBuf>,
    /// Mount point of version 2.
    unified: Option<PathBuf>,
    /// Controllers that version 2 offers.
    offered: BTreeSet<String>,
}

impl Cgroups {
    /// Looks at the mounts of this process.
    ///
    /// # Errors
    /// [`Error::Detect`].
    pub fn detect() -> Result<Self, Error> {
        let path = Path::new("/proc/self/mountinfo");
        let fail = |path: &Path, source| Error::Detect {
            path: path.to_owned(),
            source,
        };
        let text = std::fs::read_to_string(path).map_err(|e| fail(path, e))?;
        let mut found = Self::from_mountinfo(&text);
        if let Some(unified) = &found.unified {
            let path = unified.join("cgroup.controllers");
            let offered = std::fs::read_to_string(&path).map_err(|e| fail(&path, e))?;
            found.offered = offered.split_whitespace().map(str::to_owned).collect();
        }
        Ok(found)
    }

    /// The hierarchies that a `mountinfo` text tells of, before anyone has asked what version 2 offers.
    pub fn from_mountinfo(text: &str) -> Self {
        let mut found = Self {
            legacy: BTreeMap::new(),
            unified: None,
            offered: BTreeSet::new(),
        };
        for line in text.lines() {
            let Some((front, back)) = line.split_once(" - ") else {
                continue;
            };
            let Some(target) = front.split(' ').nth(4).map(PathBuf::from) else {
                continue;
            };
            let mut back = back.split(' ');
            match (back.next(), back.nth(1)) {
                (Some("cgroup2"), _) => {
                    found.unified.get_or_insert(target);
                }
                (Some("cgroup"), Some(options)) => {
                    for option in options.split(',').filter(|o| is_controller(o)) {
                        found
                            .legacy
                            .entry(option.to_owned())
                            .or_insert_with(|| target.clone());
                    }
                }
                _ => {}
            }
        }
        found
    }

    /// Hierarchies at given places, such as a folder made for a test.
    pub fn at(
        legacy: BTreeMap<String, PathBuf>,
        unified: Option<PathBuf>,
        offered: BTreeSet<String>,
    ) -> Self {
        Self {
            legacy,
            unified,
            offered,
        }
    }

    /// How this machine mounts control groups.
    pub fn layout(&self) -> Layout {
        match (&self.unified, self.legacy.is_empty()) {
            (Some(_), true) => Layout::Unified,
            (Some(_), false) => Layout::Hybrid,
            (None, _) => Layout::Legacy,
        }
    }

    /// The version that a controller is in, if it is there at all. `freezer` is part of version 2 itself.
    pub fn version(&self, controller: &str) -> Option<Version> {
        if self.legacy.contains_key(controller) {
            return Some(Version::V1);
        }
        let offered = self.offered.contains(match controller {
            "cpuacct" => "cpu",
            other => other,
        });
        (self.unified.is_some() && (offered || controller == "freezer")).then_some(Version::V2)
    }

    /// Whether limits on swap can be set and read.
    pub fn has_swap_accounting(&self) -> bool {
        match self.version("memory") {
            Some(Version::V1) => self
                .legacy
                .get("memory")
                .is_some_and(|m| m.join("memory.memsw.limit_in_bytes").exists()),
            Some(Version::V2) => Path::new("/proc/swaps").exists(),
            None => false,
        }
    }

    /// The file in which a group's share of the disks stands, if this kernel weighs them.
    pub fn disk_weight(&self) -> Option<(Version, &'static str, &'static str)> {
        if let Some(mount) = self.legacy.get("blkio") {
            // The topmost group has no weight of BFQ's, but counts what BFQ does.
            let signs = [
                ("blkio.weight", "blkio.weight"),
                ("blkio.bfq.io_serviced", "blkio.bfq.weight"),
            ];
            let found = signs.iter().find(|(sign, _)| mount.join(sign).exists());
            return found.map(|(_, file)| (Version::V1, "blkio", *file));
        }
        self.version("io")?;
        // The topmost group of version 2 shows neither; its children do.
        let below = std::fs::read_dir(self.unified.as_ref()?)
            .into_iter()
            .flatten()
            .flatten();
        let mut found = below.filter_map(|entry| {
            let files = ["io.weight", "io.bfq.weight"];
            files.into_iter().find(|file| entry.path().join(file).exists())
        });
        found.next().map(|file| (Version::V2, "io", file))
    }

    /// The group at the same path (`/a/b`) of every hierarchy.
    pub fn group(&self, path: &str) -> Group {
        let inside = path.trim_start_matches('/');
        let legacy = self
            .legacy
            .iter()
            .map(|(name, mount)| (name.clone(), mount.join(inside)))
            .collect();
        Group::new(
            path.to_owned(),
            legacy,
            self.unified.as_ref().map(|mount| mount.join(inside)),
            self.clone(),
        )
    }

    /// The group that a process is in. Its paths may differ between hierarchies, as systemd moves itself in some:
    /// each is cut behind the first component that `is_top` accepts.
    ///
    /// # Errors
    /// [`Error::Process`].
    pub fn group_of(&self, pid: i32, is_top: impl Fn(&str) -> bool) -> Result<Group, Error> {
        let text = crate::process::cgroups(pid).map_err(|source| Error::Process { pid, source })?;
        Ok(self.group_from(&text, is_top))
    }

    /// As [`Cgroups::group_of`], from the text of `/proc/PID/cgroup`.
    pub fn group_from(&self, text: &str, is_top: impl Fn(&str) -> bool) -> Group {
        let mut legacy = BTreeMap::new();
        let mut unified = None;
        let mut shown = String::new();
        for line in text.lines() {
            let mut parts = line.splitn(3, ':');
            let (Some(id), Some(names), Some(path)) = (parts.next(), parts.next(), parts.next()) else {
                continue;
            };
            let path = cut(path, &is_top);
            let inside = path.trim_start_matches('/');
            if id == "0" && names.is_empty() {
                unified = self.unified.as_ref().map(|mount| mount.join(inside));
                shown = path;
                continue;
            }
            for name in names.split(',') {
                if let Some(mount) = self.legacy.get(name) {
                    legacy.insert(name.to_owned(), mount.join(inside));
                }
            }
            if shown.is_empty() {
                shown = path;
            }
        }
        Group::new(shown, legacy, unified, self.clone())
    }

    /// Waits for what keeps this kernel from moving processes. It lets nobody move another process before a grace period has gone by,
    /// 7 to 15 ms on an idle machine, unless somebody else has just moved. So whoever is about to have processes moved has this wait
    /// meanwhile; afterwards they move at once for a while. The calling process moves to where it is. Not for async code.
    pub fn expect_moves(&self) {
        let own = i32::try_from(std::process::id()).unwrap_or_default();
        let Ok(group) = self.group_of(own, |_| false) else {
            return;
        };
        if let Some(folder) = group.legacy().into_iter().chain(group.unified()).next() {
            // Where it may not, those who move wait themselves.
            let _ = std::fs::write(folder.join("cgroup.procs"), "0");
        }
    }

    /// The processors that may be used on this machine, such as `0-3`.
    ///
    /// # Errors
    /// [`Error::Read`] when neither version nor `/sys` tells.
    pub fn processors(&self) -> Result<String, Error> {
        let file = match self.version("cpuset") {
            Some(Version::V1) => self
                .legacy
                .get("cpuset")
                .map(|mount| mount.join("cpuset.effective_cpus")),
            Some(Version::V2) => self
                .unified
                .as_ref()
                .map(|mount| mount.join("cpuset.cpus.effective")),
            None => None,
        };
        let online = PathBuf::from("/sys/devices/system/cpu/online");
        let path = file.filter(|path| path.exists()).unwrap_or(online);
        std::fs::read_to_string(&path)
            .map(|text| text.trim().to_owned())
            .map_err(|source| Error::Read { path, source })
    }
}

/// Mount options that name no controller.
fn is_controller(option: &str) -> bool {
    !matches!(
        option,
        "rw" | "ro" | "xattr" | "clone_children" | "noprefix" | "cpuset_v2_mode" | ""
    ) && !option.starts_with("release_agent=")
}

fn cut(path: &str, is_top: impl Fn(&str) -> bool) -> String {
    let mut end = 0;
    for part in path.split('/') {
        end += part.len();
        if is_top(part) {
            return path[..end].to_owned();
        }
        end += 1;
    }
    path.to_owned()
}
