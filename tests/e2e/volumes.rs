//! Custom volumes: the same steps on our server and on the reference's, and the same answers; archives go both ways.

use std::path::PathBuf;

use lxd_e2e::{Kind, Server, compare::difference};

/// What is done, and compared after each step.
const STEPS: &[&str] = &[
    "storage volume create default v1 size=1GiB",
    "storage volume create default v1",
    "storage volume create default v2 foo=x",
    "storage volume create default v2 foo",
    "storage volume create default v2 --type foo",
    "storage volume snapshot default v1",
    "storage volume snapshot default v1 sx",
    "storage volume snapshot default v1 sx",
    "storage volume snapshot default v1 sx --reuse",
    "storage volume snapshot default v1 sy --no-expiry",
    "storage volume snapshot default v1 a/b",
    "storage volume snapshot default v1/sy",
    "storage volume snapshot default v1/nosuch sn",
    "storage volume snapshot default nosuch",
    "storage volume snapshot default container/x",
    "storage volume list default",
    "storage volume list default -c tnu",
    "storage volume list default name=v1 -f csv",
    "storage volume list default -f yaml",
    "storage volume show default v1",
    "storage volume show default v1/sx",
    "storage volume show default v1/nosuch",
    "storage volume get default v1 size",
    "storage volume get default v1/sx size",
    "storage volume set default v1 user.x=1",
    "storage volume set default v1/sx user.x=1",
    "storage volume set default v1 foo=bar",
    "storage volume set default v1 snapshots.schedule=@startup",
    "storage volume unset default v1 user.x",
    "query /1.0/storage-pools/default/volumes/custom/v1/snapshots",
    "query /1.0/storage-pools/default/volumes/custom/v1/snapshots?recursion=1",
    "query /1.0/storage-pools/default/volumes/custom/nosuch/snapshots",
    "storage volume rename default v1/sx v1/sz",
    "storage volume rename default v1/sz sz2",
    "storage volume rename default v1 v9",
    "storage volume rename default v9 v1",
    "storage volume restore default v1 sz",
    "storage volume restore default v1 nosuch",
    "storage volume info default v1",
    "storage volume info default v1/sz",
    "storage create second dir",
    "storage volume copy default/v1 second/c1",
    "storage volume copy default/v1 second/c1",
    "storage volume copy default/v1 second/c1 --refresh",
    "storage volume copy default/v1 second/c2 --volume-only",
    "storage volume copy default/v1/sy second/c3",
    "storage volume copy default/nosuch second/c4",
    "storage volume copy default/v1 nosuch/c4",
    "storage volume copy default v1",
    "storage volume list second -f csv",
    "storage volume move second/c2 default/c2",
    "storage volume move second/nosuch default/c2",
    "project create pa",
    "storage volume copy default/v1 second/pv --target-project pa",
    "storage volume list second --all-projects",
    "storage volume list second --project pa -f csv",
    "storage volume move second/c1/sy default/moved",
    "storage volume list second -f csv",
    "storage volume delete default moved",
    "init i1 --empty",
    "storage volume attach default v1/nosuch i1 /snap",
    "storage volume attach default v1/sy i1 snap /snap",
    "config device get i1 snap source",
    "storage volume show default v1",
    "config device remove i1 snap",
    "storage volume attach default v1 i1",
    "storage volume attach default v1 i1 /mnt",
    "storage volume attach default v1 i1 /mnt",
    "storage volume attach default nosuch i1 /z",
    "storage volume attach default v1 nosuch /z",
    "config device get i1 v1 path",
    "storage volume show default v1",
    "storage volume delete default v1",
    "storage volume rename default v1 v5",
    "config device get i1 v1 source",
    "storage volume detach default v5 i1",
    "storage volume detach default v5 i1",
    "storage volume create default blk --type=block size=1MiB",
    "storage volume attach default blk i1 /x",
    "storage volume set default blk size=2MiB",
    "storage volume set default blk size=1MiB",
    "profile create pr",
    "storage volume attach-profile default v5 pr /x",
    "storage volume attach-profile default v5 pr d2 /y",
    "storage volume detach-profile default v5 pr",
    "storage volume detach-profile default v5 pr d2",
    "profile show pr",
    "storage info second",
    "storage set second volume.size=5MiB",
    "storage volume create second d1",
    "storage volume get second d1 size",
    "config set storage.images_volume nosuch",
    "config set storage.images_volume second/nosuch",
    "config set storage.images_volume second/d1",
    "storage volume show second d1",
    "storage volume delete second d1",
    "storage volume snapshot second d1",
    "config unset storage.images_volume",
    "storage volume delete second d1",
    "storage volume delete default v5/sy",
    "storage volume delete default nosuch",
    "storage volume list default -f csv",
];

