//! Writes a container's liblxc configuration. Pure: what the host has is handed in.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use liblxc::nic::{Kind, Nic};
use lxd_sys::cgroup::{Version, Write as CgroupWrite};
use lxd_sys::userns::IdRange;

use super::{apparmor, nvidia};
use crate::devices::Plan;
use crate::instance::Instance;
use crate::ports::RootVolume;

/// What the host offers, found out once.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Host {
    /// Whether the kernel has AppArmor.
    pub(crate) apparmor: bool,
    /// Whether a container may have AppArmor profiles of its own.
    pub(crate) stacking: bool,
    /// Those of [`HOST_MOUNTS`] that exist, by source.
    pub(crate) mounts: Vec<&'static str>,
    /// The version that controls access to devices.
    pub(crate) devices: Option<Version>,
    /// Whether there is a folder with the sockets for `/dev/lxd`.
    pub(crate) devlxd: bool,
    /// Lines of the distribution's drop-in files for all containers.
    pub(crate) drop_ins: Vec<String>,
}

/// Everything a configuration is made of.
pub(crate) struct Input<'a> {
    pub(crate) instance: &'a Instance,
    pub(crate) host: &'a Host,
    pub(crate) root: &'a RootVolume,
    pub(crate) devices: &'a [Plan],
    pub(crate) limits: &'a [CgroupWrite],
    pub(crate) seccomp: bool,
    /// Where the daemon answers system calls, if it does so for this instance.
    pub(crate) seccomp_socket: Option<&'a Path>,
    pub(crate) helper: &'a Path,
    pub(crate) hook_socket: &'a Path,
}

/// Files of the host that every container sees, where the host has them: source, target, whether it is a folder.
pub(crate) const HOST_MOUNTS: [(&str, &str, bool); 8] = [
    ("/dev/fuse", "dev/fuse", false),
    ("/dev/net/tun", "dev/net/tun", false),
    ("/proc/sys/fs/binfmt_misc", "proc/sys/fs/binfmt_misc", true),
    ("/sys/fs/fuse/connections", "sys/fs/fuse/connections", true),
    ("/sys/fs/pstore", "sys/fs/pstore", true),
    ("/sys/kernel/debug", "sys/kernel/debug", true),
    ("/sys/kernel/security", "sys/kernel/security", true),
    ("/sys/kernel/tracing", "sys/kernel/tracing", true),
];

/// The devices that a privileged container may use, beside making nodes: ptys, null, zero, full, random, urandom, tty,
/// console, ptmx, fuse, tun.
pub(super) const DEVICES: [&str; 13] = [
    "b *:* m",
    "c *:* m",
    "c 136:* rwm",
    "c 1:3 rwm",
    "c 1:5 rwm",
    "c 1:7 rwm",
    "c 1:8 rwm",
    "c 1:9 rwm",
    "c 5:0 rwm",
    "c 5:1 rwm",
    "c 5:2 rwm",
    "c 10:229 rwm",
    "c 10:200 rwm",
];

/// The files that a container's run has in its folder of logs.
pub(crate) fn files(instance: &Instance) -> (PathBuf, PathBuf, PathBuf) {
    let logs = &instance.paths.logs;
    (
        logs.join("lxc.conf"),
        logs.join("lxc.log"),
        logs.join("console.log"),
    )
}

