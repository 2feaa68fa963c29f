//! Instances go from server to server, ours and the reference's, whoever connects to whom.

use lxd_e2e::{Kind, Server, image};

/// Makes the container `mgc`, whose file says "one" in its snapshot `s0`, and `now` in itself.
fn make(server: &Server, now: &str) {
    server.lxc(&["init", "bb", "mgc", "-c", "user.a=1"]).ok();
    say(server, "one");
    server.lxc(&["snapshot", "mgc", "s0"]).ok();
    say(server, now);
}

/// Writes the file.
fn say(server: &Server, text: &str) {
    let file = server.scratch().join("said");
    std::fs::write(&file, text).unwrap();
    server
        .lxc(&["file", "push", file.to_str().unwrap(), "mgc/root/f"])
        .ok();
}

/// What the file says in an instance.
fn said(server: &Server, instance: &str) -> String {
    let path = format!("{instance}/root/f");
    server.lxc(&["file", "pull", &path, "-"]).ok()
}

fn snapshots(server: &Server, instance: &str) -> String {
    let path = format!("/1.0/instances/{instance}/snapshots");
    let (status, body) = server.api("GET", &path, "");
    assert_eq!(status, 200, "{body}");
    let names = body["metadata"].as_array().unwrap().iter();
    let name = |url: &serde_json::Value| url.as_str().unwrap().rsplit('/').next().unwrap().to_owned();
    names.map(name).collect::<Vec<_>>().join(",")
}

fn names(server: &Server) -> String {
    server.lxc(&["list", "-c", "n", "-f", "csv"]).ok()
}

#[test]
fn instances_go_from_server_to_server() {
    let servers = [
        Server::ready(Kind::Ours, "overlay"),
        Server::ready(Kind::Reference, "dir"),
        Server::ready(Kind::Ours, "dir"),
    ];
    let urls = servers.each_ref().map(crate::remote_images::listen);
    for server in &servers {
        server
            .lxc(&["config", "set", "core.trust_password", "sesame"])
            .ok();
        let file = image::busybox(server.scratch(), "tar.gz");
        server
            .lxc(&["image", "import", file.to_str().unwrap(), "--alias", "bb"])
            .ok();
    }
    for (from, to) in [(0, 1), (1, 0), (0, 2), (2, 0)] {
        let name = format!("s{to}");
        let (url, from, to) = (&urls[to], &servers[from], &servers[to]);
        let trust = ["--accept-certificate", "--password=sesame"];
        from.lxc(&["remote", "add", &name, url, trust[0], trust[1]]).ok();
        // The reference takes files of one size that were written in the same second for the same.
        let now = if to.kind() == Kind::Ours { "two" } else { "second" };
        make(from, now);
        copies_arrive(from, (to, &name), now);
        is_published(from, to, &name);
        moves(from, to, &name);
        assert_eq!((names(from), names(to)), (String::new(), String::new()));
    }
}

/// With its keys and snapshots in each mode; one of a snapshot; what is there is brought up to date; names stay taken.
fn copies_arrive(from: &Server, (to, remote): (&Server, &str), now: &str) {
    for mode in ["pull", "push", "relay"] {
        let target = format!("{remote}:mg-{mode}");
        from.lxc(&["copy", "mgc", &target, &format!("--mode={mode}")])
            .ok();
        let copy = format!("mg-{mode}");
        assert_eq!(
            (said(to, &copy).as_str(), snapshots(to, &copy).as_str()),
            (now, "s0")
        );
        assert_eq!(to.lxc(&["config", "get", &copy, "user.a"]).ok(), "1\n");
    }
    from.lxc(&["copy", "mgc/s0", &format!("{remote}:mg-old")]).ok();
    assert_eq!(
        (said(to, "mg-old").as_str(), snapshots(to, "mg-old").as_str()),
        ("one", "")
    );
    from.lxc(&["copy", "mgc", &format!("{remote}:mg-alone"), "--instance-only"])
        .ok();
    assert_eq!(snapshots(to, "mg-alone"), "");
    say(from, "three");
    from.lxc(&["snapshot", "mgc", "s1"]).ok();
    from.lxc(&["delete", "mgc/s0"]).ok();
    let taken = from.lxc(&["copy", "mgc", &format!("{remote}:mg-pull")]);
    assert!(taken.err.contains("already exists"), "{}", taken.err);
    from.lxc(&["copy", "mgc", &format!("{remote}:mg-pull"), "--refresh"])
        .ok();
    assert_eq!(
        (said(to, "mg-pull").as_str(), snapshots(to, "mg-pull").as_str()),
        ("three", "s1")
    );
    to.lxc(&["delete", "mg-pull", "mg-push", "mg-relay", "mg-old", "mg-alone"])
        .ok();
}

/// The image of an instance is made here, and then is there alone.
fn is_published(from: &Server, to: &Server, remote: &str) {
    let target = format!("{remote}:");
    from.lxc(&["publish", "mgc/s1", &target, "--alias=mg-image", "user.b=2"])
        .ok();
    let count = |server: &Server| {
        server
            .lxc(&["image", "list", "-c", "f", "-f", "csv"])
            .ok()
            .lines()
            .count()
    };
    assert_eq!((count(from), count(to)), (1, 2));
    to.lxc(&["init", "mg-image", "mg-made"]).ok();
    assert_eq!(said(to, "mg-made"), "three");
    to.lxc(&["delete", "mg-made"]).ok();
    to.lxc(&["image", "delete", "mg-image"]).ok();
}

/// One that runs is copied as its files are; one that is moved is gone here, and starts there.
fn moves(from: &Server, to: &Server, remote: &str) {
    from.lxc(&["start", "mgc"]).ok();
    from.lxc(&["copy", "mgc", &format!("{remote}:mg-run"), "--stateless"])
        .ok();
    assert_eq!(said(to, "mg-run"), "three");
    to.lxc(&["delete", "mg-run"]).ok();
    from.lxc(&["stop", "-f", "mgc"]).ok();
    from.lxc(&["move", "mgc", &format!("{remote}:mg-moved")]).ok();
    assert_eq!(names(from), "");
    to.lxc(&["start", "mg-moved"]).ok();
    assert_eq!(
        to.lxc(&["exec", "mg-moved", "--", "cat", "/root/f"]).ok(),
        "three"
    );
    to.lxc(&["delete", "-f", "mg-moved"]).ok();
}
