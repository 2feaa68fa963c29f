//! Memory, of the host and of its NUMA nodes.

use std::collections::BTreeMap;
use std::path::Path;

use lxd_api::resources::{ResourcesMemory, ResourcesMemoryNode};

use super::sysfs::{Host, entries, text};

pub(super) fn read(host: &Host) -> ResourcesMemory {
    let values = meminfo(&host.path("proc/meminfo"));
    let bytes = |key: &str| values.get(key).copied().unwrap_or(0);
    let blocks = host.path("sys/devices/system/memory");
    let total = match installed(&blocks, &blocks) {
        0 => bytes("MemTotal"),
        installed => installed,
    };
    let page = bytes("Hugepagesize");
    ResourcesMemory {
        hugepages_size: page,
        hugepages_total: bytes("HugePages_Total") * page,
        hugepages_used: bytes("HugePages_Total").saturating_sub(bytes("HugePages_Free")) * page,
        nodes: nodes(host, page),
        total,
        used: total.saturating_sub(bytes("MemFree") + bytes("Buffers") + bytes("Cached")),
    }
}

fn nodes(host: &Host, page: u64) -> Vec<ResourcesMemoryNode> {
    let mut nodes = Vec::new();
    for (name, path) in entries(&host.path("sys/devices/system/node")) {
        let Some(numa_node) = name.strip_prefix("node").and_then(|id| id.parse().ok()) else {
            continue;
        };
        let values = meminfo(&path.join("meminfo"));
        let bytes = |key: &str| values.get(key).copied().unwrap_or(0);
        let total = match installed(&host.path("sys/devices/system/memory"), &path) {
            0 => bytes("MemTotal"),
            installed => installed,
        };
        nodes.push(ResourcesMemoryNode {
            hugepages_total: bytes("HugePages_Total") * page,
            hugepages_used: bytes("HugePages_Total").saturating_sub(bytes("HugePages_Free")) * page,
            numa_node,
            total,
            used: total.saturating_sub(bytes("MemFree")),
        });
    }
    nodes
}

/// Bytes of the blocks of memory that are in use, listed in a directory.
fn installed(all: &Path, listed: &Path) -> u64 {
    let size = u64::from_str_radix(&text(&all.join("block_size_bytes")), 16).unwrap_or(0);
    let is_block = |name: &str| {
        name.strip_prefix("memory")
            .is_some_and(|id| id.parse::<u64>().is_ok())
    };
    let blocks = entries(listed).into_iter().filter(|(name, path)| {
        // Where a block has no state of its own, it can't be taken away.
        is_block(name) && matches!(text(&path.join("online")).as_str(), "1" | "")
    });
    size * blocks.count() as u64
}

/// The values of a file such as `/proc/meminfo`; those in kB in bytes.
fn meminfo(path: &Path) -> BTreeMap<String, u64> {
    let text = text(path);
    let lines = text.lines().filter_map(|line| {
        let (key, value) = line.split_once(':')?;
        let mut words = value.split_whitespace();
        let number: u64 = words.next()?.parse().ok()?;
        let unit = if words.next() == Some("kB") { 1024 } else { 1 };
        Some((key.split_whitespace().last()?.to_owned(), number * unit))
    });
    lines.collect()
}
