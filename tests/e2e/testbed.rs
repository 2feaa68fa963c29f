//! What takes a kernel as production hosts have it: control groups of version 2 alone, AppArmor, all kinds of network cards.
//!
//! `tests/testbed/testbed` runs these in a machine of their own.

use std::path::Path;

use lxd_e2e::program::{Done, patiently, sh};
use lxd_e2e::{Kind, Server, image};

fn ready() -> Server {
    let server = Server::ready(Kind::Ours, "dir");
    let file = image::busybox(server.scratch(), "tar");
    let file = file.to_str().unwrap();
    server.lxc(&["image", "import", file, "--alias", "bb"]).ok();
    server
}

/// Runs the client with a line of words.
fn ask(server: &Server, line: &str) -> Done {
    server.lxc(&line.split(' ').collect::<Vec<_>>())
}

fn shell(server: &Server, name: &str, script: &str) -> String {
    let done = server.lxc(&["exec", name, "--", "sh", "-c", script]);
    format!("{}{}", done.out, done.err).trim().to_owned()
}

fn read(path: &Path) -> String {
    let text = std::fs::read_to_string(path);
    text.unwrap_or_else(|why| panic!("{}: {why}", path.display()))
        .trim()
        .to_owned()
}

#[test]
#[ignore = "needs the testbed: tests/testbed/testbed"]
fn limits_are_written_in_version_2() {
    let server = ready();
    let group = Path::new("/sys/fs/cgroup/lxc.payload.tbl1");
    let expect = |step: &str, files: &[(&str, &str)]| {
        for (file, wanted) in files {
            assert_eq!(read(&group.join(file)), *wanted, "{file} after {step}");
        }
    };
    ask(
        &server,
        "init bb tbl1 -c limits.memory=200MiB -c limits.processes=50",
    )
    .ok();
    ask(
        &server,
        "config set tbl1 limits.cpu.allowance=50% limits.cpu.priority=5",
    )
    .ok();
    ask(&server, "start tbl1").ok();
    let first = [
        ("memory.max", "209715200"),
        ("memory.swap.max", "0"),
        ("pids.max", "50"),
        ("cpu.weight", "45"),
        ("cpu.max", "max 100000"),
    ];
    expect("the start", &first);
    let line = "config set tbl1 limits.cpu.allowance=20ms/100ms limits.memory.enforce=soft limits.cpu=0-0 \
limits.hugepages.2MB=4MiB limits.disk.priority=10";
    ask(&server, line).ok();
    let second = [
        ("memory.max", "max"),
        ("memory.low", "209715200"),
        ("memory.swap.max", "max"),
        ("cpu.weight", "95"),
        ("cpu.max", "20000 100000"),
        ("cpuset.cpus", "0"),
        ("hugetlb.2MB.max", "4194304"),
        ("io.weight", "default 1000"),
    ];
    expect("a change", &second);
    for key in [
        "memory",
        "memory.enforce",
        "cpu.allowance",
        "processes",
        "disk.priority",
    ] {
        ask(&server, &format!("config unset tbl1 limits.{key}")).ok();
    }
    let last = [
        ("memory.low", "0"),
        ("cpu.max", "max 100000"),
        ("pids.max", "max"),
        ("io.weight", "default 100"),
    ];
    expect("taking them back", &last);
    ask(&server, "config set tbl1 limits.memory=64MiB").ok();
    shell(&server, "tbl1", "dd if=/dev/zero of=/dev/null bs=200M count=1");
    let events = read(&group.join("memory.events"));
    assert!(events.lines().any(|line| line == "oom_kill 1"), "{events}");
    ask(&server, "pause tbl1").ok();
    assert_eq!(read(&group.join("cgroup.freeze")), "1");
    ask(&server, "start tbl1").ok();
    assert_eq!(shell(&server, "tbl1", "cat /proc/self/cgroup"), "0::/.lxc");
    let info = ask(&server, "info tbl1").ok();
    assert!(
        info.contains("Processes: 2") && info.contains("Memory (current): "),
        "{info}"
    );
    ask(&server, "delete -f tbl1").ok();
    assert!(!group.exists());
}

