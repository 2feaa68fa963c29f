//! Serves the files of one instance from inside of its root: for the daemon's requests, or by SFTP.
//!
//! [`serve`] is what the process does that the daemon starts for it. It runs where the instance's root may go, and with no more
//! rights than that has: what is hostile in there (names, links, races, mounts) can fool it only about itself. See
//! [`protocol`] for what it is told and what it answers.

mod enter;
mod files;
pub mod protocol;
mod requests;
mod sftp;
mod socket;

use protocol::{Enter, Reply};
use socket::Socket;

/// Serves the daemon at the other end of standard input until it closes that. Call it while there is only one thread.
///
/// # Errors
/// Why it could not, for the log.
pub fn serve() -> Result<(), String> {
    let socket = Socket::take_stdin().map_err(|e| format!("taking the socket: {e}"))?;
    let first = socket
        .receive()
        .map_err(|e| format!("receiving where to go: {e}"))?;
    let Some((body, fds)) = first else { return Ok(()) };
    let enter = Enter::decode(&body).map_err(|e| e.to_string())?;
    if let Err(failed) = enter::enter(enter, fds) {
        return socket
            .send(&failed.reply(), None)
            .map_err(|e| format!("sending why not: {e}"));
    }
    socket
        .send(&Reply::Ready, None)
        .map_err(|e| format!("sending the answer: {e}"))?;
    let served = if enter.sftp {
        sftp::serve(socket.into_stream())
    } else {
        requests::serve(&socket)
    };
    served.map_err(|e| format!("serving: {e}"))
}
