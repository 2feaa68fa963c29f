//! Real bridges, with dnsmasq answering a real client, each test in a network namespace of its own.

use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use lxd_sys::command::{Command, Process, System};
use lxd_sys::netlink::{self, Kind, NewLink, Socket};
use lxd_sys::nft;
use lxd_sys::system;

use crate::dnsmasq::{HostEntry, LeaseNic};
use crate::drivers::conformance;
use crate::nic::{self, Veth};
use crate::{Driver, Fill, Network, Networks, Settings, interfaces};

const MAC: &str = "00:16:3e:00:00:01";

/// A daemon's directory that dnsmasq's user may pass.
struct Root {
    directory: tempfile::TempDir,
    networks: Networks,
}

impl Root {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        std::fs::set_permissions(directory.path(), std::fs::Permissions::from_mode(0o711)).unwrap();
        let networks = Self::daemon(directory.path().to_owned());
        Self { directory, networks }
    }

    fn daemon(root: PathBuf) -> Networks {
        Networks::new(Settings {
            root,
            location: "none".into(),
            seed: "test".into(),
            debug: false,
        })
    }

    fn bridge(&self) -> std::sync::Arc<dyn Driver> {
        self.networks.driver("bridge").unwrap()
    }

    fn file(&self, network: &str, name: &str) -> PathBuf {
        self.directory.path().join("networks").join(network).join(name)
    }

    fn pid(&self, network: &str) -> i32 {
        let text = std::fs::read_to_string(self.file(network, "dnsmasq.pid")).unwrap();
        text.lines()
            .find_map(|line| line.strip_prefix("pid: "))
            .unwrap()
            .parse()
            .unwrap()
    }
}

/// Runs a test in a new network namespace. Whatever dnsmasq is left there is ended, also when the test fails.
fn in_namespace<F: Future<Output = ()>>(test: impl FnOnce(Root) -> F + Send) {
    let outcome = netlink::in_new_namespace(|| {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let root = Root::new();
        let directory = root.directory.path().to_owned();
        let up = netlink::LinkChange {
            up: Some(true),
            ..netlink::LinkChange::default()
        };
        Socket::open()
            .and_then(|mut socket| socket.change_link("lo", &up))
            .unwrap();
        let limited = async {
            tokio::time::timeout(std::time::Duration::from_secs(30), test(root))
                .await
                .expect("the test hangs")
        };
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| runtime.block_on(limited)));
        end_all(&directory);
        outcome
    });
    if let Err(panic) = outcome.unwrap() {
        std::panic::resume_unwind(panic);
    }
}

fn end_all(directory: &std::path::Path) {
    let marker = directory.display().to_string();
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        let line = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
        if line.starts_with(b"dnsmasq\0") && String::from_utf8_lossy(&line).contains(&marker) {
            let pid = entry.file_name().to_string_lossy().parse().unwrap();
            Process::adopt(pid).and_then(|process| process.kill()).unwrap();
        }
    }
}

fn network(name: &str, config: &str) -> Network {
    let pairs = config
        .split_whitespace()
        .map(|pair| pair.split_once('=').unwrap());
    let config = pairs
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .collect();
    Network {
        name: name.into(),
        config,
        ..Network::default()
    }
}

/// Whether a process runs; one that nobody has reaped yet does not.
fn is_alive(pid: i32) -> bool {
    Process::adopt(pid).is_ok_and(|process| !process.has_ended())
}

