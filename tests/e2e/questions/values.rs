//! The values that are tried, and the differences that are meant.

use regex_lite::Regex;

/// A key's name with something in the place of the `*`.
pub fn concrete(name: &str) -> String {
    let star = match name {
        "limits.kernel.*" => "nofile",
        "linux.sysctl.*" => "net.ipv4.ip_forward",
        "image.*" => "os",
        "volatile.*.hwaddr" => "eth0",
        _ => "x",
    };
    name.replace('*', star)
}

/// Keys that nobody has.
pub const UNKNOWN: &[&str] = &[
    "no.such",
    "nosuch",
    "boot.nosuch",
    "limits.nosuch",
    "limits.cpu.nosuch",
    "security.nosuch",
    "security.syscalls.intercept.nosuch",
    "security.syscalls.intercept.sysinfo",
    "volatile.nosuch",
    "volatile.eth0",
    "volatile.eth0.nosuch",
    "volatile.last_state.nosuch",
    "user",
    "user.",
    "environment",
    "environment.",
    "image",
    "image.",
    "linux.sysctl",
    "linux.nosuch",
    "limits.kernel",
    "raw.nosuch",
    "Boot.Autostart",
    "boot.autostart ",
    "cloud-init.nosuch",
    "placement.group",
];

/// Keys that are judged together.
pub const TOGETHER: &[&str] = &[
    r#"{"security.syscalls.deny": "a", "security.syscalls.blacklist": "b"}"#,
    r#"{"security.syscalls.allow": "a", "security.syscalls.whitelist": "b"}"#,
    r#"{"security.syscalls.allow": "a", "security.syscalls.deny": "b"}"#,
    r#"{"security.syscalls.allow": "a", "security.syscalls.deny_compat": "true"}"#,
    r#"{"security.syscalls.allow": "a", "security.syscalls.deny_default": "true"}"#,
    r#"{"security.syscalls.whitelist": "a", "security.syscalls.blacklist": "b"}"#,
    r#"{"security.syscalls.whitelist": "a", "security.syscalls.deny": "b"}"#,
    r#"{"security.syscalls.deny_default": "true", "security.syscalls.blacklist_default": "true"}"#,
    r#"{"security.syscalls.deny_compat": "true", "security.syscalls.blacklist_compat": "true"}"#,
    r#"{"nvidia.runtime": "true", "security.privileged": "true"}"#,
    r#"{"security.privileged": "true", "raw.idmap": "both 1000 1000"}"#,
    r#"{"security.privileged": "true", "security.idmap.isolated": "true"}"#,
    r#"{"security.privileged": "true", "security.nesting": "true"}"#,
    r#"{"security.idmap.isolated": "true", "security.idmap.size": "200000"}"#,
    r#"{"security.idmap.isolated": "true", "security.idmap.size": "0"}"#,
    r#"{"security.idmap.isolated": "true", "security.idmap.size": "4000000000"}"#,
    r#"{"security.idmap.isolated": "true", "security.idmap.base": "1"}"#,
    r#"{"security.idmap.isolated": "true", "security.idmap.base": "2000000"}"#,
    r#"{"security.idmap.isolated": "true", "raw.idmap": "both 1000 1000"}"#,
    r#"{"user.a": "1", "no.such": "2"}"#,
];

