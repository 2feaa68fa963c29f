//! Ids on disk where no mount may map them: shifted at starts, shown unshifted everywhere inside.

use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;

use lxd_e2e::program::sh;
use lxd_e2e::{Kind, Server, image};

/// The variable with which an administrator turns maps of mounts off.
const NO_MAPS: (&str, &str) = ("LXD_IDMAPPED_MOUNTS_DISABLE", "1");

fn on_disk(server: &Server, path: &str) -> (u32, u32, u32) {
    let file: PathBuf = server.dir().join("containers").join(path);
    let stat = std::fs::symlink_metadata(file).unwrap();
    (stat.uid(), stat.gid(), stat.mode() & 0o7777)
}

/// The id of the host's that a map of a volatile key has for root.
fn base(server: &Server, instance: &str, key: &str) -> u32 {
    let text = server.lxc(&["config", "get", instance, key]).ok();
    let map: serde_json::Value = serde_json::from_str(text.trim()).unwrap();
    let host = map[0]["Hostid"].as_u64().unwrap_or(0);
    u32::try_from(host).unwrap()
}

/// A daemon with a container `shift1` that runs and has a file of user 5 and group 6 that runs as its owner.
fn prepared(kind: Kind) -> Server {
    let server = Server::start_with(kind, &[NO_MAPS]);
    server.set_up("dir");
    let file = image::busybox(server.scratch(), "tar.gz");
    server
        .lxc(&["image", "import", file.to_str().unwrap(), "--alias", "bb"])
        .ok();
    server.lxc(&["launch", "bb", "shift1"]).ok();
    let make = "echo x > /root/f; chown 5:6 /root/f; chmod 4755 /root/f";
    server.lxc(&["exec", "shift1", "--", "sh", "-c", make]).ok();
    server
}

fn inside(server: &Server, instance: &str) -> String {
    server
        .lxc(&[
            "exec", instance, "--", "stat", "-c", "%u:%g:%a", "/root/f", "/bin",
        ])
        .ok()
}

const FILES: &str = "5:6:4755\n0:0:755\n";

#[test]
fn files_have_the_ids_of_the_map_on_disk() {
    for kind in [Kind::Ours, Kind::Reference] {
        let server = prepared(kind);
        let first = base(&server, "shift1", "volatile.last_state.idmap");
        assert!(first > 0);
        assert_eq!(base(&server, "shift1", "volatile.idmap.current"), first);
        assert_eq!(
            on_disk(&server, "shift1/rootfs/root/f"),
            (first + 5, first + 6, 0o4755)
        );
        server.lxc(&["snapshot", "shift1", "s0"]).ok();

        // Another map, none, and the first again.
        server.lxc(&["stop", "-f", "shift1"]).ok();
        server
            .lxc(&[
                "config",
                "set",
                "shift1",
                "security.protection.shift=true",
                "security.privileged=true",
            ])
            .ok();
        let refused = server.lxc(&["start", "shift1"]);
        let text = "Failed to handle idmapped storage: Container is protected against filesystem shifting";
        assert!(refused.failed().contains(text));
        server
            .lxc(&["config", "set", "shift1", "security.protection.shift=false"])
            .ok();
        server.lxc(&["start", "shift1"]).ok();
        assert_eq!(on_disk(&server, "shift1/rootfs/root/f"), (5, 6, 0o4755));
        assert_eq!(
            server
                .lxc(&["config", "get", "shift1", "volatile.last_state.idmap"])
                .ok(),
            "[]\n"
        );
        assert_eq!(inside(&server, "shift1"), FILES);
        server.lxc(&["stop", "-f", "shift1"]).ok();
        server
            .lxc(&[
                "config",
                "set",
                "shift1",
                "security.privileged=false",
                "security.idmap.isolated=true",
            ])
            .ok();
        server.lxc(&["start", "shift1"]).ok();
        let second = base(&server, "shift1", "volatile.last_state.idmap");
        assert_ne!(second, first);
        assert_eq!(
            on_disk(&server, "shift1/rootfs/root/f"),
            (second + 5, second + 6, 0o4755)
        );
        assert_eq!(inside(&server, "shift1"), FILES);
        server.lxc(&["stop", "-f", "shift1"]).ok();
        server.lxc(&["restore", "shift1", "s0"]).ok();
        server.lxc(&["start", "shift1"]).ok();
        assert_eq!(base(&server, "shift1", "volatile.last_state.idmap"), first);
        assert_eq!(inside(&server, "shift1"), FILES);
        server.lxc(&["delete", "-f", "shift1"]).ok();
    }
}

