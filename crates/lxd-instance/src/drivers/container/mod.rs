//! Containers, run by liblxc through the helper program.

mod adopt;
mod apparmor;
mod config;
mod devlxd;
mod ended;
mod guest;
mod halt;
pub(crate) mod intercept;
pub(crate) mod modules;
mod nvidia;
mod plug;
mod priority;
mod seccomp;
mod state;
#[cfg(test)]
mod tests;

use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use futures::future::BoxFuture;
use liblxc::protocol::Started;
use lxd_model::Invalid;
use lxd_sys::cgroup::{Cgroups, Limits, Write};
use lxd_sys::mount;
use lxd_sys::process::Process;
use lxd_sys::userns;

use super::{Adopted, Driver, Guest, Prepared, Saved};
use crate::devices::Plan;
use crate::error::Error;
use crate::hooks::Hooks;
use crate::instance::{Instance, InstancePaths};
use crate::limits::{self, Machine};
use crate::lxd_helper::{Helper, Named, Restored};
use crate::ports::RootVolume;
pub use apparmor::forget as forget_profile;
pub use apparmor::lack as apparmor_lack;
use config::{HOST_MOUNTS, Host, Input};
use ended::Ended;
use guest::Container;

/// The hook of the lxcfs package that does nothing but sleep for half a second after each stop, to let older daemons
/// see a reboot.
const SLEEPING_HOOK: &str = "/usr/share/lxcfs/lxc.reboot.hook";

/// What containers share.
pub(crate) struct Shared {
    pub(crate) helper: Helper,
    pub(crate) hooks: Arc<Hooks>,
    pub(crate) cgroups: Cgroups,
    pub(crate) machine: Machine,
    /// Where the daemon answers system calls of containers.
    pub(crate) seccomp_socket: PathBuf,
}

/// The driver of containers.
pub(crate) struct ContainerDriver {
    shared: Arc<Shared>,
    host: Host,
}

impl ContainerDriver {
    /// Looks at the host. `template` is the folder of the distribution's drop-in files for liblxc.
    pub(crate) fn new(shared: Shared, devlxd: &Path, template: &Path) -> Self {
        let mounts = HOST_MOUNTS
            .iter()
            .map(|mount| mount.0)
            .filter(|path| Path::new(path).exists())
            .collect();
        let host = Host {
            apparmor: apparmor::is_on(),
            stacking: apparmor::has_stacking(),
            mounts,
            devices: shared.cgroups.version("devices"),
            devlxd: devlxd.is_dir(),
            drop_ins: drop_ins(&template.join("common.conf.d")),
        };
        Self {
            shared: Arc::new(shared),
            host,
        }
    }

    fn limits(&self, instance: &Instance, processors: Option<&str>) -> Result<Vec<Write>, Error> {
        let limits = self.shared.limits(instance, processors)?;
        let (writes, missing) = limits.writes(&self.shared.cgroups);
        match missing.first() {
            Some(controller) => Err(Error::MissingController { controller }),
            None => Ok(writes),
        }
    }

    /// The configuration's text and the seccomp policy's.
    fn render(
        &self,
        instance: &Instance,
        root: &RootVolume,
        devices: &[Plan],
        limits: &[Write],
    ) -> (String, Option<String>) {
        let policy = seccomp::policy(instance);
        let input = Input {
            instance,
            host: &self.host,
            root,
            devices,
            limits,
            seccomp: policy.is_some(),
            seccomp_socket: seccomp::intercepts(instance).then_some(self.shared.seccomp_socket.as_path()),
            helper: self.shared.helper.path(),
            hook_socket: self.shared.hooks.path(),
        };
        (config::render(&input), policy)
    }

