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
    "query /1.0/instances/c1/state",
    "rename c3 c4",
    "rename c1/s1 c1/s2",
    "copy c1 c2 --refresh",
    "list -c nsS",
    "move c4 c5 -s default",
    "storage volume create default v1 size=50MB",
    "storage volume set default v1 size 60MB",
    "storage volume snapshot default v1 sn",
    "storage volume attach default v1/sn c1 snap /snap",
    "start c1",
    "config device remove c1 snap",
    "storage volume restore default v1 sn",
    "storage volume copy default/v1 default/v2",
    "storage volume rename default v2 v3",
    "storage volume show default v3",
    "storage set default volume.size 70MB",
    "storage volume create default v4",
    "storage volume show default v4",
    "storage volume list default",
    "storage volume delete default v1",
    "storage volume delete default v3",
    "storage volume delete default v4",
    "storage unset default volume.size",
    "delete c1/s0",
    "delete c1 c2 c5",
    "storage volume list default",
    "image delete bb",
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
    import(&server, &file);
    server
}

/// Ours and the reference's, with the same image.
fn pair() -> (Server, Server) {
    let (ours, reference) = (
        Server::ready(Kind::Ours, "btrfs"),
        Server::ready(Kind::Reference, "btrfs"),
    );
    let file = image::busybox(ours.scratch(), "tar.gz");
    for server in [&ours, &reference] {
        import(server, &file);
    }
    (ours, reference)
}

fn import(server: &Server, file: &Path) {
    let args = ["image", "import", file.to_str().unwrap(), "--alias", "bb"];
    server.lxc(&args).ok();
}

