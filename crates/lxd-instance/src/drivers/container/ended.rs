//! A container whose init had ended before the daemon could take hold of it.

use std::sync::Arc;

use futures::future::BoxFuture;
use lxd_sys::cgroup::Throttle;

use super::Shared;
use crate::console::Console;
use crate::devices::Plan;
use crate::drivers::{Guest, Target};
use crate::error::Error;
use crate::exec::{ExecRequest, Held};
use crate::files::Place;
use crate::instance::{Instance, Key};
use crate::lifecycle::Phase;
use crate::state::State;

/// It has run, and is only to be put away.
pub(super) struct Ended {
    shared: Arc<Shared>,
    key: Key,
}

impl Ended {
    /// The container of this name, whose processes are all gone.
    pub(super) fn new(shared: Arc<Shared>, key: Key) -> Self {
        Self { shared, key }
    }

    fn gone<T: Send>(&self) -> BoxFuture<'_, Result<T, Error>> {
        Box::pin(async { Err(Error::Gone(self.key.clone())) })
    }
}

impl Guest for Ended {
    fn pid(&self) -> i32 {
        0
    }

    fn ended(self: Arc<Self>) -> BoxFuture<'static, Target> {
        let target = match self.shared.hooks.take_reboot(&self.key) {
            true => Target::Reboot,
            false => Target::Stop,
        };
        Box::pin(async move { target })
    }

    fn has_ended(&self) -> bool {
        true
    }

    fn kill(&self) -> Result<(), Error> {
        Ok(())
    }

    fn halt(&self, _instance: &Instance) -> Result<(), Error> {
        Ok(())
    }

    fn freeze(self: Arc<Self>) -> BoxFuture<'static, Result<(), Error>> {
        Box::pin(async move { Err(Error::Gone(self.key.clone())) })
    }

    fn thaw(&self) -> Result<(), Error> {
        Ok(())
    }

    fn is_frozen(&self) -> bool {
        false
    }

    fn state(&self, _instance: &Instance) -> Result<State, Error> {
        Ok(State::without_processes(Phase::Stopped))
    }

    fn update(&self, _old: &Instance, _new: &Instance, _processors: Option<&str>) -> Result<(), Error> {
        Ok(())
    }

    fn attach<'a>(&'a self, _instance: &'a Instance, _plan: &'a Plan) -> BoxFuture<'a, Result<(), Error>> {
        self.gone()
    }

    fn detach<'a>(&'a self, _instance: &'a Instance, _plan: &'a Plan) -> BoxFuture<'a, Vec<Error>> {
        Box::pin(async { Vec::new() })
    }

    fn throttle<'a>(&'a self, _limits: &'a [Throttle]) -> BoxFuture<'a, Result<(), Error>> {
        self.gone()
    }

    fn exec<'a>(
        &'a self,
        _instance: &'a Instance,
        _request: ExecRequest,
    ) -> BoxFuture<'a, Result<Held, Error>> {
        self.gone()
    }

    fn files(&self) -> Result<Place, Error> {
        Err(Error::Gone(self.key.clone()))
    }

    fn console<'a>(&'a self, _instance: &'a Instance) -> BoxFuture<'a, Result<Console, Error>> {
        self.gone()
    }

    fn console_log<'a>(
        &'a self,
        _instance: &'a Instance,
        _clear: bool,
    ) -> BoxFuture<'a, Result<Vec<u8>, Error>> {
        self.gone()
    }
}
