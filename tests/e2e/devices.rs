//! Devices of containers as users handle them: there and gone, all of a change or nothing, as the reference does it.

use std::path::Path;

use lxd_e2e::program::sh;
use lxd_e2e::{Kind, Server, compare, image};

/// A server with the busybox image and a running container, and a folder with files to show.
fn ready(kind: Kind, shown: &Path) -> Server {
    let server = Server::ready(kind, "dir");
    let file = image::busybox(server.scratch(), "tar.gz");
    server
        .lxc(&["image", "import", file.to_str().unwrap(), "--alias", "bb"])
        .ok();
    server.lxc(&["launch", "bb", "c1"]).ok();
    std::fs::create_dir_all(shown.join("d")).unwrap();
    std::fs::write(shown.join("d/f"), "shown").unwrap();
    server
}

/// Everything mounted for devices of instances of this server.
fn mounts(server: &Server) -> Vec<String> {
    let text = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    let devices = server.dir().join("devices").display().to_string();
    let shared = server.dir().join("shmounts").display().to_string();
    text.lines()
        .filter_map(|line| line.split(' ').nth(4))
        .filter(|path| path.starts_with(&format!("{devices}/")) || path.starts_with(&format!("{shared}/")))
        .map(str::to_owned)
        .collect()
}

fn shell(server: &Server, script: &str) -> String {
    let done = server.lxc(&["exec", "c1", "--", "sh", "-c", script]);
    format!("{}{}", done.out, done.err).trim().to_owned()
}

/// What both daemons are asked, one after another; `SRC` is a folder of the host.
const QUESTIONS: &[&str] = &[
    "config device add c1 d1 disk source=SRC/d path=/mnt/d1",
    "exec c1 -- cat /mnt/d1/f",
    "config device add c1 d2 disk source=SRC/d/f path=/mnt/file readonly=true",
    "exec c1 -- sh -c 'cat /mnt/file; echo x > /mnt/file; mount -o remount,rw,bind /mnt/file'",
    "config device add c1 d3 disk source=/nonexistent path=/mnt/d3",
    "config device add c1 d3 disk source=/nonexistent path=/mnt/d3 required=false",
    "config device add c1 d4 disk source=SRC/d path=/mnt/d4 propagation=bogus",
    "config device add c1 d4 disk source=tmpfs: path=/mnt/d4",
    "config device add c1 d4 disk source=cloud-init:config path=/mnt/d4",
    "config device add c1 d4 disk path=/mnt/d4",
    "config device add c1 d4 disk source=relative path=/mnt/d4",
    "config device add c1 d4 disk source=vol path=/mnt/vol pool=default",
    "config device add c1 d4 disk source=vol path=/mnt/vol pool=nope",
    "storage volume create default vol",
    "config device add c1 d4 disk source=vol path=/mnt/vol pool=default",
    "exec c1 -- sh -c 'touch /mnt/vol/t; ls -ln /mnt/vol | cut -c1-30'",
    "storage volume delete default vol",
    "config device set c1 d1 path=/mnt/other",
    "exec c1 -- sh -c 'ls /mnt; cat /mnt/other/f'",
    "config device remove c1 d1",
    "exec c1 -- ls /mnt",
    "config device set c1 root size=1GiB",
    "config device override c1 root size=1GiB",
    "config device set c1 root readonly=true",
    "config device set c1 root path=/x",
    "config device add c1 u1 unix-char source=/dev/zero path=/dev/myzero",
    "exec c1 -- sh -c 'ls -ln /dev/myzero | cut -c1-30; head -c 3 /dev/myzero | wc -c'",
    "config device add c1 u2 unix-char path=/dev/full mode=0600 uid=5 gid=6",
    "exec c1 -- sh -c 'ls -ln /dev/full | cut -c1-30'",
    "config device set c1 u2 mode=0666",
    "config device add c1 u3 unix-char path=/dev/nonexistent",
    "config device add c1 u3 unix-char path=/dev/nonexistent required=false",
    "config device add c1 u4 unix-block path=/dev/zero",
    "config device add c1 u5 unix-char path=/dev/x5 major=1",
    "config device remove c1 u1",
    "exec c1 -- ls /dev/myzero",
    "config device add c1 g1 gpu gputype=sriov",
    "config device add c1 g1 gpu gputype=mdev mdev=x",
    "config device add c1 g1 gpu gputype=mig mig.uuid=x",
    "config device add c1 g1 gpu pci=0000:ff:1f.7 vendorid=1234",
    "config device add c1 g1 gpu pci=0000:ff:1f.7",
    "config device add c1 b1 usb vendorid=ffff productid=fffe required=true",
    "config device add c1 b1 usb vendorid=ffff productid=fffe",
    "config device add c1 h1 unix-hotplug vendorid=ffff productid=fffe required=true",
    "config device add c1 h1 unix-hotplug vendorid=ffff productid=fffe",
    "config device add c1 i1 infiniband nictype=physical parent=nosuch",
    "config device add c1 i1 infiniband nictype=physical parent=lo",
    "config device add c1 i1 infiniband nictype=sriov parent=lo",
    "config device add c1 n1 none",
    "config device add c1 p1 pci address=00:02.0",
    "restart -f c1",
    "exec c1 -- sh -c 'cat /mnt/file; ls -ln /dev/full | cut -c1-30; ls /mnt'",
    "config device remove c1 d2 d3 d4 u2 u3 b1 h1 n1",
    "exec c1 -- ls /mnt",
    "stop -f c1",
    "config device add c1 s1 disk source=/nonexistent path=/mnt/s1",
    "config device add c1 s1 unix-char path=/dev/nonexistent",
    "start c1",
    "config device remove c1 s1",
    "start c1",
];

