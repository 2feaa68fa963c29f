//! What limits mean in the files of either version: a pure function from wishes to writes.

use std::collections::BTreeMap;

use super::{Cgroups, Version};

/// Limits of one group. `None` means unlimited, or the kernel's default.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Limits {
    /// Memory, and what becomes of swap.
    pub memory: Option<MemoryLimit>,
    /// How readily version 1 swaps the group out, 0 to 100.
    pub swappiness: Option<u8>,
    /// Share of the processors in thousandths of the default, when they are contended.
    pub cpu_share: Option<CpuShare>,
    /// Run time in each period, both in microseconds.
    pub cpu_quota: Option<(u64, u64)>,
    /// The processors that may be used, such as `0,2-3`.
    pub processors: Option<String>,
    /// How many processes and threads there may be.
    pub processes: Option<u64>,
    /// Huge pages, in bytes by size. Where the kernel does not limit them this is left out.
    pub huge_pages: BTreeMap<PageSize, u64>,
    /// Share of the disks in either version's own unit: 10 to 1000, where 500 is the default. Where the kernel does not
    /// weigh disks this is left out.
    pub disk_weight: Option<u64>,
}

/// A size of huge pages that some machine has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum PageSize {
    /// 64 KiB.
    Kib64,
    /// 1 MiB.
    Mib1,
    /// 2 MiB.
    Mib2,
    /// 1 GiB.
    Gib1,
}

impl PageSize {
    /// All sizes.
    pub const ALL: [Self; 4] = [Self::Kib64, Self::Mib1, Self::Mib2, Self::Gib1];

    /// The size as the kernel names it in its files.
    pub fn name(self) -> &'static str {
        match self {
            Self::Kib64 => "64KB",
            Self::Mib1 => "1MB",
            Self::Mib2 => "2MB",
            Self::Gib1 => "1GB",
        }
    }

    fn files(self) -> (&'static str, &'static str) {
        match self {
            Self::Kib64 => ("hugetlb.64KB.limit_in_bytes", "hugetlb.64KB.max"),
            Self::Mib1 => ("hugetlb.1MB.limit_in_bytes", "hugetlb.1MB.max"),
            Self::Mib2 => ("hugetlb.2MB.limit_in_bytes", "hugetlb.2MB.max"),
            Self::Gib1 => ("hugetlb.1GB.limit_in_bytes", "hugetlb.1GB.max"),
        }
    }
}

/// A share of the processors in either version's own unit, because users set them as numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CpuShare {
    /// `cpu.shares`; the default is 1024.
    pub v1: u64,
    /// `cpu.weight`; the default is 100.
    pub v2: u64,
}

/// A limit on memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MemoryLimit {
    /// In bytes.
    pub bytes: u64,
    /// Memory up to the limit is the last that is reclaimed when the host has too little; nobody is killed.
    pub soft: bool,
    /// What becomes of swap.
    pub swap: Swap,
}

/// What a limit on memory means for swap.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Swap {
    /// It counts: memory and swap together stay under the limit.
    Counted,
    /// No limit on swap.
    Unlimited,
}

/// One value to write to one file of a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Write {
    /// The version that the file belongs to.
    pub version: Version,
    /// The controller.
    pub controller: &'static str,
    /// The file's name in the group's folder.
    pub file: &'static str,
    /// The text to write.
    pub value: String,
}

impl Limits {
    /// The writes that bring a group from no limits to these. The controllers needed and not there come second.
    pub fn writes(&self, machine: &Cgroups) -> (Vec<Write>, Vec<&'static str>) {
        let mut plan = Plan {
            machine,
            writes: Vec::new(),
            missing: Vec::new(),
        };
        if let Some(memory) = self.memory {
            plan.memory(memory);
        }
        if let Some(swappiness) = self.swappiness {
            plan.add("memory", Some("memory.swappiness"), None, swappiness.to_string());
        }
        if let Some(share) = self.cpu_share {
            plan.each(
                "cpu",
                ("cpu.shares", share.v1.to_string()),
                ("cpu.weight", share.v2.to_string()),
            );
        }
        if let Some((quota, period)) = self.cpu_quota {
            plan.add("cpu", Some("cpu.cfs_quota_us"), None, quota.to_string());
            plan.add("cpu", Some("cpu.cfs_period_us"), None, period.to_string());
            plan.add("cpu", None, Some("cpu.max"), format!("{quota} {period}"));
        }
        if let Some(processors) = &self.processors {
            plan.add(
                "cpuset",
                Some("cpuset.cpus"),
                Some("cpuset.cpus"),
                processors.clone(),
            );
        }
        if let Some(processes) = self.processes {
            plan.add("pids", Some("pids.max"), Some("pids.max"), processes.to_string());
        }
        for (size, bytes) in &self.huge_pages {
            plan.huge_pages(*size, *bytes);
        }
        if let (Some(weight), Some((version, controller, file))) = (self.disk_weight, machine.disk_weight()) {
            plan.writes.push(Write {
                version,
                controller,
                file,
                // BFQ's default is 100. So is that of version 2, but there the reference writes the same number, too.
                value: match file {
                    "blkio.weight" | "io.weight" => weight.to_string(),
                    _ => (weight / 5).to_string(),
                },
            });
        }
        (plan.writes, plan.missing)
    }

