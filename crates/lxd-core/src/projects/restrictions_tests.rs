//! Tests: what restricted projects forbid.

use lxd_model::config::Config;
use lxd_model::devices::Devices;

use super::restrictions::*;

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
        (
            &[
                ("restricted.devices.nic", "allow"),
                ("restricted.networks.access", "a"),
            ][..],
            r#"{"type":"nic","nictype":"bridged","parent":"br0"}"#,
            "Network not allowed in project",
        ),
        (
            &[
                ("restricted.devices.nic", "allow"),
                ("restricted.networks.access", "a"),
            ][..],
            r#"{"type":"nic","nictype":"bridged","parent":"a"}"#,
            "",
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
