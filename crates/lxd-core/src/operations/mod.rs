//! Background work: operations of class task, websocket and token, and works made of recorded steps.
//!
//! Two ways to do something:
//!
//! * one side effect: [`Operations::spawn`] runs a future as an operation;
//! * several: a struct with [`Work`], run by [`start`] as an operation or by [`run`] inside a request. Its steps are
//!   recorded in the node's database before they run, undone in reverse order when one fails, and finished or undone
//!   by the next daemon when this one dies.
//!
//! A work costs one commit of the node's database when it begins, one for each further recorded step, one when it ends.
//! The `operations` table of the cluster database is not written: on a standalone server nothing reads it, and it would
//! cost two replicated commits for each operation. (Clusters will need it for lists that span members.)
//!
//! An operation that has ended is listed for five more seconds, as with the reference; the outcome of a work with steps
//! can be asked for a day longer, also from the next daemon.

mod faults;
mod journal;
mod node;
mod operation;
mod progress;
mod recover;
mod sockets;
mod status;
mod steps;
mod stuck;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
#[cfg(test)]
pub(crate) mod tests;

use std::collections::{BTreeMap, HashMap};
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures::FutureExt;
use lxd_api::operations::Operation as Wire;
use parking_lot::Mutex;
use subtle::ConstantTimeEq;

pub use faults::{FaultPoint, Faults, Verdict, When};
pub use journal::{About, Journal, Keep, MemoryJournal, Outcome, Record};
pub use lxd_model::operations::OperationType as Kind;
pub use operation::{Operation, Options};
pub use progress::Progress;
pub use recover::{Works, recover};
pub(crate) use sockets::fill_random;
pub use sockets::{Message, Socket, Sockets, Ticket, secret};
pub use status::{Class, Status};
pub use steps::{OnCrash, Run, Step, Task, Work, run, run_in, run_on, start};

use self::stuck::Stuck;
use crate::ctx::Ctx;
use crate::error::{Error, Result};
use crate::events::{Action, Hub, Lifecycle};

/// How long an operation is listed after its end.
const LINGER: Duration = Duration::from_secs(5);

/// The operations of one daemon.
pub struct Operations {
    all: Mutex<HashMap<String, Operation>>,
    events: Arc<Hub>,
    journal: Arc<dyn Journal>,
    stuck: Stuck,
    is_stopping: AtomicBool,
    /// How long an operation is listed after its end.
    linger: Duration,
}

impl Operations {
    /// No operations yet.
    pub fn new(events: Arc<Hub>, journal: Arc<dyn Journal>) -> Arc<Self> {
        Arc::new(Self {
            all: Mutex::default(),
            events,
            journal,
            stuck: Stuck::default(),
            is_stopping: AtomicBool::new(false),
            linger: LINGER,
        })
    }

    /// Runs a future as an operation. It goes on when the caller is gone.
    ///
    /// # Errors
    /// The daemon is stopping.
    pub fn spawn<F, Fut>(self: &Arc<Self>, ctx: &Ctx, options: Options, work: F) -> Result<Operation>
    where
        F: FnOnce(Operation) -> Fut,
        Fut: Future<Output = Result<()>> + Send + 'static,
    {
        let operation = self.admit(ctx, options)?;
        let future = work(operation.clone());
        let (operations, running) = (Arc::clone(self), operation.clone());
        tokio::spawn(async move {
            let result = AssertUnwindSafe(future)
                .catch_unwind()
                .await
                .unwrap_or_else(|_| Err(Error::internal("The operation panicked")));
            operations.retire(&running, &result);
        });
        Ok(operation)
    }

    /// Makes an operation without work, of class token: it waits until [`Operations::finish_token`] or a cancel.
    ///
    /// # Errors
    /// The daemon is stopping.
    pub fn token(self: &Arc<Self>, ctx: &Ctx, options: Options) -> Result<Operation> {
        self.admit(ctx, options)
    }

    /// Makes an operation of class task for work that the caller does itself; [`Operations::finish`] ends it.
    ///
    /// # Errors
    /// The daemon is stopping.
    pub fn begin(self: &Arc<Self>, ctx: &Ctx, options: Options) -> Result<Operation> {
        self.admit(ctx, options)
    }

