//! Running other programs: the only place that starts a process.
//!
//! A child is made with `clone(CLONE_VM | CLONE_VFORK)`, so its price does not grow with the daemon's heap. It gets exactly
//! the file descriptors it was promised, default signal handlers and an empty signal mask, and is watched through a pidfd.

mod child;
mod error;
mod output;
mod runner;
mod spawn;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::ffi::{CString, OsStr, OsString};
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd, RawFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

pub use child::{Child, Exit, Process};
pub use error::Error;
pub use output::Output;
pub use runner::{Recorded, Recorder, Runner, System};
pub use rustix::process::Signal;

/// Where programs are looked for when the caller's `PATH` is not set.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// What one of the three standard streams of a child is connected to.
#[derive(Debug)]
pub enum Stream {
    /// `/dev/null`.
    Null,
    /// A pipe whose other end is in [`Child`].
    Pipe,
    /// Each line goes to the log, at debug level. For standard output and error only; needs a tokio runtime.
    Log,
    /// The caller's own stream (for clients on a terminal).
    Inherit,
    /// This descriptor.
    Fd(OwnedFd),
}

/// One argument; secret ones are never shown in errors and logs.
#[derive(Debug, Clone)]
struct Argument {
    value: OsString,
    secret: bool,
}

/// A program to be run: what, with which arguments, environment, streams and wishes.
#[derive(Debug)]
#[must_use = "a command does nothing until `output` or `spawn` is called"]
pub struct Command {
    program: OsString,
    args: Vec<Argument>,
    clear_env: bool,
    env: BTreeMap<OsString, Option<OsString>>,
    cwd: Option<PathBuf>,
    input: Option<Vec<u8>>,
    stdin: Stream,
    stdout: Stream,
    stderr: Stream,
    fds: Vec<(OwnedFd, RawFd)>,
    namespaces: Vec<OwnedFd>,
    session: bool,
    group: bool,
    terminal: bool,
    umask: Option<u32>,
    timeout: Option<Duration>,
    accepted: Vec<i32>,
}

impl Command {
    /// A command that runs `program`, a path or a name to be looked up in `PATH`, with the caller's environment,
    /// `/dev/null` as all three streams, and no time limit.
    pub fn new(program: impl Into<OsString>) -> Self {
        Self {
            program: program.into(),
            args: Vec::new(),
            clear_env: false,
            env: BTreeMap::new(),
            cwd: None,
            input: None,
            stdin: Stream::Null,
            stdout: Stream::Null,
            stderr: Stream::Null,
            fds: Vec::new(),
            namespaces: Vec::new(),
            session: false,
            group: false,
            terminal: false,
            umask: None,
            timeout: None,
            accepted: vec![0],
        }
    }

    /// Adds one argument.
    pub fn arg(mut self, value: impl Into<OsString>) -> Self {
        self.args.push(Argument {
            value: value.into(),
            secret: false,
        });
        self
    }

    /// Adds arguments.
    pub fn args<I>(mut self, values: I) -> Self
    where
        I: IntoIterator,
        I::Item: Into<OsString>,
    {
        self.args.extend(values.into_iter().map(|value| Argument {
            value: value.into(),
            secret: false,
        }));
        self
    }

    /// Adds an argument that errors and logs show as `***`. (The child's `/proc/PID/cmdline` still shows it.)
    pub fn secret(mut self, value: impl Into<OsString>) -> Self {
        self.args.push(Argument {
            value: value.into(),
            secret: true,
        });
        self
    }

    /// Sets a variable of the child's environment.
    pub fn env(mut self, name: impl Into<OsString>, value: impl Into<OsString>) -> Self {
        self.env.insert(name.into(), Some(value.into()));
        self
    }

    /// Removes a variable from the child's environment.
    pub fn env_remove(mut self, name: impl Into<OsString>) -> Self {
        self.env.insert(name.into(), None);
        self
    }

    /// Starts from an empty environment; variables set with [`Command::env`] stay.
    pub fn env_clear(mut self) -> Self {
        self.clear_env = true;
        self
    }

    /// The child's working directory; by default the caller's.
    pub fn cwd(mut self, path: impl Into<PathBuf>) -> Self {
        self.cwd = Some(path.into());
        self
    }

    /// Bytes that [`Command::output`] writes to the child's standard input, which then ends.
    pub fn input(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.input = Some(bytes.into());
        self.stdin = Stream::Pipe;
        self
    }

