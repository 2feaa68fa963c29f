//! Serves one proxy device: one small process that carries bytes between the host and a container.

mod conversation;
mod engine;
mod place;
mod poll;
mod sockets;

use std::fs::File;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;

use liblxc::protocol::Reply;
use liblxc::proxy::Proxy;

use crate::socket::Socket;
use engine::Engine;

/// Serves one request on standard input: answers as soon as everything listens, then carries until the container ends or a
/// signal comes.
pub(crate) fn serve(log: &str) -> Result<(), String> {
    let socket = Socket::take_stdin().map_err(|e| format!("taking the socket: {e}"))?;
    let (body, namespaces) = socket
        .receive()
        .map_err(|e| format!("receiving the request: {e}"))?;
    let proxy = Proxy::decode(&body).map_err(|e| e.to_string())?;
    let prepared = open_log(log).and_then(|mut log| {
        let mut engine = Engine::new(&proxy, namespaces).inspect_err(|reason| {
            // The daemon is told the same.
            let _ = writeln!(log, "Error: {reason}");
        })?;
        let _ = writeln!(log, "Status: Started");
        engine.log_to(log);
        Ok(engine)
    });
    let told = |reply| {
        socket
            .send(&reply, &[])
            .map_err(|e| format!("sending the answer: {e}"))
    };
    match prepared {
        Ok(mut engine) => {
            let pid = i32::try_from(std::process::id()).unwrap_or_default();
            told(Reply::Running(pid))?;
            drop(socket);
            engine.run().map_err(|e| format!("waiting for events: {e}"))
        }
        Err(reason) => told(Reply::Failed(reason)),
    }
}

/// Opens the device's log anew and sends what a panic would say there too.
fn open_log(path: &str) -> Result<File, String> {
    let log = File::options()
        .create(true)
        .write(true)
        .truncate(true)
        .mode(0o600)
        .open(path);
    let log = log.map_err(|e| format!("opening {path}: {e}"))?;
    place::detach(&log).map_err(|e| format!("leaving the daemon's session: {e}"))?;
    Ok(log)
}
