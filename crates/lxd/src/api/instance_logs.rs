//! `/1.0/instances/NAME/logs` and the log of its console.

use lxd_core::instances::logs;
use lxd_core::urls;
use lxd_model::ErrorKind;

use super::instances::noun;
use crate::http::answer::{self, Outcome};
use crate::http::download;
use crate::http::error::Failure;
use crate::http::request::Call;

/// Lists log files.
pub(super) async fn list(call: Call) -> Outcome {
    let [name] = call.params();
    let files = logs::list(&call.app, &call.ctx, name).await?;
    let url = |file: &String| urls::object(&call.ctx.project, &[noun(&call), name, "logs", file]);
    answer::sync(&files.iter().map(url).collect::<Vec<_>>())
}

/// Sends a log file.
pub(super) async fn get(call: Call) -> Outcome {
    let [name, file] = call.params();
    let path = logs::path(&call.app, &call.ctx, name, file).await?;
    let failed = |error: std::io::Error| Failure::new(ErrorKind::Internal, error.to_string());
    let opened = tokio::fs::File::open(&path).await.map_err(failed)?;
    let found = opened.metadata().await.map_err(failed)?;
    let file = download::File {
        filename: file.to_owned(),
        size: found.len(),
        modified: found.modified().map_err(failed)?,
        file: opened.into_std().await,
    };
    Ok(download::whole_or_part(file, call.header("range"), ()))
}

/// Removes a log file.
pub(super) async fn delete(call: Call) -> Outcome {
    let [name, file] = call.params();
    logs::delete(&call.app, &call.ctx, name, file).await?;
    answer::empty()
}

/// Sends what the console showed.
pub(super) async fn console(call: Call) -> Outcome {
    let [name] = call.params();
    let text = logs::console(&call.app, &call.ctx, name).await?;
    Ok(answer::bytes("application/octet-stream", text))
}

/// Forgets what the console showed.
pub(super) async fn clear_console(call: Call) -> Outcome {
    let [name] = call.params();
    logs::clear_console(&call.app, &call.ctx, name).await?;
    answer::empty()
}