/// The configuration's text.
pub(crate) fn render(input: &Input<'_>) -> String {
    let mut out = Lines(String::new());
    let instance = input.instance;
    let privileged = instance.idmap.is_none();
    let (_, log, console) = files(instance);
    out.path("lxc.log.file", &log);
    out.line("lxc.log.level", "warn");
    out.line("lxc.console.buffer.size", "auto");
    out.line("lxc.console.size", "auto");
    out.path("lxc.console.logfile", &console);
    if privileged {
        let more = match input.host.stacking {
            true => "",
            false => " mac_admin mac_override",
        };
        out.line("lxc.cap.drop", &format!("sys_time sys_module sys_rawio{more}"));
        out.line("lxc.mount.auto", "proc:mixed sys:mixed cgroup:mixed");
    } else {
        out.line("lxc.mount.auto", "proc:rw sys:rw cgroup:mixed");
    }
    out.line("lxc.autodev", "1");
    out.line("lxc.pty.max", "1024");
    if privileged {
        out.line(
            "lxc.mount.entry",
            "mqueue dev/mqueue mqueue rw,relatime,create=dir,optional 0 0",
        );
    }
    mounts(&mut out, input);
    if privileged {
        // Version 2 has no controller of that name: programs in the kernel do it.
        let version = if input.host.devices == Some(Version::V1) {
            "cgroup"
        } else {
            "cgroup2"
        };
        out.line(&format!("lxc.{version}.devices.deny"), "a");
        DEVICES
            .iter()
            .for_each(|device| out.line(&format!("lxc.{version}.devices.allow"), device));
    }
    out.line(
        "lxc.arch",
        if is_32_bit(&instance.architecture) {
            "linux32"
        } else {
            "linux64"
        },
    );
    hooks(&mut out, input);
    out.line("lxc.tty.max", "0");
    out.line("lxc.uts.name", &instance.key.name);
    if input.host.devlxd && !instance.is_unset("security.devlxd") {
        out.line(
            "lxc.mount.entry",
            &entry(&instance.paths.devlxd, "dev/lxd none bind,create=dir 0 0"),
        );
    }
    security(&mut out, input);
    if let Some(map) = &instance.idmap {
        map.uids.iter().for_each(|range| out.idmap('u', range));
        map.gids.iter().for_each(|range| out.idmap('g', range));
    }
    let shared = instance.paths.shmounts.display();
    out.line("lxc.mount.auto", &format!("shmounts:{shared}:/dev/.lxd-mounts"));
    keys(&mut out, instance);
    for write in input.limits {
        let version = if write.version == Version::V2 {
            "cgroup2"
        } else {
            "cgroup"
        };
        out.line(&format!("lxc.{version}.{}", write.file), &write.value);
    }
    out.path(
        "lxc.rootfs.path",
        &PathBuf::from(format!("dir:{}", input.root.rootfs.display())),
    );
    let mut options: Vec<&str> = input
        .devices
        .iter()
        .flat_map(|plan| &plan.root_options)
        .map(String::as_str)
        .collect();
    if input.root.needs_idmap && !privileged {
        options.push("idmap=container");
    }
    if !options.is_empty() {
        out.line("lxc.rootfs.options", &options.join(","));
    }
    devices(&mut out, input);
    input.host.drop_ins.iter().for_each(|line| out.raw(line));
    if let Some(raw) = instance.config("raw.lxc") {
        raw.lines()
            .map(str::trim)
            .filter(|line| !line.is_empty())
            .for_each(|line| out.raw(line));
    }
    out.0
}

fn mounts(out: &mut Lines, input: &Input<'_>) {
    for (source, target, is_folder) in HOST_MOUNTS {
        if input.host.mounts.contains(&source) {
            let options = if is_folder {
                "rbind,create=dir"
            } else {
                "bind,create=file"
            };
            out.line(
                "lxc.mount.entry",
                &format!("{source} {target} none {options},optional 0 0"),
            );
        }
    }
    if input.instance.is_set("security.nesting") {
        // Lets a nested container mount both unmasked.
        out.line(
            "lxc.mount.entry",
            "proc dev/.lxc/proc proc create=dir,optional 0 0",
        );
        out.line(
            "lxc.mount.entry",
            "sys dev/.lxc/sys sysfs create=dir,optional 0 0",
        );
    }
}

/// What devices mount, may use, and tell init.
fn devices(out: &mut Lines, input: &Input<'_>) {
    for plan in input.devices {
        // Others are kept from nothing: the kernel does not let them make nodes, and what they see was given to them.
        if input.instance.idmap.is_none() {
            let version = if input.host.devices == Some(Version::V1) {
                "cgroup"
            } else {
                "cgroup2"
            };
            for rule in &plan.rules {
                out.line(&format!("lxc.{version}.devices.allow"), &rule.to_string());
            }
        }
        for mount in &plan.mounts {
            let target = escape(&mount.target.display().to_string());
            let rest = format!("{target} none {} 0 0", mount.options());
            out.line("lxc.mount.entry", &entry(&mount.source, &rest));
        }
        for (key, value) in &plan.environment {
            out.line("lxc.environment", &format!("{key}={value}"));
        }
    }
}