/// The values to try for a key of instances.
pub fn of_instance(key: &str, kind: &str) -> &'static [&'static str] {
    match key {
        "limits.cpu" => &[
            "2",
            "0-1",
            "0,1",
            "1-",
            "3-1",
            "a",
            "-1",
            "0",
            "1,,2",
            "1 ,2",
            "99999999999999999999",
        ],
        "limits.cpu.allowance" => &[
            "50%",
            "25ms/100ms",
            "x%",
            "10",
            "10ms",
            "10/100",
            "-5%",
            "0%",
            "200%",
            "1.5%",
            "1ms/2ms/3ms",
        ],
        "limits.memory" => &[
            "10%", "0%", "101%", "1GB", "0", "-1", "x%", "12XB", "1 GB", "GB", "1.5GB",
        ],
        "limits.memory.enforce" => &["soft", "hard", "Hard", "other"],
        "cluster.evacuate" => &["auto", "stop", "live-migrate", "nope"],
        "snapshots.expiry" => &["1d", "1M 2w", "x", "3d4H", "0d", "-1d", "1y 1S"],
        "snapshots.schedule" => &[
            "@daily",
            "0 6 * * *",
            "@never",
            "bad",
            "* * * *",
            "60 * * * *",
            "@hourly, @daily",
            "@startup",
            "0 6 * * *, 0 7 * * *",
            "*/5 * * * *",
            "@every 5m",
            "0 0 6 * * *",
            "1-0 * * * *",
            "",
        ],
        "snapshots.pattern" => &["snap%d", "x{{ creation_date }}", "{{", "a/b"],
        "security.idmap.base" | "security.idmap.size" => &["100000", "65536", "0", "-1", "x", "4294967296"],
        "raw.idmap" => &[
            "both 1000 1000",
            "uid 1-2 3-4",
            "bogus",
            "both a b",
            "both 1 2 3",
            "both 1-3 1-2",
            "gid 5 6",
            "both 3-1 3-1",
            "uid 1 1\ngid 2 2",
            "nobody 1 1",
            "both -1 -1",
            "both 0 0",
            "both 5000000000 1",
        ],
        "raw.lxc" => &[
            "lxc.apparmor.profile=unconfined",
            "bogus",
            "lxc.log.file=/x",
            "lxc.net.0.name=foo",
            "lxc.net.0.ipv4.address=1.2.3.4/24",
            "lxc.hook.pre-start=/bin/true",
            "lxc.nosuch=1",
            "# words",
            "lxc.ephemeral=1",
            "lxc.console.logfile=/x",
            "lxc.logfile = a",
            "lxc.log.syslog=daemon",
            "a=b\nc=d",
            "lxc.cap.drop=sys_time",
            "lxc.network.type=veth",
            "lxc.log.level=trace",
            "lxc.aa_profile=unconfined",
        ],
        "raw.seccomp" => &["2\ndenylist\n[all]\nmkdir", "nonsense"],
        "raw.apparmor" => &["mount,", "nonsense"],
        _ => of_other_key(key, kind),
    }
}

fn of_other_key(key: &str, kind: &str) -> &'static [&'static str] {
    match key {
        "environment.*" => &["a", "a\nb", "a=b"],
        "cloud-init.network-config" => &[
            "version: 1",
            "- a",
            "x: [",
            "{}",
            "version: 1\nconfig: []\n",
            "word",
        ],
        "cloud-init.user-data" | "cloud-init.vendor-data" => &["#cloud-config\npackages: [a]", "- a", "x: ["],
        "limits.kernel.*" => &["unlimited", "10:20", "20:10", "bogus", "10", "-1", "1:2:3"],
        "linux.sysctl.*" => &["1", "word"],
        "linux.kernel_modules" => &["ip_tables", "a,b", "a b"],
        "nvidia.runtime" => &["false", "maybe", "true"],
        "volatile.uuid" => &[
            "word",
            "7eb57012-b0eb-4a6e-a5a6-e0a5a6e0a5a6",
            "7EB57012-B0EB-4A6E-A5A6-E0A5A6E0A5A6",
        ],
        "volatile.idmap.base"
        | "volatile.idmap.next"
        | "volatile.idmap.current"
        | "volatile.last_state.idmap" => &["1", "[]"],
        "volatile.last_state.power" => &["RUNNING", "word"],
        "security.syscalls.allow"
        | "security.syscalls.deny"
        | "security.syscalls.blacklist"
        | "security.syscalls.whitelist" => &["mkdir", "mkdir errno 1\nrmdir", "2"],
        "security.syscalls.intercept.mount.allowed" => &["ext4", "ext4,btrfs", "ext 4"],
        "security.syscalls.intercept.mount.fuse" => &["ext4=fuse2fs", "ext4", "ext4=", "=fuse2fs", "a=b,c=d"],
        _ => of_type(kind),
    }
}

