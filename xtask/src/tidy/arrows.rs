//! Arrows between crates: only those of the table, which ARCHITECTURE.md draws.

use serde_json::Value;

use super::Finding;

/// Each crate and what it may use of ours.
const ALLOWED: &[(&str, &[&str])] = &[
    ("lxd-api", &[]),
    ("lxd-sys", &[]),
    ("lxd-files", &[]),
    ("liblxc", &[]),
    ("dqlite", &[]),
    ("lxd-model", &["lxd-api"]),
    ("lxd-client", &["lxd-model", "lxd-api"]),
    ("lxd-db", &["lxd-model", "lxd-api", "dqlite"]),
    ("lxd-storage", &["lxd-model", "lxd-api", "lxd-sys"]),
    ("lxd-network", &["lxd-model", "lxd-api", "lxd-sys"]),
    (
        "lxd-instance",
        &["lxd-model", "lxd-api", "lxd-sys", "lxd-files", "liblxc"],
    ),
    (
        "lxd-core",
        &[
            "lxd-model",
            "lxd-api",
            "lxd-sys",
            "lxd-db",
            "lxd-storage",
            "lxd-network",
            "lxd-instance",
            "lxd-client",
        ],
    ),
    (
        "lxd",
        &["lxd-core", "lxd-model", "lxd-api", "lxd-sys", "lxd-files"],
    ),
    ("lxc", &["lxd-client", "lxd-model", "lxd-api"]),
    ("lxd-agent", &["lxd-api", "lxd-sys"]),
    ("lxd-e2e", &["lxd-api", "lxd-client", "lxd-model"]),
    ("xtask", &[]),
];

/// Compares the table with what Cargo knows.
pub fn check(metadata: &Value) -> Vec<Finding> {
    let mut findings = Vec::new();
    let packages = metadata["packages"].as_array().map_or(&[][..], Vec::as_slice);
    let ours = packages.iter().filter(|package| package["source"].is_null());
    for package in ours {
        let name = package["name"].as_str().unwrap_or_default();
        let Some((_, allowed)) = ALLOWED.iter().find(|(known, _)| *known == name) else {
            findings.push(Finding::new(
                "arrows",
                name,
                "the crate is not in the table of arrows",
            ));
            continue;
        };
        for dependency in package["dependencies"].as_array().map_or(&[][..], Vec::as_slice) {
            let target = dependency["name"].as_str().unwrap_or_default();
            let is_ours = ALLOWED.iter().any(|(known, _)| *known == target);
            let for_tests = dependency["kind"] == "dev";
            if is_ours && !allowed.contains(&target) && !(for_tests && target == name) {
                findings.push(Finding::new(
                    "arrows",
                    name,
                    format!("may not depend on {target}"),
                ));
            }
        }
    }
    findings
}
