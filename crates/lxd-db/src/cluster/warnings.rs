//! Warnings: what an administrator should know, counted as long as it goes on.

use dqlite::Row;
use jiff::Timestamp;

use super::Tx;
use crate::{Error, Noun, Result, time};

const SELECT: &str =
    "SELECT w.id, w.uuid, coalesce(n.name, ''), coalesce(p.name, ''), w.entity_type_code, w.entity_id, w.type_code,
     w.status, w.first_seen_date, w.last_seen_date, w.updated_date, w.last_message, w.count
     FROM warnings w LEFT JOIN nodes n ON n.id = w.node_id LEFT JOIN projects p ON p.id = w.project_id";

/// How far a warning is dealt with; the numbers are the schema's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Status {
    /// Nobody has said anything.
    New,
    /// Somebody knows.
    Acknowledged,
    /// It is over.
    Resolved,
}

impl Status {
    /// The number in the database.
    pub fn code(self) -> i64 {
        match self {
            Self::New => 1,
            Self::Acknowledged => 2,
            Self::Resolved => 3,
        }
    }

    /// The word in the REST API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::New => "new",
            Self::Acknowledged => "acknowledged",
            Self::Resolved => "resolved",
        }
    }

    fn from_code(code: i64) -> Result<Self> {
        [Self::New, Self::Acknowledged, Self::Resolved]
            .into_iter()
            .find(|status| status.code() == code)
            .ok_or_else(|| Error::Stored {
                value: code.to_string(),
                wanted: "a status of a warning",
            })
    }
}

/// A warning.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Warning {
    /// Its row's id.
    pub id: i64,
    /// Its UUID.
    pub uuid: String,
    /// The member it is about; empty if none.
    pub node: String,
    /// The project it is about; empty if none.
    pub project: String,
    /// What it is about: the number of the sort of thing, and the id of the thing's row.
    pub entity: Option<(i64, i64)>,
    /// What it says, by the reference's numbers.
    pub type_code: i64,
    /// How far it is dealt with.
    pub status: Status,
    /// When it first came.
    pub first_seen_at: Timestamp,
    /// When it last came.
    pub last_seen_at: Timestamp,
    /// When somebody last dealt with it.
    pub updated_at: Timestamp,
    /// The words of the last time.
    pub last_message: String,
    /// How often it came.
    pub count: i64,
}

/// What makes a warning the same as an earlier one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Key<'a> {
    /// The id of the member it is about.
    pub node_id: Option<i64>,
    /// The project it is about.
    pub project: Option<&'a str>,
    /// What it is about: the number of the sort of thing, and the id of the thing's row.
    pub entity: Option<(i64, i64)>,
    /// What it says, by the reference's numbers.
    pub type_code: i64,
}

/// Warns: counts a warning that is there, which makes a resolved one new again, or makes one with this UUID.
///
/// # Errors
/// [`Error::Cluster`] when writing fails.
pub async fn upsert(tx: &mut Tx, key: Key<'_>, uuid: &str, message: &str) -> Result<()> {
    let now = time::value(Timestamp::now());
    let (entity_type, entity_id) = key.entity.unzip();
    let sql = "UPDATE warnings SET last_message = ?1, last_seen_date = ?2, count = count + 1,
         status = CASE status WHEN 3 THEN 1 ELSE status END
         WHERE node_id IS ?3 AND project_id IS (SELECT id FROM projects WHERE name = ?4)
         AND entity_type_code IS ?5 AND entity_id IS ?6 AND type_code = ?7";
    let values = [
        message.into(),
        now.clone(),
        key.node_id.into(),
        key.project.into(),
        entity_type.into(),
        entity_id.into(),
        key.type_code.into(),
    ];
    if tx.execute(sql, &values).await?.rows_affected > 0 {
        return Ok(());
    }
    let sql =
        "INSERT INTO warnings (node_id, project_id, entity_type_code, entity_id, uuid, type_code, status,
         first_seen_date, last_seen_date, updated_date, last_message, count)
         VALUES (?1, (SELECT id FROM projects WHERE name = ?2), ?3, ?4, ?5, ?6, 1, ?7, ?7, ?8, ?9, 1)";
    let values = [
        key.node_id.into(),
        key.project.into(),
        entity_type.into(),
        entity_id.into(),
        uuid.into(),
        key.type_code.into(),
        now,
        time::value(time::ZERO),
        message.into(),
    ];
    tx.execute(sql, &values).await.map(|_| ())
}

