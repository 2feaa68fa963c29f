//! The record of works with steps: what a later daemon needs to finish or undo what this one left half done.

use std::collections::BTreeMap;

use futures::future::BoxFuture;
use jiff::Timestamp;
use lxd_api::Time;
use lxd_api::operations::Operation as Wire;
pub use lxd_db::node::journal::Keep;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Class, Kind, Status};
use crate::error::{Error, Result};
use crate::events::Requestor;

/// What stays the same about an operation while it runs.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct About {
    /// Whether the API shows it; work inside a request is recorded, too, but not shown.
    pub shown: bool,
    /// What it does.
    #[serde(with = "kind_by_number")]
    pub kind: Option<Kind>,
    /// Its project; empty for none.
    pub project: String,
    /// URLs of what it works on, by noun.
    pub resources: BTreeMap<String, Vec<String>>,
    /// Who asked for it.
    pub requestor: Option<Requestor>,
}

impl About {
    /// The parts of the wire form that are known without a state.
    pub(super) fn wire(&self, id: &str, class: Class) -> Wire {
        Wire {
            id: id.into(),
            class: class.as_str().into(),
            description: self.kind.map_or("", Kind::description).into(),
            resources: self.resources.clone(),
            location: "none".into(),
            ..Wire::default()
        }
    }
}

/// A kind is recorded as its number.
mod kind_by_number {
    use serde::{Deserialize as _, Deserializer, Serialize as _, Serializer};

    use super::Kind;

    pub(super) fn serialize<S: Serializer>(kind: &Option<Kind>, to: S) -> Result<S::Ok, S::Error> {
        kind.map(Kind::id).serialize(to)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Kind>, D::Error> {
        Ok(Option::deserialize(from)?.and_then(Kind::from_id))
    }
}

/// How an operation ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Outcome {
    /// A final state.
    pub status: Status,
    /// Why it failed; empty otherwise.
    pub error: String,
    /// Its metadata at the end.
    pub metadata: Value,
    /// When.
    pub ended_at: Time,
}

/// One work with steps, as it is recorded.
#[derive(Debug, Clone, PartialEq)]
pub struct Record {
    /// The id, that of the operation too.
    pub id: String,
    /// [`super::Work::KIND`].
    pub work: String,
    /// About the operation.
    pub about: About,
    /// The boot that it belongs to, if it is kept no longer than that.
    pub boot: Option<String>,
    /// The last step that was recorded, which may have run, run half, or not run.
    pub step: usize,
    /// The names of all steps, for people who look.
    pub steps: Vec<String>,
    /// The work's state before that step.
    pub state: Value,
    /// When it was made.
    pub created_at: Timestamp,
    /// How it ended; `None` while it runs, or if the daemon died.
    pub outcome: Option<Outcome>,
}

impl Record {
    /// What it must survive.
    pub fn keep(&self) -> Keep {
        match self.boot {
            None => Keep::Disk,
            Some(_) => Keep::Boot,
        }
    }

    /// A finished operation as the API shows it; `None` if it is not shown or has not ended.
    pub fn wire(&self) -> Option<Wire> {
        let outcome = self.outcome.as_ref().filter(|_| self.about.shown)?;
        let mut wire = self.about.wire(&self.id, Class::Task);
        wire.created_at = Time::from(self.created_at);
        wire.updated_at = outcome.ended_at;
        wire.status = outcome.status.text().into();
        wire.status_code = outcome.status.code();
        wire.metadata = outcome.metadata.clone();
        wire.err.clone_from(&outcome.error);
        Some(wire)
    }
}

/// Where records are kept: the node's database, or memory in tests. Each change is as durable as its [`Keep`] says when it
/// returns.
pub trait Journal: Send + Sync {
    /// Adds a record before its first step.
    fn insert<'a>(&'a self, record: &'a Record) -> BoxFuture<'a, Result<()>>;

    /// Notes the next step and the state before it.
    fn advance<'a>(
        &'a self,
        id: &'a str,
        step: usize,
        state: &'a Value,
        keep: Keep,
    ) -> BoxFuture<'a, Result<()>>;

    /// Notes the end.
    fn finish<'a>(&'a self, id: &'a str, outcome: &'a Outcome, keep: Keep) -> BoxFuture<'a, Result<()>>;

    /// Records without an end, oldest first.
    fn unfinished(&self) -> BoxFuture<'_, Result<Vec<Record>>>;

    /// One record.
    fn get<'a>(&'a self, id: &'a str) -> BoxFuture<'a, Result<Option<Record>>>;

    /// Forgets records that ended before an instant.
    fn expire(&self, before: Timestamp) -> BoxFuture<'_, Result<()>>;
}

/// A journal in memory, for tests: it survives a simulated crash, not a real one.
#[derive(Debug, Default)]
pub struct MemoryJournal(Mutex<Vec<Record>>);

impl MemoryJournal {
    fn change(&self, id: &str, change: impl FnOnce(&mut Record)) -> Result<()> {
        let mut records = self.0.lock();
        let record = records.iter_mut().find(|record| record.id == id);
        record
            .map(change)
            .ok_or_else(|| Error::not_found(format!("No record of operation {id}")))
    }
}

impl Journal for MemoryJournal {
    fn insert<'a>(&'a self, record: &'a Record) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            self.0.lock().push(record.clone());
            Ok(())
        })
    }

    fn advance<'a>(
        &'a self,
        id: &'a str,
        step: usize,
        state: &'a Value,
        _: Keep,
    ) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            self.change(id, |record| {
                record.step = step;
                record.state = state.clone();
            })
        })
    }

    fn finish<'a>(&'a self, id: &'a str, outcome: &'a Outcome, _: Keep) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move { self.change(id, |record| record.outcome = Some(outcome.clone())) })
    }

    fn unfinished(&self) -> BoxFuture<'_, Result<Vec<Record>>> {
        Box::pin(async move {
            Ok(self
                .0
                .lock()
                .iter()
                .filter(|r| r.outcome.is_none())
                .cloned()
                .collect())
        })
    }

    fn get<'a>(&'a self, id: &'a str) -> BoxFuture<'a, Result<Option<Record>>> {
        Box::pin(async move { Ok(self.0.lock().iter().find(|r| r.id == id).cloned()) })
    }

    fn expire(&self, before: Timestamp) -> BoxFuture<'_, Result<()>> {
        Box::pin(async move {
            self.0.lock().retain(|r| {
                r.outcome
                    .as_ref()
                    .is_none_or(|outcome| outcome.ended_at.timestamp() >= before)
            });
            Ok(())
        })
    }
}
