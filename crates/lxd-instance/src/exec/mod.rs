//! Programs run inside an instance: what to run, its streams, and its end.

mod terminal;

use std::collections::BTreeMap;
use std::fs::File;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use liblxc::protocol::{self, Reply};
use tokio::io::AsyncWriteExt as _;
use tokio::net::unix::pipe;
use tokio::sync::oneshot;

pub use terminal::Terminal;

use crate::error::Error;
use crate::instance::Instance;
use crate::lxd_helper::Connection;

/// The byte that lets a process become the program; any would do.
const BEGIN: u8 = b'\n';

/// Bytes that a program can write ahead of its reader.
const OUTPUT_PIPE: usize = 256 << 10;

/// What to run.
#[derive(Debug)]
pub struct ExecRequest {
    /// Program and arguments, at least the program.
    pub command: Vec<String>,
    /// What the caller adds to [`environment`].
    pub environment: BTreeMap<String, String>,
    /// User inside.
    pub uid: u32,
    /// Group inside.
    pub gid: u32,
    /// Working directory inside; empty for the user's home, `/root` or `/`.
    pub cwd: String,
    /// Where its streams go.
    pub streams: Streams,
}

/// Where the streams of a program go.
#[derive(Debug)]
pub enum Streams {
    /// Three pipes to the caller.
    Pipes,
    /// A terminal of the instance's own; sizes of 0 leave it as it is.
    Terminal {
        /// Columns.
        width: u16,
        /// Rows.
        height: u16,
    },
    /// Output into these files, input from nowhere.
    Files {
        /// Standard output.
        stdout: File,
        /// Standard error.
        stderr: File,
    },
    /// Nowhere.
    Null,
}

/// The caller's ends of the streams.
#[derive(Debug)]
pub enum Ends {
    /// Of [`Streams::Pipes`]. Dropping `stdin` ends the program's input.
    Pipes {
        /// To the program.
        stdin: pipe::Sender,
        /// From the program.
        stdout: pipe::Receiver,
        /// From the program.
        stderr: pipe::Receiver,
    },
    /// Of [`Streams::Terminal`].
    Terminal(Terminal),
    /// The caller has none.
    None,
}

/// A process inside that is about to become the program. Dropped, it ends.
#[derive(Debug)]
pub struct Held {
    exec: Exec,
    connection: Connection,
    sender: oneshot::Sender<Result<i32, Error>>,
}

impl Held {
    /// Lets it become the program.
    pub async fn begin(self) -> Exec {
        let Self {
            exec,
            mut connection,
            sender,
        } = self;
        // A process that has ended meanwhile is told of below.
        let _ = connection.stream().write_all(&[BEGIN]).await;
        tokio::spawn(async move {
            let code = match connection.receive().await {
                Ok((Reply::Exited(code), _)) => Ok(code),
                Ok((Reply::Failed(reason), _)) => Err(Error::Exec(reason)),
                Ok((other, _)) => Err(Error::Protocol(format!("unexpected answer {other:?}"))),
                Err(error) => Err(error),
            };
            // Nobody may be interested.
            let _ = sender.send(code);
        });
        exec
    }
}

/// A program that runs inside.
#[derive(Debug)]
pub struct Exec {
    /// The program's process, seen from the host.
    pub pid: i32,
    /// The caller's ends of its streams.
    pub ends: Ends,
    /// Signals and window size.
    pub control: Control,
    /// Its end.
    pub exit: Exit,
}

/// Sends signals to a program, and tells its terminal its size.
#[derive(Debug, Clone)]
pub struct Control {
    pidfd: Arc<OwnedFd>,
    terminal: Option<Arc<OwnedFd>>,
}

impl Control {
    /// Sends a signal. A program that has ended is no error.
    ///
    /// # Errors
    /// A number that is no signal.
    pub fn signal(&self, number: i32) -> Result<(), Error> {
        use std::os::fd::AsFd;
        lxd_sys::process::signal(self.pidfd.as_fd(), number)
            .map_err(|e| Error::Exec(format!("Failed to send signal {number}: {e}")))
    }

    /// Sets the size of the terminal; nothing happens to a program without one.
    ///
    /// # Errors
    /// What the kernel answers.
    pub fn resize(&self, width: u16, height: u16) -> Result<(), Error> {
        self.terminal
            .as_ref()
            .map_or(Ok(()), |terminal| resize(terminal, width, height))
    }
}

pub(crate) fn resize(master: &OwnedFd, width: u16, height: u16) -> Result<(), Error> {
    terminal::resize(master, width, height)
        .map_err(|e| Error::Exec(format!("Failed to set the window size: {e}")))
}

/// The end of a program.
#[derive(Debug)]
pub struct Exit {
    receiver: oneshot::Receiver<Result<i32, Error>>,
}