#[test]
#[ignore = "needs the testbed: tests/testbed/testbed"]
fn profiles_confine_and_go_with_their_containers() {
    let server = ready();
    let loaded = || read(Path::new("/sys/kernel/security/apparmor/profiles"));
    let profile = format!("lxd-tba1_<{}>", server.dir().display());
    ask(&server, "launch bb tba1 -c security.nesting=true").ok();
    assert!(loaded().contains(&format!("{profile} (enforce)")), "{}", loaded());
    assert_eq!(
        shell(&server, "tba1", "cat /proc/self/attr/current"),
        "unconfined"
    );
    assert_eq!(
        shell(
            &server,
            "tba1",
            "mount -t tmpfs x /tmp && cat /proc/uptime >/dev/null"
        ),
        ""
    );
    assert_eq!(shell(&server, "tba1", "echo > /root/x"), "");
    let rule = |rule: &str| server.lxc(&["config", "set", "tba1", "raw.apparmor", rule]);
    rule("deny /root/x rw,").ok();
    assert!(shell(&server, "tba1", "echo > /root/x").contains("Permission denied"));
    let refused = rule("bogus").failed();
    assert!(
        refused.contains("Parse AppArmor profile: Failed to run: "),
        "{refused}"
    );
    assert!(shell(&server, "tba1", "echo > /root/x").contains("Permission denied"));
    rule("").ok();
    assert_eq!(shell(&server, "tba1", "echo > /root/x"), "");
    ask(&server, "stop -f tba1").ok();
    assert!(!loaded().contains("tba1"), "{}", loaded());
    let namespaces = sh("ls", &["/sys/kernel/security/apparmor/policy/namespaces"]).ok();
    assert!(!namespaces.contains("tba1"), "{namespaces}");
    let file = server.dir().join("security/apparmor/profiles/lxd-tba1");
    assert!(file.exists());
    ask(&server, "rename tba1 tba2").ok();
    assert!(!file.exists());
    ask(
        &server,
        "config set tba2 security.nesting=false security.privileged=true",
    )
    .ok();
    ask(&server, "start tba2").ok();
    let denied = shell(
        &server,
        "tba2",
        "mount -t proc p /tmp; echo c >/proc/sysrq-trigger",
    );
    assert!(denied.contains("Permission denied"), "{denied}");
    ask(&server, "delete -f tba2").ok();
    let files = sh(
        "find",
        &[server.dir().join("security").to_str().unwrap(), "-name", "*tba*"],
    );
    assert_eq!(files.ok(), "");
}

#[test]
#[ignore = "needs the testbed: tests/testbed/testbed"]
fn a_privileged_container_uses_the_devices_that_it_is_given() {
    let server = ready();
    ask(&server, "launch bb tbd1 -c security.privileged=true").ok();
    let made = "rm -f /root/k; mknod /root/k c 1 11 && head -c1 /root/k >/dev/null && echo readable";
    assert!(shell(&server, "tbd1", made).contains("Operation not permitted"));
    ask(
        &server,
        "config device add tbd1 kmsg unix-char source=/dev/kmsg path=/dev/kk",
    )
    .ok();
    assert_eq!(
        shell(&server, "tbd1", "head -c1 /dev/kk >/dev/null && echo readable"),
        "readable"
    );
    ask(&server, "config device remove tbd1 kmsg").ok();
    assert!(shell(&server, "tbd1", made).contains("Operation not permitted"));
}

/// The controller that the machine's USB stick is plugged into, as its driver names it.
fn usb_controller() -> (std::path::PathBuf, String) {
    let driver = Path::new("/sys/bus/pci/drivers/xhci_hcd");
    let names = std::fs::read_dir(driver).unwrap().flatten();
    let mut names = names.map(|entry| entry.file_name().into_string().unwrap());
    let found = names.find(|name| name.starts_with("0000:"));
    (driver.to_owned(), found.unwrap())
}

