//! Pools of btrfs: the same steps on our server and on the reference's, its files in ours and ours in its, crashes, and full volumes.

use std::path::{Path, PathBuf};

use lxd_e2e::compare::difference;
use lxd_e2e::program::sh;
use lxd_e2e::{Kind, Server, image};

/// What is done, and compared after each step. SCRATCH is a directory on a btrfs of the test's own, DEVICE a block device.
const STEPS: &[&str] = &[
    "storage show default",
    "storage info default",
    "storage create q zfs",
    "storage create q lvm",
    "storage create q ceph",
    "storage create q cephfs",
    "storage create q btrfs source=/proc",
    "storage create q btrfs source=/nosuch/thing",
    "storage create q btrfs source=nosuch",
    "storage create q btrfs size=10MB foo=bar",
    "storage create q btrfs size=x",
    "storage create q btrfs source=SCRATCH/plain",
    "storage create q btrfs source=SCRATCH/new size=1GiB",
    "storage show q",
    "storage list",
    "storage set q source=/elsewhere",
    "storage delete q",
    "storage create q btrfs source=DEVICE",
    "storage show q",
    "storage delete q",
    "storage create q btrfs source=DEVICE",
    "storage create q btrfs size=1GiB",
    "storage get q size",
    "storage set q size 2GiB",
    "storage set q size x",
    "storage set q btrfs.mount_options noatime",
    "storage get q btrfs.mount_options",
    "storage set q rsync.bwlimit 10",
    "storage show q",
    "storage delete q",
    "init bb c1",
    "storage volume list default",
    "storage volume show default container/c1",
    "query /1.0/storage-pools/default/volumes/container/c1/state",
    "snapshot c1 s0",
    "snapshot c1 s1",
    "storage volume list default",
    "config device override c1 root size=300MB",
    "config device set c1 root size 200MB",
    "config device get c1 root size",
    "config device unset c1 root size",
    "copy c1 c2",
    "copy c1/s0 c3",
    "restore c1 s0",
    "rename c3 c4",
    "rename c1/s1 c1/s2",
    "copy c1 c2 --refresh",
    "list -c nsS",
    "publish c1/s0 --alias made",
    "storage volume list default -f csv -c n",
    "move c4 c5 -s default",
    "delete c1/s0",
    "delete c1 c2 c5",
    "storage volume list default",
    "image delete bb made",
    "storage volume list default",
    "storage show default",
];

/// A btrfs on a file, and a block device, which go with the test.
struct Place {
    home: tempfile::TempDir,
    device: String,
}

impl Place {
    fn new() -> Self {
        let home = tempfile::Builder::new().prefix("lxt").tempdir_in("/tmp").unwrap();
        let at = |name: &str| home.path().join(name).to_str().unwrap().to_owned();
        for name in ["fs", "dev"] {
            sh("truncate", &["-s", "512M", &at(name)]).ok();
        }
        sh("mkfs.btrfs", &["-q", &at("fs")]).ok();
        std::fs::create_dir(at("mnt")).unwrap();
        sh("mount", &["-o", "loop", &at("fs"), &at("mnt")]).ok();
        std::fs::create_dir(at("mnt/plain")).unwrap();
        let device = sh("losetup", &["-f", "--show", &at("dev")])
            .ok()
            .trim()
            .to_owned();
        Self { home, device }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        sh("umount", &["-l", self.home.path().join("mnt").to_str().unwrap()]);
        sh("losetup", &["-d", &self.device]);
    }
}

fn with_image(kind: Kind) -> Server {
    let server = Server::ready(kind, "btrfs");
    let file = image::busybox(server.scratch(), "tar.gz");
    let args = ["image", "import", file.to_str().unwrap(), "--alias", "bb"];
    server.lxc(&args).ok();
    server
}

