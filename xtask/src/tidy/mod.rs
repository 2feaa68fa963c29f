//! The house rules, checked: each module looks at one kind of rule and names what breaks it.

mod arrows;
mod exceptions;
mod licences;
mod map;
mod sizes;
mod words;

use crate::source;

/// One broken rule.
pub struct Finding {
    /// The rule's short name, as the exceptions list spells it.
    pub rule: &'static str,
    /// What breaks it: a path, or `path:function`.
    pub place: String,
    /// What is wrong, for people.
    pub why: String,
}

impl Finding {
    fn new(rule: &'static str, place: impl Into<String>, why: impl Into<String>) -> Self {
        Self {
            rule,
            place: place.into(),
            why: why.into(),
        }
    }
}

/// Runs every check; the error lists what is wrong.
pub fn run() -> Result<String, Vec<String>> {
    let one = |why: String| vec![why];
    let sources = source::rust_files().map_err(one)?;
    let metadata =
        source::output("cargo", &["metadata", "--format-version", "1", "--locked"]).map_err(one)?;
    let metadata: serde_json::Value = serde_json::from_str(&metadata).map_err(|e| one(e.to_string()))?;
    let mut findings = Vec::new();
    findings.extend(arrows::check(&metadata));
    findings.extend(licences::check(&metadata));
    findings.extend(words::check(&sources));
    findings.extend(map::check(&sources));
    let measured = sizes::check(&sources);
    findings.extend(measured.findings);
    let left = exceptions::apply(findings)?;
    if left.is_empty() {
        Ok(format!(
            "tidy: {} files in order; {}",
            sources.len(),
            measured.summary
        ))
    } else {
        Err(left
            .iter()
            .map(|f| format!("{}: {}: {}", f.rule, f.place, f.why))
            .collect())
    }
}
