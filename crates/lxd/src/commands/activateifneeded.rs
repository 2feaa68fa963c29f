//! `lxd activateifneeded`.

use tokio::net::UnixStream;

use super::client::block_on;
use crate::command_line::Invocation;

/// Connects to the daemon's socket, which makes systemd start it, if the databases on disk say that there is
/// something to do.
///
/// # Errors
/// The databases can't be read, or nobody listens on the socket.
pub(crate) fn run(invocation: &Invocation) -> Result<(), String> {
    if !invocation.dir.join("database/local.db").exists() {
        tracing::debug!("No local database, so no need to start the daemon now");
        return Ok(());
    }
    block_on(async {
        let socket = invocation.dir.join("unix.socket");
        let _ = UnixStream::connect(socket)
            .await
            .map_err(|error| error.to_string())?;
        Ok(())
    })
}
