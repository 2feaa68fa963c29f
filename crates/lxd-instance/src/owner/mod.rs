//! The task that owns one running instance: what is asked of it and what happens to it arrive here, one after another.

mod dump;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use lxd_sys::watch::Watch;
use parking_lot::RwLock;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use crate::devices;
use crate::devices::Watches;
use crate::devices::change::Volatile;
use crate::drivers::container::blocking;
use crate::drivers::{Driver, Guest, Prepared, Saved, Saving, Target};
use crate::error::{Error, TearDown};
use crate::events::{Cause, Event};
use crate::instance::Instance;
use crate::instances::{Ports, Started};
use crate::lifecycle::{self, Action, Phase, Request};

/// How long to wait for more after the first change of the host.
const SETTLE: Duration = Duration::from_millis(100);

/// What is asked of an owner, and where the answer goes.
pub(crate) enum Message {
    Stop {
        force: bool,
        timeout: Option<Duration>,
        cause: Cause,
        reply: Reply,
    },
    Freeze(Reply),
    Thaw(Reply),
    Dump {
        saving: Saving,
        reply: Reply,
    },
    Update {
        instance: Box<Instance>,
        processors: Option<String>,
        reply: Reply<Volatile>,
    },
    /// The host's hardware or files have changed.
    Refresh,
    /// It is to use these processors from now on.
    Processors(String),
}

pub(crate) type Reply<T = ()> = oneshot::Sender<Result<T, Error>>;

/// What others may look at without asking the owner.
#[derive(Clone)]
pub(crate) struct View {
    pub(crate) phase: Phase,
    pub(crate) instance: Arc<Instance>,
    pub(crate) guest: Option<Arc<dyn Guest>>,
}

/// An instance's owner.
pub(crate) struct Owner {
    pub(crate) ports: Arc<Ports>,
    pub(crate) driver: Arc<dyn Driver>,
    pub(crate) view: Arc<RwLock<View>>,
    pub(crate) events: mpsc::UnboundedSender<Event>,
    pub(crate) queue: mpsc::Receiver<Message>,
}

/// Somebody who waits for the end of an instance, perhaps not for ever.
struct Waiter {
    reply: Reply,
    deadline: Option<Instant>,
}

impl Owner {
    /// Starts the instance: each step that was done is undone when a later one fails.
    pub(crate) async fn start(
        &self,
        processors: Option<&str>,
        saved: Option<&Saved>,
    ) -> Result<Started, Error> {
        let instance = self.instance();
        let started = self.start_steps(&instance, processors, saved).await;
        if let Err(error) = &started {
            tracing::debug!(instance = %instance.key, %error, "Undoing a failed start");
            // What was made ready for devices is known by now.
            for left in tear_down(&self.ports, self.driver.as_ref(), &self.instance()).await {
                tracing::warn!(instance = %instance.key, error = %left, "Failed to undo a part of a failed start");
            }
        }
        started
    }

    async fn start_steps(
        &self,
        instance: &Arc<Instance>,
        processors: Option<&str>,
        saved: Option<&Saved>,
    ) -> Result<Started, Error> {
        devices::check(instance)?;
        self.driver.expect_start();
        self.ports.files.end(&instance.key);
        let mounted = self.ports.host.storage.mount_root(instance).await;
        let root = mounted.map_err(|source| Error::Storage {
            action: "mount",
            key: instance.key.clone(),
            source,
        })?;
        let host = &self.ports.host;
        let mut plans = Vec::new();
        let ready = devices::change::prepare(host, instance, &mut plans).await;
        let made: Vec<_> = plans.iter().flat_map(|plan| plan.volatile.clone()).collect();
        self.view.write().instance = Arc::new(instance.with_volatile(&made));
        ready?;
        let prepared = Prepared {
            root: &root,
            devices: &plans,
            processors,
            saved,
        };
        let guest = self.driver.start(instance, prepared).await?;
        if let Err(error) = devices::change::started(host, instance, &plans, &guest).await
            // What has ended meanwhile has run: that it gets nothing more is no failure.
            && !guest.has_ended()
        {
            guest.kill()?;
            guest.ended().await;
            return Err(error);
        }
        let mut volatile = root.volatile;
        volatile.extend(made);
        let pid = guest.pid();
        *self.view.write() = View {
            phase: Phase::Running,
            instance: Arc::new(instance.with_volatile(&volatile)),
            guest: Some(guest),
        };
        Ok(Started { pid, volatile })
    }

