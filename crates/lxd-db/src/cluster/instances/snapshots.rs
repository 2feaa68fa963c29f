//! Snapshots of instances.

use dqlite::Row;
use jiff::Timestamp;

use super::super::Tx;
use super::super::entries::{self, ConfigTable, DeviceTable, json_ids};
use crate::{Config, Devices, Error, Noun, Result, time};

const CONFIG: ConfigTable = ConfigTable {
    table: "instances_snapshots_config",
    owner: "instance_snapshot_id",
};

const DEVICES: DeviceTable = DeviceTable {
    table: "instances_snapshots_devices",
    owner: "instance_snapshot_id",
    config: "instances_snapshots_devices_config",
    device: "instance_snapshot_device_id",
};

/// A snapshot of an instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// Its row's id.
    pub id: i64,
    /// The id of its instance.
    pub instance_id: i64,
    /// Its name, without the instance's.
    pub name: String,
    /// When it was made.
    pub created_at: Timestamp,
    /// Whether it holds the running state.
    pub stateful: bool,
    /// What users say of it.
    pub description: String,
    /// When it expires; [`time::ZERO`] if never.
    pub expires_at: Timestamp,
    /// The instance's configuration at that time.
    pub config: Config,
    /// The instance's devices at that time.
    pub devices: Devices,
}

/// A snapshot to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewSnapshot {
    /// The id of its instance.
    pub instance_id: i64,
    /// Its name, without the instance's.
    pub name: String,
    /// When it was made: now, or the time in a backup.
    pub created_at: Timestamp,
    /// Whether it holds the running state.
    pub stateful: bool,
    /// What users say of it.
    pub description: String,
    /// When it expires; [`time::ZERO`] if never.
    pub expires_at: Timestamp,
    /// The instance's configuration.
    pub config: Config,
    /// The instance's devices.
    pub devices: Devices,
}

/// One snapshot of an instance.
///
/// # Errors
/// [`Error::NotFound`].
pub async fn get(tx: &mut Tx, instance_id: i64, name: &str) -> Result<Snapshot> {
    let sql = format!("{} WHERE s.instance_id = ? AND s.name = ?", select());
    let rows = tx.query(&sql, &[instance_id.into(), name.into()]).await?;
    rows.first().map_or_else(
        || Err(Error::not_found(Noun::InstanceSnapshot, name)),
        |row| record(&row),
    )
}

/// The snapshots of a set of instances, oldest first, in one query however many there are.
///
/// # Errors
/// [`Error::Cluster`] when reading fails.
pub async fn list(tx: &mut Tx, instance_ids: &[i64]) -> Result<Vec<Snapshot>> {
    let sql = format!(
        "{} WHERE s.instance_id IN (SELECT value FROM json_each(?)) ORDER BY s.instance_id, s.creation_date, s.id",
        select(),
    );
    let rows = tx.query(&sql, &[json_ids(instance_ids)]).await?;
    rows.iter().map(|row| record(&row)).collect()
}

/// The snapshots of a member's instances that have expired: their projects, instances and names.
///
/// # Errors
/// [`Error::Cluster`] when reading fails.
pub async fn expired(tx: &mut Tx, node_id: i64, now: Timestamp) -> Result<Vec<(String, String, String)>> {
    let sql = "SELECT p.name, i.name, s.name, s.expiry_date FROM instances_snapshots s
         JOIN instances i ON i.id = s.instance_id JOIN projects p ON p.id = i.project_id
         WHERE i.node_id = ? AND s.expiry_date IS NOT NULL ORDER BY s.id";
    let rows = tx.query(sql, &[node_id.into()]).await?;
    let mut expired = Vec::new();
    for row in rows.iter() {
        let expires = time::get(&row, 3)?;
        // The reference writes "never" in more ways than one; all are before 1970.
        if expires > Timestamp::UNIX_EPOCH && expires <= now {
            expired.push((row.get(0)?, row.get(1)?, row.get(2)?));
        }
    }
    Ok(expired)
}

/// Makes a snapshot and gives its id.
///
/// # Errors
/// [`Error::Taken`].
pub async fn create(tx: &mut Tx, new: &NewSnapshot) -> Result<i64> {
    let sql = "INSERT INTO instances_snapshots (instance_id, name, creation_date, stateful, description, expiry_date)
         VALUES (?, ?, ?, ?, ?, ?)";
    let values = [
        new.instance_id.into(),
        new.name.as_str().into(),
        time::value(new.created_at),
        i64::from(new.stateful).into(),
        new.description.as_str().into(),
        time::value(new.expires_at),
    ];
    let made = tx.execute(sql, &values).await;
    let id = made
        .map_err(|error| error.taken(Noun::InstanceSnapshot, &new.name))?
        .last_insert_id;
    CONFIG.insert(tx, id, &new.config).await?;
    DEVICES.insert(tx, id, &new.devices).await?;
    Ok(id)
}

/// Changes description and expiry.
///
/// # Errors
/// [`Error::Cluster`] when writing fails.
pub async fn update(tx: &mut Tx, id: i64, description: &str, expires_at: Timestamp) -> Result<()> {
    let sql = "UPDATE instances_snapshots SET description = ?, expiry_date = ? WHERE id = ?";
    tx.execute(sql, &[description.into(), time::value(expires_at), id.into()])
        .await
        .map(|_| ())
}

/// Replaces the devices that a snapshot remembers: their pool may be another one now.
///
/// # Errors
/// [`Error::Cluster`] when writing fails.
pub async fn set_devices(tx: &mut Tx, id: i64, devices: &Devices) -> Result<()> {
    DEVICES.replace(tx, id, devices).await
}

/// Renames a snapshot.
///
/// # Errors
/// [`Error::Taken`].
pub async fn rename(tx: &mut Tx, id: i64, new_name: &str) -> Result<()> {
    let sql = "UPDATE instances_snapshots SET name = ? WHERE id = ?";
    let renamed = tx.execute(sql, &[new_name.into(), id.into()]).await;
    renamed
        .map_err(|error| error.taken(Noun::InstanceSnapshot, new_name))
        .map(|_| ())
}

/// Deletes a snapshot.
///
/// # Errors
/// [`Error::Cluster`] when writing fails.
pub async fn delete(tx: &mut Tx, id: i64) -> Result<()> {
    tx.execute("DELETE FROM instances_snapshots WHERE id = ?", &[id.into()])
        .await
        .map(|_| ())
}

fn select() -> String {
    let (config, devices) = (CONFIG.column("s.id"), DEVICES.column("s.id"));
    format!(
        "SELECT s.id, s.instance_id, s.name, s.creation_date, s.stateful, s.description, s.expiry_date, {config},
         {devices} FROM instances_snapshots s",
    )
}

fn record(row: &Row<'_>) -> Result<Snapshot> {
    Ok(Snapshot {
        id: row.get(0)?,
        instance_id: row.get(1)?,
        name: row.get(2)?,
        created_at: time::get(row, 3)?,
        stateful: row.get(4)?,
        description: row.get(5)?,
        expires_at: time::get(row, 6)?,
        config: entries::config(row, 7)?,
        devices: entries::devices(row, 8)?,
    })
}
