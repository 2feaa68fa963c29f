//! Carries out a system call in the place of a container's process: in its mount namespace, beneath its root, with its
//! user's rights to files, and with the one privilege that the call needs.

mod calls;
mod mount;
mod place;
mod run;

use std::io;
use std::os::fd::OwnedFd;

use liblxc::intercepted::{Call, Intercepted};
use liblxc::protocol::Reply;

use crate::socket::Socket;
use place::Place;

/// Serves one request on standard input.
pub(crate) fn serve() -> Result<(), String> {
    let socket = Socket::take_stdin().map_err(|e| format!("taking the socket: {e}"))?;
    let (body, fds) = socket
        .receive()
        .map_err(|e| format!("receiving the request: {e}"))?;
    let asked = Intercepted::decode(&body).map_err(|e| e.to_string())?;
    let [process] =
        <[OwnedFd; 1]>::try_from(fds).map_err(|fds| format!("{} descriptors came, not 1", fds.len()))?;
    let errno = match perform(&asked, process) {
        Ok(()) => 0,
        Err(error) => error.raw_os_error().unwrap_or(libc::EIO),
    };
    socket
        .send(&Reply::Exited(errno), &[])
        .map_err(|e| format!("sending the answer: {e}"))
}

fn perform(asked: &Intercepted, process: OwnedFd) -> io::Result<()> {
    match &asked.call {
        Call::Node {
            at,
            path,
            mode,
            major,
            minor,
        } => {
            let place = Place::enter(&process, Some(*at))?;
            calls::node(&place, &asked.caller, path, (*mode, *major, *minor))
        }
        Call::Attribute {
            path,
            name,
            value,
            flags,
        } => {
            Place::enter(&process, None)?;
            calls::attribute(&asked.caller, path, (name, value), *flags)
        }
        Call::Mount(wanted) => {
            let place = Place::enter(&process, None)?;
            mount::mount(&place, &asked.caller, wanted)
        }
        Call::Scheduler {
            pid,
            on_host,
            policy,
            priority,
        } => calls::scheduler(&process, (*pid, *on_host), *policy, *priority),
        Call::Run { command, uid, gid } => run::run(&process, command, (*uid, *gid)),
    }
}