fn of_type(kind: &str) -> &'static [&'static str] {
    match kind {
        "bool" => &["true", "No", "2", "maybe"],
        "integer" => &[
            "0",
            "7",
            "-1",
            "abc",
            "11",
            "99999999999",
            "99999999999999999999",
            "1.5",
            " 1",
            "+1",
        ],
        "size" => &[
            "10MB",
            "1GiB",
            "0",
            "10XB",
            "-5",
            "5 MB",
            "99999999999999999999",
            "x",
        ],
        _ => &["word", "a b\nc"],
    }
}

/// A device of each kind with all it needs.
pub const DEVICES: &[(&str, &str)] = &[
    (
        "device disk",
        r#"{"type": "disk", "source": "/etc", "path": "/mnt"}"#,
    ),
    (
        "device disk",
        r#"{"type": "disk", "path": "/", "pool": "default"}"#,
    ),
    (
        "device nic bridged",
        r#"{"type": "nic", "nictype": "bridged", "parent": "BRIDGE"}"#,
    ),
    ("device nic bridged", r#"{"type": "nic", "network": "BRIDGE"}"#),
    (
        "device nic macvlan",
        r#"{"type": "nic", "nictype": "macvlan", "parent": "eth9"}"#,
    ),
    (
        "device nic sriov",
        r#"{"type": "nic", "nictype": "sriov", "parent": "eth9"}"#,
    ),
    (
        "device nic ovn",
        r#"{"type": "nic", "nictype": "ovn", "network": "BRIDGE"}"#,
    ),
    (
        "device nic physical",
        r#"{"type": "nic", "nictype": "physical", "parent": "eth9"}"#,
    ),
    (
        "device nic ipvlan",
        r#"{"type": "nic", "nictype": "ipvlan", "parent": "eth9"}"#,
    ),
    ("device nic p2p", r#"{"type": "nic", "nictype": "p2p"}"#),
    (
        "device nic routed",
        r#"{"type": "nic", "nictype": "routed", "parent": "eth9"}"#,
    ),
    (
        "device infiniband",
        r#"{"type": "infiniband", "nictype": "physical", "parent": "ib9"}"#,
    ),
    (
        "device infiniband",
        r#"{"type": "infiniband", "nictype": "sriov", "parent": "ib9"}"#,
    ),
    ("device gpu physical", r#"{"type": "gpu", "gputype": "physical"}"#),
    ("device gpu physical", r#"{"type": "gpu"}"#),
    (
        "device gpu mdev",
        r#"{"type": "gpu", "gputype": "mdev", "mdev": "i915"}"#,
    ),
    (
        "device gpu mig",
        r#"{"type": "gpu", "gputype": "mig", "mig.uuid": "74c6a31a-fde5-5c61-973b-70e12346c202"}"#,
    ),
    ("device gpu sriov", r#"{"type": "gpu", "gputype": "sriov"}"#),
    ("device none", r#"{"type": "none"}"#),
    ("device pci", r#"{"type": "pci", "address": "0000:00:01.0"}"#),
    (
        "device proxy",
        r#"{"type": "proxy", "listen": "tcp:127.0.0.1:80", "connect": "tcp:127.0.0.1:81"}"#,
    ),
    (
        "device tpm",
        r#"{"type": "tpm", "path": "/dev/tpm0", "pathrm": "/dev/tpmrm0"}"#,
    ),
    (
        "device unix-char",
        r#"{"type": "unix-char", "path": "/dev/null"}"#,
    ),
    (
        "device unix-block",
        r#"{"type": "unix-block", "path": "/dev/loop0"}"#,
    ),
    (
        "device unix-hotplug",
        r#"{"type": "unix-hotplug", "vendorid": "1234"}"#,
    ),
    ("device usb", r#"{"type": "usb"}"#),
];

/// Devices that are judged as a whole.
pub const MORE_DEVICES: &[&str] = &[
    r#"{}"#,
    r#"{"type": ""}"#,
    r#"{"type": "nosuch"}"#,
    r#"{"type": "nic"}"#,
    r#"{"type": "nic", "nictype": "nosuch"}"#,
    r#"{"type": "nic", "network": "nosuch"}"#,
    r#"{"type": "nic", "network": "BRIDGE", "nictype": "bridged"}"#,
    r#"{"type": "nic", "network": "BRIDGE", "parent": "BRIDGE"}"#,
    r#"{"type": "nic", "network": "BRIDGE", "mtu": "1400"}"#,
    r#"{"type": "nic", "network": "BRIDGE", "ipv4.address": "1.2.3.4"}"#,
    r#"{"type": "nic", "network": "BRIDGE", "name": "eth0"}"#,
    r#"{"type": "nic", "network": "BRIDGE", "security.ipv4_filtering": "true"}"#,
    r#"{"type": "nic", "network": "BRIDGE", "security.ipv4_filtering": "true", "vlan": "5"}"#,
    r#"{"type": "nic", "nictype": "bridged", "parent": "nosuch0", "ipv4.address": "10.1.2.3"}"#,
    r#"{"type": "nic", "nictype": "bridged", "parent": "nosuch0", "security.ipv4_filtering": "true"}"#,
    r#"{"type": "nic", "nictype": "bridged", "parent": "nosuch0", "vlan": "5", "vlan.tagged": "5,6"}"#,
    r#"{"type": "nic", "nictype": "ipvlan", "parent": "eth9", "ipv4.address": "10.1.2.3/24", "mode": "l2"}"#,
    r#"{"type": "nic", "nictype": "ipvlan", "parent": "eth9", "mode": "l2", "ipv4.gateway": "10.1.2.1"}"#,
    r#"{"type": "nic", "nictype": "ipvlan", "parent": "eth9", "mode": "l2", "ipv4.host_table": "5"}"#,
    r#"{"type": "nic", "nictype": "routed", "ipv4.address": "10.1.2.3, 10.1.2.3"}"#,
    r#"{"type": "nic", "nictype": "routed", "parent": "eth9", "vlan": "5", "gvrp": "true"}"#,
    r#"{"type": "disk"}"#,
    r#"{"type": "disk", "path": "/mnt"}"#,
    r#"{"type": "disk", "source": "/nosuch", "path": "/mnt"}"#,
    r#"{"type": "disk", "source": "/nosuch", "path": "/mnt", "required": "false"}"#,
    r#"{"type": "disk", "source": "/nosuch", "path": "/mnt", "optional": "true"}"#,
    r#"{"type": "disk", "source": "/etc", "path": "/mnt", "required": "false", "optional": "true"}"#,
    r#"{"type": "disk", "source": "relative", "path": "/mnt"}"#,
    r#"{"type": "disk", "source": "/etc", "path": "relative"}"#,
    r#"{"type": "disk", "source": "/etc", "path": "/../x"}"#,
    r#"{"type": "disk", "source": "/etc", "path": "/"}"#,
    r#"{"type": "disk", "source": "/etc"}"#,
    r#"{"type": "disk", "path": "/"}"#,
    r#"{"type": "disk", "source": "vol", "pool": "default", "path": "/mnt"}"#,
    r#"{"type": "disk", "source": "vol", "pool": "nosuch", "path": "/mnt"}"#,
    r#"{"type": "disk", "source": "/vol", "pool": "default", "path": "/mnt"}"#,
    r#"{"type": "disk", "source": "custom/vol", "pool": "default", "path": "/mnt"}"#,
    r#"{"type": "disk", "source": "vol", "pool": "default"}"#,
    r#"{"type": "disk", "source": "vol", "pool": "default", "path": "/mnt", "shift": "true"}"#,
    r#"{"type": "disk", "source": "cloud-init:config"}"#,
    r#"{"type": "disk", "source": "cloud-init:config", "path": "/mnt"}"#,
    r#"{"type": "disk", "source": "ceph:a/b", "path": "/mnt"}"#,
    r#"{"type": "disk", "source": "cephfs:a/b", "path": "/mnt", "ceph.user_name": "x"}"#,
    r#"{"type": "disk", "source": "/etc", "path": "/mnt", "ceph.user_name": "x"}"#,
    r#"{"type": "disk", "source": "/etc", "path": "/mnt", "limits.max": "1MB", "limits.read": "1MB"}"#,
    r#"{"type": "disk", "source": "/etc", "path": "/mnt", "recursive": "true", "readonly": "true"}"#,
    r#"{"type": "disk", "path": "/", "pool": "nosuch"}"#,
    r#"{"type": "disk", "path": "/", "pool": "default", "size": "1GB", "size.state": "1GB"}"#,
    r#"{"type": "proxy", "listen": "tcp:127.0.0.1:80"}"#,
    r#"{"type": "proxy", "connect": "tcp:127.0.0.1:80"}"#,
    r#"{"type": "proxy", "listen": "tcp:127.0.0.1:80-90", "connect": "tcp:127.0.0.1:80-91"}"#,
    r#"{"type": "proxy", "listen": "tcp:127.0.0.1:80-90", "connect": "tcp:127.0.0.1:81"}"#,
    r#"{"type": "proxy", "listen": "tcp:127.0.0.1:80", "connect": "tcp:127.0.0.1:80-91"}"#,
    r#"{"type": "proxy", "listen": "udp:127.0.0.1:80", "connect": "tcp:127.0.0.1:80"}"#,
    r#"{"type": "proxy", "listen": "tcp:127.0.0.1:80", "connect": "udp:127.0.0.1:80"}"#,
    r#"{"type": "proxy", "listen": "unix:/x", "connect": "udp:127.0.0.1:80"}"#,
    r#"{"type": "proxy", "listen": "unix:@x", "connect": "tcp:127.0.0.1:80", "mode": "0600"}"#,
    r#"{"type": "proxy", "listen": "unix:/x", "connect": "tcp:127.0.0.1:80", "mode": "0600", "uid": "1"}"#,
    r#"{"type": "proxy", "listen": "tcp:127.0.0.1:80", "connect": "tcp:127.0.0.1:80", "uid": "1"}"#,
    r#"{"type": "proxy", "listen": "udp:127.0.0.1:80", "connect": "udp:127.0.0.1:80", "proxy_protocol": "true"}"#,
    r#"{"type": "proxy", "listen": "tcp:127.0.0.1:80", "connect": "tcp:127.0.0.1:80", "bind": "instance", "nat": "true"}"#,
    r#"{"type": "proxy", "listen": "tcp:10.0.0.1:80", "connect": "tcp:10.0.0.2:80", "nat": "true"}"#,
    r#"{"type": "proxy", "listen": "tcp:10.0.0.1:80", "connect": "tcp:[fd42::1]:80", "nat": "true"}"#,
    r#"{"type": "proxy", "listen": "unix:/x", "connect": "tcp:127.0.0.1:80", "nat": "true"}"#,
    r#"{"type": "proxy", "listen": "tcp:0.0.0.0:80", "connect": "tcp:0.0.0.0:80", "nat": "true"}"#,
    r#"{"type": "proxy", "listen": "tcp:0.0.0.0:80", "connect": "tcp:0.0.0.0:80", "nat": "true", "proxy_protocol": "true"}"#,
    r#"{"type": "unix-char"}"#,
    r#"{"type": "unix-char", "path": "/nosuch/x"}"#,
    r#"{"type": "unix-char", "path": "/nosuch/x", "major": "1", "minor": "3"}"#,
    r#"{"type": "unix-char", "path": "/dev/null", "major": "1"}"#,
    r#"{"type": "unix-char", "source": "/dev/null"}"#,
    r#"{"type": "unix-char", "path": "relative"}"#,
    r#"{"type": "unix-char", "path": "/dev/loop0"}"#,
    r#"{"type": "unix-block", "path": "/dev/null"}"#,
    r#"{"type": "unix-hotplug"}"#,
    r#"{"type": "unix-hotplug", "productid": "1234"}"#,
    r#"{"type": "gpu", "gputype": "nosuch"}"#,
    r#"{"type": "gpu", "id": "1", "pci": "0000:00:01.0"}"#,
    r#"{"type": "gpu", "id": "1", "vendorid": "1234"}"#,
    r#"{"type": "gpu", "gputype": "mig"}"#,
    r#"{"type": "gpu", "gputype": "mig", "mig.gi": "1"}"#,
    r#"{"type": "gpu", "gputype": "mig", "mig.gi": "1", "mig.ci": "1"}"#,
    r#"{"type": "gpu", "gputype": "mig", "mig.gi": "1", "mig.ci": "1", "mig.uuid": "a"}"#,
    r#"{"type": "infiniband", "parent": "ib9"}"#,
    r#"{"type": "infiniband", "nictype": "nosuch", "parent": "ib9"}"#,
    r#"{"type": "tpm", "path": "/dev/tpm0"}"#,
    r#"{"type": "none", "path": "/x"}"#,
];

/// The values to try for a key of a device.
pub fn of_device(noun: &str, key: &str, kind: &str) -> &'static [&'static str] {
    match key {
        "hwaddr" => &[
            "00:16:3e:00:00:01",
            "00:16:3E:00:00:01",
            "00:16:3e",
            "word",
            "00-16-3e-00-00-01",
        ],
        "ipv4.address" => &[
            "10.1.2.3",
            "10.1.2.3/24",
            "none",
            "10.1.2.3,10.1.2.4",
            "10.1.2.300",
            "fd42::1",
            "word",
        ],
        "ipv6.address" => &[
            "fd42::1",
            "fd42::1/64",
            "none",
            "fd42::1,fd42::2",
            "10.1.2.3",
            "word",
        ],
        "ipv4.routes" | "ipv4.routes.external" => &[
            "10.1.2.0/24",
            "10.1.2.0/24, 10.1.3.0/24",
            "10.1.2.3/24",
            "10.1.2.3",
            "fd42::/64",
            "word",
        ],
        "ipv6.routes" | "ipv6.routes.external" => &[
            "fd42::/64",
            "fd42::/64,fd43::/64",
            "fd42::1/64",
            "fd42::1",
            "10.1.2.0/24",
            "word",
        ],
        "ipv4.gateway" | "ipv6.gateway" => &["auto", "none", "10.1.2.1", "fd42::1", "word"],
        "ipv4.host_address" => &["169.254.0.1", "169.254.0.1/32", "fe80::1", "word"],
        "ipv6.host_address" => &["fe80::1", "fe80::1/128", "169.254.0.1", "word"],
        "limits.egress" | "limits.ingress" => &["1Mbit", "100", "10MB", "word"],
        "limits.max" | "limits.read" | "limits.write" => &["1MB", "100iops", "1Mbit", "word", "x iops"],
        "mtu" => &["1500", "1279", "1280", "16385", "0", "-1", "word"],
        "name" => &["eth5", "a", "averyveryverylongname", "a b", "a/b", "..", "eth0"],
        "host_name" => &["veth5", "averyveryverylongname", "a b", "a/b"],
        "network" => &["BRIDGE", "nosuch"],
        "parent" => &["BRIDGE", "eth9", "a b", "averyveryverylongname", "../x"],
        "vlan" => &["5", "0", "4094", "4095", "none", "-1", "word"],
        "vlan.tagged" => &["5", "5-7", "5,6", "7-5", "4095", "none", "word"],
        "mode" if noun == "device nic ipvlan" => &["l2", "l3s", "l3", "word"],
        "mode" => &["0600", "600", "0888", "00600", "word"],
        "uid" | "gid" | "security.uid" | "security.gid" => &["0", "1000", "-1", "4294967296", "word"],
        "major" | "minor" => &["1", "0", "-1", "4294967296", "word"],
        "vendorid" | "productid" => &["1234", "abcd", "ABCD", "123", "12345", "word"],
        "pci" | "address" => &[
            "0000:00:01.0",
            "00:01.0",
            "0000:00:01",
            "word",
            "0000:00:1f.7",
            "ABCD:00:01.0",
        ],
        _ => of_part(noun, key, kind),
    }
}

fn of_part(noun: &str, key: &str, kind: &str) -> &'static [&'static str] {
    match key {
        "path" if noun == "device disk" => &["/mnt", "mnt", "/a/../b", "//mnt", "/mnt/"],
        "path" | "pathrm" => &["/dev/x", "x", "../x"],
        "source" => &["/etc", "/dev/null", "/nosuch", "word", "a/b"],
        "pool" => &["default", "nosuch"],
        "propagation" => &["private", "shared", "rshared", "slave", "word"],
        "raw.mount.options" => &["noexec", "a,b"],
        "size" | "size.state" => &["10MB", "0", "10XB", "-5", "10%", "x"],
        "bind" => &["host", "instance", "guest", "container", "word"],
        "connect" | "listen" => &[
            "tcp:127.0.0.1:80",
            "udp:127.0.0.1:80",
            "unix:/x",
            "unix:@x",
            "tcp:127.0.0.1",
            "tcp::80",
            "tcp:127.0.0.1:0",
            "tcp:127.0.0.1:65536",
            "tcp:127.0.0.1:80-82",
            "tcp:127.0.0.1:82-80",
            "tcp:127.0.0.1:80,82",
            "tcp:[::1]:80",
            "tcp:::1:80",
            "tcp:name:80",
            "sctp:127.0.0.1:80",
            "word",
            "tcp:127.0.0.1:x",
            "unix:",
            "unix:relative",
        ],
        "boot.priority" => &["0", "5", "-1", "word"],
        "security.mac_filtering" => &["true", "maybe"],
        "security.acls" => &["nosuch", "a,b"],
        "acceleration" => &["none", "sriov", "vdpa", "word"],
        _ => of_type(kind),
    }
}

/// An error's text without what differs from run to run.
pub fn without_variables(text: &str) -> String {
    let variables = [
        (r"lxd_(?:lxc_)?config_[0-9A-Za-z_]+", "TEMPORARY"),
        (r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", "UUID"),
        (r"00:16:3e(?::[0-9a-f]{2}){3}", "MAC"),
    ];
    variables.iter().fold(text.to_owned(), |text, (pattern, name)| {
        Regex::new(pattern)
            .unwrap()
            .replace_all(&text, *name)
            .into_owned()
    })
}

/// Differences that are meant: a part of the question, a part of our error, and why.
const EXPLAINED: &[(&str, &str, &str)] = &[
    (
        "volatile.idmap.last=\"\"",
        "",
        "without what is noted of the ids on disk they would be shifted twice",
    ),
    (
        "volatile.idmap.next=\"\"",
        "",
        "without what is noted of the ids on disk they would be shifted twice",
    ),
    (
        "new volume \".",
        "Invalid storage volume name",
        "the reference takes the directory of all volumes for one",
    ),
    (
        "new volume \"a\\nb\"",
        "control characters",
        "such a name breaks the lines of whatever lists it",
    ),
    (
        "new pool \".",
        "Invalid storage pool name",
        "the reference refuses the directory that it leads to",
    ),
    (
        "\"cloud-init.network-config\":\"x: [\"",
        "unclosed bracket",
        "the words are the YAML parser's",
    ),
    (
        "\"volatile.idmap.next\":\"1\"",
        "Invalid ID map",
        "the words are the JSON parser's",
    ),
    (
        "\"raw.idmap\":\"both 3-1 3-1\"",
        "out of bounds",
        "the reference takes a range that ends before it begins, and such an instance can't start",
    ),
    (
        "\"raw.idmap\":\"both 5000000000 1\"",
        "out of bounds",
        "the reference takes ids that no kernel has, and such an instance can't start",
    ),
    (
        "instance {\"limits.disk.priority\"",
        "",
        "the reference knows only the weights of a scheduler that kernels don't have any more; BFQ's count as well",
    ),
    (
        "\"name\":\"..\"",
        "invalid characters",
        "no kernel takes a network card of this name",
    ),
];

/// Whether a difference is meant.
pub fn is_explained(question: &str, ours: &str, _reference: &str) -> bool {
    EXPLAINED
        .iter()
        .any(|(part, error, _)| question.contains(part) && ours.contains(error))
}
