//! Instances: containers and virtual machines, their configuration, devices and profiles.

use dqlite::{Row, Value};
use jiff::Timestamp;

use super::codes::InstanceType;
use super::entries::{self, ConfigTable, DeviceTable, json};
use super::projects::{self, Feature};
use super::{Tx, nodes};
use crate::{Config, Devices, Error, Noun, Result, architecture, time};

pub mod backups;
pub mod snapshots;

const CONFIG: ConfigTable = ConfigTable {
    table: "instances_config",
    owner: "instance_id",
};

const DEVICES: DeviceTable = DeviceTable {
    table: "instances_devices",
    owner: "instance_id",
    config: "instances_devices_config",
    device: "instance_device_id",
};

/// An instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Instance {
    /// Its row's id.
    pub id: i64,
    /// Its project.
    pub project: String,
    /// Its name.
    pub name: String,
    /// The name of the member it is on; `none` outside a cluster.
    pub node: String,
    /// What sort of machine it is.
    pub kind: InstanceType,
    /// Its architecture, as the kernel writes it.
    pub architecture: String,
    /// Whether it is deleted when it stops.
    pub ephemeral: bool,
    /// Whether its running state is saved on disk.
    pub stateful: bool,
    /// What users say of it.
    pub description: String,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was last started; 1970 if never.
    pub last_used_at: Timestamp,
    /// When it expires; [`time::ZERO`] if never.
    pub expires_at: Timestamp,
    /// Its own configuration, without that of its profiles.
    pub config: Config,
    /// Its own devices, without those of its profiles.
    pub devices: Devices,
    /// Its profiles, in the order in which they apply.
    pub profiles: Vec<String>,
}

impl Instance {
    /// The instance as it is once [`change`] has stored `content`.
    #[must_use]
    pub fn with(self, content: Content) -> Self {
        let mut config = content.config;
        config.retain(|_, value| !value.is_empty());
        Self {
            architecture: content.architecture,
            ephemeral: content.ephemeral,
            description: content.description,
            expires_at: content.expires_at,
            config,
            devices: content.devices,
            profiles: content.profiles,
            ..self
        }
    }
}

/// An instance to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewInstance {
    /// Its project.
    pub project: String,
    /// Its name.
    pub name: String,
    /// The id of the member it will be on.
    pub node_id: i64,
    /// What sort of machine it is.
    pub kind: InstanceType,
    /// Whether its running state is saved on disk.
    pub stateful: bool,
    /// When it was made: now, or the time in a backup.
    pub created_at: Timestamp,
    /// When it was last started; 1970 if never.
    pub last_used_at: Timestamp,
    /// What can be changed later.
    pub content: Content,
}

/// What can be changed of an instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Content {
    /// Its architecture, as the kernel writes it.
    pub architecture: String,
    /// Whether it is deleted when it stops.
    pub ephemeral: bool,
    /// What users say of it.
    pub description: String,
    /// When it expires; [`time::ZERO`] if never.
    pub expires_at: Timestamp,
    /// Its own configuration.
    pub config: Config,
    /// Its own devices.
    pub devices: Devices,
    /// Its profiles, in the order in which they apply.
    pub profiles: Vec<String>,
}

/// Which instances to list; all where nothing is said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Filter<'a> {
    /// Those of one project.
    pub project: Option<&'a str>,
    /// Those on one member.
    pub node_id: Option<i64>,
    /// Those of one sort.
    pub kind: Option<InstanceType>,
}

/// The id of an instance.
///
/// # Errors
/// [`Error::NotFound`].
pub async fn id(tx: &mut Tx, project: &str, name: &str) -> Result<i64> {
    let sql =
        "SELECT i.id FROM instances i JOIN projects p ON p.id = i.project_id WHERE p.name = ? AND i.name = ?";
    let rows = tx.query(sql, &[project.into(), name.into()]).await?;
    Ok(rows
        .first()
        .ok_or_else(|| Error::not_found(Noun::Instance, name))?
        .get(0)?)
}

