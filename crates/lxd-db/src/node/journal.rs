//! The journal of operations: what each is doing, step by step, so that the next start can finish or undo it.
//!
//! Each function that writes is one commit of one small statement.

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, Row};
use serde_json::Value as Json;

use super::Node;
use crate::{Error, Noun, Result, time};

const COLUMNS: &str = "id, kind, project, description, state, step, steps, params, resources, metadata, result, error, \
    error_kind, created_at, updated_at";

/// Where an operation stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum State {
    /// Taking its steps.
    Running,
    /// Undoing the steps it took.
    Undoing,
    /// All steps taken.
    Done,
    /// Failed, and all steps undone.
    Failed,
    /// Cancelled, and all steps undone.
    Cancelled,
}

impl State {
    /// The word in the database.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Undoing => "undoing",
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }

    /// Whether nothing is left to do.
    pub fn is_final(self) -> bool {
        !matches!(self, Self::Running | Self::Undoing)
    }

    fn from_str(word: &str) -> Option<Self> {
        [
            Self::Running,
            Self::Undoing,
            Self::Done,
            Self::Failed,
            Self::Cancelled,
        ]
        .into_iter()
        .find(|state| state.as_str() == word)
    }
}

/// What a record must survive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Keep {
    /// The loss of power.
    #[default]
    Disk,
    /// The death of the process alone, for works on what the loss of power ends anyhow: nothing waits for the disk.
    Boot,
}

/// Makes commits wait for the disk again when it goes.
struct Synced<'a>(Option<&'a Connection>);

impl Drop for Synced<'_> {
    fn drop(&mut self) {
        if let Some(connection) = self.0 {
            let _ = connection.pragma_update(None, "synchronous", "FULL");
        }
    }
}

impl Keep {
    fn apply(self, connection: &Connection) -> rusqlite::Result<Synced<'_>> {
        if self == Self::Disk {
            return Ok(Synced(None));
        }
        connection.pragma_update(None, "synchronous", "NORMAL")?;
        Ok(Synced(Some(connection)))
    }
}

/// One operation.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// The operation's UUID.
    pub id: String,
    /// Which list of steps it runs, such as `instance-create`.
    pub kind: String,
    /// The project it belongs to.
    pub project: String,
    /// What the API calls it.
    pub description: String,
    /// Where it stands.
    pub state: State,
    /// While running: the step being taken. While undoing: the step being undone. From zero.
    pub step: i64,
    /// The steps' names, in order.
    pub steps: Vec<String>,
    /// What the steps were started with; enough to go on or to undo.
    pub params: Json,
    /// The things it works on, as the API shows them.
    pub resources: Json,
    /// Progress and results, as the API shows them.
    pub metadata: Json,
    /// What the steps have found out for those after them and for their undoing.
    pub result: Json,
    /// Why it failed.
    pub error: Option<String>,
    /// The kind of that failure.
    pub error_kind: Option<String>,
    /// When it began.
    pub created_at: Timestamp,
    /// When anything last changed.
    pub updated_at: Timestamp,
}

