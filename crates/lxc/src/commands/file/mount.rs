//! `lxc file mount`: a folder of an instance as a folder here, or for anybody who speaks SFTP.

use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream as StdStream;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use rustix::fs::{Access, access};
use tokio::net::{TcpListener, UnixStream};

use super::clean;
use super::ssh::{Login, serve};
use crate::context::{Context, Resource};
use crate::error::{Error, Result};
use crate::render::print_line;

/// Where the listener is when nobody says.
const LISTEN: &str = "127.0.0.1:0";

/// Shows a folder of an instance as a folder here, or serves its files by SSH, until interrupted.
pub(super) async fn mount(cx: &Context) -> Result<()> {
    let word = cx.argument(0);
    let Some(target) = cx.arguments().get(1) else {
        let resource = cx.resource(word)?;
        if resource.name.contains('/') {
            return Err(Error::message(
                "Instance path cannot be used in SSH SFTP listener mode",
            ));
        }
        return listen(cx, &resource).await;
    };
    if cx.given("listen") {
        return Err(Error::message(
            "Target path and --listen flag cannot be used together",
        ));
    }
    let found = std::fs::metadata(target)
        .map_err(|error| Error::message(format!("stat {target}: {}", reason(&error))))?;
    if !found.is_dir() {
        return Err(Error::message("Target path must be a directory"));
    }
    let resource = cx.resource(word)?;
    let Some((name, path)) = resource.name.split_once('/') else {
        return Err(Error::message(format!(
            "Invalid instance path: {:?}",
            resource.name
        )));
    };
    let (name, path) = (name.to_owned(), clean(path));
    with_sshfs(&Resource { name, ..resource }, &path, target).await
}

/// Serves SFTP until the user ends it.
async fn listen(cx: &Context, resource: &Resource) -> Result<()> {
    // Whoever connects later is not to find out that there is no such instance.
    let path = lxd_client::path(&["instances", &resource.name]);
    resource.client.get::<serde_json::Value>(&path).await?;
    let listener = bind(cx.text("listen")).await?;
    let bound = listener.local_addr().map_err(|error| unheard("", &error))?;
    let login = match cx.switch("no-auth") {
        true => None,
        false => Some(Login::new(cx.text("auth-user"))?),
    };
    print_line(&format!("SSH SFTP listening on {bound}"))?;
    match &login {
        Some(Login { user, password }) => {
            print_line(&format!("Login with username {user:?} and password {password:?}"))?;
        }
        None => print_line("Login without username and password")?,
    }
    serve(listener, &resource.client, &resource.name, login).await
}

/// Listens where the user wants, in the form of the reference: `HOST:PORT`, where no host means all addresses.
async fn bind(wanted: &str) -> Result<TcpListener> {
    let wanted = match wanted {
        "" => LISTEN,
        wanted => wanted,
    };
    let wrong = |what: &str| {
        Err(Error::message(format!(
            "Failed to listen for connection: listen tcp: address {what}"
        )))
    };
    let Some((host, port)) = wanted.rsplit_once(':') else {
        return wrong(&format!("{wanted}: missing port in address"));
    };
    let Ok(number) = port.parse::<u16>() else {
        return wrong(&format!("{port}: invalid port"));
    };
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let bound = match host {
        "" => match TcpListener::bind(("::", number)).await {
            // A host without IPv6.
            Err(_) => TcpListener::bind(("0.0.0.0", number)).await,
            bound => bound,
        },
        host => {
            let found = tokio::net::lookup_host((host, number)).await;
            let Ok(addresses) = found.map(Vec::from_iter) else {
                return Err(Error::message(format!(
                    "Failed to listen for connection: listen tcp: lookup {host}: no such host"
                )));
            };
            // The reference takes IPv4 where a name has both.
            let chosen = addresses.iter().find(|address| address.is_ipv4());
            TcpListener::bind(chosen.or(addresses.first()).map_or(&[][..], std::slice::from_ref)).await
        }
    };
    bound.map_err(|error| unheard(&format!(" {wanted}: bind"), &error))
}

fn unheard(place: &str, error: &std::io::Error) -> Error {
    Error::message(format!(
        "Failed to listen for connection: listen tcp{place}: {}",
        reason(error)
    ))
}

/// Lets sshfs do it, which finds the server at its standard input and output.
async fn with_sshfs(resource: &Resource, path: &str, target: &str) -> Result<()> {
    let Some(program) = find_program("sshfs") else {
        return Err(Error::message(
            "sshfs not found. Try SSH SFTP mode using the --listen flag",
        ));
    };
    let connected = resource.client.sftp(&resource.name).await;
    let mut sftp =
        connected.map_err(|error| Error::message(format!("Failed connecting to instance SFTP: {error}")))?;
    let (mut ours, theirs) = UnixStream::pair().map_err(unstarted)?;
    let theirs = theirs.into_std().map_err(unstarted)?;
    let source = format!("lxd.{}:{path}", resource.name);
    let child = start_sshfs(&program, &source, target, theirs)?;
    let shown = target.trim_end_matches('/');
    print_line(&format!(
        "sshfs mounting {:?} on {:?}",
        format!("{}{path}", resource.name),
        if shown.is_empty() { "/" } else { shown },
    ))?;
    print_line("Press ctrl+c to finish")?;
    tokio::select! {
        _ = tokio::io::copy_bidirectional(&mut sftp, &mut ours) => {}
        // Without its server sshfs unmounts and ends.
        _ = tokio::signal::ctrl_c() => {}
    }
    drop(ours);
    finish(child).await
}

/// Where a program is on the user's path.
fn find_program(name: &str) -> Option<PathBuf> {
    let folders = std::env::var_os("PATH")?;
    let mut files = std::env::split_paths(&folders).map(|folder| folder.join(name));
    files.find(|file| access(file, Access::EXEC_OK).is_ok())
}

#[expect(
    clippy::disallowed_methods,
    reason = "sshfs takes over the terminal's messages; nothing else is to be logged or timed"
)]
fn start_sshfs(program: &Path, source: &str, target: &str, stream: StdStream) -> Result<Child> {
    // sshfs does not expect a stream that is not ready.
    stream.set_nonblocking(false).map_err(unstarted)?;
    let stream = OwnedFd::from(stream);
    let input = stream.try_clone().map_err(unstarted)?;
    Command::new(program)
        .args(["-o", "slave", source, target])
        .stdin(Stdio::from(input))
        .stdout(Stdio::from(stream))
        .spawn()
        .map_err(unstarted)
}

/// Waits for sshfs, which takes the mount away as it ends.
async fn finish(mut child: Child) -> Result<()> {
    let ended = tokio::task::spawn_blocking(move || child.wait()).await;
    let gone = |_| Error::message("Failed waiting for sshfs");
    let status = ended.map_err(gone)?.map_err(unstarted)?;
    if status.success() {
        return print_line("sshfs has stopped");
    }
    Err(Error::message(match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit status {code}"),
        (None, Some(signal)) => format!("signal: {signal}"),
        (None, None) => status.to_string(),
    }))
}

fn unstarted(error: std::io::Error) -> Error {
    Error::message(format!("Failed starting sshfs: {}", reason(&error)))
}

/// What the kernel says, as the reference's client says it.
fn reason(error: &std::io::Error) -> String {
    let text = error.to_string().to_lowercase();
    text.split(" (os error").next().unwrap_or_default().to_owned()
}
