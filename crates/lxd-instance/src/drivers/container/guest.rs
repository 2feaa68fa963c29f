//! One container that runs: its processes and its control group.

use std::os::fd::AsFd;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use liblxc::protocol::{self, ConsoleAction, Reply, Started};
use lxd_sys::cgroup::{Group, Throttle};
use lxd_sys::command::Signal;
use lxd_sys::process::{self, Process};
use parking_lot::RwLock;

use super::{Shared, apparmor, blocking, config, halt, state};
use crate::console::Console;
use crate::devices::Plan;
use crate::drivers::{Guest, Saving, Target};
use crate::error::Error;
use crate::exec::{self, ExecRequest, Held, Streams};
use crate::files::Place;
use crate::instance::{Instance, Key};
use crate::limits::{self, Processors};
use crate::lxd_helper::Named;
use crate::state::State;

/// How long a monitor may take to put a container away once its init is dead. After that it is either starting the
/// container again by itself or stuck.
const MONITOR_PATIENCE: Duration = Duration::from_secs(10);

/// A running container.
pub(super) struct Container {
    pub(super) shared: Arc<Shared>,
    pub(super) key: Key,
    monitor: Arc<Process>,
    /// liblxc starts another init under the same monitor when nobody listened to the wish for a reboot.
    init: RwLock<Arc<Process>>,
    pub(super) group: Group,
}

impl Container {
    /// Takes hold of the processes of a container.
    pub(super) fn open(shared: Arc<Shared>, key: Key, started: Started) -> Result<Self, Error> {
        let hold = |pid: i32| {
            let held = Process::adopt(pid);
            held.map_err(|source| Error::Process {
                action: "watch the processes of",
                key: key.clone(),
                source,
            })
        };
        let (monitor, init) = (hold(started.monitor)?, hold(started.init)?);
        let group = shared
            .cgroups
            .group_of(started.init, |part| part.starts_with("lxc.payload."));
        let group = group.map_err(|source| Error::Cgroup {
            action: "find the control group of",
            key: key.clone(),
            source,
        })?;
        Ok(Self {
            shared,
            key,
            monitor: Arc::new(monitor),
            init: RwLock::new(Arc::new(init)),
            group,
        })
    }

    pub(super) fn init(&self) -> Arc<Process> {
        self.init.read().clone()
    }

    /// Waits until neither monitor nor init runs.
    async fn wait(&self) -> Target {
        loop {
            let init = self.init();
            tokio::select! {
                _ = self.monitor.ended() => break,
                _ = init.ended() => {}
            }
            // From here to the monitor's end it takes some milliseconds.
            if tokio::time::timeout(MONITOR_PATIENCE, self.monitor.ended())
                .await
                .is_ok()
            {
                break;
            }
            match self.next_init() {
                Some(next) => {
                    tracing::info!(instance = %self.key, pid = next.pid(), "The container has rebooted by itself");
                    *self.init.write() = Arc::new(next);
                }
                None => {
                    tracing::warn!(instance = %self.key, "Killed a monitor that was stuck");
                    let _ = self.monitor.kill();
                }
            }
        }
        let init = self.init();
        if !init.has_ended() {
            // The monitor was killed. Nobody can manage what it leaves behind.
            tracing::warn!(instance = %self.key, "Killed a container whose monitor has died");
            let _ = self.kill_init();
            let _ = init.ended().await;
        }
        match self.shared.hooks.take_reboot(&self.key) {
            true => Target::Reboot,
            false => Target::Stop,
        }
    }

    /// The init that the monitor has now, if it is another one.
    fn next_init(&self) -> Option<Process> {
        let pid = super::adopt::init_of(self.monitor.pid())?;
        if pid == self.init().pid() {
            return None;
        }
        Process::adopt(pid).ok()
    }

    fn kill_init(&self) -> Result<(), Error> {
        self.shared.expect_moves();
        self.init()
            .signal(Signal::KILL)
            .map_err(|source| self.process_error("kill", source))?;
        // Frozen processes of version 1 die only once they are thawed.
        let _ = self.group.thaw();
        Ok(())
    }