#[test]
fn steps_give_the_references_answers() {
    let (ours, reference) = pair();
    let mut found = Vec::new();
    let (one, other) = (Place::new(), Place::new());
    for args in STEPS {
        let of = |place: &Place| -> String {
            let mount = place.home.path().join("mnt");
            args.replace("SCRATCH", mount.to_str().unwrap())
                .replace("DEVICE", &place.device)
        };
        if args.contains("SCRATCH")
            || args.contains("DEVICE")
            || args.contains("show q")
            || *args == "storage list"
        {
            // Both do the same with places of their own, which are called the same in what is compared.
            let told = [(&ours, &one), (&reference, &other)].map(|(server, place)| {
                let done = server.lxc(&of(place).split(' ').collect::<Vec<_>>());
                let text = format!("{} {}{}", done.code, done.out, done.err);
                text.replace(place.home.path().to_str().unwrap(), "PLACE")
                    .replace(place.device.as_str(), "/dev/DEVICE")
                    .replace(server.dir().to_str().unwrap(), "LXD_DIR")
            });
            let [left, right] = &told;
            let is_same = left.split_whitespace().eq(right.split_whitespace());
            found.extend((!is_same).then(|| format!("{args}:\n  {left}\n  {right}")));
            continue;
        }
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
    let (ours, reference) = pair();
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
    assert!(refused.contains(OTHER_DRIVER), "{refused}");
    optimized_volumes_are_taken_by_the_other(&ours, &reference);
    let left: Vec<String> = subvolumes(&ours);
    assert!(left.iter().all(|line| line.starts_with("images/")), "{left:?}");
}

/// What is said of a file in the own form of btrfs.
const OTHER_DRIVER: &str =
    "Optimized backup storage driver \"btrfs\" differs from the target storage pool driver \"dir\"";

/// The same for volumes that users made: with files, with blocks, and without their snapshots.
fn optimized_volumes_are_taken_by_the_other(ours: &Server, reference: &Server) {
    const FLAGS: [(&str, &[&str]); 3] = [("v1", &[]), ("v1", &["--volume-only"]), ("v2", &[])];
    let volume = |server: &Server, args: &[&str]| {
        let all = [&["storage", "volume"][..], args].concat();
        server.lxc(&all)
    };
    let file = |server: &Server, index: usize| format!("{}/volume{index}", server.scratch().display());
    let mut told = Vec::new();
    for server in [ours, reference] {
        volume(server, &["create", "default", "v1", "user.a=1", "size=100MB"]).ok();
        volume(server, &["create", "default", "v2", "--type=block", "size=1MiB"]).ok();
        volume(server, &["snapshot", "default", "v2", "s0"]).ok();
        let custom = pool(server).join("custom/default_v1");
        let nested = custom.join("sub").to_str().unwrap().to_owned();
        sh("btrfs", &["subvolume", "create", &nested]).ok();
        for (snapshot, text) in [("s0", "one"), ("s1", "two")] {
            std::fs::write(custom.join("sub/file"), text).unwrap();
            volume(server, &["snapshot", "default", "v1", snapshot]).ok();
        }
        std::fs::write(custom.join("sub/file"), "three").unwrap();
        for (index, (name, flags)) in FLAGS.iter().enumerate() {
            let file = file(server, index);
            let args = ["export", "default", name, &file, "--optimized-storage"];
            volume(server, &[&args[..], flags].concat()).ok();
            told.push(sh("tar", &["tzf", &file]).ok());
        }
    }
    assert_eq!(told[..3], told[3..]);
    let read =
        |server: &Server, place: &str| std::fs::read_to_string(pool(server).join(place).join("sub/file"));
    for (to, from) in [(ours, reference), (reference, ours), (ours, ours)] {
        for (index, name) in ["n0", "n1", "n2"].iter().enumerate() {
            volume(to, &["import", "default", &file(from, index), name]).ok();
        }
        for (name, text) in [("n0", "three"), ("n1", "three")] {
            assert_eq!(read(to, &format!("custom/default_{name}")).unwrap(), text);
        }
        assert_eq!(read(to, "custom-snapshots/default_n0/s0").unwrap(), "one");
        assert!(!pool(to).join("custom-snapshots/default_n1").exists());
        volume(to, &["restore", "default", "n0", "s1"]).ok();
        assert_eq!(read(to, "custom/default_n0").unwrap(), "two");
        let blocks = pool(to).join("custom/default_n2/root.img");
        assert_eq!(blocks.metadata().unwrap().len(), 1 << 20);
        for name in ["n0", "n1", "n2"] {
            volume(to, &["delete", "default", name]).ok();
        }
    }
    let refused = volume(ours, &["import", "d", &file(ours, 0), "n0"]).failed();
    assert!(refused.contains(OTHER_DRIVER), "{refused}");
    for name in ["v1", "v2"] {
        volume(ours, &["delete", "default", name]).ok();
        volume(reference, &["delete", "default", name]).ok();
    }
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
    let left = std::fs::read_dir(server.dir().join("storage-pools/default"));
    assert_eq!(left.into_iter().flatten().count(), 0);
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
    for (name, size) in [("v1", "size=60MB"), ("v2", "size=30MB")] {
        server
            .lxc(&["storage", "volume", "create", "default", name, size])
            .ok();
    }
    server
        .lxc(&["storage", "volume", "set", "default", "v2", "size", "60MB"])
        .ok();
    server
        .lxc(&["storage", "volume", "copy", "default/v1", "default/v3"])
        .ok();
    let root = pool(&server);
    let groups = sh(
        "btrfs",
        &["qgroup", "show", "-re", "--raw", root.to_str().unwrap()],
    )
    .ok();
    for name in [
        "containers/btc1",
        "containers/btc2",
        "default_v1",
        "default_v2",
        "default_v3",
    ] {
        let line = groups.lines().find(|line| line.ends_with(name));
        assert!(line.unwrap().contains(" 60000000 "), "{groups}");
    }
    server.lxc(&["delete", "--force", "btc1", "btc2"]).ok();
    for name in ["v1", "v2", "v3"] {
        server.lxc(&["storage", "volume", "delete", "default", name]).ok();
    }
}
