//! The node's unix socket: abstract, and open to this process alone.
//!
//! The library listens on abstract sockets only, which have no owner and no mode. It asks the kernel who calls
//! (`SO_PEERCRED`) and hangs up on every process but its own, so no other user of the host gets at the database.

use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixStream};
use std::sync::atomic::{AtomicU64, Ordering};

/// A name for an abstract socket that no other node in this network namespace has.
pub(super) fn free_name() -> String {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    format!(
        "dqlite-{}-{}",
        std::process::id(),
        NEXT.fetch_add(1, Ordering::Relaxed)
    )
}

/// Connects to a node in this process; its loop accepts at once, so this does not block for long.
pub(super) fn connect(name: &str) -> io::Result<UnixStream> {
    let stream = UnixStream::connect_addr(&SocketAddr::from_abstract_name(name)?)?;
    stream.set_nonblocking(true)?;
    Ok(stream)
}
