//! Layouts, limits and files of control groups, most of them in folders made for the test.

use std::path::Path;

use super::*;

const HYBRID: &str = "\
34 33 0:30 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory
35 33 0:31 / /sys/fs/cgroup/cpu,cpuacct rw,relatime shared:9 - cgroup cgroup rw,cpu,cpuacct
36 33 0:32 / /sys/fs/cgroup/systemd rw,relatime - cgroup cgroup rw,xattr,release_agent=/lib/x,name=systemd
37 33 0:33 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw
38 33 0:34 / /tmp rw - tmpfs tmpfs rw
";

fn machine(version: Version, root: &Path) -> Cgroups {
    let names = ["memory", "cpu", "cpuacct", "cpuset", "pids", "freezer"];
    match version {
        Version::V1 => {
            let legacy = names
                .iter()
                .map(|name| ((*name).to_owned(), root.join(name)))
                .collect();
            Cgroups::at(legacy, None, BTreeSet::new())
        }
        Version::V2 => {
            let offered = names.iter().map(|name| (*name).to_owned()).collect();
            Cgroups::at(BTreeMap::new(), Some(root.to_owned()), offered)
        }
    }
}

fn shown(writes: &[Write]) -> Vec<String> {
    writes
        .iter()
        .map(|write| format!("{}={}", write.file, write.value))
        .collect()
}

#[test]
fn mounts_tell_the_layout() {
    let hybrid = Cgroups::from_mountinfo(HYBRID);
    assert_eq!(hybrid.layout(), Layout::Hybrid);
    assert_eq!(hybrid.version("memory"), Some(Version::V1));
    assert_eq!(hybrid.version("cpuacct"), Some(Version::V1));
    assert_eq!(hybrid.version("pids"), None);
    assert_eq!(hybrid.version("freezer"), Some(Version::V2));
    let legacy: String = HYBRID
        .lines()
        .filter(|l| !l.contains("cgroup2"))
        .map(|l| format!("{l}\n"))
        .collect();
    assert_eq!(Cgroups::from_mountinfo(&legacy).layout(), Layout::Legacy);
    let unified = Cgroups::from_mountinfo("1 0 0:1 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw,nsdelegate");
    assert_eq!(unified.layout(), Layout::Unified);
    assert_eq!(unified.version("memory"), None);
}

#[test]
fn paths_are_cut_behind_the_container() {
    let hybrid = Cgroups::from_mountinfo(HYBRID);
    let text = "5:memory:/lxc.payload.c1\n4:cpu,cpuacct:/a/lxc.payload.c1/x\n\
                1:name=systemd:/lxc.payload.c1/init.scope\n0::/lxc.payload.c1/init.scope\n";
    let group = hybrid.group_from(text, |part| part.starts_with("lxc.payload."));
    assert_eq!(group.path(), "/lxc.payload.c1");
    let write = Write {
        version: Version::V1,
        controller: "cpu",
        file: "cpu.none",
        value: "1".into(),
    };
    let error = group.write(&write).unwrap_err().to_string();
    assert_eq!(
        error,
        "setting /sys/fs/cgroup/cpu,cpuacct/a/lxc.payload.c1/cpu.none to \"1\""
    );
}

