//! Crashes: the daemon killed at every step of its operations, restarts under running containers.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::{Duration, Instant};

use lxd_e2e::program::{patiently, sh};
use lxd_e2e::{Kind, Server, image};
use serde_json::{Value, json};

/// What may be left over: rows, files, mounts, links, chains, cgroups. Compared before and after.
fn traces(server: &Server) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let tables = [
        "instances",
        "images",
        "storage_volumes",
        "images_aliases",
        "instances_snapshots",
        "instances_backups",
    ];
    for table in tables {
        let rows = server
            .lxd(&["sql", "global", &format!("SELECT count(*) FROM {table}")])
            .ok();
        found.insert(format!("{table}: {rows}"));
    }
    let unfinished = "SELECT kind, state FROM lxdrs_journal WHERE state IN ('running', 'undoing')";
    found.insert(server.lxd(&["sql", "local", unfinished]).ok());
    for folder in [
        "images",
        "containers",
        "devices",
        "security/seccomp",
        "shmounts",
        "snapshots",
    ] {
        walk(&server.dir().join(folder), 1, &mut found);
    }
    walk(&server.dir().join("storage-pools"), 3, &mut found);
    walk(&server.dir().join("backups"), 3, &mut found);
    walk(&server.dir().join("networks"), 3, &mut found);
    let home = server.scratch().to_str().unwrap().to_owned();
    // The name server's entry of an instance stays from its first start to its deletion.
    let containers = server.dir().join("containers");
    found.retain(|path| {
        let entry = path
            .split_once("/dnsmasq.hosts/")
            .and_then(|(_, entry)| entry.split_once('.'));
        entry.is_none_or(|(name, _)| !containers.join(name).is_symlink())
    });
    // A pool's folder for things in the making is made with the first of them, and stays.
    found.retain(|path| !path.ends_with("/.lxd-staging"));
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    found.extend(
        mounts
            .lines()
            .filter(|l| l.contains(&home))
            .filter_map(|l| l.split(' ').nth(4))
            .map(str::to_owned),
    );
    let links = sh("ip", &["-o", "link", "show", "master", server.bridge()]);
    found.insert(format!("links: {}", links.out.lines().count()));
    let chains = sh("nft", &["list", "ruleset"]).ok();
    found.extend(
        chains
            .lines()
            .filter(|l| l.contains(server.bridge()))
            .map(str::to_owned),
    );
    for controller in ["memory", "unified", "pids"] {
        for entry in std::fs::read_dir(Path::new("/sys/fs/cgroup").join(controller))
            .into_iter()
            .flatten()
            .flatten()
        {
            let name = entry.file_name().to_string_lossy().into_owned();
            if name.starts_with("lxc.") && name.contains("crash") {
                found.insert(format!("cgroup {controller}/{name}"));
            }
        }
    }
    found
}

fn walk(folder: &Path, depth: u32, found: &mut BTreeSet<String>) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        found.insert(entry.path().display().to_string());
        if depth > 1 && entry.path().is_dir() && !entry.path().is_symlink() {
            walk(&entry.path(), depth - 1, found);
        }
    }
}

/// The steps of the recorded work of a kind, as the daemon lists them.
fn steps(server: &Server, kind: &str) -> Vec<String> {
    let listed = server.lxd(&["generate", "steps"]).ok();
    let steps = listed
        .lines()
        .filter_map(|line| line.strip_prefix(kind)?.strip_prefix(':'));
    let steps: Vec<String> = steps.map(str::to_owned).collect();
    assert!(!steps.is_empty(), "no work of kind {kind} in:\n{listed}");
    steps
}

/// Makes the daemon die at each step of a kind of work, restarts it, and checks that the world is as before or as after.
fn die_at_every_step(
    server: &mut Server,
    kind: &str,
    request: &dyn Fn(&Server) -> (u16, Value),
    reset: &dyn Fn(&Server),
) {
    reset(server);
    let before = traces(server);
    let (code, answer) = request(server);
    assert!(code < 300, "{kind}: {answer}");
    assert_eq!(wait(server, &answer), 200, "{kind}: {answer}");
    let after = traces(server);
    for step in steps(server, kind) {
        for moment in ["before", "after"] {
            reset(server);
            assert_eq!(traces(server), before, "{kind}:{step}:{moment}: reset");
            let point = format!("{kind}:{step}:{moment}");
            server.stop();
            server.set_env("LXD_TEST_KILL_AT", &point);
            server.spawn();
            let socket = server.dir().join("unix.socket");
            let answer = request_until_death(server, request);
            assert!(server.wait_for_death(), "{point}: not killed");
            server.set_env("LXD_TEST_KILL_AT", "");
            let _ = std::fs::remove_file(socket);
            server.spawn();
            if let Some(answer) = answer {
                let outcome = wait(server, &answer);
                let wanted = if outcome == 200 { &after } else { &before };
                // An instance that ran comes back only when all recovery is over.
                let deadline = Instant::now() + Duration::from_secs(20);
                while traces(server) != *wanted && Instant::now() < deadline {
                    std::thread::sleep(Duration::from_millis(100));
                }
                assert_eq!(&traces(server), wanted, "{point}: outcome {outcome}");
            }
        }
    }
    reset(server);
}

