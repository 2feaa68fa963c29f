//! System calls that need more rights than an unprivileged container has: made in its place with the key, refused without.

use lxd_e2e::program::sh;
use lxd_e2e::{Kind, Server, image};

/// The host's Perl, started inside: it makes any system call.
const PERL: &str = "LC_ALL=C /host/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2 --library-path /host/lib/x86_64-linux-gnu /host/bin/perl";

/// Makes one system call, and prints `ok` or the number of the error.
const PROBE: &str = r#"
my $what = shift;
sub tell_it { my ($name, $r) = @_; print $name, $r >= 0 ? "ok" : "errno " . ($! + 0), "\n"; }
if ($what eq "setxattr") {
  my ($path, $name, $value) = @ARGV;
  tell_it("", syscall(188, "$path", "$name", "$value", length($value), 0));
} elsif ($what eq "mknod") {
  my ($path, $mode, $device) = @ARGV;
  tell_it("", syscall(133, "$path", oct($mode), oct($device)));
} elsif ($what eq "sched") {
  my ($policy, $priority) = @ARGV;
  my $parameter = pack("l", $priority);
  tell_it("", syscall(144, 0, $policy + 0, $parameter));
} elsif ($what eq "bpf") {
  my ($group, $result) = @ARGV;
  my $program = pack("CCsl", 0xb7, 0, 0, $result) . pack("CCsl", 0x95, 0, 0, 0);
  my $license = "GPL\0";
  my $load = pack("LLppLLQLL", 15, 2, $program, $license, 0, 0, 0, 0, 0);
  my $fd = syscall(321, 5, $load, length($load));
  tell_it("load ", $fd);
  exit if $fd < 0;
  sysopen(my $folder, $group, 65536) or die "$group: $!";
  my $attach = pack("LLLLL", fileno($folder), $fd, 6, 2, 0);
  tell_it("attach ", syscall(321, 8, $attach, 20));
  open(my $procs, ">", "$group/cgroup.procs") or die "$group: $!";
  print $procs "$$\n";
  close $procs or die "$group: $!";
  tell_it("open ", (open(my $null, "<", "/dev/null") ? 0 : -1));
  my $detach = pack("LLLLL", fileno($folder), $fd, 6, 0, 0);
  tell_it("detach ", syscall(321, 9, $detach, 20));
  tell_it("open ", (open(my $null, "<", "/dev/null") ? 0 : -1));
}
"#;

/// A running container that has the probe, the host's programs, and the block device of a file system.
struct World {
    server: Server,
    loop_device: String,
}

impl World {
    fn new(kind: Kind, driver: &str, config: &[&str]) -> Self {
        let server = Server::ready(kind, driver);
        let file = image::busybox(server.scratch(), "tar.gz");
        server
            .lxc(&["image", "import", file.to_str().unwrap(), "--alias", "bb"])
            .ok();
        let disk = server.scratch().join("disk.img");
        let disk = disk.to_str().unwrap();
        sh("truncate", &["--size=16M", disk]).ok();
        sh("mkfs.ext4", &["-q", "-F", disk]).ok();
        let loop_device = sh("losetup", &["--find", "--show", disk]).ok().trim().to_owned();
        let world = Self { server, loop_device };
        world.lxc(&["init", "bb", "seci"]);
        for pair in config {
            world.lxc(&[
                "config",
                "set",
                "seci",
                &format!("security.syscalls.intercept.{pair}"),
            ]);
        }
        world.add(&["host", "disk", "source=/usr", "path=/host", "readonly=true"]);
        let source = format!("source={}", world.loop_device);
        world.add(&["disk", "unix-block", &source, "path=/dev/disk", "mode=0600"]);
        world.lxc(&["start", "seci"]);
        let probe = world.server.scratch().join("probe.pl");
        std::fs::write(&probe, PROBE).unwrap();
        world.lxc(&["file", "push", probe.to_str().unwrap(), "seci/root/probe.pl"]);
        world.shell("mkdir -p /mnt/d");
        world
    }

    #[track_caller]
    fn lxc(&self, args: &[&str]) {
        self.server.lxc(args).ok();
    }

    #[track_caller]
    fn add(&self, words: &[&str]) {
        self.lxc(&[&["config", "device", "add", "seci"], words].concat());
    }

    /// Everything that a script says inside.
    fn shell(&self, script: &str) -> String {
        let done = self.server.lxc(&["exec", "seci", "--", "sh", "-c", script]);
        format!("{}{}", done.out, done.err).trim().to_owned()
    }

    fn probe(&self, words: &str) -> String {
        self.shell(&format!("{PERL} /root/probe.pl {words}"))
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.server.lxc(&["delete", "--force", "seci"]);
        sh("losetup", &["--detach", &self.loop_device]);
    }
}

/// The calls that only have an effect with a key.
const CALLS: &[&str] = &[
    "setxattr /root trusted.overlay.opaque y",
    "setxattr /root/probe.pl trusted.overlay.opaque y",
    "setxattr /root trusted.overlay.opaque n",
    "setxattr /root trusted.other y",
    "setxattr /root/none trusted.overlay.opaque y",
    "mknod /root/mem 020666 0x101",
    "mknod /root/disk 060666 0x700",
    "sched 0 0",
    "bpf /root/g/probe 0",
    "bpf /root/g/probe 1",
];

fn answers(kind: Kind, config: &[&str]) -> Vec<String> {
    let world = World::new(kind, "dir", config);
    world.shell("mkdir /root/g; mount -t cgroup2 x /root/g; mkdir /root/g/probe");
    let all = CALLS.iter().map(|call| format!("{call}: {}", world.probe(call)));
    all.collect()
}

