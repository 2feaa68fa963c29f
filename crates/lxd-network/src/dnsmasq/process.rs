//! The dnsmasq processes: started, found again, watched, reloaded, stopped.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};
use std::time::Duration;

use lxd_sys::command::{self, Command, Process, Runner, Signal};
use parking_lot::Mutex;
use tokio::time::Instant;

use super::{Service, hosts};
use crate::{Error, Result};

/// How long dnsmasq may take to start, or to end when asked to.
const PATIENCE: Duration = Duration::from_secs(10);

/// After how long a life a sudden death is nothing to be careful about.
const LONG_LIFE: Duration = Duration::from_secs(60);

/// The longest pause before dnsmasq is started again.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// The running dnsmasq processes, by network directory.
#[derive(Default)]
pub struct Services {
    slots: Mutex<BTreeMap<PathBuf, Arc<Slot>>>,
}

/// One network's process. Whoever changes it holds the lock for as long as it takes.
#[derive(Default)]
struct Slot {
    state: tokio::sync::Mutex<State>,
}

#[derive(Default)]
struct State {
    process: Option<Arc<Process>>,
    wanted: Option<Service>,
    watcher: Option<tokio::task::JoinHandle<()>>,
}

impl Services {
    /// Makes sure that exactly this is running: leaves a process that already runs it, also one found from before the
    /// daemon's start; replaces one that runs something else; and starts it anew whenever it dies.
    ///
    /// # Errors
    /// [`Error::DnsmasqExited`] with dnsmasq's own words, [`Error::NoDnsmasq`], [`Error::File`].
    pub(crate) async fn ensure(&self, service: Service, runner: &Arc<dyn Runner>) -> Result<()> {
        let slot = self.slot(&service.directory);
        let mut state = slot.state.lock().await;
        let raw_changed = write_raw(&service).await?;
        let running = state.running(&service.directory);
        let process = match running {
            Some(process) if !raw_changed && runs(&process, &service) => process,
            other => {
                state.forget();
                if let Some(process) = other {
                    end(&process).await;
                }
                let process = Arc::new(launch(&service, runner.as_ref()).await?);
                // Whether or not the file can be written, we have the process; but the next daemon would not find it.
                if let Err(failed) = write_pid_file(&service, &process).await {
                    end(&process).await;
                    return Err(failed);
                }
                process
            }
        };
        let watched = state
            .watcher
            .as_ref()
            .is_some_and(|watcher| !watcher.is_finished());
        let same = state
            .process
            .as_ref()
            .is_some_and(|known| Arc::ptr_eq(known, &process));
        state.process = Some(Arc::clone(&process));
        state.wanted = Some(service);
        if !(watched && same) {
            state.watcher.take().inspect(tokio::task::JoinHandle::abort);
            state.watcher = Some(tokio::spawn(watch(
                Arc::downgrade(&slot),
                process,
                Arc::clone(runner),
            )));
        }
        Ok(())
    }

    /// Makes dnsmasq read its hosts again.
    ///
    /// # Errors
    /// When it can't be signalled.
    pub(crate) async fn reload(&self, directory: &Path) -> Result<()> {
        let slot = self.slot(directory);
        let state = slot.state.lock().await;
        match state.running(directory) {
            Some(process) => process.signal(Signal::HUP).map_err(|source| Error::File {
                what: "signal the process of",
                path: pid_path(directory),
                source,
            }),
            None => Ok(()),
        }
    }

    /// Ends the process, if there is one, and waits until it is gone.
    ///
    /// # Errors
    /// [`Error::File`].
    pub(crate) async fn stop(&self, directory: &Path) -> Result<()> {
        let slot = self.slot(directory);
        let mut state = slot.state.lock().await;
        let running = state.running(directory);
        state.forget();
        if let Some(process) = running {
            end(&process).await;
        }
        self.slots.lock().remove(directory);
        remove_file(&pid_path(directory)).await
    }

    /// Like [`Services::stop`], for a network that hands out addresses no more: its leases are forgotten.
    ///
    /// # Errors
    /// [`Error::File`].
    pub(crate) async fn remove(&self, directory: &Path) -> Result<()> {
        self.stop(directory).await?;
        remove_file(&directory.join("dnsmasq.leases")).await
    }

    /// The process id that serves a network now.
    pub async fn pid(&self, directory: &Path) -> Option<i32> {
        let slot = self.slot(directory);
        let state = slot.state.lock().await;
        state.running(directory).map(|process| process.pid())
    }

    fn slot(&self, directory: &Path) -> Arc<Slot> {
        Arc::clone(self.slots.lock().entry(directory.to_owned()).or_default())
    }
}

impl State {
    /// The process we hold, or one that was started before us.
    fn running(&self, directory: &Path) -> Option<Arc<Process>> {
        match &self.process {
            Some(process) if !process.has_ended() => Some(Arc::clone(process)),
            Some(_) => None,
            None => adopt(directory).map(Arc::new),
        }
    }

    fn forget(&mut self) {
        self.watcher.take().inspect(tokio::task::JoinHandle::abort);
        self.process = None;
        self.wanted = None;
    }
}

