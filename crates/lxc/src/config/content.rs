//! What `config.yml` holds. The fuzzers read this file, too: it needs nothing but its neighbour.

use std::collections::BTreeMap;

use lxd_model::yaml;
use serde::{Deserialize, Serialize};

use super::remotes::Remote;

/// What `config.yml` holds.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Content {
    #[serde(rename = "default-remote")]
    pub(crate) default_remote: String,
    pub(crate) remotes: BTreeMap<String, Remote>,
    pub(crate) aliases: BTreeMap<String, String>,
}

/// Reads it.
///
/// # Errors
/// It is none.
pub(crate) fn parse(text: &str) -> Result<Content, yaml::Error> {
    yaml::from_str(text)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const GOOD: &str = "default-remote: a\nremotes:\n  a:\n    addr: https://a\n    public: true\naliases:\n  x: list @ARGS@\n";

    proptest! {
        #[test]
        fn what_is_read_is_written_and_read_again(at in 0..GOOD.len(), gone in 0..9_usize, new in ".{0,9}") {
            let end = (at + gone).min(GOOD.len());
            let text = [&GOOD[..at], &new, &GOOD[end..]].concat();
            match parse(&text) {
                Ok(content) => prop_assert_eq!(parse(&yaml::to_string(&content).unwrap()).unwrap(), content),
                Err(error) => prop_assert!(!error.to_string().is_empty()),
            }
        }
    }
}