fn hooks(out: &mut Lines, input: &Input<'_>) {
    out.line("lxc.hook.version", "1");
    let helper = quote(&input.helper.display().to_string());
    let cards: Vec<&Nic> = input.devices.iter().flat_map(|plan| &plan.cards).collect();
    if !cards.is_empty() {
        out.line(
            "lxc.hook.start-host",
            &cards_command(input, &helper, "net", &cards),
        );
    }
    // The kernel gives only hardware back by itself, and not its name.
    let own: Vec<&Nic> = cards
        .into_iter()
        .filter(|card| card.kind == Kind::Moved)
        .collect();
    if !own.is_empty() {
        out.line("lxc.hook.stop", &cards_command(input, &helper, "net-back", &own));
    }
    let socket = quote(&input.hook_socket.display().to_string());
    let key = &input.instance.key;
    let command = format!(
        "{helper} hook {socket} {} {} post-stop",
        quote(&key.project),
        quote(&key.name)
    );
    out.line("lxc.hook.post-stop", &command);
}

fn cards_command(input: &Input<'_>, helper: &str, verb: &str, cards: &[&Nic]) -> String {
    let (_, log, _) = files(input.instance);
    let mut command = format!("{helper} {verb} {}", quote(&log.display().to_string()));
    for card in cards {
        let _ = write!(command, " {}", quote(&card.to_argument()));
    }
    command
}

fn security(out: &mut Lines, input: &Input<'_>) {
    if input.host.apparmor {
        let label = apparmor::label(input.instance, input.host.stacking);
        out.line("lxc.apparmor.profile", &label);
    } else {
        out.line("lxc.apparmor.profile", "unconfined");
    }
    if input.seccomp {
        out.path("lxc.seccomp.profile", &input.instance.paths.seccomp);
    }
    if let Some(socket) = input.seccomp_socket {
        out.line("lxc.seccomp.notify.proxy", &format!("unix:{}", socket.display()));
    }
}

/// Configuration keys that map one to one, and those that NVIDIA's tools read.
fn keys(out: &mut Lines, instance: &Instance) {
    let prefixes = [
        ("environment.", "lxc.environment"),
        ("linux.sysctl.", "lxc.sysctl."),
        ("limits.kernel.", "lxc.prlimit."),
    ];
    for (prefix, target) in prefixes {
        for (key, value) in &instance.config {
            match key.strip_prefix(prefix) {
                Some(name) if target.ends_with('.') => out.line(&format!("{target}{name}"), value),
                Some(name) => out.line(target, &format!("{name}={value}")),
                None => {}
            }
        }
    }
    for (key, value) in nvidia::lines(instance) {
        out.line(key, &value);
    }
}

fn is_32_bit(architecture: &str) -> bool {
    ["i686", "i586", "armv7l", "armv6l", "ppc", "mips"].contains(&architecture)
}

/// A mount entry's source may hold spaces, written as in fstab(5).
fn entry(source: &Path, rest: &str) -> String {
    format!("{} {rest}", escape(&source.display().to_string()))
}

fn escape(path: &str) -> String {
    path.replace('\\', "\\134")
        .replace(' ', "\\040")
        .replace('\t', "\\011")
}

/// A word of a shell command: liblxc runs hooks through `/bin/sh`.
fn quote(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-=,:@%+".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

struct Lines(String);

impl Lines {
    /// Adds `key = value`. A line break in a value would start another key.
    fn line(&mut self, key: &str, value: &str) {
        let _ = writeln!(self.0, "{key} = {}", value.replace(['\n', '\r'], " "));
    }

    fn path(&mut self, key: &str, path: &Path) {
        self.line(key, &path.display().to_string());
    }

    fn idmap(&mut self, kind: char, range: &IdRange) {
        self.line(
            "lxc.idmap",
            &format!("{kind} {} {} {}", range.inside, range.outside, range.count),
        );
    }

    fn raw(&mut self, line: &str) {
        self.0.push_str(line);
        self.0.push('\n');
    }
}
