//! Images for the tests: a busybox system in a tarball.

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use crate::program::sh;

/// Lets busybox's DHCP client set what it got.
const UDHCPC: &str = "#!/bin/sh
case \"$1\" in
bound|renew)
  ip address flush dev $interface
  ip address add $ip/$mask dev $interface
  [ -n \"$router\" ] && ip route add default via $router
  : > /etc/resolv.conf
  [ -n \"$domain\" ] && echo search $domain >> /etc/resolv.conf
  for server in $dns; do echo nameserver $server >> /etc/resolv.conf; done ;;
esac
";

/// Its init: network by DHCP, then nothing to do but wait.
const INITTAB: &str = "::sysinit:/bin/hostname -F /etc/hostname
::sysinit:/bin/ip link set lo up
::respawn:/bin/udhcpc -f -i eth0 -F %H -s /etc/udhcpc.script -x hostname:busybox
::ctrlaltdel:/bin/poweroff
::shutdown:/bin/true
";

/// Makes the tree of an image (`metadata.yaml` and `rootfs/`) in a folder.
pub fn tree(folder: &Path, description: &str) {
    let root = folder.join("rootfs");
    for name in [
        "bin", "sbin", "etc", "dev", "proc", "sys", "tmp", "root", "run", "var", "usr/bin",
    ] {
        std::fs::create_dir_all(root.join(name)).unwrap();
    }
    std::fs::copy("/bin/busybox", root.join("bin/busybox")).unwrap();
    for applet in sh("/bin/busybox", &["--list"]).ok().lines() {
        if applet != "busybox" {
            symlink("busybox", root.join("bin").join(applet)).unwrap();
        }
    }
    symlink("../bin/busybox", root.join("sbin/init")).unwrap();
    let files = [
        (
            "etc/inittab",
            INITTAB
                .replace(" -F %H", "")
                .replace(" -x hostname:busybox", " -x hostname:$(hostname)"),
        ),
        ("etc/udhcpc.script", UDHCPC.to_owned()),
        ("etc/passwd", "root:x:0:0:root:/root:/bin/sh\n".to_owned()),
        ("etc/group", "root:x:0:\n".to_owned()),
    ];
    for (name, text) in files {
        std::fs::write(root.join(name), text).unwrap();
    }
    sh(
        "chmod",
        &["755", root.join("etc/udhcpc.script").to_str().unwrap()],
    )
    .ok();
    let metadata = format!(
        "architecture: x86_64\ncreation_date: 1700000000\nproperties:\n  description: {description}\n  os: BusyBox\n  release: test\n"
    );
    std::fs::write(folder.join("metadata.yaml"), metadata).unwrap();
}

/// Makes a unified busybox image, compressed by the suffix (`tar`, `tar.gz`, `tar.xz`, `tar.bz2`, `tar.zst`).
pub fn busybox(folder: &Path, suffix: &str) -> PathBuf {
    let work = folder.join(format!("busybox-{suffix}"));
    tree(&work, "a busybox system");
    let file = folder.join(format!("busybox.{suffix}"));
    let (file_text, work_text) = (file.to_str().unwrap(), work.to_str().unwrap());
    sh(
        "tar",
        &[
            "--numeric-owner",
            "-C",
            work_text,
            "-caf",
            file_text,
            "metadata.yaml",
            "rootfs",
        ],
    )
    .ok();
    std::fs::remove_dir_all(work).unwrap();
    file
}
