//! Reads counters and addresses of a running container, without a process.

use std::collections::BTreeMap;
use std::fs::File;
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;

use lxd_api::instance_state::{
    InstanceStateMemory, InstanceStateNetwork, InstanceStateNetworkAddress, InstanceStateNetworkCounters,
};
use lxd_sys::netlink::{self, Address, Link, Socket};
use lxd_sys::process;

use super::guest::Container;
use crate::devices::nic;
use crate::drivers::Guest;
use crate::error::Error;
use crate::instance::Instance;
use crate::lifecycle::Phase;
use crate::state::State;

const IFF_POINTOPOINT: u32 = 0x10;
const IFF_BROADCAST: u32 = 0x2;

pub(super) fn read(container: &Container, instance: &Instance) -> Result<State, Error> {
    let pid = container.pid();
    let usage = container.group.usage();
    let signed = |number: Option<u64>| number.map_or(0, |n| i64::try_from(n).unwrap_or(i64::MAX));
    let memory = InstanceStateMemory {
        usage: signed(usage.memory),
        usage_peak: signed(usage.memory_peak),
        swap_usage: signed(usage.swap),
        swap_usage_peak: signed(usage.swap_peak),
    };
    let processes = match usage.processes {
        Some(count) => signed(Some(count)),
        None => container
            .group
            .processes()
            .map_or(0, |all| i64::try_from(all.len()).unwrap_or(i64::MAX)),
    };
    Ok(State {
        phase: Phase::Running,
        pid,
        processes,
        cpu_usage: signed(usage.cpu),
        memory,
        network: network(container, instance, pid)?,
    })
}

fn network(
    container: &Container,
    instance: &Instance,
    pid: i32,
) -> Result<BTreeMap<String, InstanceStateNetwork>, Error> {
    let namespace = match process::namespace(pid, "net") {
        // It has just ended, and its cards with it.
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(BTreeMap::new()),
        found => found.map_err(|source| Error::Process {
            action: "enter the network namespace of",
            key: container.key.clone(),
            source,
        })?,
    };
    // A container that is still being made, and was taken over, has the host's.
    if is_own(&namespace) {
        return Ok(BTreeMap::new());
    }
    let tables = || -> Result<(Vec<Link>, Vec<Address>), netlink::Error> {
        let mut socket = Socket::open_in(namespace.as_fd())?;
        Ok((socket.links()?, socket.addresses()?))
    };
    let (links, addresses) = tables().map_err(|source| Error::Netlink {
        key: container.key.clone(),
        source,
    })?;
    let names = nic::names(instance);
    let cards = links.iter().map(|link| {
        let device = names
            .iter()
            .find(|(_, name)| *name == link.name)
            .map(|(device, _)| device);
        let host_name = device.and_then(|device| {
            let given = instance.devices.get(device)?.get("host_name").map(String::as_str);
            given.or_else(|| instance.volatile(device, "host_name"))
        });
        (
            link.name.clone(),
            card(link, &addresses, host_name.unwrap_or_default()),
        )
    });
    Ok(cards.collect())
}

/// Whether a network namespace is this process's own.
fn is_own(namespace: &File) -> bool {
    let inode =
        |file: std::io::Result<File>| file.and_then(|file| file.metadata()).map(|file| file.ino()).ok();
    inode(namespace.try_clone()) == inode(File::open("/proc/self/ns/net"))
}

fn card(link: &Link, addresses: &[Address], host_name: &str) -> InstanceStateNetwork {
    let addresses = addresses.iter().filter(|address| address.index == link.index);
    let signed = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
    let stats = &link.stats;
    InstanceStateNetwork {
        addresses: addresses.map(address).collect(),
        counters: InstanceStateNetworkCounters {
            bytes_received: signed(stats.rx_bytes),
            bytes_sent: signed(stats.tx_bytes),
            packets_received: signed(stats.rx_packets),
            packets_sent: signed(stats.tx_packets),
            errors_received: signed(stats.rx_errors),
            errors_sent: signed(stats.tx_errors),
            packets_dropped_outbound: signed(stats.tx_dropped),
            packets_dropped_inbound: signed(stats.rx_dropped),
        },
        hwaddr: if link.is_loopback() {
            String::new()
        } else {
            link.mac()
        },
        host_name: host_name.to_owned(),
        mtu: i64::from(link.mtu),
        state: if link.is_up() { "up" } else { "down" }.to_owned(),
        r#type: kind(link).to_owned(),
    }
}

fn kind(link: &Link) -> &'static str {
    match link.flags {
        _ if link.is_loopback() => "loopback",
        flags if flags & IFF_BROADCAST != 0 => "broadcast",
        flags if flags & IFF_POINTOPOINT != 0 => "point-to-point",
        _ => "unknown",
    }
}

fn address(address: &Address) -> InstanceStateNetworkAddress {
    InstanceStateNetworkAddress {
        family: if address.address.is_ipv4() {
            "inet"
        } else {
            "inet6"
        }
        .to_owned(),
        address: address.address.to_string(),
        netmask: address.prefix.to_string(),
        scope: address.scope.to_owned(),
    }
}
