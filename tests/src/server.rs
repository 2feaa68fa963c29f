//! A daemon with a state directory, a client configuration and a bridge of its own.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use serde_json::Value;
use tempfile::TempDir;

use crate::program::{Done, patiently, run, sh};

/// Whose programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// This project's, as built in the workspace.
    Ours,
    /// Debian's LXD 5.0.2.
    Reference,
}

/// A running daemon. Dropping it deletes what it made and ends it.
pub struct Server {
    kind: Kind,
    home: TempDir,
    child: Option<Child>,
    bridge: String,
    env: Vec<(String, String)>,
}

static COUNT: AtomicU32 = AtomicU32::new(0);

/// The folder of our programs: `LXD_E2E_BIN`, else the debug build.
pub fn our_programs() -> PathBuf {
    std::env::var_os("LXD_E2E_BIN").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/debug"),
        PathBuf::from,
    )
}

impl Server {
    /// Starts a daemon on an empty directory.
    #[track_caller]
    pub fn start(kind: Kind) -> Self {
        Self::start_with(kind, &[])
    }

    /// Starts a daemon on an empty directory with more environment.
    #[track_caller]
    pub fn start_with(kind: Kind, env: &[(&str, &str)]) -> Self {
        let home = tempfile::Builder::new().prefix("lxt").tempdir_in("/tmp").unwrap();
        std::fs::create_dir(home.path().join("lxd")).unwrap();
        let bridge = format!(
            "lxt{:04x}{:02}",
            std::process::id() & 0xffff,
            COUNT.fetch_add(1, Ordering::Relaxed)
        );
        let env = env
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
            .collect();
        let mut server = Self {
            kind,
            home,
            child: None,
            bridge,
            env,
        };
        server.spawn();
        server
    }

    /// Starts a daemon with a pool `default` of the driver, a bridge, and a default profile that uses both.
    #[track_caller]
    pub fn ready(kind: Kind, driver: &str) -> Self {
        let server = Self::start(kind);
        server.set_up(driver);
        server
    }

    /// Makes the pool, the bridge and the default profile's devices.
    #[track_caller]
    pub fn set_up(&self, driver: &str) {
        let bridge = self.bridge.as_str();
        self.lxc(&["storage", "create", "default", driver]).ok();
        self.lxc(&[
            "profile",
            "device",
            "add",
            "default",
            "root",
            "disk",
            "path=/",
            "pool=default",
        ])
        .ok();
        let [v4, v6] = self.subnet();
        let (v4, v6) = (format!("ipv4.address={v4}"), format!("ipv6.address={v6}"));
        self.lxc(&[
            "network",
            "create",
            bridge,
            &v4,
            "ipv4.nat=true",
            &v6,
            "ipv6.nat=true",
        ])
        .ok();
        let network = format!("network={bridge}");
        self.lxc(&[
            "profile",
            "device",
            "add",
            "default",
            "eth0",
            "nic",
            &network,
            "name=eth0",
        ])
        .ok();
    }

    /// Addresses for the bridge that no other server of the tests has.
    pub fn subnet(&self) -> [String; 2] {
        let number = u32::from_str_radix(self.bridge.trim_start_matches("lxt"), 16).unwrap_or_default();
        let (pid, count) = ((number >> 8) & 0x7f, number & 0xff);
        [
            format!("10.{}.{count}.1/24", 100 + pid),
            format!("fd42:1111:{pid:x}:{count:x}::1/64"),
        ]
    }

    /// Whose daemon it is.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// The name that the server's bridge has, or would have.
    pub fn bridge(&self) -> &str {
        &self.bridge
    }

    /// The state directory.
    pub fn dir(&self) -> PathBuf {
        self.home.path().join("lxd")
    }

    /// A scratch directory that goes with the server.
    pub fn scratch(&self) -> &Path {
        self.home.path()
    }

    /// The daemon's pid.
    pub fn pid(&self) -> u32 {
        self.child.as_ref().unwrap().id()
    }

