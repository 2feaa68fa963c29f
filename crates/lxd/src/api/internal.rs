//! `/internal`: what the sub-commands ask of the daemon.

use lxd_core::instances::recover;
use lxd_core::sql::{self, Database};
use lxd_model::ErrorKind;
use serde::Deserialize;
use serde_json::json;

use crate::daemon::stop::How;
use crate::http::answer::{self, Outcome};
use crate::http::error::Failure;
use crate::http::request::Call;

/// Says whether start-up is done.
pub(super) async fn ready(call: Call) -> Outcome {
    let stop = &call.edge.stop;
    if stop.is_wanted() {
        return Err(Failure::new(ErrorKind::Unavailable, "LXD is shutting down"));
    }
    if !stop.is_ready() {
        return Err(Failure::new(ErrorKind::Unavailable, "LXD daemon not ready yet"));
    }
    answer::empty()
}

/// Gives memory that is not in use back to the kernel.
pub(super) async fn collect(_: Call) -> Outcome {
    lxd_sys::memory::trim();
    answer::empty()
}

/// Stops instances and daemon; answers when only the daemon's own end is left.
pub(super) async fn shutdown(call: Call) -> Outcome {
    let stop = &call.edge.stop;
    if stop.is_wanted() {
        return Err(Failure::new(
            ErrorKind::BadRequest,
            "Shutdown already in progress",
        ));
    }
    stop.request(How::StopInstances {
        force: call.flag("force"),
    });
    stop.finished().await;
    answer::empty()
}

#[derive(Deserialize)]
struct Query {
    #[serde(default)]
    database: String,
    #[serde(default)]
    query: String,
}

/// Looks for volumes that the database does not know.
pub(super) async fn find_lost(mut call: Call) -> Outcome {
    let post = call.json().await?;
    answer::sync(&recover::validate(&call.app, &call.ctx, post).await?)
}

/// Brings them back.
pub(super) async fn recover(mut call: Call) -> Outcome {
    let post = call.json().await?;
    recover::import(&call.app, &call.ctx, post).await?;
    answer::empty()
}

/// Prints a database as SQL.
pub(super) async fn dump(call: Call) -> Outcome {
    let database = Database::parse(&call.query("database").unwrap_or_default())?;
    let text = sql::dump(&call.app, &call.ctx, database, call.flag("schema")).await?;
    answer::sync(&json!({ "text": text }))
}

/// Runs SQL in a database.
pub(super) async fn query(mut call: Call) -> Outcome {
    let Query { database, query } = call.json().await?;
    answer::sync(&sql::run(&call.app, &call.ctx, Database::parse(&database)?, &query).await?)
}
