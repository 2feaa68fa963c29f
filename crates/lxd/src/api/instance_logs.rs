//! `/1.0/instances/NAME/logs` and the log of its console.

use http::header::CONTENT_DISPOSITION;
use lxd_core::instances::logs;
use lxd_core::urls;
use lxd_model::ErrorKind;
use tokio_util::io::ReaderStream;

use super::instances::noun;
use crate::http::answer::{self, Outcome};
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
    let size = opened.metadata().await.map_err(failed)?.len();
    let mut answer = answer::stream("application/octet-stream", Some(size), ReaderStream::new(opened));
    answer::set_header(
        &mut answer,
        CONTENT_DISPOSITION,
        &format!("inline;filename={file}"),
    );
    Ok(answer)
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
