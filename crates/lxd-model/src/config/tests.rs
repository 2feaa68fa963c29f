//! Tests of the key tables, against what the reference answered.

use super::*;
use crate::instances::InstanceType;

fn config(entries: &[(&str, &str)]) -> Config {
    entries
        .iter()
        .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
        .collect()
}

fn text(result: Result<(), Invalid>) -> String {
    result.err().map(|e| e.to_string()).unwrap_or_default()
}

/// Keys and values of profiles, and the reference's answer; "" is acceptance.
const PROFILE_CASES: &[(&str, &str, &str)] = &[
    ("boot.autostart", "bogus", "Invalid value for a boolean \"bogus\""),
    ("boot.autostart", "Yes", ""),
    ("security.privileged", "y", "Invalid value for a boolean \"y\""),
    (
        "boot.autostart.priority",
        "1.5",
        "Invalid value for an integer \"1.5\"",
    ),
    ("boot.autostart.priority", "+5", ""),
    (
        "boot.autostart.priority",
        " 5",
        "Invalid value for an integer \" 5\"",
    ),
    ("limits.cpu", "0-3,7", ""),
    ("limits.cpu", "3-1", ""),
    ("limits.cpu", "1,,2", "Invalid CPU limit syntax"),
    ("limits.cpu", "+1", "Invalid CPU limit syntax"),
    (
        "limits.cpu",
        "999999999999999999999",
        "Invalid cpuset value: 999999999999999999999",
    ),
    ("limits.cpu.allowance", "25ms/100ms", ""),
    (
        "limits.cpu.allowance",
        "x%",
        "strconv.Atoi: parsing \"x\": invalid syntax",
    ),
    (
        "limits.cpu.allowance",
        "25us/100ms",
        "strconv.Atoi: parsing \"25us\": invalid syntax",
    ),
    ("limits.cpu.allowance", "25ms", "Invalid allowance: 25ms"),
    ("limits.memory", "0", "Memory limit can't be 0"),
    ("limits.memory", "0%", "Memory limit can't be 0%"),
    ("limits.memory", "50%", ""),
    (
        "limits.memory",
        "x%",
        "strconv.ParseInt: parsing \"x\": invalid syntax",
    ),
    ("limits.memory", "1gb", "Invalid value: 1gb"),
    (
        "limits.disk.priority",
        "11",
        "Invalid value for a limit \"11\". Must be between 0 and 10",
    ),
    (
        "limits.memory.enforce",
        "x",
        "Invalid value \"x\" (not one of [soft hard])",
    ),
    (
        "security.idmap.size",
        "x",
        "Invalid value for uint32 \"x\": strconv.ParseUint: parsing \"x\": invalid syntax",
    ),
    ("snapshots.expiry", "1M 2H 3d", ""),
    ("snapshots.expiry", "1x", "Invalid expiry expression"),
    ("snapshots.schedule", "@daily, @weekly", ""),
    ("snapshots.schedule", "0 6 * * mon", ""),
    ("snapshots.schedule", "*/5 * * * *", ""),
    (
        "snapshots.schedule",
        "60 * * * *",
        "Error parsing schedule: end of range (60) above maximum (59): 60",
    ),
    (
        "snapshots.schedule",
        "@reboot",
        "Schedule must be of the form: <minute> <hour> <day-of-month> <month> <day-of-week>",
    ),
    ("raw.lxc", "bogus", "Invalid raw.lxc line: bogus"),
    ("raw.lxc", "#c\nlxc.hook.pre-start = /bin/true", ""),
    ("raw.lxc", "lxc.log.file=x", "Setting lxc.logfile is not allowed"),
    (
        "raw.lxc",
        "lxc.net.0.type=veth",
        "Only interface-specific ipv4/ipv6 lxc.net. keys are allowed",
    ),
    ("raw.lxc", "lxc.net.0.ipv4.address=10.0.0.1", ""),
    (
        "cloud-init.network-config",
        "bogus",
        "yaml: unmarshal errors:\n  line 1: cannot unmarshal !!str `bogus` into struct {}",
    ),
    ("cloud-init.network-config", "version: 2", ""),
    (
        "environment.X",
        "a\nb",
        "Environment variables cannot contain line breaks",
    ),
    ("environment.X", "a b", ""),
    ("user.x", "a\nb", ""),
    ("limits.kernel.nofile", "unlimited", ""),
    ("bogus", "x", "Unknown configuration key: bogus"),
    ("limits.kernel.", "x", "Unknown configuration key: limits.kernel."),
    ("volatile.uuid", "x", "Volatile keys can only be set on instances"),
    ("image.os", "x", "Image keys can only be set on instances"),
    ("boot.autostart", "", ""),
];

