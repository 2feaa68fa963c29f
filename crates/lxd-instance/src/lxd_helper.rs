//! Runs `lxd-helper`, the small program that does what forks, and talks to it.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::Duration;

use liblxc::protocol::{self, Nic, Reply, Started};
use lxd_sys::command::{Child, Command, Stream};
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt, Interest};
use tokio::net::UnixStream;

use crate::drivers::Saving;
use crate::error::Error;
use crate::instances::Features;

/// Longer than any start: hooks of `raw.lxc` may take their time.
const START_LIMIT: Duration = Duration::from_secs(300);
const CHECK_LIMIT: Duration = Duration::from_secs(20);
/// Longer than it takes to write down the memory of all processes.
const SAVE_LIMIT: Duration = Duration::from_secs(3600);

/// A container as liblxc knows it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Named<'a> {
    pub(crate) name: &'a str,
    pub(crate) lxcpath: &'a Path,
    pub(crate) config: &'a Path,
}

/// What is to be around the processes that are brought back.
#[derive(Debug)]
pub(crate) struct Restored<'a> {
    /// The ids of the container's root on the host.
    pub(crate) uid: u32,
    /// See `uid`.
    pub(crate) gid: u32,
    /// Whose map the files of its root are seen through.
    pub(crate) userns: Option<OwnedFd>,
    /// Where CRIU's log goes, too.
    pub(crate) log: &'a Path,
    pub(crate) cards: Vec<&'a Nic>,
}

/// The helper program.
#[derive(Debug, Clone)]
pub(crate) struct Helper {
    path: PathBuf,
}

impl Helper {
    pub(crate) fn new(path: PathBuf) -> Self {
        Self { path }
    }

    /// The program's path, for hooks.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Starts a container; returns once it is RUNNING, or with nothing when it has ended again by then.
    pub(crate) async fn start(
        &self,
        name: &str,
        lxcpath: &Path,
        config: &Path,
    ) -> Result<Option<Started>, Error> {
        let command = self.command("start").arg(name).arg(lxcpath).arg(config);
        let shown = format!(
            "{} start {name} {} {}",
            self.path.display(),
            lxcpath.display(),
            config.display()
        );
        let output = command.accept(&[1]).timeout(START_LIMIT).output().await;
        let output = output.map_err(Error::Helper)?;
        if output.code == 0 {
            return started(&output.text());
        }
        // liblxc repeats its errors on standard error; the log's lines, which the helper prints last, are enough.
        let stderr = String::from_utf8_lossy(&output.stderr);
        let lines: Vec<&str> = stderr
            .lines()
            .filter(|line| !line.contains(".c: ") && !line.contains(".c:"))
            .collect();
        Err(Error::Start {
            command: shown,
            reason: lines.join("; "),
        })
    }

    /// Has what runs in a container saved.
    pub(crate) async fn dump(&self, container: Named<'_>, saving: &Saving) -> Result<(), Error> {
        let end = if saving.stops { "stop" } else { "keep" };
        let options = liblxc::saved::unfinished(&saving.folder).join(liblxc::saved::OPTIONS);
        let command = self.command_with_programs("dump", container);
        let command = command.env("CRIU_CONFIG_FILE", options);
        let command = command.arg(&saving.folder).arg(end).arg(&saving.log);
        let output = command.accept(&[1]).timeout(SAVE_LIMIT).output().await;
        let output = output.map_err(Error::Helper)?;
        match output.code {
            0 => Ok(()),
            _ => Err(Error::Dump(reason(&output.stderr))),
        }
    }

    /// Lets what was saved go on; returns as [`Self::start`] does.
    pub(crate) async fn restore(
        &self,
        container: Named<'_>,
        saved: &Path,
        root: Restored<'_>,
    ) -> Result<Option<Started>, Error> {
        let mapped = if root.userns.is_some() { "mapped" } else { "plain" };
        let mut command = self
            .command_with_programs("restore", container)
            .env("CRIU_CONFIG_FILE", saved.join(liblxc::saved::OPTIONS))
            .arg(saved)
            .args([root.uid.to_string(), root.gid.to_string(), mapped.to_owned()])
            .arg(root.log)
            .args(root.cards.iter().map(|card| card.to_argument()));
        if let Some(userns) = root.userns {
            command = command.fd(userns, 3);
        }
        let output = command.accept(&[1]).timeout(SAVE_LIMIT).output().await;
        let output = output.map_err(Error::Helper)?;
        if output.code == 0 {
            return started(&output.text());
        }
        let (name, lxcpath, config) = (
            container.name,
            container.lxcpath.display(),
            container.config.display(),
        );
        Err(Error::Restore {
            command: format!(
                "{} restore {name} {lxcpath} {config} {}",
                self.path.display(),
                saved.display()
            ),
            reason: reason(&output.stderr),
        })
    }

