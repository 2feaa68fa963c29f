//! Backups of instances: kept, exported, imported; ours and the reference's files in either daemon; recovered pools.

use std::path::{Path, PathBuf};

use lxd_e2e::compare::normalised;
use lxd_e2e::program::{patiently, sh};
use lxd_e2e::{Kind, Server, image};
use serde_json::Value;

fn server_with_image(kind: Kind, driver: &str) -> Server {
    let server = Server::ready(kind, driver);
    let file = image::busybox(server.scratch(), "tar.gz");
    server
        .lxc(&["image", "import", file.to_str().unwrap(), "--alias", "bb"])
        .ok();
    server
}

/// All kinds of things that a root file system may have.
const FILL: &str = "cd /root; echo text > file; ln file hard; ln -s file soft; mkfifo pipe; echo x > suid; chmod 4755 suid; \
     echo x > other; chown 1000:1001 other; mkdir -p deep/er; chmod 700 deep; long=$(printf 'n%.0s' $(seq 150)); echo long > $long; \
     ln -s /$long$long longlink; truncate -s 3M sparse; echo end >> sparse; touch -d '2001-02-03 04:05:06' old";

/// What of it an instance has, as seen inside.
fn seen(server: &Server, name: &str) -> String {
    let script = "cd /root; find . | sort | xargs stat -c '%n %F %a %u:%g %s %h %t,%T'; stat -c %Y old; readlink longlink; \
         cat file hard soft other; md5sum sparse; cat /proc/1/comm";
    let text = server.lxc(&["exec", name, "--", "sh", "-c", script]).ok();
    assert!(text.contains("sparse regular file"), "{text}");
    // The size of a directory is the file system's affair.
    text.lines()
        .map(|line| {
            if line.contains(" directory ") {
                line.split(" directory ").next().unwrap_or_default()
            } else {
                line
            }
        })
        .collect::<Vec<_>>()
        .join("\n")
}

fn export(server: &Server, name: &str, more: &[&str]) -> PathBuf {
    let file = server.scratch().join(format!("{name}.backup"));
    let args = [&["export", name, file.to_str().unwrap()], more].concat();
    server.lxc(&args).ok();
    file
}

#[test]
fn the_files_of_either_are_taken_by_the_other() {
    let reference = server_with_image(Kind::Reference, "dir");
    let dir = server_with_image(Kind::Ours, "dir");
    let overlay = server_with_image(Kind::Ours, "overlay");
    for (from, compression) in [(&reference, "gzip"), (&dir, "zstd"), (&overlay, "xz -1")] {
        from.lxc(&["launch", "bb", "c1"]).ok();
        from.lxc(&["exec", "c1", "--", "sh", "-c", FILL]).ok();
        let before = seen(from, "c1");
        from.lxc(&["exec", "c1", "--", "sync"]).ok();
        let running = export(from, "c1", &["--instance-only"]);
        from.lxc(&["stop", "--force", "c1"]).ok();
        let stopped = export(from, "c1", &["--compression", compression]);
        from.lxc(&["delete", "c1"]).ok();
        for to in [&reference, &dir, &overlay] {
            for (file, name) in [(&running, "b1"), (&stopped, "b2")] {
                to.lxc(&["import", file.to_str().unwrap(), name]).ok();
                to.lxc(&["start", name]).ok();
                assert_eq!(seen(to, name), before);
                to.lxc(&["delete", "--force", name]).ok();
            }
            // Under its own name, and again.
            to.lxc(&["import", stopped.to_str().unwrap()]).ok();
            let error = to.lxc(&["import", stopped.to_str().unwrap()]).failed();
            assert!(
                error
                    .contains("Create instance from backup: Cannot restore volume, already exists on target"),
                "{error}"
            );
            to.lxc(&["start", "c1"]).ok();
            assert_eq!(seen(to, "c1"), before);
            to.lxc(&["delete", "--force", "c1"]).ok();
        }
    }
}

#[test]
fn snapshots_travel_with_their_instance() {
    let reference = server_with_image(Kind::Reference, "dir");
    let ours = server_with_image(Kind::Ours, "overlay");
    for from in [&reference, &ours] {
        from.lxc(&["init", "bb", "c1"]).ok();
        from.lxc(&["start", "c1"]).ok();
        for (name, content) in [("s0", "zero"), ("s1", "one")] {
            from.lxc(&[
                "exec",
                "c1",
                "--",
                "sh",
                "-c",
                &format!("echo {content} > /root/file; sync"),
            ])
            .ok();
            from.lxc(&["snapshot", "c1", name]).ok();
        }
        from.lxc(&["stop", "--force", "c1"]).ok();
        let file = export(from, "c1", &[]);
        for to in [&reference, &ours] {
            to.lxc(&["import", file.to_str().unwrap(), "b1"]).ok();
            for (name, content) in [("s0", "zero\n"), ("s1", "one\n")] {
                to.lxc(&["restore", "b1", name]).ok();
                to.lxc(&["start", "b1"]).ok();
                assert_eq!(to.lxc(&["exec", "b1", "--", "cat", "/root/file"]).ok(), content);
                to.lxc(&["stop", "--force", "b1"]).ok();
            }
            to.lxc(&["delete", "b1"]).ok();
        }
        from.lxc(&["delete", "c1"]).ok();
    }
}