#[test]
fn profile_keys_are_judged_as_by_the_reference() {
    for (key, value, wanted) in PROFILE_CASES.iter().copied() {
        assert_eq!(
            text(instance::validate_profile(&config(&[(key, value)]))),
            wanted,
            "{key}={value}"
        );
    }
}

#[test]
fn instances_know_only_the_keys_of_their_type() {
    let validate = |key: &str, kind| text(instance::validate(&config(&[(key, "true")]), kind));
    let unknown = |key: &str| format!("Unknown configuration key: {key}");
    let (container, vm) = (InstanceType::Container, InstanceType::VirtualMachine);
    assert_eq!(validate("raw.qemu", container), unknown("raw.qemu"));
    assert_eq!(validate("raw.qemu", vm), "");
    assert_eq!(
        validate("security.privileged", vm),
        unknown("security.privileged")
    );
    assert_eq!(validate("volatile.eth0.hwaddr", container), "");
    assert_eq!(validate("volatile.a.b.hwaddr", container), "");
    assert_eq!(
        validate("volatile.eth0.bogus", container),
        unknown("volatile.eth0.bogus")
    );
    assert_eq!(validate("volatile.foo", container), unknown("volatile.foo"));
    assert_eq!(validate("volatile.uuid", container), "Invalid UUID");
}

#[test]
fn keys_that_exclude_each_other() {
    let cases: [(&[(&str, &str)], &str); 4] = [
        (
            &[
                ("security.syscalls.allow", "x"),
                ("security.syscalls.deny_compat", "true"),
            ],
            "security.syscalls.allow is mutually exclusive with security.syscalls.deny*",
        ),
        (
            &[
                ("security.syscalls.deny_default", "false"),
                ("security.syscalls.blacklist_default", "false"),
            ],
            "Mutually exclusive keys security.syscalls.deny_default and security.syscalls.blacklist_default are set",
        ),
        (
            &[("nvidia.runtime", "true"), ("security.privileged", "1")],
            "nvidia.runtime is incompatible with privileged containers",
        ),
        (
            &[
                ("security.privileged", "true"),
                ("security.idmap.isolated", "true"),
            ],
            "",
        ),
    ];
    for (entries, wanted) in cases {
        assert_eq!(
            text(instance::validate(&config(entries), InstanceType::Container)),
            wanted
        );
    }
}

#[test]
fn server_keys_are_judged_as_by_the_reference() {
    let cases = [
        ("bogus", "x", "cannot set 'bogus' to 'x': unknown key"),
        (
            "core.shutdown_timeout",
            "x",
            "cannot set 'core.shutdown_timeout' to 'x': invalid integer",
        ),
        (
            "images.auto_update_cached",
            "x",
            "cannot set 'images.auto_update_cached' to 'x': invalid boolean",
        ),
        (
            "cluster.offline_threshold",
            "0",
            "cannot set 'cluster.offline_threshold' to '0': Value must be greater than '10'",
        ),
        (
            "cluster.offline_threshold",
            "x",
            "cannot set 'cluster.offline_threshold' to 'x': invalid integer",
        ),
        (
            "images.compression_algorithm",
            "bogus",
            "cannot set 'images.compression_algorithm' to 'bogus': Invalid compression algorithm \"bogus\"",
        ),
        ("images.compression_algorithm", "zstd -3", ""),
        (
            "core.bgp_routerid",
            "x",
            "cannot set 'core.bgp_routerid' to 'x': Not an IPv4 address \"x\"",
        ),
        (
            "core.https_address",
            "bogus:x:y",
            "cannot set 'core.https_address' to 'bogus:x:y': Couldn't resolve \"bogus:x:y\"",
        ),
        ("core.https_address", "127.0.0.1:8443", ""),
        ("core.https_address", "[::]:8443", ""),
        ("core.https_address", "::1", ""),
        ("core.https_address", ":8443", ""),
        ("core.trust_password", "secret", ""),
        ("user.x", "y", ""),
    ];
    for (key, value, wanted) in cases {
        assert_eq!(
            text(server::validate(&config(&[(key, value)]))),
            wanted,
            "{key}={value}"
        );
    }
}

