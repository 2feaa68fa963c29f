//! `tpm`: an emulated security chip, by the program `swtpm` and the kernel's proxy.

use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use futures::future::BoxFuture;
use lxd_sys::command::{Child, Command, Process, Signal, Stream};

use super::unix::{Node, nodes_of, remove_nodes, shown};
use super::{Device, Host, Kind, Plan};
use crate::drivers::container::blocking;
use crate::drivers::container::modules::load_module;
use crate::error::Error;

/// The kind.
pub struct Tpm;

/// The emulator.
const PROGRAM: &str = "swtpm";

/// Makes chips of what a program answers.
const MODULE: &str = "tpm_vtpm_proxy";

/// How long the emulator may take to come up, or to end.
const PATIENCE: Duration = Duration::from_secs(10);

impl Kind for Tpm {
    fn check(&self, _device: &Device) -> Result<(), Error> {
        Ok(())
    }

    fn prepare<'a>(&'a self, _host: &'a Host, device: &'a Device) -> BoxFuture<'a, Result<Plan, Error>> {
        Box::pin(async move {
            environment()
                .await
                .map_err(|reason| Error::DeviceValue(format!("Failed to validate environment: {reason}")))?;
            let chip = Emulator::of(device).start(PROGRAM).await?;
            let nodes = chip.nodes_once_there(Path::new("/sys"), device).await?;
            let owned = device.clone();
            blocking(move || {
                remove_nodes(&owned)?;
                nodes.iter().try_for_each(|node| node.make(&owned))?;
                Ok(shown(&owned, &nodes))
            })
            .await
        })
    }

    fn present<'a>(&'a self, _host: &'a Host, device: &'a Device) -> BoxFuture<'a, Result<Plan, Error>> {
        let owned = device.clone();
        Box::pin(async move { blocking(move || Ok(shown(&owned, &nodes_of(&owned)?))).await })
    }

    fn stopped<'a>(&'a self, _host: &'a Host, device: &'a Device) -> BoxFuture<'a, Vec<Error>> {
        let owned = device.clone();
        Box::pin(async move {
            let ended = Emulator::of(device).stop().await;
            let removed = blocking(move || remove_nodes(&owned)).await;
            [ended, removed].into_iter().filter_map(Result::err).collect()
        })
    }
}

/// What this host must have.
async fn environment() -> Result<(), String> {
    if Command::new(PROGRAM).resolve().is_err() {
        return Err(format!("Required tool '{PROGRAM}' is missing"));
    }
    load_module(MODULE).await.map_err(|error| error.to_string())
}

/// The program that is the chip of one device.
#[derive(Clone)]
struct Emulator {
    /// What the chip remembers.
    state: PathBuf,
    /// What the program says.
    log: PathBuf,
    /// Which process it is.
    pid: PathBuf,
}

/// What the program says of the chip that it became.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Chip {
    number: u32,
    major: u32,
    minor: u32,
}

impl Emulator {
    fn of(device: &Device) -> Self {
        let (instance, name) = (&device.instance, &device.name);
        let folder = instance.paths.containers.join(instance.key.prefixed());
        Self {
            state: folder.join(format!("tpm.{name}")),
            log: instance.paths.logs.join(format!("tpm.{name}.log")),
            pid: instance.paths.devices.join(format!("{name}.pid")),
        }
    }

    async fn start(&self, program: &str) -> Result<Chip, Error> {
        self.stop().await?;
        let (owned, name) = (self.clone(), program.to_owned());
        let child = blocking(move || owned.launch(&name)).await?;
        let deadline = Instant::now() + PATIENCE;
        loop {
            // Asked first: what it said with its last breath is in the log then.
            let is_over = child.process().has_ended() || Instant::now() > deadline;
            let said = tokio::fs::read_to_string(&self.log).await;
            let said = said.map_err(Error::file("read", &self.log))?;
            if let Some(chip) = said.lines().find_map(Chip::parse) {
                return Ok(chip);
            }
            if is_over {
                self.stop().await?;
                let text = format!("The emulator {PROGRAM} made no device: {}", said.trim());
                return Err(Error::DeviceValue(text));
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    fn launch(&self, program: &str) -> Result<Child, Error> {
        let make = |folder: &Path, mode: u32| {
            let made = std::fs::DirBuilder::new()
                .recursive(true)
                .mode(mode)
                .create(folder);
            made.map_err(Error::file("create", folder))
        };
        make(&self.state, 0o700)?;
        if let Some(folder) = self.pid.parent() {
            make(folder, 0o711)?;
        }
        let log = std::fs::OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&self.log)
            .map_err(Error::file("create", &self.log))?;
        let errors = log.try_clone().map_err(Error::file("open", &self.log))?;
        let mut state = std::ffi::OsString::from("dir=");
        state.push(&self.state);
        let child = Command::new(program)
            .args(["chardev", "--tpm2", "--tpmstate"])
            .arg(state)
            .arg("--vtpm-proxy")
            .stdout(Stream::Fd(log.into()))
            .stderr(Stream::Fd(errors.into()))
            .new_session()
            .spawn()
            .map_err(|error| Error::DeviceValue(format!("Failed to start {PROGRAM}: {error}")))?;
        std::fs::write(&self.pid, format!("pid: {}\n", child.pid()))
            .map_err(Error::file("write", &self.pid))?;
        Ok(child)
    }

    /// Ends it; not running is fine.
    async fn stop(&self) -> Result<(), Error> {
        if let Some(process) = self.process() {
            let _ = process.signal(Signal::TERM);
            if tokio::time::timeout(PATIENCE, process.ended()).await.is_err() {
                let _ = process.kill();
            }
        }
        match std::fs::remove_file(&self.pid) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(Error::file("remove", &self.pid)(error))
            }
            _ => Ok(()),
        }
    }

