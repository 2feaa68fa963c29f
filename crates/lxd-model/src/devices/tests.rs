//! Tests of device validation, against what the reference answered.

use super::*;

fn devices(json: &str) -> Devices {
    serde_json::from_str(json).unwrap()
}

fn judge(json: &str, context: Context) -> String {
    let nictype = |name: &str| match name {
        "lxdbr0" => Ok("bridged".to_owned()),
        _ => Err(Invalid::of_kind(
            crate::ErrorKind::NotFound,
            format!("Failed to load network {name:?} for project \"default\": Network not found"),
        )),
    };
    validate(&devices(json), context, &nictype)
        .err()
        .map(|e| e.to_string())
        .unwrap_or_default()
}

/// Single devices of a profile, and the reference's answer behind its usual beginning; "" is acceptance.
const CASES: &[(&str, &str)] = &[
    (
        r#"{"type":"nic","nictype":"p2p","mtu":"1"}"#,
        "Invalid value for device option \"mtu\": Out of MTU range (1280-16384) \"1\"",
    ),
    (
        r#"{"type":"nic","nictype":"p2p","ipv6.routes":"10.0.0.0/8"}"#,
        "Invalid value for device option \"ipv6.routes\": Item \"10.0.0.0/8\": Not an IPv6 network \"10.0.0.0/8\"",
    ),
    (
        r#"{"type":"nic","nictype":"bridged","parent":"lo","vlan.tagged":"x"}"#,
        "Invalid value for device option \"vlan.tagged\": Invalid VLAN range input: x",
    ),
    (r#"{"type":"nic","nictype":"routed"}"#, ""),
    (
        r#"{"type":"nic","nictype":"ipvlan","parent":"lo","mode":"x"}"#,
        "Invalid value for device option \"mode\": Must be one of: l3s, l2",
    ),
    (
        r#"{"type":"disk","path":"/x","source":"/a","size":"5GB"}"#,
        "Only the root disk may have a size quota",
    ),
    (
        r#"{"type":"disk","path":"/x","source":"/a","pool":"p"}"#,
        "Storage volumes cannot be specified as absolute paths",
    ),
    (
        r#"{"type":"proxy","listen":"tcp:1.2.3.4:x","connect":"tcp:1.2.3.4:80"}"#,
        "Invalid value for device option \"listen\": strconv.ParseInt: parsing \"x\": invalid syntax",
    ),
    (
        r#"{"type":"proxy","listen":"unix:","connect":"unix:/x"}"#,
        "Invalid value for device option \"listen\": Missing address",
    ),
    (
        r#"{"type":"proxy","listen":"tcp:1.2.3.4","connect":"unix:/x"}"#,
        "Invalid value for device option \"listen\": address 1.2.3.4: missing port in address",
    ),
    (
        r#"{"type":"proxy","listen":"tcp:foo:80","connect":"unix:/x"}"#,
        "Invalid value for device option \"listen\": Not an IP address \"foo\"",
    ),
    (
        r#"{"type":"gpu","gputype":"mig"}"#,
        "Either \"mig.uuid\" or both \"mig.gi\" and \"mig.ci\" must be set",
    ),
    (
        r#"{"type":"unix-hotplug"}"#,
        "Unix hotplug devices require a vendorid or a productid",
    ),
    (
        r#"{}"#,
        "Failed loading device \"a\": Missing device type in config",
    ),
    (
        r#"{"type":"foo"}"#,
        "Failed loading device \"a\": Unsupported device type",
    ),
    (
        r#"{"type":"nic"}"#,
        "Failed loading device \"a\": Unsupported device type",
    ),
    (
        r#"{"type":"nic","nictype":"foo"}"#,
        "Failed loading device \"a\": Unsupported device type",
    ),
    (
        r#"{"type":"nic","nictype":"bridged"}"#,
        "Invalid value for device option \"parent\": Required value",
    ),
    (
        r#"{"type":"nic","nictype":"bridged","parent":"lo","foo":"1"}"#,
        "Invalid device option \"foo\"",
    ),
    (
        r#"{"type":"nic","network":"nope"}"#,
        "Failed loading device \"a\": Failed to load network \"nope\" for project \"default\": Network not found",
    ),
    (
        r#"{"type":"nic","network":"lxdbr0","ipv4.address":"10.0.0.2"}"#,
        "",
    ),
    (
        r#"{"type":"nic","nictype":"p2p","mtu":"x"}"#,
        "Invalid value for device option \"mtu\": Invalid MTU \"x\"",
    ),
    (
        r#"{"type":"nic","nictype":"p2p","hwaddr":"x"}"#,
        "Invalid value for device option \"hwaddr\": Invalid MAC address, must be 6 bytes of hex separated by colons",
    ),
    (
        r#"{"type":"nic","nictype":"p2p","name":"x y"}"#,
        "Invalid value for device option \"name\": Network interface contains invalid characters",
    ),
    (
        r#"{"type":"nic","nictype":"p2p","ipv4.routes":"x"}"#,
        "Invalid value for device option \"ipv4.routes\": Item \"x\": invalid CIDR address: x",
    ),
    (
        r#"{"type":"nic","nictype":"p2p","boot.priority":"x"}"#,
        "Invalid value for device option \"boot.priority\": Invalid value for uint32 \"x\": strconv.ParseUint: \
         parsing \"x\": invalid syntax",
    ),
    (
        r#"{"type":"nic","nictype":"p2p","parent":"x"}"#,
        "Invalid device option \"parent\"",
    ),
    (r#"{"type":"nic","nictype":"p2p"}"#, ""),
    (r#"{"type":"none","foo":"1"}"#, "Invalid device option \"foo\""),
    (r#"{"type":"none","user.foo":"1"}"#, ""),
    (
        r#"{"type":"disk"}"#,
        "Disk entry is missing the required \"source\" or \"path\" property",
    ),
    (
        r#"{"type":"disk","path":"/"}"#,
        "Root disk entry must have a \"pool\" property set",
    ),
    (
        r#"{"type":"disk","path":"/","pool":"p","source":"x"}"#,
        "Root disk entry may not have a \"source\" property set",
    ),
    (
        r#"{"type":"disk","path":"/","pool":"p","size":"x"}"#,
        "Invalid value for device option \"size\": Invalid value: x",
    ),
    (
        r#"{"type":"disk","path":"/","pool":"p","readonly":"x"}"#,
        "Invalid value for device option \"readonly\": Invalid value for a boolean \"x\"",
    ),
    (r#"{"type":"disk","path":"/x","source":"/nonexist"}"#, ""),
    (
        r#"{"type":"proxy"}"#,
        "Invalid value for device option \"connect\": Unknown protocol type \"\"",
    ),
    (
        r#"{"type":"proxy","listen":"tcp:127.0.0.1:80-81,90","connect":"unix:/x"}"#,
        "",
    ),
    (
        r#"{"type":"unix-char"}"#,
        "Unix device entry is missing the required \"source\" or \"path\" property",
    ),
    (
        r#"{"type":"unix-char","path":"/dev/x","major":"x"}"#,
        "Invalid value for device option \"major\": Invalid value for a UNIX device number",
    ),
    (
        r#"{"type":"unix-char","path":"/dev/x","mode":"x"}"#,
        "Invalid value for device option \"mode\": Invalid value for an octal file mode",
    ),
    (
        r#"{"type":"pci"}"#,
        "Failed to validate config: Invalid value for device option \"address\": Invalid PCI address",
    ),
    (
        r#"{"type":"infiniband"}"#,
        "Failed loading device \"a\": Unsupported device type",
    ),
    (r#"{"type":"gpu"}"#, ""),
    (r#"{"type":"usb"}"#, ""),
];

#[test]
fn devices_are_judged_as_by_the_reference() {
    for (json, wanted) in CASES.iter().copied() {
        let wanted = match wanted {
            "" => String::new(),
            reason => format!("Device validation failed for \"a\": {reason}"),
        };
        assert_eq!(
            judge(&format!("{{\"a\":{json}}}"), Context::Profile),
            wanted,
            "{json}"
        );
    }
}

#[test]
fn names_and_neighbours() {
    let container = Context::Instance(InstanceType::Container);
    let long = "x".repeat(65);
    let cases = [
        (
            r#"{"a":{"type":"disk","path":"/x","source":"/a"},"b":{"type":"disk","path":"/x","source":"/b"}}"#.to_owned(),
            "Device validation failed for \"a\": More than one disk device uses the same path \"/x\"",
        ),
        (
            r#"{"eth0":{"type":"nic","nictype":"p2p","name":"eth0"},"eth1":{"type":"nic","nictype":"p2p","name":"eth0"}}"#
                .to_owned(),
            "Device validation failed for \"eth0\": Invalid value for device option \"name\": Duplicate NIC name \
             detected \"eth0\"",
        ),
        (
            r#"{"":{"type":"none"}}"#.to_owned(),
            "Device validation failed for \"\": Name must be 1-63 characters long",
        ),
        (format!(r#"{{"{long}":{{"type":"none"}}}}"#), "The maximum device name length is 64 characters"),
        (
            r#"{"a":{"type":"pci","address":"01:00.0"}}"#.to_owned(),
            "Device validation failed for \"a\": Unsupported device type",
        ),
    ];
    for (json, wanted) in cases {
        assert_eq!(judge(&json, container), wanted, "{json}");
    }
}

#[test]
fn the_root_disk_is_found_once() {
    let text = |json: &str| match root_disk(&devices(json)) {
        Ok((name, _)) => name.to_owned(),
        Err(error) => error.to_string(),
    };
    assert_eq!(
        text(r#"{"r":{"type":"disk","path":"/","pool":"p"},"x":{"type":"disk","path":"/x","source":"/x"}}"#),
        "r"
    );
    assert_eq!(text("{}"), "No root device could be found");
    assert_eq!(
        text(r#"{"a":{"type":"disk","path":"/","pool":"p"},"b":{"type":"disk","path":"/","pool":"p"}}"#),
        "More than one root device found"
    );
}

#[test]
fn changes_keep_what_can_change_in_place() {
    let old = devices(
        r#"{"eth0":{"type":"nic","nictype":"p2p","limits.max":"1Mbit"},"gone":{"type":"none"},"same":{"type":"none"},
            "root":{"type":"disk","path":"/","pool":"p"}}"#,
    );
    let new = devices(
        r#"{"eth0":{"type":"nic","nictype":"p2p","limits.max":"2Mbit"},"new":{"type":"none"},"same":{"type":"none"},
            "root":{"type":"disk","path":"/","pool":"q"}}"#,
    );
    let changes = changes(&old, &new);
    let names = |devices: &Devices| devices.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&changes.updated), ["eth0"]);
    assert_eq!(names(&changes.removed), ["gone", "root"]);
    assert_eq!(names(&changes.added), ["new", "root"]);
}

#[test]
fn cards_start_before_disks_and_parents_before_children() {
    let set = devices(
        r#"{"z":{"type":"nic","nictype":"p2p"},"b":{"type":"disk","path":"/a/b","source":"/x"},
            "a":{"type":"disk","path":"/","pool":"p"},"n":{"type":"none"},"c":{"type":"disk","path":"/a","source":"/y"}}"#,
    );
    let order: Vec<&str> = start_order(&set).into_iter().map(|(name, _)| name).collect();
    assert_eq!(order, ["z", "a", "c", "b"]);
}