    /// The daemon's program with arguments, to be run on this state directory.
    pub fn lxd_command(&self, args: &[&str]) -> Command {
        let program = match self.kind {
            Kind::Ours => our_programs().join("lxd"),
            Kind::Reference => PathBuf::from("/usr/bin/lxd"),
        };
        let mut command = Command::new(program);
        command
            .args(args)
            .env("LXD_DIR", self.dir())
            .env("LXD_CONF", self.home.path().join("conf"));
        command
            .env("LXD_LXC_TEMPLATE_CONFIG", "/nonexistent")
            .envs(self.env.iter().map(|(k, v)| (k, v)));
        command
    }

    /// Runs a sub-command of the daemon's program.
    #[track_caller]
    pub fn lxd(&self, args: &[&str]) -> Done {
        run(&mut self.lxd_command(args), "")
    }

    /// Runs the client that belongs to the daemon.
    #[track_caller]
    pub fn lxc(&self, args: &[&str]) -> Done {
        self.client(self.kind, args, "")
    }

    /// Runs either client, with text on its standard input.
    #[track_caller]
    pub fn client(&self, kind: Kind, args: &[&str], input: &str) -> Done {
        run(&mut self.client_command(kind, args), input)
    }

    /// Either client with arguments, to be run against this daemon.
    pub fn client_command(&self, kind: Kind, args: &[&str]) -> Command {
        let program = match kind {
            Kind::Ours => our_programs().join("lxc"),
            Kind::Reference => PathBuf::from("/usr/bin/lxc"),
        };
        let mut command = Command::new(program);
        command
            .args(args)
            .env("LXD_DIR", self.dir())
            .env("LXD_CONF", self.home.path().join("conf"));
        command.env("LC_ALL", "C.UTF-8").env_remove("LANGUAGE");
        command
    }

    /// A request by curl on the unix socket: HTTP status and body.
    #[track_caller]
    pub fn raw(&self, method: &str, path: &str, body: &str) -> (u16, String) {
        let socket = self.dir().join("unix.socket");
        let url = format!("http://lxd{path}");
        let mut command = Command::new("curl");
        command.args([
            "-s",
            "-S",
            "--globoff",
            "--max-time",
            "60",
            "-w",
            "\n%{http_code}",
            "-X",
            method,
        ]);
        command
            .args(["-H", "Content-Type: application/json", "--unix-socket"])
            .arg(&socket);
        if !body.is_empty() {
            command.args(["--data-binary", "@-"]);
        }
        let out = run(command.arg(url), body).ok();
        let (body, code) = out.rsplit_once('\n').unwrap();
        (code.parse().unwrap(), body.to_owned())
    }

    /// A request whose answer is JSON: HTTP status and the envelope.
    #[track_caller]
    pub fn api(&self, method: &str, path: &str, body: &str) -> (u16, Value) {
        let (code, text) = self.raw(method, path, body);
        (
            code,
            serde_json::from_str(&text).unwrap_or_else(|why| panic!("{method} {path}: {why}: {text}")),
        )
    }

    /// Kills the daemon as `kill -9` does, and waits until it is gone.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    /// Waits for a daemon that ends by itself, and gives whether it did so by a signal.
    pub fn wait_for_death(&mut self) -> bool {
        use std::os::unix::process::ExitStatusExt;
        let mut child = self.child.take().unwrap();
        let mut status = None;
        patiently("the daemon's death", || {
            status = child.try_wait().unwrap();
            status.is_some()
        });
        status.is_some_and(|status| status.signal().is_some())
    }

    /// Stops the daemon as systemd does, and waits until it is gone.
    pub fn stop(&mut self) {
        if let Some(mut child) = self.child.take() {
            sh("kill", &["-TERM", &child.id().to_string()]).ok();
            child.wait().unwrap();
        }
    }

    /// Lets the next start, and all commands from now on, be of another's programs.
    pub fn become_kind(&mut self, kind: Kind) {
        self.kind = kind;
    }

    /// Adds a variable to the environment of the next start.
    pub fn set_env(&mut self, key: &str, value: &str) {
        self.env.retain(|(k, _)| k != key);
        if !value.is_empty() {
            self.env.push((key.to_owned(), value.to_owned()));
        }
    }