    async fn start_guest(
        &self,
        instance: &Instance,
        prepared: Prepared<'_>,
    ) -> Result<Arc<dyn Guest>, Error> {
        self.check_values(instance)?;
        modules::load(instance).await?;
        let mut limits = self.limits(instance, prepared.processors)?;
        for throttle in prepared.devices.iter().flat_map(|plan| &plan.throttles) {
            let writes = throttle.writes(&self.shared.cgroups, false);
            limits.extend(writes.ok_or(Error::MissingController { controller: "blkio" })?);
        }
        let (text, policy) = self.render(instance, prepared.root, prepared.devices, &limits);
        let (config, ..) = config::files(instance);
        let owned = instance.clone();
        blocking(move || write_files(&owned, &text, policy.as_deref())).await?;
        if self.host.apparmor {
            apparmor::load(instance, self.host.stacking).await?;
        }
        let name = instance.key.prefixed();
        let (helper, folder) = (&self.shared.helper, &instance.paths.containers);
        let begun = match prepared.saved {
            Some(saved) => self.bring_back(instance, &prepared, saved).await,
            None => helper.start(&name, folder, &config).await,
        };
        let started = match begun {
            Ok(started) => started,
            Err(error) => {
                // What it holds can't be put away before, and the next start would find the container running.
                adopt::outlast(folder.clone(), name).await?;
                return Err(error);
            }
        };
        let Some(guest) = self.hold(instance, started)? else {
            adopt::outlast(folder.clone(), name).await?;
            return Ok(Arc::new(Ended::new(self.shared.clone(), instance.key.clone())));
        };
        // liblxc sets its groups up before there are cards.
        let prioritised = guest.prioritise_plans(instance, prepared.devices).await;
        if !guest.has_ended() {
            prioritised?;
        }
        Ok(guest)
    }

    /// Starts it from what was saved.
    async fn bring_back(
        &self,
        instance: &Instance,
        prepared: &Prepared<'_>,
        saved: &Saved,
    ) -> Result<Option<Started>, Error> {
        let (config, ..) = config::files(instance);
        let named = Named {
            name: &instance.key.prefixed(),
            lxcpath: &instance.paths.containers,
            config: &config,
        };
        let map = instance.idmap.clone().filter(|_| prepared.root.needs_idmap);
        let userns = blocking(move || {
            map.as_ref()
                .map(userns::create)
                .transpose()
                .map_err(Error::Userns)
        });
        let restored = Restored {
            uid: instance.host_uid(0),
            gid: instance.host_gid(0),
            userns: userns.await?,
            log: &saved.log,
            cards: prepared.devices.iter().flat_map(|plan| &plan.cards).collect(),
        };
        self.shared.helper.restore(named, &saved.folder, restored).await
    }

    /// Takes hold of a container that has started. None if it has ended already.
    fn hold(&self, instance: &Instance, started: Option<Started>) -> Result<Option<Arc<Container>>, Error> {
        let Some(started) = started else {
            return Ok(None);
        };
        match Container::open(self.shared.clone(), instance.key.clone(), started) {
            Ok(guest) => Ok(Some(Arc::new(guest))),
            Err(error) => match Process::adopt(started.init) {
                Ok(init) if !init.has_ended() => Err(error),
                _ => Ok(None),
            },
        }
    }

    async fn check_config(&self, instance: &Instance) -> Result<(), Error> {
        apparmor::check(instance).await?;
        let Some(raw) = instance.config("raw.lxc") else {
            return Ok(());
        };
        let bad = raw
            .lines()
            .map(str::trim)
            .find(|line| !line.is_empty() && !line.starts_with('#') && !line.contains('='));
        if let Some(line) = bad {
            return Err(Invalid::new(format!("Invalid raw.lxc line: {line}")).into());
        }
        let root = RootVolume {
            rootfs: "/".into(),
            needs_idmap: false,
            volatile: Vec::new(),
        };
        let (text, _) = self.render(instance, &root, &[], &[]);
        // The policy's file need not exist yet.
        let lines = text
            .lines()
            .filter(|line| !line.starts_with("lxc.seccomp.") && !line.starts_with("lxc.log."));
        let text: String = lines.map(|line| format!("{line}\n")).collect();
        let path = std::env::temp_dir().join(format!(
            "lxd_config_{}_{}",
            std::process::id(),
            instance.key.prefixed()
        ));
        put(&path, &text, 0o600)?;
        let accepted = self.shared.helper.check(&path).await;
        let removed = std::fs::remove_file(&path).map_err(Error::file("remove", &path));
        if accepted? {
            return removed;
        }
        let text =
            format!("Failed to load config file {path:?}: loading config file for the container failed");
        Err(Invalid::new(text).into())
    }
}

