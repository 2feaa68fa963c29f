//! Operations that run somewhere in the cluster, so that every member can say where. Rows end with the operation.

use super::Tx;
use super::entries::json;
use crate::{Error, Noun, Result};

/// An operation's row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Operation {
    /// Its row's id.
    pub id: i64,
    /// Its UUID.
    pub uuid: String,
    /// The id of the member it runs on.
    pub node_id: i64,
    /// That member's name.
    pub node: String,
    /// That member's address.
    pub address: String,
    /// What it does, by the reference's numbers.
    pub kind: i64,
    /// Its project, where it has one.
    pub project: Option<String>,
}

const SELECT: &str = "SELECT o.id, o.uuid, n.id, n.name, n.address, o.type, p.name FROM operations o
    JOIN nodes n ON n.id = o.node_id LEFT JOIN projects p ON p.id = o.project_id";

/// Records an operation. A project that does not exist (any more) is left out.
///
/// # Errors
/// [`Error::Taken`].
pub async fn create(tx: &mut Tx, uuid: &str, node_id: i64, kind: i64, project: Option<&str>) -> Result<()> {
    let sql = "INSERT INTO operations (uuid, node_id, type, project_id)
         VALUES (?, ?, ?, (SELECT id FROM projects WHERE name = ?))";
    let made = tx
        .execute(sql, &[uuid.into(), node_id.into(), kind.into(), project.into()])
        .await;
    made.map_err(|error| error.taken(Noun::Operation, uuid))
        .map(|_| ())
}

/// One operation.
///
/// # Errors
/// [`Error::NotFound`].
pub async fn get(tx: &mut Tx, uuid: &str) -> Result<Operation> {
    let rows = tx
        .query(&format!("{SELECT} WHERE o.uuid = ?"), &[uuid.into()])
        .await?;
    rows.first().map_or_else(
        || Err(Error::not_found(Noun::Operation, uuid)),
        |row| record(&row),
    )
}

/// All operations, of one project where that is said, oldest first.
///
/// # Errors
/// [`Error::Cluster`] when reading fails.
pub async fn list(tx: &mut Tx, project: Option<&str>) -> Result<Vec<Operation>> {
    let rows = tx
        .query(
            &format!("{SELECT} WHERE ?1 IS NULL OR p.name = ?1 ORDER BY o.id"),
            &[project.into()],
        )
        .await?;
    rows.iter().map(|row| record(&row)).collect()
}

/// Forgets operations; unknown ones are no error.
///
/// # Errors
/// [`Error::Cluster`] when writing fails.
pub async fn delete(tx: &mut Tx, uuids: &[String]) -> Result<()> {
    let sql = "DELETE FROM operations WHERE uuid IN (SELECT value FROM json_each(?))";
    tx.execute(sql, &[json(uuids)]).await.map(|_| ())
}

/// Forgets what a member ran before it was started.
///
/// # Errors
/// [`Error::Cluster`] when writing fails.
pub async fn delete_of_node(tx: &mut Tx, node_id: i64) -> Result<()> {
    tx.execute("DELETE FROM operations WHERE node_id = ?", &[node_id.into()])
        .await
        .map(|_| ())
}

fn record(row: &dqlite::Row<'_>) -> Result<Operation> {
    Ok(Operation {
        id: row.get(0)?,
        uuid: row.get(1)?,
        node_id: row.get(2)?,
        node: row.get(3)?,
        address: row.get(4)?,
        kind: row.get(5)?,
        project: row.get(6)?,
    })
}
