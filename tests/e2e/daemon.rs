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