/// One instance.
///
/// # Errors
/// [`Error::NotFound`].
pub async fn get(tx: &mut Tx, project: &str, name: &str) -> Result<Instance> {
    let sql = format!("{} WHERE p.name = ? AND i.name = ?", select());
    let rows = tx.query(&sql, &[project.into(), name.into()]).await?;
    rows.first()
        .map_or_else(|| Err(Error::not_found(Noun::Instance, name)), |row| record(&row))
}

/// One instance by the id of its row.
///
/// # Errors
/// [`Error::NotFound`].
pub async fn get_by_id(tx: &mut Tx, id: i64) -> Result<Instance> {
    let rows = tx
        .query(&format!("{} WHERE i.id = ?", select()), &[id.into()])
        .await?;
    rows.first().map_or_else(
        || Err(Error::not_found(Noun::Instance, id.to_string())),
        |row| record(&row),
    )
}

/// Instances by project and name, in one query however many there are.
///
/// # Errors
/// [`Error::Cluster`] when reading fails.
pub async fn list(tx: &mut Tx, filter: Filter<'_>) -> Result<Vec<Instance>> {
    let sql = format!(
        "{} WHERE (?1 IS NULL OR p.name = ?1) AND (?2 IS NULL OR i.node_id = ?2) AND (?3 IS NULL OR i.type = ?3)
         ORDER BY p.name, i.name",
        select(),
    );
    let rows = tx.query(&sql, &parameters(filter)).await?;
    rows.iter().map(|row| record(&row)).collect()
}

/// Projects and names of instances, sorted.
///
/// # Errors
/// [`Error::Cluster`] when reading fails.
pub async fn names(tx: &mut Tx, filter: Filter<'_>) -> Result<Vec<(String, String)>> {
    let sql = "SELECT p.name, i.name FROM instances i JOIN projects p ON p.id = i.project_id
         WHERE (?1 IS NULL OR p.name = ?1) AND (?2 IS NULL OR i.node_id = ?2) AND (?3 IS NULL OR i.type = ?3)
         ORDER BY p.name, i.name";
    let rows = tx.query(sql, &parameters(filter)).await?;
    rows.iter().map(|row| Ok((row.get(0)?, row.get(1)?))).collect()
}

fn parameters(filter: Filter<'_>) -> [Value; 3] {
    [
        filter.project.into(),
        filter.node_id.into(),
        filter.kind.map(InstanceType::code).into(),
    ]
}

/// Makes an instance and gives its id.
///
/// # Errors
/// [`Error::NotFound`] for the project, [`Error::Taken`], [`Error::NoProfile`].
pub async fn create(tx: &mut Tx, new: &NewInstance) -> Result<i64> {
    let project_id = projects::id(tx, &new.project).await?;
    let content = &new.content;
    let sql = "INSERT INTO instances (node_id, name, architecture, type, ephemeral, creation_date, stateful,
         last_use_date, description, project_id, expiry_date) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)";
    let values = [
        new.node_id.into(),
        new.name.as_str().into(),
        architecture::id(&content.architecture)?.into(),
        new.kind.code().into(),
        i64::from(content.ephemeral).into(),
        time::value(new.created_at),
        i64::from(new.stateful).into(),
        time::value(new.last_used_at),
        content.description.as_str().into(),
        project_id.into(),
        time::value(content.expires_at),
    ];
    let made = tx.execute(sql, &values).await;
    let id = made
        .map_err(|error| error.taken(Noun::Instance, &new.name))?
        .last_insert_id;
    CONFIG.insert(tx, id, &content.config).await?;
    DEVICES.insert(tx, id, &content.devices).await?;
    insert_profiles(tx, id, &content.profiles).await?;
    Ok(id)
}

