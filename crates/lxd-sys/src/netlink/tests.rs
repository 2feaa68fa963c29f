//! Links, addresses and routes in network namespaces of the test's own.

use std::os::fd::{AsFd, OwnedFd};

use std::net::IpAddr;

use super::*;

fn new_netns() -> OwnedFd {
    new_namespace().expect("needs root")
}

#[test]
fn a_veth_pair_is_born_across_namespaces() {
    let (host, guest) = (new_netns(), new_netns());
    let mut h = Socket::open_in(host.as_fd()).unwrap();
    let mut g = Socket::open_in(guest.as_fd()).unwrap();
    h.add_link(&NewLink {
        up: true,
        ..NewLink::new("br0", Kind::Bridge)
    })
    .unwrap();
    let mac: Mac = "00:16:3e:01:02:03".parse().unwrap();
    let peer = Peer {
        name: "eth0",
        mac: Some(mac),
        mtu: Some(1400),
        netns: Some(guest.as_fd()),
    };
    let veth = NewLink {
        master: Some("br0"),
        mtu: Some(1400),
        up: true,
        tx_queue_len: Some(500),
        ..NewLink::new("veth0", Kind::Veth(peer))
    };
    h.add_link(&veth).unwrap();
    let links = h.links().unwrap();
    let names: Vec<&str> = links.iter().map(|l| l.name.as_str()).collect();
    assert!(
        names.contains(&"lo") && names.contains(&"br0") && names.contains(&"veth0"),
        "{names:?}"
    );
    let (bridge, end) = (h.link("br0").unwrap().unwrap(), h.link("veth0").unwrap().unwrap());
    assert_eq!(
        (end.master, end.mtu, end.kind.as_str()),
        (Some(bridge.index), 1400, "veth")
    );
    assert!(end.is_up() && end.peer_netns.is_some() && bridge.bridge.is_some());
    let eth0 = g.link("eth0").unwrap().unwrap();
    assert_eq!(
        (eth0.mac().as_str(), eth0.mtu, eth0.lower),
        ("00:16:3e:01:02:03", 1400, Some(end.index))
    );
    g.change_link(
        "eth0",
        &LinkChange {
            up: Some(true),
            ..LinkChange::default()
        },
    )
    .unwrap();
    assert_eq!(g.link("eth0").unwrap().unwrap().state, OperState::Up);
    assert!(h.add_link(&veth).unwrap_err().exists());
    assert!(h.delete_link("veth0").unwrap());
    assert!(!h.delete_link("veth0").unwrap());
    assert_eq!(g.link("eth0").unwrap(), None);
}

#[test]
fn links_are_changed_renamed_and_moved() {
    let (here, there) = (new_netns(), new_netns());
    let mut socket = Socket::open_in(here.as_fd()).unwrap();
    let peer = Peer {
        name: "d9",
        mac: None,
        mtu: None,
        netns: None,
    };
    socket.add_link(&NewLink::new("d0", Kind::Veth(peer))).unwrap();
    socket.add_link(&NewLink::new("br0", Kind::Bridge)).unwrap();
    let mac = Mac([2, 0, 0, 0, 0, 9]);
    let change = LinkChange {
        name: Some("d1"),
        mac: Some(mac),
        mtu: Some(1300),
        master: Some(Some("br0")),
        ..LinkChange::default()
    };
    socket.change_link("d0", &change).unwrap();
    socket
        .change_link(
            "d1",
            &LinkChange {
                up: Some(true),
                ..LinkChange::default()
            },
        )
        .unwrap();
    let link = socket.link("d1").unwrap().unwrap();
    assert_eq!(
        (link.mac(), link.mtu, link.is_up()),
        (mac.to_string(), 1300, true)
    );
    assert!(link.master.is_some());
    socket
        .change_link(
            "d1",
            &LinkChange {
                up: Some(false),
                master: Some(None),
                ..LinkChange::default()
            },
        )
        .unwrap();
    let link = socket.link("d1").unwrap().unwrap();
    assert!(link.master.is_none() && !link.is_up());
    socket
        .change_link(
            "d1",
            &LinkChange {
                netns: Some(there.as_fd()),
                ..LinkChange::default()
            },
        )
        .unwrap();
    assert_eq!(socket.link("d1").unwrap(), None);
    assert!(
        Socket::open_in(there.as_fd())
            .unwrap()
            .link("d1")
            .unwrap()
            .is_some()
    );
    let error = socket.change_link("nope", &LinkChange::default()).unwrap_err();
    assert!(error.is_missing());
    assert_eq!(error.to_string(), "Network interface \"nope\" doesn't exist");
}