    pub(super) fn process_error(&self, action: &'static str, source: std::io::Error) -> Error {
        Error::Process {
            action,
            key: self.key.clone(),
            source,
        }
    }

    pub(super) fn cgroup_error(&self, action: &'static str, source: lxd_sys::cgroup::Error) -> Error {
        Error::Cgroup {
            action,
            key: self.key.clone(),
            source,
        }
    }

    fn change_limits(&self, old: &Instance, new: &Instance, chosen: Option<&str>) -> Result<(), Error> {
        let machine = &self.shared.machine;
        let all = limits::format_set(&machine.processors);
        let (was, is) = (
            limits::processors(old, machine)?,
            limits::processors(new, machine)?,
        );
        // What was chosen at the start is not known after a restart of the daemon, so it is always written.
        let processors = match (&was, &is) {
            (Processors::All, Processors::All) => None,
            (_, Processors::All) => Some(all.as_str()),
            _ => chosen,
        };
        let before = self.shared.limits(old, None)?;
        let after = self.shared.limits(new, processors)?;
        let (writes, missing) = after.changes(&before, &self.shared.cgroups, &all);
        if let Some(controller) = missing.first().filter(|_| after != before) {
            return Err(Error::MissingController { controller });
        }
        for write in &writes {
            let Err(source) = self.group.write(write) else {
                continue;
            };
            let (back, _) = before.changes(&after, &self.shared.cgroups, &all);
            for write in &back {
                if let Err(error) = self.group.write(write) {
                    tracing::warn!(instance = %self.key, %error, "Failed to restore a limit");
                }
            }
            return Err(self.cgroup_error("change the limits of", source));
        }
        Ok(())
    }

    async fn run(&self, instance: &Instance, request: ExecRequest) -> Result<Held, Error> {
        let (config, log, _) = config::files(instance);
        let root = format!("/proc/{}/root", self.pid());
        let has_snap = Path::new(&root).join("snap").symlink_metadata().is_ok();
        let mut environment = exec::environment(instance, request.uid, has_snap);
        environment.extend(request.environment);
        let cwd = match (request.cwd.as_str(), environment.get("HOME")) {
            ("", Some(home)) => home.clone(),
            ("", None) => "/".to_owned(),
            (given, _) => given.to_owned(),
        };
        let terminal = match request.streams {
            Streams::Terminal { width, height } => Some(protocol::Terminal {
                width,
                height,
                owner: instance.host_uid(request.uid),
            }),
            _ => None,
        };
        let (ends, theirs) =
            exec::open(request.streams).map_err(|e| self.process_error("open the streams of", e))?;
        let shown = |path: &Path| path.display().to_string();
        let message = protocol::Exec {
            name: self.key.prefixed(),
            lxcpath: instance.paths.containers.display().to_string(),
            config: config.display().to_string(),
            log: log.display().to_string(),
            uid: request.uid,
            gid: request.gid,
            cwd,
            environment: environment.into_iter().collect(),
            argv: request.command,
            legacy: self.group.legacy().into_iter().map(shown).collect(),
            unified: self.group.unified().map(shown).unwrap_or_default(),
            terminal,
        };
        let connection = self.shared.helper.connect("exec")?;
        exec::hold(connection, &message, ends, theirs).await
    }

    async fn use_console(&self, instance: &Instance, action: ConsoleAction) -> Result<Answer, Error> {
        let mut connection = self.shared.helper.connect("console")?;
        let request = protocol::Console {
            name: self.key.prefixed(),
            lxcpath: instance.paths.containers.display().to_string(),
            action,
        };
        connection.send(&request.encode(), &[]).await?;
        match connection.receive().await? {
            (Reply::Failed(reason), _) => Err(Error::Exec(reason)),
            (reply, fds) => Ok((reply, fds)),
        }
    }
}

type Answer = (Reply, Vec<std::os::fd::OwnedFd>);

