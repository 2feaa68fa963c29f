//! Every pairing of clients and daemons: the reference's client and pylxd on our daemon, our client on the reference's.

use std::process::Command;

use lxd_e2e::program::{patiently, run, sh};
use lxd_e2e::{Kind, Server, image};

/// What users do with containers, by one client on one remote (`""` or `name:`).
fn tour(server: &Server, client: Kind, remote: &str) {
    let lxc = |args: &[&str]| server.client(client, args, "");
    let c1 = format!("{remote}c1");
    let c1 = c1.as_str();
    lxc(&["launch", &format!("{remote}bb"), c1]).ok();
    patiently("an address", || {
        lxc(&["list", c1, "-f", "csv", "-c", "4"]).out.contains("eth0")
    });
    assert_eq!(
        lxc(&["list", remote, "-f", "csv", "-c", "ns"]).ok(),
        "c1,RUNNING\n"
    );
    assert!(lxc(&["info", c1]).ok().contains("Status: RUNNING"));
    assert!(lxc(&["config", "show", c1]).ok().contains("volatile.base_image"));

    assert_eq!(lxc(&["exec", c1, "--", "hostname"]).ok(), "c1\n");
    assert_eq!(lxc(&["exec", c1, "--", "sh", "-c", "exit 42"]).code, 42);
    assert_eq!(lxc(&["exec", c1, "--", "nosuchprogram"]).code, 127);
    assert_eq!(lxc(&["exec", c1, "--", "sh", "-c", "kill -9 $$"]).code, 137);
    assert_eq!(
        server
            .client(client, &["exec", c1, "--", "tr", "a-z", "A-Z"], "hello\n")
            .ok(),
        "HELLO\n"
    );
    let split = lxc(&["exec", c1, "--", "sh", "-c", "echo out; echo err >&2"]);
    assert_eq!((split.out.as_str(), split.err.as_str()), ("out\n", "err\n"));
    let env = lxc(&[
        "exec",
        c1,
        "--env",
        "A=b c",
        "--cwd",
        "/tmp",
        "--",
        "sh",
        "-c",
        "echo $A; pwd",
    ]);
    assert_eq!(env.ok(), "b c\n/tmp\n");
    if server.kind() == Kind::Reference {
        // It hangs up when the input ends, now and then before the program has said anything.
        patiently("the terminal's size", || pty(server, client, c1) == "99 33");
    } else {
        assert_eq!(pty(server, client, c1), "99 33");
    }

    lxc(&["pause", c1]).ok();
    assert_eq!(lxc(&["list", c1, "-f", "csv", "-c", "s"]).ok(), "FROZEN\n");
    lxc(&["start", c1]).ok();
    lxc(&["restart", "--force", c1]).ok();
    assert_eq!(lxc(&["exec", c1, "--", "cat", "/proc/1/comm"]).ok(), "init\n");
    let held = lxc(&["delete", c1]).failed();
    assert!(held.contains("currently running"), "{held}");
    lxc(&["stop", "--force", c1]).ok();
    lxc(&["copy", c1, &format!("{remote}c2")]).ok();
    lxc(&["start", &format!("{remote}c2")]).ok();
    assert_eq!(
        lxc(&["exec", &format!("{remote}c2"), "--", "hostname"]).ok(),
        "c2\n"
    );
    lxc(&["rename", c1, "c3"]).ok();
    lxc(&[
        "delete",
        "--force",
        &format!("{remote}c2"),
        &format!("{remote}c3"),
    ])
    .ok();
    assert_eq!(lxc(&["list", remote, "-f", "csv"]).ok(), "");
}

/// The size of a terminal as a command in the container sees it, through `script` for a terminal of our own.
fn pty(server: &Server, client: Kind, name: &str) -> String {
    let inner = server.client_command(client, &["exec", "-t", name, "--", "stty", "size"]);
    let line = std::iter::once(inner.get_program())
        .chain(inner.get_args())
        .map(|word| word.to_string_lossy().into_owned())
        .collect::<Vec<_>>()
        .join(" ");
    let mut script = Command::new("script");
    script.args(["-qec", &format!("stty rows 99 cols 33; {line}"), "/dev/null"]);
    for (key, value) in inner.get_envs() {
        match value {
            Some(value) => script.env(key, value),
            None => script.env_remove(key),
        };
    }
    // `script` types an end of file when its own input ends, which the terminal may echo.
    run(&mut script, "")
        .ok()
        .replace("^@", "")
        .replace("^D\u{8}\u{8}", "")
        .trim()
        .to_owned()
}

fn with_image(kind: Kind) -> Server {
    let server = Server::ready(kind, if kind == Kind::Ours { "overlay" } else { "dir" });
    let file = image::busybox(server.scratch(), "tar.xz");
    server
        .lxc(&["image", "import", file.to_str().unwrap(), "--alias", "bb"])
        .ok();
    server
}

