//! Answers system calls of containers that seccomp has held up.
//!
//! liblxc's monitor of a container connects to the daemon's socket, again where the daemon was away, and sends each call as
//! one datagram with three descriptors. While nobody listens the calls fail. What is decided here is carried out by the
//! helper, in the container's namespaces.

mod bpf;
mod call;
mod message;
mod process;

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener as StdListener;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use liblxc::intercepted::Intercepted;
use liblxc::protocol::Reply;
use lxd_sys::cgroup::Cgroups;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendFlags,
    SocketAddrUnix, SocketFlags, SocketType,
};
use tokio::io::Interest;
use tokio::net::{UnixListener, UnixStream};

use self::call::Decision;
use self::message::{Message, Verdict};
use self::process::Process;
use super::{adopt, blocking};
use crate::error::Error;
use crate::instance::Instance;
use crate::lxd_helper::Helper;

/// Larger than any message.
const MESSAGE_MAX: usize = 4096;
/// How long a container may be unknown: the daemon may have just begun to take over what runs.
const PATIENCE: Duration = Duration::from_secs(5);
const PAUSE: Duration = Duration::from_millis(50);

// errno.h
const EPERM: i32 = 1;
const EIO: i32 = 5;

/// Finds a container by the folder above its own and its name, as its monitor's title shows them.
pub(crate) type Find = Box<dyn Fn(&Path, &str) -> Option<Arc<Instance>> + Send + Sync>;

/// The daemon's side of intercepted calls.
pub(crate) struct Interceptor {
    helper: Helper,
    find: Find,
}

/// Makes the socket, in the place of that of a daemon that is gone.
pub(crate) fn listen(path: &Path) -> io::Result<UnixListener> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)?;
    rustix::net::bind(&socket, &SocketAddrUnix::new(path)?)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
    rustix::net::listen(&socket, 128)?;
    // It differs from a stream only in that it keeps datagrams apart, which nothing below depends on.
    UnixListener::from_std(StdListener::from(socket))
}

impl Interceptor {
    pub(crate) fn new(helper: Helper, find: Find) -> Arc<Self> {
        Arc::new(Self { helper, find })
    }