impl Exit {
    /// Waits for it: the program's code, or 128 + signal; 127 when it was not found, 126 when it can't be executed.
    ///
    /// # Errors
    /// The helper was killed.
    pub async fn wait(self) -> Result<i32, Error> {
        self.receiver
            .await
            .unwrap_or_else(|_| Err(Error::Protocol("it was given up".into())))
    }
}

/// The environment of programs in this instance, before the caller's own variables.
///
/// `has_snap` says whether the instance has a folder `/snap`.
pub fn environment(instance: &Instance, uid: u32, has_snap: bool) -> BTreeMap<String, String> {
    let path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    let mut all = BTreeMap::from([
        (
            "PATH".to_owned(),
            if has_snap {
                format!("{path}:/snap/bin")
            } else {
                path.to_owned()
            },
        ),
        ("LANG".to_owned(), "C.UTF-8".to_owned()),
    ]);
    if uid == 0 {
        all.insert("HOME".into(), "/root".into());
        all.insert("USER".into(), "root".into());
    }
    let own = instance
        .config
        .iter()
        .filter_map(|(key, value)| Some((key.strip_prefix("environment.")?, value)));
    all.extend(own.map(|(key, value)| (key.to_owned(), value.clone())));
    all
}

/// The ends of the streams: the caller's, and those for the program.
pub(crate) fn open(streams: Streams) -> std::io::Result<(Ends, Vec<OwnedFd>)> {
    let null =
        || Ok::<OwnedFd, std::io::Error>(File::options().read(true).write(true).open("/dev/null")?.into());
    match streams {
        Streams::Terminal { .. } => Ok((Ends::None, Vec::new())),
        Streams::Null => Ok((Ends::None, vec![null()?, null()?, null()?])),
        Streams::Files { stdout, stderr } => Ok((Ends::None, vec![null()?, stdout.into(), stderr.into()])),
        Streams::Pipes => {
            let ((r0, w0), (r1, w1), (r2, w2)) = (pipe()?, pipe()?, pipe()?);
            // A larger one saves switches; where it is refused, the usual size does.
            let _ = rustix::pipe::fcntl_setpipe_size(&w1, OUTPUT_PIPE);
            let ends = Ends::Pipes {
                stdin: pipe::Sender::from_owned_fd(w0)?,
                stdout: pipe::Receiver::from_owned_fd(r1)?,
                stderr: pipe::Receiver::from_owned_fd(r2)?,
            };
            Ok((ends, vec![r0, w1, w2]))
        }
    }
}

fn pipe() -> std::io::Result<(OwnedFd, OwnedFd)> {
    Ok(rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?)
}

/// Sends a request to a helper, and waits until there is a process for the program.
pub(crate) async fn hold(
    mut connection: Connection,
    request: &protocol::Exec,
    ends: Ends,
    theirs: Vec<OwnedFd>,
) -> Result<Held, Error> {
    use std::os::fd::AsFd;
    let borrowed: Vec<_> = theirs.iter().map(AsFd::as_fd).collect();
    connection.send(&request.encode(), &borrowed).await?;
    drop(theirs);
    let (pid, mut fds) = match connection.receive().await? {
        (Reply::Running(pid), fds) => (pid, fds.into_iter()),
        (Reply::Failed(reason), _) => return Err(Error::Exec(reason)),
        (other, _) => return Err(Error::Protocol(format!("unexpected answer {other:?}"))),
    };
    let pidfd = fds
        .next()
        .ok_or_else(|| Error::Protocol("no pidfd came".into()))?;
    let (mut terminal, mut ends) = (None, ends);
    if let Some(master) = fds.next() {
        let master = Arc::new(master);
        ends = Ends::Terminal(Terminal::new(&master).map_err(|e| Error::Protocol(e.to_string()))?);
        terminal = Some(master);
    }
    let (sender, receiver) = oneshot::channel();
    let exec = Exec {
        pid,
        ends,
        control: Control {
            pidfd: Arc::new(pidfd),
            terminal,
        },
        exit: Exit { receiver },
    };
    Ok(Held {
        exec,
        connection,
        sender,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::instance::tests::plain;

    #[test]
    fn the_environment_is_the_references() {
        let mut instance = plain("/x".as_ref(), "c");
        instance.config.insert("environment.LANG".into(), "de_DE".into());
        let shown = |uid, snap| {
            let all = environment(&instance, uid, snap);
            all.into_iter()
                .map(|(key, value)| format!("{key}={value}"))
                .collect::<Vec<_>>()
                .join(" ")
        };
        let path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
        assert_eq!(
            shown(0, false),
            format!("HOME=/root LANG=de_DE PATH={path} USER=root")
        );
        assert_eq!(shown(1000, true), format!("LANG=de_DE PATH={path}:/snap/bin"));
    }
}
