//! One operation: its state, as its work, its waiters and the API see it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use lxd_api::Time;
use lxd_api::operations::Operation as Wire;
use parking_lot::Mutex;
use serde_json::{Map, Value};
use tokio_util::sync::CancellationToken;

use super::journal::{About, Outcome};
use super::progress::Progress;
use super::sockets::Sockets;
use super::{Class, Kind, Status};
use crate::error::{Error, Result};
use crate::events::{EventType, Hub, Requestor};

/// How an operation starts.
#[derive(Default)]
pub struct Options {
    pub(super) kind: Option<Kind>,
    pub(super) class: Option<Class>,
    pub(super) project: Option<String>,
    pub(super) resources: BTreeMap<String, Vec<String>>,
    pub(super) metadata: Map<String, Value>,
    pub(super) sockets: Sockets,
    pub(super) may_cancel: bool,
}

impl Options {
    /// Work that needs nobody.
    pub fn task(kind: Kind) -> Self {
        Self {
            kind: Some(kind),
            class: Some(Class::Task),
            ..Self::default()
        }
    }

    /// Work that talks to the client over websockets. Put [`Sockets::secrets`] into the metadata.
    pub fn websocket(kind: Kind, sockets: Sockets) -> Self {
        Self {
            kind: Some(kind),
            class: Some(Class::Websocket),
            sockets,
            ..Self::default()
        }
    }

    /// A secret that waits for its use: [`super::Operations::token`].
    pub fn token(kind: Kind) -> Self {
        Self {
            kind: Some(kind),
            class: Some(Class::Token),
            may_cancel: true,
            ..Self::default()
        }
    }

    /// The project it belongs to, where that is not the context's; empty for none (everybody sees it).
    #[must_use]
    pub fn project(mut self, project: impl Into<String>) -> Self {
        self.project = Some(project.into());
        self
    }

    /// A thing it works on: `("instances", "c1")` is shown as `/1.0/instances/c1`, and as a container for old clients.
    #[must_use]
    pub fn resource(self, noun: &str, name: &str) -> Self {
        let with = self.resource_url(noun, crate::urls::plain(&[noun, name]));
        match noun {
            "instances" => with.resource_url("containers", crate::urls::plain(&["containers", name])),
            _ => with,
        }
    }

    /// A thing it works on, by its URL.
    #[must_use]
    pub fn resource_url(mut self, noun: &str, url: String) -> Self {
        self.resources.entry(noun.into()).or_default().push(url);
        self
    }

    /// Metadata from the start.
    #[must_use]
    pub fn metadata(mut self, key: &str, value: impl Into<Value>) -> Self {
        self.metadata.insert(key.into(), value.into());
        self
    }

    /// Lets clients cancel it: the work must then watch [`Operation::cancel_token`].
    #[must_use]
    pub fn may_cancel(mut self) -> Self {
        self.may_cancel = true;
        self
    }
}

struct State {
    status: Status,
    updated_at: Timestamp,
    metadata: Map<String, Value>,
    error: String,
}

struct Inner {
    id: String,
    class: Class,
    about: About,
    created_at: Timestamp,
    may_cancel: bool,
    state: Mutex<State>,
    sockets: Sockets,
    cancel: CancellationToken,
    done: CancellationToken,
    events: Arc<Hub>,
}

/// A handle on an operation. Clones are the same operation.
#[derive(Clone)]
pub struct Operation(Arc<Inner>);

impl Operation {
    pub(super) fn new(id: String, options: Options, requestor: Option<Requestor>, events: Arc<Hub>) -> Self {
        let now = Timestamp::now();
        let about = About {
            shown: true,
            kind: options.kind,
            project: options.project.unwrap_or_default(),
            resources: options.resources,
            requestor,
        };
        let state = State {
            status: Status::Pending,
            updated_at: now,
            metadata: options.metadata,
            error: String::new(),
        };
        Self(Arc::new(Inner {
            id,
            class: options.class.unwrap_or(Class::Task),
            about,
            created_at: now,
            may_cancel: options.may_cancel,
            state: Mutex::new(state),
            sockets: options.sockets,
            cancel: CancellationToken::new(),
            done: CancellationToken::new(),
            events,
        }))
    }

    /// An operation that nobody sees, for work inside a request.
    pub(super) fn hidden(options: Options) -> Self {
        let mut operation = Self::new(new_id(), options, None, Arc::new(Hub::default()));
        if let Some(inner) = Arc::get_mut(&mut operation.0) {
            inner.about.shown = false;
        }
        operation
    }

    /// An operation of a daemon that died, taken up again under its old id.
    pub(super) fn revived(id: String, about: About, created_at: Timestamp, events: Arc<Hub>) -> Self {
        let mut operation = Self::new(id, Options::default(), None, events);
        if let Some(inner) = Arc::get_mut(&mut operation.0) {
            inner.about = about;
            inner.created_at = created_at;
        }
        operation
    }

    /// The id, a UUID.
    pub fn id(&self) -> &str {
        &self.0.id
    }

    /// The path that clients ask for it: `/1.0/operations/<id>`.
    pub fn url(&self) -> String {
        crate::urls::plain(&["operations", &self.0.id])
    }

    /// The project; empty for none.
    pub fn project(&self) -> &str {
        &self.0.about.project
    }

