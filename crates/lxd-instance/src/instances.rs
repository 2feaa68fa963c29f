//! The door of this crate: all running instances of this server by name.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use liblxc::protocol::HookMessage;
use lxd_sys::cgroup::Cgroups;
use parking_lot::{Mutex, RwLock};
use tokio::net::UnixListener;
use tokio::sync::{broadcast, mpsc, oneshot};

use crate::balance::{self, Share};
use crate::changes::{self, Change};
use crate::console::Console;
use crate::devices::Host;
use crate::devices::change::Volatile;
use crate::drivers::container::intercept::{self, Interceptor};
use crate::drivers::container::{ContainerDriver, Shared, blocking};
use crate::drivers::{Driver, Guest, Saved};
use crate::error::{Error, TearDown};
use crate::events::{Cause, Event};
use crate::exec::{ExecRequest, Held};
use crate::files::{Place, Server, Servers, Sftp};
use crate::hooks::Hooks;
use crate::instance::{Instance, InstanceType, Key};
use crate::lifecycle::{self, Phase, Refusal, Request, Stop};
use crate::limits::{self, Machine, Processors};
use crate::lxd_helper::Helper;
use crate::owner::{Message, Owner, Reply, View, tear_down};
use crate::ports::{Network, Storage};
use crate::state::State;

/// Requests to one instance that may wait; more of them wait at the door.
const QUEUE: usize = 32;

/// Longer than an instance takes to be put away.
const PUT_AWAY: Duration = Duration::from_secs(10);

/// Where things are on this server.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The program `lxd-helper`.
    pub helper: PathBuf,
    /// Where to listen for what containers' hooks say; a path of this daemon alone.
    pub hook_socket: PathBuf,
    /// Where to listen for system calls that containers' monitors have held up; a path of this daemon alone.
    pub seccomp_socket: PathBuf,
    /// The folder with the sockets for `/dev/lxd`; containers get it if it exists now.
    pub devlxd: PathBuf,
    /// The folder of the distribution's configuration for liblxc, such as `/usr/share/lxc/config`.
    pub lxc_template: PathBuf,
}

/// What liblxc can do.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Features {
    /// Its version.
    pub version: String,
    /// The API extensions that users are told about, and whether it has them.
    pub extensions: BTreeMap<String, bool>,
}

/// What a start has changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Started {
    /// The instance's init, seen from the host.
    pub pid: i32,
    /// `volatile.*` keys to be stored.
    pub volatile: Vec<(String, String)>,
}

/// All running instances. Cheap to clone.
#[derive(Clone)]
pub struct Instances {
    ports: Arc<Ports>,
    drivers: Arc<Drivers>,
    events: mpsc::UnboundedSender<Event>,
    machine: Arc<Machine>,
    _end: Arc<End>,
}

struct Drivers {
    container: Arc<dyn Driver>,
    helper: Helper,
    hooks: Arc<Hooks>,
}

/// What owners share: the ports, and the registry that they leave at their end.
pub(crate) struct Ports {
    pub(crate) host: Host,
    pub(crate) files: Arc<Servers>,
    changes: broadcast::Sender<Change>,
    machine: Machine,
    slots: Mutex<BTreeMap<Key, Slot>>,
}

struct Slot {
    view: Arc<RwLock<View>>,
    queue: mpsc::Sender<Message>,
    /// The processors that it was given.
    processors: Option<BTreeSet<u32>>,
}

impl Ports {
    /// Takes an instance that has stopped out of the registry.
    pub(crate) fn forget(&self, key: &Key, view: &Arc<RwLock<View>>) {
        let mut slots = self.slots.lock();
        if slots.get(key).is_some_and(|slot| Arc::ptr_eq(&slot.view, view)) {
            slots.remove(key);
        }
        drop(slots);
        self.balance();
    }

