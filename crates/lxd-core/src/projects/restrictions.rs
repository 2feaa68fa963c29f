//! Restrictions of projects: what instances and profiles in them may not ask for. Pure functions.

use std::path::Path;

use lxd_model::config::{Config, is_false, is_true};
use lxd_model::devices::{Device, Devices, property};
use lxd_model::idmap;

use crate::error::{Error, Result};

/// Who is judged, as messages name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Whose {
    /// A container.
    Container,
    /// A profile.
    Profile,
}

impl Whose {
    fn noun(self) -> &'static str {
        match self {
            Self::Container => "container",
            Self::Profile => "profile",
        }
    }
}

/// What is judged: an instance with what it has from its profiles, or a profile.
#[derive(Debug, Clone, Copy)]
pub struct Subject<'a> {
    /// What it is.
    pub whose: Whose,
    /// Its name.
    pub name: &'a str,
    /// Its configuration.
    pub config: &'a Config,
    /// Its devices.
    pub devices: &'a Devices,
}

/// Refuses what the project `name` with the configuration `project` forbids.
///
/// # Errors
/// The first key, in their order, or else the first device that is forbidden.
pub fn check(name: &str, project: &Config, subject: Subject<'_>) -> Result<()> {
    if !is_restricted(project) {
        return Ok(());
    }
    let rules = Rules { name, project };
    for (key, value) in subject.config.iter().filter(|(_, value)| !value.is_empty()) {
        rules.key(subject, key, value)?;
    }
    subject
        .devices
        .iter()
        .try_for_each(|(device, settings)| rules.device(subject, device, settings))
}

/// Whether a project is restricted at all.
pub fn is_restricted(project: &Config) -> bool {
    project.get("restricted").is_some_and(|value| is_true(value))
}

/// System calls of containers that can be intercepted by themselves; what else begins so is low-level.
const INTERCEPTIONS: [&str; 6] = [
    "security.syscalls.intercept.bpf",
    "security.syscalls.intercept.bpf.devices",
    "security.syscalls.intercept.mknod",
    "security.syscalls.intercept.mount",
    "security.syscalls.intercept.mount.fuse",
    "security.syscalls.intercept.setxattr",
];

/// Keys that reach deep into the host.
pub(super) const LOW_LEVEL: [&str; 8] = [
    "boot.host_shutdown_timeout",
    "linux.kernel_modules",
    "raw.apparmor",
    "raw.lxc",
    "raw.seccomp",
    "security.devlxd.images",
    "security.idmap.base",
    "security.idmap.size",
];

/// Types of devices that are either allowed or not, as messages name them.
const SWITCHED: [(&str, &str); 8] = [
    ("gpu", "GPU"),
    ("infiniband", "Infiniband"),
    ("pci", "PCI"),
    ("proxy", "Proxy"),
    ("unix-block", "Unix block"),
    ("unix-char", "Unix character"),
    ("unix-hotplug", "Unix hotplug"),
    ("usb", "USB"),
];

/// The same of virtual machines. A profile may be of either.
const LOW_LEVEL_OF_MACHINES: [&str; 3] = ["limits.memory.hugepages", "raw.qemu", "raw.qemu.conf"];

struct Rules<'a> {
    name: &'a str,
    project: &'a Config,
}

