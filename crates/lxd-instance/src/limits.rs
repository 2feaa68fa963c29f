//! Turns `limits.*` keys into limits of a control group, and spreads instances over processors. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use lxd_model::{Invalid, units};
use lxd_sys::cgroup::{CpuShare, Limits, MemoryLimit, PageSize, Swap};

use crate::error::Error;
use crate::instance::Instance;

/// What the machine has, as far as limits depend on it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Machine {
    /// Memory in bytes.
    pub memory: u64,
    /// The processors that instances may use, in order.
    pub processors: BTreeSet<u32>,
}

/// Which processors an instance wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Processors {
    /// Any.
    All,
    /// This many, whichever.
    Count(usize),
    /// These.
    Set(BTreeSet<u32>),
}

/// The limits that an instance's configuration asks for, the processors aside.
///
/// # Errors
/// A value that can't be read.
pub fn limits(instance: &Instance, machine: &Machine) -> Result<Limits, Invalid> {
    let mut limits = Limits {
        memory: memory(instance, machine)?,
        ..Limits::default()
    };
    if instance.is_unset("limits.memory.swap") {
        limits.swappiness = Some(0);
    } else if let Some(priority) = instance.config("limits.memory.swap.priority") {
        // Priority 10, the default, is the kernel's own 60.
        limits.swappiness = Some(70 - number::<u8>("limits.memory.swap.priority", priority)?.min(10));
    }
    let priority = instance.config("limits.cpu.priority");
    let allowance = instance.config("limits.cpu.allowance");
    if priority.is_some() || allowance.is_some() {
        let lower = 10 - number::<u64>("limits.cpu.priority", priority.unwrap_or("10"))?.min(10);
        let allowance = allowance.map_or(Ok(Allowance::Percent(100)), parse_allowance)?;
        let percent = match allowance {
            Allowance::Percent(percent) => percent,
            Allowance::Quota { .. } => 100,
        };
        if let Allowance::Quota { micros, period } = allowance {
            limits.cpu_quota = Some((micros, period));
        }
        if percent != 100 || lower > 0 {
            limits.cpu_share = Some(CpuShare {
                // The kernel's least values are 2 and 1.
                v1: (percent * 1024 / 100).saturating_sub(lower).max(2),
                v2: percent.saturating_sub(lower).clamp(1, 10_000),
            });
        }
    }
    // The reference's way to say that there is none.
    let processes = instance.config("limits.processes").filter(|count| *count != "-1");
    if let Some(processes) = processes {
        limits.processes = Some(number("limits.processes", processes)?);
    }
    for size in PageSize::ALL {
        if let Some(text) = instance.config(&format!("limits.hugepages.{}", size.name())) {
            let bytes = u64::try_from(units::parse_bytes(text)?)
                .map_err(|_| Invalid::new(format!("Invalid value: {text}")))?;
            limits.huge_pages.insert(size, bytes);
        }
    }
    if let Some(priority) = instance.config("limits.disk.priority") {
        // Priority 5, the default, is the kernel's own 500; its least is 10.
        let priority = number::<u64>("limits.disk.priority", priority)?.min(10);
        limits.disk_weight = Some((priority * 100).max(10));
    }
    Ok(limits)
}

/// The processors that `limits.cpu` asks for.
///
/// # Errors
/// A value that is neither a number nor a set.
pub fn processors(instance: &Instance, machine: &Machine) -> Result<Processors, Invalid> {
    let Some(text) = instance.config("limits.cpu") else {
        return Ok(Processors::All);
    };
    if let Ok(count) = text.parse::<usize>() {
        let some = (1..machine.processors.len()).contains(&count);
        return Ok(if some {
            Processors::Count(count)
        } else {
            Processors::All
        });
    }
    let set: BTreeSet<u32> = parse_set(text)
        .ok_or_else(|| Invalid::new(format!("Invalid CPU limit syntax: {text:?}")))?
        .intersection(&machine.processors)
        .copied()
        .collect();
    // A set without any processor of this machine can't be obeyed.
    Ok(if set.is_empty() {
        Processors::All
    } else {
        Processors::Set(set)
    })
}

