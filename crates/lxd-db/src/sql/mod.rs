//! What `lxd sql` does: runs statements that a user typed, and writes a database as SQL text.

use dqlite::{Rows, Value};
use serde_json::Value as Json;

use crate::Error;

mod dump;
mod split;

pub(crate) use dump::{cluster as dump_cluster, node as dump_node};
pub use split::split;

/// The effect of one statement that a user typed.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// A query's rows, as the reference gives them in JSON.
    Selected {
        /// The columns' names.
        columns: Vec<String>,
        /// The rows: numbers, texts, null; times as RFC 3339; blobs as text.
        rows: Vec<Vec<Json>>,
    },
    /// A statement that changes something.
    Executed {
        /// How many rows it changed.
        rows_affected: u64,
    },
}

impl Outcome {
    pub(crate) fn from_rows(rows: &Rows) -> Self {
        Self::Selected {
            columns: rows.columns().to_vec(),
            rows: rows
                .iter()
                .map(|row| row.values().iter().map(json).collect())
                .collect(),
        }
    }
}

/// Whether a statement is a query: the reference takes those for one that begin with `SELECT`; here also those that
/// begin with `WITH`, `VALUES`, `EXPLAIN` or `PRAGMA name` without a value, which the reference fails on.
pub(crate) fn gives_rows(statement: &str) -> bool {
    let statement = split::without_comments(statement);
    let word = statement
        .split(|c: char| !c.is_ascii_alphabetic())
        .next()
        .unwrap_or_default();
    match word.to_ascii_uppercase().as_str() {
        "SELECT" | "VALUES" | "EXPLAIN" => true,
        "PRAGMA" => !statement.contains('='),
        "WITH" => !["insert", "update", "delete", "replace"].iter().any(|verb| {
            statement
                .to_ascii_lowercase()
                .split(|c: char| !c.is_ascii_alphabetic())
                .any(|w| w == *verb)
        }),
        _ => false,
    }
}

/// The longest query of a user in bytes.
///
/// A column without `AS` is named by its whole expression, and names of more than a page (4 KiB) make the engine send
/// empty parts of the result for ever.
const LONGEST_QUERY: usize = 3500;

/// Refuses a query whose columns' names may be too long for the engine. What follows the first `FROM` does not count,
/// unless another query is in there.
pub(crate) fn check_names(query: &str) -> Result<(), Error> {
    let words = split::words(query);
    let from = words
        .iter()
        .position(|(_, word)| word.eq_ignore_ascii_case("from"))
        .unwrap_or(words.len());
    let nested = words
        .iter()
        .skip(from)
        .any(|(_, word)| word.eq_ignore_ascii_case("select"));
    let end = if nested {
        query.len()
    } else {
        words.get(from).map_or(query.len(), |(start, _)| *start)
    };
    if end <= LONGEST_QUERY {
        return Ok(());
    }
    Err(Error::Statement(format!(
        "the columns of a query may take {LONGEST_QUERY} bytes, these take {end}"
    )))
}

/// The engine's refusal of a user's statement, in its own words.
pub(crate) fn refused(error: dqlite::Error) -> Error {
    match error {
        dqlite::Error::Engine { message, .. } if !error_is_fatal(&message) => Error::Statement(message),
        other => Error::Cluster(other),
    }
}

/// A lost leader is not the statement's fault.
fn error_is_fatal(message: &str) -> bool {
    message.contains("not leader") || message.contains("leadership lost")
}

/// A value as the reference's JSON shows it.
fn json(value: &Value) -> Json {
    match value {
        value if value.is_null() => Json::Null,
        Value::Integer(number) => Json::from(*number),
        Value::UnixTime(seconds) => Json::from(unix_time(*seconds)),
        Value::Float(number) => Json::from(*number),
        Value::Boolean(truth) => Json::from(*truth),
        Value::Blob(bytes) => Json::from(String::from_utf8_lossy(bytes)),
        Value::Iso8601(text) => Json::from(rfc3339(text)),
        Value::Text(text) => Json::from(text.as_str()),
        Value::Null => Json::Null,
    }
}

/// A stored time in the form of the API; text that is no time stays as it is.
pub(crate) fn rfc3339(text: &str) -> String {
    crate::time::from_sql(text).map_or_else(|_| text.to_owned(), |time| time.to_string())
}

/// A time stored as seconds since 1970 in the form of the API.
fn unix_time(seconds: i64) -> String {
    jiff::Timestamp::from_second(seconds).map_or_else(|_| seconds.to_string(), |time| time.to_string())
}

/// One user's statement on the node database.
pub(crate) fn run_on_node(connection: &rusqlite::Connection, statement: &str) -> rusqlite::Result<Outcome> {
    if !gives_rows(statement) {
        let rows_affected = connection.execute(statement, [])? as u64;
        return Ok(Outcome::Executed { rows_affected });
    }
    let mut prepared = connection.prepare(statement)?;
    let columns: Vec<String> = prepared.column_names().map(str::to_owned).collect();
    // SQLite does not tell a time from a text; the declared type of the column does, where there is one.
    let times: Vec<bool> = prepared.columns().map(|column| is_time(&column)).collect();
    let mut rows = Vec::new();
    let mut cursor = prepared.query([])?;
    while let Some(row) = cursor.next()? {
        let mut values = Vec::with_capacity(columns.len());
        for (index, time) in times.iter().enumerate() {
            values.push(node_json(row.get_ref(index)?, *time));
        }
        rows.push(values);
    }
    Ok(Outcome::Selected { columns, rows })
}

fn is_time(column: &rusqlite::Column<'_>) -> bool {
    column
        .decl_type()
        .is_some_and(|name| name.eq_ignore_ascii_case("DATETIME"))
}

fn node_json(value: rusqlite::types::ValueRef<'_>, time: bool) -> Json {
    use rusqlite::types::ValueRef;
    match value {
        ValueRef::Null => Json::Null,
        ValueRef::Integer(seconds) if time => Json::from(unix_time(seconds)),
        ValueRef::Integer(number) => Json::from(number),
        ValueRef::Real(number) => Json::from(number),
        ValueRef::Text(text) if time => Json::from(rfc3339(&String::from_utf8_lossy(text))),
        ValueRef::Text(bytes) | ValueRef::Blob(bytes) => Json::from(String::from_utf8_lossy(bytes)),
    }
}

#[cfg(test)]
mod tests;
