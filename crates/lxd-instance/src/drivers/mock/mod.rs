//! Instances that run nowhere: a driver for tests of everything above the kernel.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::future::BoxFuture;
use lxd_sys::cgroup::Throttle;
use parking_lot::Mutex;
use tokio::sync::watch;

use super::{Adopted, Driver, Guest, Prepared, Saving, Target};
use crate::console::Console;
use crate::devices::Plan;
use crate::error::Error;
use crate::exec::{ExecRequest, Held};
use crate::files::Place;
use crate::instance::{Instance, Key};
use crate::lifecycle::Phase;
use crate::state::State;

/// What mock instances do when they are asked something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Behaviour {
    /// A start fails.
    pub fails_to_start: bool,
    /// Init ignores the wish to shut down.
    pub ignores_halt: bool,
    /// What runs can't be saved.
    pub fails_to_dump: bool,
    /// Init has nothing to do.
    pub ends_at_once: bool,
    /// A device whose name has this many characters can't be plugged in.
    pub fails_to_attach: Option<usize>,
}

/// Starts [`MockGuest`]s, and remembers what it was asked.
#[derive(Default)]
pub struct MockDriver {
    behaviour: Mutex<Behaviour>,
    log: Arc<Mutex<Vec<String>>>,
    guests: Mutex<BTreeMap<Key, Arc<MockGuest>>>,
}

impl MockDriver {
    /// Changes what instances do from now on.
    pub fn behave(&self, behaviour: Behaviour) {
        *self.behaviour.lock() = behaviour;
    }

    /// Everything that was asked since the last time.
    pub fn take_log(&self) -> Vec<String> {
        std::mem::take(&mut *self.log.lock())
    }

    /// Ends an instance from inside.
    pub fn end(&self, key: &Key, target: Target) {
        if let Some(guest) = self.guests.lock().get(key) {
            guest.end(target);
        }
    }

    fn note(&self, text: String) {
        self.log.lock().push(text);
    }
}

/// An instance without processes.
pub struct MockGuest {
    name: String,
    behaviour: Behaviour,
    log: Arc<Mutex<Vec<String>>>,
    frozen: Mutex<bool>,
    ended: watch::Sender<Option<Target>>,
}

impl MockGuest {
    fn end(&self, target: Target) {
        self.ended.send_replace(Some(target));
    }

    fn note(&self, action: &str) {
        self.log.lock().push(format!("{action} {}", self.name));
    }
}

impl Driver for MockDriver {
    fn start<'a>(
        &'a self,
        instance: &'a Instance,
        prepared: Prepared<'a>,
    ) -> BoxFuture<'a, Result<Arc<dyn Guest>, Error>> {
        Box::pin(async move {
            let verb = prepared.saved.map_or("start", |_| "restore");
            self.note(format!(
                "{verb} {} on {}",
                instance.key,
                prepared.root.rootfs.display()
            ));
            let behaviour = *self.behaviour.lock();
            if behaviour.fails_to_start {
                return Err(Error::Start {
                    command: "mock".into(),
                    reason: "told to fail".into(),
                });
            }
            let guest = Arc::new(MockGuest {
                name: instance.key.to_string(),
                behaviour,
                log: self.log.clone(),
                frozen: Mutex::new(false),
                ended: watch::Sender::new(behaviour.ends_at_once.then_some(Target::Stop)),
            });
            self.guests.lock().insert(instance.key.clone(), guest.clone());
            Ok(guest as Arc<dyn Guest>)
        })
    }

    fn adopt<'a>(&'a self, instances: &'a [Instance]) -> BoxFuture<'a, Result<Adopted, Error>> {
        let guests = self.guests.lock();
        let running = instances.iter().filter_map(|instance| {
            let guest = guests
                .get(&instance.key)
                .filter(|guest| guest.ended.borrow().is_none())?;
            Some((instance.key.clone(), guest.clone() as Arc<dyn Guest>))
        });
        let found = running.collect();
        Box::pin(async move { Ok(found) })
    }

    fn clean<'a>(&'a self, instance: &'a Instance) -> BoxFuture<'a, Vec<Error>> {
        self.note(format!("clean {}", instance.key));
        Box::pin(async { Vec::new() })
    }

    fn check<'a>(&'a self, _instance: &'a Instance) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(async { Ok(()) })
    }
}