/// Chooses processors for one instance: those it names, or the ones that the fewest others use.
pub fn choose<'a>(
    wanted: &Processors,
    machine: &Machine,
    others: impl Iterator<Item = &'a BTreeSet<u32>>,
) -> Option<BTreeSet<u32>> {
    match wanted {
        Processors::All => None,
        Processors::Set(set) => Some(set.clone()),
        Processors::Count(count) => {
            let mut users: BTreeMap<u32, usize> = machine.processors.iter().map(|cpu| (*cpu, 0)).collect();
            for cpu in others.flatten() {
                users.entry(*cpu).and_modify(|n| *n += 1);
            }
            let mut order: Vec<(usize, u32)> = users.into_iter().map(|(cpu, n)| (n, cpu)).collect();
            order.sort_unstable();
            Some(order.into_iter().take(*count).map(|(_, cpu)| cpu).collect())
        }
    }
}

/// Reads a list such as `0,2-3`.
pub fn parse_set(text: &str) -> Option<BTreeSet<u32>> {
    let mut set = BTreeSet::new();
    for part in text.split(',') {
        let (first, last) = part.trim().split_once('-').unwrap_or((part.trim(), part.trim()));
        let (first, last) = (first.parse::<u32>().ok()?, last.parse::<u32>().ok()?);
        // The kernel has no more than 8192 processors; a wrong range must not fill the memory.
        if first > last || last > 8192 {
            return None;
        }
        set.extend(first..=last);
    }
    Some(set)
}

/// Writes a list as the kernel does: `0,2-3`.
pub fn format_set(set: &BTreeSet<u32>) -> String {
    let mut ranges: Vec<(u32, u32)> = Vec::new();
    for cpu in set {
        match ranges.last_mut() {
            Some((_, last)) if *last + 1 == *cpu => *last = *cpu,
            _ => ranges.push((*cpu, *cpu)),
        }
    }
    let shown = ranges.iter().map(|(first, last)| match first == last {
        true => first.to_string(),
        false => format!("{first}-{last}"),
    });
    shown.collect::<Vec<_>>().join(",")
}

enum Allowance {
    Percent(u64),
    Quota { micros: u64, period: u64 },
}

fn memory(instance: &Instance, machine: &Machine) -> Result<Option<MemoryLimit>, Invalid> {
    let Some(text) = instance.config("limits.memory") else {
        return Ok(None);
    };
    let total = i64::try_from(machine.memory).unwrap_or(i64::MAX);
    let bytes = u64::try_from(units::parse_bytes_of(text, total)?)
        .map_err(|_| Invalid::new(format!("Invalid value: {text}")))?;
    let swap = if instance.is_unset("limits.memory.swap") {
        Swap::Unlimited
    } else {
        Swap::Counted
    };
    Ok(Some(MemoryLimit {
        bytes,
        soft: instance.config("limits.memory.enforce") == Some("soft"),
        swap,
    }))
}

/// `50%` of the processors when they are contended, or `20ms/100ms` at any time.
fn parse_allowance(text: &str) -> Result<Allowance, Invalid> {
    let bad = || Invalid::new(format!("Invalid allowance: {text:?}"));
    if let Some(percent) = text.strip_suffix('%') {
        return percent.parse().map(Allowance::Percent).map_err(|_| bad());
    }
    let (quota, period) = text.split_once('/').ok_or_else(bad)?;
    let micros = |part: &str| {
        let millis: u64 = part.trim().strip_suffix("ms")?.parse().ok()?;
        millis.checked_mul(1000)
    };
    let (micros, period) = (micros(quota).ok_or_else(bad)?, micros(period).ok_or_else(bad)?);
    Ok(Allowance::Quota { micros, period })
}

fn number<T: std::str::FromStr>(key: &str, text: &str) -> Result<T, Invalid> {
    text.parse()
        .map_err(|_| Invalid::new(format!("Invalid value for {key}: {text:?} is not a number")))
}

