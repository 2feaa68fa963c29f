//! The text of a container's AppArmor profile. Pure.
//!
//! The language has no "everything but": [`others`] writes the patterns that match all paths beside some.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use crate::instance::Instance;

/// What every container may do, and what it may not.
const BASE: &str = "  capability,
  dbus,
  file,
  network,
  umount,

  # Signals and tracing stay within the container; the host may reach in.
  signal (receive),
  signal peer=@{profile_name},
  ptrace (readby),
  ptrace (tracedby),
  ptrace peer=@{profile_name},

  # Sockets of the file system lead anywhere they are seen, others stay within the container.
  unix (receive),
  unix peer=(label=@{profile_name}),

  # Attempts that programs make and that mean nothing: not logged.
  deny mount options=(ro,remount) -> /,
  deny mount options=(ro,remount,silent) -> /,

  # Kinds of file systems without harm.
  mount fstype=cgroup -> /sys/fs/cgroup/**,
  mount fstype=cgroup2 -> /sys/fs/cgroup/**,
  mount fstype=fuse,
  mount fstype=fuse.*,
  mount fstype=fusectl -> /sys/fs/fuse/connections/,
  mount fstype=hugetlbfs,
  mount fstype=mqueue,
  mount fstype=proc -> /proc/,
  mount fstype=ramfs,
  mount fstype=securityfs -> /sys/kernel/security/,
  mount fstype=sysfs -> /sys/,
  mount fstype=tmpfs,
  mount options=(ro,nosuid,nodev,noexec,remount,strictatime) -> /sys/fs/cgroup/,
  mount options=(rw,nosuid,nodev,noexec,remount) -> /sys/,
  mount options=(rw,nosuid,nodev,remount) -> /run/,

  # These may be mounted but are the host's.
";

/// File systems of the host's kernel and where they belong.
const UNTOUCHED: [(&str, &str); 5] = [
    ("binfmt_misc", "/proc/sys/fs/binfmt_misc"),
    ("configfs", "/sys/kernel/config"),
    ("debugfs", "/sys/kernel/debug"),
    ("efivarfs", "/sys/firmware/efi/efivars"),
    ("tracefs", "/sys/kernel/tracing"),
];

const DENIED: &str = "
  deny /proc/acpi/** rwklx,
  deny /proc/bus/** wklx,
  deny /proc/kcore rwklx,
  deny /proc/sys/fs/** wklx,
  deny /proc/sysrq-trigger rwklx,
";

/// What containers may set of `/proc/sys`: what the kernel has for each namespace. A star stands for files alone.
const OWN_SYSCTL: [&str; 6] = [
    "kernel/domainname",
    "kernel/hostname",
    "kernel/msg*",
    "kernel/sem*",
    "kernel/shm*",
    "net",
];

/// What they may change of `/sys`.
const OWN_SYSFS: [&str; 4] = ["class/net", "devices/virtual/net", "fs/bpf", "fs/cgroup"];

/// The ways in which mounts pass on what is mounted beneath.
const PROPAGATION: [&str; 8] = [
    "slave",
    "rslave",
    "shared",
    "rshared",
    "private",
    "rprivate",
    "unbindable",
    "runbindable",
];

/// What may be added to a read-only copy of a mount.
const READ_ONLY: [&str; 10] = [
    "",
    ",nodev",
    ",noexec",
    ",noexec,nodev",
    ",noatime",
    ",nosuid",
    ",nosuid,nodev",
    ",nosuid,noexec",
    ",nosuid,noexec,nodev",
    ",nosuid,noexec,strictatime",
];

/// A container in a user namespace has no rights on what is the host's, whatever it mounts where.
const UNPRIVILEGED: &str = "
  # The container has a user namespace.
  pivot_root,
  mount options=(rw,bind) / -> /**,
  mount options=(rw,bind) /** -> /**,
  mount options=(rw,rbind) / -> /**,
  mount options=(rw,rbind) /** -> /**,
  mount options=(ro,remount,bind,noatime,nodev),
  mount options=(ro,remount,bind,noatime,noexec),
  mount options=(ro,remount,bind,noatime,nosuid),
  mount options=(ro,remount,bind,noatime,noexec,nodev),
  mount options=(ro,remount,bind,noatime,nosuid,nodev),
  mount options=(ro,remount,bind,noatime,nosuid,noexec),
  mount options=(ro,remount,bind,noatime,nosuid,noexec,nodev),
  mount options=(ro,remount,nosuid,noexec,strictatime),
  mount options=(ro,remount) /,
  mount options=(ro,remount) /**,
";

/// Containers within the container have namespaces and mounts of their own.
const NESTING: &str = "
  # There may be containers within.
  pivot_root,
  ptrace,
  signal,
  deny /dev/.lxc/proc/** rw,
  deny /dev/.lxc/sys/** rw,
  mount,
";

/// The profile of an instance. `namespace` is where it may load profiles of its own.
pub(super) fn text(instance: &Instance, name: &str, namespace: Option<&String>) -> String {
    let mut out = format!(
        "#include <tunables/global>\nprofile \"{name}\" flags=(attach_disconnected,mediate_deleted) {{\n{BASE}"
    );
    let mut line = |text: &str| {
        let _ = writeln!(out, "  {text},");
    };
    for (kind, place) in UNTOUCHED {
        line(&format!("mount fstype={kind} -> {place}/"));
        line(&format!("deny {place}/{{,**}} rwklx"));
    }
    out.push_str(DENIED);
    kernel_files(&mut out, namespace);
    mounts(&mut out);
    if instance.is_set("security.nesting") {
        out.push_str(NESTING);
    } else if instance.idmap.is_some() {
        unprivileged(&mut out);
    }
    if let Some(raw) = instance.config("raw.apparmor").filter(|raw| !raw.is_empty()) {
        out.push_str("\n  # raw.apparmor\n");
        raw.trim_end_matches('\n').lines().for_each(|line| {
            let _ = writeln!(out, "  {line}");
        });
    }
    out.push_str("}\n");
    out
}

/// What is the kernel's for all containers and the host together can't be written.
fn kernel_files(out: &mut String, namespace: Option<&String>) {
    let mut own: Vec<&str> = OWN_SYSFS.to_vec();
    if namespace.is_some() {
        own.push("kernel/security/apparmor");
    }
    for (root, own) in [("/proc/sys", &OWN_SYSCTL[..]), ("/sys", &own)] {
        for pattern in others(root, own) {
            let _ = writeln!(out, "  deny {pattern} wklx,");
        }
    }
    if let Some(namespace) = namespace {
        let _ = write!(
            out,
            "\n  change_profile -> \":{namespace}:*\",\n  change_profile -> \":{namespace}://*\",\n"
        );
    }
}

/// Mounts may be copied and moved, but for those that show the kernel's files under names that no rule guards.
fn mounts(out: &mut String) {
    let guarded = others("", &["dev/.lxc", "proc", "sys"]);
    let mut rule = |options: &str, places: &[String]| {
        for place in places {
            let _ = writeln!(out, "  mount options=({options}) {place},");
        }
    };
    for kind in PROPAGATION {
        rule(&format!("rw,{kind}"), &["-> /".to_owned()]);
    }
    for more in READ_ONLY {
        rule(&format!("ro,remount,bind{more}"), &guarded);
    }
    rule("rw,bind", &guarded);
    rule("rw,move", &guarded);
    rule("rw,rbind", &others("", &["dev", "proc", "sys"]));
}

fn unprivileged(out: &mut String) {
    out.push_str(UNPRIVILEGED);
    for kind in PROPAGATION {
        let _ = writeln!(out, "  mount options=(rw,{kind}) -> **,");
    }
    for more in READ_ONLY {
        let _ = writeln!(out, "  mount options=(ro,remount,bind{more}),");
    }
}

/// A folder on the way to paths that are left out.
#[derive(Default)]
struct Folder<'a>(BTreeMap<&'a str, Folder<'a>>);

/// Patterns for everything beneath `root`, but not for these paths in it nor for what is beneath them. A path that ends in a
/// star stands for files of such names, not for folders.
fn others(root: &str, paths: &[&str]) -> Vec<String> {
    let mut top = Folder::default();
    for path in paths {
        let mut folder = &mut top;
        for part in path.split('/') {
            folder = folder.0.entry(part).or_default();
        }
    }
    let mut found = Vec::new();
    beside(root, &top, &mut found);
    found
}

fn beside(root: &str, folder: &Folder<'_>, found: &mut Vec<String>) {
    // What may follow each beginning of a name that is left out.
    let mut next: BTreeMap<&str, BTreeSet<char>> = BTreeMap::new();
    for name in folder.0.keys() {
        let stem = name.trim_end_matches('*');
        for (end, letter) in stem.char_indices() {
            next.entry(&stem[..end]).or_default().insert(letter);
        }
    }
    for (beginning, letters) in &next {
        let letters: String = letters.iter().collect();
        found.push(format!("{root}/{beginning}[^{letters}]*{{,/**}}"));
    }
    for (name, inside) in &folder.0 {
        match name.ends_with('*') {
            true => found.push(format!("{root}/{name}/**")),
            false => found.push(format!("{root}/{name}?*{{,/**}}")),
        }
        if !inside.0.is_empty() {
            beside(&format!("{root}/{name}"), inside, found);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::instance::tests::plain;

    /// Whether a pattern of [`others`] matches: literal text, one `[^...]` or `?`, then anything.
    fn matches(pattern: &str, path: &str) -> bool {
        if let Some(folder) = pattern.strip_suffix("*/**") {
            let rest = path.strip_prefix(folder);
            return rest.is_some_and(|rest| rest.contains('/'));
        }
        let stem = pattern.strip_suffix("*{,/**}").unwrap();
        let (stem, letters) = match stem.split_once("[^") {
            Some((stem, letters)) => (stem, letters.trim_end_matches(']')),
            None => (stem.strip_suffix('?').unwrap(), "/"),
        };
        let first = path.strip_prefix(stem).and_then(|rest| rest.chars().next());
        first.is_some_and(|first| !letters.contains(first))
    }

    #[test]
    fn everything_is_matched_but_what_is_left_out() {
        let patterns = others("/sys", &["fs/cgroup", "fs/bpf", "class/net", "k/msg*"]);
        let is_matched = |path: &str| patterns.iter().any(|pattern| matches(pattern, path));
        for path in [
            "/sys/firmware/x",
            "/sys/f/x",
            "/sys/fsx",
            "/sys/fs/ext4/y",
            "/sys/fs/cgroups",
            "/sys/class/nets/a",
            "/sys/classes",
            "/sys/k/msg1/a",
            "/sys/k/ms1",
        ] {
            assert!(is_matched(path), "{path} in {patterns:?}");
        }
        for path in [
            "/sys/fs/cgroup/a",
            "/sys/fs/bpf",
            "/sys/class/net/eth0/mtu",
            "/sys/k/msgmax",
        ] {
            assert!(!is_matched(path), "{path} in {patterns:?}");
        }
        assert_eq!(
            others("", &["ab", "c"]),
            ["/[^ac]*{,/**}", "/a[^b]*{,/**}", "/ab?*{,/**}", "/c?*{,/**}"]
        );
    }

    #[test]
    fn what_a_profile_allows_depends_on_the_container() {
        let mut instance = plain("/x".as_ref(), "c1");
        instance.idmap = None;
        let namespace = "c1_<x>".to_owned();
        let privileged = text(&instance, "p", Some(&namespace));
        assert!(privileged.starts_with("#include <tunables/global>\nprofile \"p\" flags="));
        assert!(!privileged.contains("pivot_root") && !privileged.contains("  mount,\n"));
        assert!(privileged.contains("change_profile -> \":c1_<x>:*\","));
        assert!(privileged.contains("deny /sys/kernel/security/apparmor?*{,/**} wklx,"));
        let alone = text(&instance, "p", None);
        assert!(alone.contains("deny /sys/[^cdf]*{,/**} wklx,") && !alone.contains("change_profile"));
        instance.config.insert("security.nesting".into(), "true".into());
        instance
            .config
            .insert("raw.apparmor".into(), "deny /a w,\ndeny /b w,\n".into());
        let nesting = text(&instance, "p", Some(&namespace));
        assert!(nesting.contains("  mount,\n") && nesting.contains("  pivot_root,\n"));
        assert!(nesting.ends_with("  # raw.apparmor\n  deny /a w,\n  deny /b w,\n}\n"));
    }
}
