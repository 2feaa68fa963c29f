//! The task that owns one running instance: what is asked of it and what happens to it arrive here, one after another.

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use parking_lot::RwLock;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use crate::devices::{self, nic};
use crate::drivers::{Driver, Guest, Prepared, Target};
use crate::error::{Error, TearDown};
use crate::events::{Cause, Event};
use crate::instance::Instance;
use crate::instances::{Ports, Started};
use crate::lifecycle::{self, Action, Phase, Request};
use crate::ports::NicDevice;

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
    Update {
        instance: Box<Instance>,
        processors: Option<String>,
        reply: Reply,
    },
}

pub(crate) type Reply = oneshot::Sender<Result<(), Error>>;

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
    pub(crate) async fn start(&self, processors: Option<&str>) -> Result<Started, Error> {
        let instance = self.instance();
        let started = self.start_steps(&instance, processors).await;
        if let Err(error) = &started {
            tracing::debug!(instance = %instance.key, %error, "Undoing a failed start");
            for left in tear_down(&self.ports, self.driver.as_ref(), &instance).await {
                tracing::warn!(instance = %instance.key, error = %left, "Failed to undo a part of a failed start");
            }
        }
        started
    }

    async fn start_steps(&self, instance: &Instance, processors: Option<&str>) -> Result<Started, Error> {
        devices::check(instance)?;
        let mounted = self.ports.storage.mount_root(instance).await;
        let root = mounted.map_err(|source| Error::Storage {
            action: "mount",
            key: instance.key.clone(),
            source,
        })?;
        let nics = self.plan_nics(instance).await?;
        let prepared = Prepared {
            root: &root,
            nics: &nics,
            processors,
        };
        let guest = self.driver.start(instance, prepared).await?;
        for plan in &nics {
            let hwaddr = plan.hwaddr();
            let nic = NicDevice {
                instance,
                device: &plan.device,
                host_name: &plan.nic.host_name,
                hwaddr: &hwaddr,
            };
            if let Err(source) = self.ports.network.nic_started(nic).await {
                guest.kill()?;
                guest.ended().await;
                return Err(Error::Network {
                    device: plan.device.clone(),
                    source,
                });
            }
        }
        let mut volatile = root.volatile;
        volatile.extend(nics.into_iter().flat_map(|plan| plan.volatile));
        let pid = guest.pid();
        let mut now = instance.clone();
        now.config.extend(volatile.iter().cloned());
        *self.view.write() = View {
            phase: Phase::Running,
            instance: Arc::new(now),
            guest: Some(guest),
        };
        Ok(Started { pid, volatile })
    }

    async fn plan_nics(&self, instance: &Instance) -> Result<Vec<nic::Plan>, Error> {
        let mut plans = Vec::new();
        for (device, name) in nic::names(instance) {
            let hwaddr = instance.volatile(&device, "hwaddr").unwrap_or_default();
            let asked = NicDevice {
                instance,
                device: &device,
                host_name: "",
                hwaddr,
            };
            let host = self.ports.network.prepare_nic(asked).await;
            let host = host.map_err(|source| Error::Network {
                device: device.clone(),
                source,
            })?;
            let mut random = [0; 7];
            rustix::rand::getrandom(&mut random, rustix::rand::GetRandomFlags::empty()).map_err(|e| {
                Error::Device {
                    device: device.clone(),
                    source: Box::new(Error::DeviceValue(format!("No random name: {e}"))),
                }
            })?;
            plans.push(nic::plan(instance, &device, &name, &host, random)?);
        }
        Ok(plans)
    }

    /// Serves the queue until the instance has stopped and is put away.
    pub(crate) async fn run(mut self, guest: Arc<dyn Guest>) {
        let mut ended = guest.clone().ended();
        let mut waiters: Vec<Waiter> = Vec::new();
        let mut cause = Cause::Inside;
        let target = loop {
            let deadline = waiters.iter().filter_map(|waiter| waiter.deadline).min();
            tokio::select! {
                biased;
                target = &mut ended => break target,
                message = self.queue.recv() => match message {
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
                    Some(other) => self.handle(&guest, other).await,
                    // The registry is gone with the daemon; the instance goes on without it.
                    None => return,
                },
                () = until(deadline) => {
                    give_up(&mut waiters);
                    if waiters.is_empty() {
                        self.view.write().phase = Phase::Running;
                        cause = Cause::Inside;
                    }
                }
            }
        };
        if target == Target::Reboot && cause == Cause::Inside {
            cause = Cause::Reboot;
        }
        self.finish(waiters, cause).await;
    }

    fn stop(&self, guest: &dyn Guest, force: bool) -> Result<(), Error> {
        let phase = self.phase();
        let action = lifecycle::decide(phase, Request::Stop { force })?;
        match action {
            Action::Kill => guest.kill()?,
            Action::ThawAndHalt => {
                guest.thaw()?;
                guest.halt()?;
            }
            Action::Halt => guest.halt()?,
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
                let old = self.instance();
                let (guest, new) = (guest.clone(), Arc::new(*instance));
                let wanted = new.clone();
                let changed = crate::drivers::container::blocking(move || {
                    guest.update(&old, &wanted, processors.as_deref())
                });
                let done = changed.await;
                if done.is_ok() {
                    self.view.write().instance = new;
                }
                answer(reply, done);
            }
            Message::Stop { reply, .. } => answer(reply, Err(Error::Gone(self.instance().key.clone()))),
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
pub(crate) async fn tear_down(ports: &Ports, driver: &dyn Driver, instance: &Instance) -> Vec<Error> {
    let mut errors = Vec::new();
    for (device, _) in devices::of_type(instance, "nic") {
        let host_name = instance.volatile(device, "host_name").unwrap_or_default();
        let hwaddr = instance.volatile(device, "hwaddr").unwrap_or_default();
        let nic = NicDevice {
            instance,
            device,
            host_name,
            hwaddr,
        };
        if let Err(source) = ports.network.nic_stopped(nic).await {
            errors.push(Error::Network {
                device: device.clone(),
                source,
            });
        }
    }
    errors.extend(driver.clean(instance).await);
    if let Err(source) = ports.storage.unmount_root(instance).await {
        errors.push(Error::Storage {
            action: "unmount",
            key: instance.key.clone(),
            source,
        });
    }
    errors
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
