//! Tells when files of the host come and go, and when the kernel reports hardware.
#![allow(unsafe_code, reason = "registering a descriptor with the runtime")]

use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use rustix::net::netlink::{KOBJECT_UEVENT, SocketAddrNetlink};
use rustix::net::{AddressFamily, SocketFlags, SocketType};
use tokio::io::unix::AsyncFd;

/// The multicast group of the kernel's own events; the other one is udev's.
const KERNEL: u32 = 1;

/// Room for one event of the kernel (2 KiB with its environment), or many of inotify.
const BUFFER: usize = 16 * 1024;

/// A look-out for changes of the host. What has changed it does not say: look at what you need.
#[derive(Debug)]
pub struct Watch {
    files: Option<AsyncFd<OwnedFd>>,
    hardware: Option<AsyncFd<OwnedFd>>,
}

impl Watch {
    /// Looks out for these paths, which need not exist, and for `hardware`. Inside a runtime only.
    ///
    /// # Errors
    /// The kernel has no room for another watch.
    pub fn new(paths: &[PathBuf], hardware: bool) -> io::Result<Self> {
        Ok(Self {
            files: if paths.is_empty() {
                None
            } else {
                Some(files(paths)?)
            },
            hardware: if hardware { Some(events()?) } else { None },
        })
    }

    /// Waits for the next change; for ever if nothing is looked out for.
    pub async fn changed(&self) {
        tokio::select! {
            () = readable(self.files.as_ref()) => {}
            () = readable(self.hardware.as_ref()) => {}
        }
    }
}

fn files(paths: &[PathBuf]) -> io::Result<AsyncFd<OwnedFd>> {
    let fd = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
    let flags = WatchFlags::CREATE
        | WatchFlags::DELETE
        | WatchFlags::MOVED_FROM
        | WatchFlags::MOVED_TO
        | WatchFlags::DELETE_SELF
        | WatchFlags::MOVE_SELF;
    for path in paths {
        // The way to a path that is not there is watched where it ends.
        let mut above = path.parent().unwrap_or(Path::new("/"));
        while !above.is_dir() {
            above = above.parent().unwrap_or(Path::new("/"));
        }
        inotify::add_watch(&fd, above, flags)?;
    }
    register(fd)
}

fn events() -> io::Result<AsyncFd<OwnedFd>> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let fd = rustix::net::socket_with(
        AddressFamily::NETLINK,
        SocketType::DGRAM,
        flags,
        Some(KOBJECT_UEVENT),
    )?;
    rustix::net::bind(&fd, &SocketAddrNetlink::new(0, KERNEL))?;
    register(fd)
}

fn register(fd: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: the descriptor is owned by the registration alone and stays open as long as it.
    Ok(unsafe { AsyncFd::register(fd)? })
}

/// Waits until there is something to read, and reads all of it.
async fn readable(fd: Option<&AsyncFd<OwnedFd>>) {
    let Some(fd) = fd else {
        return std::future::pending().await;
    };
    let Ok(mut ready) = fd.readable().await else {
        return std::future::pending().await;
    };
    let mut buffer = [0_u8; BUFFER];
    while let Ok(1..) | Err(rustix::io::Errno::INTR | rustix::io::Errno::NOBUFS) =
        rustix::io::read(fd.get_ref(), &mut buffer)
    {}
    ready.clear_ready();
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    async fn soon(watch: &Watch) -> bool {
        tokio::time::timeout(Duration::from_secs(10), watch.changed())
            .await
            .is_ok()
    }

    #[tokio::test]
    async fn a_path_that_comes_is_seen_and_silence_is_silent() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a/b");
        let watch = Watch::new(&[path], false).unwrap();
        std::fs::create_dir(folder.path().join("a")).unwrap();
        assert!(soon(&watch).await);
        let quiet = tokio::time::timeout(Duration::from_millis(50), watch.changed()).await;
        assert!(quiet.is_err());
        std::fs::remove_dir(folder.path().join("a")).unwrap();
        assert!(soon(&watch).await);
    }

    #[tokio::test]
    async fn the_kernels_events_are_seen() {
        let watch = Watch::new(&[], true).unwrap();
        // Asks the kernel to tell of a device again that is there anyway.
        if std::fs::write("/sys/class/mem/null/uevent", "change").is_ok() {
            assert!(soon(&watch).await);
        }
    }
}