#[test]
fn project_keys_are_judged_as_by_the_reference() {
    let prefix =
        |key: &str, reason: &str| format!("Invalid project configuration key {key:?} value: {reason}");
    let cases = [
        (
            "bogus",
            "x",
            "Invalid project configuration key \"bogus\"".to_owned(),
        ),
        (
            "restricted",
            "x",
            prefix("restricted", "Invalid value for a boolean \"x\""),
        ),
        (
            "restricted.backups",
            "x",
            prefix(
                "restricted.backups",
                "Invalid value \"x\" (not one of [block allow])",
            ),
        ),
        (
            "restricted.devices.disk.paths",
            "x",
            prefix(
                "restricted.devices.disk.paths",
                "Item \"x\": Must be absolute file path",
            ),
        ),
        (
            "restricted.idmap.uid",
            "x",
            prefix("restricted.idmap.uid", "Item \"x\": Invalid number \"x\""),
        ),
        ("restricted.idmap.uid", "0,10-20", String::new()),
        (
            "restricted.networks.subnets",
            "x",
            prefix(
                "restricted.networks.subnets",
                "Subnet \"x\" invalid, must be in the format of \"<uplink network>:<subnet>\"",
            ),
        ),
        (
            "restricted.networks.subnets",
            "abc:def",
            prefix("restricted.networks.subnets", "invalid CIDR address: def"),
        ),
        ("limits.memory", "x", prefix("limits.memory", "Invalid value: x")),
    ];
    for (key, value, wanted) in cases {
        assert_eq!(
            text(project::validate(&config(&[(key, value)]))),
            wanted,
            "{key}={value}"
        );
    }
}

#[test]
fn network_checks() {
    let cases = [
        (check::MAC, "00:16:3e:00:00:01", true),
        (check::MAC, "00:16:3e:00:00", false),
        (check::IPV4_CIDR, "10.0.0.1/24", true),
        (check::IPV4_CIDR, "10.0.0.1/33", false),
        (check::IPV4_SUBNET, "10.0.0.1/24", false),
        (check::IPV4_SUBNET, "0.0.0.0/0", true),
        (check::IPV6_SUBNET, "::/0", true),
        (check::IPV6_SUBNET, "fd00::1/128", true),
        (check::IPV4_RANGE, "10.0.0.1-10.0.0.9", true),
        (check::IPV4_RANGE, "10.0.0.9-10.0.0.1", false),
        (check::MTU, "1500", true),
        (check::MTU, "1", false),
        (check::VLAN, "4095", false),
        (check::PCI_ADDRESS, "0000:01:00.0", true),
        (check::PCI_ADDRESS, "01:00.0", true),
        (check::PCI_ADDRESS, "x", false),
        (check::FILE_MODE, "0660", true),
        (check::FILE_MODE, "660", true),
        (check::FILE_MODE, "0680", false),
        (check::IPV4_SUBNETS, "10.0.0.0/8, 192.168.0.0/16", true),
    ];
    for (check, value, good) in cases {
        assert_eq!(check.run(value).is_ok(), good, "{value}");
    }
    assert_eq!(
        check::IPV4_SUBNETS.run("x").unwrap_err(),
        "Item \"x\": invalid CIDR address: x"
    );
}

#[test]
fn defaults_count_where_nothing_is_set() {
    assert!(instance::TABLE.is_true(&config(&[]), "limits.memory.swap"));
    assert!(!instance::TABLE.is_true(&config(&[("limits.memory.swap", "False")]), "limits.memory.swap"));
    let unset = config(&[("images.auto_update_interval", "")]);
    assert_eq!(server::TABLE.value(&unset, "images.auto_update_interval"), "6");
}

#[test]
fn tables_are_whole_and_without_repetition() {
    for (table, count) in [
        (&server::TABLE, 52),
        (&instance::TABLE, 85 + 5 + 13),
        (&project::TABLE, 46),
    ] {
        assert_eq!(table.keys.len(), count, "{}", table.noun);
    }
    for (noun, keys) in catalog([]) {
        let mut names: Vec<&str> = keys.iter().map(|key| key.key).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), keys.len(), "{noun}");
    }
}
