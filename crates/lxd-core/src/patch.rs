//! PATCH: what a client sends replaces what it names and leaves the rest.
//!
//! `config` and `devices` are merged key by key, as the reference does; every other field is replaced as a whole. A
//! field that is `null` counts as not sent; a configuration key that is `null` or empty is taken away.

use std::collections::BTreeMap;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::error::{Error, Result};

/// Fields that are merged and not replaced.
const MERGED: [&str; 2] = ["config", "devices"];

/// The writable part of an object after a PATCH.
///
/// # Errors
/// The patch is not an object, or a field has a wrong type.
pub fn merge<P: Serialize + DeserializeOwned>(current: &P, patch: Value) -> Result<P> {
    // Nothing at all names nothing.
    let patch = match patch {
        Value::Null => Value::Object(Map::new()),
        patch => patch,
    };
    let mut merged = serde_json::to_value(current).map_err(invalid)?;
    let (Value::Object(fields), Value::Object(patch)) = (&mut merged, patch) else {
        return Err(Error::bad_request("A PATCH is a JSON object"));
    };
    for (name, value) in patch {
        match (fields.get_mut(&name), value) {
            (_, Value::Null) => {}
            (Some(Value::Object(old)), Value::Object(new)) if MERGED.contains(&name.as_str()) => {
                merge_keys(old, new);
            }
            (_, value) => {
                fields.insert(name, value);
            }
        }
    }
    serde_json::from_value(merged).map_err(invalid)
}

/// The configuration keys that a patch takes away by an empty value, as they would be set.
pub fn emptied(patch: &Value) -> BTreeMap<String, String> {
    let config = patch["config"].as_object().into_iter().flatten();
    let is_empty = |(_, value): &(&String, &Value)| value.as_str() == Some("");
    config
        .filter(is_empty)
        .map(|(key, _)| (key.clone(), String::new()))
        .collect()
}

fn merge_keys(old: &mut Map<String, Value>, new: Map<String, Value>) {
    for (key, value) in new {
        match value {
            Value::Null => drop(old.remove(&key)),
            Value::String(text) if text.is_empty() => drop(old.remove(&key)),
            value => drop(old.insert(key, value)),
        }
    }
}

fn invalid(error: serde_json::Error) -> Error {
    Error::from_source(lxd_model::ErrorKind::BadRequest, error)
}

#[cfg(test)]
mod tests {
    use lxd_api::profiles::ProfilePut;
    use serde_json::json;

    use super::*;

    #[test]
    fn only_what_is_named_changes() {
        let current = ProfilePut {
            config: [("a".to_owned(), "1".to_owned()), ("b".to_owned(), "2".to_owned())].into(),
            description: "text".into(),
            ..ProfilePut::default()
        };
        let after = merge(&current, json!({"config": {"a": "", "c": "3"}, "devices": null})).unwrap();
        assert_eq!(
            after.config.into_iter().collect::<Vec<_>>(),
            [("b".to_owned(), "2".to_owned()), ("c".to_owned(), "3".to_owned())]
        );
        assert_eq!(after.description, "text");
        assert_eq!(
            merge(&current, json!({"description": ""})).unwrap().description,
            ""
        );
        assert!(merge(&current, json!([])).is_err());
        let wrong = merge(&current, json!({"description": 1})).unwrap_err();
        assert_eq!(wrong.kind(), lxd_model::ErrorKind::BadRequest);
    }
}
