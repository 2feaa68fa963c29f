//! The events stream: who listens, what each may see, and the messages, encoded once for all listeners.
//!
//! Publishing costs one atomic load when nobody listens for the type. A listener that does not keep up is cut off
//! rather than left with gaps: clients wait for operations on this stream.

mod lifecycle;
mod logging;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::task::{Context as TaskContext, Poll};

use bytes::Bytes;
use futures::Stream;
use lxd_api::Time;
use lxd_api::events::Event;
use parking_lot::RwLock;
use serde::Serialize;
use serde_json::Value;
use tokio::sync::mpsc;

pub use lifecycle::{Action, Lifecycle, Requestor};
pub use logging::{LogLayer, log_layer};

use crate::ctx::Ctx;
use crate::error::{Error, Result};

/// How many messages may wait for one listener before it is cut off.
const BACKLOG: usize = 8192;

/// What an event is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum EventType {
    /// The log of the daemon; for admins only.
    Logging,
    /// Changes of operations.
    Operation,
    /// What happened to instances and everything else.
    Lifecycle,
}

impl EventType {
    /// All types.
    pub const ALL: [Self; 3] = [Self::Logging, Self::Operation, Self::Lifecycle];

    /// The word on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Logging => "logging",
            Self::Operation => "operation",
            Self::Lifecycle => "lifecycle",
        }
    }

    fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|t| t.as_str() == word)
    }
}

/// What a listener wants to hear.
#[derive(Debug, Clone)]
pub struct Wanted {
    types: Vec<EventType>,
    /// `None`: all projects.
    project: Option<String>,
}

impl Wanted {
    /// Some types, of one project or (`None`) of all.
    pub fn new(types: &[EventType], project: Option<&str>) -> Self {
        Self {
            types: types.to_vec(),
            project: project.map(Into::into),
        }
    }

    /// What a request asks for: `?type=a,b` (all that the caller may see when absent or empty) and `?all-projects=`.
    ///
    /// # Errors
    /// An unknown type, or one that the caller may not see.
    pub fn from_request(ctx: &Ctx, types: Option<&str>, all_projects: bool) -> Result<Self> {
        ctx.require_trusted()?;
        if all_projects && !ctx.is_admin() {
            return Err(Error::forbidden("not authorized"));
        }
        if !all_projects {
            ctx.require_project()?;
        }
        let words = types.unwrap_or_default();
        let mut wanted = Vec::new();
        if words.is_empty() {
            wanted.extend(
                EventType::ALL
                    .into_iter()
                    .filter(|t| *t != EventType::Logging || ctx.is_admin()),
            );
        } else {
            for word in words.split(',') {
                let Some(event_type) = EventType::parse(word) else {
                    return Err(Error::internal(format!("{word:?} isn't a supported event type")));
                };
                if event_type == EventType::Logging && !ctx.is_admin() {
                    return Err(Error::forbidden("not authorized"));
                }
                wanted.push(event_type);
            }
        }
        let project = if all_projects {
            None
        } else {
            Some(ctx.project.clone())
        };
        Ok(Self {
            types: wanted,
            project,
        })
    }

    fn accepts(&self, event_type: EventType, project: &str) -> bool {
        self.types.contains(&event_type)
            && (project.is_empty() || self.project.as_deref().is_none_or(|own| own == project))
    }
}

struct Listener {
    wanted: Wanted,
    sender: mpsc::Sender<Bytes>,
}

/// Where events are published and listened to. One per daemon, made before everything else so that the log can feed it.
#[derive(Default)]
pub struct Hub {
    listeners: RwLock<HashMap<u64, Listener>>,
    next_id: AtomicU64,
    counts: [AtomicUsize; 3],
    location: RwLock<String>,
}

impl Hub {
    /// A hub without listeners, on a server that is not clustered.
    pub fn new() -> Arc<Self> {
        let hub = Self::default();
        *hub.location.write() = "none".into();
        Arc::new(hub)
    }

    /// Names the cluster member that events come from; `none` on a standalone server.
    pub fn set_location(&self, location: impl Into<String>) {
        *self.location.write() = location.into();
    }

    /// Whether anybody listens for a type.
    pub fn is_wanted(&self, event_type: EventType) -> bool {
        self.counts[event_type as usize].load(Ordering::Relaxed) > 0
    }

    /// Begins to listen.
    pub fn subscribe(self: &Arc<Self>, wanted: Wanted) -> Subscription {
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        let (sender, receiver) = mpsc::channel(BACKLOG);
        for event_type in &wanted.types {
            self.counts[*event_type as usize].fetch_add(1, Ordering::Relaxed);
        }
        self.listeners.write().insert(id, Listener { wanted, sender });
        Subscription {
            id,
            receiver,
            hub: Arc::downgrade(self),
        }
    }

    /// Tells the listeners of a project about something; an empty project means everybody.
    pub fn publish(&self, event_type: EventType, project: &str, metadata: &impl Serialize) {
        if self.is_wanted(event_type) {
            self.publish_at(event_type, project, metadata, Time::from(jiff::Timestamp::now()));
        }
    }

    /// Tells the listeners about something that happened to a noun.
    pub fn lifecycle(&self, project: &str, event: &Lifecycle) {
        self.publish(EventType::Lifecycle, project, event);
    }

    fn publish_at(&self, event_type: EventType, project: &str, metadata: &impl Serialize, timestamp: Time) {
        let event = Event {
            r#type: event_type.as_str().into(),
            timestamp,
            metadata: serde_json::to_value(metadata).unwrap_or(Value::Null),
            location: self.location.read().clone(),
            project: project.into(),
        };
        let message = Bytes::from(serde_json::to_vec(&event).unwrap_or_default());
        let mut late = Vec::new();
        for (id, listener) in &*self.listeners.read() {
            if listener.wanted.accepts(event_type, project)
                && listener.sender.try_send(message.clone()).is_err()
            {
                late.push(*id);
            }
        }
        for id in late {
            self.remove(id);
        }
    }

    fn remove(&self, id: u64) {
        if let Some(listener) = self.listeners.write().remove(&id) {
            for event_type in &listener.wanted.types {
                self.counts[*event_type as usize].fetch_sub(1, Ordering::Relaxed);
            }
        }
    }
}

/// A listener's side: a stream of encoded events that ends when the listener is cut off. Dropping it ends listening.
pub struct Subscription {
    id: u64,
    receiver: mpsc::Receiver<Bytes>,
    hub: Weak<Hub>,
}

impl Subscription {
    /// The next event as JSON text; `None` when cut off.
    pub async fn recv(&mut self) -> Option<Bytes> {
        self.receiver.recv().await
    }
}

impl Stream for Subscription {
    type Item = Bytes;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<Option<Bytes>> {
        self.receiver.poll_recv(cx)
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        if let Some(hub) = self.hub.upgrade() {
            hub.remove(self.id);
        }
    }
}
