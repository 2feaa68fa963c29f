//! Mount namespaces of single processes: what is mounted there nobody else sees, and it goes with the last of them.

use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use super::{MountError, Propagation, set_propagation, set_read_only};

/// Makes a mount namespace like ours, which ours does not see into, and lets `arrange` mount there. It lives as long as the descriptor, or a
/// process in it (see [`crate::command::Command::namespace`]). Blocks.
///
/// # Errors
/// The namespace can't be made; whatever `arrange` says.
pub fn private_namespace<E>(arrange: impl FnOnce() -> Result<(), E> + Send) -> Result<OwnedFd, E>
where
    E: From<MountError> + Send,
{
    let on_thread = move || {
        // SAFETY: changes only this thread, which ends right after.
        if unsafe { libc::unshare(libc::CLONE_NEWNS) } != 0 {
            let error = std::io::Error::last_os_error();
            return Err(MountError::call("leaving the mounts at", Path::new("/"), error).into());
        }
        // What goes away outside goes away here, too, and is not kept busy.
        set_propagation(Path::new("/"), Propagation::Slave, true)?;
        arrange()?;
        Ok(open(Path::new("/proc/thread-self/ns/mnt"))?.into())
    };
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().name("mounts".into());
        let thread = thread.spawn_scoped(scope, on_thread).map_err(|error| {
            MountError::call("starting a thread for the mounts at", Path::new("/"), error)
        })?;
        thread
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// Makes all that is mounted in the namespace read-only; what is mounted afterwards is as it says itself.
///
/// # Errors
/// The kernel refuses.
pub fn freeze_all() -> Result<(), MountError> {
    set_read_only(open(Path::new("/"))?.as_fd(), true)
}

fn open(path: &Path) -> Result<File, MountError> {
    File::open(path).map_err(|error| MountError::call("opening", path, error))
}
