//! The members of the cluster; one row, named `none`, on a host that is alone.

use dqlite::Row;
use jiff::Timestamp;

use super::Tx;
use crate::{Error, Noun, Result, architecture, time};

const SELECT: &str =
    "SELECT id, name, description, address, schema, api_extensions, heartbeat, state, arch FROM nodes";

/// A member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeInfo {
    /// Its row's id.
    pub id: i64,
    /// Its name.
    pub name: String,
    /// What users say of it.
    pub description: String,
    /// Where its API listens for other members; `0.0.0.0` outside a cluster.
    pub address: String,
    /// The version of the cluster database that it knows.
    pub schema: i64,
    /// How many API extensions it has.
    pub api_extensions: i64,
    /// When it was last heard of.
    pub heartbeat: Timestamp,
    /// 0 created, 1 pending, 2 evacuated.
    pub state: i64,
    /// Its architecture, as the kernel writes it.
    pub architecture: String,
}

/// The id of a member.
///
/// # Errors
/// [`Error::NotFound`].
pub async fn id(tx: &mut Tx, name: &str) -> Result<i64> {
    let rows = tx
        .query("SELECT id FROM nodes WHERE name = ?", &[name.into()])
        .await?;
    Ok(rows
        .first()
        .ok_or_else(|| Error::not_found(Noun::Node, name))?
        .get(0)?)
}

/// One member.
///
/// # Errors
/// [`Error::NotFound`].
pub async fn get(tx: &mut Tx, id: i64) -> Result<NodeInfo> {
    let rows = tx.query(&format!("{SELECT} WHERE id = ?"), &[id.into()]).await?;
    rows.first().map_or_else(
        || Err(Error::not_found(Noun::Node, id.to_string())),
        |row| record(&row),
    )
}

/// All members, by id.
///
/// # Errors
/// [`Error::Cluster`] when reading fails.
pub async fn list(tx: &mut Tx) -> Result<Vec<NodeInfo>> {
    let rows = tx.query(&format!("{SELECT} ORDER BY id"), &[]).await?;
    rows.iter().map(|row| record(&row)).collect()
}

fn record(row: &Row<'_>) -> Result<NodeInfo> {
    Ok(NodeInfo {
        id: row.get(0)?,
        name: row.get(1)?,
        description: row.get(2)?,
        address: row.get(3)?,
        schema: row.get(4)?,
        api_extensions: row.get(5)?,
        heartbeat: time::get(row, 6)?,
        state: row.get(7)?,
        architecture: architecture::name(row.get(8)?)?.to_owned(),
    })
}
