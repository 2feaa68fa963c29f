//! What is true of this machine and does not change while the daemon runs.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use lxd_api::server::ServerStorageDriverInfo;

/// Facts that `GET /1.0` shows. Gathered once, at the start.
#[derive(Debug, Clone, Default)]
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
    /// The instance drivers, such as `lxc` or `lxc | qemu`.
    pub driver: String,
    /// Their versions, in the same form.
    pub driver_version: String,
    /// What the container library can do.
    pub lxc_features: BTreeMap<String, String>,
    /// `nftables` or `xtables`.
    pub firewall: String,
    /// The storage drivers that work here.
    pub storage_drivers: Vec<ServerStorageDriverInfo>,
}

impl Facts {
    /// Asks the kernel and the distribution; what the mechanisms know is filled in by the daemon's start.
    pub fn gather(dir: &Path) -> Self {
        let uname = rustix::system::uname();
        let text = |part: &std::ffi::CStr| part.to_string_lossy().into_owned();
        let (machine, release) = (text(uname.machine()), text(uname.release()));
        let (os_name, os_version) = fs::read_to_string("/etc/os-release")
            .map(|t| os_release(&t))
            .unwrap_or_default();
        let actions = fs::read_to_string("/proc/sys/kernel/seccomp/actions_avail").unwrap_or_default();
        let mut kernel_features = kernel_features(&release, &actions);
        let idmapped = lxd_sys::userns::idmapped_mounts_supported(dir);
        kernel_features.insert("idmapped_mounts".into(), idmapped.to_string());
        Self {
            host_name: text(uname.nodename()),
            architectures: architectures(&machine),
            kernel: text(uname.sysname()),
            kernel_architecture: machine,
            kernel_version: release,
            kernel_features,
            os_name,
            os_version,
            ..Self::default()
        }
    }
}

/// What a machine runs: itself, and the 32-bit personality where there is one.
fn architectures(machine: &str) -> Vec<String> {
    let names: &[&str] = match machine {
        "x86_64" => &["x86_64", "i686"],
        "aarch64" => &["aarch64", "armv7l"],
        "ppc64le" => &["ppc64le"],
        "s390x" => &["s390x"],
        other => &[other],
    };
    names.iter().map(|name| (*name).to_owned()).collect()
}

/// The distribution's name and version out of `os-release`.
fn os_release(text: &str) -> (String, String) {
    let value = |key: &str| {
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
        line.unwrap_or_default()
            .trim()
            .trim_matches(['"', '\''])
            .to_owned()
    };
    (value("NAME"), value("VERSION_ID"))
}

/// Features that came with a version of the kernel, and seccomp's, which the kernel lists itself.
fn kernel_features(release: &str, seccomp_actions: &str) -> BTreeMap<String, String> {
    let version = version(release);
    let listener = seccomp_actions
        .split_whitespace()
        .any(|action| action == "user_notif");
    [
        ("netnsid_getifaddrs", version >= (4, 20)),
        ("seccomp_listener", listener),
        ("seccomp_listener_continue", listener && version >= (5, 5)),
        ("shiftfs", false),
        ("uevent_injection", version >= (4, 18)),
        ("unpriv_fscaps", version >= (4, 14)),
    ]
    .into_iter()
    .map(|(name, is_there)| (name.to_owned(), is_there.to_string()))
    .collect()
}

fn version(release: &str) -> (u32, u32) {
    let mut numbers = release
        .split(|c: char| !c.is_ascii_digit())
        .map(|n| n.parse().unwrap_or(0));
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn os_release_is_read_with_and_without_quotes() {
        let debian =
            "PRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\nNAME=\"Debian GNU/Linux\"\nVERSION_ID=\"12\"\n";
        assert_eq!(os_release(debian), ("Debian GNU/Linux".into(), "12".into()));
        assert_eq!(os_release("NAME=Arch\n"), ("Arch".into(), String::new()));
    }

    #[test]
    fn features_follow_the_kernel() {
        let old = kernel_features("4.15.0-20-generic", "kill trap");
        assert_eq!(
            (old["unpriv_fscaps"].as_str(), old["uevent_injection"].as_str()),
            ("true", "false")
        );
        let new = kernel_features("6.18.44-fc", "kill_process user_notif errno");
        let missing: Vec<_> = new
            .iter()
            .filter(|(_, v)| *v == "false")
            .map(|(k, _)| k.as_str())
            .collect();
        assert_eq!(missing, ["shiftfs"]);
    }
}
