//! A daemon of a test's own, and the smallest client that can ask it anything.

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use serde_json::Value;
use tempfile::TempDir;

/// The binary under test.
const LXD: &str = env!("CARGO_BIN_EXE_lxd");

/// A running daemon; its end is the test's.
pub struct Daemon {
    child: Option<Child>,
    dir: PathBuf,
    _own: Option<TempDir>,
}

/// An answer of the daemon.
pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: String,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }

    pub fn metadata(&self) -> Value {
        self.json()["metadata"].clone()
    }

    pub fn error(&self) -> String {
        self.json()["error"].as_str().unwrap().to_owned()
    }

    /// A header by its name as it is written.
    pub fn header(&self, name: &str) -> Option<String> {
        let line = self
            .head
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))?;
        Some(line.trim().to_owned())
    }
}

/// A command of the binary, on a state directory.
#[expect(clippy::disallowed_methods, reason = "the test is the parent of the daemon")]
pub fn lxd(dir: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(LXD);
    command.args(arguments).env("LXD_DIR", dir).stdin(Stdio::null());
    command
}

/// Runs a command of the binary to its end.
pub fn run(dir: &Path, arguments: &[&str]) -> Output {
    lxd(dir, arguments).output().unwrap()
}

pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

impl Daemon {
    /// A daemon on a directory of its own.
    pub fn start() -> Self {
        let own = tempfile::tempdir().unwrap();
        let mut daemon = Self::start_in(&own.path().join("lxd"));
        daemon._own = Some(own);
        daemon
    }

    /// A daemon on a given directory, ready to answer.
    pub fn start_in(dir: &Path) -> Self {
        let log = dir.with_extension("log");
        let child = lxd(dir, &["--debug", "--logfile", log.to_str().unwrap()])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let daemon = Self {
            child: Some(child),
            dir: dir.to_owned(),
            _own: None,
        };
        let ready = run(dir, &["waitready", "--timeout=60"]);
        let logged = std::fs::read_to_string(log).unwrap_or_default();
        assert!(ready.status.success(), "{}\n{logged}", text(&ready.stderr));
        daemon
    }

    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// What the daemon has logged until now.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.dir.with_extension("log")).unwrap()
    }

    pub fn socket(&self) -> PathBuf {
        self.dir.join("unix.socket")
    }

    pub fn pid(&self) -> i32 {
        i32::try_from(self.child.as_ref().unwrap().id()).unwrap()
    }

    /// Sends a signal and waits for the end; whether that was a clean one.
    pub fn end_by(&mut self, signal: rustix::process::Signal) -> bool {
        let pid = rustix::process::Pid::from_raw(self.pid()).unwrap();
        rustix::process::kill_process(pid, signal).unwrap();
        self.child.take().unwrap().wait().unwrap().success()
    }

    /// Waits for an end that something else has brought about.
    pub fn wait(&mut self) -> bool {
        self.child.take().unwrap().wait().unwrap().success()
    }

    pub fn get(&self, path: &str) -> Answer {
        self.ask("GET", path, &[], "")
    }

    pub fn send(&self, method: &str, path: &str, body: &Value) -> Answer {
        self.ask(method, path, &[], &body.to_string())
    }

    /// One request on a connection of its own.
    pub fn ask(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        let mut stream = UnixStream::connect(self.socket()).unwrap();
        let mut head = format!("{method} {path} HTTP/1.1\r\nHost: lxd\r\nConnection: close\r\n");
        for (name, value) in headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        write!(stream, "{head}Content-Length: {}\r\n\r\n{body}", body.len()).unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        parse(&text(&answer))
    }
}

/// An answer whose body ends with the connection or is as long as it says.
pub fn parse(answer: &str) -> Answer {
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    Answer {
        status,
        head: head.to_owned(),
        body: body.to_owned(),
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
        // Who is killed leaves his mounts, and those keep the directory.
        let _ = lxd_sys::mount::detach_beneath(&self.dir);
    }
}