    /// Evens out which processors are used, after instances have come or gone.
    fn balance(&self) {
        let mut slots = self.slots.lock();
        let share = |slot: &Slot| {
            let instance = slot.view.read().instance.clone();
            Some(Share {
                wanted: limits::processors(&instance, &self.machine).ok()?,
                has: slot.processors.clone()?,
            })
        };
        let shares = slots
            .iter()
            .filter_map(|(key, slot)| Some((key.clone(), share(slot)?)))
            .collect();
        for (key, set) in balance::balance(&self.machine, &shares) {
            let Some(slot) = slots.get_mut(&key) else { continue };
            let processors = limits::format_set(&set);
            // Who has no room for it, or has not started yet, is seen to the next time.
            if slot.queue.try_send(Message::Processors(processors)).is_ok() {
                slot.processors = Some(set);
            }
        }
    }

    /// A running instance by the folder and the name that liblxc knows it by.
    fn by_lxc_name(&self, folder: &Path, name: &str) -> Option<Arc<Instance>> {
        let slots = self.slots.lock();
        let instances = slots.values().map(|slot| slot.view.read().instance.clone());
        instances
            .into_iter()
            .find(|instance| instance.paths.containers == folder && instance.key.prefixed() == name)
    }
}

/// The end of the last handle: owners end too, and the instances go on without them.
struct End {
    tasks: Mutex<Vec<tokio::task::AbortHandle>>,
    ports: Arc<Ports>,
}

impl Drop for End {
    fn drop(&mut self) {
        self.tasks.lock().iter().for_each(tokio::task::AbortHandle::abort);
        // Owners end when nobody can ask them any more.
        self.ports.slots.lock().clear();
    }
}

impl Instances {
    /// Prepares for the instances of this server; none are known yet, see [`Instances::adopt`]. What happens to them
    /// arrives at the receiver.
    ///
    /// # Errors
    /// When the hooks' socket can't be made, or the machine not be looked at.
    pub fn new(
        settings: Settings,
        storage: Arc<dyn Storage>,
        network: Arc<dyn Network>,
    ) -> Result<(Self, mpsc::UnboundedReceiver<Event>), Error> {
        let hooks =
            Hooks::listen(&settings.hook_socket).map_err(Error::file("listen at", &settings.hook_socket))?;
        let hooks = Arc::new(hooks);
        let key = Key::new("", "");
        let cgroup = |source| Error::Cgroup {
            action: "prepare for any",
            key: key.clone(),
            source,
        };
        let cgroups = Cgroups::detect().map_err(cgroup)?;
        let all = cgroups.processors().map_err(cgroup)?;
        let machine = Machine {
            memory: limits::total_memory()?,
            processors: limits::parse_set(&all).unwrap_or_default(),
        };
        let helper = Helper::new(settings.helper.clone());
        let shared = Shared {
            helper: helper.clone(),
            hooks: hooks.clone(),
            cgroups,
            machine: machine.clone(),
            seccomp_socket: settings.seccomp_socket.clone(),
        };
        let calls = intercept::listen(&settings.seccomp_socket)
            .map_err(Error::file("listen at", &settings.seccomp_socket))?;
        let container = Arc::new(ContainerDriver::new(
            shared,
            &settings.devlxd,
            &settings.lxc_template,
        ));
        let made = Self::with_driver(container, helper.clone(), hooks, machine, (storage, network));
        made.0.answer_calls(helper, calls);
        Ok(made)
    }

    /// Instances that run nowhere, for tests of what is above: of a driver such as
    /// [`crate::drivers::mock::MockDriver`], on a machine of four processors.
    ///
    /// # Errors
    /// When the hooks' socket can't be made.
    pub fn mock(
        driver: Arc<dyn Driver>,
        hook_socket: &Path,
        storage: Arc<dyn Storage>,
        network: Arc<dyn Network>,
    ) -> Result<(Self, mpsc::UnboundedReceiver<Event>), Error> {
        let hooks = Hooks::listen(hook_socket).map_err(Error::file("listen at", hook_socket))?;
        let machine = Machine {
            memory: 1 << 30,
            processors: (0..4).collect(),
        };
        let helper = Helper::new("/nonexistent".into());
        Ok(Self::with_driver(
            driver,
            helper,
            Arc::new(hooks),
            machine,
            (storage, network),
        ))
    }

