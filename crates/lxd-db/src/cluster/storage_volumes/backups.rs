//! Backups of custom storage volumes that the daemon keeps.

use dqlite::Row;
use jiff::Timestamp;

use super::super::Tx;
use super::super::entries::json_ids;
use crate::{Error, Noun, Result, time};

const SELECT: &str =
    "SELECT id, storage_volume_id, name, creation_date, expiry_date, volume_only, optimized_storage
    FROM storage_volumes_backups";

/// A backup of a storage volume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Backup {
    /// Its row's id.
    pub id: i64,
    /// The id of its volume.
    pub volume_id: i64,
    /// Its name, without the volume's.
    pub name: String,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it expires; [`time::ZERO`] if never.
    pub expires_at: Timestamp,
    /// Whether it leaves the snapshots out.
    pub volume_only: bool,
    /// Whether it is in the storage driver's own form.
    pub optimized_storage: bool,
}

/// One backup of a volume.
///
/// # Errors
/// [`Error::NotFound`].
pub async fn get(tx: &mut Tx, volume_id: i64, name: &str) -> Result<Backup> {
    let sql = format!("{SELECT} WHERE storage_volume_id = ? AND name = ?");
    let stored = stored_name(tx, volume_id, name).await?;
    let rows = tx.query(&sql, &[volume_id.into(), stored.into()]).await?;
    rows.first().map_or_else(
        || Err(Error::not_found(Noun::StorageVolumeBackup, name)),
        |row| record(&row),
    )
}

/// The backups of a set of volumes, oldest first.
///
/// # Errors
/// [`Error::Cluster`] when reading fails.
pub async fn list(tx: &mut Tx, volume_ids: &[i64]) -> Result<Vec<Backup>> {
    let sql = format!(
        "{SELECT} WHERE storage_volume_id IN (SELECT value FROM json_each(?)) ORDER BY storage_volume_id, id"
    );
    let rows = tx.query(&sql, &[json_ids(volume_ids)]).await?;
    rows.iter().map(|row| record(&row)).collect()
}

/// The backups that have expired.
///
/// # Errors
/// [`Error::Cluster`] when reading fails.
pub async fn expired(tx: &mut Tx, now: Timestamp) -> Result<Vec<Backup>> {
    let rows = tx.query(SELECT, &[]).await?;
    let mut all: Vec<Backup> = rows.iter().map(|row| record(&row)).collect::<Result<_>>()?;
    all.retain(|backup| backup.expires_at > time::ZERO && backup.expires_at <= now);
    Ok(all)
}

/// Makes a backup's row and gives its id; the id in `backup` is ignored.
///
/// # Errors
/// [`Error::Taken`].
pub async fn create(tx: &mut Tx, backup: &Backup) -> Result<i64> {
    let name = stored_name(tx, backup.volume_id, &backup.name).await?;
    let sql = "INSERT INTO storage_volumes_backups (storage_volume_id, name, creation_date, expiry_date, volume_only,
         optimized_storage) VALUES (?, ?, ?, ?, ?, ?)";
    let values = [
        backup.volume_id.into(),
        name.into(),
        time::value(backup.created_at),
        time::value(backup.expires_at),
        i64::from(backup.volume_only).into(),
        i64::from(backup.optimized_storage).into(),
    ];
    let made = tx.execute(sql, &values).await;
    Ok(made
        .map_err(|error| error.taken(Noun::StorageVolumeBackup, &backup.name))?
        .last_insert_id)
}

/// Renames a backup.
///
/// # Errors
/// [`Error::NotFound`], [`Error::Taken`].
pub async fn rename(tx: &mut Tx, volume_id: i64, name: &str, new_name: &str) -> Result<()> {
    let id = get(tx, volume_id, name).await?.id;
    let stored = stored_name(tx, volume_id, new_name).await?;
    let sql = "UPDATE storage_volumes_backups SET name = ? WHERE id = ?";
    let renamed = tx.execute(sql, &[stored.into(), id.into()]).await;
    renamed
        .map_err(|error| error.taken(Noun::StorageVolumeBackup, new_name))
        .map(|_| ())
}

/// Deletes a backup's row.
///
/// # Errors
/// [`Error::Cluster`] when writing fails.
pub async fn delete(tx: &mut Tx, id: i64) -> Result<()> {
    tx.execute("DELETE FROM storage_volumes_backups WHERE id = ?", &[id.into()])
        .await
        .map(|_| ())
}

/// The name in the database, which has the volume's in front: `v1/backup0`.
async fn stored_name(tx: &mut Tx, volume_id: i64, name: &str) -> Result<String> {
    let rows = tx
        .query(
            "SELECT name FROM storage_volumes WHERE id = ?",
            &[volume_id.into()],
        )
        .await?;
    let row = rows
        .first()
        .ok_or_else(|| Error::not_found(Noun::StorageVolume, volume_id.to_string()))?;
    Ok(format!("{}/{name}", row.get::<&str>(0)?))
}

fn record(row: &Row<'_>) -> Result<Backup> {
    let stored: &str = row.get(2)?;
    Ok(Backup {
        id: row.get(0)?,
        volume_id: row.get(1)?,
        name: stored.split_once('/').map_or(stored, |(_, name)| name).to_owned(),
        created_at: time::get(row, 3)?,
        expires_at: time::get(row, 4)?,
        volume_only: row.get(5)?,
        optimized_storage: row.get(6)?,
    })
}