/// Waits for the operation of an answer; how it ended.
fn outcome(server: &Server, answer: &Value) -> String {
    let Some(operation) = answer["operation"].as_str().filter(|url| !url.is_empty()) else {
        return format!("{} {}", answer["error_code"], answer["error"]);
    };
    let (_, body) = server.api("GET", &format!("{operation}/wait?timeout=60"), "");
    let ended = &body["metadata"];
    format!(
        "{} {} {} {}",
        ended["description"], ended["status"], ended["err"], ended["resources"]
    )
}

/// What curl gets: a download that it goes on with though it has all of it, parts, and one that it goes on with in the middle.
fn parts(server: &Server, path: &str) -> Vec<String> {
    let file = server.scratch().join("part");
    let socket = server.dir().join("unix.socket");
    let [file, socket] = [file.to_str().unwrap(), socket.to_str().unwrap()];
    let get = |more: &[&str]| {
        let always = [
            "-s",
            "--unix-socket",
            socket,
            "-w",
            "%{http_code} %{size_download}",
            "-o",
            file,
        ];
        let url = format!("http://lxd{path}");
        sh("curl", &[&always[..], more, &[&url]].concat())
    };
    get(&[]).ok();
    let whole = std::fs::read(file).unwrap();
    let mut told = Vec::new();
    for more in [
        &["-C", "-"][..],
        &["-r", "0-9"],
        &["-r", "-10"],
        &["-r", "999999999-"],
    ] {
        let done = get(more);
        // The reference promises the whole file before its words of refusal, so that curl complains.
        told.push(format!("{more:?} {}", done.out));
        if more != ["-C", "-"] {
            told.push(format!("{}", std::fs::read(file).unwrap().len()));
        }
    }
    std::fs::write(file, &whole[..whole.len() / 2]).unwrap();
    get(&["-C", "-"]).ok();
    assert_eq!(std::fs::read(file).unwrap(), whole);
    told
}

