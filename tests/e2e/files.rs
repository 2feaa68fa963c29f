//! Files inside instances, running and stopped: put, read and taken away, by either client, and never outside the root.

use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use lxd_e2e::program::sh;
use lxd_e2e::{Kind, Server, image};

/// What only the host has, and must never be seen inside.
const SECRET: &str = "only the host knows";

fn ready() -> Server {
    let server = Server::ready(Kind::Ours, "dir");
    let file = image::busybox(server.scratch(), "tar.gz");
    server
        .lxc(&["image", "import", file.to_str().unwrap(), "--alias", "bb"])
        .ok();
    server.lxc(&["launch", "bb", "running"]).ok();
    server.lxc(&["init", "bb", "stopped"]).ok();
    server
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// Asks for a file by its path: the status, the headers that say what it is, and what it holds.
fn read(server: &Server, instance: &str, path: &str) -> (u16, Vec<String>, String) {
    let socket = server.dir().join("unix.socket");
    let url = format!("http://lxd/1.0/instances/{instance}/files?path={path}");
    let out = sh(
        "curl",
        &["-s", "-i", "--path-as-is", "--unix-socket", text(&socket), &url],
    )
    .ok();
    let (head, body) = out.split_once("\r\n\r\n").unwrap();
    let code = head.split(' ').nth(1).unwrap().parse().unwrap();
    let head = head.to_ascii_lowercase();
    let about = ["type", "mode", "uid", "gid"].iter().filter_map(|name| {
        let mark = format!("x-lxd-{name}: ");
        let line = head.lines().find_map(|line| line.strip_prefix(&mark));
        line.map(|value| format!("{name}={}", value.trim()))
    });
    (code, about.collect(), body.to_owned())
}

fn post(server: &Server, instance: &str, path: &str, headers: &[&str], body: &str) -> String {
    let socket = server.dir().join("unix.socket");
    let url = format!("http://lxd/1.0/instances/{instance}/files?path={path}");
    let mut args = vec![
        "-s",
        "--path-as-is",
        "--unix-socket",
        text(&socket),
        "-X",
        "POST",
        "-o",
        "/dev/null",
    ];
    for header in headers {
        args.extend(["-H", header]);
    }
    args.extend([
        "-H",
        "Content-Type: application/octet-stream",
        "-w",
        "%{http_code}",
        "--data-binary",
        body,
        &url,
    ]);
    sh("curl", &args).ok()
}

#[test]
fn files_come_and_go_with_owner_and_mode() {
    let server = ready();
    let local = server.scratch().join("one");
    std::fs::write(&local, "first").unwrap();
    for instance in ["running", "stopped"] {
        let inside = format!("{instance}/root/new/one");
        server
            .lxc(&[
                "file",
                "push",
                "-p",
                "--uid=5",
                "--gid=6",
                "--mode=0640",
                text(&local),
                &inside,
            ])
            .ok();
        let (code, about, body) = read(&server, instance, "/root/new/one");
        assert_eq!((code, body.as_str()), (200, "first"));
        assert_eq!(about, ["type=file", "mode=0640", "uid=5", "gid=6"]);
        assert_eq!(
            post(
                &server,
                instance,
                "/root/new/one",
                &["X-LXD-write: append"],
                " more"
            ),
            "200"
        );
        assert_eq!(server.lxc(&["file", "pull", &inside, "-"]).ok(), "first more");
        server.lxc(&["file", "delete", &inside]).ok();
        assert_eq!(read(&server, instance, "/root/new/one").0, 404);
        server.lxc(&["file", "delete", &inside]).failed();
    }
    // The ids are those inside.
    server
        .lxc(&[
            "file",
            "push",
            "--uid=5",
            "--gid=6",
            text(&local),
            "running/root/",
        ])
        .ok();
    let seen = server
        .lxc(&["exec", "running", "--", "stat", "-c", "%u %g %F", "/root/one"])
        .ok();
    assert_eq!(seen.trim(), "5 6 regular file");
}

#[test]
fn directories_and_links_keep_what_they_are() {
    let server = ready();
    for instance in ["running", "stopped"] {
        let headers = [
            "X-LXD-type: directory",
            "X-LXD-mode: 0711",
            "X-LXD-uid: 7",
            "X-LXD-gid: 8",
        ];
        assert_eq!(post(&server, instance, "/root/d", &headers, ""), "200");
        let (_, about, _) = read(&server, instance, "/root/d");
        assert_eq!(about, ["type=directory", "mode=0711", "uid=7", "gid=8"]);
        assert_eq!(
            post(
                &server,
                instance,
                "/root/d/l",
                &["X-LXD-type: symlink"],
                "../target"
            ),
            "200"
        );
        let (code, about, body) = read(&server, instance, "/root/d/l");
        assert_eq!(
            (code, about[0].as_str(), body.as_str()),
            (200, "type=symlink", "/root/target")
        );
        let (_, _, names) = read(&server, instance, "/root/d");
        assert!(names.contains(r#"["l"]"#), "{names}");
        assert_eq!(
            post(&server, instance, "/root/d", &["X-LXD-type: bogus"], ""),
            "400"
        );
        assert_eq!(post(&server, instance, "/nope/x", &[], "x"), "404");
    }
}

#[test]
fn either_client_moves_trees_both_ways() {
    let server = ready();
    let tree = server.scratch().join("tree");
    std::fs::create_dir_all(tree.join("sub/deep")).unwrap();
    std::fs::write(tree.join("big"), "0123456789".repeat(60_000)).unwrap();
    std::fs::write(tree.join("sub/small"), "s").unwrap();
    std::fs::set_permissions(tree.join("sub/small"), PermissionsExt::from_mode(0o750)).unwrap();
    symlink("sub/small", tree.join("link")).unwrap();
    for (kind, name) in [(Kind::Ours, "ours"), (Kind::Reference, "reference")] {
        for instance in ["running", "stopped"] {
            let inside = format!("{instance}/root/{name}");
            let back = server.scratch().join(format!("{name}-{instance}"));
            let client = |args: &[&str]| server.client(kind, args, "").ok();
            // Debian's client makes the folders above by SFTP.
            client(&["file", "push", "-r", "-p", text(&tree), &inside]);
            client(&["file", "pull", "-r", &format!("{inside}/tree"), text(&back)]);
            let got = back.join("tree");
            for file in ["big", "sub/small"] {
                let (sent, got) = (tree.join(file), got.join(file));
                assert_eq!(
                    std::fs::read(&sent).unwrap(),
                    std::fs::read(&got).unwrap(),
                    "{name} {file}"
                );
                let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode();
                assert_eq!(mode(&sent), mode(&got), "{name} {file}");
            }
            assert!(got.join("sub/deep").is_dir());
            let link = std::fs::read_link(got.join("link")).unwrap();
            assert!(link.ends_with("sub/small"), "{link:?}");
        }
    }
}

#[test]
fn nothing_leads_out_of_the_root() {
    let server = ready();
    let secret = server.scratch().join("secret");
    std::fs::write(&secret, SECRET).unwrap();
    std::fs::set_permissions(&secret, PermissionsExt::from_mode(0o666)).unwrap();
    let folder = server.scratch().join("folder");
    std::fs::create_dir(&folder).unwrap();
    std::fs::set_permissions(&folder, PermissionsExt::from_mode(0o777)).unwrap();
    let up = "../".repeat(20);
    let (secret, folder) = (text(&secret), text(&folder));
    for instance in ["running", "stopped"] {
        let links = [
            ("abs", secret.to_owned()),
            ("rel", format!("{up}{}", &secret[1..])),
            ("proc", format!("/proc/1/root{secret}")),
            ("dir", folder.to_owned()),
            ("cwd", "/proc/self/cwd".to_owned()),
        ];
        for (name, target) in &links {
            let path = format!("/root/{name}");
            assert_eq!(
                post(&server, instance, &path, &["X-LXD-type: symlink"], target),
                "200"
            );
        }
        let through = [
            format!("/root/rel/../{up}{secret}"),
            format!("/{up}{}", &secret[1..]),
            format!("/proc/1/root{secret}"),
            format!("/proc/self/root{secret}"),
            format!("/root/cwd/{}", &secret[1..]),
            format!("/root/dir/../{}", &secret[secret.rfind('/').unwrap() + 1..]),
        ];
        for path in &through {
            let (code, _, body) = read(&server, instance, path);
            assert!(
                code >= 400 && !body.contains(SECRET),
                "{instance} {path}: {code} {body}"
            );
            post(&server, instance, path, &[], "overwritten");
        }
        for (name, _) in &links {
            let path = format!("/root/{name}");
            let (_, _, body) = read(&server, instance, &path);
            assert!(!body.contains(SECRET), "{instance} {path}: {body}");
            post(&server, instance, &path, &[], "overwritten");
            post(&server, instance, &format!("{path}/made"), &[], "made");
            let pulled = server.client(
                Kind::Reference,
                &["file", "pull", &format!("{instance}{path}"), "-"],
                "",
            );
            assert!(!pulled.out.contains(SECRET), "{instance} {path}");
            server.lxc(&["file", "delete", &format!("{instance}{path}/secret")]);
            server.lxc(&["file", "delete", &format!("{instance}{path}")]);
        }
        server.lxc(&["file", "delete", &format!("{instance}/{up}{}", &secret[1..])]);
        assert_eq!(std::fs::read_to_string(secret).unwrap(), SECRET, "{instance}");
        assert_eq!(std::fs::read_dir(folder).unwrap().count(), 0, "{instance}");
    }
}
