//! Output: our client on our daemon prints what the reference's client prints on the reference's daemon.

use lxd_e2e::{
    Kind, Server,
    compare::difference,
    image,
    program::{patiently, sh},
};

/// What is compared; `BRIDGE` stands for the name of a server's own bridge.
const COMMANDS: &[&str] = &[
    "list",
    "list -f csv",
    "list -f yaml",
    "list -f json",
    "list -f compact",
    "list -c nst46pPlbadmuDfFeEN",
    "list -c n,user.note:NOTE,limits.memory",
    "list c1",
    "list status=stopped",
    "list nosuch",
    "info c1",
    "info c2",
    "config show c1",
    "config show c1 --expanded",
    "config get c1 limits.memory",
    "config device list c1",
    "config device show c2",
    "image list",
    "image list -f csv",
    "image list -f yaml",
    "image list -f json",
    "image list -c lfpdatsu",
    "image info bb",
    "image show bb",
    "image alias list",
    "image get-property bb os",
    // Images of virtual machines.
    "image info vm --vm",
    "image info bb --vm",
    "image list type=virtual-machine -f csv -c lfLts",
    "image alias list vm",
    "launch bb c9 --vm",
    "image import README.md nosuch:",
    "image import nosuch.tar /dev/null",
    "image export vm /nonexistent/x",
    "publish c2 --compression nosuch",
    "profile list",
    "profile list -f json",
    "profile show default",
    "profile show second",
    "profile device list default",
    "network list",
    "network list -f csv",
    "network show BRIDGE",
    "network show lo",
    "network list-leases BRIDGE",
    "storage list",
    "storage list -f yaml",
    "storage show default",
    "storage volume list default",
    "project list",
    "project show default",
    "remote list",
    "remote list -f csv",
    "config trust list",
    "config show",
    "alias list",
    "cluster list",
    "nosuchcommand",
    "list --nosuchflag",
    "info nosuch",
    "start nosuch",
    "start c1",
    "stop c2",
    "delete c1",
    "exec c2 -- true",
    "profile show nosuch",
    "profile delete default",
    "network show nosuch",
    "storage show nosuch",
    "image info nosuch",
    "launch nosuch c9",
    "launch bb c1",
    "launch bb bad_name",
    "config set c1 nosuch.key x",
    "config set c1 limits.memory lots",
    "config set c1 limits.cpu many",
    "config set c1 boot.autostart perhaps",
    // What clients find wrong themselves, and when.
    "list -c nsL?",
    "list -c n,user.note:NOTE:wide",
    "list STATUS=running -f csv -c n",
    "config set core.https_address",
    "config device unset c1 root nosuch",
    "config device override c1 eth0 badpair",
    "config device override nosuch eth0 badpair",
    "profile set nosuch badpair",
    "profile rename nosuch second",
    "project create p1 -c badpair",
    "project unset default nosuch",
    "network create n1 badpair",
    "network unset BRIDGE nosuch",
    "network set nosuch badpair",
    "storage create s1 dir badpair",
    "launch bb c9 --vm",
    "launch bb c9 --target other",
    "copy c2 c9 --target other",
    "copy c2 c9 -c badpair",
    "publish c2 --expire 2030-01-01",
    "query --raw /1.0/nosuch",
    "query /1.0/instances?all-projects=true&project=default",
    "config set c1/snap user.note x",
    "cluster show other",
    "cluster add other",
    "cluster list-tokens",
    "config trust add --name guest",
    "config trust list-tokens",
    "config trust list-tokens -f json",
    "config trust revoke-token guest",
    // What a restricted project forbids.
    "project create rp -c features.profiles=false -c restricted=true",
    "project create rp -c features.images=false -c restricted=true",
    "profile device add default root disk path=/ pool=default --project rp",
    "profile set default security.privileged=true --project rp",
    "profile device add default d proxy listen=tcp:127.0.0.1:1 connect=tcp:127.0.0.1:2 --project rp",
    "init --empty r1 --project rp -c security.privileged=true",
    "init --empty r1 --project rp -c security.nesting=true",
    "init --empty r1 --project rp -c raw.lxc=lxc.environment=a=b",
    "init --empty r1 --project rp -c security.syscalls.intercept.mknod=true",
    "init --empty r1 --project rp -c security.syscalls.intercept.sysinfo=true",
    "init --empty r1 --project rp",
    "config set r1 security.nesting=true --project rp",
    "config set r1 raw.lxc=bad --project rp",
    "config device add r1 d unix-char path=/dev/null --project rp",
    "config device add r1 d disk source=/tmp path=/mnt --project rp",
    "config device add r1 d nic nictype=p2p --project rp",
    "project set rp restricted.containers.nesting=allow",
    "config set r1 security.nesting=true --project rp",
    "project set rp restricted.containers.nesting=block",
    "delete r1 --project rp",
    "project delete rp",
];

fn pair() -> (Server, Server) {
    let (ours, reference) = (
        Server::ready(Kind::Ours, "dir"),
        Server::ready(Kind::Reference, "dir"),
    );
    let file = image::busybox(ours.scratch(), "tar.gz");
    let disk = ours.scratch().join("disk.qcow2");
    std::fs::write(&disk, [&b"QFI\xfb\0\0\0\x03"[..], &[0; 1000]].concat()).unwrap();
    let (folder, metadata) = (ours.scratch().to_str().unwrap(), ours.scratch().join("meta.tar"));
    let said = "architecture: amd64\ncreation_date: 1700000000\n";
    std::fs::write(ours.scratch().join("metadata.yaml"), said).unwrap();
    sh(
        "tar",
        &["-C", folder, "-cf", metadata.to_str().unwrap(), "metadata.yaml"],
    )
    .ok();
    let files = [metadata.to_str().unwrap(), disk.to_str().unwrap()];
    for server in [&ours, &reference] {
        server
            .lxc(&["image", "import", files[0], files[1], "--alias", "vm"])
            .ok();
        server
            .lxc(&["image", "import", file.to_str().unwrap(), "--alias", "bb"])
            .ok();
    }
    (ours, reference)
}

#[test]
fn lists_and_shows_print_the_same_bytes() {
    let (ours, reference) = pair();
    for server in [&ours, &reference] {
        server
            .lxc(&[
                "launch",
                "bb",
                "c1",
                "-c",
                "limits.memory=64MiB",
                "-c",
                "user.note=a: b",
            ])
            .ok();
        server.lxc(&["init", "bb", "c2"]).ok();
        server.lxc(&["profile", "create", "second"]).ok();
        patiently("an address", || {
            server
                .lxc(&["list", "c1", "-f", "csv", "-c", "46"])
                .out
                .matches("eth0")
                .count()
                == 2
        });
    }
    let mut found = Vec::new();
    for args in COMMANDS {
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
