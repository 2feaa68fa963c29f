//! Snapshots, copies and publishing: the same steps on our server and on the reference's, and the same answers.

use lxd_e2e::{Kind, Server, compare::difference, image, program::patiently};

/// What is done, and compared after each step.
const STEPS: &[&str] = &[
    "init bb c1",
    "config set c1 user.note one",
    "snapshot c1",
    "snapshot c1 named",
    "snapshot c1 named",
    "snapshot c1 a/b",
    "snapshot nosuch",
    "config show c1/snap0",
    "query /1.0/instances/c1/snapshots",
    "query /1.0/containers/c1/snapshots?recursion=1",
    "query /1.0/instances/c1/snapshots/nosuch",
    "config set c1 user.note two",
    "restore c1 nosuch",
    "restore c1 snap0",
    "config get c1 user.note",
    "rename c1/named c1/snap0",
    "rename c1/named c1/other",
    "move c1/other c1/third",
    "info c1",
    "list -c nsS",
    "config set c1 snapshots.pattern fixed",
    "snapshot c1",
    "snapshot c1",
    "config set c1 snapshots.expiry 1d",
    "snapshot c1 expires",
    "snapshot c1 lasts --no-expiry",
    "query /1.0/instances/c1/snapshots",
    "copy c1 c2",
    "config show c2",
    "info c2",
    "copy c1/snap0 c3",
    "config show c3",
    "copy c1 c4 --instance-only",
    "list -c nsS",
    "copy c1 c2",
    "copy c1/nosuch c5",
    "copy nosuch c5",
    "delete c2/snap0",
    "delete c2/nosuch",
    "copy c1 c5 --refresh",
    "copy c1 c6 -c user.note=three",
    "config get c6 user.note",
    "storage create second dir",
    "copy c1 c7 -s second",
    "config show c7",
    "storage volume list second -f csv",
    "move c6 c8",
    "move c8 c8",
    "move c8 -s nosuch",
    "publish nosuch",
    "publish c1 name",
    "publish c1 --expire bogus",
    "delete c1/snap0 c1/third",
    "delete c1",
    "list -c nsS",
];

#[test]
fn steps_give_the_references_answers() {
    let (ours, reference) = (
        Server::ready(Kind::Ours, "dir"),
        Server::ready(Kind::Reference, "dir"),
    );
    let file = image::busybox(ours.scratch(), "tar.gz");
    for server in [&ours, &reference] {
        server
            .lxc(&["image", "import", file.to_str().unwrap(), "--alias", "bb"])
            .ok();
    }
    let mut found = Vec::new();
    for args in STEPS {
        found.extend(difference(
            &ours,
            &reference,
            &args.split(' ').collect::<Vec<_>>(),
        ));
    }
    assert!(
        found.is_empty(),
        "{} commands differ:\n{}",
        found.len(),
        found.join("\n")
    );
}

fn server(driver: &str) -> Server {
    let server = Server::ready(Kind::Ours, driver);
    let file = image::busybox(server.scratch(), "tar.gz");
    server
        .lxc(&["image", "import", file.to_str().unwrap(), "--alias", "bb"])
        .ok();
    server
}

fn write(server: &Server, name: &str, text: &str) {
    let script = format!("echo {text} > /root/f");
    server.lxc(&["exec", name, "--", "sh", "-c", &script]).ok();
}

fn read(server: &Server, name: &str) -> String {
    server.lxc(&["exec", name, "--", "cat", "/root/f"]).ok()
}

#[test]
fn a_running_container_goes_back_and_on() {
    for driver in ["btrfs", "dir", "overlay"] {
        let server = server(driver);
        server.lxc(&["launch", "bb", "c1"]).ok();
        write(&server, "c1", "one");
        server.lxc(&["snapshot", "c1", "s0"]).ok();
        write(&server, "c1", "two");
        server.lxc(&["restore", "c1", "s0"]).ok();
        assert_eq!(
            server.lxc(&["list", "c1", "-f", "csv", "-c", "s"]).ok(),
            "RUNNING\n"
        );
        assert_eq!(read(&server, "c1"), "one\n", "{driver}");
        write(&server, "c1", "three");
        server.lxc(&["copy", "c1", "c2"]).ok();
        server.lxc(&["start", "c2"]).ok();
        assert_eq!(read(&server, "c2"), "three\n");
        server.lxc(&["stop", "-f", "c2"]).ok();
        write(&server, "c1", "four");
        server.lxc(&["snapshot", "c1", "s1"]).ok();
        server.lxc(&["copy", "c1", "c2", "--refresh"]).ok();
        server.lxc(&["start", "c2"]).ok();
        assert_eq!(read(&server, "c2"), "four\n");
        let snapshots = server.lxc(&["list", "c2", "-f", "csv", "-c", "S"]).ok();
        assert_eq!(snapshots, "2\n");
        // To another kind of pool, and on from there.
        let other = if driver == "dir" { "overlay" } else { "dir" };
        server.lxc(&["storage", "create", "second", other]).ok();
        server.lxc(&["stop", "-f", "c2"]).ok();
        server.lxc(&["move", "c2", "-s", "second"]).ok();
        server.lxc(&["start", "c2"]).ok();
        assert_eq!(read(&server, "c2"), "four\n");
        server.lxc(&["restore", "c2", "s0"]).ok();
        assert_eq!(read(&server, "c2"), "one\n");
        server
            .lxc(&["publish", "c1/s1", "--alias", "made", "user=me"])
            .ok();
        server.lxc(&["launch", "made", "c3"]).ok();
        assert_eq!(read(&server, "c3"), "four\n");
        let refused = server.lxc(&["publish", "c1"]).failed();
        assert!(refused.contains("currently running"), "{refused}");
        for name in ["c1", "c2", "c3"] {
            server.lxc(&["delete", "-f", name]).ok();
        }
        for pool in ["default", "second"] {
            for folder in ["containers", "containers-snapshots"] {
                let path = server.dir().join("storage-pools").join(pool).join(folder);
                assert_eq!(std::fs::read_dir(path).unwrap().count(), 0);
            }
        }
    }
}

#[test]
fn schedules_and_expiry_run_by_themselves() {
    let server = server("overlay");
    server
        .lxc(&["launch", "bb", "c1", "-c", "snapshots.schedule=@startup"])
        .ok();
    assert_eq!(server.lxc(&["list", "-f", "csv", "-c", "S"]).ok(), "1\n");
    server
        .lxc(&["config", "set", "c1", "snapshots.schedule", "* * * * *"])
        .ok();
    server
        .lxc(&["config", "set", "c1", "snapshots.expiry", "1S"])
        .ok();
    let count = || server.lxc(&["list", "-f", "csv", "-c", "S"]).ok();
    let mut was_two = false;
    for _ in 0..3 {
        // A minute may just have begun.
        if !was_two {
            let end = std::time::Instant::now() + std::time::Duration::from_secs(25);
            while !was_two && std::time::Instant::now() < end {
                was_two = count() == "2\n";
                std::thread::sleep(std::time::Duration::from_millis(200));
            }
        }
    }
    assert!(was_two, "no snapshot within a minute");
    server.lxc(&["config", "unset", "c1", "snapshots.schedule"]).ok();
    for _ in 0..2 {
        if count() == "1\n" {
            return;
        }
        std::thread::sleep(std::time::Duration::from_secs(31));
    }
    patiently("the expired snapshot to go", || count() == "1\n");
}