/// Sends a request to a daemon that will die of it; the answer, if it came in time.
fn request_until_death(server: &Server, request: &dyn Fn(&Server) -> (u16, Value)) -> Option<Value> {
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| request(server)))
        .ok()
        .map(|(_, answer)| answer)
}

/// Waits on the operation of an answer; its status code.
fn wait(server: &Server, answer: &Value) -> u64 {
    let operation = answer["operation"].as_str().unwrap_or_default();
    assert!(!operation.is_empty(), "no operation: {answer}");
    let (code, body) = server.api("GET", &format!("{operation}/wait?timeout=60"), "");
    assert_eq!(code, 200, "{operation}: {body}");
    let error = body["metadata"]["err"].as_str().unwrap_or_default();
    if !error.is_empty() {
        eprintln!("{operation}: {error}");
    }
    body["metadata"]["status_code"].as_u64().unwrap()
}

fn delete_all(server: &Server) {
    for name in server.lxc(&["list", "-f", "csv", "-c", "n"]).ok().lines() {
        server.lxc(&["delete", "--force", name]).ok();
    }
}

fn server_with_image(driver: &str) -> Server {
    let server = Server::ready(Kind::Ours, driver);
    let file = image::busybox(server.scratch(), "tar.gz");
    server
        .lxc(&["image", "import", file.to_str().unwrap(), "--alias", "bb"])
        .ok();
    server.lxc(&["launch", "bb", "warm"]).ok();
    server.lxc(&["delete", "--force", "warm"]).ok();
    server
}

#[test]
fn creating_starting_stopping_copying_and_deleting() {
    for driver in ["dir", "overlay"] {
        let mut server = server_with_image(driver);
        let create = json!({"name": "crash", "source": {"type": "image", "alias": "bb"}}).to_string();
        let copy =
            json!({"name": "crash2", "profiles": ["default"], "source": {"type": "copy", "source": "crash"}})
                .to_string();
        let state = |action: &str| json!({"action": action, "force": true, "timeout": 30}).to_string();
        let exists = |server: &Server| {
            delete_all(server);
            server.lxc(&["init", "bb", "crash"]).ok();
        };
        let runs = |server: &Server| {
            delete_all(server);
            server.lxc(&["launch", "bb", "crash"]).ok();
        };
        die_at_every_step(
            &mut server,
            "instances.create",
            &|s| s.api("POST", "/1.0/instances", &create),
            &delete_all,
        );
        die_at_every_step(
            &mut server,
            "instances.copy",
            &|s| s.api("POST", "/1.0/instances", &copy),
            &exists,
        );
        let put = |s: &Server, action: &str| s.api("PUT", "/1.0/instances/crash/state", &state(action));
        die_at_every_step(&mut server, "instances.start", &|s| put(s, "start"), &exists);
        die_at_every_step(&mut server, "instances.stop", &|s| put(s, "stop"), &runs);
        die_at_every_step(
            &mut server,
            "instances.delete",
            &|s| s.api("DELETE", "/1.0/instances/crash", ""),
            &exists,
        );
        delete_all(&server);
    }
}