#[test]
fn limits_in_the_files_of_both_versions() {
    let root = tempfile::tempdir().unwrap();
    std::fs::create_dir(root.path().join("memory")).unwrap();
    std::fs::write(root.path().join("memory/memory.memsw.limit_in_bytes"), "").unwrap();
    let limits = Limits {
        memory: Some(MemoryLimit {
            bytes: 100_000_000,
            soft: false,
            swap: Swap::Counted,
        }),
        swappiness: Some(67),
        cpu_share: Some(CpuShare { v1: 507, v2: 45 }),
        cpu_quota: Some((20_000, 100_000)),
        processors: Some("0-1".into()),
        processes: Some(50),
        ..Limits::default()
    };
    let (writes, missing) = limits.writes(&machine(Version::V1, root.path()));
    assert!(missing.is_empty());
    assert_eq!(
        shown(&writes),
        [
            "memory.limit_in_bytes=100000000",
            "memory.memsw.limit_in_bytes=100000000",
            "memory.soft_limit_in_bytes=90000000",
            "memory.swappiness=67",
            "cpu.shares=507",
            "cpu.cfs_quota_us=20000",
            "cpu.cfs_period_us=100000",
            "cpuset.cpus=0-1",
            "pids.max=50",
        ]
    );
    let (writes, _) = limits.writes(&machine(Version::V2, root.path()));
    assert_eq!(
        shown(&writes),
        [
            "memory.max=100000000",
            "memory.swap.max=0",
            "cpu.weight=45",
            "cpu.max=20000 100000",
            "cpuset.cpus=0-1",
            "pids.max=50"
        ]
    );
    let none = Cgroups::at(BTreeMap::new(), None, BTreeSet::new());
    assert_eq!(
        limits.writes(&none),
        (Vec::new(), vec!["memory", "cpu", "cpuset", "pids"])
    );
}

#[test]
fn soft_limits_and_free_swap() {
    let root = tempfile::tempdir().unwrap();
    let v1 = machine(Version::V1, root.path());
    let memory = |soft, swap| Limits {
        memory: Some(MemoryLimit {
            bytes: 209_715_200,
            soft,
            swap,
        }),
        ..Limits::default()
    };
    assert_eq!(
        shown(&memory(true, Swap::Counted).writes(&v1).0),
        ["memory.soft_limit_in_bytes=209715200"]
    );
    assert_eq!(
        shown(&memory(false, Swap::Unlimited).writes(&v1).0),
        [
            "memory.limit_in_bytes=209715200",
            "memory.soft_limit_in_bytes=188743680"
        ]
    );
    assert_eq!(
        shown(
            &memory(true, Swap::Counted)
                .writes(&machine(Version::V2, root.path()))
                .0
        ),
        ["memory.low=209715200"]
    );
}

#[test]
fn changes_reset_what_is_no_longer_limited() {
    let root = tempfile::tempdir().unwrap();
    let v1 = machine(Version::V1, root.path());
    let old = Limits {
        processes: Some(5),
        cpu_quota: Some((1, 2)),
        processors: Some("0".into()),
        ..Limits::default()
    };
    let new = Limits {
        processes: Some(6),
        ..Limits::default()
    };
    assert_eq!(
        shown(&new.changes(&old, &v1, "0-3").0),
        [
            "cpu.cfs_quota_us=-1",
            "cpu.cfs_period_us=100000",
            "cpuset.cpus=0-3",
            "pids.max=6"
        ]
    );
    assert!(new.changes(&new, &v1, "0-3").0.is_empty());
    let limited = Limits {
        memory: Some(MemoryLimit {
            bytes: 10,
            soft: false,
            swap: Swap::Unlimited,
        }),
        ..new.clone()
    };
    assert_eq!(
        shown(&limited.changes(&new, &v1, "0").0),
        [
            "memory.limit_in_bytes=-1",
            "memory.soft_limit_in_bytes=-1",
            "memory.limit_in_bytes=10",
            "memory.soft_limit_in_bytes=9"
        ]
    );
}

#[test]
fn usage_and_freezing_in_files() {
    let root = tempfile::tempdir().unwrap();
    let put = |file: &str, text: &str| {
        let path = root.path().join(file);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    };
    put("memory/c/memory.usage_in_bytes", "1000\n");
    put("memory/c/memory.max_usage_in_bytes", "3000\n");
    put("memory/c/memory.memsw.usage_in_bytes", "1500\n");
    put("cpuacct/c/cpuacct.usage", "77\n");
    put("pids/c/pids.current", "4\n");
    put("freezer/c/freezer.state", "THAWED\n");
    let group = machine(Version::V1, root.path()).group("/c");
    assert!(group.exists());
    let wanted = Usage {
        memory: Some(1000),
        memory_peak: Some(3000),
        swap: Some(500),
        swap_peak: None,
        cpu: Some(77),
        processes: Some(4),
    };
    assert_eq!(group.usage(), wanted);
    assert!(!group.is_frozen().unwrap());
    group.freeze().unwrap();
    assert!(group.is_frozen().unwrap());
    group.thaw().unwrap();
    assert!(!group.is_frozen().unwrap());
    put("v2/c/cpu.stat", "usage_usec 12\nuser_usec 3\n");
    put("v2/c/memory.current", "9\n");
    let usage = machine(Version::V2, &root.path().join("v2")).group("c").usage();
    assert_eq!(
        (usage.cpu, usage.memory, usage.processes),
        (Some(12_000), Some(9), None)
    );
}