impl Guest for Container {
    fn pid(&self) -> i32 {
        self.init().pid()
    }

    fn ended(self: Arc<Self>) -> BoxFuture<'static, Target> {
        Box::pin(async move { self.wait().await })
    }

    fn has_ended(&self) -> bool {
        self.init().has_ended()
    }

    fn kill(&self) -> Result<(), Error> {
        self.kill_init()
    }

    fn halt(&self, instance: &Instance) -> Result<(), Error> {
        let init = self.init();
        let signal = halt::signal(instance, init.pid());
        process::signal(init.pidfd().as_fd(), signal)
            .map_err(|source| self.process_error("shut down", source))
    }

    fn freeze(self: Arc<Self>) -> BoxFuture<'static, Result<(), Error>> {
        Box::pin(blocking(move || {
            self.group
                .freeze()
                .map_err(|source| self.cgroup_error("freeze", source))
        }))
    }

    fn thaw(&self) -> Result<(), Error> {
        self.group
            .thaw()
            .map_err(|source| self.cgroup_error("unfreeze", source))
    }

    fn is_frozen(&self) -> bool {
        self.group.is_frozen().unwrap_or(false)
    }

    fn state(&self, instance: &Instance) -> Result<State, Error> {
        state::read(self, instance)
    }

    fn update(&self, old: &Instance, new: &Instance, processors: Option<&str>) -> Result<(), Error> {
        self.change_limits(old, new, processors)?;
        self.change_priority(old, new);
        Ok(())
    }

    fn update_access<'a>(&'a self, old: &'a Instance, new: &'a Instance) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(async {
            apparmor::change(old, new).await?;
            self.change_socket(old, new).await
        })
    }

    fn attach<'a>(&'a self, instance: &'a Instance, plan: &'a Plan) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(self.plug(instance, plan))
    }

    fn detach<'a>(&'a self, instance: &'a Instance, plan: &'a Plan) -> BoxFuture<'a, Vec<Error>> {
        Box::pin(self.unplug(instance, plan))
    }

    fn throttle<'a>(&'a self, limits: &'a [Throttle]) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(self.limit(limits))
    }

    fn exec<'a>(
        &'a self,
        instance: &'a Instance,
        request: ExecRequest,
    ) -> BoxFuture<'a, Result<Held, Error>> {
        Box::pin(self.run(instance, request))
    }

    fn dump<'a>(&'a self, instance: &'a Instance, saving: &'a Saving) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(async move {
            let (config, ..) = config::files(instance);
            let named = Named {
                name: &self.key.prefixed(),
                lxcpath: &instance.paths.containers,
                config: &config,
            };
            self.shared.helper.dump(named, saving).await
        })
    }

    fn files(&self) -> Result<Place, Error> {
        let init = self.init();
        let place = Place::of_process(init.pid()).map_err(|source| self.process_error("enter", source))?;
        // The number was its own for as long as it lived.
        match init.has_ended() {
            true => Err(Error::Gone(self.key.clone())),
            false => Ok(place),
        }
    }

    fn console<'a>(&'a self, instance: &'a Instance) -> BoxFuture<'a, Result<Console, Error>> {
        Box::pin(async move {
            let (_, fds) = self.use_console(instance, ConsoleAction::Attach).await?;
            let [held, master] = <[_; 2]>::try_from(fds)
                .map_err(|fds| Error::Protocol(format!("{} descriptors came, not 2", fds.len())))?;
            Console::new(held, master).map_err(|source| self.process_error("open the console of", source))
        })
    }

    fn console_log<'a>(
        &'a self,
        instance: &'a Instance,
        clear: bool,
    ) -> BoxFuture<'a, Result<Vec<u8>, Error>> {
        let action = if clear {
            ConsoleAction::Clear
        } else {
            ConsoleAction::Log
        };
        Box::pin(async move {
            match self.use_console(instance, action).await? {
                (Reply::Log(text), _) => Ok(text),
                (other, _) => Err(Error::Protocol(format!("unexpected answer {other:?}"))),
            }
        })
    }
}