    /// Ends an operation of [`Operations::begin`].
    pub fn finish(self: &Arc<Self>, operation: &Operation) {
        self.retire(operation, &Ok(()));
    }

    /// Ends a token operation: it was used, or expired.
    pub fn finish_token(self: &Arc<Self>, operation: &Operation) {
        self.retire(operation, &Ok(()));
    }

    /// The operations in progress or just ended that the caller may see, of the context's project and of none, or of
    /// all projects; by the lower-case word of their state, oldest first.
    ///
    /// # Errors
    /// The caller may not see the project.
    pub fn list(&self, ctx: &Ctx, all_projects: bool) -> Result<BTreeMap<String, Vec<Wire>>> {
        ctx.require_trusted()?;
        if !all_projects {
            ctx.require_project()?;
        }
        let mut shown: Vec<Operation> = self.all.lock().values().cloned().collect();
        shown.retain(|operation| {
            let project = operation.project();
            project.is_empty() || (ctx.may_see_project(project) && (all_projects || project == ctx.project))
        });
        let mut wires: Vec<Wire> = shown.iter().map(Operation::wire).collect();
        wires.sort_by(|a, b| (a.created_at, &a.id).cmp(&(b.created_at, &b.id)));
        let mut groups: BTreeMap<String, Vec<Wire>> = BTreeMap::new();
        for wire in wires {
            groups.entry(wire.status.to_lowercase()).or_default().push(wire);
        }
        Ok(groups)
    }

    /// One operation, of this daemon or, if it had steps, of an earlier one.
    ///
    /// # Errors
    /// Not found.
    pub async fn get(&self, ctx: &Ctx, id: &str) -> Result<Wire> {
        ctx.require_trusted()?;
        if let Some(operation) = self.find(id).filter(|operation| sees(ctx, operation.project())) {
            return Ok(operation.wire());
        }
        let record = self
            .journal
            .get(id)
            .await?
            .filter(|record| sees(ctx, &record.about.project));
        record.and_then(|record| record.wire()).ok_or_else(not_found)
    }

    /// Waits until an operation has ended, for at most the given time (`None`: for ever), and shows it. With the secret
    /// of one of its websockets (or of the token) anybody may wait.
    ///
    /// # Errors
    /// Not found; forbidden to those who are neither trusted nor know a secret.
    pub async fn wait(
        &self,
        ctx: &Ctx,
        id: &str,
        secret: Option<&str>,
        timeout: Option<Duration>,
    ) -> Result<Wire> {
        let found = self.find(id);
        if !ctx.is_trusted() {
            let known = found.filter(|operation| secret.is_some_and(|secret| knows(operation, secret)));
            let operation = known.ok_or_else(|| Error::forbidden("not authorized"))?;
            operation.wait(timeout).await;
            return Ok(operation.wire());
        }
        if let Some(operation) = found.filter(|operation| sees(ctx, operation.project())) {
            operation.wait(timeout).await;
            return Ok(operation.wire());
        }
        self.get(ctx, id).await
    }

    /// Asks an operation to stop early. It ends when its work has noticed and undone what it did.
    ///
    /// # Errors
    /// Not found; it has ended; it can't be cancelled.
    pub fn cancel(self: &Arc<Self>, ctx: &Ctx, id: &str) -> Result<()> {
        ctx.require_trusted()?;
        let operation = self
            .find(id)
            .filter(|operation| sees(ctx, operation.project()))
            .ok_or_else(not_found)?;
        if operation.status() != Status::Running {
            return Err(Error::bad_request("Only running operations can be cancelled"));
        }
        if !operation.can_cancel() {
            return Err(Error::bad_request("This operation can't be cancelled"));
        }
        operation.set_status(Status::Cancelling);
        operation.cancel_token().cancel();
        if operation.class() == Class::Token {
            operation.set_status(Status::Cancelled);
            self.forget_later(&operation);
        }
        let event = Lifecycle::new(Action::OperationCancelled, operation.url()).by(ctx);
        self.events.lifecycle(operation.project(), &event);
        Ok(())
    }

