//! Licences and bans of everything that is linked, from `cargo metadata`. `deny.toml` says the same for those who have
//! cargo-deny and its database of advisories.

use serde_json::Value;

use super::Finding;

/// Licences that may be combined with Apache-2.0 without a duty on us beyond naming them.
const LICENCES: &[&str] = &[
    "0BSD",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-1-Clause",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "CC0-1.0",
    "CDLA-Permissive-2.0",
    "ISC",
    "MIT",
    "MIT-0",
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
    "bzip2-1.0.6",
];

/// Crates that must never get in, and why.
const BANNED: &[(&str, &str)] = &[
    ("anyhow", "errors name what was being done; use thiserror"),
    ("aws-lc-rs", "two crypto providers would get in; ring is the one"),
    ("chrono", "jiff is the one clock and calendar"),
    ("native-tls", "rustls is the one TLS"),
    ("openssl", "rustls is the one TLS"),
    ("serde_yaml", "deprecated"),
    ("serde_yml", "unsound (RUSTSEC-2025-0068)"),
    ("libyml", "unsound (RUSTSEC-2025-0067)"),
    ("rustls-pemfile", "archived; rustls-pki-types reads PEM"),
    ("xz2", "dead since 2022; liblzma is its successor"),
];

/// Checks every package of the lock file.
pub fn check(metadata: &Value) -> Vec<Finding> {
    let mut findings = Vec::new();
    for package in metadata["packages"].as_array().map_or(&[][..], Vec::as_slice) {
        let name = package["name"].as_str().unwrap_or_default();
        let licence = package["license"].as_str().unwrap_or_default();
        if !allowed(licence) {
            findings.push(Finding::new(
                "licence",
                name,
                format!("licence {licence:?} is not on the list"),
            ));
        }
        if let Some((_, why)) = BANNED.iter().find(|(banned, _)| *banned == name) {
            findings.push(Finding::new("banned", name, *why));
        }
        let bundled = package["name"] == "libsqlite3-sys"
            && resolved_features(metadata, package).any(|f| f == "bundled");
        if bundled {
            findings.push(Finding::new(
                "banned",
                name,
                "`bundled` takes over libdqlite's SQLite symbols",
            ));
        }
    }
    findings
}

fn resolved_features<'a>(metadata: &'a Value, package: &Value) -> impl Iterator<Item = &'a str> {
    let id = package["id"].as_str().unwrap_or_default().to_owned();
    let nodes = metadata["resolve"]["nodes"]
        .as_array()
        .map_or(&[][..], Vec::as_slice);
    let node = nodes.iter().find(move |node| node["id"].as_str() == Some(&id));
    let features = node
        .and_then(|node| node["features"].as_array())
        .map_or(&[][..], Vec::as_slice);
    features.iter().filter_map(Value::as_str)
}

/// Whether an SPDX expression can be met by the list. `AND` binds tighter than `OR`; parentheses nest.
fn allowed(expression: &str) -> bool {
    let expression = expression.replace('/', " OR ");
    let tokens = expression.replace('(', " ( ").replace(')', " ) ");
    let mut tokens: Vec<&str> = tokens.split_whitespace().collect();
    tokens.reverse();
    alternatives(&mut tokens) && tokens.is_empty()
}

fn alternatives(tokens: &mut Vec<&str>) -> bool {
    let mut met = all_of(tokens);
    while tokens.last() == Some(&"OR") {
        tokens.pop();
        met |= all_of(tokens);
    }
    met
}

fn all_of(tokens: &mut Vec<&str>) -> bool {
    let mut met = one(tokens);
    while tokens.last() == Some(&"AND") {
        tokens.pop();
        met &= one(tokens);
    }
    met
}

fn one(tokens: &mut Vec<&str>) -> bool {
    match tokens.pop() {
        Some("(") => {
            let met = alternatives(tokens);
            tokens.pop() == Some(")") && met
        }
        Some(licence) => {
            let mut licence = licence.to_owned();
            if tokens.last() == Some(&"WITH") {
                tokens.pop();
                licence = format!("{licence} WITH {}", tokens.pop().unwrap_or_default());
            }
            LICENCES.contains(&licence.as_str())
        }
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expressions_are_met_or_not() {
        for (expression, met) in [
            ("MIT", true),
            ("GPL-3.0", false),
            ("MIT OR GPL-3.0", true),
            ("MIT AND GPL-3.0", false),
            ("(MIT OR Apache-2.0) AND Unicode-3.0", true),
            ("Apache-2.0 WITH LLVM-exception OR GPL-2.0", true),
            ("MIT/Apache-2.0", true),
            ("", false),
        ] {
            assert_eq!(allowed(expression), met, "{expression}");
        }
    }
}