#[test]
#[ignore = "needs the testbed: tests/testbed/testbed"]
fn devices_of_the_host_come_and_go() {
    for module in ["xhci_pci", "usb_storage", "sd_mod", "tpm_vtpm_proxy"] {
        sh("modprobe", &[module]).ok();
    }
    patiently("the stick is there", || Path::new("/dev/sda").exists());
    let server = ready();
    ask(&server, "launch bb tbu").ok();
    // By its bus, and by all its nodes.
    for device in ["stick usb", "nodes unix-hotplug"] {
        let line = format!("config device add tbu {device} vendorid=46f4 productid=0001");
        ask(&server, &line).ok();
    }
    let script =
        "ls /dev/bus/usb/*/* && dd if=/dev/sda of=/dev/null bs=512 count=1 2>&1 | grep -c '1+0 records in'";
    let has = |wanted: bool| {
        patiently("the container has it", || {
            shell(&server, "tbu", script).ends_with("\n1") == wanted
        });
    };
    has(true);
    let (driver, address) = usb_controller();
    std::fs::write(driver.join("unbind"), &address).unwrap();
    has(false);
    assert_eq!(
        shell(&server, "tbu", "ls /dev/sd* /dev/bus/usb/*/* 2>/dev/null"),
        ""
    );
    std::fs::write(driver.join("bind"), &address).unwrap();
    has(true);
    ask(&server, "restart -f tbu").ok();
    has(true);
    for device in ["stick", "nodes"] {
        ask(&server, &format!("config device remove tbu {device}")).ok();
    }
    has(false);

    // Limits of what is on a disk are that disk's.
    let source = server.scratch().join("disk");
    std::fs::create_dir(&source).unwrap();
    let (source, limits) = (source.to_str().unwrap(), "limits.read=1MB limits.write=10iops");
    sh("mkfs.ext4", &["-q", "-F", "/dev/sda"]).ok();
    sh("mount", &["/dev/sda", source]).ok();
    let line = format!("config device add tbu d disk source={source} path=/mnt {limits}");
    ask(&server, &line).ok();
    let limited = Path::new("/sys/fs/cgroup/lxc.payload.tbu/io.max");
    assert_eq!(read(limited), "8:0 rbps=1000000 wbps=max riops=max wiops=10");
    ask(&server, "config device set tbu d limits.max=2MB").ok();
    assert_eq!(read(limited), "8:0 rbps=2000000 wbps=2000000 riops=max wiops=max");
    ask(&server, "config device remove tbu d").ok();
    assert_eq!(read(limited), "");
    sh("umount", &[source]).ok();

    // A module of its own, that answers: it was started already, so that starting it again is refused (TPM_RC_INITIALIZE).
    ask(
        &server,
        "config device add tbu t tpm path=/dev/tpm0 pathrm=/dev/tpmrm0",
    )
    .ok();
    ask(&server, "restart -f tbu").ok();
    let asked = "printf '\\200\\001\\0\\0\\0\\014\\0\\0\\001\\104\\0\\0' >/tmp/c; exec 3<>/dev/tpmrm0; cat /tmp/c >&3; \
                 dd bs=64 count=1 <&3 2>/dev/null | od -An -tx1";
    assert_eq!(shell(&server, "tbu", asked), "80 01 00 00 00 0a 00 00 01 00");
    ask(&server, "delete -f tbu").ok();
    patiently("the module is gone", || !Path::new("/dev/tpm0").exists());
}

/// A pair of cards between the host and a namespace, with VLAN 7 in it. Goes when it is dropped.
struct Peer;

impl Peer {
    fn new() -> Self {
        for line in [
            "netns add tbpeer",
            "link add tbp type veth peer name tbq netns tbpeer",
            "link set tbp up",
            "-n tbpeer link set tbq up",
            "address add 10.50.0.2/24 dev tbp",
            "-n tbpeer address add 10.50.0.1/24 dev tbq",
            "-n tbpeer link add link tbq name tbq.7 type vlan id 7",
            "-n tbpeer link set tbq.7 up",
            "-n tbpeer address add 10.57.0.1/24 dev tbq.7",
        ] {
            sh("ip", &line.split(' ').collect::<Vec<_>>()).ok();
        }
        // For cards whose addresses the host answers for.
        std::fs::write("/proc/sys/net/ipv4/conf/tbp/forwarding", "1").unwrap();
        Self
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        sh("ip", &["link", "delete", "tbp"]);
        sh("ip", &["netns", "delete", "tbpeer"]);
    }
}