    /// Redeems the secret of a websocket; the edge then upgrades the connection and attaches it to the ticket.
    ///
    /// # Errors
    /// Not found; the operation has no websockets; the secret is wrong or was used.
    pub fn connect(&self, id: &str, secret: &str) -> Result<Ticket> {
        let operation = self.find(id).ok_or_else(not_found)?;
        if operation.class() != Class::Websocket {
            return Err(Error::bad_request("Only websocket operations can be connected"));
        }
        if operation.status() != Status::Running {
            return Err(Error::bad_request("Only running operations can be connected"));
        }
        operation.sockets().redeem(secret)
    }

    /// A handle on an operation of this daemon.
    pub fn find(&self, id: &str) -> Option<Operation> {
        self.all.lock().get(id).cloned()
    }

    /// Handles on the operations that have not ended.
    pub fn running(&self) -> Vec<Operation> {
        self.all
            .lock()
            .values()
            .filter(|operation| !operation.status().is_final())
            .cloned()
            .collect()
    }

    /// Takes no more operations, waits for the works that run, and cancels those that are still there after the given
    /// time. Websocket and token operations are cancelled at once.
    pub async fn stop(&self, patience: Duration) {
        self.is_stopping.store(true, Ordering::SeqCst);
        let running = self.running();
        for operation in running
            .iter()
            .filter(|operation| operation.class() != Class::Task)
        {
            operation.cancel_token().cancel();
        }
        let works = running
            .iter()
            .filter(|operation| operation.class() == Class::Task);
        let ends = futures::future::join_all(works.map(|operation| operation.wait(None)));
        if tokio::time::timeout(patience, ends).await.is_err() {
            for operation in self.running() {
                operation.cancel_token().cancel();
            }
        }
    }

    fn admit(&self, ctx: &Ctx, mut options: Options) -> Result<Operation> {
        if self.is_stopping.load(Ordering::SeqCst) {
            return Err(Error::unavailable("LXD is shutting down"));
        }
        options.project.get_or_insert_with(|| ctx.project.clone());
        let id = operation::new_id();
        let operation = Operation::new(id.clone(), options, ctx.requestor(), Arc::clone(&self.events));
        self.all.lock().insert(id, operation.clone());
        operation.set_status(Status::Pending);
        operation.set_status(Status::Running);
        Ok(operation)
    }

    /// Takes up an operation of an earlier daemon.
    fn revive(&self, record: &Record) -> Operation {
        let events = Arc::clone(&self.events);
        let operation =
            Operation::revived(record.id.clone(), record.about.clone(), record.created_at, events);
        if record.about.shown {
            self.all.lock().insert(record.id.clone(), operation.clone());
        }
        operation.set_status(Status::Running);
        operation
    }

    fn retire(self: &Arc<Self>, operation: &Operation, result: &Result<()>) {
        if let Err(error) = result {
            tracing::debug!(
                operation = operation.id(),
                err = error.text(),
                "Failure for operation"
            );
        }
        operation.end(result);
        self.forget_later(operation);
    }

    fn forget_later(self: &Arc<Self>, operation: &Operation) {
        let (operations, id, linger) = (Arc::downgrade(self), operation.id().to_owned(), self.linger);
        tokio::spawn(async move {
            tokio::time::sleep(linger).await;
            if let Some(operations) = operations.upgrade() {
                operations.all.lock().remove(&id);
            }
        });
    }
}

fn not_found() -> Error {
    Error::not_found("Operation not found")
}

fn sees(ctx: &Ctx, project: &str) -> bool {
    project.is_empty() || ctx.may_see_project(project)
}

/// Whether a secret is one of the operation's own.
fn knows(operation: &Operation, secret: &str) -> bool {
    let metadata = operation.metadata();
    let token = metadata
        .get("secret")
        .and_then(serde_json::Value::as_str)
        .map(ToOwned::to_owned);
    let own = operation.sockets().secrets().into_values().chain(token);
    own.into_iter()
        .any(|own| own.as_bytes().ct_eq(secret.as_bytes()).into())
}
