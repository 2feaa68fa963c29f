//! Snapshots of storage volumes, those of instances among them.

use dqlite::Row;
use jiff::Timestamp;

use super::super::Tx;
use super::super::entries::{self, ConfigTable, json_ids};
use crate::{Config, Error, Noun, Result, time};

const CONFIG: ConfigTable = ConfigTable {
    table: "storage_volumes_snapshots_config",
    owner: "storage_volume_snapshot_id",
};

/// A snapshot of a storage volume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// Its row's id.
    pub id: i64,
    /// The id of its volume.
    pub volume_id: i64,
    /// Its name, without the volume's.
    pub name: String,
    /// What users say of it.
    pub description: String,
    /// When it expires; [`time::ZERO`] if never.
    pub expires_at: Timestamp,
    /// The volume's configuration at that time.
    pub config: Config,
}

/// One snapshot of a volume.
///
/// # Errors
/// [`Error::NotFound`].
pub async fn get(tx: &mut Tx, volume_id: i64, name: &str) -> Result<Snapshot> {
    let sql = format!("{} WHERE s.storage_volume_id = ? AND s.name = ?", select());
    let rows = tx.query(&sql, &[volume_id.into(), name.into()]).await?;
    rows.first().map_or_else(
        || Err(Error::not_found(Noun::StorageVolumeSnapshot, name)),
        |row| record(&row),
    )
}

/// The snapshots of a set of volumes, oldest first.
///
/// # Errors
/// [`Error::Cluster`] when reading fails.
pub async fn list(tx: &mut Tx, volume_ids: &[i64]) -> Result<Vec<Snapshot>> {
    let sql = format!(
        "{} WHERE s.storage_volume_id IN (SELECT value FROM json_each(?)) ORDER BY s.storage_volume_id, s.id",
        select(),
    );
    let rows = tx.query(&sql, &[json_ids(volume_ids)]).await?;
    rows.iter().map(|row| record(&row)).collect()
}

/// Makes a snapshot and gives its id.
///
/// # Errors
/// [`Error::Taken`].
pub async fn create(
    tx: &mut Tx,
    volume_id: i64,
    name: &str,
    description: &str,
    expires_at: Timestamp,
    config: &Config,
) -> Result<i64> {
    // Volumes and snapshots share one row of ids, which triggers enforce: the next one is taken from the volumes'.
    let sequence = "UPDATE sqlite_sequence SET seq = seq + 1 WHERE name = 'storage_volumes'";
    tx.execute(sequence, &[]).await?;
    let sql = "INSERT INTO storage_volumes_snapshots (id, storage_volume_id, name, description, expiry_date)
         SELECT seq, ?, ?, ?, ? FROM sqlite_sequence WHERE name = 'storage_volumes'";
    let values = [
        volume_id.into(),
        name.into(),
        description.into(),
        time::value(expires_at),
    ];
    let made = tx.execute(sql, &values).await;
    let id = made
        .map_err(|error| error.taken(Noun::StorageVolumeSnapshot, name))?
        .last_insert_id;
    // `id` is no alias of the row id here, so it has to be asked for.
    let sql = "SELECT id FROM storage_volumes_snapshots WHERE rowid = ?";
    let rows = tx.query(sql, &[id.into()]).await?;
    let id = rows
        .first()
        .ok_or_else(|| Error::not_found(Noun::StorageVolumeSnapshot, name))?
        .get(0)?;
    CONFIG.insert(tx, id, config).await?;
    Ok(id)
}

/// Gives a snapshot the configuration that its volume has now.
///
/// # Errors
/// The database's.
pub async fn copy_config(tx: &mut Tx, id: i64, volume_id: i64) -> Result<()> {
    let sql = "INSERT INTO storage_volumes_snapshots_config (storage_volume_snapshot_id, key, value)
         SELECT ?, key, value FROM storage_volumes_config WHERE storage_volume_id = ?";
    tx.execute(sql, &[id.into(), volume_id.into()]).await?;
    Ok(())
}

/// Changes description and expiry.
///
/// # Errors
/// [`Error::Cluster`] when writing fails.
pub async fn update(tx: &mut Tx, id: i64, description: &str, expires_at: Timestamp) -> Result<()> {
    let sql = "UPDATE storage_volumes_snapshots SET description = ?, expiry_date = ? WHERE id = ?";
    tx.execute(sql, &[description.into(), time::value(expires_at), id.into()])
        .await
        .map(|_| ())
}

/// Renames a snapshot.
///
/// # Errors
/// [`Error::Taken`].
pub async fn rename(tx: &mut Tx, id: i64, new_name: &str) -> Result<()> {
    let sql = "UPDATE storage_volumes_snapshots SET name = ? WHERE id = ?";
    let renamed = tx.execute(sql, &[new_name.into(), id.into()]).await;
    renamed
        .map_err(|error| error.taken(Noun::StorageVolumeSnapshot, new_name))
        .map(|_| ())
}

/// Deletes a snapshot.
///
/// # Errors
/// [`Error::Cluster`] when writing fails.
pub async fn delete(tx: &mut Tx, id: i64) -> Result<()> {
    tx.execute("DELETE FROM storage_volumes_snapshots WHERE id = ?", &[id.into()])
        .await
        .map(|_| ())
}

fn select() -> String {
    let config = CONFIG.column("s.id");
    format!(
        "SELECT s.id, s.storage_volume_id, s.name, s.description, s.expiry_date, {config}
         FROM storage_volumes_snapshots s",
    )
}

fn record(row: &Row<'_>) -> Result<Snapshot> {
    Ok(Snapshot {
        id: row.get(0)?,
        volume_id: row.get(1)?,
        name: row.get(2)?,
        description: row.get(3)?,
        expires_at: time::get(row, 4)?,
        config: entries::config(row, 5)?,
    })
}
