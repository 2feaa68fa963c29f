//! `lxc file mount`.

use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream as StdStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use lxd_client::SftpStream;
use tokio::net::UnixStream;

use crate::context::{Context, Resource};
use crate::error::{Error, Result};
use crate::render::print_line;

/// Shows a folder of an instance as a folder here, until interrupted.
pub(super) async fn mount(cx: &Context) -> Result<()> {
    let resource = cx.resource(cx.argument(0))?;
    let (name, path) = resource.name.split_once('/').map_or_else(
        || (resource.name.clone(), None),
        |(name, path)| (name.to_owned(), Some(path.to_owned())),
    );
    let target = cx.arguments().get(1);
    if let Some(target) = target {
        if cx.given("listen") {
            return Err(Error::message(
                "Target path and --listen flag cannot be used together",
            ));
        }
        let found = std::fs::metadata(target).map_err(|error| {
            let text = error.to_string().to_lowercase();
            let text = text.split(" (os error").next().unwrap_or_default();
            Error::message(format!("stat {target}: {text}"))
        })?;
        if !found.is_dir() {
            return Err(Error::message("Target path must be a directory"));
        }
        let resource = Resource { name, ..resource };
        return with_sshfs(&resource, &path.unwrap_or_default(), Path::new(target)).await;
    }
    if path.is_some() {
        return Err(Error::message(
            "Instance path cannot be used in SSH SFTP listener mode",
        ));
    }
    super::super::not_yet()
}

/// Lets sshfs do it, which finds the server at its standard input and output.
async fn with_sshfs(resource: &Resource, path: &str, target: &Path) -> Result<()> {
    let sftp = resource.client.sftp(&resource.name).await?;
    let (ours, theirs) = StdStream::pair().map_err(no_sshfs)?;
    ours.set_nonblocking(true).map_err(no_sshfs)?;
    let child = start_sshfs(&format!("{}:/{path}", resource.name), target, theirs)?;
    print_line(&format!(
        "sshfs mounting {:?} on {:?}",
        format!("{}/{path}", resource.name),
        target.display().to_string()
    ))?;
    print_line("Press ctrl+c to finish")?;
    let ours = UnixStream::from_std(ours).map_err(no_sshfs)?;
    serve(sftp, ours).await;
    finish(child, target).await
}

async fn serve(mut sftp: SftpStream, mut ours: UnixStream) {
    tokio::select! {
        _ = tokio::io::copy_bidirectional(&mut sftp, &mut ours) => {}
        _ = tokio::signal::ctrl_c() => {}
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "sshfs takes over the terminal's messages; nothing else is to be logged or timed"
)]
fn start_sshfs(source: &str, target: &Path, stream: StdStream) -> Result<Child> {
    let stream = OwnedFd::from(stream);
    let input = stream.try_clone().map_err(no_sshfs)?;
    Command::new("sshfs")
        .args(["-o", "slave", source])
        .arg(target)
        .stdin(Stdio::from(input))
        .stdout(Stdio::from(stream))
        .spawn()
        .map_err(no_sshfs)
}

/// sshfs ends when its input does, and takes the mount away; it may be asked for twice.
async fn finish(mut child: Child, target: &Path) -> Result<()> {
    let ended = tokio::task::spawn_blocking(move || child.wait()).await;
    match ended {
        Ok(Ok(status)) if status.success() => Ok(()),
        Ok(Ok(status)) => Err(Error::message(format!("sshfs on {}: {status}", target.display()))),
        _ => Err(Error::message(format!("sshfs on {} is gone", target.display()))),
    }
}

fn no_sshfs(error: std::io::Error) -> Error {
    match error.kind() {
        std::io::ErrorKind::NotFound => {
            Error::message("sshfs not found. Try SSH SFTP mode using the --listen flag")
        }
        _ => Error::Terminal {
            doing: "Failed to run sshfs",
            source: error,
        },
    }
}
