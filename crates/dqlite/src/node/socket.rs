//! The node's unix socket, in a network namespace of its own so that no other user of the host can reach it.
//!
//! The library listens on abstract sockets only and asks no caller who it is, so anybody on the host could read and
//! write the database. Abstract names are looked up in the network namespace of the calling socket: a node that is
//! bound in a fresh, empty namespace can be reached only by who holds that namespace's descriptor, which is this
//! process. Where a namespace can't be made (no privileges), the node is bound in the current one.
#![allow(
    unsafe_code,
    reason = "unshare is unsafe to call in a process with other threads"
)]

use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::thread::{LinkNameSpaceType, UnshareFlags, move_into_link_name_space, unshare_unsafe};

use crate::error::Error;

/// Where a node listens.
#[derive(Debug, Clone)]
pub(super) struct Address {
    /// The abstract name, without the `@` that stands for its leading NUL byte.
    name: String,
    /// The network namespace that it is in, where that is not the process's own.
    namespace: Option<Arc<File>>,
}

impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "@{}", self.name)
    }
}

/// Calls `bind` with an address (`@name`) that is free, on a thread in a network namespace of its own.
pub(super) fn bind<T: Send>(
    bind: impl FnOnce(&str) -> Result<T, Error> + Send,
) -> Result<(T, Address), Error> {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let name = format!(
        "dqlite-{}-{}",
        std::process::id(),
        NEXT.fetch_add(1, Ordering::Relaxed)
    );
    let bound = std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            let namespace = enter_new_namespace()
                .inspect_err(
                    |error| tracing::debug!(%error, "no network namespace for the database's socket"),
                )
                .ok();
            bind(&format!("@{name}")).map(|value| (value, namespace))
        });
        thread.join()
    });
    let (value, namespace) = match bound {
        Ok(result) => result?,
        Err(panic) => std::panic::resume_unwind(panic),
    };
    Ok((
        value,
        Address {
            name,
            namespace: namespace.map(Arc::new),
        },
    ))
}

/// Connects to a node; blocks for as long as the node's backlog is full.
pub(super) fn connect(address: &Address) -> io::Result<UnixStream> {
    let socket_address = SocketAddr::from_abstract_name(&address.name)?;
    let Some(namespace) = &address.namespace else {
        return UnixStream::connect_addr(&socket_address);
    };
    // The thread ends afterwards, so nothing else is ever run in the other namespace.
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))?;
            UnixStream::connect_addr(&socket_address)
        });
        thread
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// Puts the calling thread into a new network namespace.
fn enter_new_namespace() -> io::Result<File> {
    // SAFETY: only NEWNET is unshared, which affects nothing that other threads rely on, such as the table of
    // descriptors.
    unsafe { unshare_unsafe(UnshareFlags::NEWNET) }?;
    File::open("/proc/thread-self/ns/net")
}