    /// The writes that bring a running group from `old` limits to these: those of [`Limits::writes`] that change
    /// something, after the resets that make room for them. `processors` is what no limit means.
    pub fn changes(
        &self,
        old: &Self,
        machine: &Cgroups,
        processors: &str,
    ) -> (Vec<Write>, Vec<&'static str>) {
        let mut plan = Plan {
            machine,
            writes: Vec::new(),
            missing: Vec::new(),
        };
        let (new_writes, missing) = self.writes(machine);
        let (old_writes, _) = old.writes(machine);
        let memory_changes = self.memory != old.memory;
        if memory_changes {
            // Version 1 wants memory <= memory+swap at any time, so the sum opens first.
            plan.swap_v1("-1");
            plan.add("memory", Some("memory.limit_in_bytes"), None, "-1".into());
            plan.add("memory", Some("memory.soft_limit_in_bytes"), None, "-1".into());
            for (file, none) in [
                ("memory.max", "max"),
                ("memory.low", "0"),
                ("memory.swap.max", "max"),
            ] {
                plan.add("memory", None, Some(file), none.into());
            }
        }
        let kept =
            |write: &Write| old_writes.contains(write) && !(memory_changes && is_memory_limit(write.file));
        let mut writes = plan.writes;
        for write in &old_writes {
            let replaced = new_writes.iter().any(|new| new.file == write.file);
            if !replaced && !is_memory_limit(write.file) {
                writes.push(Write {
                    value: default(write.file, processors),
                    ..write.clone()
                });
            }
        }
        writes.extend(new_writes.into_iter().filter(|write| !kept(write)));
        (writes, missing)
    }
}

struct Plan<'a> {
    machine: &'a Cgroups,
    writes: Vec<Write>,
    missing: Vec<&'static str>,
}

impl Plan<'_> {
    fn memory(&mut self, limit: MemoryLimit) {
        let bytes = limit.bytes.to_string();
        if limit.soft {
            self.add(
                "memory",
                Some("memory.soft_limit_in_bytes"),
                Some("memory.low"),
                bytes,
            );
            return;
        }
        self.add(
            "memory",
            Some("memory.limit_in_bytes"),
            Some("memory.max"),
            bytes.clone(),
        );
        if limit.swap == Swap::Counted {
            self.swap_v1(&bytes);
            // Version 2 counts swap apart from memory.
            if self.machine.has_swap_accounting() {
                self.add("memory", None, Some("memory.swap.max"), "0".into());
            }
        }
        // Reclaiming before the hard limit is reached; in version 2 the same value would slow processes down.
        let soft = limit.bytes / 10 * 9 + limit.bytes % 10 * 9 / 10;
        self.add(
            "memory",
            Some("memory.soft_limit_in_bytes"),
            None,
            soft.to_string(),
        );
    }

    fn huge_pages(&mut self, size: PageSize, bytes: u64) {
        if self.machine.version("hugetlb").is_some() {
            let (v1, v2) = size.files();
            self.add("hugetlb", Some(v1), Some(v2), bytes.to_string());
        }
    }

    fn swap_v1(&mut self, value: &str) {
        if self.machine.has_swap_accounting() {
            self.add(
                "memory",
                Some("memory.memsw.limit_in_bytes"),
                None,
                value.to_owned(),
            );
        }
    }

    fn add(
        &mut self,
        controller: &'static str,
        v1: Option<&'static str>,
        v2: Option<&'static str>,
        value: String,
    ) {
        let version = self.machine.version(controller);
        let file = match version {
            Some(Version::V1) => v1,
            Some(Version::V2) => v2,
            None => {
                if !self.missing.contains(&controller) {
                    self.missing.push(controller);
                }
                None
            }
        };
        if let (Some(version), Some(file)) = (version, file) {
            self.writes.push(Write {
                version,
                controller,
                file,
                value,
            });
        }
    }

    fn each(&mut self, controller: &'static str, v1: (&'static str, String), v2: (&'static str, String)) {
        self.add(controller, Some(v1.0), None, v1.1);
        self.add(controller, None, Some(v2.0), v2.1);
    }
}

/// What stands in a file of a group without limits.
fn default(file: &str, processors: &str) -> String {
    match file {
        "memory.swappiness" => "60",
        "cpu.shares" => "1024",
        "cpu.weight" => "100",
        "cpu.cfs_quota_us" => "-1",
        "cpu.cfs_period_us" => "100000",
        "cpu.max" => "max 100000",
        "cpuset.cpus" => processors,
        "blkio.weight" => "500",
        "blkio.bfq.weight" | "io.weight" | "io.bfq.weight" => "100",
        _ if file.starts_with("hugetlb.") && file.ends_with("limit_in_bytes") => "-1",
        _ => "max",
    }
    .to_owned()
}

fn is_memory_limit(file: &str) -> bool {
    file.starts_with("memory.") && file != "memory.swappiness"
}
