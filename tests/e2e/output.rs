//! Output: our client on our daemon prints what the reference's client prints on the reference's daemon.

use lxd_e2e::{Kind, Server, compare::difference, image, program::patiently};

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
];

fn pair() -> (Server, Server) {
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