#[test]
fn shifted_files_travel_unshifted() {
    let server = prepared(Kind::Ours);
    let scratch = server.scratch().display().to_string();
    // Files of stopped containers have the ids of the inside.
    server.lxc(&["stop", "-f", "shift1"]).ok();
    let pulled = format!("{scratch}/pulled");
    server.lxc(&["file", "pull", "-p", "shift1/root/f", &pulled]).ok();
    assert_eq!(sh("stat", &["-c", "%a", &pulled]).ok(), "755\n");
    server.lxc(&["publish", "shift1", "--alias", "again"]).ok();
    server
        .lxc(&["image", "export", "again", &format!("{scratch}/image")])
        .ok();
    let listed = sh(
        "tar",
        &["--numeric-owner", "-tvf", &format!("{scratch}/image.tar.gz")],
    )
    .ok();
    let line = listed
        .lines()
        .find(|line| line.ends_with("rootfs/root/f"))
        .unwrap();
    assert!(line.starts_with("-rwsr-xr-x 5/6 "), "{line}");
    let squashfs = ["--alias", "squashed", "--compression", "squashfs -comp xz", "a=b"];
    server.lxc(&[&["publish", "shift1"][..], &squashfs].concat()).ok();
    server
        .lxc(&["image", "export", "squashed", &format!("{scratch}/image")])
        .ok();
    let listed = sh("unsquashfs", &["-lln", &format!("{scratch}/image.squashfs")]).ok();
    let line = listed
        .lines()
        .find(|line| line.ends_with("rootfs/root/f"))
        .unwrap();
    assert!(line.starts_with("-rwsr-xr-x 5/6 "), "{line}");
    server.lxc(&["init", "squashed", "shift4"]).ok();
    server.lxc(&["file", "pull", "-p", "shift4/root/f", &pulled]).ok();
    assert_eq!(sh("stat", &["-c", "%a", &pulled]).ok(), "755\n");
    let backup = format!("{scratch}/backup.tar.gz");
    server.lxc(&["export", "shift1", &backup]).ok();
    server.lxc(&["import", &backup, "shift2"]).ok();
    server.lxc(&["copy", "shift1", "shift3"]).ok();
    for name in ["shift1", "shift2", "shift3"] {
        server.lxc(&["start", name]).ok();
        assert_eq!(inside(&server, name), FILES, "{name}");
    }
    server.lxc(&["delete", "-f", "shift1", "shift2", "shift3"]).ok();
}

#[test]
fn a_killed_daemon_leaves_no_file_half_shifted() {
    let mut server = prepared(Kind::Ours);
    let base = base(&server, "shift1", "volatile.last_state.idmap");
    for isolated in ["true", "false"] {
        server.lxc(&["stop", "-f", "shift1"]).ok();
        let key = format!("security.privileged={isolated}");
        server.lxc(&["config", "set", "shift1", &key]).ok();
        server.kill();
        server.set_env("LXD_TEST_KILL_AT", "instances.start:files:after");
        server.spawn();
        let _ = server.lxc(&["start", "shift1"]);
        assert!(server.wait_for_death());
        server.set_env("LXD_TEST_KILL_AT", "");
        server.spawn();
        let wanted = if isolated == "true" { 0 } else { base };
        assert_eq!(
            on_disk(&server, "shift1/rootfs/root/f"),
            (wanted + 5, wanted + 6, 0o4755)
        );
        server.lxc(&["start", "shift1"]).ok();
        assert_eq!(inside(&server, "shift1"), FILES);
    }
    server.lxc(&["delete", "-f", "shift1"]).ok();
}

#[test]
fn volumes_have_the_ids_of_those_who_use_them() {
    let server = prepared(Kind::Ours);
    server.lxc(&["storage", "volume", "create", "default", "v1"]).ok();
    server
        .lxc(&[
            "config",
            "device",
            "add",
            "shift1",
            "v1",
            "disk",
            "pool=default",
            "source=v1",
            "path=/mnt",
        ])
        .ok();
    server
        .lxc(&[
            "exec",
            "shift1",
            "--",
            "sh",
            "-c",
            "echo x > /mnt/f; chown 5:6 /mnt/f",
        ])
        .ok();
    let first = base(&server, "shift1", "volatile.last_state.idmap");
    let file = server.dir().join("storage-pools/default/custom/default_v1/f");
    assert_eq!(std::fs::metadata(&file).unwrap().uid(), first + 5);
    server
        .lxc(&["init", "bb", "shift2", "-c", "security.idmap.isolated=true"])
        .ok();
    server
        .lxc(&[
            "config",
            "device",
            "add",
            "shift2",
            "v1",
            "disk",
            "pool=default",
            "source=v1",
            "path=/mnt",
        ])
        .ok();
    let refused = server.lxc(&["start", "shift2"]).failed();
    let text = "Failed mounting volume: Failed shifting storage volume \"v1\" of type \"custom\" on storage pool \"default\": Idmaps of container \"shift1\" and storage volume \"v1\" are not identical";
    assert!(refused.contains(text), "{refused}");
    server.lxc(&["delete", "-f", "shift1"]).ok();
    server.lxc(&["start", "shift2"]).ok();
    let stat = server
        .lxc(&["exec", "shift2", "--", "stat", "-c", "%u:%g", "/mnt/f"])
        .ok();
    assert_eq!(stat, "5:6\n");
    let second = base(&server, "shift2", "volatile.last_state.idmap");
    assert_eq!(std::fs::metadata(&file).unwrap().uid(), second + 5);
    server.lxc(&["delete", "-f", "shift2"]).ok();
    server.lxc(&["storage", "volume", "delete", "default", "v1"]).ok();
}
