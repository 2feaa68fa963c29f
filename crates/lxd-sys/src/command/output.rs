//! Running a program to its end: feeding it, collecting what it writes, keeping its time.

use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

use tokio::io::AsyncBufReadExt;
use tokio::net::unix::pipe::{Receiver, Sender};

use super::{Command, Error, Exit, Stream};

/// How many bytes of standard error are kept for the error's text, and how many lines of them shown.
const SHOWN_BYTES: usize = 4096;
const SHOWN_LINES: usize = 10;

/// How much is read from a pipe at once.
const CHUNK: usize = 16 * 1024;

/// What a program that ended well wrote.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Output {
    /// Its exit code: 0 or one of the accepted ones.
    pub code: i32,
    /// All of its standard output, unless that went elsewhere.
    pub stdout: Vec<u8>,
    /// All of its standard error, unless that went elsewhere.
    pub stderr: Vec<u8>,
}

impl Output {
    /// Standard output as text; bytes that are not UTF-8 are replaced.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }
}

/// Who is being run, for errors.
struct Label {
    program: String,
    args: String,
}

impl Label {
    fn exchange(&self, source: io::Error) -> Error {
        Error::Exchange {
            program: self.program.clone(),
            args: self.args.clone(),
            source,
        }
    }
}

pub(super) async fn run(mut command: Command) -> Result<Output, Error> {
    let label = Label {
        program: command.program.to_string_lossy().into_owned(),
        args: command.rendered_args(),
    };
    let input = command.input.take();
    let timeout = command.timeout;
    let accepted = std::mem::take(&mut command.accepted);
    for stream in [&mut command.stdout, &mut command.stderr] {
        if matches!(stream, Stream::Null | Stream::Log) {
            *stream = Stream::Pipe;
        }
    }
    let mut child = command.start()?;
    child.kill_on_drop(true);
    let talk = async {
        let mut stdin = Feed::new(child.take_stdin(), input)?;
        let mut stdout = Drain::new(child.take_stdout())?;
        let mut stderr = Drain::new(child.take_stderr())?;
        let exit = loop {
            tokio::select! {
                r = stdin.some(), if stdin.open() => r?,
                r = stdout.some(), if stdout.open() => r?,
                r = stderr.some(), if stderr.open() => r?,
                exit = child.wait() => break exit?,
            }
        };
        stdout.finish()?;
        stderr.finish()?;
        Ok((exit, stdout.bytes, stderr.bytes))
    };
    let outcome = match timeout {
        None => talk.await,
        Some(limit) => match tokio::time::timeout(limit, talk).await {
            Ok(outcome) => outcome,
            Err(_) => return Err(timed_out(label, limit)),
        },
    };
    let (exit, stdout, stderr) = outcome.map_err(|e| label.exchange(e))?;
    tracing::debug!(
        program = label.program,
        args = label.args,
        ?exit,
        "A process ended"
    );
    judge(
        label,
        &accepted,
        exit,
        Output {
            code: 0,
            stdout,
            stderr,
        },
    )
}

fn judge(label: Label, accepted: &[i32], exit: Exit, output: Output) -> Result<Output, Error> {
    let Label { program, args } = label;
    match exit {
        Exit::Code(code) if accepted.contains(&code) => Ok(Output { code, ..output }),
        Exit::Code(code) => Err(Error::Failed {
            program,
            args,
            code,
            stderr: last_lines(&output.stderr),
        }),
        Exit::Signal(signal) => Err(Error::Killed {
            program,
            args,
            signal,
            stderr: last_lines(&output.stderr),
        }),
    }
}

fn timed_out(label: Label, after: Duration) -> Error {
    Error::TimedOut {
        program: label.program,
        args: label.args,
        after,
    }
}

/// The end of what a program wrote to standard error, trimmed.
fn last_lines(bytes: &[u8]) -> String {
    let tail = &bytes[bytes.len().saturating_sub(SHOWN_BYTES)..];
    let text = String::from_utf8_lossy(tail);
    let lines: Vec<&str> = text.trim().lines().collect();
    lines[lines.len().saturating_sub(SHOWN_LINES)..].join("\n")
}

/// Sends what a child writes to the log, line by line, until the last writer is gone.
pub(super) fn log_lines(program: String, pid: i32, reader: OwnedFd) {
    let Ok(reader) = Receiver::from_owned_fd(reader) else {
        return;
    };
    tokio::spawn(async move {
        let mut lines = tokio::io::BufReader::new(reader).lines();
        while let Ok(Some(line)) = lines.next_line().await {
            tracing::debug!(program, pid, line, "A process wrote");
        }
    });
}

/// The bytes that go to standard input.
struct Feed {
    pipe: Option<Sender>,
    bytes: Vec<u8>,
    sent: usize,
}

impl Feed {
    fn new(fd: Option<OwnedFd>, bytes: Option<Vec<u8>>) -> io::Result<Self> {
        let bytes = bytes.unwrap_or_default();
        let pipe = match fd {
            Some(fd) if !bytes.is_empty() => Some(Sender::from_owned_fd(fd)?),
            _ => None,
        };
        Ok(Self { pipe, bytes, sent: 0 })
    }

    fn open(&self) -> bool {
        self.pipe.is_some()
    }

    async fn some(&mut self) -> io::Result<()> {
        let Some(pipe) = &self.pipe else { return Ok(()) };
        pipe.writable().await?;
        match pipe.try_write(&self.bytes[self.sent..]) {
            Ok(n) => self.sent += n,
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            // The program has read all it wanted; its exit code says whether that was right.
            Err(e) if e.kind() == io::ErrorKind::BrokenPipe => self.sent = self.bytes.len(),
            Err(e) => return Err(e),
        }
        if self.sent == self.bytes.len() {
            self.pipe = None;
        }
        Ok(())
    }
}

/// The bytes that come from standard output or error.
struct Drain {
    pipe: Option<Receiver>,
    bytes: Vec<u8>,
}

impl Drain {
    fn new(fd: Option<OwnedFd>) -> io::Result<Self> {
        Ok(Self {
            pipe: fd.map(Receiver::from_owned_fd).transpose()?,
            bytes: Vec::new(),
        })
    }

    fn open(&self) -> bool {
        self.pipe.is_some()
    }

    async fn some(&mut self) -> io::Result<()> {
        let Some(pipe) = &self.pipe else { return Ok(()) };
        pipe.readable().await?;
        self.bytes.reserve(CHUNK);
        match pipe.try_read_buf(&mut self.bytes) {
            Ok(0) => self.pipe = None,
            Ok(_) => {}
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
            Err(e) => return Err(e),
        }
        Ok(())
    }

    /// Reads what is there now, without waiting for more. Asks the kernel: the runtime may not know yet that there is some.
    fn finish(&mut self) -> io::Result<()> {
        let Some(pipe) = self.pipe.take() else {
            return Ok(());
        };
        loop {
            self.bytes.reserve(CHUNK);
            match rustix::io::read(&pipe, rustix::buffer::spare_capacity(&mut self.bytes)) {
                Ok(0) | Err(rustix::io::Errno::AGAIN) => return Ok(()),
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(e) => return Err(e.into()),
            }
        }
    }
}