    /// The child's standard input.
    pub fn stdin(mut self, stream: Stream) -> Self {
        self.stdin = stream;
        self
    }

    /// The child's standard output. [`Command::output`] collects it unless this names a descriptor.
    pub fn stdout(mut self, stream: Stream) -> Self {
        self.stdout = stream;
        self
    }

    /// The child's standard error. [`Command::output`] collects it unless this names a descriptor.
    pub fn stderr(mut self, stream: Stream) -> Self {
        self.stderr = stream;
        self
    }

    /// Gives the child `fd` under the number `target` (3 and up).
    pub fn fd(mut self, fd: OwnedFd, target: RawFd) -> Self {
        self.fds.push((fd, target));
        self
    }

    /// Moves the child into a namespace (a descriptor of `/proc/PID/ns/*`) before it runs; in the order of the calls.
    pub fn namespace(mut self, fd: OwnedFd) -> Self {
        self.namespaces.push(fd);
        self
    }

    /// Makes the child the leader of a new session.
    pub fn new_session(mut self) -> Self {
        self.session = true;
        self
    }

    /// Makes the child the leader of a new session whose controlling terminal is its standard input.
    pub fn controlling_terminal(mut self) -> Self {
        self.session = true;
        self.terminal = true;
        self
    }

    /// Makes the child the leader of its own process group, which is then killed as a whole.
    pub fn process_group(mut self) -> Self {
        self.group = true;
        self
    }

    /// The child's file mode mask.
    pub fn umask(mut self, mask: u32) -> Self {
        self.umask = Some(mask);
        self
    }

    /// How long [`Command::output`] waits before it kills the child and fails.
    pub fn timeout(mut self, limit: Duration) -> Self {
        self.timeout = Some(limit);
        self
    }

    /// Exit codes besides 0 that [`Command::output`] takes for success.
    pub fn accept(mut self, codes: &[i32]) -> Self {
        self.accepted.extend_from_slice(codes);
        self
    }

    /// The program as it was given.
    pub fn program(&self) -> &OsStr {
        &self.program
    }

    /// The command as errors and logs show it: arguments separated by spaces, secrets hidden.
    pub fn rendered_args(&self) -> String {
        let shown: Vec<_> = self
            .args
            .iter()
            .map(|a| {
                if a.secret {
                    "***".into()
                } else {
                    a.value.to_string_lossy().into_owned()
                }
            })
            .collect();
        shown.join(" ")
    }

    /// Runs the program to its end and collects what it wrote.
    ///
    /// The child is killed when the future is dropped or the time limit passes. Output that grandchildren write after
    /// the child's own end is not waited for.
    ///
    /// # Errors
    /// See [`Error`]; an exit code that is not 0 nor accepted is [`Error::Failed`].
    pub async fn output(self) -> Result<Output, Error> {
        output::run(self).await
    }

    /// Starts a long-lived child. It is not killed when the [`Child`] is dropped.
    ///
    /// # Errors
    /// [`Error::NotFound`] and [`Error::Start`].
    pub fn spawn(mut self) -> Result<Child, Error> {
        let mut log = None;
        if matches!(self.stdout, Stream::Log) || matches!(self.stderr, Stream::Log) {
            let (reader, writer) = pipe().map_err(|source| self.start_error("making a pipe", source))?;
            log = Some(reader);
            for stream in [&mut self.stdout, &mut self.stderr] {
                if matches!(stream, Stream::Log) {
                    *stream = Stream::Fd(writer.try_clone().map_err(|source| Error::Start {
                        program: self.program.to_string_lossy().into_owned(),
                        args: String::new(),
                        step: "duplicating a pipe",
                        source,
                    })?);
                }
            }
        }
        let name = self.program.to_string_lossy().into_owned();
        let child = self.start()?;
        if let Some(reader) = log {
            output::log_lines(name, child.pid(), reader);
        }
        Ok(child)
    }

