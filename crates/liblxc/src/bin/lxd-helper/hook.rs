//! What liblxc runs as hooks: making the network cards, and telling the daemon that a container has stopped.

use std::io::Write;
use std::os::unix::net::UnixDatagram;
use std::process::ExitCode;
use std::time::Duration;

use liblxc::protocol::{HookMessage, Nic};

use crate::link;

/// How long a daemon that does not read may hold up a stop.
const PATIENCE: Duration = Duration::from_secs(2);

/// `lxc.hook.start-host`: makes the cards in the network namespace of process `LXC_PID`. liblxc keeps what a hook
/// says to itself, so the reason of a failure goes to the container's log too.
pub(crate) fn net(log: &str, arguments: &[&str]) -> Result<(), String> {
    told(log, "net - start-host", create(arguments))
}

/// `lxc.hook.stop`: gives the host its own cards back, before they go with the network namespace of `LXC_NET_NS`.
pub(crate) fn net_back(log: &str, arguments: &[&str]) -> Result<(), String> {
    told(log, "net-back - stop", give_back(arguments))
}

fn told(log: &str, what: &str, done: Result<(), String>) -> Result<(), String> {
    if let Err(reason) = &done
        && let Ok(mut file) = std::fs::OpenOptions::new().append(true).open(log)
    {
        let _ = writeln!(file, "lxd-helper ERROR {what} - {reason}");
    }
    done
}

fn parse(arguments: &[&str]) -> Result<Vec<Nic>, String> {
    let nics = arguments.iter().map(|text| Nic::parse(text));
    nics.collect::<Result<_, _>>().map_err(|e| e.to_string())
}

fn give_back(arguments: &[&str]) -> Result<(), String> {
    let path =
        std::env::var("LXC_NET_NS").map_err(|_| "LXC_NET_NS is not set: not run by liblxc".to_owned())?;
    let namespace = std::fs::File::open(&path).map_err(|e| format!("opening {path}: {e}"))?;
    link::give_back(&namespace, &parse(arguments)?).map_err(|e| format!("giving network cards back: {e}"))
}

fn create(arguments: &[&str]) -> Result<(), String> {
    let pid = std::env::var("LXC_PID").map_err(|_| "LXC_PID is not set: not run by liblxc".to_owned())?;
    let nics = parse(arguments)?;
    let namespace = format!("/proc/{pid}/ns/net");
    let namespace = std::fs::File::open(&namespace).map_err(|e| format!("opening {namespace}: {e}"))?;
    for nic in &nics {
        link::create(nic, &namespace)
            .map_err(|e| format!("creating network cards {} and {}: {e}", nic.host_name, nic.name))?;
    }
    link::raise_inside(&namespace, &nics).map_err(|e| format!("setting the network cards up: {e}"))
}

/// Tells the daemon. Succeeds also when it is away, so that nothing holds up a stop, with one exception: a
/// container that wants to reboot is left to a daemon that listens, by a failure, after which liblxc does not
/// start it by itself.
pub(crate) fn send(socket: &str, project: &str, name: &str, kind: &str) -> ExitCode {
    let message = HookMessage {
        project: project.to_owned(),
        name: name.to_owned(),
        kind: kind.to_owned(),
        target: std::env::var("LXC_TARGET").unwrap_or_default(),
    };
    match deliver(socket, &message) {
        Ok(()) if message.kind == "post-stop" && message.target == "reboot" => ExitCode::FAILURE,
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("telling the daemon at {socket}: {error}");
            ExitCode::SUCCESS
        }
    }
}

fn deliver(socket: &str, message: &HookMessage) -> std::io::Result<()> {
    let sender = UnixDatagram::unbound()?;
    sender.set_write_timeout(Some(PATIENCE))?;
    sender.send_to(&message.encode(), socket).map(drop)
}
