//! Networks. `project` is here always the project that holds them; see [`super::projects::effective`].

use super::codes::{NetworkType, State};
use super::entries::{self, json};
use super::{Tx, projects};
use crate::{Config, Error, Noun, Result};

/// The keys that each member has for itself; all others are the same everywhere.
pub const NODE_KEYS: [&str; 4] = [
    "bgp.ipv4.nexthop",
    "bgp.ipv6.nexthop",
    "bridge.external_interfaces",
    "parent",
];

/// The first parameter is the id of the member whose own keys are wanted.
const SELECT: &str = "SELECT w.id, p.name, w.name, w.description, w.state, w.type,
     (SELECT json_group_object(key, value) FROM networks_config
       WHERE network_id = w.id AND (node_id IS NULL OR node_id = ?1)) AS config,
     (SELECT json_group_array(json_array(name, state)) FROM (SELECT n.name, x.state FROM networks_nodes x
       JOIN nodes n ON n.id = x.node_id WHERE x.network_id = w.id ORDER BY n.id)) AS nodes
     FROM networks w JOIN projects p ON p.id = w.project_id";

/// A network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Network {
    /// Its row's id.
    pub id: i64,
    /// The project that holds it.
    pub project: String,
    /// Its name, which is also its bridge's.
    pub name: String,
    /// What users say of it.
    pub description: String,
    /// Who makes and drives it.
    pub kind: NetworkType,
    /// Whether it exists everywhere.
    pub state: State,
    /// Its configuration: what is common, and what is this member's.
    pub config: Config,
    /// The members that have it, and whether it exists there.
    pub nodes: Vec<(String, State)>,
}

/// A network to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewNetwork {
    /// The project that holds it.
    pub project: String,
    /// Its name.
    pub name: String,
    /// What users say of it.
    pub description: String,
    /// Who makes and drives it.
    pub kind: NetworkType,
    /// Its configuration.
    pub config: Config,
}

/// The id of a network.
///
/// # Errors
/// [`Error::NotFound`].
pub async fn id(tx: &mut Tx, project: &str, name: &str) -> Result<i64> {
    let sql =
        "SELECT w.id FROM networks w JOIN projects p ON p.id = w.project_id WHERE p.name = ? AND w.name = ?";
    let rows = tx.query(sql, &[project.into(), name.into()]).await?;
    Ok(rows
        .first()
        .ok_or_else(|| Error::not_found(Noun::Network, name))?
        .get(0)?)
}

/// One network, with the configuration that the member `node_id` has of it.
///
/// # Errors
/// [`Error::NotFound`].
pub async fn get(tx: &mut Tx, project: &str, name: &str, node_id: i64) -> Result<Network> {
    let sql = format!("{SELECT} WHERE p.name = ?2 AND w.name = ?3");
    let rows = tx
        .query(&sql, &[node_id.into(), project.into(), name.into()])
        .await?;
    rows.first()
        .map_or_else(|| Err(Error::not_found(Noun::Network, name)), |row| record(&row))
}

/// All networks of a project, or of all projects, by project and name.
///
/// # Errors
/// [`Error::Cluster`] when reading fails.
pub async fn list(tx: &mut Tx, project: Option<&str>, node_id: i64) -> Result<Vec<Network>> {
    let sql = format!("{SELECT} WHERE ?2 IS NULL OR p.name = ?2 ORDER BY p.name, w.name");
    let rows = tx.query(&sql, &[node_id.into(), project.into()]).await?;
    rows.iter().map(|row| record(&row)).collect()
}

