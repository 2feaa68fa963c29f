//! What dnsmasq and nft are told, against what the reference tells them (read from its processes and rules).

use std::path::Path;
use std::sync::Arc;

use crate::drivers::bridge::{dhcp, firewall, plan::Plan};
use crate::{Host, Network, Settings};

fn plan(text: &str) -> Plan {
    let config = text.split_whitespace().map(|pair| pair.split_once('=').unwrap());
    let config = config
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .collect();
    let network = Network {
        name: "ntx".into(),
        config,
        ..Network::default()
    };
    super::super::config::validate(&network).unwrap();
    Plan::new(&Arc::new(Host::new(Settings::default())), &network).unwrap()
}

/// The command line without what is the same for all.
fn args(config: &str) -> String {
    let Some(service) = dhcp::service(&plan(config), Path::new("/n"), Some("lxd"), true) else {
        return "nothing".into();
    };
    let line = service.args.join(" ");
    let line = line.strip_prefix("--strict-order --bind-interfaces --except-interface=lo --pid-file=/n/dnsmasq.started --no-ping --interface=ntx --dhcp-rapid-commit ").unwrap();
    let line = line
        .strip_suffix("--conf-file=/n/dnsmasq.raw -u nobody -g lxd")
        .unwrap();
    let leasing = "--dhcp-no-override --dhcp-authoritative --dhcp-leasefile=/n/dnsmasq.leases --dhcp-hostsfile=/n/dnsmasq.hosts";
    line.trim_end().replace(leasing, "LEASING")
}

const BOTH: &str = "ipv4.address=10.1.1.1/24 ipv6.address=fd42:1::1/64";
const DNS: &str = "-s lxd --interface-name _gateway.lxd,ntx -S /lxd/";
const V4: &str = "--listen-address=10.1.1.1 LEASING --dhcp-range 10.1.1.2,10.1.1.254,1h";
const RA: &str =
    "--listen-address=fd42:1::1 --enable-ra --dhcp-range ::,constructor:ntx,ra-stateless,ra-names";

#[test]
fn dnsmasq_is_told_what_the_reference_tells_it() {
    for (config, expected) in [
        ("ipv4.address=none ipv6.address=none", "nothing".to_owned()),
        (BOTH, format!("{V4} {RA} {DNS}")),
        (&format!("{BOTH} dns.mode=none"), format!("{V4} {RA}")),
        (
            "ipv6.address=fd42:1::1/64",
            format!("--listen-address=fd42:1::1 --enable-ra LEASING --dhcp-range ::,constructor:ntx,ra-stateless,ra-names {DNS}"),
        ),
        ("ipv4.address=10.1.1.1/24", format!("{V4} {DNS}")),
        (
            &format!("{BOTH} ipv4.dhcp=false ipv6.dhcp=false"),
            format!("--listen-address=10.1.1.1 --listen-address=fd42:1::1 --enable-ra --dhcp-range ::,constructor:ntx,ra-only {DNS}"),
        ),
        (
            &format!("{BOTH} ipv6.dhcp.stateful=true"),
            format!("{V4} --listen-address=fd42:1::1 --enable-ra --dhcp-range fd42:1::2,fd42:1::ffff:ffff:ffff:ffff,64,1h {DNS}"),
        ),
        (
            &format!("{BOTH} ipv6.dhcp.stateful=true ipv6.dhcp.ranges=fd42:1::10-fd42:1::20,fd42:1::30-fd42:1::40 ipv6.dhcp.expiry=2h"),
            format!("{V4} --listen-address=fd42:1::1 --enable-ra --dhcp-range fd42:1::10,fd42:1::20,64,2h --dhcp-range fd42:1::30,fd42:1::40,64,2h {DNS}"),
        ),
        (
            "ipv4.address=10.2.2.1/24 ipv4.dhcp.gateway=10.2.2.9 bridge.mtu=1400 dns.search=x.y dns.domain=a.b",
            "--listen-address=10.2.2.1 LEASING --dhcp-option-force=3,10.2.2.9 --dhcp-option-force=26,1400 --dhcp-option-force=119,x.y \
             --dhcp-range 10.2.2.2,10.2.2.254,1h -s a.b --interface-name _gateway.a.b,ntx -S /a.b/"
                .to_owned(),
        ),
        (
            "ipv4.address=10.1.1.1/24 ipv4.dhcp.ranges=10.1.1.10-10.1.1.20,10.1.1.30-10.1.1.40 ipv4.dhcp.expiry=5m",
            format!("--listen-address=10.1.1.1 LEASING --dhcp-range 10.1.1.10,10.1.1.20,5m --dhcp-range 10.1.1.30,10.1.1.40,5m {DNS}"),
        ),
        ("ipv4.address=10.1.1.2/30", format!("--listen-address=10.1.1.2 LEASING --dhcp-range 10.1.1.2,10.1.1.2,1h {DNS}")),
    ] {
        assert_eq!(args(config), expected, "{config}");
    }
    let quiet = dhcp::service(&plan(BOTH), Path::new("/n"), None, false)
        .unwrap()
        .args
        .join(" ");
    assert!(quiet.contains("--dhcp-rapid-commit --quiet-dhcp --quiet-dhcp6 --quiet-ra --listen-address"));
    assert!(quiet.ends_with("-u nobody"));
}