    /// Whether liblxc accepts a configuration file.
    pub(crate) async fn check(&self, config: &Path) -> Result<bool, Error> {
        let command = self
            .command("check")
            .arg(config)
            .accept(&[1])
            .timeout(CHECK_LIMIT);
        Ok(command.output().await.map_err(Error::Helper)?.code == 0)
    }

    /// What the installed liblxc can do.
    pub(crate) async fn features(&self) -> Result<Features, Error> {
        let output = self
            .command("features")
            .timeout(CHECK_LIMIT)
            .output()
            .await
            .map_err(Error::Helper)?;
        let text = output.text();
        let mut lines = text.lines();
        let version = lines.next().unwrap_or_default().to_owned();
        let present: Vec<&str> = lines.collect();
        let extension = |name: &str| (name.to_owned(), present.contains(&name));
        Ok(Features {
            version,
            extensions: protocol::EXTENSIONS.into_iter().map(extension).collect(),
        })
    }

    /// Runs the helper in namespaces of a guest; `words` are its command and arguments.
    pub(crate) async fn inside(&self, words: &[&str], namespaces: Vec<OwnedFd>) -> Result<(), Error> {
        let mut command = Command::new(&self.path).env_clear().args(words);
        for (namespace, number) in namespaces.into_iter().zip(3..) {
            command = command.fd(namespace, number);
        }
        self.run(command).await
    }

    /// Makes network cards in the network namespace of a running process.
    pub(crate) async fn plug_cards(&self, pid: i32, log: &Path, cards: &[Nic]) -> Result<(), Error> {
        let command = self.command("net").arg(log).env("LXC_PID", pid.to_string());
        self.run(command.args(cards.iter().map(Nic::to_argument))).await
    }

    /// Changes a running container's control group through its monitor.
    pub(crate) async fn set_cgroup(
        &self,
        name: &str,
        lxcpath: &Path,
        key: &str,
        value: &str,
    ) -> Result<(), Error> {
        let command = self.command("cgroup").arg(name).arg(lxcpath);
        self.run(command.arg(key).arg(value)).await
    }

    /// Runs the helper to its end; what it says is the reason of its failure.
    async fn run(&self, command: Command) -> Result<(), Error> {
        let output = command.accept(&[1]).timeout(CHECK_LIMIT).output().await;
        let output = output.map_err(Error::Helper)?;
        if output.code == 0 {
            return Ok(());
        }
        let stderr = String::from_utf8_lossy(&output.stderr);
        Err(Error::Inside(stderr.trim().to_owned()))
    }

    /// Runs the helper with a socket to talk to it.
    pub(crate) fn connect(&self, command: &str) -> Result<Connection, Error> {
        self.connect_with(&[command])
    }

    /// The same with arguments.
    pub(crate) fn connect_with(&self, words: &[&str]) -> Result<Connection, Error> {
        Connection::open(Command::new(&self.path).env_clear().args(words))
    }

    /// With the daemon's `PATH`, for CRIU and what it runs itself.
    fn command_with_programs(&self, name: &str, container: Named<'_>) -> Command {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let command = self.command(name).env("PATH", path);
        command
            .arg(container.name)
            .arg(container.lxcpath)
            .arg(container.config)
    }

    /// Without a `PATH`: where liblxc finds `newuidmap`, it runs it to write id maps, and then insists that `/etc/subuid` allows
    /// them to root. Where it does not, it writes them itself, which also saves four processes a start.
    fn command(&self, name: &str) -> Command {
        Command::new(&self.path).arg(name).env_clear()
    }
}

fn started(text: &str) -> Result<Option<Started>, Error> {
    if text.is_empty() {
        return Ok(None);
    }
    let started = Started::parse(text).map_err(|e| Error::Protocol(e.to_string()))?;
    Ok(Some(started))
}

/// What the helper said at its end, without what liblxc said before.
fn reason(stderr: &[u8]) -> String {
    let text = String::from_utf8_lossy(stderr);
    let lines = text.lines().filter(|line| !is_of_liblxc(line));
    lines.collect::<Vec<_>>().join("\n")
}

