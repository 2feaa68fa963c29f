//! `/1.0/operations`.

use std::collections::BTreeMap;
use std::time::Duration;

use lxd_core::urls;

use crate::http::answer::{self, Outcome};
use crate::http::error::Failure;
use crate::http::request::Call;
use crate::http::websocket;

/// Lists operations by their state.
pub(super) async fn list(call: Call) -> Outcome {
    let operations = call.app.operations.list(&call.ctx, call.all_projects())?;
    if call.recursion() > 0 {
        return answer::sync(&operations);
    }
    let url = |operation: &lxd_api::operations::Operation| urls::plain(&["operations", &operation.id]);
    let urls: BTreeMap<&str, Vec<String>> = operations
        .iter()
        .map(|(state, group)| (state.as_str(), group.iter().map(url).collect()))
        .collect();
    answer::sync(&urls)
}

/// Shows an operation.
pub(super) async fn get(call: Call) -> Outcome {
    let [id] = call.params();
    answer::sync(&call.app.operations.get(&call.ctx, id).await?)
}

/// Cancels an operation.
pub(super) async fn delete(call: Call) -> Outcome {
    let [id] = call.params();
    call.app.operations.cancel(&call.ctx, id)?;
    answer::empty()
}

/// Waits for the end of an operation.
pub(super) async fn wait(call: Call) -> Outcome {
    let [id] = call.params();
    let timeout = match call.query("timeout").filter(|text| !text.is_empty()) {
        Some(text) => {
            let seconds: i64 = text
                .parse()
                .map_err(|_| Failure::bad_request(format!("Invalid timeout {text:?}")))?;
            u64::try_from(seconds).ok().map(Duration::from_secs)
        }
        None => None,
    };
    let secret = call.query("secret");
    answer::sync(
        &call
            .app
            .operations
            .wait(&call.ctx, id, secret.as_deref(), timeout)
            .await?,
    )
}

/// Connects to a websocket of an operation.
pub(super) async fn websocket(mut call: Call) -> Outcome {
    let secret = call.query("secret").filter(|secret| !secret.is_empty());
    let secret = secret.ok_or_else(|| Failure::bad_request("missing secret"))?;
    let [id] = call.params();
    let id = id.to_owned();
    let handshake = match websocket::handshake(&mut call) {
        Ok(handshake) => handshake,
        Err(refusal) => {
            // Who has no business here learns that first.
            return if call.app.operations.find(&id).is_some() {
                Ok(*refusal)
            } else {
                Err(unknown())
            };
        }
    };
    let ticket = call.app.operations.connect(&id, &secret)?;
    Ok(handshake.then(async move |connection| ticket.attach(websocket::socket(connection))))
}

fn unknown() -> Failure {
    Failure::new(lxd_model::ErrorKind::NotFound, "Operation not found")
}
