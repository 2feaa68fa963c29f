//! Files inside instances, reached through processes that live inside their roots.
//!
//! A [`Server`] is one such process. It ends when it is dropped; after a whole request it is kept for a while, as files seldom
//! come alone. All of an instance's servers end when the instance starts or stops.

mod place;
mod transfer;

use std::any::Any;
use std::collections::HashMap;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use lxd_files::protocol::{Enter, Reply, Request};
use lxd_sys::command::Command;
use parking_lot::Mutex;
use tokio::net::UnixStream;
use tokio_util::sync::CancellationToken;

pub use lxd_files::protocol::{Attributes, Kind, Wanted};
pub use place::Place;
pub use transfer::{Contents, Found};

use crate::error::Error;
use crate::instance::Key;
use crate::lxd_helper::Connection;

/// The program that does it: this one, also when its file was replaced meanwhile.
const PROGRAM: &str = "/proc/self/exe";

/// How long a server is kept for the next request.
const KEPT: Duration = Duration::from_secs(5);

/// How many servers of one instance are kept.
const KEPT_MAX: usize = 4;

/// What must not be put away as long as a server uses it.
type Guard = Box<dyn Any + Send + Sync>;

/// The servers of this daemon.
#[derive(Default)]
pub(crate) struct Servers {
    by_key: Mutex<HashMap<Key, Own>>,
}

/// What one instance has.
#[derive(Default)]
struct Own {
    idle: Vec<(Instant, Process)>,
    /// Ends those that are at work.
    end: CancellationToken,
}

/// A process, and where it is.
struct Process {
    connection: Connection,
    /// The init that it belongs to; none for a stopped instance.
    init: Option<i32>,
    /// Dropped after the process has been killed.
    guard: Option<Guard>,
    end: CancellationToken,
}

/// A process that serves files of one instance.
pub struct Server {
    servers: Weak<Servers>,
    key: Key,
    process: Process,
}

impl Servers {
    /// A server that is kept.
    pub(crate) fn idle(self: &Arc<Self>, key: &Key, init: Option<i32>) -> Option<Server> {
        let mut all = self.by_key.lock();
        let own = all.get_mut(key)?;
        own.idle.retain(|(_, process)| process.init == init);
        let (_, process) = own.idle.pop()?;
        Some(Server {
            servers: Arc::downgrade(self),
            key: key.clone(),
            process,
        })
    }

    /// A new server for requests.
    pub(crate) async fn begin(self: &Arc<Self>, key: &Key, place: Place) -> Result<Server, Error> {
        let process = self.enter(key, place, false).await?;
        Ok(Server {
            servers: Arc::downgrade(self),
            key: key.clone(),
            process,
        })
    }

    /// A new server that speaks SFTP.
    pub(crate) async fn sftp(self: &Arc<Self>, key: &Key, place: Place) -> Result<Sftp, Error> {
        let process = self.enter(key, place, true).await?;
        Ok(Sftp { process })
    }

    async fn enter(&self, key: &Key, place: Place, sftp: bool) -> Result<Process, Error> {
        let end = self.by_key.lock().entry(key.clone()).or_default().end.clone();
        let command = Command::new(PROGRAM).arg("forkfile").env_clear();
        let mut connection = Connection::open(command)?;
        connection.kill_on_drop();
        let enter = Enter {
            joins_mounts: place.mounts.is_some(),
            joins_users: place.users.is_some(),
            sftp,
        };
        let fds: Vec<&OwnedFd> = [Some(&place.root), place.mounts.as_ref(), place.users.as_ref()]
            .into_iter()
            .flatten()
            .collect();
        let fds: Vec<_> = fds.into_iter().map(AsFd::as_fd).collect();
        connection.send(&enter.encode(), &fds).await?;
        let mut process = Process {
            connection,
            init: place.init,
            guard: place.guard,
            end,
        };
        match process.receive().await? {
            (Reply::Ready, _) => Ok(process),
            (Reply::Failed { doing, errno }, _) => Err(Error::FileRefused { doing, errno }),
            (other, _) => Err(Error::Protocol(format!("unexpected answer {other:?}"))),
        }
    }

    /// Ends the servers of an instance.
    pub(crate) fn end(&self, key: &Key) {
        let gone = self.by_key.lock().remove(key);
        if let Some(own) = gone {
            own.end.cancel();
        }
    }

    fn keep(self: &Arc<Self>, key: Key, process: Process) {
        if process.end.is_cancelled() {
            return;
        }
        let mut all = self.by_key.lock();
        let is_first = all.values().all(|own| own.idle.is_empty());
        let own = all.entry(key).or_default();
        if own.idle.len() < KEPT_MAX {
            own.idle.push((Instant::now(), process));
        }
        drop(all);
        if is_first {
            tokio::spawn(Self::expire(Arc::downgrade(self)));
        }
    }

    /// Ends servers that nobody has used for a while, until none is left.
    async fn expire(servers: Weak<Self>) {
        loop {
            tokio::time::sleep(KEPT / 2).await;
            let Some(servers) = servers.upgrade() else { return };
            let mut old = Vec::new();
            let mut is_empty = true;
            for own in servers.by_key.lock().values_mut() {
                let (kept, gone): (Vec<_>, Vec<_>) = std::mem::take(&mut own.idle)
                    .into_iter()
                    .partition(|(since, _)| since.elapsed() < KEPT);
                is_empty &= kept.is_empty();
                own.idle = kept;
                old.extend(gone);
            }
            drop(old);
            if is_empty {
                return;
            }
        }
    }
}

impl Process {
    async fn send(&mut self, request: &Request) -> Result<(), Error> {
        let body = request.encode();
        tokio::select! {
            sent = self.connection.send(&body, &[]) => sent,
            () = self.end.cancelled() => Err(ended()),
        }
    }

    async fn receive(&mut self) -> Result<(Reply, Option<OwnedFd>), Error> {
        let (body, fds) = tokio::select! {
            received = self.connection.receive_body() => received?,
            () = self.end.cancelled() => return Err(ended()),
        };
        let reply = Reply::decode(&body).map_err(|e| Error::Protocol(e.to_string()))?;
        Ok((reply, fds.into_iter().next()))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let Some(guard) = self.guard.take() else { return };
        // The volume is in use for as long as there is a process in it.
        let Ok(process) = lxd_sys::command::Process::adopt(self.connection.pid()) else {
            return;
        };
        let _ = process.kill();
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move {
                let _ = process.ended().await;
                drop(guard);
            });
        }
    }
}

fn ended() -> Error {
    Error::Protocol("the instance was started or stopped meanwhile".into())
}

impl Server {
    async fn ask(&mut self, request: &Request) -> Result<(Reply, Option<OwnedFd>), Error> {
        self.process.send(request).await?;
        self.process.receive().await
    }

    /// Keeps the process for the next request.
    fn give_back(self) {
        if let Some(servers) = self.servers.upgrade() {
            servers.keep(self.key, self.process);
        }
    }
}

/// A process that speaks SFTP.
pub struct Sftp {
    process: Process,
}

impl Sftp {
    /// The socket on which it speaks.
    pub fn stream(&mut self) -> &mut UnixStream {
        self.process.connection.stream()
    }

    /// Cancelled when the instance starts or stops.
    pub fn end(&self) -> CancellationToken {
        self.process.end.clone()
    }
}
