//! Restrictions of projects: what instances and profiles in them may not ask for. Pure functions.

use std::path::Path;

use lxd_model::config::{Config, is_true};
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
const LOW_LEVEL: [&str; 8] = [
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
            _ if INTERCEPTIONS.contains(&key) => {
                let is_off = ["false", "0", "no", "off"]
                    .iter()
                    .any(|word| value.eq_ignore_ascii_case(word));
                match self.value("containers.interception") {
                    "allow" | "full" => Ok(()),
                    _ if is_off => Ok(()),
                    _ => forbidden("Container syscall interception is forbidden"),
                }
            }
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

#[cfg(test)]
mod tests {
    use super::*;

    fn config(pairs: &[(&str, &str)]) -> Config {
        pairs
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect()
    }

    /// What a project with these restrictions says of a container with one key.
    fn of_key(restrictions: &[(&str, &str)], key: &str, value: &str) -> String {
        let mut project = config(restrictions);
        project.insert("restricted".into(), "true".into());
        let subject = Subject {
            whose: Whose::Container,
            name: "c1",
            config: &config(&[(key, value)]),
            devices: &Devices::new(),
        };
        check("p", &project, subject)
            .map_err(|error| error.text())
            .err()
            .unwrap_or_default()
    }

    #[test]
    fn keys_are_forbidden_in_the_references_words() {
        let low = |key: &str| {
            format!("Use of low-level config {key:?} on container \"c1\" of project \"p\" is forbidden")
        };
        for key in LOW_LEVEL {
            assert_eq!(of_key(&[], key, "x"), low(key));
            assert_eq!(
                of_key(&[("restricted.containers.lowlevel", "allow")], key, "x"),
                ""
            );
        }
        for key in [
            "security.syscalls.intercept.sysinfo",
            "security.syscalls.intercept.mount.allowed",
        ] {
            assert_eq!(of_key(&[], key, "true"), low(key));
        }
        for (key, value, switch, what) in [
            (
                "security.privileged",
                "true",
                "containers.privilege",
                "Privileged containers are forbidden",
            ),
            (
                "security.nesting",
                "1",
                "containers.nesting",
                "Container nesting is forbidden",
            ),
            (
                "security.syscalls.intercept.mount",
                "true",
                "containers.interception",
                "Container syscall interception is forbidden",
            ),
        ] {
            assert_eq!(
                of_key(&[], key, value),
                format!(
                    "Invalid value {value:?} for config {key:?} on container \"c1\" of project \"p\": {what}"
                )
            );
            assert_eq!(of_key(&[], key, "false"), "");
            assert_eq!(
                of_key(&[(&format!("restricted.{switch}"), "allow")], key, value),
                ""
            );
        }
        let isolated = [("restricted.containers.privilege", "isolated")];
        assert!(
            of_key(&isolated, "security.idmap.isolated", "false")
                .ends_with("Non-isolated containers are forbidden")
        );
        assert!(
            of_key(&isolated, "security.privileged", "true").ends_with("Privileged containers are forbidden")
        );
        assert_eq!(of_key(&isolated, "security.idmap.isolated", "true"), "");
        assert_eq!(of_key(&[], "user.x", "y"), "");
    }

    #[test]
    fn ids_of_the_host_must_have_been_given_to_the_project() {
        let given = [
            ("restricted.idmap.uid", "5,1000-2000"),
            ("restricted.idmap.gid", "7"),
        ];
        assert_eq!(
            of_key(&given, "raw.idmap", "uid 1000-1999 0-999\nuid 5 1\ngid 7 7"),
            ""
        );
        for (value, element) in [
            ("uid 1999-2001 0-2", 0),
            ("uid 5 5\nboth 5 5", 1),
            ("gid 1000 1000", 0),
        ] {
            assert_eq!(
                of_key(&given, "raw.idmap", value),
                format!(
                    "Use of low-level \"raw.idmap\" element {element} on container \"c1\" of project \"p\" is forbidden"
                )
            );
        }
    }

    #[test]
    fn devices_are_forbidden_in_the_references_words() {
        let judge = |restrictions: &[(&str, &str)], device: &str| {
            let mut project = config(restrictions);
            project.insert("restricted".into(), "true".into());
            let devices: Devices = serde_json::from_str(&format!("{{\"x\":{device}}}")).unwrap();
            let subject = Subject {
                whose: Whose::Profile,
                name: "f",
                config: &Config::new(),
                devices: &devices,
            };
            let text = check("p", &project, subject)
                .map_err(|error| error.text())
                .err()
                .unwrap_or_default();
            text.strip_prefix("Invalid device \"x\" on profile \"f\" of project \"p\": ")
                .unwrap_or(&text)
                .to_owned()
        };
        let unpooled = "Attaching disks not backed by a pool is forbidden";
        let paths = [
            ("restricted.devices.disk", "allow"),
            ("restricted.devices.disk.paths", "/a,/b/c"),
        ];
        for (restrictions, device, why) in [
            (&[][..], r#"{"type":"usb"}"#, "USB devices are forbidden"),
            (
                &[][..],
                r#"{"type":"unix-char","path":"/dev/null"}"#,
                "Unix character devices are forbidden",
            ),
            (
                &[("restricted.devices.usb", "allow")][..],
                r#"{"type":"usb"}"#,
                "",
            ),
            (&[][..], r#"{"type":"none"}"#, ""),
            (
                &[][..],
                r#"{"type":"nic","nictype":"p2p"}"#,
                "Only managed network devices are allowed",
            ),
            (&[][..], r#"{"type":"nic","network":"n"}"#, ""),
            (
                &[("restricted.devices.nic", "block")][..],
                r#"{"type":"nic","network":"n"}"#,
                "Network devices are forbidden",
            ),
            (
                &[("restricted.networks.access", "a, b")][..],
                r#"{"type":"nic","network":"n"}"#,
                "Network not allowed in project",
            ),
            (&[][..], r#"{"type":"disk","path":"/","pool":"q"}"#, ""),
            (
                &[][..],
                r#"{"type":"disk","path":"/x","source":"/etc"}"#,
                unpooled,
            ),
            (
                &[("restricted.devices.disk", "block")][..],
                r#"{"type":"disk","path":"/x","source":"v","pool":"q"}"#,
                "Disk devices are forbidden",
            ),
            (&paths[..], r#"{"type":"disk","path":"/x","source":"/a/d"}"#, ""),
            (
                &paths[..],
                r#"{"type":"disk","path":"/x","source":"/a/../etc"}"#,
                "Disk source path \"/a/../etc\" not allowed",
            ),
            (
                &paths[..],
                r#"{"type":"disk","path":"/x","source":"/ab"}"#,
                "Disk source path \"/ab\" not allowed",
            ),
        ] {
            assert_eq!(judge(restrictions, device), why, "{device}");
        }
    }

    #[test]
    fn profiles_may_be_of_machines() {
        let judge = |restrictions: &[(&str, &str)], key: &str| {
            let mut project = config(restrictions);
            project.insert("restricted".into(), "true".into());
            let subject = Subject {
                whose: Whose::Profile,
                name: "f",
                config: &config(&[(key, "x")]),
                devices: &Devices::new(),
            };
            check("p", &project, subject).is_ok()
        };
        let containers = ("restricted.containers.lowlevel", "allow");
        let machines = ("restricted.virtual-machines.lowlevel", "allow");
        for key in ["raw.lxc", "raw.qemu"] {
            assert!(!judge(&[], key) && !judge(&[containers], key));
            assert!(judge(&[containers, machines], key));
        }
    }

    #[test]
    fn what_is_not_restricted_may_be_anything() {
        let subject = Subject {
            whose: Whose::Container,
            name: "c",
            config: &config(&[("security.privileged", "true")]),
            devices: &Devices::new(),
        };
        assert!(check("p", &Config::new(), subject).is_ok());
        assert!(check("p", &config(&[("restricted", "false")]), subject).is_ok());
    }
}
