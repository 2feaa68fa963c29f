//! Files, lease lists and packets, by data.

use std::net::IpAddr;

use super::leases::{LeaseFile, View};
use super::*;

fn entry(project: &str, device: &str) -> HostEntry {
    HostEntry {
        project: project.into(),
        instance: "c1".into(),
        device: device.into(),
        hwaddr: "00:16:3e:00:00:01".into(),
        ..HostEntry::default()
    }
}

#[test]
fn host_files_are_named_and_filled_as_the_reference_does() {
    assert_eq!(entry("default", "eth0").file_name(), "c1.eth0");
    assert_eq!(entry("p2", "eth0").file_name(), "p2_c1.eth0");
    assert_eq!(entry("default", "eth-0/a").file_name(), "c1.eth--0-a");
    let bare = entry("p2", "eth0");
    let both = HostEntry {
        ipv4: "10.2.2.44".parse().ok(),
        ipv6: "fd42:2::44".parse().ok(),
        ..bare.clone()
    };
    assert_eq!(bare.line(true).as_deref(), Some("00:16:3e:00:00:01,c1"));
    assert_eq!(bare.line(false), None);
    assert_eq!(
        both.line(true).as_deref(),
        Some("00:16:3e:00:00:01,10.2.2.44,[fd42:2::44],c1")
    );
    assert_eq!(
        both.line(false).as_deref(),
        Some("00:16:3e:00:00:01,10.2.2.44,[fd42:2::44]")
    );
}

const LEASES: &str = "1795495982 76:c1:a6:e6:45:45 10.2.2.199 foo 01:76:c1:a6:e6:45:45
1795495982 00:16:3e:00:00:01 10.2.2.44 c1 *
1795495982 00:16:3e:00:00:02 10.2.2.60 * ff:b5:5e:67:ff:00:02:00
broken line
duid 00:01:00:01:32:97:c6:9d:00:16:3e:b9:60:9b
1795495982 T1040417793 fd42:2::77 c2 00:03:00:01:00:16:3e:00:00:02
1795495982 5 fd42:2::78 x 00:02:00:00:ab:11:01
";

#[test]
fn dnsmasq_s_own_file_is_read() {
    let file = LeaseFile::parse(LEASES);
    assert_eq!(file.server.as_ref().map(Vec::len), Some(14));
    let rows: Vec<String> = file
        .leases
        .iter()
        .map(|l| {
            format!(
                "{} {} {:?} {}",
                l.address,
                l.hwaddr.as_deref().unwrap_or("-"),
                l.hostname,
                l.association
            )
        })
        .collect();
    assert_eq!(
        rows,
        [
            "10.2.2.199 76:c1:a6:e6:45:45 \"foo\" 0",
            "10.2.2.44 00:16:3e:00:00:01 \"c1\" 0",
            "10.2.2.60 00:16:3e:00:00:02 \"\" 0",
            "fd42:2::77 00:16:3e:00:00:02 \"c2\" 1040417793",
            "fd42:2::78 - \"x\" 5",
        ]
    );
    assert_eq!(LeaseFile::parse(""), LeaseFile::default());
}

#[test]
fn lists_have_gateways_then_cards_then_leases_of_cards_alone() {
    let own: [IpAddr; 2] = ["10.2.2.1".parse().unwrap(), "fd42:2::1".parse().unwrap()];
    let nic = |instance: &str, hwaddr: &str, ipv4: &str| LeaseNic {
        instance: instance.into(),
        hwaddr: hwaddr.into(),
        ipv4: ipv4.parse().ok(),
        ipv6: None,
    };
    let nics = [
        nic("c1", "00:16:3e:00:00:01", "10.2.2.44"),
        nic("c2", "00:16:3E:00:00:02", ""),
    ];
    let view = View {
        network: "nt2",
        own: &own,
        stateless: Some("fd42:2::1/64".parse().unwrap()),
        location: "none",
    };
    let rows: Vec<String> = view
        .list(&nics, &LeaseFile::parse(LEASES))
        .into_iter()
        .map(|l| {
            format!(
                "{} {} {} {} {}",
                l.address, l.r#type, l.hostname, l.hwaddr, l.location
            )
        })
        .collect();
    assert_eq!(
        rows,
        [
            "10.2.2.1 gateway nt2.gw  ",
            "fd42:2::1 gateway nt2.gw  ",
            "10.2.2.44 static c1 00:16:3e:00:00:01 none",
            "fd42:2::216:3eff:fe00:1 dynamic c1 00:16:3e:00:00:01 none",
            "fd42:2::216:3eff:fe00:2 dynamic c2 00:16:3E:00:00:02 none",
            "10.2.2.60 dynamic  00:16:3E:00:00:02 none",
            "fd42:2::77 dynamic c2 00:16:3E:00:00:02 none",
        ]
    );
}

#[test]
fn release_packets_name_client_address_and_server() {
    let packet = release::packet_v4(
        "00:16:3e:00:00:01".parse().unwrap(),
        "10.2.2.44".parse().unwrap(),
        "10.2.2.1".parse().unwrap(),
    );
    assert_eq!(packet[12..16], [10, 2, 2, 44]);
    assert_eq!(packet[28..34], [0, 0x16, 0x3e, 0, 0, 1]);
    assert_eq!(
        packet[236..],
        [99, 130, 83, 99, 53, 1, 7, 54, 4, 10, 2, 2, 1, 255]
    );

    let file = LeaseFile::parse(LEASES);
    let lease = &file.leases[4];
    let IpAddr::V6(address) = lease.address else {
        unreachable!()
    };
    let packet = release::packet_v6(lease, address, file.server.as_deref()).unwrap();
    assert_eq!(packet[..8], [8, 1, 2, 3, 0, 1, 0, 7]);
    let association = [
        0, 3, 0, 40, 0, 0, 0, 5, 0, 0, 0, 0, 0, 0, 0, 0, 0, 5, 0, 24, 0xfd, 0x42,
    ];
    assert!(
        packet.windows(association.len()).any(|part| part == association),
        "{packet:?}"
    );
    assert!(release::packet_v6(lease, address, None).is_none());
}

#[test]
fn the_process_id_is_written_as_yaml() {
    let service = Service {
        network: "br0".into(),
        directory: "/d".into(),
        args: vec!["-u".into(), "a \"b\"".into()],
        raw: String::new(),
    };
    let text = process::pid_file(&service, 42);
    assert!(
        text.starts_with("name: dnsmasq\nargs: [\"-u\", \"a \\\"b\\\"\"]\n") && text.contains("\npid: 42\n")
    );
}