/// The machine's memory in bytes, as percentages of it are meant: the reference takes the kernel's "kB" for 1000 bytes.
pub(crate) fn total_memory() -> Result<u64, Error> {
    let path = Path::new("/proc/meminfo");
    let text = std::fs::read_to_string(path).map_err(Error::file("read", path))?;
    let kib = text.lines().find_map(|line| {
        line.strip_prefix("MemTotal:")?
            .trim()
            .strip_suffix("kB")?
            .trim()
            .parse()
            .ok()
    });
    Ok(kib.unwrap_or(0u64) * 1000)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::instance::tests::plain;

    fn machine() -> Machine {
        Machine {
            memory: 24_684_092_000,
            processors: (0..4).collect(),
        }
    }

    fn of(config: &[(&str, &str)]) -> Instance {
        let mut instance = plain("/x".as_ref(), "c1");
        instance.config = config
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
            .collect();
        instance
    }

    #[test]
    fn memory_as_the_reference_reads_it() {
        let memory = |config: &[(&str, &str)]| limits(&of(config), &machine()).unwrap();
        let limit = memory(&[("limits.memory", "10%"), ("limits.memory.swap", "false")]);
        let wanted = MemoryLimit {
            bytes: 2_468_409_200,
            soft: false,
            swap: Swap::Unlimited,
        };
        assert_eq!((limit.memory, limit.swappiness), (Some(wanted), Some(0)));
        let limit = memory(&[
            ("limits.memory", "200MiB"),
            ("limits.memory.enforce", "soft"),
            ("limits.memory.swap.priority", "3"),
        ]);
        assert_eq!((limit.memory.unwrap().soft, limit.swappiness), (true, Some(67)));
        assert!(limits(&of(&[("limits.memory", "10KX")]), &machine()).is_err());
        assert_eq!(limits(&of(&[]), &machine()), Ok(Limits::default()));
    }

    #[test]
    fn processor_time_as_the_reference_reads_it() {
        let cpu = |config: &[(&str, &str)]| {
            let limits = limits(&of(config), &machine()).unwrap();
            (limits.cpu_share.map(|share| share.v1), limits.cpu_quota)
        };
        assert_eq!(
            cpu(&[("limits.cpu.allowance", "50%"), ("limits.cpu.priority", "5")]),
            (Some(507), None)
        );
        assert_eq!(cpu(&[("limits.cpu.allowance", "25%")]), (Some(256), None));
        assert_eq!(
            cpu(&[("limits.cpu.allowance", "20ms/100ms")]),
            (None, Some((20_000, 100_000)))
        );
        assert_eq!(cpu(&[("limits.cpu.priority", "0")]), (Some(1014), None));
        for bad in ["50", "x%", "20ms", "20/100", "1ms/xms"] {
            assert!(
                limits(&of(&[("limits.cpu.allowance", bad)]), &machine()).is_err(),
                "{bad}"
            );
        }
    }

    #[test]
    fn processors_by_count_and_by_name() {
        let wish = |text| processors(&of(&[("limits.cpu", text)]), &machine());
        assert_eq!(wish("2"), Ok(Processors::Count(2)));
        for all in ["4", "9", "0", "7-9", ""] {
            assert_eq!(wish(all), Ok(Processors::All), "{all}");
        }
        assert_eq!(wish("0,2-9"), Ok(Processors::Set([0, 2, 3].into())));
        for bad in ["a", "3-1", "0-99999999", "1,"] {
            assert!(wish(bad).is_err(), "{bad}");
        }
        let others: [BTreeSet<u32>; 2] = [[0, 1].into(), [0].into()];
        let chosen = choose(&Processors::Count(2), &machine(), others.iter()).unwrap();
        assert_eq!(format_set(&chosen), "2-3");
        assert_eq!(choose(&Processors::All, &machine(), others.iter()), None);
        assert_eq!(format_set(&[0, 1, 3, 5, 6].into()), "0-1,3,5-6");
    }
}
