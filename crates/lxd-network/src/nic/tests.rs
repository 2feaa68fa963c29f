//! Rules for fixed addresses, and real veth pairs.

use super::*;

fn network(pairs: &[(&str, &str)]) -> Network {
    let config = pairs
        .iter()
        .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
        .collect();
    Network {
        name: "nt2".into(),
        config,
        ..Network::default()
    }
}

#[test]
fn fixed_addresses_are_judged_as_the_reference_does() {
    let plain = network(&[("ipv4.address", "10.2.2.1/24"), ("ipv6.address", "fd42:2::1/64")]);
    let stateful = network(&[
        ("ipv4.address", "10.2.2.1/24"),
        ("ipv4.dhcp", "false"),
        ("ipv6.address", "fd42:2::1/64"),
        ("ipv6.dhcp.stateful", "true"),
    ]);
    for (network, device, expected) in [
        (&plain, &[("ipv4.address", "10.2.2.50")][..], "ok"),
        (&plain, &[("ipv4.address", "10.2.2.0")], "ok"),
        (
            &plain,
            &[("ipv4.address", "10.9.9.9")],
            "Device IP address \"10.9.9.9\" not within network \"nt2\" subnet",
        ),
        (
            &plain,
            &[("ipv4.address", "foo")],
            "Device IP address \"foo\" not within network \"nt2\" subnet",
        ),
        (
            &plain,
            &[("ipv4.address", "10.2.2.1")],
            "IP address \"10.2.2.1\" is assigned to parent managed network device \"\"",
        ),
        (
            &plain,
            &[("ipv4.address", "none")],
            "Cannot have ipv4.address as none unless using security.ipv4_filtering",
        ),
        (
            &plain,
            &[("ipv4.address", "none"), ("security.ipv4_filtering", "true")],
            "ok",
        ),
        (
            &plain,
            &[("ipv6.address", "fd42:2::5")],
            "Cannot specify \"ipv6.address\" when DHCP or \"ipv6.dhcp.stateful\" are disabled (unless using security.ipv6_filtering) on network \"nt2\"",
        ),
        (
            &stateful,
            &[("ipv4.address", "10.2.2.3")],
            "Cannot specify \"ipv4.address\" when DHCP is disabled (unless using security.ipv4_filtering) on network \"nt2\"",
        ),
        (&stateful, &[("ipv6.address", "fd42:2::5")], "ok"),
        (
            &stateful,
            &[("ipv6.address", "fd55::1")],
            "Device IP address \"fd55::1\" not within network \"nt2\" subnet",
        ),
        (&plain, &[], "ok"),
    ] {
        let device = device
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
            .collect();
        let answer = validate_addresses(network, &device).map_or_else(|e| e.to_string(), |()| "ok".into());
        assert_eq!(answer, expected, "{device:?}");
    }
}

#[test]
fn pairs_are_made_connected_and_removed() {
    netlink::in_new_namespace(|| {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            let guest = netlink::new_namespace().unwrap();
            netlink::run(|s| {
                s.add_link(&NewLink {
                    mtu: Some(1400),
                    ..NewLink::new("br0", Kind::Bridge)
                })
            })
            .await
            .unwrap();
            let veth = Veth {
                host_name: random_name(),
                name: "eth0".into(),
                hwaddr: "00:16:3e:01:02:03".into(),
                mtu: Some(mtu("br0").await.unwrap()),
                parent: Some("br0".into()),
                routes: Vec::new(),
            };
            attach(veth.clone(), guest.try_clone().unwrap()).await.unwrap();
            let mut inside = netlink::Socket::open_in(guest.as_fd()).unwrap();
            let eth0 = inside.link("eth0").unwrap().unwrap();
            assert_eq!((eth0.mac(), eth0.mtu), (veth.hwaddr.clone(), 1400));
            let (host, bridge) = netlink::run(move |s| Ok((s.link(&veth.host_name)?, s.link("br0")?)))
                .await
                .unwrap();
            let host = host.unwrap();
            assert!(host.is_up() && host.master == bridge.map(|link| link.index));
            assert!(detach(&host.name).await.unwrap() && !detach(&host.name).await.unwrap());

            let routed = Veth {
                host_name: random_name(),
                name: "eth1".into(),
                routes: vec!["10.8.8.0/24".parse().unwrap()],
                ..Veth::default()
            };
            attach(routed.clone(), guest.try_clone().unwrap()).await.unwrap();
            let routes = netlink::run(netlink::Socket::routes).await.unwrap();
            assert!(
                routes
                    .iter()
                    .any(|route| route.destination.to_string() == "10.8.8.0")
            );

            let lost = Veth {
                host_name: random_name(),
                parent: Some("nope".into()),
                ..routed
            };
            assert!(
                attach(
                    Veth {
                        name: "eth2".into(),
                        ..lost.clone()
                    },
                    guest.try_clone().unwrap()
                )
                .await
                .is_err()
            );
            assert!(!detach(&lost.host_name).await.unwrap(), "undone");
            assert_eq!(
                mtu("nope").await.unwrap_err().to_string(),
                "Network interface \"nope\" not found"
            );
        });
    })
    .unwrap();
}
