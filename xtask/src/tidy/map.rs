//! ARCHITECTURE.md: short, names every crate and driver, and every path that it names exists.

use std::fs;

use super::Finding;
use crate::source::{self, Source};

const MAP: &str = "ARCHITECTURE.md";

/// Longest that the map may be, in lines.
const LONGEST: usize = 300;

/// Compares the map with the tree.
pub fn check(sources: &[Source]) -> Vec<Finding> {
    let mut findings = Vec::new();
    let Ok(text) = fs::read_to_string(source::root().join(MAP)) else {
        return vec![Finding::new("map", MAP, "is missing")];
    };
    if text.lines().count() > LONGEST {
        findings.push(Finding::new(
            "map",
            MAP,
            format!("is longer than {LONGEST} lines"),
        ));
    }
    for named in text.split('`').skip(1).step_by(2) {
        let is_path =
            named.contains('/') && !named.contains([' ', '*', '{', '<', ':', '$']) && !named.starts_with('/');
        let known = [
            "crates/",
            "docs/",
            "tests/",
            "xtask/",
            "api/",
            "packaging/",
            "fuzz/",
            ".ci/",
        ];
        if is_path && known.iter().any(|top| named.starts_with(top)) && !source::root().join(named).exists() {
            findings.push(Finding::new(
                "map",
                MAP,
                format!("names `{named}`, which does not exist"),
            ));
        }
    }
    let mut packages: Vec<&str> = sources
        .iter()
        .filter(|s| s.path.starts_with("crates/"))
        .map(Source::package)
        .collect();
    packages.dedup();
    for package in packages {
        if !text.contains(&format!("`{package}`")) {
            findings.push(Finding::new(
                "map",
                MAP,
                format!("does not name the crate `{package}`"),
            ));
        }
    }
    for source in sources {
        if let Some((_, rest)) = source.path.split_once("/drivers/")
            && let Some((driver, "mod.rs")) = rest.split_once('/')
            && !text.contains(driver)
        {
            findings.push(Finding::new(
                "map",
                MAP,
                format!("does not name the driver `{driver}`"),
            ));
        }
    }
    findings
}
