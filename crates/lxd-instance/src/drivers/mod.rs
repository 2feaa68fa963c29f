//! What runs instances. A driver starts guests and finds them again; a guest is one that runs.

pub mod container;
pub mod mock;

use std::path::PathBuf;
use std::sync::Arc;

use futures::future::BoxFuture;
use lxd_sys::cgroup::Throttle;

use crate::console::Console;
use crate::devices::Plan;
use crate::error::Error;
use crate::exec::{ExecRequest, Held};
use crate::files::Place;
use crate::instance::{Instance, Key};
use crate::ports::RootVolume;
use crate::state::State;

/// How a guest ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// It is to stay stopped.
    Stop,
    /// Its init asked for a reboot.
    Reboot,
}

/// Guests that were found running.
pub type Adopted = Vec<(Key, Arc<dyn Guest>)>;

/// What a start needs besides the instance.
#[derive(Debug)]
pub struct Prepared<'a> {
    /// Its root volume, mounted.
    pub root: &'a RootVolume,
    /// Its devices.
    pub devices: &'a [Plan],
    /// The processors that it may use, where they are limited, such as `0,2-3`.
    pub processors: Option<&'a str>,
    /// Where to go on from, instead of from the beginning.
    pub saved: Option<&'a Saved>,
}

/// Where what ran in an instance is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Saved {
    /// The folder.
    pub folder: PathBuf,
    /// Where the log of what becomes of it goes.
    pub log: PathBuf,
}

/// Where what runs in an instance is to go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Saving {
    /// The folder, which does not exist before all is in it.
    pub folder: PathBuf,
    /// Where the log goes.
    pub log: PathBuf,
    /// Whether it ends then.
    pub stops: bool,
}

/// Starts guests of one type of instance.
pub trait Driver: Send + Sync {
    /// A start is being prepared: whatever takes a while and needs nothing may begin.
    fn expect_start(&self) {}

    /// Starts a guest; returns once its init runs. A failure leaves no process behind.
    fn start<'a>(
        &'a self,
        instance: &'a Instance,
        prepared: Prepared<'a>,
    ) -> BoxFuture<'a, Result<Arc<dyn Guest>, Error>>;

    /// Finds the guests that run already, started by a daemon that is gone. Starts no process.
    fn adopt<'a>(&'a self, instances: &'a [Instance]) -> BoxFuture<'a, Result<Adopted, Error>>;

    /// Removes what a stopped guest has left: files of the run, control groups. Also when there is nothing.
    fn clean<'a>(&'a self, instance: &'a Instance) -> BoxFuture<'a, Vec<Error>>;

    /// Checks configuration that only the driver can read, such as `raw.lxc`.
    fn check<'a>(&'a self, instance: &'a Instance) -> BoxFuture<'a, Result<(), Error>>;

    /// Checks values that depend on this host, without running anything.
    fn check_values(&self, _instance: &Instance) -> Result<(), Error> {
        Ok(())
    }

    /// Makes sure that the host's kernel has what a running instance is going to want of it.
    fn load_modules<'a>(&'a self, _instance: &'a Instance) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(async { Ok(()) })
    }
}

/// An instance that runs.
pub trait Guest: Send + Sync {
    /// Its init, seen from the host.
    fn pid(&self) -> i32;

    /// Resolves once nothing of it runs any more.
    fn ended(self: Arc<Self>) -> BoxFuture<'static, Target>;

    /// Whether its init has ended, so that [`Guest::ended`] resolves soon.
    fn has_ended(&self) -> bool;

    /// Kills it, frozen or not.
    fn kill(&self) -> Result<(), Error>;

    /// Asks its init to shut down.
    fn halt(&self, instance: &Instance) -> Result<(), Error>;

    /// Makes all its processes stand still.
    fn freeze(self: Arc<Self>) -> BoxFuture<'static, Result<(), Error>>;

    /// Lets its processes go on.
    fn thaw(&self) -> Result<(), Error>;

    /// Whether its processes stand still.
    fn is_frozen(&self) -> bool;

    /// Counters and addresses. Reads a few files and two tables of the kernel: not for async code.
    fn state(&self, instance: &Instance) -> Result<State, Error>;

    /// Brings limits from those of `old` to those of `new`. A failure leaves the old ones.
    fn update(&self, old: &Instance, new: &Instance, processors: Option<&str>) -> Result<(), Error>;

    /// Shows or hides the socket that it may ask the daemon at, and changes the rules that confine it. After a failure the
    /// caller asks for the old ones again.
    fn update_access<'a>(
        &'a self,
        _old: &'a Instance,
        _new: &'a Instance,
    ) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(async { Ok(()) })
    }

    /// Gives it what a device planned: all of it or nothing.
    fn attach<'a>(&'a self, instance: &'a Instance, plan: &'a Plan) -> BoxFuture<'a, Result<(), Error>>;

    /// Takes what a device has out of it; what is not there is fine. Collects all errors.
    fn detach<'a>(&'a self, instance: &'a Instance, plan: &'a Plan) -> BoxFuture<'a, Vec<Error>>;

    /// Limits what it reads and writes of block devices; a limit of 0 is none.
    fn throttle<'a>(&'a self, limits: &'a [Throttle]) -> BoxFuture<'a, Result<(), Error>>;

    /// Makes a process in it that is to become a program.
    fn exec<'a>(&'a self, instance: &'a Instance, request: ExecRequest)
    -> BoxFuture<'a, Result<Held, Error>>;

    /// Saves what runs, and ends it then where that is wanted. After a failure it goes on.
    fn dump<'a>(&'a self, _instance: &'a Instance, _saving: &'a Saving) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(async { Err(Error::Dump("The driver can't save what runs".into())) })
    }

    /// The way to its files.
    fn files(&self) -> Result<Place, Error>;

    /// Takes its console.
    fn console<'a>(&'a self, instance: &'a Instance) -> BoxFuture<'a, Result<Console, Error>>;

    /// What its console showed lately; empties the memory of that when `clear`.
    fn console_log<'a>(
        &'a self,
        instance: &'a Instance,
        clear: bool,
    ) -> BoxFuture<'a, Result<Vec<u8>, Error>>;
}
