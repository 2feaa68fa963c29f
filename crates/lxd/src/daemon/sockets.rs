//! The unix socket: made with the right owner and mode, or inherited from systemd.

use std::fs::Permissions;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use lxd_core::paths::Paths;
use rustix::process::{PidfdFlags, PidfdGetfdFlags, getpid, pidfd_getfd, pidfd_open};
use tokio::net::UnixListener;

use super::log::errno_text;
use super::users;

/// Why there is no unix socket. The texts are the reference's.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SocketError {
    /// `--group` names a group that is not there.
    #[error("local endpoint: cannot get group ID of '{0}': group: unknown group {0}")]
    Group(String),
    /// The socket can't be made.
    #[error("local endpoint: cannot {action} socket {path:?}: {}", errno_text(.reason))]
    Make {
        /// What was being done.
        action: &'static str,
        /// The socket.
        path: PathBuf,
        /// Why not; part of the text.
        reason: io::Error,
    },
}

/// The listener of the unix socket.
pub(crate) struct Local {
    /// The listener.
    pub(crate) listener: UnixListener,
    /// Whether systemd made the socket; then its file stays when the daemon ends.
    pub(crate) is_inherited: bool,
}

/// Listens on the unix socket: the one that systemd passed, or a new one for root and a group.
///
/// # Errors
/// The group is not there, or the socket can't be made.
pub(crate) fn listen(paths: &Paths, group: Option<&str>) -> Result<Local, SocketError> {
    let path = paths.socket();
    let failed = |action| {
        let path = path.clone();
        move |reason: io::Error| SocketError::Make { action, path, reason }
    };
    if let Some(fd) = inherited().map_err(failed("inherit"))? {
        let listener = std::os::unix::net::UnixListener::from(fd);
        listener.set_nonblocking(true).map_err(failed("use"))?;
        let listener = UnixListener::from_std(listener).map_err(failed("use"))?;
        return Ok(Local {
            listener,
            is_inherited: true,
        });
    }
    let gid = match group.filter(|name| !name.is_empty()) {
        Some(name) => Some(users::group_id(name).ok_or_else(|| SocketError::Group(name.to_owned()))?),
        None => None,
    };
    // Whoever left it there is gone: this daemon has the directory's lock.
    match std::fs::remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed("remove")(error)),
        _ => {}
    }
    let old = rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o177));
    let listener = UnixListener::bind(&path);
    rustix::process::umask(old);
    let listener = listener.map_err(failed("bind"))?;
    std::os::unix::fs::chown(&path, Some(0), Some(gid.unwrap_or(0))).map_err(failed("change owner of"))?;
    std::fs::set_permissions(&path, Permissions::from_mode(0o660)).map_err(failed("change mode of"))?;
    Ok(Local {
        listener,
        is_inherited: false,
    })
}

/// The first socket that systemd passed.
fn inherited() -> io::Result<Option<OwnedFd>> {
    let Some(fd) = sd_notify::listen_fds()?.next() else {
        return Ok(None);
    };
    // A duplicate through the kernel: a number alone is no proof that this process owns what is behind it.
    let own = pidfd_open(getpid(), PidfdFlags::empty())?;
    Ok(Some(pidfd_getfd(own, fd, PidfdGetfdFlags::empty())?))
}