    pub(crate) fn with_driver(
        container: Arc<dyn Driver>,
        helper: Helper,
        hooks: Arc<Hooks>,
        machine: Machine,
        (storage, network): (Arc<dyn Storage>, Arc<dyn Network>),
    ) -> (Self, mpsc::UnboundedReceiver<Event>) {
        let (events, receiver) = mpsc::unbounded_channel();
        let listening = hooks.clone();
        let task = tokio::spawn(async move { listening.run().await });
        let host = Host {
            storage,
            network,
            helper: helper.path().to_owned(),
            kept: Arc::default(),
        };
        let ports = Arc::new(Ports {
            host,
            files: Arc::default(),
            changes: broadcast::Sender::new(changes::BACKLOG),
            machine: machine.clone(),
            slots: Mutex::default(),
        });
        let end = End {
            tasks: Mutex::new(vec![task.abort_handle()]),
            ports: ports.clone(),
        };
        let instances = Self {
            ports,
            drivers: Arc::new(Drivers {
                container,
                helper,
                hooks,
            }),
            events,
            machine: Arc::new(machine),
            _end: Arc::new(end),
        };
        (instances, receiver)
    }

    /// Lets system calls that containers' monitors hold up be answered for as long as this lives.
    fn answer_calls(&self, helper: Helper, listener: UnixListener) {
        let ports = Arc::downgrade(&self.ports);
        let find = move |folder: &Path, name: &str| ports.upgrade()?.by_lxc_name(folder, name);
        let interceptor = Interceptor::new(helper, Box::new(find));
        let task = tokio::spawn(interceptor.run(listener));
        self._end.tasks.lock().push(task.abort_handle());
    }

    /// What the installed liblxc can do. Runs the helper: ask once.
    ///
    /// # Errors
    /// The helper or the library is missing.
    pub async fn features(&self) -> Result<Features, Error> {
        self.drivers.helper.features().await
    }

    /// Checks configuration before it is stored, as far as only the driver can: devices, limits, `raw.lxc`.
    ///
    /// # Errors
    /// The first value that would make a start fail.
    pub async fn check(&self, instance: &Instance) -> Result<(), Error> {
        limits::limits(instance, &self.machine)?;
        limits::processors(instance, &self.machine)?;
        self.driver(instance)?.check(instance).await
    }

    /// Checks values that depend on this host. Costs next to nothing.
    ///
    /// # Errors
    /// The first value that would make a start fail.
    pub fn check_values(&self, instance: &Instance) -> Result<(), Error> {
        self.driver(instance)?.check_values(instance)
    }

    /// Takes over the instances that run already. Returns their keys; the others do not run.
    ///
    /// # Errors
    /// `/proc` can't be read.
    pub async fn adopt(&self, instances: &[Instance]) -> Result<Vec<Key>, Error> {
        let mut adopted = Vec::new();
        for (key, guest) in self.drivers.container.adopt(instances).await? {
            let Some(instance) = instances.iter().find(|instance| instance.key == key) else {
                continue;
            };
            let phase = if guest.is_frozen() {
                Phase::Frozen
            } else {
                Phase::Running
            };
            if let Ok(owner) = self.register(instance.clone(), phase, Some(guest.clone())) {
                tokio::spawn(owner.run(guest));
                adopted.push(key);
            }
        }
        Ok(adopted)
    }

    /// Starts an instance.
    ///
    /// # Errors
    /// [`Error::Refused`] when it runs already; else what failed, after everything was undone.
    pub async fn start(&self, instance: Instance) -> Result<Started, Error> {
        self.start_from(instance, None).await
    }

