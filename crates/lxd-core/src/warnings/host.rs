//! What this host lacks, which each start of the daemon warns about.

use lxd_instance::drivers::container::apparmor_lack;
use lxd_model::warnings::WarningType;
use lxd_sys::cgroup::{Cgroups, Layout};

use crate::app::{App, blocking};
use crate::error::Result;

/// Controllers of control groups, and what is said where they are missing.
const CONTROLLERS: &[(&str, WarningType, &str)] = &[
    (
        "cpu",
        WarningType::MissingCgroupCpu,
        "CPU time limits will be ignored",
    ),
    (
        "cpuacct",
        WarningType::MissingCgroupCpuacct,
        "CPU accounting will not be available",
    ),
    (
        "cpuset",
        WarningType::MissingCgroupCpuset,
        "CPU pinning will be ignored",
    ),
    (
        "devices",
        WarningType::MissingCgroupDevices,
        "device access control won't work",
    ),
    (
        "freezer",
        WarningType::MissingCgroupFreezer,
        "pausing/resuming containers won't work",
    ),
    (
        "hugetlb",
        WarningType::MissingCgroupHugetlb,
        "hugepage limits will be ignored",
    ),
    (
        "memory",
        WarningType::MissingCgroupMemory,
        "memory limits will be ignored",
    ),
    (
        "net_prio",
        WarningType::MissingCgroupNetworkPriority,
        "network priority will be ignored",
    ),
    (
        "pids",
        WarningType::MissingCgroupPids,
        "process limits will be ignored",
    ),
];

/// Looks at the host, and warns.
///
/// # Errors
/// The database can't be written.
pub(crate) async fn look(app: &App) -> Result<()> {
    let lacks = blocking(|| {
        let mut lacks: Vec<_> = apparmor_lack()
            .map(|lack| (WarningType::AppArmorNotAvailable, lack.to_owned()))
            .into_iter()
            .collect();
        match Cgroups::detect() {
            Ok(groups) => lacks.extend(missing(&groups)),
            Err(error) => tracing::warn!(err = %error, "Failed looking for control groups"),
        }
        Ok(lacks)
    });
    let mut lacks = lacks.await?;
    for (kind, message) in &lacks {
        tracing::warn!("{}: {message}", kind.as_str());
    }
    // There is no driver for them, which the reference says in this way too where it has none.
    lacks.push((
        WarningType::InstanceTypeNotOperational,
        "virtual-machine: no driver for instances of this type".to_owned(),
    ));
    super::warn(app, &lacks).await
}

/// What control groups can't do here.
fn missing(groups: &Cgroups) -> Vec<(WarningType, String)> {
    let mut lacks = Vec::new();
    for (name, kind, message) in CONTROLLERS {
        if !has(groups, name) {
            lacks.push((*kind, (*message).to_owned()));
        }
    }
    if !has(groups, "blkio") {
        let message = "disk I/O limits will be ignored";
        lacks.push((WarningType::MissingCgroupBlkio, message.to_owned()));
    } else if groups.disk_weight().is_none() {
        let message = "disk priority will be ignored";
        lacks.push((WarningType::MissingCgroupBlkioWeight, message.to_owned()));
    }
    if !groups.has_swap_accounting() {
        let message = "swap limits will be ignored";
        lacks.push((WarningType::MissingCgroupMemorySwap, message.to_owned()));
    }
    lacks
}

/// Whether what a controller of the first version does can be done. The second has disks' limits under another name, and
/// programs in the place of lists of devices.
fn has(groups: &Cgroups, controller: &str) -> bool {
    groups.version(controller).is_some()
        || match controller {
            "blkio" => groups.version("io").is_some(),
            "devices" => groups.layout() == Layout::Unified,
            _ => false,
        }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(groups: &Cgroups) -> Vec<&'static str> {
        let lacks = missing(groups);
        lacks.into_iter().map(|(kind, _)| kind.as_str()).collect()
    }

    #[test]
    fn what_is_missing_is_told_and_what_is_there_is_not() {
        let v1 = |names: &[&str]| {
            let mounts = names.iter().map(|name| ((*name).to_owned(), "/none".into()));
            Cgroups::at(mounts.collect(), None, [].into())
        };
        let all = [
            "cpu", "cpuacct", "cpuset", "devices", "freezer", "hugetlb", "net_prio", "pids",
        ];
        assert_eq!(
            told(&v1(&all)),
            [
                "Couldn't find the CGroup memory controller",
                "Couldn't find the CGroup blkio",
                "Couldn't find the CGroup memory swap accounting"
            ]
        );
        let without = told(&v1(&["blkio"]));
        assert_eq!(without.len(), CONTROLLERS.len() + 2);
        assert!(without.contains(&"Couldn't find the CGroup blkio.weight"));
        let offered = ["cpu", "cpuset", "hugetlb", "io", "memory", "pids"].map(str::to_owned);
        let v2 = told(&Cgroups::at([].into(), Some("/none".into()), offered.into()));
        assert_eq!(
            v2,
            [
                "Couldn't find the CGroup network priority controller",
                "Couldn't find the CGroup blkio.weight"
            ]
        );
    }
}