#[test]
fn steps_give_the_references_answers() {
    let (ours, reference) = (
        Server::ready(Kind::Ours, "dir"),
        Server::ready(Kind::Reference, "dir"),
    );
    let mut found = Vec::new();
    for step in STEPS {
        let args: Vec<&str> = step.split(' ').collect();
        found.extend(difference(&ours, &reference, &args));
    }
    // The space in use is the host's, and changes.
    found.retain(|text| !text.contains("space used"));
    assert!(found.is_empty(), "{}", found.join("\n"));
}

fn place(server: &Server, name: &str) -> std::path::PathBuf {
    server.dir().join("storage-pools/default").join(name)
}

/// Makes the volume `v1` with a key and a snapshot; its file says "one" there, and `now` in the volume.
fn make_v1(server: &Server, now: &str) -> PathBuf {
    server
        .lxc(&["storage", "volume", "create", "default", "v1", "user.a=1"])
        .ok();
    let file = place(server, "custom/default_v1").join("f");
    std::fs::write(&file, "one").unwrap();
    server
        .lxc(&["storage", "volume", "snapshot", "default", "v1", "s0"])
        .ok();
    std::fs::write(&file, now).unwrap();
    file
}

#[test]
fn archives_go_both_ways() {
    let servers = [
        Server::ready(Kind::Ours, "dir"),
        Server::ready(Kind::Reference, "dir"),
        Server::ready(Kind::Ours, "overlay"),
    ];
    for (from, to) in [(0, 1), (1, 0), (2, 1), (1, 2)] {
        let (from, to) = (&servers[from], &servers[to]);
        make_v1(from, "two");
        for compression in ["gzip", "none", "zstd"] {
            let archive = from.scratch().join("v1.backup");
            let archive = archive.to_str().unwrap();
            let flag = format!("--compression={compression}");
            from.lxc(&["storage", "volume", "export", "default", "v1", archive, &flag])
                .ok();
            to.lxc(&["storage", "volume", "import", "default", archive, "v2"])
                .ok();
            let read = |name: &str| std::fs::read_to_string(place(to, name).join("f")).unwrap();
            assert_eq!(read("custom/default_v2"), "two");
            assert_eq!(read("custom-snapshots/default_v2/s0"), "one");
            let key = to.lxc(&["storage", "volume", "get", "default", "v2", "user.a"]);
            assert_eq!(key.ok(), "1\n");
            to.lxc(&["storage", "volume", "delete", "default", "v2"]).ok();
        }
        from.lxc(&["storage", "volume", "delete", "default", "v1"]).ok();
    }
    volumes_go_from_server_to_server(&servers);
}

/// Whoever connects to whom; and copies are brought up to date.
fn volumes_go_from_server_to_server(servers: &[Server; 3]) {
    let urls = servers.each_ref().map(crate::remote_images::listen);
    for server in servers {
        server
            .lxc(&["config", "set", "core.trust_password", "sesame"])
            .ok();
    }
    for (from, to) in [(0, 1), (1, 0), (2, 0), (0, 2)] {
        let name = format!("s{to}");
        let add = [
            "remote",
            "add",
            &name,
            &urls[to],
            "--accept-certificate",
            "--password=sesame",
        ];
        let (from, to) = (&servers[from], &servers[to]);
        from.lxc(&add).ok();
        let file = make_v1(from, "second");
        let copy = |mode: &str, more: &[&str]| {
            let target = format!("{name}:default/{mode}");
            let flag = format!("--mode={mode}");
            let mut args = vec!["storage", "volume", "copy", "default/v1", &target, &flag];
            args.extend(more);
            from.lxc(&args).ok();
        };
        let read = |path: &str| std::fs::read_to_string(place(to, path).join("f")).unwrap();
        for mode in ["pull", "push", "relay"] {
            copy(mode, &[]);
            assert_eq!(read(&format!("custom/default_{mode}")), "second");
            assert_eq!(read(&format!("custom-snapshots/default_{mode}/s0")), "one");
        }
        std::fs::write(&file, "the third").unwrap();
        from.lxc(&["storage", "volume", "snapshot", "default", "v1", "s1"])
            .ok();
        from.lxc(&["storage", "volume", "delete", "default", "v1/s0"])
            .ok();
        copy("pull", &["--refresh"]);
        assert_eq!(read("custom/default_pull"), "the third");
        assert_eq!(read("custom-snapshots/default_pull/s1"), "the third");
        assert!(!place(to, "custom-snapshots/default_pull/s0").exists());
        for mode in ["pull", "push", "relay"] {
            to.lxc(&["storage", "volume", "delete", "default", mode]).ok();
        }
        from.lxc(&["storage", "volume", "delete", "default", "v1"]).ok();
    }
}
