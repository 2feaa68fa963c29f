//! The commands: each noun has a file, whose `run` knows the commands of that noun by their path.

mod client;

use crate::context::Context;
use crate::error::{Error, Result};

/// Runs the command with a path, as in `config device add`.
pub(crate) async fn run(cx: &mut Context, path: &str) -> Result<()> {
    match path.split(' ').next().unwrap_or_default() {
        "version" => client::version(cx).await,
        _ => not_yet(),
    }
}

/// What commands of the table say that nobody has built yet.
pub(crate) fn not_yet() -> Result<()> {
    Err(Error::message("not implemented yet"))
}
