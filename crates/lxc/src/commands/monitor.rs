//! `lxc monitor`: a server's events, as they happen.

use lxd_api::events::Event;
use lxd_client::Events;
use lxd_model::yaml;
use serde_json::Value;

use crate::context::Context;
use crate::error::{Error, Result};
use crate::render::{json, print};

/// The levels of log messages, the gravest first.
const LEVELS: [&str; 7] = ["panic", "fatal", "error", "warning", "info", "debug", "trace"];

/// The kinds of events that there are.
const KINDS: [&str; 3] = ["logging", "operation", "lifecycle"];

/// `lxc monitor`.
pub(super) async fn monitor(cx: &Context) -> Result<()> {
    let format = if cx.switch("pretty") {
        "pretty"
    } else {
        cx.text("format")
    };
    if !["json", "pretty", "yaml"].contains(&format) {
        return Err(Error::message(format!("Invalid format: {format}")));
    }
    let level = cx.text("loglevel");
    if !level.is_empty() && format != "pretty" {
        return Err(Error::message(
            "Log level filtering can only be used with pretty formatting",
        ));
    }
    let remote = cx.resource_or_default(0)?;
    let kinds: Vec<&str> = cx.list("type").iter().map(String::as_str).collect();
    // A kind that no server knows just never happens; servers refuse to be asked for it.
    let known: Vec<&str> = kinds
        .iter()
        .copied()
        .filter(|kind| KINDS.contains(kind))
        .collect();
    let asked = if known.len() == kinds.len() {
        known
    } else {
        Vec::new()
    };
    let mut events = if cx.switch("all-projects") {
        Events::open_everywhere(&remote.client, &asked).await?
    } else {
        Events::open(&remote.client, &asked).await?
    };
    while let Some(event) = events.next().await? {
        if !kinds.is_empty() && !kinds.contains(&event.r#type.as_str()) {
            continue;
        }
        match format {
            "json" => print(&format!("{}\n\n", json(&by_key(&event))))?,
            "yaml" => print(&format!("{}\n\n", yaml::to_string(&by_key(&event))?))?,
            _ if is_wanted(&event, level) => print(&pretty(&event))?,
            _ => {}
        }
    }
    Ok(())
}

/// The event with its keys in order.
fn by_key(event: &Event) -> Value {
    let mut map = serde_json::Map::new();
    for (key, text) in [("location", &event.location), ("project", &event.project)] {
        if !text.is_empty() {
            map.insert(key.into(), Value::from(text.as_str()));
        }
    }
    map.insert("metadata".into(), sorted(event.metadata.clone()));
    map.insert("timestamp".into(), Value::from(event.timestamp.to_string()));
    map.insert("type".into(), Value::from(event.r#type.as_str()));
    sorted(Value::Object(map))
}

fn sorted(value: Value) -> Value {
    match value {
        Value::Object(fields) => {
            let mut fields: Vec<_> = fields
                .into_iter()
                .map(|(key, value)| (key, sorted(value)))
                .collect();
            fields.sort_by(|a, b| a.0.cmp(&b.0));
            Value::Object(fields.into_iter().collect())
        }
        Value::Array(values) => Value::Array(values.into_iter().map(sorted).collect()),
        value => value,
    }
}

fn is_wanted(event: &Event, level: &str) -> bool {
    if event.r#type != "logging" || level.is_empty() {
        return true;
    }
    let rank = |name: &str| LEVELS.iter().position(|known| *known == name);
    rank(event.metadata["level"].as_str().unwrap_or_default()) <= rank(level)
}

/// One line, in the form of the server's log.
fn pretty(event: &Event) -> String {
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let metadata = &event.metadata;
    let (level, message, fields) = match event.r#type.as_str() {
        "logging" => {
            let fields = metadata["context"].as_object().cloned().unwrap_or_default();
            (text(&metadata["level"]), text(&metadata["message"]), fields)
        }
        "lifecycle" => {
            let mut message = format!(
                "Action: {}, Source: {}",
                text(&metadata["action"]),
                text(&metadata["source"])
            );
            if let Some(who) = metadata["requestor"].as_object() {
                let part = |key: &str| who.get(key).map(text).unwrap_or_default();
                message += &format!(
                    ", Requestor: {}/{} ({})",
                    part("protocol"),
                    part("username"),
                    part("address")
                );
            }
            (
                "info".into(),
                message,
                metadata["context"].as_object().cloned().unwrap_or_default(),
            )
        }
        _ => {
            let message = format!(
                "ID: {}, Class: {}, Description: {}",
                text(&metadata["id"]),
                text(&metadata["class"]),
                text(&metadata["description"])
            );
            let names = [
                ("CreatedAt", "created_at"),
                ("Err", "err"),
                ("Location", "location"),
                ("MayCancel", "may_cancel"),
                ("Metadata", "metadata"),
                ("Resources", "resources"),
                ("Status", "status"),
                ("StatusCode", "status_code"),
                ("UpdatedAt", "updated_at"),
            ];
            let fields = names
                .iter()
                .map(|(shown, key)| ((*shown).to_owned(), operation_field(key, metadata)))
                .collect();
            ("info".into(), message, fields)
        }
    };
    let seconds = event
        .timestamp
        .timestamp()
        .strftime("%Y-%m-%dT%H:%M:%SZ")
        .to_string();
    let mut line = format!("time={} level={level} msg={}", quoted(&seconds), quoted(&message));
    let mut fields: Vec<_> = fields.iter().collect();
    fields.sort_by_key(|(key, _)| key.as_str());
    for (key, value) in fields {
        line += &format!(" {key}={}", quoted(&text(value)));
    }
    line.push('\n');
    line
}