/// Replaces what can be changed.
///
/// # Errors
/// [`Error::NoProfile`], [`Error::Cluster`] when writing fails.
pub async fn update(tx: &mut Tx, id: i64, content: &Content) -> Result<()> {
    let sql =
        "UPDATE instances SET architecture = ?, ephemeral = ?, description = ?, expiry_date = ? WHERE id = ?";
    let values = [
        architecture::id(&content.architecture)?.into(),
        i64::from(content.ephemeral).into(),
        content.description.as_str().into(),
        time::value(content.expires_at),
        id.into(),
    ];
    tx.execute(sql, &values).await?;
    CONFIG.replace(tx, id, &content.config).await?;
    DEVICES.replace(tx, id, &content.devices).await?;
    tx.execute(
        "DELETE FROM instances_profiles WHERE instance_id = ?",
        &[id.into()],
    )
    .await?;
    insert_profiles(tx, id, &content.profiles).await
}

/// Replaces what can be changed of an instance that the same transaction has read, and writes nothing else.
///
/// # Errors
/// As [`update`].
pub async fn change(tx: &mut Tx, old: &Instance, new: &Content) -> Result<()> {
    let columns = |architecture: &str, ephemeral, description: &str, expires_at| {
        (
            architecture.to_owned(),
            ephemeral,
            description.to_owned(),
            expires_at,
        )
    };
    let before = columns(&old.architecture, old.ephemeral, &old.description, old.expires_at);
    let after = columns(&new.architecture, new.ephemeral, &new.description, new.expires_at);
    if before != after || old.devices != new.devices || old.profiles != new.profiles {
        return update(tx, old.id, new).await;
    }
    let removed = old.config.keys().filter(|key| !new.config.contains_key(*key));
    let mut changes: Config = removed.map(|key| (key.clone(), String::new())).collect();
    let set = new
        .config
        .iter()
        .filter(|(key, value)| old.config.get(*key) != Some(*value));
    changes.extend(set.map(|(key, value)| (key.clone(), value.clone())));
    CONFIG.change(tx, old.id, &changes).await
}

/// Sets some keys of the configuration and removes those whose new value is empty, such as `volatile.*` ones.
///
/// # Errors
/// [`Error::Cluster`] when writing fails.
pub async fn change_config(tx: &mut Tx, id: i64, changes: &Config) -> Result<()> {
    CONFIG.change(tx, id, changes).await
}

/// Records whether the running state is saved on disk.
///
/// # Errors
/// [`Error::Cluster`] when writing fails.
pub async fn set_stateful(tx: &mut Tx, id: i64, stateful: bool) -> Result<()> {
    let sql = "UPDATE instances SET stateful = ? WHERE id = ?";
    tx.execute(sql, &[i64::from(stateful).into(), id.into()])
        .await
        .map(|_| ())
}

/// Records when the instance was last started.
///
/// # Errors
/// [`Error::Cluster`] when writing fails.
pub async fn set_last_used(tx: &mut Tx, id: i64, at: Timestamp) -> Result<()> {
    let sql = "UPDATE instances SET last_use_date = ? WHERE id = ?";
    tx.execute(sql, &[time::value(at), id.into()]).await.map(|_| ())
}

/// Renames an instance.
///
/// # Errors
/// [`Error::Taken`].
pub async fn rename(tx: &mut Tx, id: i64, new_name: &str) -> Result<()> {
    let renamed = tx
        .execute(
            "UPDATE instances SET name = ? WHERE id = ?",
            &[new_name.into(), id.into()],
        )
        .await;
    renamed.map_err(|error| error.taken(Noun::Instance, new_name))?;
    let sql = "UPDATE instances_backups SET name = ? || substr(name, instr(name, '/')) WHERE instance_id = ?";
    tx.execute(sql, &[new_name.into(), id.into()]).await.map(|_| ())
}

