//! `lxd activateifneeded`.

use lxd_core::activation;
use lxd_core::paths::Paths;
use tokio::net::UnixStream;

use super::client::block_on;
use crate::command_line::{Invocation, chain};
use crate::daemon::directory::{self, DirectoryError};

/// Connects to the daemon's socket, which makes systemd start it, if the databases on disk say that there is
/// something to do.
///
/// # Errors
/// The databases can't be read, or nobody listens on the socket.
pub(crate) fn run(invocation: &Invocation) -> Result<(), String> {
    let paths = Paths::new(&invocation.dir);
    if !paths.node_database().exists() {
        tracing::debug!("No local database, so no need to start the daemon now");
        return Ok(());
    }
    block_on(async {
        let claim = match directory::lock(&paths) {
            Ok(claim) => claim,
            Err(DirectoryError::Running) => {
                tracing::debug!("The daemon runs, so no need to start it now");
                return Ok(());
            }
            Err(error) => return Err(chain(&error)),
        };
        let reason = activation::reason(&invocation.dir).await;
        claim.release(&paths);
        match reason.map_err(|error| error.text())? {
            Some(reason) => tracing::debug!("Daemon has {}, activating...", reason.as_str()),
            None => {
                tracing::debug!("No need to start the daemon now");
                return Ok(());
            }
        }
        let connected = UnixStream::connect(paths.socket()).await;
        connected
            .map(drop)
            .map_err(|error| format!("Failed to connect to {}: {error}", paths.socket().display()))
    })
}