/// The words of a question; single quotes keep a script together.
fn words(question: &str, source: &str) -> Vec<String> {
    let mut all = Vec::new();
    for (number, part) in question.split('\'').enumerate() {
        match number % 2 {
            0 => all.extend(part.split_whitespace().map(str::to_owned)),
            _ => all.push(part.to_owned()),
        }
    }
    all.into_iter().map(|word| word.replace("SRC", source)).collect()
}

#[test]
fn both_daemons_answer_alike() {
    let folder = tempfile::Builder::new()
        .prefix("lxtdev")
        .tempdir_in("/tmp")
        .unwrap();
    let source = folder.path().to_str().unwrap();
    let (ours, reference) = (
        ready(Kind::Ours, folder.path()),
        ready(Kind::Reference, folder.path()),
    );
    let mut differences = Vec::new();
    for question in QUESTIONS {
        let words = words(question, source);
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        differences.extend(compare::difference(&ours, &reference, &words));
    }
    assert!(differences.is_empty(), "{}", differences.join("\n"));
    assert_eq!(mounts(&ours), Vec::<String>::new());
    ours.lxc(&["stop", "-f", "c1"]).ok();
    assert!(!ours.dir().join("devices/c1").exists());
}

#[test]
fn a_profiles_devices_come_and_go_with_it_and_survive_the_daemon() {
    let folder = tempfile::Builder::new()
        .prefix("lxtdev")
        .tempdir_in("/tmp")
        .unwrap();
    let mut server = ready(Kind::Ours, folder.path());
    let source = format!("source={}/d", folder.path().display());
    server
        .lxc(&[
            "profile",
            "device",
            "add",
            "default",
            "p",
            "disk",
            &source,
            "path=/mnt/p",
        ])
        .ok();
    assert_eq!(shell(&server, "cat /mnt/p/f"), "shown");
    server.kill();
    server.spawn();
    assert_eq!(shell(&server, "cat /mnt/p/f"), "shown");
    // The next daemon takes out what the one before has put in.
    server.lxc(&["profile", "device", "remove", "default", "p"]).ok();
    assert_eq!(shell(&server, "ls /mnt"), "");
    let refused = server
        .lxc(&[
            "profile",
            "device",
            "add",
            "default",
            "q",
            "unix-char",
            "path=/dev/nonexistent",
        ])
        .failed();
    assert!(refused.contains("c1"), "{refused}");
    assert!(mounts(&server).is_empty());
    server.lxc(&["stop", "-f", "c1"]).ok();
    assert!(!server.dir().join("devices/c1").exists() && !server.dir().join("shmounts/c1").exists());
}

#[test]
fn a_change_of_several_devices_is_all_or_nothing() {
    let folder = tempfile::Builder::new()
        .prefix("lxtdev")
        .tempdir_in("/tmp")
        .unwrap();
    let server = ready(Kind::Ours, folder.path());
    let show = |server: &Server| server.lxc(&["config", "show", "c1"]).ok();
    let before = show(&server);
    let source = folder.path().join("d").display().to_string();
    let devices = serde_json::json!({"devices": {
        "a": {"type": "disk", "source": source, "path": "/mnt/a"},
        "b": {"type": "unix-char", "path": "/dev/zero2", "source": "/dev/zero"},
        "z": {"type": "unix-char", "path": "/dev/nonexistent"},
    }});
    let (code, answer) = server.api("PATCH", "/1.0/instances/c1", &devices.to_string());
    assert_ne!(code, 200, "{answer}");
    let refused = answer["error"].as_str().unwrap();
    assert!(
        refused.starts_with("Failed to start device \"z\": The required device path"),
        "{refused}"
    );
    assert_eq!(shell(&server, "ls /mnt; ls /dev/zero2 2>/dev/null"), "");
    assert_eq!(show(&server), before);
    assert!(mounts(&server).is_empty());
}