impl Shared {
    /// liblxc is about to move processes: it does so at each start, and when a monitor ends.
    pub(crate) fn expect_moves(&self) {
        let cgroups = self.cgroups.clone();
        tokio::task::spawn_blocking(move || cgroups.expect_moves());
    }

    /// The limits of an instance, its processors included.
    pub(crate) fn limits(&self, instance: &Instance, processors: Option<&str>) -> Result<Limits, Error> {
        let mut limits = limits::limits(instance, &self.machine)?;
        limits.processors = processors.map(str::to_owned);
        Ok(limits)
    }
}

impl Driver for ContainerDriver {
    fn expect_start(&self) {
        self.shared.expect_moves();
    }

    fn start<'a>(
        &'a self,
        instance: &'a Instance,
        prepared: Prepared<'a>,
    ) -> BoxFuture<'a, Result<Arc<dyn Guest>, Error>> {
        Box::pin(self.start_guest(instance, prepared))
    }

    fn adopt<'a>(&'a self, instances: &'a [Instance]) -> BoxFuture<'a, Result<Adopted, Error>> {
        let wanted = instances.iter().map(|instance| {
            (
                (instance.paths.containers.clone(), instance.key.prefixed()),
                instance.key.clone(),
            )
        });
        let (wanted, shared) = (wanted.collect(), self.shared.clone());
        let paths: Vec<InstancePaths> = instances.iter().map(|instance| instance.paths.clone()).collect();
        Box::pin(async move {
            blocking(move || {
                plug::clear_transit(&paths);
                Ok(adopt::find(&shared, &wanted))
            })
            .await
        })
    }

    fn clean<'a>(&'a self, instance: &'a Instance) -> BoxFuture<'a, Vec<Error>> {
        let (instance, cgroups) = (instance.clone(), self.shared.cgroups.clone());
        Box::pin(async move {
            blocking(move || Ok(clean(&instance, &cgroups)))
                .await
                .unwrap_or_else(|error| vec![error])
        })
    }

    fn check<'a>(&'a self, instance: &'a Instance) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(self.check_config(instance))
    }

    fn check_values(&self, instance: &Instance) -> Result<(), Error> {
        nvidia::check(instance)?;
        let weighs = self.shared.cgroups.disk_weight().is_some();
        Ok(check_values(instance, weighs)?)
    }

    fn load_modules<'a>(&'a self, instance: &'a Instance) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(modules::load(instance))
    }
}

/// Refuses values that would make liblxc refuse the container.
fn check_values(instance: &Instance, weighs_disks: bool) -> Result<(), Invalid> {
    if instance.config("limits.disk.priority").is_some() && !weighs_disks {
        return Err(Invalid::new(
            "Cannot apply limits.disk.priority as blkio.weight cgroup controller is missing",
        ));
    }
    for (key, value) in &instance.config {
        let Some(name) = key.strip_prefix("limits.kernel.") else {
            continue;
        };
        let is_limit = |text: &str| text == "unlimited" || text.parse::<i64>().is_ok();
        let (soft, hard) = value.split_once(':').unwrap_or((value, value));
        if !is_limit(soft) || !is_limit(hard) {
            let text = format!("Failed to set LXC config: lxc.prlimit.{name}={value}");
            return Err(Invalid::new(text));
        }
    }
    Ok(())
}

/// Runs what touches files on a thread that may wait.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(panic) => std::panic::resume_unwind(panic.into_panic()),
    }
}