/// Starts dnsmasq anew whenever it ends without having been asked to, at growing intervals, for as long as anybody holds
/// the slot.
async fn watch(slot: Weak<Slot>, mut process: Arc<Process>, runner: Arc<dyn Runner>) {
    let mut pause = Duration::ZERO;
    let mut born = Instant::now();
    loop {
        if process.ended().await.is_err() {
            return;
        }
        if born.elapsed() > LONG_LIFE {
            pause = Duration::ZERO;
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).clamp(Duration::from_secs(1), LONGEST_PAUSE);
        let Some(slot) = slot.upgrade() else { return };
        let mut state = slot.state.lock().await;
        let current = state
            .process
            .as_ref()
            .is_some_and(|known| Arc::ptr_eq(known, &process));
        let Some(service) = state.wanted.clone().filter(|_| current) else {
            return;
        };
        tracing::warn!(
            network = service.network,
            pid = process.pid(),
            "dnsmasq ended unexpectedly, starting it again"
        );
        match launch(&service, runner.as_ref()).await {
            Ok(fresh) => {
                process = Arc::new(fresh);
                born = Instant::now();
                if let Err(error) = write_pid_file(&service, &process).await {
                    tracing::error!(network = service.network, %error, "Failed to write down the process id of dnsmasq");
                }
                state.process = Some(Arc::clone(&process));
            }
            Err(error) => {
                tracing::error!(network = service.network, %error, "Failed to start dnsmasq again");
            }
        }
    }
}

/// Starts dnsmasq. Its first process ends when the one that stays has bound its sockets, or with what is wrong: nothing has to
/// be polled nor guessed.
async fn launch(service: &Service, runner: &dyn Runner) -> Result<Process> {
    let started = Service::started_file(&service.directory);
    remove_file(&started).await?;
    let command = Command::new("dnsmasq").args(&service.args).timeout(PATIENCE);
    runner
        .run(command)
        .await
        .map_err(|failed| exited(service, failed))?;
    let read = async {
        let text = tokio::fs::read_to_string(&started).await?;
        let pid = text.trim().parse().map_err(io::Error::other)?;
        Process::adopt(pid)
    };
    let process = read.await.map_err(|source| Error::File {
        what: "read",
        path: started.clone(),
        source,
    })?;
    remove_file(&started).await?;
    Ok(process)
}

fn exited(service: &Service, failed: command::Error) -> Error {
    match failed {
        command::Error::NotFound { .. } => Error::NoDnsmasq,
        command::Error::Failed { code, stderr, .. } => Error::DnsmasqExited {
            code,
            output: stderr.trim().to_owned(),
        },
        command::Error::Killed { stderr, .. } => Error::DnsmasqExited {
            code: -1,
            output: stderr.trim().to_owned(),
        },
        source => Error::Program {
            what: "start dnsmasq",
            network: service.network.clone(),
            source,
        },
    }
}

async fn end(process: &Process) {
    let _ = process.signal(Signal::TERM);
    if tokio::time::timeout(PATIENCE, process.ended()).await.is_err() {
        let _ = process.kill();
        let _ = process.ended().await;
    }
}

/// The process that a directory's pid file names, when that is a dnsmasq of this directory.
fn adopt(directory: &Path) -> Option<Process> {
    let text = std::fs::read_to_string(pid_path(directory)).ok()?;
    let pid = text
        .lines()
        .find_map(|line| line.strip_prefix("pid: ")?.trim().parse().ok())?;
    let process = Process::adopt(pid).ok()?;
    let mine = format!("--conf-file={}", directory.join("dnsmasq.raw").display());
    command_line(pid).contains(&mine).then_some(process)
}

fn command_line(pid: i32) -> Vec<String> {
    let bytes = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let args = bytes.split(|byte| *byte == 0).filter(|arg| !arg.is_empty());
    args.map(|arg| String::from_utf8_lossy(arg).into_owned())
        .collect()
}

/// Whether a process runs what is wanted; how it was put into the background is no matter.
fn runs(process: &Process, service: &Service) -> bool {
    let matters = |arg: &&String| *arg != "--keep-in-foreground" && !arg.starts_with("--pid-file=");
    let present = command_line(process.pid());
    present
        .iter()
        .skip(1)
        .filter(matters)
        .eq(service.args.iter().filter(matters))
}

async fn write_raw(service: &Service) -> Result<bool> {
    let path = service.directory.join("dnsmasq.raw");
    if tokio::fs::read_to_string(&path)
        .await
        .is_ok_and(|present| present == service.raw)
    {
        return Ok(false);
    }
    hosts::replace(&path, &service.raw).await?;
    Ok(true)
}

async fn write_pid_file(service: &Service, process: &Process) -> Result<()> {
    hosts::replace(&pid_path(&service.directory), &pid_file(service, process.pid())).await
}

/// YAML that the reference reads too (JSON strings are YAML).
pub(super) fn pid_file(service: &Service, pid: i32) -> String {
    let args: Vec<String> = service
        .args
        .iter()
        .map(|arg| serde_json::Value::from(arg.as_str()).to_string())
        .collect();
    format!(
        "name: dnsmasq\nargs: [{}]\napparmor: \"\"\npid: {pid}\nuid: 0\ngid: 0\nset_groups: false\nsysprocattr: null\n",
        args.join(", ")
    )
}

fn pid_path(directory: &Path) -> PathBuf {
    directory.join("dnsmasq.pid")
}

async fn remove_file(path: &Path) -> Result<()> {
    match tokio::fs::remove_file(path).await {
        Err(source) if source.kind() != io::ErrorKind::NotFound => Err(Error::File {
            what: "remove",
            path: path.to_owned(),
            source,
        }),
        _ => Ok(()),
    }
}