#[test]
fn calls_have_the_references_outcome_with_their_keys_and_without() {
    let keys = [
        "setxattr=true",
        "mknod=true",
        "sched_setscheduler=true",
        "bpf=true",
        "bpf.devices=true",
    ];
    for config in [&[][..], &keys[..], &keys[3..4]] {
        let ours = answers(Kind::Ours, config);
        assert_eq!(ours, answers(Kind::Reference, config), "{config:?}");
        let wanted = config.len() == keys.len();
        let is_done = |index: usize| ours[index].ends_with("ok");
        assert_eq!((is_done(0), is_done(9)), (wanted, wanted), "{ours:?}");
        // A program that allows nothing.
        assert_eq!(ours[8].contains("open errno 1"), wanted, "{ours:?}");
    }
}

/// What the reference can't do on every kernel.
#[test]
fn nodes_and_priorities_are_given() {
    let world = World::new(Kind::Ours, "overlay", &["mknod=true", "sched_setscheduler=true"]);
    assert_eq!(world.probe("mknod /root/null 020666 0x103"), "ok");
    assert_eq!(
        world.shell("mount -t tmpfs x /mnt/d; umask 0"),
        "",
        "a file system where no node works"
    );
    assert_eq!(world.probe("mknod /mnt/d/null 020666 0x103"), "ok");
    let used =
        world.shell("for f in /root/null /mnt/d/null; do echo x > $f && test -c $f && echo used; done");
    assert_eq!(used, "used\nused");
    // Where the kernel shares real time out to groups, this one has none yet.
    let runtime = "/sys/fs/cgroup/cpu/lxc.payload.seci/cpu.rt_runtime_us";
    if std::path::Path::new(runtime).exists() {
        assert_eq!(world.probe("sched 1 10"), "errno 1");
        std::fs::write(runtime, "10000").unwrap();
    }
    assert_eq!(world.probe("sched 1 10"), "ok");
}

#[test]
fn file_systems_are_mounted_shifted_and_by_programs() {
    let world = World::new(Kind::Ours, "dir", &["mount=true", "mount.allowed=ext4"]);
    let mount = "mount -t ext4 /dev/disk /mnt/d && ls -dn /mnt/d/lost+found | cut -c1-30; umount /mnt/d";
    let shown = world.shell(mount);
    assert!(
        shown.contains("65534"),
        "the host's root is nobody inside: {shown}"
    );
    let mut world = world;
    world.lxc(&[
        "config",
        "set",
        "seci",
        "security.syscalls.intercept.mount.shift=true",
    ]);
    let shown = world.shell(mount);
    assert!(shown.contains(" 0        0"), "{shown}");
    assert!(world.shell("mount -t xfs /dev/disk /mnt/d").contains("denied"));
    // The caller may not use the device: root inside may, others can't mount at all.
    let others = "chmod 0 /dev/disk; su -s /bin/sh nobody -c 'mount -t ext4 /dev/disk /mnt/d'";
    assert!(!world.shell(others).is_empty());
    world.lxc(&[
        "config",
        "unset",
        "seci",
        "security.syscalls.intercept.mount.allowed",
    ]);
    assert!(world.shell("mount -t ext4 /dev/disk /mnt/d").contains("denied"));
    // A program of the container's stands in: it runs where the caller is, and what it leaves behind goes on.
    let program = "#!/bin/sh\necho \"$@\" > /root/said; pwd >> /root/said; id -u >> /root/said; hostname >> /root/said\n\
                   cat /proc/self/cgroup | grep -c lxc.payload.seci >> /root/said; mkdir /mnt/d/made\n(sleep 300 &)\n";
    std::fs::write(world.server.scratch().join("fuse"), program).unwrap();
    let file = world.server.scratch().join("fuse").display().to_string();
    world.lxc(&["file", "push", "--mode=755", &file, "seci/bin/fusetest"]);
    world.lxc(&[
        "config",
        "set",
        "seci",
        "security.syscalls.intercept.mount.fuse=ext4=fusetest",
    ]);
    assert_eq!(
        world.shell("cd /tmp; mount -t ext4 -o ro,noatime,x=y /dev/disk /mnt/d; echo $?"),
        "0"
    );
    let said = world.shell("cat /root/said; ls /mnt/d; ps | grep -c '[s]leep 300'");
    let lines: Vec<&str> = said.lines().collect();
    assert!(
        lines[0].starts_with("/dev/disk /mnt/d -o ")
            && lines[0].contains("ro")
            && lines[0].contains("noatime"),
        "{said}"
    );
    assert_eq!(lines[1..4], ["/tmp", "0", "seci"], "{said}");
    assert_eq!(lines[5..], ["made", "1"], "{said}");
    // The next daemon answers, too.
    world.server.kill();
    world.server.spawn();
    assert_eq!(
        world.shell("rmdir /mnt/d/made; mount -t ext4 /dev/disk /mnt/d; echo $?"),
        "0"
    );
}

#[test]
fn what_a_program_leaves_behind_is_heard_to_its_end() {
    let server = Server::ready(Kind::Ours, "dir");
    let file = image::busybox(server.scratch(), "tar.gz");
    server
        .lxc(&["image", "import", file.to_str().unwrap(), "--alias", "bb"])
        .ok();
    server.lxc(&["launch", "bb", "secx"]).ok();
    let script = "(sleep 1; echo late) & echo early; exit 3";
    for kind in [Kind::Ours, Kind::Reference] {
        let done = server.client(kind, &["exec", "secx", "--", "sh", "-c", script], "");
        assert_eq!(
            (done.code, done.out.as_str()),
            (3, "early\nlate\n"),
            "{}",
            done.err
        );
    }
}
