//! Network cards: rules, limits, routes and links in the kernel, as the reference makes them.

use std::collections::BTreeSet;

use lxd_e2e::{Kind, Server, image, program::patiently, program::sh};

/// What is set one after another on a running container's card.
const FILTERS: &[&[&str]] = &[
    &["security.mac_filtering=true"],
    &["ipv4.address=10.213.77.50"],
    &["security.ipv4_filtering=true"],
    &["security.ipv6_filtering=true"],
    &["ipv4.routes=10.99.0.0/24", "ipv6.routes=fd99::/64"],
    &["ipv6.address=fd42:213:77::50"],
    &["security.ipv4_filtering=false", "ipv4.routes=", "ipv6.routes="],
    &["security.ipv6_filtering=true", "ipv6.address=none"],
    &["security.ipv6_filtering=false", "ipv6.address="],
    &["security.mac_filtering=false"],
];

fn ready(kind: Kind) -> Server {
    let server = Server::ready(kind, "dir");
    let file = image::busybox(server.scratch(), "tar.gz");
    server
        .lxc(&["image", "import", file.to_str().unwrap(), "--alias", "bb"])
        .ok();
    server
}

fn host_name(server: &Server, name: &str, device: &str) -> String {
    let key = format!("volatile.{device}.host_name");
    server.lxc(&["config", "get", name, &key]).ok().trim().to_owned()
}

/// What the filters of a card are at each step, and which of its routes the host has.
fn filters(kind: Kind) -> Vec<String> {
    let server = ready(kind);
    let network = format!("{}n", server.bridge());
    let addresses = ["ipv4.address=10.213.77.1/24", "ipv6.address=fd42:213:77::1/64"];
    server
        .lxc(&["network", "create", &network, addresses[0], addresses[1]])
        .ok();
    server.lxc(&["launch", "bb", "fc1"]).ok();
    let wanted = format!("network={network}");
    server
        .lxc(&[
            "config",
            "device",
            "add",
            "fc1",
            "card",
            "nic",
            &wanted,
            "hwaddr=00:16:3e:3b:2c:42",
        ])
        .ok();
    let mut seen = Vec::new();
    for step in FILTERS {
        let args = [&["config", "device", "set", "fc1", "card"][..], step].concat();
        server.lxc(&args).ok();
        let name = host_name(&server, "fc1", "card");
        let rules = sh("nft", &["list", "table", "bridge", "lxd"]).ok();
        // The reference leaves a card that was plugged in down.
        let routes = sh("ip", &["route", "show", "dev", &network])
            .ok()
            .replace(" linkdown", "");
        let routes: Vec<&str> = routes.lines().filter(|line| line.starts_with("10.99.")).collect();
        let text = chains(&rules, "fc1.card").replace(&name, "HOST");
        seen.push(format!("{step:?}\n{text}{routes:?}"));
    }
    server.lxc(&["delete", "--force", "fc1"]).ok();
    let rules = sh("nft", &["list", "table", "bridge", "lxd"]).ok();
    seen.push(chains(&rules, "fc1.card"));
    seen
}

/// The chains whose names end like this.
fn chains(listing: &str, name: &str) -> String {
    let mut text = String::new();
    let mut is_ours = false;
    for line in listing.lines() {
        if line.starts_with("\tchain ") {
            is_ours = line.contains(&format!(".{name} "));
        }
        if is_ours && line.starts_with('\t') {
            text += line;
            text.push('\n');
        }
    }
    text
}

#[test]
fn filters_are_the_references() {
    // One after another: both would use the same chains.
    let (ours, reference) = (filters(Kind::Ours), filters(Kind::Reference));
    for (ours, reference) in ours.iter().zip(&reference) {
        assert_eq!(ours, reference);
    }
    assert_eq!(ours.len(), reference.len());
}

#[test]
fn a_filtered_card_is_heard_by_its_own_address_alone() {
    let server = ready(Kind::Ours);
    server.lxc(&["launch", "bb", "c1"]).ok();
    patiently("an address", || {
        server
            .lxc(&["list", "c1", "-f", "csv", "-c", "4"])
            .out
            .contains("eth0")
    });
    server
        .lxc(&[
            "config",
            "device",
            "override",
            "c1",
            "eth0",
            "security.ipv4_filtering=true",
        ])
        .ok();
    let [subnet, _] = server.subnet();
    let bridge = subnet.split('/').next().unwrap().to_owned();
    let hears = || {
        let args = ["exec", "c1", "--", "ping", "-c", "1", "-W", "1", &bridge];
        server.lxc(&args).code == 0
    };
    let entry = format!("networks/{}/dnsmasq.hosts/c1.eth0", server.bridge());
    let listed = std::fs::read_to_string(server.dir().join(entry)).unwrap();
    let own = listed.trim().split(',').nth(1).unwrap().to_owned();
    let set = |address: &str| {
        let script =
            format!("ip link set eth0 up; ip addr flush dev eth0; ip addr add {address}/24 dev eth0");
        server.lxc(&["exec", "c1", "--", "sh", "-c", &script]).ok();
    };
    set(&own);
    assert!(hears(), "with its own address {own}");
    let other = format!("{}.213", bridge.rsplit_once('.').unwrap().0);
    set(&other);
    assert!(!hears(), "with somebody else's address");
}

