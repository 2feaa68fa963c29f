//! The list of exceptions: each has its reason, and one that is no longer needed is itself a complaint, so that the
//! list only shrinks.

use std::fs;

use super::Finding;
use crate::source;

/// The list: lines of `rule place | reason`.
const LIST: &str = "xtask/tidy-exceptions.txt";

/// Takes the excepted findings away, or names what is wrong with the list.
pub fn apply(findings: Vec<Finding>) -> Result<Vec<Finding>, Vec<String>> {
    let text = fs::read_to_string(source::root().join(LIST)).unwrap_or_default();
    let mut complaints = Vec::new();
    let mut excepted = Vec::new();
    for line in text
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
    {
        let parts = line.split_once('|').map(|(what, why)| (what.trim(), why.trim()));
        match parts.and_then(|(what, why)| what.split_once(' ').map(|(rule, place)| (rule, place, why))) {
            Some((rule, place, why)) if !why.is_empty() => excepted.push((rule, place)),
            _ => complaints.push(format!("{LIST}: not `rule place | reason`: {line}")),
        }
    }
    for (rule, place) in &excepted {
        if !findings.iter().any(|f| f.rule == *rule && f.place == *place) {
            complaints.push(format!(
                "{LIST}: the exception `{rule} {place}` is no longer needed: remove it"
            ));
        }
    }
    if !complaints.is_empty() {
        return Err(complaints);
    }
    Ok(findings
        .into_iter()
        .filter(|f| !excepted.contains(&(f.rule, f.place.as_str())))
        .collect())
}
