//! What containers may learn about themselves at `/dev/lxd/sock`, asked from inside, as the reference answers it.

use std::process::Stdio;

use lxd_e2e::program::patiently;
use lxd_e2e::{Kind, Server, image};

/// The host's curl, started inside.
const CURL: &str = "/host/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2 --library-path /host/lib/x86_64-linux-gnu /host/bin/curl \
                    -s -S -N --unix-socket /dev/lxd/sock";

fn ready(kind: Kind) -> Server {
    let server = Server::ready(kind, "dir");
    let file = image::busybox(server.scratch(), "tar.gz");
    server
        .lxc(&["image", "import", file.to_str().unwrap(), "--alias", "bb"])
        .ok();
    server.lxc(&["init", "bb", "c1", "-c", "user.note=one two"]).ok();
    let device = ["host", "disk", "source=/usr", "path=/host", "readonly=true"];
    server
        .lxc(&[&["config", "device", "add", "c1"], &device[..]].concat())
        .ok();
    server.lxc(&["start", "c1"]).ok();
    server
}

/// What curl inside is answered, with the status behind.
fn ask(server: &Server, args: &str) -> String {
    let line = format!("{CURL} -w '%{{http_code}} %{{content_type}}' {args}");
    server.lxc(&["exec", "c1", "--", "sh", "-c", &line]).ok()
}

#[test]
fn containers_learn_what_the_reference_tells_them() {
    let paths = [
        "http://x/",
        "http://x/1.0",
        "http://x/1.0/config",
        "http://x/1.0/config/user.note",
        "http://x/1.0/config/user.none",
        "http://x/1.0/config/cloud-init.user-data",
        "http://x/1.0/config/limits.memory",
        "http://x/1.0/config/volatile.uuid",
        "http://x/1.0/devices",
        "http://x/1.0/images/abc/export",
        "http://x/nope",
        "-X POST http://x/1.0",
    ];
    let answers = [Kind::Ours, Kind::Reference].map(|kind| {
        let server = ready(kind);
        let meta = ask(&server, "http://x/1.0/meta-data");
        let id = server
            .lxc(&["config", "get", "c1", "volatile.cloud-init.instance-id"])
            .ok();
        let expected =
            format!("#cloud-config\ninstance-id: {id}local-hostname: c1\n200 application/octet-stream");
        assert_eq!(meta, expected);
        // Who is not root inside hears nothing.
        let line = format!("{CURL} -w '%{{http_code}}' http://x/1.0/config");
        let refused = server.lxc(&["exec", "c1", "--user", "1000", "--", "sh", "-c", &line]);
        assert_eq!(refused.ok(), "Access denied for non-root user\n401");
        let card = server.lxc(&["config", "get", "c1", "volatile.eth0.hwaddr"]).ok();
        paths.map(|path| {
            let answer = ask(&server, path).replace(server.bridge(), "BRIDGE");
            format!("{path}: {}", answer.replace(card.trim(), "CARD"))
        })
    });
    let [ours, reference] = answers;
    assert_eq!(ours, reference);
    assert!(ours[3].contains("one two200"), "{}", ours[3]);
}

#[test]
fn changes_are_heard_inside_while_they_happen() {
    let server = ready(Kind::Ours);
    let websocket = "-H 'Connection: Upgrade' -H 'Upgrade: websocket' -H 'Sec-WebSocket-Version: 13' \
                     -H 'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=='";
    let listeners = [
        ("all", String::new(), ""),
        ("config", String::new(), "?type=config"),
        ("device", String::new(), "?type=device"),
        ("socket", format!("--http1.1 {websocket}"), ""),
    ];
    let mut children = Vec::new();
    for (name, headers, query) in &listeners {
        let line = format!(
            "{CURL} --max-time 60 -D /root/{name}.head {headers} 'http://x/1.0/events{query}' > /root/{name}.heard"
        );
        let mut command = server.client_command(Kind::Ours, &["exec", "c1", "--", "sh", "-c", &line]);
        children.push(
            command
                .stdin(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .unwrap(),
        );
    }
    let pull = |name: &str| server.lxc(&["file", "pull", &format!("c1/root/{name}"), "-"]).out;
    let heard = |name: &str| pull(&format!("{name}.heard"));
    let head = |name: &str| pull(&format!("{name}.head"));
    for (name, ..) in &listeners {
        patiently("the head of the answer", || head(name).contains("\r\n\r\n"));
    }
    server.lxc(&["config", "set", "c1", "user.note=three"]).ok();
    server.lxc(&["config", "set", "c1", "limits.processes=500"]).ok();
    let device = ["added", "disk", "source=/usr", "path=/mnt"];
    server
        .lxc(&[&["config", "device", "add", "c1"], &device[..]].concat())
        .ok();
    server.lxc(&["config", "set", "c1", "user.last=1"]).ok();
    server.lxc(&["config", "device", "remove", "c1", "added"]).ok();
    for (name, last) in [
        ("all", "removed"),
        ("config", "user.last"),
        ("device", "removed"),
        ("socket", "removed"),
    ] {
        patiently("the last change", || heard(name).contains(last));
        let text = heard(name);
        let note = r#""metadata":{"key":"user.note","old_value":"one two","value":"three"}"#;
        assert_eq!(text.contains(note), name != "device", "{name}: {text}");
        assert_eq!(
            text.contains(r#""action":"added""#),
            name != "config",
            "{name}: {text}"
        );
        assert!(!text.contains("limits.processes"), "{name}: {text}");
    }
    assert!(head("socket").starts_with("HTTP/1.1 101"), "{}", head("socket"));
    // The end of the container is the end of its connections.
    server.lxc(&["stop", "-f", "c1"]).ok();
    for mut child in children {
        patiently("the listener's end", || child.try_wait().unwrap().is_some());
    }
}

#[test]
fn only_containers_that_may_are_answered() {
    let server = ready(Kind::Ours);
    let is_there = || server.lxc(&["exec", "c1", "--", "test", "-e", "/dev/lxd"]).code == 0;
    for restarts in [false, true] {
        let restart = || {
            if restarts {
                server.lxc(&["restart", "-f", "c1"]).ok();
            }
        };
        server.lxc(&["config", "set", "c1", "security.devlxd=false"]).ok();
        restart();
        assert!(!is_there(), "{restarts}");
        server.lxc(&["config", "unset", "c1", "security.devlxd"]).ok();
        restart();
        assert!(
            ask(&server, "http://x/1.0").contains("200 application/json"),
            "{restarts}"
        );
    }
    // A process of the host is nobody's.
    let socket = server.dir().join("devlxd/sock");
    let out = lxd_e2e::program::sh(
        "curl",
        &[
            "-s",
            "--unix-socket",
            socket.to_str().unwrap(),
            "http://x/1.0/config",
        ],
    );
    assert!(out.ok().contains("pid not in container"));
}