/// The files of a controller of version 1 with limits on block devices, as one text; none where version 2 limits.
fn throttles(server: &Server) -> Option<String> {
    let (_, state) = server.api("GET", "/1.0/instances/c1/state", "");
    let groups = std::fs::read_to_string(format!("/proc/{}/cgroup", state["metadata"]["pid"])).unwrap();
    let group = groups.lines().find_map(|line| line.split_once(":blkio:"))?.1;
    let group = group.split("/init").next().unwrap();
    let read = |file: &str| {
        let path = format!("/sys/fs/cgroup/blkio{group}/blkio.throttle.{file}_device");
        std::fs::read_to_string(path).ok()
    };
    let texts: Option<Vec<String>> = ["read_bps", "write_bps", "write_iops"]
        .into_iter()
        .map(read)
        .collect();
    Some(texts?.join("|").replace('\n', ""))
}

#[test]
fn a_block_devices_file_system_is_shown_and_limited() {
    let folder = tempfile::Builder::new()
        .prefix("lxtdev")
        .tempdir_in("/tmp")
        .unwrap();
    let server = ready(Kind::Ours, folder.path());
    let file = folder.path().join("disk.img");
    std::fs::File::create(&file).unwrap().set_len(16 << 20).unwrap();
    sh("mkfs.ext4", &["-q", file.to_str().unwrap()]).ok();
    let disk = sh("losetup", &["-f", "--show", file.to_str().unwrap()]).ok();
    let disk = disk.trim();
    let source = format!("source={disk}");
    let numbers = sh("lsblk", &["-dno", "MAJ:MIN", disk]).ok();
    let numbers = numbers.trim();
    let words = [
        "config",
        "device",
        "add",
        "c1",
        "blk",
        "disk",
        &source,
        "path=/mnt/blk",
    ];
    let more = [
        "raw.mount.options=noatime,commit=30",
        "limits.read=10MB",
        "limits.write=7iops",
    ];
    server.lxc(&[&words[..], &more[..]].concat()).ok();
    assert!(shell(&server, "grep /mnt/blk /proc/self/mountinfo").contains("noatime"));
    let limits = |wanted: &str| {
        if let Some(found) = throttles(&server) {
            assert_eq!(found, wanted.replace('D', numbers));
        }
    };
    limits("D 10000000||D 7");
    server
        .lxc(&["config", "device", "set", "c1", "blk", "limits.max=1MiB"])
        .ok();
    limits("D 1048576|D 1048576|");
    server.lxc(&["restart", "-f", "c1"]).ok();
    limits("D 1048576|D 1048576|");
    server.lxc(&["config", "device", "remove", "c1", "blk"]).ok();
    limits("||");
    // Busy if anything of it were still mounted somewhere.
    sh("losetup", &["-d", disk]).ok();
    assert_eq!(sh("losetup", &["-j", file.to_str().unwrap()]).ok(), "");
}

#[test]
fn a_mount_of_the_host_reaches_inside_only_where_it_was_asked_for() {
    let folder = tempfile::Builder::new()
        .prefix("lxtdev")
        .tempdir_in("/tmp")
        .unwrap();
    let server = ready(Kind::Ours, folder.path());
    let tmpfs = folder.path().join("t");
    std::fs::create_dir(&tmpfs).unwrap();
    sh("mount", &["-t", "tmpfs", "lxtdev", tmpfs.to_str().unwrap()]).ok();
    std::fs::create_dir(tmpfs.join("below")).unwrap();
    sh(
        "mount",
        &["-t", "tmpfs", "lxtdev", tmpfs.join("below").to_str().unwrap()],
    )
    .ok();
    std::fs::write(tmpfs.join("below/f"), "below").unwrap();
    let source = format!("source={}", tmpfs.display());
    let add = |name: &str, more: &[&str]| {
        let path = format!("path=/mnt/{name}");
        let mut words = vec!["config", "device", "add", "c1", name, "disk", &source, &path];
        words.extend(more);
        server.lxc(&words).ok();
    };
    add("flat", &[]);
    add("deep", &["recursive=true"]);
    assert_eq!(
        shell(&server, "ls /mnt/flat/below; cat /mnt/deep/below/f"),
        "below"
    );
    for name in ["flat", "deep"] {
        server.lxc(&["config", "device", "remove", "c1", name]).ok();
    }
    // Nothing of the host is busy because of a device that is gone.
    sh("umount", &["-R", tmpfs.to_str().unwrap()]).ok();
}