#[test]
fn steps_give_the_references_answers() {
    let (ours, reference) = (with_image(Kind::Ours), with_image(Kind::Reference));
    let mut found = Vec::new();
    let (one, other) = (Place::new(), Place::new());
    // Both do the same with places of their own, which are called the same in what is compared.
    let name = Path::new("/tmp/lxt-btrfs-place");
    let device = Path::new("/tmp/lxt-btrfs-device");
    for args in STEPS {
        if args.contains("SCRATCH") || args.contains("DEVICE") {
            let told = [(&ours, &one), (&reference, &other)].map(|(server, place)| {
                let (mount, dev) = (place.home.path().join("mnt"), place.device.as_str());
                let args = args
                    .replace("SCRATCH", mount.to_str().unwrap())
                    .replace("DEVICE", dev);
                let done = server.lxc(&args.split(' ').collect::<Vec<_>>());
                let text = format!("{} {}{}", done.code, done.out, done.err);
                text.replace(mount.to_str().unwrap(), name.to_str().unwrap())
                    .replace(dev, device.to_str().unwrap())
            });
            if told[0] != told[1] {
                found.push(format!("{args}:\n  {}\n  {}", told[0], told[1]));
            }
            continue;
        }
        found.extend(difference(
            &ours,
            &reference,
            &args.split(' ').collect::<Vec<_>>(),
        ));
    }
    let shown = found.join("\n").replace(one.device.as_str(), "DEVICE");
    assert!(found.is_empty(), "{} commands differ:\n{shown}", found.len());
}

fn pool(server: &Server) -> PathBuf {
    server.dir().join("storage-pools/default")
}

/// What the file system says of a pool's subvolumes: place and whether they are read-only.
fn subvolumes(server: &Server) -> Vec<String> {
    let root = pool(server);
    let listed = sh("btrfs", &["subvolume", "list", root.to_str().unwrap()]).ok();
    let paths = listed.lines().filter_map(|line| line.split_once(" path "));
    let mut found: Vec<String> = paths
        .map(|(_, path)| {
            let full = root.join(path);
            let asked = sh("btrfs", &["property", "get", "-ts", full.to_str().unwrap(), "ro"]);
            format!("{path} {}", asked.ok().trim())
        })
        .collect();
    found.sort();
    found
}

/// A container with two snapshots and subvolumes of its own, of which one is read-only.
fn fill(server: &Server, name: &str) {
    server.lxc(&["init", "bb", name]).ok();
    server.lxc(&["snapshot", name, "s0"]).ok();
    let root = pool(server).join("containers").join(name).join("rootfs");
    let at = |below: &str| root.join(below).to_str().unwrap().to_owned();
    for below in ["nest", "nest/ro"] {
        sh("btrfs", &["subvolume", "create", &at(below)]).ok();
    }
    std::fs::write(at("nest/file"), "inside\n").unwrap();
    sh("btrfs", &["property", "set", "-ts", &at("nest/ro"), "ro", "true"]).ok();
    server.lxc(&["snapshot", name, "s1"]).ok();
    std::fs::write(at("nest/file"), "later\n").unwrap();
}

fn nested(server: &Server, name: &str) -> String {
    let file = pool(server)
        .join("containers")
        .join(name)
        .join("rootfs/nest/file");
    std::fs::read_to_string(file).unwrap()
}

#[test]
fn optimized_backups_are_taken_by_the_other() {
    let (ours, reference) = (with_image(Kind::Ours), with_image(Kind::Reference));
    for server in [&ours, &reference] {
        fill(server, "btc1");
    }
    assert_eq!(subvolumes(&ours), subvolumes(&reference));
    let file = |server: &Server| server.scratch().join("optimized").to_str().unwrap().to_owned();
    for server in [&ours, &reference] {
        server
            .lxc(&["export", "btc1", &file(server), "--optimized-storage"])
            .ok();
        server.lxc(&["delete", "btc1"]).ok();
    }
    let names = |server: &Server| {
        let listed = sh("tar", &["tzf", &file(server)]).ok();
        sh("tar", &["xzOf", &file(server), "backup/index.yaml"])
            .ok()
            .contains("optimized: true")
            .then_some(listed)
    };
    assert_eq!(names(&ours), names(&reference));
    for to in [&ours, &reference] {
        for from in [&ours, &reference] {
            to.lxc(&["import", &file(from), "btc2"]).ok();
            assert_eq!(nested(to, "btc2"), "later\n");
            to.lxc(&["restore", "btc2", "s1"]).ok();
            assert_eq!(nested(to, "btc2"), "inside\n");
            to.lxc(&["restore", "btc2", "s0"]).ok();
            to.lxc(&["start", "btc2"]).ok();
            let cat = ["exec", "btc2", "--", "cat", "/proc/1/comm"];
            assert_eq!(to.lxc(&cat).ok(), "init\n");
            to.lxc(&["delete", "--force", "btc2"]).ok();
        }
    }
    ours.lxc(&["storage", "create", "d", "dir"]).ok();
    let refused = ours.lxc(&["import", &file(&ours), "btc3", "-s", "d"]).failed();
    let text =
        "Optimized backup storage driver \"btrfs\" differs from the target storage pool driver \"dir\"";
    assert!(refused.contains(text), "{refused}");
    let left: Vec<String> = subvolumes(&ours);
    assert!(left.iter().all(|line| line.starts_with("images/")), "{left:?}");
}