#[test]
fn snapshots_copies_and_moves() {
    for driver in ["dir", "overlay"] {
        let mut server = server_with_image(driver);
        server.lxc(&["storage", "create", "second", driver]).ok();
        let exists = |server: &Server| {
            delete_all(server);
            server.lxc(&["init", "bb", "crash"]).ok();
            server.lxc(&["snapshot", "crash", "s0"]).ok();
        };
        let take = json!({"name": "s1"}).to_string();
        let snapshots = "/1.0/instances/crash/snapshots";
        die_at_every_step(
            &mut server,
            "instance-snapshots.create",
            &|s| s.api("POST", snapshots, &take),
            &exists,
        );
        let rename = json!({"name": "s2"}).to_string();
        die_at_every_step(
            &mut server,
            "instance-snapshots.rename",
            &|s| s.api("POST", &format!("{snapshots}/s0"), &rename),
            &exists,
        );
        die_at_every_step(
            &mut server,
            "instance-snapshots.delete",
            &|s| s.api("DELETE", &format!("{snapshots}/s0"), ""),
            &exists,
        );
        let restore = json!({"restore": "s0"}).to_string();
        die_at_every_step(
            &mut server,
            "instances.restore",
            &|s| s.api("PUT", "/1.0/instances/crash", &restore),
            &exists,
        );
        let copy = |name: &str, refresh: bool| {
            let source = json!({"type": "copy", "source": "crash", "refresh": refresh});
            json!({"name": name, "profiles": ["default"], "source": source}).to_string()
        };
        die_at_every_step(
            &mut server,
            "instances.copy",
            &|s| s.api("POST", "/1.0/instances", &copy("crash2", false)),
            &exists,
        );
        let copied = |server: &Server| {
            exists(server);
            server.lxc(&["copy", "crash", "crash2"]).ok();
            server.lxc(&["snapshot", "crash2", "extra"]).ok();
        };
        die_at_every_step(
            &mut server,
            "instances.refresh",
            &|s| s.api("POST", "/1.0/instances", &copy("crash2", true)),
            &copied,
        );
        let place = json!({"name": "crash", "migration": true, "pool": "second"}).to_string();
        die_at_every_step(
            &mut server,
            "instances.move",
            &|s| s.api("POST", "/1.0/instances/crash", &place),
            &exists,
        );
        delete_all(&server);
    }
}

/// What pools of btrfs do in their own way.
#[test]
fn on_btrfs() {
    let mut server = server_with_image("btrfs");
    let exists = |server: &Server| {
        delete_all(server);
        server.lxc(&["init", "bb", "crash"]).ok();
        server.lxc(&["snapshot", "crash", "s0"]).ok();
    };
    let create = json!({"name": "crash", "source": {"type": "image", "alias": "bb"}}).to_string();
    die_at_every_step(
        &mut server,
        "instances.create",
        &|s| s.api("POST", "/1.0/instances", &create),
        &delete_all,
    );
    let take = json!({"name": "s1"}).to_string();
    die_at_every_step(
        &mut server,
        "instance-snapshots.create",
        &|s| s.api("POST", "/1.0/instances/crash/snapshots", &take),
        &exists,
    );
    let restore = json!({"restore": "s0"}).to_string();
    die_at_every_step(
        &mut server,
        "instances.restore",
        &|s| s.api("PUT", "/1.0/instances/crash", &restore),
        &exists,
    );
    die_at_every_step(
        &mut server,
        "instances.delete",
        &|s| s.api("DELETE", "/1.0/instances/crash", ""),
        &exists,
    );
    delete_all(&server);
}