/// `lxc NAME: ../src/lxc/criu.c: do_dump: 1245 text`.
fn is_of_liblxc(line: &str) -> bool {
    line.contains("/lxc/") && line.contains(".c: ")
}

/// A running helper. It goes on when this is dropped, because what it runs goes on.
#[derive(Debug)]
pub(crate) struct Connection {
    stream: UnixStream,
    /// Reaped when dropped.
    child: Child,
}

impl Connection {
    /// Runs a program with a socket as its standard input.
    pub(crate) fn open(command: Command) -> Result<Self, Error> {
        let lost = |e: io::Error| Error::Protocol(e.to_string());
        let (ours, theirs) = std::os::unix::net::UnixStream::pair().map_err(lost)?;
        ours.set_nonblocking(true).map_err(lost)?;
        let stream = UnixStream::from_std(ours).map_err(lost)?;
        let child = command
            .stdin(Stream::Fd(theirs.into()))
            .stderr(Stream::Log)
            .spawn();
        Ok(Self {
            stream,
            child: child.map_err(Error::Helper)?,
        })
    }

    /// Lets the program end with this value.
    pub(crate) fn kill_on_drop(&mut self) {
        self.child.kill_on_drop(true);
    }

    /// The program's process.
    pub(crate) fn pid(&self) -> i32 {
        self.child.pid()
    }

    /// The socket, for bytes that are no frames.
    pub(crate) fn stream(&mut self) -> &mut UnixStream {
        &mut self.stream
    }

    /// Sends one frame, its descriptors with the first byte.
    pub(crate) async fn send(&mut self, body: &[u8], fds: &[BorrowedFd<'_>]) -> Result<(), Error> {
        let bytes = protocol::frame(body);
        let stream = &self.stream;
        let sent = stream
            .async_io(Interest::WRITABLE, || send_some(stream.as_fd(), &bytes, fds))
            .await;
        let done = match sent {
            Ok(sent) => self.stream.write_all(&bytes[sent..]).await,
            Err(error) => Err(error),
        };
        done.map_err(|e| Error::Protocol(e.to_string()))
    }

    /// Receives one frame of the helper with its descriptors.
    pub(crate) async fn receive(&mut self) -> Result<(Reply, Vec<OwnedFd>), Error> {
        let (body, fds) = self.receive_body().await?;
        let reply = Reply::decode(&body).map_err(|e| Error::Protocol(e.to_string()))?;
        Ok((reply, fds))
    }

    /// Receives one frame's body with its descriptors.
    pub(crate) async fn receive_body(&mut self) -> Result<(Vec<u8>, Vec<OwnedFd>), Error> {
        let lost = |e: io::Error| match e.kind() {
            io::ErrorKind::UnexpectedEof => Error::Protocol("it ended without an answer".into()),
            _ => Error::Protocol(e.to_string()),
        };
        let mut header = [0; 4];
        let mut fds = Vec::new();
        let stream = &self.stream;
        let receive = || receive_some(stream.as_fd(), &mut header, &mut fds);
        let count = stream.async_io(Interest::READABLE, receive).await.map_err(lost)?;
        self.stream.read_exact(&mut header[count..]).await.map_err(lost)?;
        let length = protocol::frame_length(header).map_err(|e| Error::Protocol(e.to_string()))?;
        let mut body = vec![0; length];
        self.stream.read_exact(&mut body).await.map_err(lost)?;
        Ok((body, fds))
    }
}

fn send_some(stream: BorrowedFd<'_>, bytes: &[u8], fds: &[BorrowedFd<'_>]) -> io::Result<usize> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(4))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !fds.is_empty() && !control.push(SendAncillaryMessage::ScmRights(fds)) {
        return Err(io::Error::other("too many descriptors"));
    }
    Ok(rustix::net::sendmsg(
        stream,
        &[IoSlice::new(bytes)],
        &mut control,
        SendFlags::NOSIGNAL,
    )?)
}

fn receive_some(stream: BorrowedFd<'_>, buffer: &mut [u8], fds: &mut Vec<OwnedFd>) -> io::Result<usize> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(4))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let flags = RecvFlags::CMSG_CLOEXEC;
    let received = rustix::net::recvmsg(stream, &mut [IoSliceMut::new(buffer)], &mut control, flags)?;
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(rights) = message {
            fds.extend(rights);
        }
    }
    match received.bytes {
        0 => Err(io::ErrorKind::UnexpectedEof.into()),
        bytes => Ok(bytes),
    }
}