    /// Serves the queue until the instance has stopped and is put away.
    pub(crate) async fn run(mut self, guest: Arc<dyn Guest>) {
        let mut ended = guest.clone().ended();
        let mut waiters: Vec<Waiter> = Vec::new();
        let mut cause = Cause::Inside;
        let mut watch = self.watch();
        // A daemon that has just taken the instance over does not know what happened before.
        let mut look = watch.as_ref().map(|_| Instant::now());
        let (mut dumping, mut held) = (None, VecDeque::new());
        let target = loop {
            let deadline = waiters.iter().filter_map(|waiter| waiter.deadline).min();
            let is_busy = dumping.is_some();
            tokio::select! {
                biased;
                target = &mut ended => break target,
                done = dump::done(&mut dumping) => match done {
                    dump::Done::Stops(reply) => {
                        cause = Cause::Requested;
                        self.view.write().phase = Phase::Stopping;
                        waiters.push(Waiter { reply, deadline: None });
                    }
                    dump::Done::GoesOn(reply, result) => answer(reply, result),
                },
                message = dump::next(&mut self.queue, &mut held, is_busy) => match message {
                    Some(message) if is_busy && !is_kill(&message) => held.push_back(message),
                    Some(Message::Dump { saving, reply }) => {
                        dumping = self.dump(&guest, saving, reply);
                    }
                    Some(Message::Stop { force, timeout, cause: wanted, reply }) => {
                        match self.stop(guest.as_ref(), force) {
                            Ok(()) => {
                                cause = wanted;
                                let deadline = timeout.map(|time| Instant::now() + time);
                                waiters.push(Waiter { reply, deadline });
                            }
                            Err(error) => answer(reply, Err(error)),
                        }
                    }
                    Some(other) => {
                        self.handle(&guest, other).await;
                        watch = self.watch();
                    }
                    // The registry is gone with the daemon; the instance goes on without it.
                    None => return,
                },
                () = changed(watch.as_ref()) => {
                    // Hardware comes with many events at once.
                    look.get_or_insert_with(|| Instant::now() + SETTLE);
                }
                () = until(look) => {
                    look = None;
                    watch = self.watch();
                    devices::change::refresh(&self.ports.host, &guest, &self.instance()).await;
                }
                () = until(deadline) => {
                    give_up(&mut waiters);
                    if waiters.is_empty() {
                        self.view.write().phase = Phase::Running;
                        cause = Cause::Inside;
                    }
                }
            }
        };
        if let Some(dumping) = dumping {
            // CRIU ends it before it has ended itself.
            match dumping.await {
                dump::Done::Stops(reply) => {
                    cause = Cause::Requested;
                    waiters.push(Waiter {
                        reply,
                        deadline: None,
                    });
                }
                dump::Done::GoesOn(reply, result) => answer(reply, result),
            }
        }
        if target == Target::Reboot && cause == Cause::Inside {
            cause = Cause::Reboot;
        }
        self.finish(waiters, cause).await;
    }

    /// Begins to save what runs.
    fn dump(&self, guest: &Arc<dyn Guest>, saving: Saving, reply: Reply) -> Option<dump::Dumping> {
        match lifecycle::decide(self.phase(), Request::Dump) {
            Ok(_) => Some(dump::begin(guest.clone(), self.instance(), saving, reply)),
            Err(refusal) => {
                answer(reply, Err(refusal.into()));
                None
            }
        }
    }

    /// A look-out for what the devices of the instance follow; none if they follow nothing.
    fn watch(&self) -> Option<Watch> {
        let wanted = devices::change::watches(&self.instance());
        if wanted == Watches::default() {
            return None;
        }
        match Watch::new(&wanted.paths, wanted.hardware) {
            Ok(watch) => Some(watch),
            Err(error) => {
                let key = &self.instance().key;
                tracing::warn!(instance = %key, %error, "Devices that come later will not be seen");
                None
            }
        }
    }

    fn stop(&self, guest: &dyn Guest, force: bool) -> Result<(), Error> {
        let phase = self.phase();
        let action = lifecycle::decide(phase, Request::Stop { force })?;
        match action {
            Action::Kill => guest.kill()?,
            Action::ThawAndHalt => {
                guest.thaw()?;
                guest.halt(&self.instance())?;
            }
            Action::Halt => guest.halt(&self.instance())?,
            _ => {}
        }
        self.view.write().phase = lifecycle::after(phase, action);
        Ok(())
    }

    async fn handle(&self, guest: &Arc<dyn Guest>, message: Message) {
        match message {
            Message::Freeze(reply) => {
                let done = self.pause(guest, Request::Freeze).await;
                answer(reply, done);
            }
            Message::Thaw(reply) => {
                let done = self.pause(guest, Request::Thaw).await;
                answer(reply, done);
            }
            Message::Update {
                instance,
                processors,
                reply,
            } => {
                let done = self.update(guest, *instance, processors).await;
                // Whoever asked may have gone.
                let _ = reply.send(done);
            }
            Message::Refresh => devices::change::refresh(&self.ports.host, guest, &self.instance()).await,
            Message::Processors(set) => {
                let instance = self.instance();
                let (guest, wanted) = (guest.clone(), instance.clone());
                let set =
                    crate::drivers::container::blocking(move || guest.update(&wanted, &wanted, Some(&set)));
                if let Err(error) = set.await {
                    tracing::warn!(instance = %instance.key, %error, "Failed to move to other processors");
                }
            }
            Message::Stop { reply, .. } | Message::Dump { reply, .. } => {
                answer(reply, Err(Error::Gone(self.instance().key.clone())))
            }
        }
    }