impl Rules<'_> {
    fn value(&self, key: &str) -> &str {
        self.project
            .get(&format!("restricted.{key}"))
            .map_or("", String::as_str)
    }

    fn allows(&self, key: &str) -> bool {
        self.value(key) == "allow"
    }

    fn allows_low_level(&self, whose: Whose) -> bool {
        self.allows("containers.lowlevel")
            && (whose == Whose::Container || self.allows("virtual-machines.lowlevel"))
    }

    fn key(&self, subject: Subject<'_>, key: &str, value: &str) -> Result<()> {
        let forbidden = |what: &str| {
            // The reference has no word here for a profile.
            let noun = match subject.whose {
                Whose::Container => "container",
                Whose::Profile => "",
            };
            Err(Error::refused(format!(
                "Invalid value {value:?} for config {key:?} on {noun} {:?} of project {:?}: {what}",
                subject.name, self.name
            )))
        };
        match key {
            "security.privileged" if is_true(value) && !self.allows("containers.privilege") => {
                forbidden("Privileged containers are forbidden")
            }
            "security.idmap.isolated"
                if !is_true(value) && self.value("containers.privilege") == "isolated" =>
            {
                forbidden("Non-isolated containers are forbidden")
            }
            "security.nesting" if is_true(value) && !self.allows("containers.nesting") => {
                forbidden("Container nesting is forbidden")
            }
            "raw.idmap" if !self.allows_low_level(subject.whose) => self.id_map(subject, value),
            _ if INTERCEPTIONS.contains(&key) => match self.value("containers.interception") {
                "allow" | "full" => Ok(()),
                _ if is_false(value) => Ok(()),
                _ => forbidden("Container syscall interception is forbidden"),
            },
            _ if is_low_level(key, subject.whose) && !self.allows_low_level(subject.whose) => {
                Err(Error::refused(format!(
                    "Use of low-level config {key:?} on {} {:?} of project {:?} is forbidden",
                    subject.whose.noun(),
                    subject.name,
                    self.name
                )))
            }
            _ => Ok(()),
        }
    }

    /// Ids of the host may be mapped where the project has been given them.
    fn id_map(&self, subject: Subject<'_>, value: &str) -> Result<()> {
        let (uids, gids) = (self.value("idmap.uid"), self.value("idmap.gid"));
        for (number, entry) in idmap::parse_raw(value)?.iter().enumerate() {
            let last = entry.host_id.saturating_add(entry.range - 1);
            let fits = |ids: &str| is_within(ids, entry.host_id, last);
            if (entry.is_uid && !fits(uids)) || (entry.is_gid && !fits(gids)) {
                return Err(Error::refused(format!(
                    "Use of low-level \"raw.idmap\" element {number} on {} {:?} of project {:?} is forbidden",
                    subject.whose.noun(),
                    subject.name,
                    self.name
                )));
            }
        }
        Ok(())
    }

    fn device(&self, subject: Subject<'_>, name: &str, device: &Device) -> Result<()> {
        let kind = property(device, "type");
        let why = match kind {
            "nic" => self.nic(device),
            "disk" => self.disk(device),
            _ => SWITCHED
                .iter()
                .find(|(switched, _)| *switched == kind && !self.allows(&format!("devices.{kind}")))
                .map(|(_, shown)| format!("{shown} devices are forbidden")),
        };
        match why {
            None => Ok(()),
            Some(why) => Err(Error::refused(format!(
                "Invalid device {name:?} on {} {:?} of project {:?}: {why}",
                subject.whose.noun(),
                subject.name,
                self.name
            ))),
        }
    }

    fn nic(&self, device: &Device) -> Option<String> {
        let network = property(device, "network");
        match self.value("devices.nic") {
            "block" => return Some("Network devices are forbidden".into()),
            "allow" => {}
            _ if network.is_empty() => return Some("Only managed network devices are allowed".into()),
            _ => {}
        }
        // A card on a bridge of the host's, or below another card, is on that network.
        let network = match network {
            "" => property(device, "parent"),
            network => network,
        };
        let allowed = self.value("networks.access");
        let is_there = allowed.is_empty() || allowed.split(',').any(|item| item.trim() == network);
        (!network.is_empty() && !is_there).then(|| "Network not allowed in project".to_owned())
    }

    fn disk(&self, device: &Device) -> Option<String> {
        let (pool, source) = (property(device, "pool"), property(device, "source"));
        if property(device, "path") == "/" && !pool.is_empty() {
            return None;
        }
        match self.value("devices.disk") {
            "block" => Some("Disk devices are forbidden".into()),
            "allow" => {
                let paths = self.value("devices.disk.paths");
                let is_outside = pool.is_empty() && !paths.is_empty() && !is_beneath(source, paths);
                is_outside.then(|| format!("Disk source path {source:?} not allowed"))
            }
            _ => pool
                .is_empty()
                .then(|| "Attaching disks not backed by a pool is forbidden".to_owned()),
        }
    }
}

fn is_low_level(key: &str, whose: Whose) -> bool {
    LOW_LEVEL.contains(&key)
        || key.starts_with("security.syscalls.intercept")
        || (whose == Whose::Profile && LOW_LEVEL_OF_MACHINES.contains(&key))
}

/// Whether a range of ids lies in one of those of a list such as `1000,2000-2999`.
fn is_within(ids: &str, first: i64, last: i64) -> bool {
    ids.split(',').any(|item| {
        let (from, to) = item.split_once('-').unwrap_or((item, item));
        match (from.trim().parse::<i64>(), to.trim().parse::<i64>()) {
            (Ok(from), Ok(to)) => from <= first && last <= to,
            _ => false,
        }
    })
}

/// Whether a path, whatever its dots say, lies in one of the folders of a list.
fn is_beneath(source: &str, folders: &str) -> bool {
    let mut clean = std::path::PathBuf::new();
    for part in Path::new(source).components() {
        match part {
            std::path::Component::ParentDir => drop(clean.pop()),
            std::path::Component::CurDir => {}
            part => clean.push(part),
        }
    }
    clean.is_absolute() && folders.split(',').any(|folder| clean.starts_with(folder.trim()))
}
