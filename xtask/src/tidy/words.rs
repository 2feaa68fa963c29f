//! Words and places: how files begin, names that say nothing, `unsafe` and drivers' names outside their homes, one
//! noun under one name in every layer.

use super::Finding;
use crate::source::Source;

/// Module names that say nothing about what is inside.
const EMPTY_NAMES: &[&str] = &[
    "util", "utils", "common", "helper", "helpers", "misc", "manager", "stuff",
];

/// The only crates that may hold `unsafe`.
const UNSAFE_HOMES: &[&str] = &["lxd-sys", "liblxc", "dqlite"];

/// Storage and network drivers; their names are compared only inside `drivers/`.
const DRIVERS: &[&str] = &[
    "dir", "overlay", "btrfs", "zfs", "lvm", "ceph", "cephfs", "bridge", "macvlan", "sriov", "ovn",
];

/// Checks every file.
pub fn check(sources: &[Source]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for source in sources {
        file(source, &mut findings);
    }
    findings.extend(twins(sources));
    findings
}

fn file(source: &Source, findings: &mut Vec<Finding>) {
    let mut complain = |rule, why: String| findings.push(Finding::new(rule, source.path.clone(), why));
    let first = source.text.lines().next().unwrap_or_default();
    if !first.starts_with("//! ") {
        complain("header", "does not begin with a `//!` sentence".into());
    }
    for part in source.path.trim_end_matches(".rs").split('/') {
        if EMPTY_NAMES.contains(&part) {
            complain("name", format!("`{part}` does not say what is inside"));
        }
    }
    // The client and the rules speak of types of networks and devices, some of which drivers are named after.
    let speaks_of_types = ["lxc", "lxd-model", "xtask"].contains(&source.package());
    let driver_home = source.path.contains("/drivers/") || source.is_test() || speaks_of_types;
    for (number, line) in source.text.lines().enumerate() {
        let number = number + 1;
        if line.ends_with([' ', '\t']) {
            complain("blank", format!("line {number} ends in a blank"));
        }
        let code = line.split("//").next().unwrap_or_default();
        if code.contains("unsafe {")
            && !UNSAFE_HOMES.contains(&source.package())
            && source.package() != "xtask"
        {
            complain("unsafe", format!("line {number}: `unsafe` outside its homes"));
        }
        let note = ["TODO", "FIXME", "XXX"]
            .into_iter()
            .find(|word| line.contains(word));
        if let Some(word) = note.filter(|_| source.package() != "xtask")
            && !line.contains(&format!("{word}(#"))
        {
            complain("note", format!("line {number}: a {word} without an issue number"));
        }
        if !driver_home {
            for driver in DRIVERS {
                if code.contains(&format!("== \"{driver}\"")) || code.contains(&format!("!= \"{driver}\"")) {
                    complain(
                        "driver",
                        format!("line {number}: compares the driver name {driver:?}"),
                    );
                }
            }
        }
    }
}

/// Every noun of the HTTP edge has its use case under the same name.
fn twins(sources: &[Source]) -> Vec<Finding> {
    let has = |path: &str| sources.iter().any(|source| source.path == path);
    let mut findings = Vec::new();
    for source in sources {
        let Some(rest) = source.path.strip_prefix("crates/lxd/src/api/") else {
            continue;
        };
        let noun = rest.trim_end_matches(".rs").split('/').next().unwrap_or_default();
        if noun == "mod" || noun == "tests" {
            continue;
        }
        let file = format!("crates/lxd-core/src/{noun}.rs");
        let folder = format!("crates/lxd-core/src/{noun}/mod.rs");
        // `storage_volume_backups` is `storage_volumes/backups`.
        let mut nested = noun.match_indices('_').map(|(at, _)| {
            let (first, rest) = noun.split_at(at);
            format!("crates/lxd-core/src/{first}s/{}", rest.trim_start_matches('_'))
        });
        let is_nested = |path: String| has(&format!("{path}.rs")) || has(&format!("{path}/mod.rs"));
        if !has(&file) && !has(&folder) && !nested.any(is_nested) {
            findings.push(Finding::new(
                "twin",
                source.path.clone(),
                format!("lxd-core has no `{noun}`"),
            ));
        }
    }
    findings
}