impl Guest for MockGuest {
    fn pid(&self) -> i32 {
        1
    }

    fn ended(self: Arc<Self>) -> BoxFuture<'static, Target> {
        let mut receiver = self.ended.subscribe();
        Box::pin(async move {
            let target = receiver
                .wait_for(Option::is_some)
                .await
                .ok()
                .and_then(|value| *value);
            target.unwrap_or(Target::Stop)
        })
    }

    fn has_ended(&self) -> bool {
        self.ended.borrow().is_some()
    }

    fn kill(&self) -> Result<(), Error> {
        self.note("kill");
        self.end(Target::Stop);
        Ok(())
    }

    fn halt(&self, _instance: &Instance) -> Result<(), Error> {
        self.note("halt");
        if !self.behaviour.ignores_halt {
            self.end(Target::Stop);
        }
        Ok(())
    }

    fn freeze(self: Arc<Self>) -> BoxFuture<'static, Result<(), Error>> {
        self.note("freeze");
        *self.frozen.lock() = true;
        Box::pin(async { Ok(()) })
    }

    fn thaw(&self) -> Result<(), Error> {
        self.note("thaw");
        *self.frozen.lock() = false;
        Ok(())
    }

    fn is_frozen(&self) -> bool {
        *self.frozen.lock()
    }

    fn state(&self, _instance: &Instance) -> Result<State, Error> {
        Ok(State {
            pid: 1,
            processes: 1,
            ..State::without_processes(Phase::Running)
        })
    }

    fn update(&self, _old: &Instance, _new: &Instance, processors: Option<&str>) -> Result<(), Error> {
        self.note(&format!("update {}", processors.unwrap_or("all")));
        Ok(())
    }

    fn attach<'a>(&'a self, _instance: &'a Instance, plan: &'a Plan) -> BoxFuture<'a, Result<(), Error>> {
        self.note(&format!("attach {} to", plan.device));
        let fails = self.behaviour.fails_to_attach == Some(plan.device.len());
        Box::pin(async move {
            match fails {
                true => Err(Error::DeviceValue("told to fail".into())),
                false => Ok(()),
            }
        })
    }

    fn detach<'a>(&'a self, _instance: &'a Instance, plan: &'a Plan) -> BoxFuture<'a, Vec<Error>> {
        self.note(&format!("detach {} from", plan.device));
        Box::pin(async { Vec::new() })
    }

    fn throttle<'a>(&'a self, limits: &'a [Throttle]) -> BoxFuture<'a, Result<(), Error>> {
        self.note(&format!("throttle {}", limits.len()));
        Box::pin(async { Ok(()) })
    }

    fn exec<'a>(
        &'a self,
        _instance: &'a Instance,
        request: ExecRequest,
    ) -> BoxFuture<'a, Result<Held, Error>> {
        self.note(&format!("exec {}", request.command.join(" ")));
        Box::pin(async { Err(Error::Exec("mock instances run no programs".into())) })
    }

    fn dump<'a>(&'a self, _instance: &'a Instance, saving: &'a Saving) -> BoxFuture<'a, Result<(), Error>> {
        self.note(if saving.stops { "dump and end" } else { "dump" });
        Box::pin(async move {
            if self.behaviour.fails_to_dump {
                return Err(Error::Dump("told to fail".into()));
            }
            let made = std::fs::create_dir(&saving.folder);
            made.map_err(Error::file("create", &saving.folder))?;
            if saving.stops {
                self.end(Target::Stop);
            }
            Ok(())
        })
    }

    fn files(&self) -> Result<Place, Error> {
        Err(Error::Exec("mock instances have no files".into()))
    }

    fn console<'a>(&'a self, _instance: &'a Instance) -> BoxFuture<'a, Result<Console, Error>> {
        Box::pin(async { Err(Error::Exec("mock instances have no console".into())) })
    }

    fn console_log<'a>(
        &'a self,
        _instance: &'a Instance,
        _clear: bool,
    ) -> BoxFuture<'a, Result<Vec<u8>, Error>> {
        Box::pin(async { Ok(Vec::new()) })
    }
}
