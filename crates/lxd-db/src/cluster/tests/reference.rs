//! A database directory that the reference itself has written is opened in place, and the other way round.
//!
//! Skipped where LXD 5.0.2 is not installed.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::super::{Cluster, Options, instances, profiles, storage_volumes};
use super::config;
use crate::node::Node;

const DAEMON: &str = "/usr/bin/lxd";

/// The reference's daemon on a directory of its own; killed if it is still there at the end.
struct Reference {
    directory: PathBuf,
    process: Child,
}

impl Reference {
    fn start(directory: &Path) -> Self {
        let log = format!("--logfile={}", directory.join("lxd.log").display());
        let process = command(DAEMON, directory).arg(log).spawn().unwrap();
        let reference = Self {
            directory: directory.to_owned(),
            process,
        };
        reference.run(DAEMON, &["waitready", "--timeout=60"]);
        reference
    }

    fn run(&self, program: &str, arguments: &[&str]) -> String {
        let output = command(program, &self.directory)
            .args(arguments)
            .stdout(Stdio::piped())
            .output()
            .unwrap();
        assert!(output.status.success(), "{program} {arguments:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    fn stop(mut self) {
        self.run(DAEMON, &["shutdown"]);
        let deadline = Instant::now() + Duration::from_secs(30);
        while self.process.try_wait().unwrap().is_none() {
            assert!(Instant::now() < deadline, "the reference does not stop");
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Reference {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        // The reference leaves small file systems mounted in its directory.
        for folder in ["shmounts", "devlxd", "guestapi"] {
            let _ = rustix_unmount(&self.directory.join(folder));
        }
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "the test compares with another program; this crate starts none"
)]
fn command(program: &str, directory: &Path) -> Command {
    let mut command = Command::new(program);
    command
        .env("LXD_DIR", directory)
        .env("LXD_CONF", directory.join("client"))
        .env("LXD_LXC_TEMPLATE_CONFIG", "/nonexistent")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    command
}

fn rustix_unmount(path: &Path) -> bool {
    command("/usr/bin/umount", path)
        .arg("-l")
        .arg(path)
        .status()
        .is_ok_and(|status| status.success())
}

#[tokio::test]
async fn the_reference_s_directory_is_taken_over_and_given_back() {
    if !Path::new(DAEMON).exists() {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let reference = Reference::start(directory.path());
    reference.run("/usr/bin/lxc", &["storage", "create", "p1", "dir"]);
    reference.run(
        "/usr/bin/lxc",
        &[
            "profile", "device", "add", "default", "root", "disk", "path=/", "pool=p1",
        ],
    );
    reference.run("/usr/bin/lxc", &["init", "--empty", "c1", "-c", "user.a=1"]);
    reference.run("/usr/bin/lxc", &["snapshot", "c1", "s1"]);
    let dumped = reference.run(DAEMON, &["sql", "global", ".dump"]);
    let local = reference.run(DAEMON, &["sql", "local", ".dump"]);
    reference.stop();

    let database = directory.path().join("database");
    let cluster = Cluster::open(Options::standalone(&database, 318)).await.unwrap();
    let ours = cluster.dump(true).await.unwrap();
    let (ours, theirs) = (without_passing(&ours), without_passing(&dumped));
    // Line by line, so that a difference can be read.
    assert_eq!(ours.len(), theirs.len());
    for (ours, theirs) in ours.iter().zip(&theirs) {
        assert_eq!(ours, theirs);
    }
    let mut tx = cluster.begin().await.unwrap();
    let instance = instances::get(&mut tx, "default", "c1").await.unwrap();
    assert_eq!(instance.config.get("user.a").map(String::as_str), Some("1"));
    assert_eq!(instance.profiles, ["default"]);
    let profile = profiles::get(&mut tx, "default", "default").await.unwrap();
    assert_eq!(
        profile.devices["root"],
        config([("type", "disk"), ("path", "/"), ("pool", "p1")])
    );
    assert_eq!(
        instances::snapshots::list(&mut tx, &[instance.id])
            .await
            .unwrap()
            .len(),
        1
    );
    assert_eq!(
        storage_volumes::list(&mut tx, storage_volumes::Filter::default())
            .await
            .unwrap()
            .len(),
        1
    );
    instances::change_config(&mut tx, instance.id, &config([("user.b", "2")]))
        .await
        .unwrap();
    tx.commit().await.unwrap();
    cluster.close().await.unwrap();

    let node = Node::open(&database).await.unwrap();
    let ours = node.dump(true).await.unwrap();
    for line in local
        .lines()
        .filter(|line| line.starts_with("INSERT INTO patches"))
    {
        assert!(ours.contains(line), "{line}");
    }
    drop(node);

    let reference = Reference::start(directory.path());
    assert_eq!(
        reference.run("/usr/bin/lxc", &["config", "get", "c1", "user.b"]),
        "2\n"
    );
    reference.run("/usr/bin/lxc", &["delete", "c1"]);
    reference.stop();
}

/// A dump without what the reference changes while it stops, and without the end of the last line.
fn without_passing(dump: &str) -> Vec<&str> {
    let passing = [
        "INSERT INTO operations",
        "INSERT INTO sqlite_sequence",
        "INSERT INTO warnings",
        "INSERT INTO nodes VALUES",
    ];
    dump.lines()
        .filter(|line| !line.is_empty() && !passing.iter().any(|start| line.starts_with(start)))
        .collect()
}