    pub(crate) async fn start_from(
        &self,
        instance: Instance,
        saved: Option<Saved>,
    ) -> Result<Started, Error> {
        let key = instance.key.clone();
        let owner = self.register(instance, Phase::Starting, None)?;
        // The start goes on when whoever asked for it goes away: half a start helps nobody.
        let (ports, events) = (self.ports.clone(), self.events.clone());
        let processors = self.give_processors(&owner)?;
        let task = tokio::spawn(async move {
            let started = owner.start(processors.as_deref(), saved.as_ref()).await;
            let guest = owner.view.read().guest.clone();
            match guest {
                Some(guest) if started.is_ok() => {
                    let _ = events.send(Event::Started(key));
                    let is_over = guest.has_ended();
                    let life = tokio::spawn(owner.run(guest));
                    ports.balance();
                    if is_over {
                        // Its init had nothing to do. Who looks next sees it put away, or rebooted.
                        let _ = tokio::time::timeout(PUT_AWAY, life).await;
                    }
                }
                _ => ports.forget(&key, &owner.view),
            }
            started
        });
        match task.await {
            Ok(started) => started,
            Err(panic) => std::panic::resume_unwind(panic.into_panic()),
        }
    }

    /// Waits for the end of an instance whose init has ended already, while what a run leaves is put away.
    pub async fn outlast(&self, key: &Key) {
        let has_ended = |slot: &&Slot| {
            let guest = slot.view.read().guest.clone();
            guest.is_some_and(|guest| guest.has_ended())
        };
        let queue = {
            let slots = self.ports.slots.lock();
            slots.get(key).filter(has_ended).map(|slot| slot.queue.clone())
        };
        if let Some(queue) = queue {
            // A container that reboots by itself has another init soon.
            let _ = tokio::time::timeout(PUT_AWAY, queue.closed()).await;
        }
    }

    /// Stops an instance; returns once everything of it is put away.
    ///
    /// # Errors
    /// [`Error::Refused`], [`Error::ShutdownTimeout`]; [`Error::TearDown`] when it has stopped, but left something.
    pub async fn stop(&self, key: &Key, stop: Stop) -> Result<(), Error> {
        self.stop_for(key, stop, Cause::Requested).await
    }

    /// Stops an instance and starts it again, perhaps with another configuration.
    ///
    /// # Errors
    /// As [`Instances::stop`] and [`Instances::start`].
    pub async fn restart(&self, instance: Instance, stop: Stop) -> Result<Started, Error> {
        lifecycle::decide(self.phase(&instance.key), Request::Restart { force: stop.force })?;
        match self.stop_for(&instance.key, stop, Cause::Restart).await {
            // What could not be put away is logged; the new start says whether it matters.
            Ok(()) | Err(Error::TearDown(_)) => self.start(instance).await,
            Err(error) => Err(error),
        }
    }

    /// Makes all processes of an instance stand still.
    ///
    /// # Errors
    /// [`Error::Refused`], [`Error::Cgroup`].
    pub async fn freeze(&self, key: &Key) -> Result<(), Error> {
        self.ask(key, Request::Freeze, Message::Freeze).await
    }

    /// Lets the processes of a frozen instance go on.
    ///
    /// # Errors
    /// [`Error::Refused`], [`Error::Cgroup`].
    pub async fn unfreeze(&self, key: &Key) -> Result<(), Error> {
        self.ask(key, Request::Thaw, Message::Thaw).await
    }

    /// Tells a running instance its new configuration: limits and devices take effect at once. Nothing happens to a stopped
    /// one. Gives `volatile.*` keys to be stored; an empty value takes one away.
    ///
    /// # Errors
    /// A limit that can't be set, a device that can't be changed; everything stays as it was then.
    pub async fn update(&self, instance: Instance) -> Result<Volatile, Error> {
        let key = instance.key.clone();
        if !self.phase(&key).is_running() {
            return Ok(Volatile::new());
        }
        self.driver(&instance)?.load_modules(&instance).await?;
        let chosen = self.choose(&key, &instance)?;
        let processors = chosen.as_ref().map(limits::format_set);
        let old = self.view(&key).map(|view| view.instance);
        let instance = Box::new(instance);
        let (sender, receiver) = oneshot::channel();
        self.send(
            &key,
            Message::Update {
                instance,
                processors,
                reply: sender,
            },
            Refusal::NotRunning,
        )
        .await?;
        let volatile = receiver.await.unwrap_or_else(|_| Err(Error::Gone(key.clone())))?;
        if let Some(slot) = self.ports.slots.lock().get_mut(&key) {
            slot.processors = chosen;
        }
        self.ports.balance();
        let new = self.view(&key).map(|view| view.instance);
        if let (Some(old), Some(new)) = (old, new) {
            // Mostly nobody listens.
            let _ = self.ports.changes.send(Change { old, new });
        }
        Ok(volatile)
    }