#[test]
fn limits_and_routes_follow_a_running_card() {
    let server = ready(Kind::Ours);
    server.lxc(&["launch", "bb", "c1"]).ok();
    server
        .lxc(&[
            "config",
            "device",
            "add",
            "c1",
            "eth1",
            "nic",
            "nictype=p2p",
            "limits.ingress=1Mbit",
        ])
        .ok();
    let name = host_name(&server, "c1", "eth1");
    assert!(
        sh("tc", &["class", "show", "dev", &name])
            .ok()
            .contains("rate 1Mbit")
    );
    server
        .lxc(&[
            "config",
            "device",
            "set",
            "c1",
            "eth1",
            "limits.ingress=",
            "ipv4.routes=10.214.9.0/24",
        ])
        .ok();
    assert!(!sh("tc", &["class", "show", "dev", &name]).ok().contains("rate"));
    assert!(
        sh("ip", &["route", "show", "dev", &name])
            .ok()
            .contains("10.214.9.0/24")
    );
    assert_eq!(host_name(&server, "c1", "eth1"), name, "the same card");
    server.lxc(&["config", "device", "remove", "c1", "eth1"]).ok();
    assert!(!std::path::Path::new("/sys/class/net").join(&name).exists());
}

#[test]
fn cards_of_the_host_come_back_as_they_were() {
    let server = ready(Kind::Ours);
    let (card, peer) = (format!("{}p", server.bridge()), format!("{}q", server.bridge()));
    sh(
        "ip",
        &[
            "link", "add", &card, "mtu", "1450", "type", "veth", "peer", "name", &peer,
        ],
    )
    .ok();
    let before = sh("ip", &["-o", "link", "show", "dev", &card]).ok();
    let mac = |text: &str| text.split("link/ether ").nth(1).map(|rest| rest[..17].to_owned());
    server.lxc(&["launch", "bb", "c1"]).ok();
    let parent = format!("parent={card}");
    let add = [
        "config",
        "device",
        "add",
        "c1",
        "ext",
        "nic",
        "nictype=physical",
        &parent,
        "name=ext0",
        "mtu=1400",
    ];
    for plugged in [true, false] {
        if plugged {
            server
                .lxc(&[&add[..], &["hwaddr=00:16:3e:00:77:01"]].concat())
                .ok();
        } else {
            server.lxc(&["start", "c1"]).ok();
        }
        let inside = server
            .lxc(&["exec", "c1", "--", "ip", "link", "show", "ext0"])
            .ok();
        assert!(
            inside.contains("mtu 1400") && inside.contains("00:16:3e:00:77:01"),
            "{inside}"
        );
        assert!(!sh("ip", &["link", "show", "dev", &card]).out.contains("mtu"));
        server.lxc(&["stop", "--force", "c1"]).ok();
        let after = sh("ip", &["-o", "link", "show", "dev", &card]).ok();
        assert!(after.contains("mtu 1450"), "{after}");
        assert_eq!(mac(&after), mac(&before));
    }
    server.lxc(&["delete", "c1"]).ok();
    sh("ip", &["link", "delete", &card]).ok();
}

#[test]
fn what_can_not_be_is_refused_in_the_references_words() {
    let ours = ready(Kind::Ours);
    let reference = ready(Kind::Reference);
    for server in [&ours, &reference] {
        server.lxc(&["init", "bb", "c1"]).ok();
    }
    let before = cards_of_the_host();
    for words in [
        "nictype=bridged parent=nosuch",
        "nictype=routed parent=nosuch ipv4.address=10.1.1.1",
        "nictype=physical parent=nosuch",
        "nictype=macvlan parent=nosuch",
        "nictype=sriov parent=lo",
        "nictype=routed ipv4.address=10.1.1.1,10.1.1.1",
        "nictype=routed ipv4.address=10.1.1.1 ipv4.gateway=foo",
        "nictype=routed ipv4.routes=10.1.1.0/24",
        "nictype=routed vlan=5",
        "nictype=ipvlan parent=lo ipv4.gateway=10.1.1.1",
        "nictype=ipvlan parent=lo mode=l2 ipv6.gateway=auto",
        "nictype=ipvlan parent=lo ipv4.address=10.1.1.1/24",
        "nictype=bridged parent=lo ipv4.address=10.1.1.1",
        "nictype=bridged parent=lo security.ipv6_filtering=true",
        "nictype=p2p limits.ingress=foo",
    ] {
        let answer = |server: &Server| {
            let words: Vec<&str> = words.split(' ').collect();
            let added = server.lxc(&[&["config", "device", "add", "c1", "x", "nic"], &words[..]].concat());
            if added.code != 0 {
                return added.err;
            }
            let started = server.lxc(&["start", "c1"]).failed();
            server.lxc(&["config", "device", "remove", "c1", "x"]).ok();
            started
        };
        assert_eq!(answer(&ours), answer(&reference), "{words}");
    }
    // A start that fails leaves a pair of cards behind, with the reference.
    for card in cards_of_the_host().difference(&before) {
        sh("ip", &["link", "delete", card]);
    }
}

/// The names of virtual cards in the host's own namespace.
fn cards_of_the_host() -> BTreeSet<String> {
    let links = sh("ip", &["-o", "link", "show", "type", "veth"]).ok();
    let name = |line: &str| Some(line.split(": ").nth(1)?.split('@').next()?.to_owned());
    links.lines().filter_map(name).collect()
}
