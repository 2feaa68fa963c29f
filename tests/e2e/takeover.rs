//! Taking over: a state directory that the reference made and runs a container of, with our daemon in its place.

use std::path::Path;

use lxd_e2e::program::{patiently, sh};
use lxd_e2e::{Kind, Server, image};

fn pid(server: &Server, name: &str) -> i64 {
    let (_, state) = server.api("GET", &format!("/1.0/instances/{name}/state"), "");
    state["metadata"]["pid"].as_i64().unwrap()
}

#[test]
fn a_running_container_of_the_references_goes_on() {
    for kill in [true, false] {
        let mut server = Server::ready(Kind::Reference, "dir");
        let file = image::busybox(server.scratch(), "tar.gz");
        server
            .lxc(&["image", "import", file.to_str().unwrap(), "--alias", "bb"])
            .ok();
        server.lxc(&["launch", "bb", "c1"]).ok();
        server
            .lxc(&["exec", "c1", "--", "sh", "-c", "echo before > /root/file"])
            .ok();
        server.lxc(&["snapshot", "c1", "s0"]).ok();
        server.lxc(&["init", "bb", "c2"]).ok();
        let first = pid(&server, "c1");
        if kill {
            server.kill();
        } else {
            server.stop();
        }
        assert!(Path::new(&format!("/proc/{first}")).exists());

        server.become_kind(Kind::Ours);
        server.spawn();
        let listed = server.lxc(&["list", "-f", "csv", "-c", "ns"]).ok();
        assert_eq!(listed, "c1,RUNNING\nc2,STOPPED\n");
        assert_eq!(pid(&server, "c1"), first);
        let exec = |script: &str| server.lxc(&["exec", "c1", "--", "sh", "-c", script]).ok();
        assert_eq!(exec("cat /root/file; stat -c %u:%g /root/file"), "before\n0:0\n");
        assert!(server.lxc(&["info", "c1"]).ok().contains("s0"));

        // It is watched, stops, and starts again with its files as they were.
        let card = server
            .lxc(&["config", "get", "c1", "volatile.eth0.host_name"])
            .ok();
        let link = std::path::Path::new("/sys/class/net").join(card.trim());
        assert!(!card.trim().is_empty() && link.exists(), "{card:?}");
        server.lxc(&["stop", "c1", "--force"]).ok();
        // The reference's pair comes back to the host whole.
        assert!(!link.exists(), "{card}");
        patiently("the container's end", || {
            !Path::new(&format!("/proc/{first}")).exists()
        });
        server.lxc(&["start", "c1"]).ok();
        let exec = |script: &str| server.lxc(&["exec", "c1", "--", "sh", "-c", script]).ok();
        assert_eq!(exec("cat /root/file; stat -c %u:%g /root/file"), "before\n0:0\n");
        exec("echo after > /root/new");
        server.lxc(&["start", "c2"]).ok();
        assert_eq!(
            server.lxc(&["exec", "c2", "--", "cat", "/proc/1/comm"]).ok(),
            "init\n"
        );
        server.lxc(&["stop", "--force", "c1", "c2"]).ok();
        server.lxc(&["snapshot", "c1", "s1"]).ok();
        server.lxc(&["restore", "c1", "s0"]).ok();
        server.lxc(&["start", "c1"]).ok();
        let exec = |script: &str| server.lxc(&["exec", "c1", "--", "sh", "-c", script]).ok();
        assert_eq!(exec("cat /root/file; ls /root"), "before\nfile\n");
        server.lxc(&["launch", "bb", "c3"]).ok();
        server.lxc(&["delete", "--force", "c1", "c2", "c3"]).ok();
        assert_eq!(server.lxc(&["list", "-f", "csv"]).ok(), "");
        for folder in [
            "containers",
            "snapshots",
            "storage-pools/default/containers",
            "storage-pools/default/containers-snapshots",
        ] {
            let left = std::fs::read_dir(server.dir().join(folder)).unwrap().count();
            assert_eq!(left, 0, "{folder}");
        }
        let mounts = sh("cat", &["/proc/self/mountinfo"]).ok();
        let dir = server.dir();
        let dir = dir.to_str().unwrap();
        let left: Vec<&str> = mounts
            .lines()
            .filter(|line| line.contains(dir) && line.contains("rootfs"))
            .collect();
        assert!(left.is_empty(), "{left:?}");
    }
}
