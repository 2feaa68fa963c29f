//! `lxd generate`: prints what is declared in code, for the files under `api/`.

use super::output;
use std::collections::BTreeMap;

use lxd_api::endpoints::{ENDPOINTS, Row};
use lxd_model::config;
use serde_json::{Map, Value, json};

use crate::api;
use crate::command_line::{self, Invocation};

/// Prints one of the generated files.
///
/// # Errors
/// There is no such file.
pub(crate) fn run(invocation: &Invocation) -> Result<(), String> {
    let text = match invocation.arguments.first().map_or("", String::as_str) {
        "not-yet" => not_yet(),
        "api-extensions" => lines(lxd_api::extensions::EXTENSIONS.iter().copied()),
        "config-keys" => pretty(&config::catalog([]))?,
        "openapi" => pretty(&openapi())?,
        "cli" => command_line::reference(),
        "steps" => lines(lxd_core::app::works().steps()),
        other => {
            return Err(format!(
                "Unknown file {other:?}: not-yet, api-extensions, config-keys, openapi, cli or steps"
            ));
        }
    };
    output::print(&text);
    Ok(())
}

/// One line for each endpoint that answers 501.
fn not_yet() -> String {
    let rows = api::not_yet();
    lines(rows.iter().map(|row| format!("{} {}", row.method, row.path)))
}

fn lines<T: AsRef<str>>(lines: impl Iterator<Item = T>) -> String {
    lines.fold(String::new(), |mut text, line| {
        text.push_str(line.as_ref());
        text.push('\n');
        text
    })
}

fn pretty(value: &impl serde::Serialize) -> Result<String, String> {
    serde_json::to_string_pretty(value)
        .map(|text| text + "\n")
        .map_err(|error| error.to_string())
}

/// The table of endpoints in the form of OpenAPI 3.
fn openapi() -> Value {
    let mut paths: BTreeMap<&str, Map<String, Value>> = BTreeMap::new();
    for row in ENDPOINTS.iter().filter(|row| !row.is_internal()) {
        paths
            .entry(row.path)
            .or_default()
            .insert(row.method.to_lowercase(), operation(row));
    }
    json!({
        "openapi": "3.0.3",
        "info": {
            "title": "LXD REST API",
            "version": "1.0",
            "license": {"name": "Apache-2.0", "url": "https://www.apache.org/licenses/LICENSE-2.0"},
        },
        "paths": paths,
    })
}

fn operation(row: &Row) -> Value {
    let parameters: Vec<Value> = row
        .path
        .split('/')
        .filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'))
        .map(|name| json!({"name": name, "in": "path", "required": true, "schema": {"type": "string"}}))
        .collect();
    let responses = if api::handler(row.endpoint).is_some() {
        json!({"2XX": {"description": "Done, or going on as an operation"}, "default": {"description": "Failed"}})
    } else {
        json!({"501": {"description": "Not implemented by this server yet"}})
    };
    json!({"operationId": format!("{:?}", row.endpoint), "parameters": parameters, "responses": responses})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_path_of_the_table_is_described() {
        let document = openapi();
        for row in ENDPOINTS.iter().filter(|row| !row.is_internal()) {
            let operation = &document["paths"][row.path][row.method.to_lowercase()];
            assert_eq!(operation["operationId"], format!("{:?}", row.endpoint));
            let parameters = operation["parameters"].as_array().unwrap();
            assert_eq!(parameters.len(), row.path.matches('{').count());
        }
    }

    #[test]
    fn what_has_no_handler_is_listed() {
        let listed = not_yet();
        for row in ENDPOINTS {
            let line = format!("{} {}", row.method, row.path);
            assert_eq!(
                listed.lines().any(|l| l == line),
                api::handler(row.endpoint).is_none(),
                "{line}"
            );
        }
    }
}