    /// Lets the devices of all running instances look at what the host has now. Does not wait for them.
    pub fn refresh(&self) {
        for slot in self.ports.slots.lock().values() {
            // An owner whose queue is full looks when it starts a device the next time.
            let _ = slot.queue.try_send(Message::Refresh);
        }
    }

    /// Changes of running instances from now on.
    pub fn changes(&self) -> broadcast::Receiver<Change> {
        self.ports.changes.subscribe()
    }

    /// The running instance that a process belongs to, as it was started or last updated.
    pub fn of_process(&self, pid: i32) -> Option<Arc<Instance>> {
        let inits: Vec<(Key, i32)> = {
            let slots = self.ports.slots.lock();
            let running = slots.iter().filter_map(|(key, slot)| {
                let guest = slot.view.read().guest.clone()?;
                Some((key.clone(), guest.pid()))
            });
            running.collect()
        };
        let key = changes::owner_of(pid, &inits)?;
        Some(self.view(&key)?.instance)
    }

    /// Makes a process in an instance that becomes a program when it is told to.
    ///
    /// # Errors
    /// [`Error::Refused`]; [`Error::Exec`] when it could not be run. A program that is not found is no error here, but
    /// exit code 127.
    pub async fn exec(&self, key: &Key, request: ExecRequest) -> Result<Held, Error> {
        let (instance, guest) = self.running(key, Request::Exec)?;
        guest.exec(&instance, request).await
    }

    /// An instance in which a program could be run now, as it was started or last updated. Costs nothing.
    pub fn instance_for_exec(&self, key: &Key) -> Option<Arc<Instance>> {
        self.running(key, Request::Exec)
            .ok()
            .map(|(instance, _)| instance)
    }

    /// A server of an instance's files: one that is kept, or a new one where the instance runs. None for a stopped instance
    /// that has none; then see [`Instances::stopped_files`].
    ///
    /// # Errors
    /// A running instance that can't be entered.
    pub async fn files(&self, key: &Key) -> Result<Option<Server>, Error> {
        let guest = self.view(key).and_then(|view| view.guest);
        let init = guest.as_ref().map(|guest| guest.pid());
        if let Some(server) = self.ports.files.idle(key, init) {
            return Ok(Some(server));
        }
        match guest {
            Some(guest) => self.ports.files.begin(key, guest.files()?).await.map(Some),
            None => Ok(None),
        }
    }

    /// A new server of a stopped instance's files.
    ///
    /// # Errors
    /// Its root can't be entered.
    pub async fn stopped_files(&self, key: &Key, place: Place) -> Result<Server, Error> {
        self.ports.files.begin(key, place).await
    }

    /// A server of an instance's files that speaks SFTP. `stopped` is needed if it does not run.
    ///
    /// # Errors
    /// [`Error::Refused`] if it does not run and `stopped` is not there; it can't be entered.
    pub async fn sftp(&self, key: &Key, stopped: Option<Place>) -> Result<Sftp, Error> {
        let guest = self.view(key).and_then(|view| view.guest);
        let place = match (guest, stopped) {
            (Some(guest), _) => guest.files()?,
            (None, Some(place)) => place,
            (None, None) => return Err(Refusal::NotRunning.into()),
        };
        self.ports.files.sftp(key, place).await
    }

    /// Ends the servers of a stopped instance's files, which keep its volume busy.
    pub fn end_stopped_files(&self, key: &Key) {
        if self.phase(key) == Phase::Stopped {
            self.ports.files.end(key);
        }
    }

