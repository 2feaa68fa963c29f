//! Wire types: state of instances.

use std::collections::BTreeMap;

use crate::wire::wire;

wire! {
    /// An instance state.
    pub struct InstanceState {
        status: String,
        status_code: u16,
        disk: BTreeMap<String, InstanceStateDisk>,
        memory: InstanceStateMemory,
        #[serde(serialize_with = "crate::wire::null_when_empty")]
        network: BTreeMap<String, InstanceStateNetwork>,
        pid: i64,
        processes: i64,
        cpu: InstanceStateCPU,
    }
}

wire! {
    /// Run-time state of an instance: CPU.
    pub struct InstanceStateCPU {
        usage: i64,
    }
}

wire! {
    /// Run-time state of an instance: disk.
    pub struct InstanceStateDisk {
        usage: i64,
    }
}

wire! {
    /// Run-time state of an instance: memory.
    pub struct InstanceStateMemory {
        usage: i64,
        usage_peak: i64,
        swap_usage: i64,
        swap_usage_peak: i64,
    }
}

wire! {
    /// Run-time state of an instance: network.
    pub struct InstanceStateNetwork {
        addresses: Vec<InstanceStateNetworkAddress>,
        counters: InstanceStateNetworkCounters,
        hwaddr: String,
        host_name: String,
        mtu: i64,
        state: String,
        r#type: String,
    }
}

wire! {
    /// Run-time state of an instance: network address.
    pub struct InstanceStateNetworkAddress {
        family: String,
        address: String,
        netmask: String,
        scope: String,
    }
}

wire! {
    /// Run-time state of an instance: network counters.
    pub struct InstanceStateNetworkCounters {
        bytes_received: i64,
        bytes_sent: i64,
        packets_received: i64,
        packets_sent: i64,
        errors_received: i64,
        errors_sent: i64,
        packets_dropped_outbound: i64,
        packets_dropped_inbound: i64,
    }
}

wire! {
    /// A state change of one instance.
    pub struct InstanceStatePut {
        action: String,
        force: bool,
        stateful: bool,
        timeout: i64,
    }
}
