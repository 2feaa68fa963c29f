//! `lxc query`: any request to the API.

use bytes::Bytes;
use http::Method;
use lxd_api::envelope::{AnyResponse, ResponseType};
use lxd_api::operations::Operation;
use lxd_client::{Background, path};
use serde_json::Value;

use crate::context::Context;
use crate::error::{Error, Result};
use crate::render::{pretty_json, print, print_line};

/// `lxc query`.
pub(super) async fn query(cx: &Context) -> Result<()> {
    let remote = cx.resource(cx.argument(0))?;
    if cx.given("project") {
        return Err(Error::message("--project cannot be used with the query command"));
    }
    if !remote.name.starts_with('/') {
        return Err(Error::message("Query path must start with /"));
    }
    let method = Method::from_bytes(cx.text("request").as_bytes())
        .map_err(|_| Error::message(format!("Invalid method {:?}", cx.text("request"))))?;
    let client = remote.client.in_project("");
    let body = Bytes::from(cx.text("data").to_owned());
    let reply = client.raw(method, &remote.name, body).await?;
    let Ok(answer) = serde_json::from_slice::<AnyResponse>(&reply.body) else {
        // Files come as they are.
        return print(&String::from_utf8_lossy(&reply.body));
    };
    if answer.r#type == ResponseType::Error {
        return Err(Error::message(answer.error));
    }
    if cx.switch("raw") {
        let whole: Value = serde_json::from_slice(&reply.body).unwrap_or_default();
        return print_line(&format!("{}\n", pretty_json(&whole)));
    }
    let mut content = answer.metadata;
    if cx.switch("wait") && answer.r#type == ResponseType::Async {
        let operation: Operation = serde_json::from_value(content).unwrap_or_default();
        let id = operation.id.clone();
        let waited = cx.wait(&Background::of(&client, operation), "").await;
        content = client.get(&path(&["operations", &id])).await?;
        waited?;
    }
    match content {
        Value::Null => Ok(()),
        Value::Object(fields) if fields.is_empty() => Ok(()),
        Value::String(text) => print_line(&text),
        content => print_line(&format!("{}\n", pretty_json(&sorted(content)))),
    }
}

/// Objects with their keys in order, as Go's maps are written.
fn sorted(value: Value) -> Value {
    match value {
        Value::Object(fields) => {
            let mut fields: Vec<_> = fields.into_iter().collect();
            fields.sort_by(|a, b| a.0.cmp(&b.0));
            Value::Object(
                fields
                    .into_iter()
                    .map(|(key, value)| (key, sorted(value)))
                    .collect(),
            )
        }
        Value::Array(values) => Value::Array(values.into_iter().map(sorted).collect()),
        value => value,
    }
}
