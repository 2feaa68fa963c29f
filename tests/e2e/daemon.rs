//! The daemon itself: starting, stopping, refusing.

use lxd_e2e::{Kind, Server};

#[test]
fn starts_on_an_empty_directory_and_on_a_used_one() {
    let mut server = Server::start(Kind::Ours);
    assert_eq!(server.api("GET", "/1.0", "").1["metadata"]["auth"], "trusted");
    server.stop();
    assert!(!server.dir().join("unix.socket").exists());
    server.spawn();
    assert_eq!(server.api("GET", "/", "").1["metadata"][0], "/1.0");
}

#[test]
fn hardware_is_told_as_by_the_reference() {
    let resources = |kind: Kind| {
        let server = Server::start(kind);
        let (code, body) = server.api("GET", "/1.0/resources", "");
        assert_eq!(code, 200, "{body}");
        body["metadata"].clone()
    };
    let (ours, theirs) = (resources(Kind::Ours), resources(Kind::Reference));
    // Frequencies and what is used change from one moment to the next.
    for part in [
        "/cpu/architecture",
        "/cpu/total",
        "/cpu/sockets/0/cache",
        "/cpu/sockets/0/name",
        "/cpu/sockets/0/cores/0/threads",
        "/memory/total",
        "/memory/hugepages_size",
        "/network/total",
        "/network/cards/0/driver",
        "/network/cards/0/ports/0/address",
        "/pci",
        "/storage/total",
        "/storage/disks/0/device",
        "/storage/disks/0/size",
        "/system",
        "/usb",
    ] {
        assert_eq!(ours.pointer(part), theirs.pointer(part), "{part}");
    }
    assert_ne!(ours["cpu"]["total"], 0);
}

#[test]
fn an_administrator_forbids_containers_that_share_the_hosts_root_and_does_without_profiles() {
    let variables = [
        ("LXD_UNPRIVILEGED_ONLY", "true"),
        ("LXD_SECURITY_APPARMOR", "false"),
    ];
    let told = |kind: Kind| {
        let server = Server::start_with(kind, &variables);
        server.set_up("dir");
        server.lxc(&["init", "--empty", "only1"]).ok();
        let refused = [
            &["init", "--empty", "only2", "-c", "security.privileged=true"][..],
            &["config", "set", "only1", "security.privileged", "true"],
            &["config", "set", "only1", "raw.lxc", "lxc.include = /x"],
            &["config", "set", "only1", "raw.idmap", "both 0 0"],
            &["profile", "set", "default", "security.privileged", "1"],
        ];
        let mut said = refused.map(|command| server.lxc(command).failed()).to_vec();
        server
            .lxc(&["config", "set", "only1", "raw.idmap", "both 1000 0"])
            .ok();
        let (_, warnings) = server.api("GET", "/1.0/warnings?recursion=1", "");
        let warnings = warnings["metadata"].as_array().unwrap();
        let mut lacks = warnings
            .iter()
            .filter(|warning| warning["type"].as_str().unwrap().contains("AppArmor"));
        said.extend(lacks.next().map(|warning| warning["last_message"].to_string()));
        said
    };
    let ours = told(Kind::Ours);
    assert_eq!(ours.len(), 6);
    assert_eq!(ours, told(Kind::Reference));
}