    /// Limits first, because they are quick to take back; then devices, which take back their own changes.
    async fn update(
        &self,
        guest: &Arc<dyn Guest>,
        new: Instance,
        processors: Option<String>,
    ) -> Result<Volatile, Error> {
        let old = self.instance();
        // Whose ids the guest has was decided when it started.
        let idmap = old.idmap.clone();
        let new = Arc::new(Instance { idmap, ..new });
        set_limits(guest, &old, &new, processors).await?;
        let changed = async {
            let changed = match guest.update_access(&old, &new).await {
                Ok(()) => devices::change::change(&self.ports.host, guest, &old, &new).await,
                Err(error) => Err(error),
            };
            if changed.is_err()
                && let Err(left) = guest.update_access(&new, &old).await
            {
                tracing::warn!(instance = %old.key, error = %left, "Failed to restore what the guest may do");
            }
            changed
        };
        match changed.await {
            Ok(volatile) => {
                self.view.write().instance = Arc::new(new.with_volatile(&volatile));
                Ok(volatile)
            }
            Err(error) => {
                if let Err(left) = set_limits(guest, &new, &old, None).await {
                    tracing::warn!(instance = %old.key, error = %left, "Failed to restore limits");
                }
                Err(error)
            }
        }
    }

    async fn pause(&self, guest: &Arc<dyn Guest>, request: Request) -> Result<(), Error> {
        let phase = self.phase();
        let action = lifecycle::decide(phase, request)?;
        match action {
            Action::Freeze => guest.clone().freeze().await?,
            _ => guest.thaw()?,
        }
        self.view.write().phase = lifecycle::after(phase, action);
        let key = self.instance().key.clone();
        self.tell(if action == Action::Freeze {
            Event::Frozen(key)
        } else {
            Event::Thawed(key)
        });
        Ok(())
    }

    /// Puts a stopped instance away, then answers everybody who waited for it.
    async fn finish(self, waiters: Vec<Waiter>, cause: Cause) {
        let instance = self.instance();
        self.view.write().phase = Phase::Stopping;
        let mut errors = tear_down(&self.ports, self.driver.as_ref(), &instance).await;
        for error in &errors {
            tracing::warn!(instance = %instance.key, %error, "Failed to put away a part of a stopped instance");
        }
        {
            let mut view = self.view.write();
            view.phase = Phase::Stopped;
            view.guest = None;
        }
        self.ports.forget(&instance.key, &self.view);
        self.tell(Event::Stopped(instance.key.clone(), cause));
        for waiter in waiters {
            // The first one gets the errors.
            let left = std::mem::take(&mut errors);
            answer(
                waiter.reply,
                if left.is_empty() {
                    Ok(())
                } else {
                    Err(Error::TearDown(TearDown(left)))
                },
            );
        }
    }

    fn instance(&self) -> Arc<Instance> {
        self.view.read().instance.clone()
    }

    fn phase(&self) -> Phase {
        self.view.read().phase
    }

    pub(crate) fn tell(&self, event: Event) {
        // Without anybody listening there is nobody to tell.
        let _ = self.events.send(event);
    }
}

/// Puts away everything that a start makes, in reverse order, whatever of it exists. Collects all errors.
pub(crate) async fn tear_down(ports: &Ports, driver: &dyn Driver, instance: &Arc<Instance>) -> Vec<Error> {
    // They are in the mounts that are to go.
    ports.files.end(&instance.key);
    let mut errors = devices::change::stopped(&ports.host, instance).await;
    errors.extend(driver.clean(instance).await);
    if let Err(source) = ports.host.storage.unmount_root(instance).await {
        errors.push(Error::Storage {
            action: "unmount",
            key: instance.key.clone(),
            source,
        });
    }
    errors
}

async fn set_limits(
    guest: &Arc<dyn Guest>,
    old: &Arc<Instance>,
    new: &Arc<Instance>,
    processors: Option<String>,
) -> Result<(), Error> {
    let (guest, old, new) = (guest.clone(), old.clone(), new.clone());
    blocking(move || guest.update(&old, &new, processors.as_deref())).await
}

fn is_kill(message: &Message) -> bool {
    matches!(message, Message::Stop { force: true, .. })
}

async fn changed(watch: Option<&Watch>) {
    match watch {
        Some(watch) => watch.changed().await,
        None => std::future::pending().await,
    }
}

async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

/// Tells those whose time is up.
fn give_up(waiters: &mut Vec<Waiter>) {
    let now = Instant::now();
    let (late, rest): (Vec<Waiter>, _) = std::mem::take(waiters)
        .into_iter()
        .partition(|waiter| waiter.deadline.is_some_and(|d| d <= now));
    *waiters = rest;
    for waiter in late {
        answer(
            waiter.reply,
            Err(Error::ShutdownTimeout {
                status: Phase::Running.status().0,
            }),
        );
    }
}

fn answer(reply: Reply, result: Result<(), Error>) {
    // Whoever asked may have gone.
    let _ = reply.send(result);
}