    /// Where the program is, as the child would find it.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub fn resolve(&self) -> Result<PathBuf, Error> {
        let path = std::env::var_os("PATH");
        find_program(&self.program, path.as_deref().unwrap_or(OsStr::new(DEFAULT_PATH))).ok_or_else(|| {
            Error::NotFound {
                program: self.program.to_string_lossy().into_owned(),
            }
        })
    }

    fn start(mut self) -> Result<Child, Error> {
        let path = self.resolve()?;
        let program = self.program.to_string_lossy().into_owned();
        let args = self.rendered_args();
        let fail = |step: &'static str, source: io::Error| Error::Start {
            program: program.clone(),
            args: args.clone(),
            step,
            source,
        };
        let image = spawn::Image {
            program: c_string(path.as_os_str()).map_err(|e| fail("reading the program's name", e))?,
            argv: self.argv().map_err(|e| fail("reading the arguments", e))?,
            env: self
                .environment()
                .map_err(|e| fail("reading the environment", e))?,
            cwd: self
                .cwd
                .as_deref()
                .map(|p| c_string(p.as_os_str()))
                .transpose()
                .map_err(|e| fail("reading the working directory", e))?,
            session: self.session,
            group: self.group,
            terminal: self.terminal,
            umask: self.umask,
        };
        let mut ours = [None, None, None];
        let mut fds = std::mem::take(&mut self.fds);
        let streams = [
            std::mem::replace(&mut self.stdin, Stream::Null),
            std::mem::replace(&mut self.stdout, Stream::Null),
            std::mem::replace(&mut self.stderr, Stream::Null),
        ];
        for (target, stream) in streams.into_iter().enumerate() {
            let (theirs, kept) = connect(target, stream).map_err(|e| fail("connecting its streams", e))?;
            fds.push((theirs, target as RawFd));
            ours[target] = kept;
        }
        let (pid, pidfd) =
            spawn::start(&image, fds, &self.namespaces).map_err(|(step, source)| fail(step, source))?;
        tracing::debug!(program, args, pid, "Started a process");
        Ok(Child::new(
            Process::new(pid, pidfd, self.group || self.session),
            ours,
        ))
    }

    fn start_error(&self, step: &'static str, source: io::Error) -> Error {
        Error::Start {
            program: self.program.to_string_lossy().into_owned(),
            args: self.rendered_args(),
            step,
            source,
        }
    }

    fn argv(&self) -> io::Result<Vec<CString>> {
        std::iter::once(self.program.as_os_str())
            .chain(self.args.iter().map(|a| a.value.as_os_str()))
            .map(c_string)
            .collect()
    }

    /// The caller's environment with this command's changes. (A child's environment is the one thing that has to be
    /// read from the process and can't be handed in.)
    fn environment(&self) -> io::Result<Vec<CString>> {
        let mut all: BTreeMap<OsString, OsString> = if self.clear_env {
            BTreeMap::new()
        } else {
            std::env::vars_os().collect()
        };
        for (name, value) in &self.env {
            match value {
                Some(value) => all.insert(name.clone(), value.clone()),
                None => all.remove(name),
            };
        }
        all.into_iter()
            .map(|(name, value)| {
                let mut line = name.into_vec();
                line.push(b'=');
                line.extend(value.into_vec());
                CString::new(line).map_err(io::Error::other)
            })
            .collect()
    }
}

/// The program's path, when it is an executable file.
fn find_program(program: &OsStr, search: &OsStr) -> Option<PathBuf> {
    let executable = |path: &Path| {
        std::fs::metadata(path).is_ok_and(|m| m.is_file() && m.permissions().mode() & 0o111 != 0)
    };
    if program.as_bytes().contains(&b'/') {
        let path = PathBuf::from(program);
        return executable(&path).then_some(path);
    }
    std::env::split_paths(search)
        .map(|dir| dir.join(program))
        .find(|path| executable(path))
}

/// The child's end and, for pipes, ours.
fn connect(target: usize, stream: Stream) -> io::Result<(OwnedFd, Option<OwnedFd>)> {
    Ok(match stream {
        Stream::Null | Stream::Log => (
            std::fs::OpenOptions::new()
                .read(true)
                .write(true)
                .open("/dev/null")?
                .into(),
            None,
        ),
        Stream::Fd(fd) => (fd, None),
        Stream::Inherit => {
            let own: BorrowedFd<'_> = match target {
                0 => rustix::stdio::stdin(),
                1 => rustix::stdio::stdout(),
                _ => rustix::stdio::stderr(),
            };
            (own.try_clone_to_owned()?, None)
        }
        Stream::Pipe => {
            let (reader, writer) = pipe()?;
            if target == 0 {
                (reader, Some(writer))
            } else {
                (writer, Some(reader))
            }
        }
    })
}

fn pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    Ok(rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?)
}

fn c_string(text: &OsStr) -> io::Result<CString> {
    CString::new(text.as_bytes()).map_err(|e| io::Error::new(io::ErrorKind::InvalidInput, e))
}
