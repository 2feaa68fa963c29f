//! `lxc info --resources`: the server's hardware.

use lxd_api::resources::{
    Resources, ResourcesCPU, ResourcesCPUSocket, ResourcesGPUCard, ResourcesMemory, ResourcesNetworkCard,
    ResourcesNetworkCardPort, ResourcesStorageDisk,
};
use lxd_client::{Client, path};

use crate::error::Result;
use crate::render::{bytes_binary, print};

/// Text that grows by lines, each indented.
#[derive(Default)]
struct Lines(String);

/// Prints the hardware of a server.
pub(super) async fn show(client: &Client) -> Result<()> {
    let resources: Resources = client.get(&path(&["resources"])).await?;
    print(&text(&resources))
}

fn text(resources: &Resources) -> String {
    let mut lines = Lines::default();
    processors(&mut lines, &resources.cpu);
    memory(&mut lines, &resources.memory);
    each(&mut lines, "GPU", &resources.gpu.cards, gpu);
    each(&mut lines, "NIC", &resources.network.cards, network_card);
    each(&mut lines, "Disk", &resources.storage.disks, disk);
    lines.0
}

impl Lines {
    fn put(&mut self, depth: usize, text: &str) {
        self.0.push_str(&format!("{}{text}\n", "  ".repeat(depth)));
    }

    /// A titled value, unless it is empty.
    fn value(&mut self, depth: usize, title: &str, value: &str) {
        if !value.is_empty() {
            self.put(depth, &format!("{title}: {value}"));
        }
    }
}

/// One thing right below its title, several with numbers.
fn each<T>(lines: &mut Lines, title: &str, things: &[T], show: fn(&mut Lines, usize, &T)) {
    match things {
        [] => {}
        [only] => {
            lines.put(0, &format!("\n{title}:"));
            show(lines, 1, only);
        }
        many => {
            lines.put(0, &format!("\n{title}s:"));
            for (at, thing) in many.iter().enumerate() {
                lines.put(1, &format!("{title} {at}:"));
                show(lines, 2, thing);
            }
        }
    }
}

fn processors(lines: &mut Lines, cpu: &ResourcesCPU) {
    match cpu.sockets.as_slice() {
        [] => {}
        [only] => {
            lines.put(0, &format!("CPU ({}):", cpu.architecture));
            socket(lines, 1, only);
        }
        many => {
            lines.put(0, &format!("CPUs ({}):", cpu.architecture));
            for each in many {
                lines.put(1, &format!("Socket {}:", each.socket));
                socket(lines, 2, each);
            }
        }
    }
}