/// A field of an operation, as the log writes it: a state by its name, maps and lists without quotes.
fn operation_field(key: &str, metadata: &Value) -> Value {
    match key {
        "status_code" => metadata["status"].clone(),
        "metadata" | "resources" => match &metadata[key] {
            Value::Null => "map[]".into(),
            value => plain(value).into(),
        },
        _ => metadata[key].clone(),
    }
}

/// A value in the words of Go's `%v`.
fn plain(value: &Value) -> String {
    match value {
        Value::Null => "<nil>".into(),
        Value::String(text) => text.clone(),
        Value::Array(values) => {
            let values: Vec<String> = values.iter().map(plain).collect();
            format!("[{}]", values.join(" "))
        }
        Value::Object(fields) => {
            let mut fields: Vec<_> = fields
                .iter()
                .map(|(key, value)| format!("{key}:{}", plain(value)))
                .collect();
            fields.sort();
            format!("map[{}]", fields.join(" "))
        }
        value => value.to_string(),
    }
}

/// Quotes what is not a plain word.
fn quoted(text: &str) -> String {
    let is_plain = |letter: char| letter.is_ascii_alphanumeric() || "-._/@^+".contains(letter);
    if text.chars().all(is_plain) {
        text.to_owned()
    } else {
        format!("{text:?}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lifecycle_events_are_a_line() {
        let event = Event {
            r#type: "lifecycle".into(),
            timestamp: "2026-11-24T04:04:19.5Z".parse().unwrap(),
            metadata: serde_json::json!({
                "action": "instance-exec",
                "source": "/1.0/instances/c1",
                "context": {"command": "[true]"},
                "requestor": {"protocol": "unix", "username": "root", "address": "@"},
            }),
            ..Event::default()
        };
        assert_eq!(
            pretty(&event),
            "time=\"2026-11-24T04:04:19Z\" level=info msg=\"Action: instance-exec, Source: /1.0/instances/c1, \
             Requestor: unix/root (@)\" command=\"[true]\"\n"
        );
    }

    #[test]
    fn levels_are_ranked() {
        let event = |level: &str| Event {
            r#type: "logging".into(),
            metadata: serde_json::json!({"level": level}),
            ..Event::default()
        };
        assert!(is_wanted(&event("error"), "info"));
        assert!(!is_wanted(&event("debug"), "info"));
        assert!(is_wanted(&event("debug"), ""));
    }
}