/// Makes a network, pending, on the member `node_id`, and gives its id.
///
/// # Errors
/// [`Error::NotFound`] for the project, [`Error::Taken`].
pub async fn create(tx: &mut Tx, new: &NewNetwork, node_id: i64) -> Result<i64> {
    let project_id = projects::id(tx, &new.project).await?;
    let sql = "INSERT INTO networks (project_id, name, description, state, type) VALUES (?, ?, ?, ?, ?)";
    let values = [
        project_id.into(),
        new.name.as_str().into(),
        new.description.as_str().into(),
        State::Pending.code().into(),
        new.kind.code().into(),
    ];
    let made = tx.execute(sql, &values).await;
    let id = made
        .map_err(|error| error.taken(Noun::Network, &new.name))?
        .last_insert_id;
    let sql = "INSERT INTO networks_nodes (network_id, node_id, state) VALUES (?, ?, ?)";
    tx.execute(sql, &[id.into(), node_id.into(), State::Pending.code().into()])
        .await?;
    insert_config(tx, id, node_id, &new.config).await?;
    Ok(id)
}

/// Replaces description and configuration, leaving other members' own keys alone.
///
/// # Errors
/// [`Error::Cluster`] when writing fails.
pub async fn update(tx: &mut Tx, id: i64, node_id: i64, description: &str, config: &Config) -> Result<()> {
    tx.execute(
        "UPDATE networks SET description = ? WHERE id = ?",
        &[description.into(), id.into()],
    )
    .await?;
    let sql = "DELETE FROM networks_config WHERE network_id = ? AND (node_id IS NULL OR node_id = ?)";
    tx.execute(sql, &[id.into(), node_id.into()]).await?;
    insert_config(tx, id, node_id, config).await
}

/// Records whether the network exists: here, and with that everywhere once no member has another state.
///
/// # Errors
/// [`Error::Cluster`] when writing fails.
pub async fn set_state(tx: &mut Tx, id: i64, node_id: i64, state: State) -> Result<()> {
    let sql = "UPDATE networks_nodes SET state = ? WHERE network_id = ? AND node_id = ?";
    tx.execute(sql, &[state.code().into(), id.into(), node_id.into()])
        .await?;
    let sql = "UPDATE networks SET state = ?1 WHERE id = ?2
         AND NOT EXISTS (SELECT 1 FROM networks_nodes WHERE network_id = ?2 AND state != ?1)";
    tx.execute(sql, &[state.code().into(), id.into()])
        .await
        .map(|_| ())
}

/// Renames a network.
///
/// # Errors
/// [`Error::Taken`].
pub async fn rename(tx: &mut Tx, id: i64, new_name: &str) -> Result<()> {
    let renamed = tx
        .execute(
            "UPDATE networks SET name = ? WHERE id = ?",
            &[new_name.into(), id.into()],
        )
        .await;
    renamed
        .map_err(|error| error.taken(Noun::Network, new_name))
        .map(|_| ())
}

/// Deletes a network; check [`super::used_by::network`] before.
///
/// # Errors
/// [`Error::Cluster`] when writing fails.
pub async fn delete(tx: &mut Tx, id: i64) -> Result<()> {
    tx.execute("DELETE FROM networks WHERE id = ?", &[id.into()])
        .await
        .map(|_| ())
}

async fn insert_config(tx: &mut Tx, id: i64, node_id: i64, config: &Config) -> Result<()> {
    let sql = "INSERT INTO networks_config (network_id, node_id, key, value)
         SELECT ?1, CASE WHEN key IN (SELECT value FROM json_each(?4)) THEN ?2 END, key, value
         FROM json_each(?3) WHERE value != ''";
    tx.execute(sql, &[id.into(), node_id.into(), json(config), json(&NODE_KEYS)])
        .await
        .map(|_| ())
}

fn record(row: &dqlite::Row<'_>) -> Result<Network> {
    let nodes: Vec<(String, i64)> = entries::parsed(row, 7)?;
    Ok(Network {
        id: row.get(0)?,
        project: row.get(1)?,
        name: row.get(2)?,
        description: row.get(3)?,
        state: State::from_code(row.get(4)?)?,
        kind: NetworkType::from_code(row.get(5)?)?,
        config: entries::config(row, 6)?,
        nodes: nodes
            .into_iter()
            .map(|(name, state)| Ok((name, State::from_code(state)?)))
            .collect::<Result<_>>()?,
    })
}