    /// Takes the console of a running instance.
    ///
    /// # Errors
    /// [`Error::Refused`]; [`Error::Exec`] when somebody else has it.
    pub async fn console(&self, key: &Key) -> Result<Console, Error> {
        let (instance, guest) = self.running(key, Request::Exec)?;
        guest.console(&instance).await
    }

    /// What the console of a running instance showed lately; `clear` makes it forget that.
    ///
    /// # Errors
    /// [`Error::Refused`], [`Error::Exec`].
    pub async fn console_log(&self, key: &Key, clear: bool) -> Result<Vec<u8>, Error> {
        let (instance, guest) = self.running(key, Request::Exec)?;
        guest.console_log(&instance, clear).await
    }

    /// Where an instance is in its life. Costs nothing.
    pub fn phase(&self, key: &Key) -> Phase {
        self.view(key).map_or(Phase::Stopped, |view| view.phase)
    }

    /// The init of a running instance, seen from the host.
    pub fn pid(&self, key: &Key) -> Option<i32> {
        self.view(key)?.guest.map(|guest| guest.pid())
    }

    /// All instances that run, with their phases.
    pub fn running_keys(&self) -> Vec<(Key, Phase)> {
        let slots = self.ports.slots.lock();
        let all = slots
            .iter()
            .map(|(key, slot)| (key.clone(), slot.view.read().phase));
        all.filter(|(_, phase)| phase.is_running()).collect()
    }

    /// Counters and addresses of one instance; none of one that is stopped.
    ///
    /// # Errors
    /// A running instance that can't be looked into.
    pub async fn state(&self, key: &Key) -> Result<Option<State>, Error> {
        self.states(vec![key.clone()]).await.remove(key).transpose()
    }

    /// Counters and addresses of those of these instances that run. Stopped ones cost nothing.
    pub async fn states(&self, keys: Vec<Key>) -> BTreeMap<Key, Result<State, Error>> {
        let views: Vec<(Key, View)> = keys
            .into_iter()
            .filter_map(|key| Some((key.clone(), self.view(&key)?)))
            .collect();
        if views.is_empty() {
            return BTreeMap::new();
        }
        let read = blocking(move || Ok(views.into_iter().map(|(key, view)| (key, look(&view))).collect()));
        read.await.unwrap_or_default()
    }

    /// Puts away what a stopped instance has left, such as one that ended while no daemon ran. Refuses one that runs.
    ///
    /// # Errors
    /// [`Error::Refused`]; [`Error::TearDown`] with everything that is left.
    pub async fn clean_up(&self, instance: &Instance) -> Result<(), Error> {
        if self.phase(&instance.key) != Phase::Stopped {
            return Err(Refusal::AlreadyRunning.into());
        }
        let driver = self.driver(instance)?;
        let errors = tear_down(&self.ports, driver.as_ref(), &Arc::new(instance.clone())).await;
        if errors.is_empty() {
            Ok(())
        } else {
            Err(Error::TearDown(TearDown(errors)))
        }
    }

    /// A hook's report that came by another way than the socket: from a container that the reference has started.
    pub fn hook(&self, key: &Key, kind: &str, target: &str) {
        self.drivers.hooks.take(&HookMessage {
            project: key.project.clone(),
            name: key.name.clone(),
            kind: kind.to_owned(),
            target: target.to_owned(),
        });
    }

    fn driver(&self, instance: &Instance) -> Result<Arc<dyn Driver>, Error> {
        match instance.kind {
            InstanceType::Container => Ok(self.drivers.container.clone()),
            InstanceType::VirtualMachine => Err(Error::NoDriver("virtual-machine")),
        }
    }

