//! Wire types: networks.

use std::collections::BTreeMap;

use crate::wire::{part_of, wire};

wire! {
    /// A network.
    pub struct Network {
        config: BTreeMap<String, String>,
        description: String,
        name: String,
        r#type: String,
        used_by: Vec<String>,
        managed: bool,
        status: String,
        locations: Vec<String>,
    }
}

wire! {
    /// A network lease.
    pub struct NetworkLease {
        hostname: String,
        hwaddr: String,
        address: String,
        r#type: String,
        location: String,
    }
}

wire! {
    /// What a POST to a network asks for.
    pub struct NetworkPost {
        name: String,
    }
}

wire! {
    /// What a PUT may change of a network.
    pub struct NetworkPut {
        config: BTreeMap<String, String>,
        description: String,
    }
}

wire! {
    /// Run-time state of a network.
    pub struct NetworkState {
        addresses: Vec<NetworkStateAddress>,
        counters: NetworkStateCounters,
        hwaddr: String,
        mtu: i64,
        state: String,
        r#type: String,
        bond: Option<NetworkStateBond>,
        bridge: Option<NetworkStateBridge>,
        vlan: Option<NetworkStateVLAN>,
        ovn: Option<NetworkStateOVN>,
    }
}

wire! {
    /// Run-time state of a network: address.
    pub struct NetworkStateAddress {
        family: String,
        address: String,
        netmask: String,
        scope: String,
    }
}

wire! {
    /// Run-time state of a network: bond.
    pub struct NetworkStateBond {
        mode: String,
        transmit_policy: String,
        up_delay: u64,
        down_delay: u64,
        mii_frequency: u64,
        mii_state: String,
        lower_devices: Vec<String>,
    }
}

wire! {
    /// Run-time state of a network: bridge.
    pub struct NetworkStateBridge {
        id: String,
        stp: bool,
        forward_delay: u64,
        vlan_default: u64,
        vlan_filtering: bool,
        upper_devices: Vec<String>,
    }
}

wire! {
    /// Run-time state of a network: counters.
    pub struct NetworkStateCounters {
        bytes_received: i64,
        bytes_sent: i64,
        packets_received: i64,
        packets_sent: i64,
    }
}

wire! {
    /// Run-time state of a network: ovn.
    pub struct NetworkStateOVN {
        chassis: String,
    }
}

wire! {
    /// Run-time state of a network: vlan.
    pub struct NetworkStateVLAN {
        lower_device: String,
        vid: u64,
    }
}

wire! {
    /// A new network, as a client asks for it.
    pub struct NetworksPost {
        config: BTreeMap<String, String>,
        description: String,
        name: String,
        r#type: String,
    }
}

part_of! { NetworkPut of Network: config, description }
