//! Processors: sockets, cores, threads, caches, frequencies.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use lxd_api::resources::{
    ResourcesCPU, ResourcesCPUCache, ResourcesCPUCore, ResourcesCPUSocket, ResourcesCPUThread,
};

use super::sysfs::{Host, entries, number, text};

pub(super) fn read(host: &Host) -> ResourcesCPU {
    let names = names(host);
    let isolated = list(&text(&host.path("sys/devices/system/cpu/isolated")));
    let mut sockets: BTreeMap<u64, Vec<(ResourcesCPUCore, std::path::PathBuf)>> = BTreeMap::new();
    let mut total = 0;
    for (name, path) in entries(&host.path("sys/devices/system/cpu")) {
        let Some(id) = name.strip_prefix("cpu").and_then(|id| id.parse::<u64>().ok()) else {
            continue;
        };
        let topology = path.join("topology");
        if !topology.exists() {
            continue;
        }
        total += 1;
        let cores = sockets
            .entry(number(&topology.join("physical_package_id")))
            .or_default();
        let (core, die) = (
            number(&topology.join("core_id")),
            number(&topology.join("die_id")),
        );
        let known = cores
            .iter()
            .position(|(known, _)| known.core == core && known.die == die);
        let at = known.unwrap_or_else(|| {
            let frequency = number(&path.join("cpufreq/scaling_cur_freq")) / 1000;
            let new = ResourcesCPUCore {
                core,
                die,
                frequency,
                ..ResourcesCPUCore::default()
            };
            cores.push((new, path.clone()));
            cores.len() - 1
        });
        let threads = &mut cores[at].0.threads;
        threads.push(ResourcesCPUThread {
            id: i64::try_from(id).unwrap_or(0),
            isolated: isolated.contains(&id),
            numa_node: numa_node(&path),
            online: !path.join("online").exists() || number(&path.join("online")) == 1,
            thread: threads.len() as u64,
        });
    }
    let sockets = sockets.into_iter().map(|(socket, cores)| {
        let first = cores.first().map(|(_, path)| path.clone()).unwrap_or_default();
        let (vendor, name) = names.get(&socket).cloned().unwrap_or_default();
        let cores: Vec<ResourcesCPUCore> = cores.into_iter().map(|(core, _)| core).collect();
        ResourcesCPUSocket {
            cache: caches(&first),
            frequency: average(&cores),
            frequency_minimum: number(&first.join("cpufreq/cpuinfo_min_freq")) / 1000,
            frequency_turbo: number(&first.join("cpufreq/cpuinfo_max_freq")) / 1000,
            cores,
            name,
            socket,
            vendor,
        }
    });
    ResourcesCPU {
        architecture: lxd_sys::system::kernel().architecture,
        sockets: sockets.collect(),
        total,
    }
}

fn average(cores: &[ResourcesCPUCore]) -> u64 {
    let known: Vec<u64> = cores
        .iter()
        .map(|core| core.frequency)
        .filter(|mhz| *mhz > 0)
        .collect();
    known
        .iter()
        .sum::<u64>()
        .checked_div(known.len() as u64)
        .unwrap_or(0)
}

fn numa_node(cpu: &Path) -> u64 {
    let nodes = entries(cpu);
    let node = nodes
        .iter()
        .find_map(|(name, _)| name.strip_prefix("node")?.parse().ok());
    node.unwrap_or(0)
}

fn caches(cpu: &Path) -> Vec<ResourcesCPUCache> {
    let indexes = entries(&cpu.join("cache"));
    let indexes = indexes.iter().filter(|(name, _)| name.starts_with("index"));
    indexes
        .map(|(_, path)| ResourcesCPUCache {
            level: number(&path.join("level")),
            size: kilobytes(&text(&path.join("size"))),
            r#type: text(&path.join("type")),
        })
        .collect()
}

/// Bytes of `512K`.
fn kilobytes(text: &str) -> u64 {
    text.trim_end_matches('K').parse::<u64>().unwrap_or(0) * 1024
}

/// The numbers of `0-2,5`.
fn list(text: &str) -> BTreeSet<u64> {
    let ranges = text.split(',').filter_map(|range| {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        Some(first.trim().parse::<u64>().ok()?..=last.trim().parse::<u64>().ok()?)
    });
    ranges.flatten().collect()
}

/// Vendor and model by socket.
fn names(host: &Host) -> BTreeMap<u64, (String, String)> {
    let mut names = BTreeMap::new();
    for block in text(&host.path("proc/cpuinfo")).split("\n\n") {
        let value = |key: &str| {
            let mut lines = block.lines().filter_map(|line| line.split_once(':'));
            let found = lines.find(|(name, _)| name.trim() == key);
            found
                .map(|(_, value)| value.trim().to_owned())
                .unwrap_or_default()
        };
        let model = [value("model name"), value("cpu")]
            .into_iter()
            .find(|name| !name.is_empty());
        let socket = value("physical id").parse().unwrap_or(0);
        names
            .entry(socket)
            .or_insert((value("vendor_id"), model.unwrap_or_default()));
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_processors() {
        assert_eq!(list("0-2,5").into_iter().collect::<Vec<_>>(), [0, 1, 2, 5]);
        assert!(list("").is_empty());
        assert_eq!(kilobytes("512K"), 512 * 1024);
    }
}
