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
