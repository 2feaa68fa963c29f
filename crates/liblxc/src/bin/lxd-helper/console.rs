//! Attaches to a container's console, or reads the ring buffer behind it.

use std::os::fd::AsFd;
use std::path::Path;

use liblxc::container::{Container, Error};
use liblxc::protocol::{Console, ConsoleAction, Reply};

use crate::socket::Socket;

/// Serves one request on standard input.
pub(crate) fn serve() -> Result<(), String> {
    let socket = Socket::take_stdin().map_err(|e| format!("taking the socket: {e}"))?;
    let (body, _) = socket
        .receive()
        .map_err(|e| format!("receiving the request: {e}"))?;
    let console = Console::decode(&body).map_err(|e| e.to_string())?;
    let sent = match act(&console) {
        Ok(Answer::Taken(held, master)) => socket.send(&Reply::Running(0), &[held.as_fd(), master.as_fd()]),
        Ok(Answer::Log(text)) => socket.send(&Reply::Log(text), &[]),
        Err(error) => socket.send(&Reply::Failed(error.to_string()), &[]),
    };
    sent.map_err(|e| format!("sending the answer: {e}"))
}

enum Answer {
    Taken(std::os::fd::OwnedFd, std::os::fd::OwnedFd),
    Log(Vec<u8>),
}

fn act(console: &Console) -> Result<Answer, Error> {
    let container = Container::new(&console.name, Path::new(&console.lxcpath))?;
    match console.action {
        ConsoleAction::Attach => container
            .console()
            .map(|(held, master)| Answer::Taken(held, master)),
        ConsoleAction::Log => container.console_log(false).map(Answer::Log),
        ConsoleAction::Clear => container.console_log(true).map(Answer::Log),
    }
}