#[test]
fn a_pool_of_the_references_is_taken_over() {
    let mut server = with_image(Kind::Reference);
    fill(&server, "btc1");
    server.lxc(&["launch", "bb", "btc2"]).ok();
    server
        .lxc(&["storage", "volume", "create", "default", "v1", "size=100MB"])
        .ok();
    let before = subvolumes(&server);
    server.stop();
    server.become_kind(Kind::Ours);
    server.spawn();
    assert_eq!(subvolumes(&server), before);
    let listed = server.lxc(&["list", "-f", "csv", "-c", "nsS"]).ok();
    assert_eq!(listed, "btc1,STOPPED,2\nbtc2,RUNNING,0\n");
    server.lxc(&["restore", "btc1", "s1"]).ok();
    assert_eq!(nested(&server, "btc1"), "inside\n");
    server.lxc(&["start", "btc1"]).ok();
    server.lxc(&["restart", "--force", "btc2"]).ok();
    for name in ["btc1", "btc2"] {
        let cat = ["exec", name, "--", "cat", "/proc/1/comm"];
        assert_eq!(server.lxc(&cat).ok(), "init\n");
    }
    server.lxc(&["delete", "--force", "btc1", "btc2"]).ok();
    server.lxc(&["storage", "volume", "delete", "default", "v1"]).ok();
    server.lxc(&["image", "delete", "bb"]).ok();
    server
        .lxc(&["profile", "device", "remove", "default", "root"])
        .ok();
    server.lxc(&["storage", "delete", "default"]).ok();
    assert!(!server.dir().join("disks/default.img").exists());
    assert!(!server.dir().join("storage-pools/default").exists());
}

#[test]
fn a_full_volume_harms_nobody_else() {
    let server = with_image(Kind::Ours);
    server.lxc(&["launch", "bb", "btc1", "-d", "root,size=20MB"]).ok();
    let dd = [
        "exec",
        "btc1",
        "--",
        "dd",
        "if=/dev/zero",
        "of=/big",
        "bs=1M",
        "count=40",
    ];
    let refused = server.lxc(&dd).failed();
    assert!(refused.contains("Disk quota exceeded"), "{refused}");
    server
        .lxc(&["config", "device", "set", "btc1", "root", "size", "60MB"])
        .ok();
    server.lxc(&dd).ok();
    let refused = server
        .lxc(&["config", "device", "set", "btc1", "root", "size", "20MB"])
        .failed();
    assert!(
        refused.contains("Failed to update device \"root\": "),
        "{refused}"
    );
    let size = ["config", "device", "get", "btc1", "root", "size"];
    assert_eq!(server.lxc(&size).ok(), "60MB\n");
    server.lxc(&["snapshot", "btc1", "s0"]).ok();
    server.lxc(&["copy", "btc1", "btc2"]).ok();
    server.lxc(&["restore", "btc1", "s0"]).ok();
    let root = pool(&server);
    let groups = sh(
        "btrfs",
        &["qgroup", "show", "-re", "--raw", root.to_str().unwrap()],
    )
    .ok();
    for name in ["btc1", "btc2"] {
        let line = groups
            .lines()
            .find(|line| line.ends_with(&format!("containers/{name}")));
        assert!(line.unwrap().contains(" 60000000 "), "{groups}");
    }
    server.lxc(&["delete", "--force", "btc1", "btc2"]).ok();
}