    /// The class.
    pub fn class(&self) -> Class {
        self.0.class
    }

    /// What it does; `None` for work inside a request.
    pub fn kind(&self) -> Option<Kind> {
        self.0.about.kind
    }

    /// The present state.
    pub fn status(&self) -> Status {
        self.0.state.lock().status
    }

    /// The text of the failure; empty when there is none.
    pub fn error(&self) -> String {
        self.0.state.lock().error.clone()
    }

    /// The metadata as it is now.
    pub fn metadata(&self) -> Map<String, Value> {
        self.0.state.lock().metadata.clone()
    }

    /// The websockets of class websocket.
    pub fn sockets(&self) -> &Sockets {
        &self.0.sockets
    }

    /// Ends when somebody cancels the operation or the daemon stops.
    pub fn cancel_token(&self) -> &CancellationToken {
        &self.0.cancel
    }

    /// Whether clients may cancel it.
    pub fn can_cancel(&self) -> bool {
        self.0.may_cancel
    }

    /// Sets one key of the metadata and tells whoever listens.
    pub fn set_metadata(&self, key: &str, value: impl Into<Value>) {
        self.update_metadata([(key.to_owned(), value.into())]);
    }

    /// Sets some keys of the metadata and tells whoever listens, once.
    pub fn update_metadata(&self, entries: impl IntoIterator<Item = (String, Value)>) {
        {
            let mut state = self.0.state.lock();
            if state.status.is_final() {
                return;
            }
            state.metadata.extend(entries);
            state.updated_at = Timestamp::now();
        }
        self.publish();
    }

    /// Takes a key out of the metadata; what is set next tells whoever listens.
    pub fn remove_metadata(&self, key: &str) {
        self.0.state.lock().metadata.shift_remove(key);
    }

    /// Begins to show the progress of a stage: `progress("create_instance_from_image_unpack", "Unpack", total bytes)`
    /// fills the metadata key `create_instance_from_image_unpack_progress`.
    pub fn progress(&self, stage: &str, prefix: &str, total: Option<u64>) -> Progress {
        Progress::new(self.clone(), stage, prefix, total)
    }

    /// Waits until the operation has ended, for at most the given time (`None`: for ever).
    pub async fn wait(&self, timeout: Option<Duration>) {
        let done = self.0.done.cancelled();
        match timeout {
            Some(limit) => drop(tokio::time::timeout(limit, done).await),
            None => done.await,
        }
    }

    /// Waits for the end and gives the failure as an error.
    ///
    /// # Errors
    /// The operation failed or was cancelled.
    pub async fn outcome(&self) -> Result<()> {
        self.wait(None).await;
        let state = self.0.state.lock();
        match state.status {
            Status::Success => Ok(()),
            Status::Cancelled => Err(Error::cancelled(state.error.clone())),
            _ => Err(Error::internal(state.error.clone())),
        }
    }

    /// The operation as the API shows it.
    pub fn wire(&self) -> Wire {
        let state = self.0.state.lock();
        let mut wire = self.0.about.wire(&self.0.id, self.0.class);
        wire.created_at = Time::from(self.0.created_at);
        wire.updated_at = Time::from(state.updated_at);
        wire.status = state.status.text().into();
        wire.status_code = state.status.code();
        wire.metadata = metadata_value(&state.metadata);
        wire.may_cancel = self.0.may_cancel && !state.status.is_final();
        wire.err.clone_from(&state.error);
        wire
    }

    pub(super) fn about(&self) -> &About {
        &self.0.about
    }

    /// What is kept for those who ask after the daemon's next start.
    pub(super) fn outcome_of(&self, result: &Result<()>) -> Outcome {
        let (status, error) = ending(result);
        let metadata = metadata_value(&self.0.state.lock().metadata);
        Outcome {
            status,
            error,
            metadata,
            ended_at: Time::from(Timestamp::now()),
        }
    }

    /// Moves on to a state, unless the operation has ended.
    pub(super) fn set_status(&self, status: Status) {
        {
            let mut state = self.0.state.lock();
            if state.status.is_final() {
                return;
            }
            state.status = status;
        }
        self.publish();
        if status.is_final() {
            self.0.done.cancel();
        }
    }

    /// Ends the operation.
    pub(super) fn end(&self, result: &Result<()>) {
        let (status, error) = ending(result);
        {
            let mut state = self.0.state.lock();
            if state.status.is_final() {
                return;
            }
            state.error = error;
        }
        self.set_status(status);
    }

    fn publish(&self) {
        if self.0.about.shown && self.0.events.is_wanted(EventType::Operation) {
            self.0
                .events
                .publish(EventType::Operation, &self.0.about.project, &self.wire());
        }
    }
}

/// The state and text that a result ends in.
fn ending(result: &Result<()>) -> (Status, String) {
    match result {
        Ok(()) => (Status::Success, String::new()),
        Err(error) if error.kind() == lxd_model::ErrorKind::Cancelled => (Status::Cancelled, error.text()),
        Err(error) => (Status::Failure, error.text()),
    }
}

/// Empty metadata is `null` on the wire.
fn metadata_value(metadata: &Map<String, Value>) -> Value {
    if metadata.is_empty() {
        Value::Null
    } else {
        Value::Object(metadata.clone())
    }
}

pub(super) fn new_id() -> String {
    uuid::Uuid::new_v4().to_string()
}
