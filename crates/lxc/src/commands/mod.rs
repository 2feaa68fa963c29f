//! The commands: each noun has a file, whose `run` knows the commands of that noun by their path.

mod alias;
mod client;
mod configured;
mod image;
mod image_alias;
mod image_list;
mod monitor;
mod network;
mod network_info;
mod operation;
mod project;
mod query;
mod remote;
mod storage;
mod storage_volume;
mod trust;
mod warning;

use crate::context::Context;
use crate::error::{Error, Result};

/// Runs the command with a path, as in `config device add`.
pub(crate) async fn run(cx: &mut Context, path: &str) -> Result<()> {
    match path.split(' ').next().unwrap_or_default() {
        "alias" => alias::run(cx, path),
        "config" if path.starts_with("config trust ") => trust::run(cx, path).await,
        "image" => image::run(cx, path).await,
        "monitor" => monitor::monitor(cx).await,
        "network" => network::run(cx, path).await,
        "operation" => operation::run(cx, path).await,
        "project" => project::run(cx, path).await,
        "query" => query::query(cx).await,
        "remote" => remote::run(cx, path).await,
        "storage" => storage::run(cx, path).await,
        "version" => client::version(cx).await,
        "warning" => warning::run(cx, path).await,
        _ => not_yet(),
    }
}

/// What commands of the table say that nobody has built yet.
pub(crate) fn not_yet() -> Result<()> {
    Err(Error::message("not implemented yet"))
}