/// Writes what liblxc reads at a start.
fn write_files(instance: &Instance, text: &str, policy: Option<&str>) -> Result<(), Error> {
    let paths = &instance.paths;
    for (folder, mode) in [
        (&paths.logs, 0o755),
        (&paths.devices, 0o711),
        (&paths.shmounts, 0o711),
    ] {
        let made = std::fs::DirBuilder::new()
            .recursive(true)
            .mode(mode)
            .create(folder);
        made.map_err(Error::file("create", folder))?;
    }
    let (config, log, _) = config::files(instance);
    let old = log.with_extension("log.old");
    match std::fs::rename(&log, &old) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(Error::file("rename", &log)(error));
        }
        _ => {}
    }
    put(&config, text, 0o640)?;
    match policy {
        Some(policy) => {
            let folder = paths.seccomp.parent().unwrap_or(Path::new("/"));
            let made = std::fs::DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(folder);
            made.map_err(Error::file("create", folder))?;
            put(&paths.seccomp, policy, 0o600)
        }
        None => remove(&paths.seccomp, |path| std::fs::remove_file(path)).map_or(Ok(()), Err),
    }
}

/// Removes what a run leaves: the policy, folders of devices and mounts, and control groups of a monitor that was killed.
fn clean(instance: &Instance, cgroups: &Cgroups) -> Vec<Error> {
    let paths = &instance.paths;
    let mut errors = Vec::new();
    errors.extend(remove(&paths.seccomp, |path| std::fs::remove_file(path)));
    errors.extend(apparmor::unload(instance));
    for folder in [&paths.devices, &paths.shmounts] {
        let (_, left) = mount::detach_beneath(folder);
        errors.extend(left.into_iter().map(Error::Mount));
        errors.extend(remove(folder, remove_flat));
    }
    let name = instance.key.prefixed();
    for part in ["payload", "monitor"] {
        let group = cgroups.group(&format!("/lxc.{part}.{name}"));
        // Nothing of this instance runs here: a group with processes is one of the same name of another server's.
        let is_ours = group.exists() && group.processes().is_ok_and(|all| all.is_empty());
        let left = if is_ours { group.remove() } else { Vec::new() };
        errors.extend(left.into_iter().map(|source| Error::Cgroup {
            action: "remove the control groups of",
            key: instance.key.clone(),
            source,
        }));
    }
    errors
}

/// Removes a file or folder, which may be gone already.
fn remove(path: &Path, with: impl FnOnce(&Path) -> io::Result<()>) -> Option<Error> {
    match with(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Some(Error::file("remove", path)(error)),
        _ => None,
    }
}

/// Removes a folder with files and empty folders. Never goes down: what is still mounted there is somebody's data.
fn remove_flat(folder: &Path) -> io::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        match entry.file_type()?.is_dir() {
            true => std::fs::remove_dir(entry.path())?,
            false => std::fs::remove_file(entry.path())?,
        }
    }
    std::fs::remove_dir(folder)
}

fn put(path: &Path, text: &str, mode: u32) -> Result<(), Error> {
    let mut options = std::fs::File::options();
    options.write(true).create(true).truncate(true).mode(mode);
    let written = options
        .open(path)
        .and_then(|mut file| io::Write::write_all(&mut file, text.as_bytes()));
    written.map_err(Error::file("write", path))
}

/// The lines of the distribution's drop-in files, in the order of their names, without the one that sleeps.
fn drop_ins(folder: &Path) -> Vec<String> {
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder)
        .into_iter()
        .flatten()
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|extension| extension == "conf"))
        .collect();
    files.sort();
    let texts = files.iter().filter_map(|path| std::fs::read_to_string(path).ok());
    let lines = texts.flat_map(|text| {
        text.lines()
            .map(|line| line.trim().to_owned())
            .collect::<Vec<_>>()
    });
    lines
        .filter(|line| !line.is_empty() && !line.starts_with('#') && !line.contains(SLEEPING_HOOK))
        .collect()
}