    /// Enters an instance into the registry, unless it is there.
    fn register(
        &self,
        instance: Instance,
        phase: Phase,
        guest: Option<Arc<dyn Guest>>,
    ) -> Result<Owner, Error> {
        let driver = self.driver(&instance)?;
        let mut slots = self.ports.slots.lock();
        let key = instance.key.clone();
        let now = slots
            .get(&key)
            .map_or(Phase::Stopped, |slot| slot.view.read().phase);
        lifecycle::decide(now, Request::Start)?;
        let view = Arc::new(RwLock::new(View {
            phase,
            instance: Arc::new(instance),
            guest,
        }));
        let (sender, queue) = mpsc::channel(QUEUE);
        slots.insert(
            key,
            Slot {
                view: view.clone(),
                queue: sender,
                processors: None,
            },
        );
        Ok(Owner {
            ports: self.ports.clone(),
            driver,
            view,
            events: self.events.clone(),
            queue,
        })
    }

    /// Chooses processors for an instance that is about to start, and notes them.
    fn give_processors(&self, owner: &Owner) -> Result<Option<String>, Error> {
        let instance = owner.view.read().instance.clone();
        match self.choose(&instance.key, &instance) {
            Ok(chosen) => {
                let text = chosen.as_ref().map(limits::format_set);
                if let Some(slot) = self.ports.slots.lock().get_mut(&instance.key) {
                    slot.processors = chosen;
                }
                Ok(text)
            }
            Err(error) => {
                self.ports.forget(&instance.key, &owner.view);
                Err(error)
            }
        }
    }

    fn choose(&self, key: &Key, instance: &Instance) -> Result<Option<BTreeSet<u32>>, Error> {
        let wanted = limits::processors(instance, &self.machine)?;
        if wanted == Processors::All {
            return Ok(None);
        }
        let slots = self.ports.slots.lock();
        let others = slots
            .iter()
            .filter(|(other, _)| *other != key)
            .filter_map(|(_, slot)| slot.processors.as_ref());
        Ok(limits::choose(&wanted, &self.machine, others))
    }

    fn view(&self, key: &Key) -> Option<View> {
        self.ports
            .slots
            .lock()
            .get(key)
            .map(|slot| slot.view.read().clone())
    }

    fn running(&self, key: &Key, request: Request) -> Result<(Arc<Instance>, Arc<dyn Guest>), Error> {
        let view = self.view(key);
        lifecycle::decide(view.as_ref().map_or(Phase::Stopped, |view| view.phase), request)?;
        let view = view.and_then(|view| Some((view.instance, view.guest?)));
        view.ok_or(Error::Refused(Refusal::NotRunning))
    }

    async fn stop_for(&self, key: &Key, stop: Stop, cause: Cause) -> Result<(), Error> {
        let Stop { force, timeout } = stop;
        let message = |reply| Message::Stop {
            force,
            timeout,
            cause,
            reply,
        };
        self.ask(key, Request::Stop { force }, message).await
    }

    /// Sends a request to the owner and waits for its answer. What the phase forbids is refused here already.
    pub(crate) async fn ask(
        &self,
        key: &Key,
        request: Request,
        message: impl FnOnce(Reply) -> Message,
    ) -> Result<(), Error> {
        lifecycle::decide(self.phase(key), request)?;
        let (sender, receiver) = oneshot::channel();
        let refusal = lifecycle::decide(Phase::Stopped, request)
            .err()
            .unwrap_or(Refusal::NotRunning);
        self.send(key, message(sender), refusal).await?;
        // The owner ends without an answer when the instance stops before it reads the request.
        receiver.await.unwrap_or(Err(Error::Refused(refusal)))
    }

    async fn send(&self, key: &Key, message: Message, refusal: Refusal) -> Result<(), Error> {
        let queue = self.ports.slots.lock().get(key).map(|slot| slot.queue.clone());
        let queue = queue.ok_or(Error::Refused(refusal))?;
        queue.send(message).await.map_err(|_| Error::Refused(refusal))
    }
}

fn look(view: &View) -> Result<State, Error> {
    match &view.guest {
        Some(guest) => {
            let mut state = guest.state(&view.instance)?;
            state.phase = view.phase;
            Ok(state)
        }
        None => Ok(State::without_processes(view.phase)),
    }
}
