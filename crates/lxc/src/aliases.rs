//! The user's own names for commands.
//!
//! An alias is one or more words. `@ARG1@`, `@ARG2@`, ... in what it stands for are replaced by the words after it,
//! `@ARGS@` by those that have no number; without it, they go to the end. What comes out is not looked up again.

use std::collections::BTreeMap;

use crate::error::{Error, Result};

/// Aliases that everybody has.
const BUILT_IN: &[(&str, &str)] = &[("shell", "exec @ARGS@ -- su -l")];

/// Replaces an alias at the start of a command line by what it stands for.
///
/// Flags before the alias are passed over, and kept.
///
/// # Errors
/// When it refers to a word that is not there.
pub(crate) fn expand(aliases: &BTreeMap<String, String>, words: &[String]) -> Result<Vec<String>> {
    let start = words
        .iter()
        .position(|word| !word.starts_with('-'))
        .unwrap_or(words.len());
    let (flags, rest) = words.split_at(start);
    let Some((name, target)) = longest(aliases, rest) else {
        return Ok(words.to_vec());
    };
    let arguments = &rest[name.split(' ').count()..];
    let mut expanded = flags.to_vec();
    expanded.extend(fill(&name, &target, arguments)?);
    Ok(expanded)
}

/// The alias with the most words that the command line starts with.
fn longest(aliases: &BTreeMap<String, String>, words: &[String]) -> Option<(String, String)> {
    let own = aliases
        .iter()
        .map(|(name, target)| (name.as_str(), target.as_str()));
    let fits = |name: &str| {
        let parts: Vec<&str> = name.split(' ').collect();
        words.len() >= parts.len() && parts.iter().zip(words).all(|(part, word)| part == word)
    };
    let found = own
        .filter(|(name, _)| fits(name))
        .max_by_key(|(name, _)| name.split(' ').count());
    let found = found.or_else(|| BUILT_IN.iter().copied().find(|(name, _)| fits(name)));
    found.map(|(name, target)| (name.to_string(), target.to_string()))
}

fn fill(name: &str, target: &str, arguments: &[String]) -> Result<Vec<String>> {
    let parts: Vec<&str> = target.split(' ').filter(|part| !part.is_empty()).collect();
    let numbered = parts.iter().flat_map(|part| numbers(part)).max().unwrap_or(0);
    if numbered > arguments.len() {
        return Err(Error::message(format!(
            "Found alias {name:?} references an argument outside the given number"
        )));
    }
    let (by_number, rest) = arguments.split_at(numbered);
    let mut words = Vec::new();
    let mut placed = false;
    for part in parts {
        if part == "@ARGS@" {
            words.extend_from_slice(rest);
            placed = true;
            continue;
        }
        let filled = by_number
            .iter()
            .enumerate()
            .fold(part.to_string(), |part, (at, argument)| {
                part.replace(&format!("@ARG{}@", at + 1), argument)
            });
        words.push(filled);
    }
    if !placed {
        words.extend_from_slice(rest);
    }
    Ok(words)
}

/// The numbers that a word refers to by `@ARGn@`.
fn numbers(part: &str) -> Vec<usize> {
    part.split("@ARG")
        .skip(1)
        .filter_map(|rest| rest.split_once('@')?.0.parse().ok())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expanded(line: &str) -> String {
        let aliases = [
            ("x", "list -c n -f csv"),
            ("image ls", "list -f csv"),
            ("foo", "exec @ARGS@ -- echo hi"),
            ("bar", "exec @ARG1@ -- echo @ARG2@ @ARGS@"),
            ("set", "config set @ARG1@ user.x=@ARG2@"),
        ];
        let aliases = aliases
            .iter()
            .map(|(name, target)| (name.to_string(), target.to_string()))
            .collect();
        let words: Vec<String> = line.split(' ').map(String::from).collect();
        expand(&aliases, &words).map_or_else(|error| error.to_string(), |words| words.join(" "))
    }

    #[test]
    fn words_go_where_the_alias_says() {
        for (line, command) in [
            ("x", "list -c n -f csv"),
            ("x c1", "list -c n -f csv c1"),
            ("-q x", "-q list -c n -f csv"),
            ("--project default x", "--project default x"),
            ("image ls a", "list -f csv a"),
            ("image list", "image list"),
            ("foo c1", "exec c1 -- echo hi"),
            ("bar c1 x y", "exec c1 -- echo x y"),
            ("set c1 2", "config set c1 user.x=2"),
            (
                "bar c1",
                "Found alias \"bar\" references an argument outside the given number",
            ),
            ("shell c1", "exec c1 -- su -l"),
        ] {
            assert_eq!(expanded(line), command, "{line}");
        }
    }
}