/// Until a condition holds; the test's own time limit ends a wait in vain.
async fn until(mut condition: impl FnMut() -> bool) {
    while !condition() {
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
}

async fn rules() -> String {
    Command::new("nft")
        .args(["-nn", "list", "ruleset"])
        .output()
        .await
        .unwrap()
        .text()
}

/// An instance's namespace with one card on the bridge.
async fn guest(bridge: &str) -> OwnedFd {
    let netns = netlink::new_namespace().unwrap();
    let veth = Veth {
        host_name: nic::random_name(),
        name: "eth0".into(),
        hwaddr: MAC.into(),
        parent: Some(bridge.into()),
        ..Veth::default()
    };
    nic::attach(veth, netns.try_clone().unwrap()).await.unwrap();
    let up = netlink::LinkChange {
        up: Some(true),
        ..netlink::LinkChange::default()
    };
    Socket::open_in(std::os::fd::AsFd::as_fd(&netns))
        .unwrap()
        .change_link("eth0", &up)
        .unwrap();
    netns
}

/// Asks for an address as a container's DHCP client does; gives what it said.
async fn ask_for_address(netns: &OwnedFd) -> String {
    let client = Command::new("busybox")
        .args([
            "udhcpc",
            "-i",
            "eth0",
            "-n",
            "-q",
            "-f",
            "-t",
            "5",
            "-T",
            "1",
            "-s",
            "/bin/true",
            "-x",
            "hostname:foo",
        ])
        .namespace(netns.try_clone().unwrap())
        .output()
        .await
        .unwrap();
    String::from_utf8_lossy(&client.stderr).into_owned() + &client.text()
}

#[test]
fn a_bridge_behaves_as_a_driver() {
    in_namespace(|root| async move {
        let change = [
            ("ipv4.address".to_owned(), "10.77.1.1/24".to_owned()),
            ("bridge.mtu".into(), "1400".into()),
        ];
        conformance::run(root.bridge().as_ref(), "lxtbr0", "lxtbr1", change.into()).await;
        assert_eq!(
            std::fs::read_dir(root.directory.path().join("networks"))
                .unwrap()
                .count(),
            0
        );
        assert!(
            nft::chains(&System, nft::Family::Inet, "lxd")
                .await
                .unwrap()
                .is_empty()
        );
    });
}

#[test]
fn creation_makes_what_the_reference_makes() {
    in_namespace(|root| async move {
        let bridge = root.bridge();
        let config = "ipv4.address=10.1.1.1/24 ipv4.nat=true ipv6.address=fd42:1::1/64 ipv6.nat=true ipv4.routes=10.7.0.0/16";
        let net = network("lxtbr0", config);
        bridge.create(&net).await.unwrap();
        let state = interfaces::state("lxtbr0").await.unwrap();
        let addresses: Vec<String> = state
            .addresses
            .iter()
            .map(|a| format!("{}/{} {}", a.address, a.netmask, a.scope))
            .collect();
        assert_eq!(addresses[..2], ["10.1.1.1/24 global", "fd42:1::1/64 global"]);
        assert_eq!(
            (state.mtu, state.state.as_str(), state.r#type.as_str()),
            (1500, "up", "broadcast")
        );
        assert_eq!(
            state.bridge.unwrap().id,
            format!("8000.{}", state.hwaddr.replace(':', ""))
        );
        for (name, value) in [
            ("accept_dad", "0"),
            ("autoconf", "0"),
            ("disable_ipv6", "0"),
            ("forwarding", "1"),
            ("accept_ra", "2"),
        ] {
            assert_eq!(
                system::sysctl(&format!("net/ipv6/conf/lxtbr0/{name}")).unwrap(),
                value,
                "{name}"
            );
        }
        assert_eq!(system::sysctl("net/ipv4/ip_forward").unwrap(), "1");
        let routes = netlink::run(Socket::routes).await.unwrap();
        assert!(
            routes
                .iter()
                .any(|r| r.destination.to_string() == "10.7.0.0" && r.protocol == 4)
        );
        let rules = rules().await;
        for line in [
            "ip saddr 10.1.1.0/24 ip daddr != 10.1.1.0/24 masquerade",
            "ip6 version 6 iifname \"lxtbr0\" accept",
            "type nat hook postrouting priority 100; policy accept;",
            "oifname \"lxtbr0\" icmpv6 type { 1, 2, 3, 4, 128, 134, 135, 136, 143 } accept",
        ] {
            assert!(rules.contains(line), "{line} is missing in {rules}");
        }
        let first = root.pid("lxtbr0");
        let mut described = net.clone();
        described.config.insert("user.x".into(), "y".into());
        described.config.insert("ipv4.nat".into(), "false".into());
        bridge.update(&net, &described).await.unwrap();
        assert_eq!(
            root.pid("lxtbr0"),
            first,
            "dnsmasq is left alone by what is no matter to it"
        );
        let none = network("lxtbr0", "ipv4.address=none ipv6.address=none");
        bridge.update(&described, &none).await.unwrap();
        assert!(!root.file("lxtbr0", "dnsmasq.pid").exists() && !is_alive(first));
        assert_eq!(
            nft::chains(&System, nft::Family::Inet, "lxd").await.unwrap(),
            [""; 0]
        );
        assert_eq!(system::sysctl("net/ipv6/conf/lxtbr0/disable_ipv6").unwrap(), "1");
        bridge.delete(&none).await.unwrap();
    });
}

#[test]
fn a_client_gets_its_fixed_address_and_gives_it_back() {
    in_namespace(|root| async move {
        let bridge = root.bridge();
        let net = network("lxtbr0", "ipv4.address=10.1.1.1/24 ipv6.address=none");
        bridge.create(&net).await.unwrap();
        let netns = guest("lxtbr0").await;
        let said = ask_for_address(&netns).await;
        assert!(said.contains("lease of 10.1.1."), "{said}");
        let file = root.file("lxtbr0", "dnsmasq.leases");
        until(|| std::fs::read_to_string(&file).unwrap().contains(MAC)).await;
        let nics = [LeaseNic {
            instance: "c1".into(),
            hwaddr: MAC.into(),
            ..LeaseNic::default()
        }];
        let leases = bridge.leases(&net, &nics, true).await.unwrap();
        let kinds: Vec<&str> = leases.iter().map(|lease| lease.r#type.as_str()).collect();
        assert_eq!(kinds, ["gateway", "dynamic"]);
        assert_eq!(leases[1].hostname, "foo");
        assert!(
            bridge.leases(&net, &[], false).await.unwrap().is_empty(),
            "others' leases are not shown"
        );

        let entry = HostEntry {
            instance: "c1".into(),
            device: "eth0".into(),
            hwaddr: MAC.into(),
            ipv4: Some("10.1.1.200".parse().unwrap()),
            ..HostEntry::default()
        };
        bridge.remove_host(&net, &entry).await.unwrap();
        until(|| !std::fs::read_to_string(&file).unwrap().contains(MAC)).await;
        bridge
            .add_hosts(&net, std::slice::from_ref(&entry))
            .await
            .unwrap();
        let said = ask_for_address(&netns).await;
        assert!(said.contains("lease of 10.1.1.200 obtained"), "{said}");
        let name = Command::new("busybox")
            .args(["nslookup", "c1.lxd", "10.1.1.1"])
            .output()
            .await
            .unwrap()
            .text();
        assert!(
            name.contains("10.1.1.200"),
            "the network's DNS knows the instance: {name}"
        );
        bridge.remove_host(&net, &entry).await.unwrap();
        until(|| !std::fs::read_to_string(&file).unwrap().contains(MAC)).await;
        assert!(!root.file("lxtbr0", "dnsmasq.hosts/c1.eth0").exists());
        bridge.delete(&net).await.unwrap();
    });
}

/// Asks for an IPv6 address in one round (RFC 8415 section 18.2.1, with rapid commit), as a client that shows its hardware
/// address does.
fn ask_for_ipv6_address(netns: &OwnedFd) -> Vec<u8> {
    let ask = || {
        let socket = std::net::UdpSocket::bind("[::]:546").unwrap();
        socket
            .set_read_timeout(Some(std::time::Duration::from_secs(10)))
            .unwrap();
        let mac: netlink::Mac = MAC.parse().unwrap();
        let mut solicit = vec![1, 0, 0, 1, 0, 1, 0, 10, 0, 3, 0, 1];
        solicit.extend(mac.0);
        solicit.extend([
            0, 14, 0, 0, 0, 8, 0, 2, 0, 0, 0, 3, 0, 12, 0, 0, 0, 5, 0, 0, 0, 0, 0, 0, 0, 0,
        ]);
        let index = Socket::open().unwrap().index("eth0").unwrap();
        let servers = std::net::SocketAddrV6::new("ff02::1:2".parse().unwrap(), 547, 0, index);
        // Links tell each other that they are up in their own time, and only then there is an address to send from.
        while socket.send_to(&solicit, servers).is_err() {
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        let mut answer = vec![0; 1500];
        let length = socket.recv(&mut answer).unwrap();
        answer.truncate(length);
        answer
    };
    netlink::in_namespace(std::os::fd::AsFd::as_fd(netns), ask).unwrap()
}

#[test]
fn an_ipv6_lease_is_given_back() {
    in_namespace(|root| async move {
        let bridge = root.bridge();
        let net = network("lxtbr0", "ipv6.address=fd42:1::1/64 ipv6.dhcp.stateful=true");
        bridge.create(&net).await.unwrap();
        let netns = guest("lxtbr0").await;
        let asked = tokio::task::spawn_blocking(move || ask_for_ipv6_address(&netns))
            .await
            .unwrap();
        assert_eq!(asked[0], 7, "a REPLY");
        let file = root.file("lxtbr0", "dnsmasq.leases");
        until(|| std::fs::read_to_string(&file).unwrap().contains(MAC)).await;
        let nics = [LeaseNic {
            instance: "c1".into(),
            hwaddr: MAC.into(),
            ..LeaseNic::default()
        }];
        let leases = bridge.leases(&net, &nics, false).await.unwrap();
        assert_eq!(leases.len(), 1, "{leases:?}");
        assert!(
            leases[0].address.starts_with("fd42:1::") && leases[0].r#type == "dynamic",
            "{leases:?}"
        );
        let entry = HostEntry {
            instance: "c1".into(),
            device: "eth0".into(),
            hwaddr: MAC.into(),
            ..HostEntry::default()
        };
        bridge.remove_host(&net, &entry).await.unwrap();
        until(|| !std::fs::read_to_string(&file).unwrap().contains(MAC)).await;
        bridge.delete(&net).await.unwrap();
    });
}

#[test]
fn dnsmasq_is_adopted_and_started_again() {
    in_namespace(|root| async move {
        let net = network("lxtbr0", "ipv4.address=10.1.1.1/24 ipv6.address=none");
        root.bridge().create(&net).await.unwrap();
        let first = root.pid("lxtbr0");
        let Root { directory, networks } = root;
        drop(networks);
        let root = Root {
            networks: Root::daemon(directory.path().to_owned()),
            directory,
        };
        let bridge = root.bridge();
        bridge.start(&net).await.unwrap();
        assert_eq!(root.pid("lxtbr0"), first, "the next daemon leaves it running");
        Process::adopt(first).unwrap().kill().unwrap();
        until(|| root.pid("lxtbr0") != first).await;
        let second = root.pid("lxtbr0");
        assert!(is_alive(second));
        let mut changed = net.clone();
        changed.config.insert("raw.dnsmasq".into(), "cache-size=7".into());
        bridge.update(&net, &changed).await.unwrap();
        let third = root.pid("lxtbr0");
        assert_ne!(third, second, "another configuration, another process");
        bridge.stop(&changed).await.unwrap();
        assert!(!is_alive(third) && !root.file("lxtbr0", "dnsmasq.pid").exists());
    });
}

#[test]
fn a_failure_is_told_and_undone() {
    in_namespace(|root| async move {
        let bridge = root.bridge();
        let mut bad = network("lxtbr0", "ipv4.address=10.1.1.1/24 ipv6.address=none");
        let good = bad.clone();
        bad.config.insert("raw.dnsmasq".into(), "maybe".into());
        let expected = format!(
            "The DNS and DHCP service exited prematurely: Process exited with non-zero value 1 (\"dnsmasq: bad option at line 1 of {}\")",
            root.file("lxtbr0", "dnsmasq.raw").display()
        );
        assert_eq!(bridge.create(&bad).await.unwrap_err().to_string(), expected);
        assert!(!root.file("lxtbr0", "").exists());
        assert!(interfaces::get("lxtbr0").await.is_err() && !rules().await.contains("lxtbr0"));
        bridge.create(&good).await.unwrap();
        bad.config.insert("ipv4.nat".into(), "true".into());
        assert_eq!(
            bridge.update(&good, &bad).await.unwrap_err().to_string(),
            expected
        );
        assert!(is_alive(root.pid("lxtbr0")), "the old configuration runs again");
        assert!(!rules().await.contains("masquerade"));
        bridge.delete(&good).await.unwrap();
    });
}

#[test]
fn only_free_networks_and_names_are_taken() {
    in_namespace(|root| async move {
        let bridge = root.bridge();
        assert_eq!(
            bridge.create(&network("lo", "")).await.unwrap_err().to_string(),
            "Network interface \"lo\" already exists"
        );
        netlink::run(|s| {
            s.add_link(&NewLink {
                up: true,
                ..NewLink::new("lxtbr9", Kind::Bridge)
            })?;
            s.add_address("lxtbr9", "10.0.0.1".parse().unwrap(), 8)
        })
        .await
        .unwrap();
        let error = bridge
            .fill(network("lxtbr0", ""), Fill::Create)
            .await
            .unwrap_err();
        assert!(error.to_string().contains("unused IPv4 subnet"), "{error}");
        let filled = bridge
            .fill(network("lxtbr0", "ipv4.address=none"), Fill::Create)
            .await
            .unwrap();
        assert!(filled.get("ipv6.address").starts_with("fd42:"));
        let ports = network(
            "lxtbr0",
            "ipv4.address=none ipv6.address=none bridge.external_interfaces=nope,lxtbr9",
        );
        assert_eq!(
            bridge.create(&ports).await.unwrap_err().to_string(),
            "Only unconfigured network interfaces can be bridged"
        );
    });
}

#[test]
fn other_interfaces_are_listed_by_type() {
    in_namespace(|_root| async move {
        netlink::run(|s| {
            let pair = |name, peer| {
                NewLink::new(
                    name,
                    Kind::Veth(netlink::Peer {
                        name: peer,
                        mac: None,
                        mtu: None,
                        netns: None,
                    }),
                )
            };
            s.add_link(&NewLink::new("lxtbr9", Kind::Bridge))?;
            s.add_link(&NewLink {
                master: Some("lxtbr9"),
                ..pair("veth9", "lxtp9")
            })
        })
        .await
        .unwrap();
        let list = interfaces::list().await.unwrap();
        let names: Vec<(&str, &str)> = list.iter().map(|i| (i.name.as_str(), i.kind)).collect();
        assert!(
            names.starts_with(&[("lo", "loopback")])
                && names.contains(&("lxtbr9", "bridge"))
                && names.contains(&("lxtp9", "unknown")),
            "{names:?}"
        );
        assert!(!names.iter().any(|(name, _)| name.starts_with("veth")));
        assert!(interfaces::get("veth9").await.is_err());
        assert_eq!(
            interfaces::state("lxtbr9")
                .await
                .unwrap()
                .bridge
                .unwrap()
                .upper_devices,
            ["veth9"]
        );
        let lo = interfaces::state("lo").await.unwrap();
        assert_eq!(
            (lo.hwaddr.as_str(), lo.r#type.as_str(), lo.mtu, lo.state.as_str()),
            ("", "loopback", 65536, "up")
        );
        let error = interfaces::state("nope").await.unwrap_err();
        assert_eq!(error.to_string(), "Network interface \"nope\" not found");
    });
}