/// Moves an instance to another project; its profiles are still those of the old one.
///
/// # Errors
/// [`Error::NotFound`] for the project, [`Error::Taken`].
pub async fn set_project(tx: &mut Tx, id: i64, project: &str) -> Result<()> {
    let project_id = projects::id(tx, project).await?;
    let sql = "UPDATE instances SET project_id = ? WHERE id = ?";
    let moved = tx.execute(sql, &[project_id.into(), id.into()]).await;
    moved
        .map_err(|error| error.taken(Noun::Instance, project))
        .map(|_| ())
}

/// Moves an instance to another member.
///
/// # Errors
/// [`Error::NotFound`] for the member.
pub async fn set_node(tx: &mut Tx, id: i64, node: &str) -> Result<()> {
    let node_id = nodes::id(tx, node).await?;
    tx.execute(
        "UPDATE instances SET node_id = ? WHERE id = ?",
        &[node_id.into(), id.into()],
    )
    .await
    .map(|_| ())
}

/// Deletes an instance with its snapshots' and backups' rows; its volume has a row of its own.
///
/// # Errors
/// [`Error::Cluster`] when writing fails.
pub async fn delete(tx: &mut Tx, id: i64) -> Result<()> {
    tx.execute("DELETE FROM instances WHERE id = ?", &[id.into()])
        .await
        .map(|_| ())
}

/// Gives an instance its profiles, which live in the project that holds its project's profiles.
async fn insert_profiles(tx: &mut Tx, id: i64, profiles: &[String]) -> Result<()> {
    if profiles.is_empty() {
        return Ok(());
    }
    let holder = projects::effective_id_sql("i.project_id", Feature::Profiles);
    let sql = format!(
        "INSERT INTO instances_profiles (instance_id, profile_id, apply_order)
         SELECT ?1, f.id, j.key + 1 FROM json_each(?2) j JOIN instances i ON i.id = ?1
         JOIN profiles f ON f.name = j.value AND f.project_id = {holder} ORDER BY j.key",
    );
    let made = tx.execute(&sql, &[id.into(), json(profiles)]).await?;
    if made.rows_affected == profiles.len() as u64 {
        return Ok(());
    }
    let sql = format!(
        "SELECT j.value FROM json_each(?2) j JOIN instances i ON i.id = ?1 WHERE NOT EXISTS
         (SELECT 1 FROM profiles f WHERE f.name = j.value AND f.project_id = {holder}) ORDER BY j.key LIMIT 1",
    );
    let rows = tx.query(&sql, &[id.into(), json(profiles)]).await?;
    let name = rows
        .first()
        .map(|row| row.get::<String>(0))
        .transpose()?
        .unwrap_or_default();
    Err(Error::NoProfile { name })
}

fn select() -> String {
    let (config, devices) = (CONFIG.column("i.id"), DEVICES.column("i.id"));
    format!(
        "SELECT i.id, p.name, i.name, n.name, i.type, i.architecture, i.ephemeral, i.stateful, i.description,
         i.creation_date, i.last_use_date, i.expiry_date, {config}, {devices},
         (SELECT json_group_array(name) FROM (SELECT f.name FROM instances_profiles x
           JOIN profiles f ON f.id = x.profile_id WHERE x.instance_id = i.id ORDER BY x.apply_order)) AS profiles
         FROM instances i JOIN projects p ON p.id = i.project_id JOIN nodes n ON n.id = i.node_id",
    )
}

fn record(row: &Row<'_>) -> Result<Instance> {
    Ok(Instance {
        id: row.get(0)?,
        project: row.get(1)?,
        name: row.get(2)?,
        node: row.get(3)?,
        kind: InstanceType::from_code(row.get(4)?)?,
        architecture: architecture::name(row.get(5)?)?.to_owned(),
        ephemeral: row.get(6)?,
        stateful: row.get(7)?,
        description: row.get(8)?,
        created_at: time::get(row, 9)?,
        last_used_at: time::get(row, 10)?,
        expires_at: time::get(row, 11)?,
        config: entries::config(row, 12)?,
        devices: entries::devices(row, 13)?,
        profiles: entries::parsed(row, 14)?,
    })
}
