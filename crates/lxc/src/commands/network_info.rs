//! `lxc network info`: the state of a network as text.

use std::fmt::Write;

use lxd_api::networks::NetworkState;
use lxd_client::path;

use crate::context::Resource;
use crate::error::Result;
use crate::render::{bytes_decimal, print};

/// Prints the state of a network.
pub(super) async fn run(network: &Resource) -> Result<()> {
    let state: NetworkState = network
        .client
        .get(&path(&["networks", &network.name, "state"]))
        .await?;
    print(&text(&network.name, &state))
}

fn text(name: &str, state: &NetworkState) -> String {
    let mut out = format!(
        "Name: {name}\nMAC address: {}\nMTU: {}\nState: {}\nType: {}\n",
        state.hwaddr, state.mtu, state.state, state.r#type
    );
    if !state.addresses.is_empty() {
        out.push_str("\nIP addresses:\n");
        for address in &state.addresses {
            let _ = writeln!(
                out,
                "  {}\t{}/{} ({})",
                address.family, address.address, address.netmask, address.scope
            );
        }
    }
    let counters = &state.counters;
    let _ = write!(
        out,
        "\nNetwork usage:\n  Bytes received: {}\n  Bytes sent: {}\n  Packets received: {}\n  Packets sent: {}\n",
        bytes_decimal(counters.bytes_received, 2),
        bytes_decimal(counters.bytes_sent, 2),
        counters.packets_received,
        counters.packets_sent
    );
    if let Some(bond) = &state.bond {
        let _ = write!(
            out,
            "\nBond:\n  Mode: {}\n  Transmit policy: {}\n  Up delay: {}\n  Down delay: {}\n  MII Frequency: {}\n  MII state: {}\n  Lower devices: {}\n",
            bond.mode,
            bond.transmit_policy,
            bond.up_delay,
            bond.down_delay,
            bond.mii_frequency,
            bond.mii_state,
            bond.lower_devices.join(", ")
        );
    }
    if let Some(bridge) = &state.bridge {
        let _ = write!(
            out,
            "\nBridge:\n  ID: {}\n  STP: {}\n  Forward delay: {}\n  Default VLAN ID: {}\n  VLAN filtering: {}\n  Upper devices: {}\n",
            bridge.id,
            bridge.stp,
            bridge.forward_delay,
            bridge.vlan_default,
            bridge.vlan_filtering,
            bridge.upper_devices.join(", ")
        );
    }
    if let Some(vlan) = &state.vlan {
        let _ = write!(
            out,
            "\nVLAN:\n  Lower device: {}\n  VLAN ID: {}\n",
            vlan.lower_device, vlan.vid
        );
    }
    if let Some(ovn) = &state.ovn {
        let _ = write!(out, "\nOVN:\n  Chassis: {}\n", ovn.chassis);
    }
    out
}