#[test]
fn backups_images_and_changes_of_an_instance() {
    let mut server = server_with_image("overlay");
    let exists = |server: &Server| {
        delete_all(server);
        server.lxc(&["init", "bb", "crash"]).ok();
    };
    let backed_up = |server: &Server| {
        exists(server);
        let (_, answer) = server.api("POST", "/1.0/instances/crash/backups", &backup("b0"));
        assert_eq!(wait(server, &answer), 200, "{answer}");
    };
    let backups = "/1.0/instances/crash/backups";
    die_at_every_step(
        &mut server,
        "instance_backups.create",
        &|s| s.api("POST", backups, &backup("b1")),
        &exists,
    );
    let rename = json!({"name": "b2"}).to_string();
    die_at_every_step(
        &mut server,
        "instance_backups.rename",
        &|s| s.api("POST", &format!("{backups}/b0"), &rename),
        &backed_up,
    );
    die_at_every_step(
        &mut server,
        "instance_backups.delete",
        &|s| s.api("DELETE", &format!("{backups}/b0"), ""),
        &backed_up,
    );
    exists(&server);
    let file = server.scratch().join("crash.tar");
    server
        .lxc(&["export", "crash", file.to_str().unwrap(), "--compression", "none"])
        .ok();
    die_at_every_step(
        &mut server,
        "instance_backups.import",
        &|s| upload(s, &file, "/1.0/instances"),
        &delete_all,
    );
    let publish =
        json!({"source": {"type": "instance", "name": "crash"}, "compression_algorithm": "none"}).to_string();
    let unpublished = |server: &Server| {
        exists(server);
        for image in server
            .lxc(&["image", "list", "-f", "csv", "-c", "lf"])
            .ok()
            .lines()
        {
            if let Some(fingerprint) = image.strip_prefix(',') {
                server.lxc(&["image", "delete", fingerprint]).ok();
            }
        }
    };
    die_at_every_step(
        &mut server,
        "images.import",
        &|s| s.api("POST", "/1.0/images", &publish),
        &unpublished,
    );
    let rename = json!({"name": "crash3"}).to_string();
    die_at_every_step(
        &mut server,
        "instances.rename",
        &|s| s.api("POST", "/1.0/instances/crash", &rename),
        &exists,
    );
    let runs = |server: &Server| {
        delete_all(server);
        server.lxc(&["launch", "bb", "crash"]).ok();
    };
    die_at_every_step(
        &mut server,
        "instances.restart",
        &|s| {
            let restart = json!({"action": "restart", "force": true, "timeout": 30}).to_string();
            s.api("PUT", "/1.0/instances/crash/state", &restart)
        },
        &runs,
    );
    let folder = server.scratch().join("shared");
    std::fs::create_dir(&folder).unwrap();
    let disk = json!({"type": "disk", "path": "/mnt", "source": folder});
    die_at_every_step(
        &mut server,
        "instances.update",
        &|s| {
            let mut instance = s.api("GET", "/1.0/instances/crash", "").1["metadata"].take();
            instance["devices"]["d"] = disk.clone();
            s.api("PUT", "/1.0/instances/crash", &instance.to_string())
        },
        &runs,
    );
    delete_all(&server);
}

fn backup(name: &str) -> String {
    json!({"name": name, "compression_algorithm": "none"}).to_string()
}

/// Sends a file as the body of a request.
fn upload(server: &Server, file: &Path, path: &str) -> (u16, Value) {
    let mut curl = std::process::Command::new("curl");
    curl.args(["-s", "-S", "-X", "POST", "--unix-socket"]);
    curl.arg(server.dir().join("unix.socket"));
    curl.args(["-H", "Content-Type: application/octet-stream", "--data-binary"]);
    curl.arg(format!("@{}", file.display()))
        .arg(format!("http://lxd{path}"));
    let answer = lxd_e2e::program::run(&mut curl, "").ok();
    (202, serde_json::from_str(&answer).unwrap())
}

#[test]
fn importing_an_image() {
    let mut server = Server::ready(Kind::Ours, "dir");
    let file = image::busybox(server.scratch(), "tar.gz");
    let none = |server: &Server| {
        for fingerprint in server
            .lxc(&["image", "list", "-f", "csv", "-c", "f"])
            .ok()
            .lines()
        {
            server.lxc(&["image", "delete", fingerprint]).ok();
        }
    };
    die_at_every_step(
        &mut server,
        "images.import",
        &|s| upload(s, &file, "/1.0/images"),
        &none,
    );
}

#[test]
fn containers_go_on_while_the_daemon_is_away() {
    let mut server = server_with_image("overlay");
    server.lxc(&["launch", "bb", "c1"]).ok();
    let pid = |server: &Server| {
        server.api("GET", "/1.0/instances/c1/state", "").1["metadata"]["pid"]
            .as_i64()
            .unwrap()
    };
    let first = pid(&server);
    assert!(first > 0);
    server.kill();
    assert!(Path::new(&format!("/proc/{first}")).exists());
    server.spawn();
    assert_eq!(pid(&server), first);
    assert_eq!(
        server.lxc(&["exec", "c1", "--", "cat", "/proc/1/comm"]).ok(),
        "init\n"
    );
    server.stop();
    server.spawn();
    assert_eq!(pid(&server), first);

    // Adopted, it is watched: what happens inside is noticed.
    server.lxc(&["exec", "c1", "--", "poweroff", "-f"]);
    patiently("the stop to be noticed", || {
        server.lxc(&["list", "c1", "-f", "csv", "-c", "s"]).ok() == "STOPPED\n"
    });

    // What ends while the daemon is away is noticed at the next start.
    server.lxc(&["start", "c1"]).ok();
    let pid = pid(&server);
    server.kill();
    sh("kill", &["-9", &pid.to_string()]).ok();
    server.spawn();
    assert_eq!(
        server.lxc(&["list", "c1", "-f", "csv", "-c", "s"]).ok(),
        "STOPPED\n"
    );
    server.lxc(&["start", "c1"]).ok();
}