#[test]
#[ignore = "needs the testbed: tests/testbed/testbed"]
fn cards_of_all_kinds_carry_traffic() {
    for module in ["ipvlan", "8021q", "macvlan"] {
        sh("modprobe", &[module]).ok();
    }
    let _peer = Peer::new();
    let server = ready();
    let there = |name: &str| Path::new("/sys/class/net").join(name).exists();
    ask(&server, "init bb tbn1").ok();
    // What the card is, the address that it is given inside where it has none, and who answers.
    let cards = [
        (
            "nictype=ipvlan mode=l2 ipv4.address=10.50.0.9/24 ipv4.gateway=10.50.0.1",
            "",
            "10.50.0.1",
        ),
        ("nictype=ipvlan ipv4.address=10.50.0.9", "", "10.50.0.1"),
        (
            "nictype=ipvlan vlan=7 mode=l2 ipv4.address=10.57.0.9/24 ipv4.gateway=10.57.0.1",
            "",
            "10.57.0.1",
        ),
        ("nictype=ipvlan vlan=7 ipv4.address=10.57.0.9", "", "10.57.0.1"),
        ("nictype=routed ipv4.address=10.50.0.9", "", "10.50.0.1"),
        ("nictype=macvlan", "10.50.0.9/24", "10.50.0.1"),
        ("nictype=macvlan vlan=7", "10.57.0.9/24", "10.57.0.1"),
        ("nictype=physical vlan=7", "10.57.0.9/24", "10.57.0.1"),
        ("nictype=physical", "10.50.0.9/24", "10.50.0.1"),
    ];
    for (card, address, peer) in cards {
        ask(
            &server,
            &format!("config device add tbn1 eth0 nic name=eth0 parent=tbp {card}"),
        )
        .ok();
        ask(&server, "start tbn1").ok();
        let address = match address {
            "" => String::new(),
            address => format!("ip addr add {address} dev eth0; "),
        };
        let script = format!("{address}ping -c 3 -W 9 {peer} >/dev/null && echo answered");
        assert_eq!(shell(&server, "tbn1", &script), "answered", "{card}");
        assert_eq!(
            there("tbp.7"),
            card.contains("vlan=7") && !card.contains("physical"),
            "{card}"
        );
        ask(&server, "stop -f tbn1").ok();
        patiently("the VLAN's end", || !there("tbp.7") && there("tbp"));
        let answered_for = sh("ip", &["neigh", "show", "proxy"]).ok() + &sh("ip", &["route"]).ok();
        assert!(!answered_for.contains("0.9 "), "{card}: {answered_for}");
        ask(&server, "config device remove tbn1 eth0").ok();
        sh("ip", &["link", "set", "tbp", "up"]).ok();
    }
    let left = ask(&server, "config show tbn1").ok();
    assert!(!left.contains("last_state.created"), "{left}");
}

/// A file system with project quotas, on a file. Goes when it is dropped.
struct Quotas {
    file: std::path::PathBuf,
    place: std::path::PathBuf,
}

impl Quotas {
    fn new(server: &Server, kind: &str, options: &str) -> Self {
        let new = Self {
            file: Path::new("/root").join(format!("tbq-{kind}")),
            place: server.scratch().join(kind),
        };
        std::fs::create_dir(&new.place).unwrap();
        let (file, place) = (new.file.to_str().unwrap(), new.place.to_str().unwrap());
        sh("truncate", &["-s", "1G", file]).ok();
        let made = format!("-q {options} {file}");
        sh(
            &format!("mkfs.{kind}"),
            &made.split_whitespace().collect::<Vec<_>>(),
        )
        .ok();
        sh("mount", &["-o", "loop,prjquota", file, place]).ok();
        std::fs::create_dir(new.place.join("pool")).unwrap();
        new
    }
}

impl Drop for Quotas {
    fn drop(&mut self) {
        sh("umount", &["-l", self.place.to_str().unwrap()]);
        let _ = std::fs::remove_file(&self.file);
    }
}

/// Counts in a file for as long as it runs, from its start on.
const COUNTS: &str = "::sysinit:/bin/hostname -F /etc/hostname
::respawn:/bin/sh -c 'i=0; while :; do i=$((i+1)); echo $i >/tmp/count; sleep 1; done' </dev/null >/dev/null 2>&1
::ctrlaltdel:/bin/poweroff
";