/// One warning.
///
/// # Errors
/// [`Error::NotFound`].
pub async fn get(tx: &mut Tx, uuid: &str) -> Result<Warning> {
    let rows = tx
        .query(&format!("{SELECT} WHERE w.uuid = ?"), &[uuid.into()])
        .await?;
    rows.first()
        .map_or_else(|| Err(Error::not_found(Noun::Warning, uuid)), |row| record(&row))
}

/// All warnings, or those of one project and of none, by UUID.
///
/// # Errors
/// [`Error::Cluster`] when reading fails.
pub async fn list(tx: &mut Tx, project: Option<&str>) -> Result<Vec<Warning>> {
    let sql = format!("{SELECT} WHERE ?1 IS NULL OR p.name = ?1 ORDER BY w.uuid");
    let rows = tx.query(&sql, &[project.into()]).await?;
    rows.iter().map(|row| record(&row)).collect()
}

/// Records how far a warning is dealt with.
///
/// # Errors
/// [`Error::NotFound`].
pub async fn set_status(tx: &mut Tx, uuid: &str, status: Status) -> Result<()> {
    let sql = "UPDATE warnings SET status = ?, updated_date = ? WHERE uuid = ?";
    let values = [status.code().into(), time::value(Timestamp::now()), uuid.into()];
    let changed = tx.execute(sql, &values).await?;
    if changed.rows_affected == 0 {
        Err(Error::not_found(Noun::Warning, uuid))
    } else {
        Ok(())
    }
}

/// Resolves what was last said of a member before a time: its causes were not seen again since.
///
/// # Errors
/// [`Error::Cluster`] when writing fails.
pub async fn resolve_older(tx: &mut Tx, node_id: i64, before: Timestamp) -> Result<()> {
    let sql = "UPDATE warnings SET status = 3, updated_date = ?
         WHERE node_id = ? AND status != 3 AND julianday(last_seen_date) < julianday(?)";
    let values = [time::value(Timestamp::now()), node_id.into(), time::value(before)];
    tx.execute(sql, &values).await.map(|_| ())
}

/// Deletes a warning.
///
/// # Errors
/// [`Error::NotFound`].
pub async fn delete(tx: &mut Tx, uuid: &str) -> Result<()> {
    let deleted = tx
        .execute("DELETE FROM warnings WHERE uuid = ?", &[uuid.into()])
        .await?;
    if deleted.rows_affected == 0 {
        Err(Error::not_found(Noun::Warning, uuid))
    } else {
        Ok(())
    }
}

/// Deletes what was resolved before a time.
///
/// # Errors
/// [`Error::Cluster`] when writing fails.
pub async fn delete_resolved(tx: &mut Tx, before: Timestamp) -> Result<()> {
    let sql = "DELETE FROM warnings WHERE status = 3 AND julianday(updated_date) < julianday(?)";
    tx.execute(sql, &[time::value(before)]).await.map(|_| ())
}

fn record(row: &Row<'_>) -> Result<Warning> {
    Ok(Warning {
        id: row.get(0)?,
        uuid: row.get(1)?,
        node: row.get(2)?,
        project: row.get(3)?,
        entity: row.get::<Option<i64>>(4)?.zip(row.get::<Option<i64>>(5)?),
        type_code: row.get(6)?,
        status: Status::from_code(row.get(7)?)?,
        first_seen_at: time::get(row, 8)?,
        last_seen_at: time::get(row, 9)?,
        updated_at: time::get(row, 10)?,
        last_message: row.get(11)?,
        count: row.get(12)?,
    })
}