impl Node {
    /// Records a new operation, before its first step.
    ///
    /// # Errors
    /// [`Error::Node`] when writing fails.
    pub async fn insert_journal(&self, entry: &Entry, keep: Keep) -> Result<()> {
        let entry = entry.clone();
        self.call("begin an operation", move |connection| {
            let _synced = keep.apply(connection)?;
            let sql = "INSERT INTO lxdrs_journal (id, kind, project, description, state, step, steps, params, resources,
                 metadata, result, error, error_kind, created_at, updated_at)
                 VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)";
            connection
                .prepare_cached(sql)?
                .execute(rusqlite::params![
                    entry.id,
                    entry.kind,
                    entry.project,
                    entry.description,
                    entry.state.as_str(),
                    entry.step,
                    Json::from(entry.steps).to_string(),
                    entry.params.to_string(),
                    entry.resources.to_string(),
                    entry.metadata.to_string(),
                    entry.result.to_string(),
                    entry.error,
                    entry.error_kind,
                    time::to_sql(entry.created_at),
                    time::to_sql(entry.updated_at),
                ])
                .map(|_| ())
        })
        .await
    }

    /// Records which step is about to be taken or undone, and what the steps so far have found out.
    ///
    /// # Errors
    /// [`Error::NotFound`] for an unknown operation, [`Error::Node`] when writing fails.
    pub async fn advance_journal(
        &self,
        id: &str,
        state: State,
        (step, result): (i64, &Json),
        keep: Keep,
    ) -> Result<()> {
        let (id, result) = (id.to_owned(), result.to_string());
        let name = id.clone();
        let changed = self.call("record a step", move |connection| {
            let _synced = keep.apply(connection)?;
            let sql =
                "UPDATE lxdrs_journal SET state = ?2, step = ?3, result = ?4, updated_at = ?5 WHERE id = ?1";
            connection
                .prepare_cached(sql)?
                .execute((id, state.as_str(), step, result, now()))
        });
        one(changed.await?, name)
    }

    /// Records progress for the API.
    ///
    /// # Errors
    /// As [`Self::advance_journal`].
    pub async fn update_journal_metadata(&self, id: &str, metadata: &Json) -> Result<()> {
        let (id, metadata) = (id.to_owned(), metadata.to_string());
        let name = id.clone();
        let changed = self.call("record progress", move |connection| {
            let sql = "UPDATE lxdrs_journal SET metadata = ?2, updated_at = ?3 WHERE id = ?1";
            connection.prepare_cached(sql)?.execute((id, metadata, now()))
        });
        one(changed.await?, name)
    }

    /// Records how an operation ended: `error` is its text and the kind of the failure.
    ///
    /// # Errors
    /// As [`Self::advance_journal`].
    pub async fn finish_journal(
        &self,
        id: &str,
        state: State,
        metadata: &Json,
        error: Option<(String, String)>,
        keep: Keep,
    ) -> Result<()> {
        let (id, metadata) = (id.to_owned(), metadata.to_string());
        let name = id.clone();
        let (error, kind) = error.unzip();
        let changed = self.call("finish an operation", move |connection| {
            let _synced = keep.apply(connection)?;
            let sql = "UPDATE lxdrs_journal SET state = ?2, metadata = ?3, error = ?4, error_kind = ?5, updated_at = ?6
                 WHERE id = ?1";
            connection.prepare_cached(sql)?.execute((id, state.as_str(), metadata, error, kind, now()))
        });
        one(changed.await?, name)
    }

    /// The operations that a crash interrupted, oldest first.
    ///
    /// # Errors
    /// [`Error::Node`] when reading fails.
    pub async fn unfinished_journal(&self) -> Result<Vec<Entry>> {
        self.call("list unfinished operations", |connection| {
            let sql = format!(
                "SELECT {COLUMNS} FROM lxdrs_journal WHERE state IN ('running', 'undoing') ORDER BY created_at",
            );
            connection.prepare_cached(&sql)?.query_map([], entry)?.collect()
        })
        .await
    }

    /// One operation.
    ///
    /// # Errors
    /// [`Error::NotFound`], and [`Error::Node`] when reading fails.
    pub async fn journal(&self, id: &str) -> Result<Entry> {
        let name = id.to_owned();
        let found = self.call("read an operation", move |connection| {
            let sql = format!("SELECT {COLUMNS} FROM lxdrs_journal WHERE id = ?");
            connection
                .prepare_cached(&sql)?
                .query_row([name], entry)
                .optional()
        });
        found.await?.ok_or_else(|| Error::not_found(Noun::Operation, id))
    }

    /// Forgets operations that ended before `before`, and tells how many.
    ///
    /// # Errors
    /// [`Error::Node`] when writing fails.
    pub async fn expire_journal(&self, before: Timestamp) -> Result<usize> {
        let before = time::to_sql(before);
        self.call("forget old operations", move |connection| {
            let sql = "DELETE FROM lxdrs_journal WHERE state NOT IN ('running', 'undoing')
                 AND julianday(updated_at) < julianday(?)";
            connection.prepare_cached(sql)?.execute([before])
        })
        .await
    }
}

fn now() -> String {
    time::to_sql(Timestamp::now())
}

fn one(changed: usize, id: String) -> Result<()> {
    if changed == 0 {
        Err(Error::not_found(Noun::Operation, id))
    } else {
        Ok(())
    }
}

fn entry(row: &Row<'_>) -> rusqlite::Result<Entry> {
    Ok(Entry {
        id: row.get(0)?,
        kind: row.get(1)?,
        project: row.get(2)?,
        description: row.get(3)?,
        state: parsed(row, 4, State::from_str)?,
        step: row.get(5)?,
        steps: parsed(row, 6, |text| serde_json::from_str(text).ok())?,
        params: parsed(row, 7, |text| serde_json::from_str(text).ok())?,
        resources: parsed(row, 8, |text| serde_json::from_str(text).ok())?,
        metadata: parsed(row, 9, |text| serde_json::from_str(text).ok())?,
        result: parsed(row, 10, |text| serde_json::from_str(text).ok())?,
        error: row.get(11)?,
        error_kind: row.get(12)?,
        created_at: parsed(row, 13, |text| time::from_sql(text).ok())?,
        updated_at: parsed(row, 14, |text| time::from_sql(text).ok())?,
    })
}

/// A column's text as what it stands for.
fn parsed<T>(row: &Row<'_>, index: usize, parse: impl Fn(&str) -> Option<T>) -> rusqlite::Result<T> {
    let text: String = row.get(index)?;
    parse(&text).ok_or_else(|| {
        let wrong = Error::Stored {
            value: text,
            wanted: "a value of the journal",
        };
        rusqlite::Error::FromSqlConversionFailure(index, rusqlite::types::Type::Text, Box::new(wrong))
    })
}