#[test]
fn our_client_on_our_daemon() {
    let server = with_image(Kind::Ours);
    tour(&server, Kind::Ours, "");
    server.lxc(&["launch", "bb", "c1"]).ok();
    for client in [Kind::Ours, Kind::Reference] {
        end_of_input_at_a_terminal(&server, client);
        fifty_at_once(&server, client);
    }
    let environment = server.api("GET", "/1.0", "").1["metadata"]["environment"].clone();
    assert_eq!(environment["driver"], "lxc");
    assert_eq!(environment["lxc_features"]["network_veth_router"], "true");
}

/// Commands that are over at once, many at the same time: each is heard to the end.
fn fifty_at_once(server: &Server, client: Kind) {
    std::thread::scope(|scope| {
        let runs: Vec<_> = (0..50)
            .map(|number: i32| {
                scope.spawn(move || {
                    let number = number.to_string();
                    let said = server.client(client, &["exec", "c1", "--", "echo", &number], "");
                    assert_eq!(said.ok(), format!("{number}\n"));
                })
            })
            .collect();
        runs.into_iter().for_each(|run| run.join().unwrap());
    });
}

/// A terminal whose input has ended, as under cron: programs that read hear of the end, the others go on.
fn end_of_input_at_a_terminal(server: &Server, client: Kind) {
    let exec = |command: &str, input: &str| {
        let done = server.client(client, &["exec", "-t", "c1", "--", "sh", "-c", command], input);
        (done.code, done.out.replace('\r', ""))
    };
    assert_eq!(exec("sleep 0.3; echo late", ""), (0, "late\n".into()));
    assert_eq!(exec("stty -echo; cat; echo over", ""), (0, "over\n".into()));
    // No shell in between, which would say the same by itself.
    let refused = server.client(client, &["exec", "c1", "--", "/etc/passwd"], "");
    assert_eq!(refused.code, 126);
}

#[test]
fn the_references_client_on_our_daemon() {
    tour(&with_image(Kind::Ours), Kind::Reference, "");
}

#[test]
fn our_client_on_the_references_daemon() {
    tour(&with_image(Kind::Reference), Kind::Ours, "");
}

/// A port that nobody listens on at the moment.
fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port()
}

#[test]
fn both_clients_over_tls_with_a_password_and_with_a_certificate() {
    let server = with_image(Kind::Ours);
    let address = format!("127.0.0.1:{}", free_port());
    server
        .lxc(&["config", "set", "core.https_address", &address])
        .ok();
    let add = [
        "remote",
        "add",
        "r1",
        &format!("https://{address}"),
        "--accept-certificate",
        "--password",
        "sesame",
    ];
    server.client(Kind::Reference, &add, "").failed();
    server
        .lxc(&["config", "set", "core.trust_password", "sesame"])
        .ok();
    assert!(
        server
            .lxc(&["config", "show"])
            .ok()
            .contains("core.trust_password: true")
    );
    server.client(Kind::Reference, &add, "").ok();
    tour(&server, Kind::Reference, "r1:");
    assert_eq!(
        server
            .lxc(&["config", "trust", "list", "-f", "csv"])
            .ok()
            .lines()
            .count(),
        1
    );
    let fingerprint =
        server.api("GET", "/1.0/certificates?recursion=1", "").1["metadata"][0]["fingerprint"].clone();
    server
        .lxc(&["config", "trust", "remove", fingerprint.as_str().unwrap()])
        .ok();
    server.client(Kind::Reference, &["list", "r1:"], "").failed();
    server.lxc(&["config", "unset", "core.trust_password"]).ok();

    let certificate = server.scratch().join("conf/client.crt");
    server
        .lxc(&["config", "trust", "add", certificate.to_str().unwrap()])
        .ok();
    server
        .client(
            Kind::Ours,
            &["remote", "add", "r2", &address, "--accept-certificate"],
            "",
        )
        .ok();
    tour(&server, Kind::Ours, "r2:");
}

#[test]
fn pylxd_drives_our_daemon() {
    let server = with_image(Kind::Ours);
    let venv = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/pylxd");
    if !venv.join("bin/pip").exists() {
        sh("python3", &["-m", "venv", venv.to_str().unwrap()]).ok();
    }
    let python = venv.join("bin/python");
    sh(
        python.to_str().unwrap(),
        &[
            "-m",
            "pip",
            "install",
            "--quiet",
            "--disable-pip-version-check",
            "pylxd",
        ],
    )
    .ok();
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/e2e/pylxd_tour.py");
    let mut command = Command::new(&python);
    command
        .arg(script)
        .arg(server.dir().join("unix.socket"))
        .env("LXD_DIR", server.dir());
    assert_eq!(run(&mut command, "").ok(), "done\n");
}