fn story(kind: Kind) -> Vec<String> {
    let server = server_with_image(kind, "dir");
    server.lxc(&["init", "bb", "c1"]).ok();
    let at = "/1.0/instances/c1/backups";
    let mut told = Vec::new();
    for (method, path, body) in [
        ("POST", at, "{}"),
        (
            "POST",
            at,
            r#"{"name":"b1","compression_algorithm":"none","instance_only":true,"expires_at":"2035-01-02T03:04:05Z"}"#,
        ),
        (
            "POST",
            at,
            r#"{"name":"b2","compression_algorithm":"gzip -1","optimized_storage":true}"#,
        ),
        ("POST", at, r#"{"name":"b1"}"#),
        ("POST", at, r#"{"name":"a/b"}"#),
        ("POST", at, r#"{"compression_algorithm":"bogus"}"#),
        ("POST", "/1.0/instances/none/backups", "{}"),
        ("GET", at, ""),
        ("GET", "/1.0/instances/c1/backups?recursion=1", ""),
        ("GET", "/1.0/instances/c1/backups/b1", ""),
        ("GET", "/1.0/containers/c1/backups", ""),
        ("GET", "/1.0/instances/c1/backups/none", ""),
        ("GET", "/1.0/instances/none/backups", ""),
        ("GET", "/1.0/instances/c1/backups/none/export", ""),
        ("POST", "/1.0/instances/c1/backups/b1", r#"{"name":"b3"}"#),
        ("POST", "/1.0/instances/c1/backups/b1", r#"{"name":"b4"}"#),
        ("POST", "/1.0/instances/c1/backups/b3", r#"{"name":"a/b"}"#),
        ("GET", at, ""),
        ("DELETE", "/1.0/instances/c1/backups/b3", ""),
        ("DELETE", "/1.0/instances/c1/backups/b3", ""),
        ("POST", at, "{}"),
        ("GET", at, ""),
    ] {
        let (code, answer) = server.api(method, path, body);
        let text = match method {
            "GET" => format!("{method} {path} {code} {}{}", answer["metadata"], answer["error"]),
            _ => format!("{method} {path} {body} {code} {}", outcome(&server, &answer)),
        };
        told.push(normalised(&server, &text));
    }
    told.extend(parts(&server, "/1.0/instances/c1/backups/b2/export"));
    let scratch = server.scratch().to_str().unwrap().to_owned();
    let file = format!("{scratch}/x.tar");
    for args in [
        &["export", "c1", &file, "--compression=none", "--instance-only"][..],
        &["export", "none"],
        &["export", "c1", &file, "--compression=bogus"],
        &["import", &file],
        &["import", &file, "c2"],
        &["import", &file, "-c2"],
        &["import", "/nonexistent"],
        &["import", &file, "c3", "-s", "none"],
        &["import", "/etc/passwd"],
        &["rename", "c1", "c9"],
    ] {
        let done = server.lxc(args);
        // Progress is not compared.
        let out = done.out.rsplit('\r').next().unwrap_or_default();
        let out = if out.contains("% (") { "" } else { out };
        let text = format!("{args:?}: {} {out} {}", done.code, done.err);
        told.push(normalised(&server, &text.replace(&scratch, "SCRATCH")));
    }
    let list = sh("tar", &["-tf", &file]).ok();
    let mut names: Vec<&str> = list.lines().map(|line| line.trim_end_matches('/')).collect();
    names[1..].sort_unstable();
    told.push(names.join("\n"));
    let index = sh("tar", &["-xOf", &file, "backup/index.yaml"]).ok();
    let kept = index
        .lines()
        .filter(|line| !line.contains("volatile.") && !line.contains("source: "));
    told.push(normalised(&server, &kept.collect::<Vec<_>>().join("\n")));
    let (_, after) = server.api("GET", "/1.0/instances/c9/backups", "");
    told.push(after["metadata"].to_string());
    told
}

#[test]
fn backups_are_kept_as_by_the_reference() {
    let (ours, reference) = (story(Kind::Ours), story(Kind::Reference));
    let differ: Vec<_> = ours.iter().zip(&reference).filter(|(a, b)| a != b).collect();
    assert!(differ.is_empty(), "{differ:#?}");
}

/// Whatever is in the folder of backups.
fn kept(server: &Server) -> Vec<String> {
    let list = sh(
        "find",
        &[server.dir().join("backups").to_str().unwrap(), "-type", "f"],
    )
    .ok();
    list.lines().map(str::to_owned).collect()
}

#[test]
fn broken_and_hostile_archives_leave_nothing() {
    let server = server_with_image(Kind::Ours, "overlay");
    server.lxc(&["init", "bb", "c1"]).ok();
    let good = export(&server, "c1", &["--compression=none"]);
    server.lxc(&["delete", "c1"]).ok();
    let scratch = server.scratch().to_path_buf();
    let work = scratch.join("work");
    std::fs::create_dir(&work).unwrap();
    let (good, work) = (good.to_str().unwrap(), work.to_str().unwrap());
    sh("tar", &["-C", work, "--numeric-owner", "-xf", good]).ok();
    let attempt = |name: &str, change: &dyn Fn(&Path)| {
        let copy = scratch.join("copy");
        sh("cp", &["-a", work, copy.to_str().unwrap()]).ok();
        change(&copy);
        let file = scratch.join("hostile.tar");
        sh(
            "tar",
            &[
                "-C",
                copy.to_str().unwrap(),
                "--numeric-owner",
                "-cf",
                file.to_str().unwrap(),
                "backup/index.yaml",
                "backup/container",
            ],
        )
        .ok();
        let error = server.lxc(&["import", file.to_str().unwrap(), "evil"]).failed();
        assert_eq!(server.lxc(&["list", "-f", "csv"]).ok(), "", "{name}");
        let volumes = server.dir().join("storage-pools/default/containers");
        assert_eq!(std::fs::read_dir(volumes).unwrap().count(), 0, "{name}");
        assert!(kept(&server).is_empty(), "{name}");
        std::fs::remove_dir_all(copy).unwrap();
        error
    };
    let replace = |copy: &Path, from: &str, to: &str| {
        let index = copy.join("backup/index.yaml");
        let text = std::fs::read_to_string(&index).unwrap();
        assert!(text.contains(from), "{from}");
        std::fs::write(index, text.replace(from, to)).unwrap();
    };
    let error = attempt("a link out", &|copy| {
        std::fs::remove_dir_all(copy.join("backup/container/rootfs/etc")).unwrap();
        std::os::unix::fs::symlink("/tmp", copy.join("backup/container/rootfs/etc")).unwrap();
        let outside = copy.join("backup/container/rootfs/zz");
        std::fs::create_dir(outside).unwrap();
        replace(copy, "architecture: x86_64", "architecture: pdp11");
    });
    assert!(error.contains("pdp11"), "{error}");
    let error = attempt("a key that is none", &|copy| {
        replace(copy, "image.os: BusyBox", "bogus: BusyBox")
    });
    assert!(error.contains("bogus"), "{error}");
    let error = attempt("a profile that is none", &|copy| {
        replace(copy, "    - default\n", "    - other\n")
    });
    assert!(error.contains("other"), "{error}");
    attempt("no sense", &|copy| {
        std::fs::write(copy.join("backup/index.yaml"), "[[[").unwrap()
    });
    attempt("no index", &|copy| {
        std::fs::write(copy.join("backup/index.yaml"), "").unwrap()
    });

    // A truncated file.
    let cut = scratch.join("cut.tar");
    let whole = std::fs::read(good).unwrap();
    std::fs::write(&cut, &whole[..whole.len() / 2]).unwrap();
    server.lxc(&["import", cut.to_str().unwrap()]).failed();
    assert_eq!(server.lxc(&["list", "-f", "csv"]).ok(), "");
    assert!(kept(&server).is_empty());
}

#[test]
fn backups_expire_and_go_with_their_instance() {
    let mut server = server_with_image(Kind::Ours, "dir");
    server.lxc(&["init", "bb", "c1"]).ok();
    for body in [
        r#"{"name":"old","expires_at":"2020-01-01T00:00:00Z"}"#,
        r#"{"name":"new"}"#,
    ] {
        let (_, answer) = server.api("POST", "/1.0/instances/c1/backups", body);
        outcome(&server, &answer);
    }
    assert_eq!(kept(&server).len(), 2);
    server.stop();
    server.spawn();
    patiently("the old backup's end", || kept(&server).len() == 1);
    let (_, left) = server.api("GET", "/1.0/instances/c1/backups", "");
    assert_eq!(
        left["metadata"].to_string(),
        r#"["/1.0/instances/c1/backups/new"]"#
    );
    server.lxc(&["delete", "c1"]).ok();
    assert!(kept(&server).is_empty());
}

#[test]
fn pools_are_recovered_when_the_database_is_lost() {
    for (kind, driver) in [
        (Kind::Reference, "dir"),
        (Kind::Ours, "dir"),
        (Kind::Ours, "overlay"),
    ] {
        let mut server = server_with_image(kind, driver);
        server.lxc(&["launch", "bb", "c1", "-c", "user.a=b"]).ok();
        server
            .lxc(&["exec", "c1", "--", "sh", "-c", "echo kept > /root/file; sync"])
            .ok();
        server.lxc(&["stop", "--force", "c1"]).ok();
        server.lxc(&["snapshot", "c1", "s0"]).ok();
        server.stop();
        std::fs::remove_dir_all(server.dir().join("database")).unwrap();
        sh("ip", &["link", "delete", server.bridge()]).ok();
        server.become_kind(Kind::Ours);
        server.spawn();
        let source = server.dir().join("storage-pools/default").display().to_string();
        let answers = format!("yes\ndefault\n{driver}\n{source}\n\nno\nyes\n\nyes\n");
        let mut lxd = server.lxd_command(&["recover"]);
        // The network is made while the command waits for it.
        let bridge = server.bridge().to_owned();
        server
            .lxc(&[
                "network",
                "create",
                &bridge,
                "ipv4.address=none",
                "ipv6.address=none",
            ])
            .ok();
        let answers = answers.replace("\n\nyes\n", "\nyes\n");
        let done = lxd_e2e::program::run(&mut lxd, &answers);
        let out = done.ok();
        assert!(
            out.contains(
                " - Container \"c1\" on pool \"default\" in project \"default\" (includes 1 snapshots)\n"
            ),
            "{out}"
        );
        assert!(out.ends_with("Starting recovery...\n"), "{out}");
        assert_eq!(
            server.lxc(&["list", "-f", "csv", "-c", "nsS"]).ok(),
            "c1,STOPPED,1\n"
        );
        assert_eq!(server.lxc(&["config", "get", "c1", "user.a"]).ok(), "b\n");
        server.lxc(&["start", "c1"]).ok();
        assert_eq!(
            server.lxc(&["exec", "c1", "--", "cat", "/root/file"]).ok(),
            "kept\n"
        );
        let again = lxd_e2e::program::run(&mut server.lxd_command(&["recover"]), "no\nyes\n").ok();
        assert!(
            again.ends_with("No unknown volumes found. Nothing to do.\n"),
            "{again}"
        );
        server.lxc(&["delete", "--force", "c1"]).ok();
    }
}