/// The real kernel: needs root and control groups.
#[test]
fn a_real_group_is_found_listed_and_removed() {
    let machine = Cgroups::detect().unwrap();
    assert!(!machine.processors().unwrap().is_empty());
    let name = format!("lxt{}", std::process::id());
    let group = machine.group(&format!("/{name}"));
    for folder in group_folders(&machine, &name) {
        std::fs::create_dir_all(folder.join("below/further")).unwrap();
    }
    assert!(group.exists());
    assert_eq!(group.processes().unwrap(), Vec::<i32>::new());
    let errors = group.remove();
    assert!(errors.is_empty(), "{errors:?}");
    assert!(!group.exists());
    assert!(group.remove().is_empty());
}

fn group_folders(machine: &Cgroups, name: &str) -> Vec<std::path::PathBuf> {
    let legacy = machine.legacy.get("pids").or(machine.legacy.get("freezer"));
    legacy
        .into_iter()
        .chain(&machine.unified)
        .map(|mount| mount.join(name))
        .collect()
}

#[test]
fn huge_pages_and_disks_are_limited_where_the_kernel_can() {
    let root = tempfile::tempdir().unwrap();
    let limits = Limits {
        huge_pages: [(PageSize::Mib2, 4 << 20)].into(),
        disk_weight: Some(1000),
        ..Limits::default()
    };
    let at = |version: Version, controllers: [&str; 2]| match version {
        Version::V1 => {
            let mounts = controllers.map(|name| (name.to_owned(), root.path().join(name)));
            Cgroups::at(mounts.into(), None, BTreeSet::new())
        }
        Version::V2 => {
            let offered = controllers.map(str::to_owned);
            Cgroups::at(BTreeMap::new(), Some(root.path().join("unified")), offered.into())
        }
    };
    let v1 = at(Version::V1, ["hugetlb", "blkio"]);
    assert_eq!(
        shown(&limits.writes(&v1).0),
        ["hugetlb.2MB.limit_in_bytes=4194304"],
        "nothing weighs disks"
    );
    std::fs::create_dir(root.path().join("blkio")).unwrap();
    std::fs::write(root.path().join("blkio/blkio.bfq.io_serviced"), "").unwrap();
    let (back, _) = Limits::default().changes(&limits, &v1, "0");
    assert_eq!(
        shown(&back),
        ["hugetlb.2MB.limit_in_bytes=-1", "blkio.bfq.weight=100"]
    );
    let v2 = at(Version::V2, ["hugetlb", "io"]);
    std::fs::create_dir_all(root.path().join("unified/child")).unwrap();
    std::fs::write(root.path().join("unified/child/io.weight"), "").unwrap();
    assert_eq!(
        shown(&limits.writes(&v2).0),
        ["hugetlb.2MB.max=4194304", "io.weight=1000"]
    );
    let none = Cgroups::at(BTreeMap::new(), None, BTreeSet::new());
    assert_eq!(limits.writes(&none), (Vec::new(), Vec::new()));
}

#[test]
fn who_expects_moves_stays_where_it_is() {
    let own = || crate::process::cgroups(std::process::id().cast_signed()).unwrap();
    let before = own();
    Cgroups::detect().unwrap().expect_moves();
    assert_eq!(own(), before);
}
