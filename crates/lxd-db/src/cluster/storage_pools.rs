//! Storage pools.

use super::Tx;
use super::codes::State;
use super::entries::{self, json};
use crate::{Config, Error, Noun, Result};

/// The keys that each member has for itself; all others are the same everywhere.
pub const NODE_KEYS: [&str; 6] = [
    "size",
    "source",
    "volatile.initial_source",
    "zfs.pool_name",
    "lvm.thinpool_name",
    "lvm.vg_name",
];

/// The first parameter is the id of the member whose own keys are wanted.
const SELECT: &str = "SELECT s.id, s.name, s.driver, s.description, s.state,
     (SELECT json_group_object(key, value) FROM storage_pools_config
       WHERE storage_pool_id = s.id AND (node_id IS NULL OR node_id = ?1)) AS config,
     (SELECT json_group_array(json_array(name, state)) FROM (SELECT n.name, x.state FROM storage_pools_nodes x
       JOIN nodes n ON n.id = x.node_id WHERE x.storage_pool_id = s.id ORDER BY n.id)) AS nodes
     FROM storage_pools s";

/// A storage pool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoragePool {
    /// Its row's id.
    pub id: i64,
    /// Its name.
    pub name: String,
    /// The name of its driver.
    pub driver: String,
    /// What users say of it.
    pub description: String,
    /// Whether it exists everywhere.
    pub state: State,
    /// Its configuration: what is common, and what is this member's.
    pub config: Config,
    /// The members that have it, and whether it exists there.
    pub nodes: Vec<(String, State)>,
}

/// The id of a pool.
///
/// # Errors
/// [`Error::NotFound`].
pub async fn id(tx: &mut Tx, name: &str) -> Result<i64> {
    let rows = tx
        .query("SELECT id FROM storage_pools WHERE name = ?", &[name.into()])
        .await?;
    Ok(rows
        .first()
        .ok_or_else(|| Error::not_found(Noun::StoragePool, name))?
        .get(0)?)
}

/// One pool, with the configuration that the member `node_id` has of it.
///
/// # Errors
/// [`Error::NotFound`].
pub async fn get(tx: &mut Tx, name: &str, node_id: i64) -> Result<StoragePool> {
    let rows = tx
        .query(
            &format!("{SELECT} WHERE s.name = ?2"),
            &[node_id.into(), name.into()],
        )
        .await?;
    rows.first().map_or_else(
        || Err(Error::not_found(Noun::StoragePool, name)),
        |row| record(&row),
    )
}

/// All pools, by name.
///
/// # Errors
/// [`Error::Cluster`] when reading fails.
pub async fn list(tx: &mut Tx, node_id: i64) -> Result<Vec<StoragePool>> {
    let rows = tx
        .query(&format!("{SELECT} ORDER BY s.name"), &[node_id.into()])
        .await?;
    rows.iter().map(|row| record(&row)).collect()
}

/// Makes a pool, pending, on the member `node_id`, and gives its id.
///
/// # Errors
/// [`Error::Taken`].
pub async fn create(
    tx: &mut Tx,
    name: &str,
    driver: &str,
    description: &str,
    config: &Config,
    node_id: i64,
) -> Result<i64> {
    let sql = "INSERT INTO storage_pools (name, driver, description, state) VALUES (?, ?, ?, ?)";
    let values = [
        name.into(),
        driver.into(),
        description.into(),
        State::Pending.code().into(),
    ];
    let made = tx.execute(sql, &values).await;
    let id = made
        .map_err(|error| error.taken(Noun::StoragePool, name))?
        .last_insert_id;
    let sql = "INSERT INTO storage_pools_nodes (storage_pool_id, node_id, state) VALUES (?, ?, ?)";
    tx.execute(sql, &[id.into(), node_id.into(), State::Pending.code().into()])
        .await?;
    insert_config(tx, id, node_id, config).await?;
    Ok(id)
}

/// Replaces description and configuration, leaving other members' own keys alone.
///
/// # Errors
/// [`Error::Cluster`] when writing fails.
pub async fn update(tx: &mut Tx, id: i64, node_id: i64, description: &str, config: &Config) -> Result<()> {
    tx.execute(
        "UPDATE storage_pools SET description = ? WHERE id = ?",
        &[description.into(), id.into()],
    )
    .await?;
    let sql =
        "DELETE FROM storage_pools_config WHERE storage_pool_id = ? AND (node_id IS NULL OR node_id = ?)";
    tx.execute(sql, &[id.into(), node_id.into()]).await?;
    insert_config(tx, id, node_id, config).await
}

/// Records whether the pool exists: here, and with that everywhere once no member has another state.
///
/// # Errors
/// [`Error::Cluster`] when writing fails.
pub async fn set_state(tx: &mut Tx, id: i64, node_id: i64, state: State) -> Result<()> {
    let sql = "UPDATE storage_pools_nodes SET state = ? WHERE storage_pool_id = ? AND node_id = ?";
    tx.execute(sql, &[state.code().into(), id.into(), node_id.into()])
        .await?;
    let sql = "UPDATE storage_pools SET state = ?1 WHERE id = ?2
         AND NOT EXISTS (SELECT 1 FROM storage_pools_nodes WHERE storage_pool_id = ?2 AND state != ?1)";
    tx.execute(sql, &[state.code().into(), id.into()])
        .await
        .map(|_| ())
}

/// Deletes a pool with its volumes' rows; check [`super::used_by::storage_pool`] before.
///
/// # Errors
/// [`Error::Cluster`] when writing fails.
pub async fn delete(tx: &mut Tx, id: i64) -> Result<()> {
    tx.execute("DELETE FROM storage_pools WHERE id = ?", &[id.into()])
        .await
        .map(|_| ())
}

async fn insert_config(tx: &mut Tx, id: i64, node_id: i64, config: &Config) -> Result<()> {
    let sql = "INSERT INTO storage_pools_config (storage_pool_id, node_id, key, value)
         SELECT ?1, CASE WHEN key IN (SELECT value FROM json_each(?4)) THEN ?2 END, key, value
         FROM json_each(?3) WHERE value != ''";
    tx.execute(sql, &[id.into(), node_id.into(), json(config), json(&NODE_KEYS)])
        .await
        .map(|_| ())
}

fn record(row: &dqlite::Row<'_>) -> Result<StoragePool> {
    let nodes: Vec<(String, i64)> = entries::parsed(row, 6)?;
    Ok(StoragePool {
        id: row.get(0)?,
        name: row.get(1)?,
        driver: row.get(2)?,
        description: row.get(3)?,
        state: State::from_code(row.get(4)?)?,
        config: entries::config(row, 5)?,
        nodes: nodes
            .into_iter()
            .map(|(name, state)| Ok((name, State::from_code(state)?)))
            .collect::<Result<_>>()?,
    })
}