#[test]
fn a_macvlan_is_born_in_another_namespace() {
    let (here, there) = (new_netns(), new_netns());
    let mut socket = Socket::open_in(here.as_fd()).unwrap();
    socket
        .add_link(&NewLink {
            up: true,
            ..NewLink::new("d0", Kind::Bridge)
        })
        .unwrap();
    let kind = Kind::Macvlan {
        parent: "d0",
        mode: MacvlanMode::Bridge,
    };
    socket
        .add_link(&NewLink {
            netns: Some(there.as_fd()),
            ..NewLink::new("eth0", kind)
        })
        .unwrap();
    let link = Socket::open_in(there.as_fd())
        .unwrap()
        .link("eth0")
        .unwrap()
        .unwrap();
    assert_eq!(link.kind, "macvlan");
}

#[test]
fn addresses_and_routes_come_and_go() {
    let netns = new_netns();
    let mut socket = Socket::open_in(netns.as_fd()).unwrap();
    socket
        .add_link(&NewLink {
            up: true,
            ..NewLink::new("d0", Kind::Bridge)
        })
        .unwrap();
    let (v4, v6): (IpAddr, IpAddr) = ("10.9.8.1".parse().unwrap(), "fd42::1".parse().unwrap());
    socket.add_address("d0", v4, 24).unwrap();
    socket.add_address("d0", v6, 64).unwrap();
    assert!(socket.add_address("d0", v4, 24).unwrap_err().exists());
    let index = socket.index("d0").unwrap();
    let has = |socket: &mut Socket, address| {
        socket
            .addresses()
            .unwrap()
            .iter()
            .any(|a| a.index == index && a.address == address && a.scope == "global")
    };
    assert!(has(&mut socket, v4) && has(&mut socket, v6));
    let connected = socket.routes().unwrap();
    assert!(
        connected
            .iter()
            .any(|r| r.destination.to_string() == "10.9.8.0" && r.prefix == 24 && r.protocol == 2)
    );
    for destination in ["10.1.0.0", "fd43::"] {
        let route = Route::direct(destination.parse().unwrap(), 16, index);
        socket.replace_route(&route).unwrap();
        socket.replace_route(&route).unwrap();
        assert!(socket.routes().unwrap().contains(&route));
        assert!(socket.delete_route(&route).unwrap());
        assert!(!socket.delete_route(&route).unwrap());
    }
    assert!(socket.delete_address("d0", v4, 24).unwrap());
    assert!(!socket.delete_address("d0", v4, 24).unwrap());
    assert!(!has(&mut socket, v4) && has(&mut socket, v6));
    socket.neighbours().unwrap();
    let elsewhere = Route {
        table: Some(1000),
        ..Route::direct("10.7.0.0".parse().unwrap(), 16, index)
    };
    socket.replace_route(&elsewhere).unwrap();
    assert!(
        !socket.routes().unwrap().contains(&elsewhere),
        "not the main table"
    );
    assert!(socket.delete_route(&elsewhere).unwrap() && !socket.delete_route(&elsewhere).unwrap());
    for address in [v4, v6] {
        socket.add_proxy(index, address).unwrap();
        socket.add_proxy(index, address).unwrap();
        assert!(socket.delete_proxy(index, address).unwrap());
        assert!(!socket.delete_proxy(index, address).unwrap());
    }
}

#[tokio::test]
async fn requests_run_on_another_thread() {
    assert!(
        run(|socket| socket.link("lo"))
            .await
            .unwrap()
            .unwrap()
            .is_loopback()
    );
    assert!(
        run(|socket| socket.index("no-such-link"))
            .await
            .unwrap_err()
            .is_missing()
    );
}

#[test]
fn hardware_addresses_are_read_strictly() {
    assert_eq!(
        "00:16:3E:0a:0b:ff".parse::<Mac>().unwrap().to_string(),
        "00:16:3e:0a:0b:ff"
    );
    for bad in [
        "",
        "00:16:3e:0a:0b",
        "00:16:3e:0a:0b:ff:00",
        "0:16:3e:0a:0b:ff",
        "00:16:3e:0a:0b:fg",
        "+0:16:3e:0a:0b:ff",
    ] {
        assert!(bad.parse::<Mac>().is_err(), "{bad}");
    }
}