    /// Serves the monitors for as long as the future lives.
    pub(crate) async fn run(self: Arc<Self>, listener: UnixListener) {
        loop {
            match listener.accept().await {
                Ok((stream, _)) => {
                    tokio::spawn(Arc::clone(&self).serve(stream));
                }
                Err(error) => {
                    tracing::warn!(%error, "Failed to accept a container's monitor");
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    }

    /// Serves one monitor: it sends a call and waits for the answer before it sends the next one.
    async fn serve(self: Arc<Self>, stream: UnixStream) {
        loop {
            let mut fds = Vec::new();
            let receive = || receive(&stream, &mut fds);
            let bytes = match stream.async_io(Interest::READABLE, receive).await {
                Ok(bytes) if bytes.is_empty() => return,
                Ok(bytes) => bytes,
                Err(error) => {
                    tracing::debug!(%error, "A container's monitor has gone");
                    return;
                }
            };
            let Some(message) = Message::parse(&bytes) else {
                tracing::warn!(
                    length = bytes.len(),
                    "Ignored a container's monitor that makes no sense"
                );
                return;
            };
            let verdict = self.judge(&message, fds).await;
            let answer = message.answer(verdict);
            let sent = stream.async_io(Interest::WRITABLE, || send(&stream, &answer));
            if let Err(error) = sent.await {
                tracing::debug!(%error, "A container's monitor did not take an answer");
                return;
            }
        }
    }

    async fn judge(&self, message: &Message, fds: Vec<OwnedFd>) -> Verdict {
        let Some(process) = Process::of(fds).map(Arc::new) else {
            return Verdict::Continue;
        };
        let Some(instance) = self.instance_of(message.monitor).await else {
            tracing::warn!(monitor = message.monitor, "A system call of an unknown container");
            return Verdict::Continue;
        };
        let decided = {
            let (instance, message, process) = (instance.clone(), message.clone(), process.clone());
            blocking(move || Ok(call::decide(&instance, &message, &process))).await
        };
        let decision = match decided {
            Ok(Ok(decision)) => decision,
            Ok(Err(error)) => return Verdict::Failed(error.raw_os_error().unwrap_or(EIO)),
            Err(_) => return Verdict::Failed(EIO),
        };
        // All that was read is about this call only if it waits still.
        if !process.is_waiting(message.id) {
            return Verdict::Failed(EPERM);
        }
        tracing::debug!(instance = %instance.key, number = message.number, ?decision, "System call");
        let done = match decision {
            Decision::Answer(verdict) => return verdict,
            Decision::Perform(asked) => self.perform(&asked, &process, None).await,
            Decision::PerformInside(asked) => self.perform(&asked, &process, Some(message.pid)).await,
            Decision::Program(asked) => {
                let (process, id) = (process.clone(), message.id);
                let program = move || Ok(bpf::perform(&asked, &instance, &process, id));
                return match blocking(program).await {
                    Ok(Ok(value)) => Verdict::Done(value),
                    Ok(Err(error)) => Verdict::Failed(error.raw_os_error().unwrap_or(EPERM)),
                    Err(_) => Verdict::Failed(EIO),
                };
            }
        };
        match done {
            Ok(0) => Verdict::Done(0),
            Ok(errno) => Verdict::Failed(errno),
            Err(error) => {
                tracing::warn!(instance = %instance.key, %error, "Failed to carry out a system call");
                Verdict::Failed(EIO)
            }
        }
    }

    /// The container of a monitor, for whose title it is asked.
    async fn instance_of(&self, monitor: i32) -> Option<Arc<Instance>> {
        let (folder, name) = adopt::title_of(monitor)?;
        let until = tokio::time::Instant::now() + PATIENCE;
        loop {
            if let Some(found) = (self.find)(&folder, &name) {
                return Some(found);
            }
            if tokio::time::Instant::now() > until {
                return None;
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Lets the helper make the call; its `errno`. With the control groups of another process, where it leaves something
    /// running.
    async fn perform(
        &self,
        asked: &Intercepted,
        process: &Process,
        groups_of: Option<u32>,
    ) -> Result<i32, Error> {
        let mut connection = self.helper.connect("intercept")?;
        if let (Some(other), helper) = (groups_of, connection.pid()) {
            let moved = blocking(move || Ok(join_groups(other.cast_signed(), helper))).await?;
            moved.map_err(|error| Error::Protocol(format!("joining the control groups: {error}")))?;
        }
        connection
            .send(&asked.encode(), &[process.folder.as_fd()])
            .await?;
        match connection.receive().await? {
            (Reply::Exited(errno), _) => Ok(errno),
            (other, _) => Err(Error::Protocol(format!("unexpected answer {other:?}"))),
        }
    }
}

/// Moves a process to the control groups of another one.
fn join_groups(of: i32, pid: i32) -> Result<(), lxd_sys::cgroup::Error> {
    let groups = Cgroups::detect()?;
    groups.group_of(of, |_| false)?.add(pid)
}

fn receive(stream: &UnixStream, fds: &mut Vec<OwnedFd>) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; MESSAGE_MAX];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(4))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let flags = RecvFlags::CMSG_CLOEXEC;
    let received = rustix::net::recvmsg(stream, &mut [IoSliceMut::new(&mut bytes)], &mut control, flags)?;
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(rights) = message {
            fds.extend(rights);
        }
    }
    bytes.truncate(received.bytes);
    Ok(bytes)
}

fn send(stream: &UnixStream, bytes: &[u8]) -> io::Result<()> {
    let mut control = SendAncillaryBuffer::default();
    let parts = [IoSlice::new(bytes)];
    rustix::net::sendmsg(stream, &parts, &mut control, SendFlags::NOSIGNAL)?;
    Ok(())
}
