//! The commands: each noun has a file, whose `run` knows the commands of that noun by their path.

mod alias;
mod client;
mod config;
mod configured;
mod console;
mod copy;
mod delete;
mod device;
mod exec;
mod export;
mod file;
mod image;
mod image_alias;
mod image_copy;
mod image_list;
mod import;
mod info;
mod instance_migration;
mod launch;
mod list;
mod manpage;
mod monitor;
mod network;
mod network_info;
mod operation;
mod profile;
mod project;
mod publish;
mod query;
mod remote;
mod rename;
mod resources;
mod snapshot;
mod state;
mod storage;
mod storage_volume;
mod storage_volume_devices;
mod storage_volume_info;
mod storage_volume_list;
mod storage_volume_migration;
mod storage_volume_snapshot;
mod storage_volume_transfer;
mod template;
mod trust;
mod trust_token;
mod warning;

use self::state::Action;
use crate::context::Context;
use crate::error::{Error, Result};

/// Runs the command with a path, as in `config device add`.
pub(crate) async fn run(cx: &mut Context, path: &str) -> Result<()> {
    match path.split(' ').next().unwrap_or_default() {
        "alias" => alias::run(cx, path),
        "cluster" => client::cluster(cx, path).await,
        "config" if path.starts_with("config trust ") => trust::run(cx, path).await,
        "config" => config::run(cx, path).await,
        "console" => console::console(cx).await,
        "copy" => copy::copy(cx).await,
        "delete" => delete::delete(cx).await,
        "exec" => exec::exec(cx).await,
        "export" => export::export(cx).await,
        "import" => import::import(cx).await,
        "file" => file::run(cx, path).await,
        "image" => image::run(cx, path).await,
        "info" => info::info(cx).await,
        "init" => launch::init(cx).await,
        "launch" => launch::launch(cx).await,
        "list" => list::list(cx).await,
        "manpage" => manpage::manpage(cx),
        "move" => copy::move_instance(cx).await,
        "monitor" => monitor::monitor(cx).await,
        "network" => network::run(cx, path).await,
        "operation" => operation::run(cx, path).await,
        "pause" => state::change(cx, Action::Pause).await,
        "profile" => profile::run(cx, path).await,
        "project" => project::run(cx, path).await,
        "publish" => publish::publish(cx).await,
        "query" => query::query(cx).await,
        "remote" => remote::run(cx, path).await,
        "rename" => rename::rename(cx).await,
        "restore" => snapshot::restore(cx).await,
        "restart" => state::change(cx, Action::Restart).await,
        "snapshot" => snapshot::snapshot(cx).await,
        "start" => state::change(cx, Action::Start).await,
        "stop" => state::change(cx, Action::Stop).await,
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