    /// Starts the daemon (again) on its directory and waits until it is ready.
    #[track_caller]
    pub fn spawn(&mut self) {
        self.spawn_unready();
        let socket = self.dir().join("unix.socket");
        let log = self.home.path().join("lxd.out");
        patiently("the daemon's socket", || {
            if let Some(status) = self.child.as_mut().unwrap().try_wait().unwrap() {
                panic!(
                    "the daemon ended: {status}\n{}",
                    std::fs::read_to_string(&log).unwrap_or_default()
                );
            }
            std::os::unix::net::UnixStream::connect(&socket).is_ok()
        });
        self.lxd(&["waitready", "--timeout=60"]).ok();
    }

    /// Starts the daemon (again) without waiting for anything.
    pub fn spawn_unready(&mut self) {
        let log = std::fs::File::create(self.home.path().join("lxd.out")).unwrap();
        let logfile = self.home.path().join("lxd.log");
        let mut command = self.lxd_command(&["--logfile", logfile.to_str().unwrap(), "--debug"]);
        command
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log);
        self.child = Some(command.spawn().unwrap());
    }

    /// The daemon's log so far.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.home.path().join("lxd.log")).unwrap_or_default()
    }

    fn delete_everything(&self) {
        let lines = |args: &[&str]| -> Vec<String> {
            let done = self.lxc(args);
            done.out.lines().map(str::to_owned).collect()
        };
        for name in lines(&["list", "--format", "csv", "--columns", "n"]) {
            self.lxc(&["delete", "--force", &name]);
        }
        for name in lines(&["image", "list", "--format", "csv", "--columns", "f"]) {
            self.lxc(&["image", "delete", &name]);
        }
        for device in lines(&["profile", "device", "list", "default"]) {
            self.lxc(&["profile", "device", "remove", "default", &device]);
        }
        for line in lines(&["network", "list", "--format", "csv"]) {
            let cells: Vec<&str> = line.split(',').collect();
            if cells.get(2) == Some(&"YES") {
                self.lxc(&["network", "delete", cells[0]]);
            }
        }
        for line in lines(&["storage", "list", "--format", "csv"]) {
            self.lxc(&["storage", "delete", line.split(',').next().unwrap_or_default()]);
        }
    }

    /// What stays behind when the daemon could not clean up itself: processes, links, mounts of this server.
    fn sweep(&self) {
        let home = self.home.path().to_str().unwrap().to_owned();
        for entry in std::fs::read_dir("/proc").unwrap().flatten() {
            let Ok(pid) = entry.file_name().to_string_lossy().parse::<i32>() else {
                continue;
            };
            let line = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
            if String::from_utf8_lossy(&line).contains(&home)
                && let Some(pid) = rustix::process::Pid::from_raw(pid)
            {
                let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
            }
        }
        if Path::new("/sys/class/net").join(&self.bridge).exists() {
            sh("ip", &["link", "delete", &self.bridge]);
        }
        // Both daemons leave their tables, empty; another server may have chains in them.
        for family in ["inet", "bridge"] {
            let listed = sh("nft", &["list", "table", family, "lxd"]).out;
            if !listed.is_empty() && !listed.contains("chain ") {
                sh("nft", &["delete", "table", family, "lxd"]);
            }
        }
        let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        let mut mounts: Vec<&str> = mounts.lines().filter_map(|line| line.split(' ').nth(4)).collect();
        mounts.retain(|mount| mount.starts_with(&home));
        mounts.sort_unstable();
        for mount in mounts.into_iter().rev() {
            sh("umount", &["-l", mount]);
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = self.log();
            let tail: Vec<&str> = log.lines().rev().take(60).collect();
            eprintln!("--- the end of the daemon's log");
            tail.iter().rev().for_each(|line| eprintln!("{line}"));
            eprintln!(
                "{}",
                std::fs::read_to_string(self.home.path().join("lxd.out")).unwrap_or_default()
            );
        }
        if let Some(mut child) = self.child.take() {
            if child.try_wait().ok().flatten().is_none() {
                self.delete_everything();
                self.lxd(&["shutdown", "--timeout=20"]);
            }
            let _ = child.kill();
            let _ = child.wait();
        }
        self.sweep();
    }
}