#[test]
#[ignore = "needs the testbed: tests/testbed/testbed"]
fn what_runs_goes_on_where_it_was_saved() {
    let server = ready();
    let inittab = server.scratch().join("inittab");
    std::fs::write(&inittab, COUNTS).unwrap();
    let count = || {
        let text = shell(&server, "cr", "cat /tmp/count");
        text.parse::<u32>().unwrap_or_else(|why| panic!("{text}: {why}"))
    };
    let reaches = |least: u32| patiently("it counts", || count() >= least);
    let stateful = || {
        ask(&server, "query /1.0/instances/cr")
            .ok()
            .contains("\"stateful\": true")
    };
    ask(&server, "init bb cr").ok();
    server
        .lxc(&["file", "push", inittab.to_str().unwrap(), "cr/etc/inittab"])
        .ok();
    ask(&server, "start cr").ok();
    // Once more than once: what was brought back can be saved, too.
    for least in [20, 40] {
        reaches(least);
        ask(&server, "stop cr --stateful").ok();
        assert!(stateful());
        ask(&server, "start cr").ok();
        assert!(!stateful());
        assert!(count() >= least);
    }
    ask(&server, "snapshot cr s0 --stateful").ok();
    let then = count();
    reaches(then + 10);
    ask(&server, "restore cr s0 --stateful").ok();
    assert!((40..then + 10).contains(&count()));
    // It is there alone that what can't be brought back shows.
    ask(&server, "stop cr --stateful").ok();
    let images = server.dir().join("containers/cr/state");
    std::fs::write(images.join("pstree.img"), "no image").unwrap();
    let failed = ask(&server, "start cr");
    assert!(
        failed.err.contains("Migrate: Failed to run") && failed.err.contains("pstree.img"),
        "{}",
        failed.err
    );
    assert!(stateful() && images.is_dir());
    ask(&server, "start cr --stateless").ok();
    assert!(!stateful() && !images.exists());
    ask(&server, "delete -f cr").ok();
}

#[test]
#[ignore = "needs the testbed: tests/testbed/testbed"]
fn sizes_are_limits_where_there_are_project_quotas() {
    for module in ["loop", "quota_v2", "xfs"] {
        sh("modprobe", &[module]).ok();
    }
    let server = ready();
    for (kind, options, driver) in [("ext4", "-O quota,project", "dir"), ("xfs", "-f", "overlay")] {
        let quotas = Quotas::new(&server, kind, options);
        let source = quotas.place.join("pool");
        ask(
            &server,
            &format!("storage create {kind} {driver} source={}", source.display()),
        )
        .ok();
        ask(&server, &format!("init bb tbz1 -s {kind} -d root,size=50MiB")).ok();
        ask(&server, "start tbz1").ok();
        let write = |name: &str, mebibytes: u32| {
            let script = format!("dd if=/dev/zero of=/root/x bs=1M count={mebibytes} 2>&1");
            !shell(&server, name, &script).contains("error writing")
        };
        assert!(write("tbz1", 30) && !write("tbz1", 60), "{kind}");
        let info = ask(&server, "info tbz1").ok();
        let is_counted = info.contains("Disk usage:\n    root: ");
        assert!(is_counted || driver == "overlay", "{info}");
        ask(&server, "config device set tbz1 root size=80MiB").ok();
        assert!(write("tbz1", 60) && !write("tbz1", 90), "{kind}");
        ask(&server, "config device unset tbz1 root size").ok();
        assert!(write("tbz1", 90), "{kind}");
        shell(&server, "tbz1", "rm /root/x");
        ask(&server, "config device set tbz1 root size=50MiB").ok();
        ask(&server, "snapshot tbz1 s").ok();
        ask(&server, "copy tbz1/s tbz2").ok();
        ask(&server, "start tbz2").ok();
        assert!(write("tbz2", 30) && !write("tbz2", 60), "a copy on {kind}");
        ask(&server, "restore tbz1 s").ok();
        assert!(write("tbz1", 30) && !write("tbz1", 60), "restored on {kind}");
        // What the daemon notes of a full volume is not stopped by it.
        for change in ["config set tbz1 user.x=1", "stop -f tbz1", "start tbz1"] {
            ask(&server, change).ok();
        }
        ask(&server, &format!("storage volume create {kind} v size=10MiB")).ok();
        shell(&server, "tbz2", "rm /root/x");
        ask(&server, &format!("storage volume attach {kind} v tbz2 /mnt")).ok();
        let full = "dd if=/dev/zero of=/mnt/x bs=1M count=20 2>&1";
        assert!(shell(&server, "tbz2", full).contains("error writing"), "{kind}");
        ask(&server, &format!("storage volume set {kind} v size=30MiB")).ok();
        assert!(!shell(&server, "tbz2", full).contains("error writing"), "{kind}");
        ask(&server, "delete -f tbz1 tbz2").ok();
        ask(&server, &format!("storage volume delete {kind} v")).ok();
        ask(&server, &format!("storage delete {kind}")).ok();
    }
}
