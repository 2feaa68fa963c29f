//! The state directory: made, and claimed by one daemon.

use std::fs::{DirBuilder, File, Permissions, TryLockError};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use lxd_core::paths::Paths;

use super::log::errno_text;

/// The mode of the state directory: instances' users pass through it.
const MODE: u32 = 0o711;

/// Why the state directory can't be used. The texts are the reference's.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DirectoryError {
    /// Only root can run containers.
    #[error("This must be run as root")]
    NotRoot,
    /// Somebody serves this directory.
    #[error("LXD is already running")]
    Running,
    /// A directory can't be made.
    #[error("Failed to init dir {path:?}: mkdir {}: {}", path.display(), errno_text(.reason))]
    Make {
        /// The directory.
        path: PathBuf,
        /// Why not; part of the text.
        reason: io::Error,
    },
    /// The mode of a directory can't be set: it is on a file system that is not writable, say.
    #[error("Failed to chmod dir {path:?}: chmod {}: {}", path.display(), errno_text(.reason))]
    Mode {
        /// The directory.
        path: PathBuf,
        /// Why not; part of the text.
        reason: io::Error,
    },
    /// The file with the daemon's pid can't be written.
    #[error("Failed to write {path:?}: {}", errno_text(.reason))]
    Pid {
        /// The file.
        path: PathBuf,
        /// Why not; part of the text.
        reason: io::Error,
    },
}

/// The right to use the state directory. The lock on the pid file ends with the process, however it ends.
pub(crate) struct Claim {
    lock: File,
}

/// Makes the state directory and claims it.
///
/// # Errors
/// It can't be made or written, or another daemon has it.
pub(crate) async fn claim(paths: &Paths) -> Result<Claim, DirectoryError> {
    if !rustix::process::geteuid().is_root() {
        return Err(DirectoryError::NotRoot);
    }
    make(paths.root(), MODE)?;
    // The reference takes no lock, but answers on its socket.
    if !has_inherited_sockets() && tokio::net::UnixStream::connect(paths.socket()).await.is_ok() {
        return Err(DirectoryError::Running);
    }
    lock(paths)
}

impl Claim {
    /// Gives the directory up, leaving no pid behind.
    pub(crate) fn release(self, paths: &Paths) {
        let _ = std::fs::remove_file(paths.pid_file());
        drop(self.lock);
    }
}

fn has_inherited_sockets() -> bool {
    std::env::var_os("LISTEN_PID").is_some()
}

/// Claims a state directory that is there.
///
/// # Errors
/// Another daemon has it, or it can't be written.
pub(crate) fn lock(paths: &Paths) -> Result<Claim, DirectoryError> {
    let path = &paths.pid_file();
    let failed = |reason| DirectoryError::Pid {
        path: path.to_owned(),
        reason,
    };
    let mut options = File::options();
    let mut file = options
        .create(true)
        .truncate(false)
        .write(true)
        .mode(0o644)
        .open(path)
        .map_err(failed)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Err(DirectoryError::Running),
        Err(TryLockError::Error(reason)) => return Err(failed(reason)),
    }
    file.set_len(0)
        .and_then(|()| writeln!(file, "{}", std::process::id()))
        .map_err(failed)?;
    Ok(Claim { lock: file })
}

fn make(path: &Path, mode: u32) -> Result<(), DirectoryError> {
    match DirBuilder::new().mode(mode).create(path) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        Err(reason) => {
            return Err(DirectoryError::Make {
                path: path.to_owned(),
                reason,
            });
        }
    }
    std::fs::set_permissions(path, Permissions::from_mode(mode)).map_err(|reason| DirectoryError::Mode {
        path: path.to_owned(),
        reason,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_directory_has_one_daemon_at_a_time() {
        let dir = tempfile::tempdir().unwrap();
        let paths = Paths::new(dir.path().join("lxd"));
        let first = claim(&paths).await.unwrap();
        let pid = std::fs::read_to_string(paths.pid_file()).unwrap();
        assert_eq!(pid, format!("{}\n", std::process::id()));
        assert!(matches!(claim(&paths).await, Err(DirectoryError::Running)));
        first.release(&paths);
        assert!(!paths.pid_file().exists());
        claim(&paths).await.unwrap().release(&paths);
        assert_eq!(
            std::fs::metadata(paths.root()).unwrap().permissions().mode() & 0o7777,
            0o711
        );
    }

    #[tokio::test]
    async fn what_can_not_be_made_is_told_as_the_reference_tells_it() {
        let error = claim(&Paths::new("/proc/foo")).await.err().unwrap().to_string();
        assert_eq!(
            error,
            "Failed to init dir \"/proc/foo\": mkdir /proc/foo: no such file or directory"
        );
    }
}
