//! What a change of the server's configuration comes to: a pure function of what is set and what is asked for.

use std::collections::{BTreeMap, BTreeSet};

use lxd_model::config::{Config, Scope, server};
use serde_json::Value;

use crate::error::{Error, Result};

/// A change that has been found valid.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// The whole configuration afterwards.
    pub new: Config,
    /// The keys whose value differs from before, in either direction.
    pub changed: BTreeSet<String>,
}

impl Plan {
    /// The changed keys of one scope with their new value, `None` for those that go.
    pub fn changes(&self, scope: Scope) -> BTreeMap<String, Option<String>> {
        let of_scope = self.changed.iter().filter(|key| scope_of(key) == scope);
        of_scope
            .map(|key| (key.clone(), self.new.get(key).cloned()))
            .collect()
    }
}

/// Where a key lives; unknown keys, which a newer version may have left, are global.
pub fn scope_of(key: &str) -> Scope {
    server::TABLE.find(key).map_or(Scope::Global, |key| key.scope)
}

/// Whether a key's value is never shown.
pub fn is_secret(key: &str) -> bool {
    server::TABLE.find(key).is_some_and(|key| key.secret)
}

/// Works out a change. With `replace`, keys that are not asked for go (PUT), else they stay (PATCH). `null` and empty
/// values take a key away; `true` for a secret keeps it, as that is what showing it gives.
///
/// # Errors
/// An unknown key, a wrong type, a bad value.
pub fn plan(current: &Config, asked: &BTreeMap<String, Value>, replace: bool) -> Result<Plan> {
    let mut new = if replace { Config::new() } else { current.clone() };
    let mut set = Config::new();
    for (key, value) in asked {
        match value {
            Value::Null => drop(new.remove(key)),
            Value::String(text) if text.is_empty() => drop(new.remove(key)),
            Value::String(text) => drop(set.insert(key.clone(), text.clone())),
            Value::Bool(true) if is_secret(key) => {
                new.extend(current.get(key).map(|kept| (key.clone(), kept.clone())));
            }
            other => {
                let kind = type_name(other);
                return Err(Error::bad_request(format!(
                    "cannot set '{key}': invalid type {kind}"
                )));
            }
        }
    }
    let unset = asked
        .keys()
        .filter(|key| !set.contains_key(*key))
        .map(|key| (key.clone(), String::new()));
    let mut checked: Config = unset.collect();
    checked.extend(set.clone());
    server::validate(&checked)?;
    new.extend(set);
    let keys: BTreeSet<&String> = current.keys().chain(new.keys()).collect();
    let changed = keys
        .into_iter()
        .filter(|key| current.get(*key) != new.get(*key))
        .cloned()
        .collect();
    Ok(Plan { new, changed })
}

/// A JSON value's type in the words of the reference's error texts.
fn type_name(value: &Value) -> &'static str {
    match value {
        Value::Null => "<nil>",
        Value::Bool(_) => "bool",
        Value::Number(_) => "float64",
        Value::String(_) => "string",
        Value::Array(_) => "[]interface {}",
        Value::Object(_) => "map[string]interface {}",
    }
}

/// The configuration as it is shown: secrets as `true`.
pub fn shown(config: &Config) -> BTreeMap<String, Value> {
    let show = |(key, value): (&String, &String)| {
        (
            key.clone(),
            if is_secret(key) {
                Value::Bool(true)
            } else {
                Value::String(value.clone())
            },
        )
    };
    config.iter().map(show).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn config(pairs: &[(&str, &str)]) -> Config {
        pairs
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
            .collect()
    }

    fn asked(value: Value) -> BTreeMap<String, Value> {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn put_replaces_and_patch_merges() {
        let current = config(&[
            ("core.trust_password", "hash"),
            ("user.a", "1"),
            ("core.https_address", ":1"),
        ]);
        let put = plan(
            &current,
            &asked(json!({"core.trust_password": true, "user.b": "2"})),
            true,
        )
        .unwrap();
        assert_eq!(
            put.new,
            config(&[("core.trust_password", "hash"), ("user.b", "2")])
        );
        assert_eq!(
            put.changed.iter().collect::<Vec<_>>(),
            ["core.https_address", "user.a", "user.b"]
        );
        assert_eq!(
            put.changes(Scope::Local),
            [("core.https_address".to_owned(), None)].into()
        );
        let patch = plan(
            &current,
            &asked(json!({"user.a": null, "core.https_address": ""})),
            false,
        )
        .unwrap();
        assert_eq!(patch.new, config(&[("core.trust_password", "hash")]));
        assert!(
            plan(&current, &asked(json!({})), false)
                .unwrap()
                .changed
                .is_empty()
        );
    }

    #[test]
    fn refusals_read_as_the_references() {
        for (key, value, text) in [
            ("foo", json!("x"), "cannot set 'foo' to 'x': unknown key"),
            (
                "images.auto_update_interval",
                json!("x"),
                "cannot set 'images.auto_update_interval' to 'x': invalid integer",
            ),
            (
                "images.auto_update_interval",
                json!(5),
                "cannot set 'images.auto_update_interval': invalid type float64",
            ),
            (
                "core.https_allowed_credentials",
                json!(true),
                "cannot set 'core.https_allowed_credentials': invalid type bool",
            ),
            (
                "core.https_address",
                json!("hello world"),
                "cannot set 'core.https_address' to 'hello world': Couldn't resolve \"hello world\"",
            ),
            ("foo", json!(null), "cannot set 'foo' to '': unknown key"),
        ] {
            let error = plan(&Config::new(), &asked(json!({key: value})), false).unwrap_err();
            assert_eq!(error.text(), text);
        }
    }

    #[test]
    fn secrets_are_shown_as_true() {
        let shown = shown(&config(&[("core.trust_password", "hash"), ("user.a", "1")]));
        assert_eq!(
            serde_json::to_value(shown).unwrap(),
            json!({"core.trust_password": true, "user.a": "1"})
        );
    }
}