fn socket(lines: &mut Lines, depth: usize, socket: &ResourcesCPUSocket) {
    lines.value(depth, "Vendor", &socket.vendor);
    lines.value(depth, "Name", &socket.name);
    if !socket.cache.is_empty() {
        lines.put(depth, "Caches:");
        for cache in &socket.cache {
            let size = bytes_binary(signed(cache.size), 0);
            lines.put(
                depth + 1,
                &format!("- Level {} (type: {}): {size}", cache.level, cache.r#type),
            );
        }
    }
    lines.put(depth, "Cores:");
    for core in &socket.cores {
        lines.put(depth + 1, &format!("- Core {}", core.core));
        lines.put(depth + 2, &format!("Frequency: {}Mhz", core.frequency));
        lines.put(depth + 2, "Threads:");
        for thread in &core.threads {
            let (number, id, online, node) = (thread.thread, thread.id, thread.online, thread.numa_node);
            lines.put(
                depth + 3,
                &format!("- {number} (id: {id}, online: {online}, NUMA node: {node})"),
            );
        }
    }
    if socket.frequency > 0 {
        let (now, least, most) = (socket.frequency, socket.frequency_minimum, socket.frequency_turbo);
        let range = if most > 0 && least > 0 {
            format!(" (min: {least}Mhz, max: {most}Mhz)")
        } else {
            String::new()
        };
        lines.put(depth, &format!("Frequency: {now}Mhz{range}"));
    }
}

fn memory(lines: &mut Lines, memory: &ResourcesMemory) {
    lines.put(0, "\nMemory:");
    let amounts = |lines: &mut Lines, depth: usize, used: u64, total: u64| {
        for (title, bytes) in [
            ("Free", total.saturating_sub(used)),
            ("Used", used),
            ("Total", total),
        ] {
            lines.put(depth, &format!("{title}: {}", bytes_binary(signed(bytes), 2)));
        }
    };
    if memory.hugepages_total > 0 {
        lines.put(1, "Hugepages:");
        amounts(lines, 2, memory.hugepages_used, memory.hugepages_total);
    }
    if memory.nodes.len() > 1 {
        lines.put(1, "NUMA nodes:");
        for node in &memory.nodes {
            lines.put(2, &format!("Node {}:", node.numa_node));
            if node.hugepages_total > 0 {
                lines.put(3, "Hugepages:");
                amounts(lines, 4, node.hugepages_used, node.hugepages_total);
            }
            amounts(lines, 3, node.used, node.total);
        }
    }
    amounts(lines, 1, memory.used, memory.total);
}

/// What was made by whom, as in `Vendor: Intel Corporation (8086)`.
fn maker(lines: &mut Lines, depth: usize, title: &str, name: &str, id: &str) {
    if !name.is_empty() {
        lines.put(depth, &format!("{title}: {name} ({id})"));
    }
}

fn gpu(lines: &mut Lines, depth: usize, card: &ResourcesGPUCard) {
    lines.put(depth, &format!("NUMA node: {}", card.numa_node));
    maker(lines, depth, "Vendor", &card.vendor, &card.vendor_id);
    maker(lines, depth, "Product", &card.product, &card.product_id);
    lines.value(depth, "PCI address", &card.pci_address);
    maker(lines, depth, "Driver", &card.driver, &card.driver_version);
    if let Some(drm) = &card.drm {
        lines.put(depth, "DRM:");
        lines.put(depth + 1, &format!("ID: {}", drm.id));
        for (title, name, device) in [
            ("Card", &drm.card_name, &drm.card_device),
            ("Control", &drm.control_name, &drm.control_device),
            ("Render", &drm.render_name, &drm.render_device),
        ] {
            maker(lines, depth + 1, title, name, device);
        }
    }
}

fn network_card(lines: &mut Lines, depth: usize, card: &ResourcesNetworkCard) {
    lines.put(depth, &format!("NUMA node: {}", card.numa_node));
    maker(lines, depth, "Vendor", &card.vendor, &card.vendor_id);
    maker(lines, depth, "Product", &card.product, &card.product_id);
    lines.value(depth, "PCI address", &card.pci_address);
    maker(lines, depth, "Driver", &card.driver, &card.driver_version);
    if !card.ports.is_empty() {
        lines.put(depth, "Ports:");
        card.ports.iter().for_each(|each| port(lines, depth + 1, each));
    }
    if let Some(sriov) = &card.sriov {
        lines.put(depth, "SR-IOV information:");
        lines.put(
            depth + 1,
            &format!("Current number of VFs: {}", sriov.current_vfs),
        );
        lines.put(
            depth + 1,
            &format!("Maximum number of VFs: {}", sriov.maximum_vfs),
        );
    }
}

fn port(lines: &mut Lines, depth: usize, port: &ResourcesNetworkCardPort) {
    lines.put(depth, &format!("- Port {} ({})", port.port, port.protocol));
    lines.value(depth + 1, "ID", &port.id);
    lines.value(depth + 1, "Address", &port.address);
    lines.value(depth + 1, "Supported modes", &port.supported_modes.join(", "));
    lines.value(depth + 1, "Supported ports", &port.supported_ports.join(", "));
    lines.value(depth + 1, "Port type", &port.port_type);
    lines.value(depth + 1, "Transceiver type", &port.transceiver_type);
    lines.put(depth + 1, &format!("Auto negotiation: {}", port.auto_negotiation));
    lines.put(depth + 1, &format!("Link detected: {}", port.link_detected));
    if port.link_speed > 0 {
        let duplex = if port.link_duplex.is_empty() {
            "unknown"
        } else {
            &port.link_duplex
        };
        lines.put(
            depth + 1,
            &format!("Link speed: {}Mbit/s ({duplex} duplex)", port.link_speed),
        );
    }
}

fn disk(lines: &mut Lines, depth: usize, disk: &ResourcesStorageDisk) {
    lines.put(depth, &format!("NUMA node: {}", disk.numa_node));
    for (title, value) in [
        ("ID", &disk.id),
        ("Device", &disk.device),
        ("Model", &disk.model),
        ("Type", &disk.r#type),
    ] {
        lines.value(depth, title, value);
    }
    lines.put(depth, &format!("Size: {}", bytes_binary(signed(disk.size), 2)));
    lines.value(depth, "WWN", &disk.wwn);
    lines.put(depth, &format!("Read-Only: {}", disk.read_only));
    lines.put(depth, &format!("Removable: {}", disk.removable));
    if !disk.partitions.is_empty() {
        lines.put(depth, "Partitions:");
        for partition in &disk.partitions {
            lines.put(depth + 1, &format!("- Partition {}", partition.partition));
            lines.value(depth + 2, "ID", &partition.id);
            lines.value(depth + 2, "Device", &partition.device);
            lines.put(depth + 2, &format!("Read-Only: {}", partition.read_only));
            lines.put(
                depth + 2,
                &format!("Size: {}", bytes_binary(signed(partition.size), 2)),
            );
        }
    }
}

fn signed(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}