    /// The process that the file names, if it is an emulator with this state: numbers are used again.
    fn process(&self) -> Option<Process> {
        let text = std::fs::read_to_string(&self.pid).ok()?;
        let pid = text
            .lines()
            .find_map(|line| line.strip_prefix("pid: ")?.trim().parse().ok())?;
        let process = Process::adopt(pid).ok()?;
        let line = lxd_sys::process::command_line(pid).ok()?;
        let wanted = format!("dir={}", self.state.display());
        line.split(|byte| *byte == 0)
            .any(|argument| argument == wanted.as_bytes())
            .then_some(process)
    }
}

impl Chip {
    /// `New TPM device: /dev/tpm1 (major/minor = 253/1)`
    fn parse(line: &str) -> Option<Self> {
        let rest = line.strip_prefix("New TPM device: /dev/tpm")?;
        let (number, rest) = rest.split_once(" (major/minor = ")?;
        let (major, minor) = rest.trim_end().strip_suffix(')')?.split_once('/')?;
        Some(Self {
            number: number.parse().ok()?,
            major: major.parse().ok()?,
            minor: minor.parse().ok()?,
        })
    }

    /// The chip's nodes, once the kernel has them: it talks to the chip first, and then makes the resource manager.
    async fn nodes_once_there(self, sys: &Path, device: &Device) -> Result<Vec<Node>, Error> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            match self.nodes(sys, device) {
                Err(_) if Instant::now() < deadline => tokio::time::sleep(Duration::from_millis(20)).await,
                settled => return settled,
            }
        }
    }

    /// The chip's nodes, under the names that the device gives them: itself, and its resource manager.
    fn nodes(self, sys: &Path, device: &Device) -> Result<Vec<Node>, Error> {
        let mut nodes = Vec::new();
        let mut add = |key: &str, (major, minor): (u32, u32)| {
            if let Some(path) = device.value(key) {
                nodes.push(Node {
                    path: path.to_owned(),
                    is_block: false,
                    major,
                    minor,
                });
            }
        };
        add("path", (self.major, self.minor));
        if device.value("pathrm").is_some() {
            let file = sys.join(format!("class/tpmrm/tpmrm{}/dev", self.number));
            let text = std::fs::read_to_string(&file).map_err(Error::file("read", &file))?;
            let numbers = text
                .trim()
                .split_once(':')
                .and_then(|(major, minor)| Some((major.parse().ok()?, minor.parse().ok()?)));
            let numbers = numbers.ok_or_else(|| {
                Error::DeviceValue(format!(
                    "Failed parsing device numbers {text:?} of the TPM resource manager"
                ))
            })?;
            add("pathrm", numbers);
        }
        Ok(nodes)
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::super::unix::tests::device;
    use super::*;

    /// A program that says what the emulator says, and stays.
    fn program(folder: &Path, text: &str) -> String {
        let file = folder.join("swtpm-fake");
        std::fs::write(&file, format!("#!/bin/sh\n{text}\n")).unwrap();
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o755)).unwrap();
        file.display().to_string()
    }

    #[test]
    fn what_the_emulator_says_is_understood() {
        let chip = Chip::parse("New TPM device: /dev/tpm3 (major/minor = 253/7)").unwrap();
        assert_eq!((chip.number, chip.major, chip.minor), (3, 253, 7));
        assert_eq!(
            Chip::parse("New TPM device: /dev/tpmx (major/minor = 253/7)"),
            None
        );
        assert_eq!(Chip::parse("swtpm: error"), None);
    }

    #[test]
    fn a_chip_has_two_nodes() {
        let root = tempfile::tempdir().unwrap();
        let manager = root.path().join("class/tpmrm/tpmrm3");
        std::fs::create_dir_all(&manager).unwrap();
        std::fs::write(manager.join("dev"), "252:65539\n").unwrap();
        let chip = Chip {
            number: 3,
            major: 253,
            minor: 7,
        };
        let both = device(root.path(), &[("path", "/dev/tpm0"), ("pathrm", "/dev/tpmrm0")]);
        let nodes = chip.nodes(root.path(), &both).unwrap();
        let seen: Vec<_> = nodes
            .iter()
            .map(|n| (n.path.as_str(), n.major, n.minor))
            .collect();
        assert_eq!(seen, [("/dev/tpm0", 253, 7), ("/dev/tpmrm0", 252, 65_539)]);
        std::fs::remove_file(manager.join("dev")).unwrap();
        assert!(chip.nodes(root.path(), &both).is_err());
    }

    #[tokio::test]
    async fn the_emulator_runs_until_it_is_stopped() {
        let root = tempfile::tempdir().unwrap();
        let device = device(root.path(), &[]);
        std::fs::create_dir_all(&device.instance.paths.logs).unwrap();
        let emulator = Emulator::of(&device);
        let says = "echo 'New TPM device: /dev/tpm3 (major/minor = 253/7)'\nwhile :; do sleep 0.05; done";
        let chip = emulator.start(&program(root.path(), says)).await.unwrap();
        assert_eq!(chip.major, 253);
        let process = emulator.process().expect("it runs");
        assert!(emulator.state.is_dir());
        emulator.stop().await.unwrap();
        process.ended().await.unwrap();
        assert!(emulator.process().is_none() && !emulator.pid.exists());
        emulator.stop().await.unwrap();
        let failing = program(root.path(), "echo no proxy here >&2\nexit 1");
        let error = emulator.start(&failing).await.unwrap_err().to_string();
        assert!(error.contains("no proxy here"), "{error}");
        assert!(!emulator.pid.exists());
    }
}