/// The rules of one chain as the batch has them.
fn rules(config: &str, chain: &str) -> Vec<String> {
    let start = format!("add rule inet lxd {chain}.ntx ");
    let batch = firewall::apply(&plan(config));
    batch
        .text()
        .lines()
        .filter_map(|line| line.strip_prefix(&start))
        .map(str::to_owned)
        .collect()
}

#[test]
fn nat_is_as_the_reference_does_it() {
    assert_eq!(rules(BOTH, "pstrt"), [""; 0]);
    assert_eq!(
        rules(
            &format!("{BOTH} ipv4.nat=true ipv6.nat=true ipv6.nat.address=fd44::1"),
            "pstrt"
        ),
        [
            "ip saddr 10.1.1.0/24 ip daddr != 10.1.1.0/24 masquerade",
            "ip6 saddr fd42:1::/64 ip6 daddr != fd42:1::/64 snat ip6 to fd44::1",
        ]
    );
}

#[test]
fn forwarding_is_as_the_reference_does_it() {
    assert_eq!(
        rules(&format!("{BOTH} ipv6.routing=false"), "fwd"),
        [
            "ip version 4 oifname \"ntx\" accept",
            "ip version 4 iifname \"ntx\" accept",
            "ip6 version 6 oifname \"ntx\" reject",
            "ip6 version 6 iifname \"ntx\" reject",
        ]
    );
    assert_eq!(rules(&format!("{BOTH} ipv4.firewall=false"), "fwd").len(), 2);
    let none = format!("{BOTH} ipv4.firewall=false ipv6.firewall=false");
    assert!(
        rules(&none, "fwd").is_empty() && rules(&none, "in").is_empty() && !firewall::is_wanted(&plan(&none))
    );
}

#[test]
fn what_instances_may_ask_the_host_is_as_the_reference_has_it() {
    assert_eq!(
        rules(BOTH, "in"),
        [
            "iifname \"ntx\" tcp dport 53 accept",
            "iifname \"ntx\" udp dport 53 accept",
            "iifname \"ntx\" icmp type { 3, 11, 12 } accept",
            "iifname \"ntx\" udp dport 67 accept",
            "iifname \"ntx\" icmpv6 type { 1, 2, 3, 4, 133, 135, 136, 143 } accept",
            "iifname \"ntx\" udp dport 547 accept",
        ]
    );
    assert_eq!(
        rules(BOTH, "out")[3..],
        [
            "oifname \"ntx\" udp sport 67 accept",
            "oifname \"ntx\" icmpv6 type { 1, 2, 3, 4, 128, 134, 135, 136, 143 } accept",
            "oifname \"ntx\" udp sport 547 accept",
        ]
    );
    assert_eq!(
        rules(&format!("{BOTH} ipv4.dhcp=false ipv6.dhcp=false"), "in").len(),
        2
    );
}
