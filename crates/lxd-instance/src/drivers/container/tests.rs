//! Golden texts of liblxc configurations. `UPDATE_GOLDEN=1 cargo test -p lxd-instance` writes them anew.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use lxd_sys::cgroup::{CpuShare, Limits, MemoryLimit, Swap, Version, Write};

use super::config::{HOST_MOUNTS, Host, Input, render};
use super::drop_ins;
use crate::devices::{Device, Mount, Plan, nic};
use crate::instance::Instance;
use crate::instance::tests::plain;
use crate::ports::{NicHost, RootVolume};

/// A host that has everything but AppArmor.
fn host() -> Host {
    Host {
        apparmor: false,
        stacking: false,
        mounts: HOST_MOUNTS.iter().map(|mount| mount.0).collect(),
        devices: Some(Version::V1),
        devlxd: true,
        drop_ins: Vec::new(),
    }
}

fn with(config: &[(&str, &str)]) -> Instance {
    let mut instance = plain("/var/lib/lxd".as_ref(), "c1");
    instance.config = config
        .iter()
        .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
        .collect();
    instance
}

fn text(instance: &Instance, host: &Host, devices: &[Plan], limits: &[Write]) -> String {
    let rootfs = "/var/lib/lxd/storage-pools/p/containers/c1/rootfs".into();
    let root = RootVolume {
        rootfs,
        needs_idmap: true,
        volatile: Vec::new(),
    };
    render(&Input {
        instance,
        host,
        root: &root,
        devices,
        limits,
        seccomp: super::seccomp::policy(instance).is_some(),
        seccomp_socket: super::seccomp::intercepts(instance)
            .then_some(Path::new("/var/lib/lxd/seccomp.socket")),
        helper: Path::new("/usr/lib/lxd/lxd-helper"),
        hook_socket: Path::new("/var/lib/lxd/hooks.socket"),
    })
}

fn assert_golden(name: &str, text: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("src/drivers/container/golden")
        .join(name);
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, text).unwrap();
    }
    assert_eq!(
        text,
        std::fs::read_to_string(&path).unwrap(),
        "{}",
        path.display()
    );
}

#[test]
fn an_unprivileged_container_with_a_card() {
    let mut instance = with(&[]);
    let device = [("type", "nic"), ("nictype", "bridged"), ("parent", "lxdbr0")];
    let device: BTreeMap<_, _> = device
        .into_iter()
        .map(|(k, v)| (k.to_owned(), v.to_owned()))
        .collect();
    instance.devices.insert("eth0".into(), device);
    let host_end = NicHost {
        master: Some("lxdbr0".into()),
        mtu: Some(1500),
        ..NicHost::default()
    };
    let device = Device {
        config: instance.devices["eth0"].clone(),
        instance: Arc::new(instance.clone()),
        name: "eth0".into(),
    };
    let chosen = nic::Chosen::new(&device.config, None, [1, 2, 3, 4, 5, 6, 7]).unwrap();
    let (made, _) = nic::plan(&device, "eth0", chosen, host_end).unwrap();
    let card = Plan {
        cards: vec![made],
        ..Plan::new("eth0")
    };
    let disk = Plan {
        mounts: vec![Mount {
            source: "/var/lib/lxd/devices/c1/disk.a b.mnt".into(),
            target: "mnt/with space".into(),
            recursive: true,
            ..Mount::default()
        }],
        root_options: vec!["ro".into()],
        environment: vec![("A".into(), "b".into())],
        ..Plan::new("a b")
    };
    assert_golden("unprivileged.conf", &text(&instance, &host(), &[card, disk], &[]));
}

#[test]
fn a_privileged_container_that_nests() {
    let mut instance = with(&[("security.nesting", "true"), ("security.devlxd", "false")]);
    instance.idmap = None;
    instance.key.project = "it's".into();
    assert_golden(
        "privileged.conf",
        &text(
            &instance,
            &Host {
                apparmor: true,
                ..host()
            },
            &[],
            &[],
        ),
    );
}

#[test]
fn a_container_with_every_key_that_ends_up_here() {
    let instance = with(&[
        ("environment.A", "b c"),
        ("environment.EVIL", "x\nlxc.hook.pre-start = /bin/evil"),
        ("limits.kernel.nofile", "3000"),
        ("linux.sysctl.net.ipv4.ip_forward", "1"),
        ("raw.lxc", "  lxc.sched.core=0\n\n# comment\n"),
        ("security.syscalls.deny_default", "false"),
    ]);
    let limits = Limits {
        memory: Some(MemoryLimit {
            bytes: 100,
            soft: false,
            swap: Swap::Unlimited,
        }),
        cpu_share: Some(CpuShare { v1: 512, v2: 50 }),
        processors: Some("0-1".into()),
        ..Limits::default()
    };
    let legacy = ["memory", "cpu"].map(|name| (name.to_owned(), Path::new("/none").join(name)));
    let machine =
        lxd_sys::cgroup::Cgroups::at(legacy.into(), Some("/none".into()), ["cpuset".to_owned()].into());
    let (writes, missing) = limits.writes(&machine);
    assert!(missing.is_empty() && writes.iter().any(|write| write.version == Version::V2));
    let host = Host {
        drop_ins: vec!["lxc.hook.mount = /usr/share/lxcfs/lxc.mount.hook".into()],
        ..Host::default()
    };
    assert_golden("keys.conf", &text(&instance, &host, &[], &writes));
}

#[test]
fn what_is_left_is_removed_but_never_data() {
    let folder = tempfile::tempdir().unwrap();
    let left = folder.path().join("left");
    std::fs::create_dir_all(left.join("empty")).unwrap();
    std::fs::write(left.join("file"), "").unwrap();
    super::remove_flat(&left).unwrap();
    assert!(!left.exists());
    std::fs::create_dir_all(left.join("mounted/data")).unwrap();
    assert!(super::remove_flat(&left).is_err());
    assert!(left.join("mounted/data").exists());
}

#[test]
fn drop_ins_come_in_order_without_the_hook_that_sleeps() {
    let folder = tempfile::tempdir().unwrap();
    let put = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    put("10-b.conf", "lxc.b = 1\n");
    put(
        "00-a.conf",
        "# lxcfs\nlxc.hook.mount = /m\nlxc.hook.post-stop = /usr/share/lxcfs/lxc.reboot.hook\n",
    );
    put("README", "lxc.no = 1\n");
    assert_eq!(drop_ins(folder.path()), ["lxc.hook.mount = /m", "lxc.b = 1"]);
    assert!(drop_ins(Path::new("/nonexistent")).is_empty());
}
