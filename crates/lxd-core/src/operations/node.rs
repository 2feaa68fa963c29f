//! The journal in the node's database.

use futures::future::BoxFuture;
use jiff::Timestamp;
use lxd_api::Time;
use lxd_db::node::Node;
use lxd_db::node::journal::{Entry, State};
use lxd_model::ErrorKind;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Status;
use super::journal::{About, Journal, Keep, Outcome, Record};
use crate::error::{Error, Result};

impl Journal for Node {
    fn insert<'a>(&'a self, record: &'a Record) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move { Ok(self.insert_journal(&to_entry(record)?, record.keep()).await?) })
    }

    fn advance<'a>(
        &'a self,
        id: &'a str,
        step: usize,
        state: &'a Value,
        keep: Keep,
    ) -> BoxFuture<'a, Result<()>> {
        let step = i64::try_from(step).unwrap_or(i64::MAX);
        Box::pin(async move {
            Ok(self
                .advance_journal(id, State::Running, (step, state), keep)
                .await?)
        })
    }

    fn finish<'a>(&'a self, id: &'a str, outcome: &'a Outcome, keep: Keep) -> BoxFuture<'a, Result<()>> {
        let (state, kind) = match outcome.status {
            Status::Success => (State::Done, None),
            Status::Cancelled => (State::Cancelled, Some(ErrorKind::Cancelled)),
            _ => (State::Failed, Some(ErrorKind::Internal)),
        };
        let error = kind.map(|kind| (outcome.error.clone(), kind.to_string()));
        Box::pin(async move {
            Ok(self
                .finish_journal(id, state, &outcome.metadata, error, keep)
                .await?)
        })
    }

    fn unfinished(&self) -> BoxFuture<'_, Result<Vec<Record>>> {
        Box::pin(async move {
            self.unfinished_journal()
                .await?
                .into_iter()
                .map(to_record)
                .collect()
        })
    }

    fn get<'a>(&'a self, id: &'a str) -> BoxFuture<'a, Result<Option<Record>>> {
        Box::pin(async move {
            match self.journal(id).await {
                Ok(entry) => to_record(entry).map(Some),
                Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
                Err(error) => Err(error.into()),
            }
        })
    }

    fn expire(&self, before: Timestamp) -> BoxFuture<'_, Result<()>> {
        Box::pin(async move { Ok(self.expire_journal(before).await.map(drop)?) })
    }
}

/// What is written of a work at its start alone.
#[derive(Serialize, Deserialize)]
struct Params {
    #[serde(flatten)]
    about: About,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    boot: Option<String>,
}

fn to_entry(record: &Record) -> Result<Entry> {
    let json = |error: serde_json::Error| Error::internal("Failed encoding a record").because(error);
    Ok(Entry {
        id: record.id.clone(),
        kind: record.work.clone(),
        project: record.about.project.clone(),
        description: record.about.kind.map_or("", super::Kind::description).into(),
        state: State::Running,
        step: i64::try_from(record.step).unwrap_or(i64::MAX),
        steps: record.steps.clone(),
        params: serde_json::to_value(Params {
            about: record.about.clone(),
            boot: record.boot.clone(),
        })
        .map_err(json)?,
        resources: serde_json::to_value(&record.about.resources).map_err(json)?,
        metadata: Value::Null,
        result: record.state.clone(),
        error: None,
        error_kind: None,
        created_at: record.created_at,
        updated_at: record.created_at,
    })
}

fn to_record(entry: Entry) -> Result<Record> {
    let status = match entry.state {
        State::Running | State::Undoing => None,
        State::Done => Some(Status::Success),
        State::Failed => Some(Status::Failure),
        State::Cancelled => Some(Status::Cancelled),
    };
    let Params { about, boot } = serde_json::from_value(entry.params).map_err(|error| {
        Error::internal(format!("The record of operation {} is damaged", entry.id)).because(error)
    })?;
    let outcome = status.map(|status| Outcome {
        status,
        error: entry.error.unwrap_or_default(),
        metadata: entry.metadata,
        ended_at: Time::from(entry.updated_at),
    });
    Ok(Record {
        id: entry.id,
        work: entry.kind,
        about,
        boot,
        step: usize::try_from(entry.step).unwrap_or(0),
        steps: entry.steps,
        state: entry.result,
        created_at: entry.created_at,
        outcome,
    })
}
