//! Storage volumes. `project` is here always the project that holds them: the instance's own for instances' volumes,
//! the effective one of [`super::projects::Feature::StorageVolumes`] for custom ones, `default` for images.

use dqlite::Row;

use super::codes::{ContentType, VolumeType};
use super::entries::{self, ConfigTable};
use super::{Tx, projects, storage_pools};
use crate::{Config, Error, Noun, Result};

pub mod backups;
pub mod snapshots;
pub mod users;

const CONFIG: ConfigTable = ConfigTable {
    table: "storage_volumes_config",
    owner: "storage_volume_id",
};

/// A storage volume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StorageVolume {
    /// Its row's id.
    pub id: i64,
    /// The name of its pool.
    pub pool: String,
    /// The project that holds it.
    pub project: String,
    /// Its name; for images the fingerprint.
    pub name: String,
    /// What it is for.
    pub kind: VolumeType,
    /// What is in it.
    pub content_type: ContentType,
    /// What users say of it.
    pub description: String,
    /// The member it is on; empty on pools that are the same everywhere.
    pub node: String,
    /// Its configuration.
    pub config: Config,
}

/// Which volume: all that makes it different from others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Key<'a> {
    /// The name of its pool.
    pub pool: &'a str,
    /// The project that holds it.
    pub project: &'a str,
    /// What it is for.
    pub kind: VolumeType,
    /// Its name.
    pub name: &'a str,
}

/// Which volumes to list; all where nothing is said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Filter<'a> {
    /// Those in one pool.
    pub pool: Option<&'a str>,
    /// Those of one project.
    pub project: Option<&'a str>,
    /// Those for one thing.
    pub kind: Option<VolumeType>,
}

/// What is in a volume and what is said of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Content {
    /// What is in it; does not change later.
    pub content_type: ContentType,
    /// What users say of it.
    pub description: String,
    /// Its configuration.
    pub config: Config,
}

/// One volume.
///
/// # Errors
/// [`Error::NotFound`].
pub async fn get(tx: &mut Tx, key: Key<'_>) -> Result<StorageVolume> {
    let sql = format!(
        "{} WHERE s.name = ? AND p.name = ? AND v.type = ? AND v.name = ?",
        select()
    );
    let values = [
        key.pool.into(),
        key.project.into(),
        key.kind.code().into(),
        key.name.into(),
    ];
    let rows = tx.query(&sql, &values).await?;
    rows.first().map_or_else(
        || Err(Error::not_found(Noun::StorageVolume, key.name)),
        |row| record(&row),
    )
}

/// Volumes by pool, project, type and name.
///
/// # Errors
/// [`Error::Cluster`] when reading fails.
pub async fn list(tx: &mut Tx, filter: Filter<'_>) -> Result<Vec<StorageVolume>> {
    let sql = format!(
        "{} WHERE (?1 IS NULL OR s.name = ?1) AND (?2 IS NULL OR p.name = ?2) AND (?3 IS NULL OR v.type = ?3)
         ORDER BY s.name, p.name, v.type, v.name",
        select(),
    );
    let values = [
        filter.pool.into(),
        filter.project.into(),
        filter.kind.map(VolumeType::code).into(),
    ];
    let rows = tx.query(&sql, &values).await?;
    rows.iter().map(|row| record(&row)).collect()
}

/// The names of the pools that hold a volume: where an instance's or an image's is.
///
/// # Errors
/// [`Error::Cluster`] when reading fails.
pub async fn pools_of(tx: &mut Tx, project: &str, kind: VolumeType, name: &str) -> Result<Vec<String>> {
    let sql = "SELECT s.name FROM storage_volumes v JOIN storage_pools s ON s.id = v.storage_pool_id
         JOIN projects p ON p.id = v.project_id WHERE p.name = ? AND v.type = ? AND v.name = ? ORDER BY s.name";
    let rows = tx
        .query(sql, &[project.into(), kind.code().into(), name.into()])
        .await?;
    rows.iter().map(|row| Ok(row.get(0)?)).collect()
}

/// Makes a volume on the member `node_id` (`None` on pools that are the same everywhere), and gives its id.
///
/// # Errors
/// [`Error::NotFound`] for pool or project, [`Error::Taken`].
pub async fn create(tx: &mut Tx, key: Key<'_>, node_id: Option<i64>, content: &Content) -> Result<i64> {
    let pool_id = storage_pools::id(tx, key.pool).await?;
    let project_id = projects::id(tx, key.project).await?;
    let sql = "INSERT INTO storage_volumes (name, storage_pool_id, node_id, type, description, project_id, content_type)
         VALUES (?, ?, ?, ?, ?, ?, ?)";
    let values = [
        key.name.into(),
        pool_id.into(),
        node_id.into(),
        key.kind.code().into(),
        content.description.as_str().into(),
        project_id.into(),
        content.content_type.code().into(),
    ];
    let made = tx.execute(sql, &values).await;
    let id = made
        .map_err(|error| error.taken(Noun::StorageVolume, key.name))?
        .last_insert_id;
    CONFIG.insert(tx, id, &content.config).await?;
    Ok(id)
}

/// Replaces description and configuration.
///
/// # Errors
/// [`Error::Cluster`] when writing fails.
pub async fn update(tx: &mut Tx, id: i64, description: &str, config: &Config) -> Result<()> {
    let sql = "UPDATE storage_volumes SET description = ? WHERE id = ?";
    tx.execute(sql, &[description.into(), id.into()]).await?;
    CONFIG.replace(tx, id, config).await
}

/// Sets some keys of the configuration and removes those whose new value is empty.
///
/// # Errors
/// [`Error::Cluster`] when writing fails.
pub async fn change_config(tx: &mut Tx, id: i64, changes: &Config) -> Result<()> {
    CONFIG.change(tx, id, changes).await
}

/// Renames a volume.
///
/// # Errors
/// [`Error::Taken`].
pub async fn rename(tx: &mut Tx, id: i64, new_name: &str) -> Result<()> {
    let renamed = tx
        .execute(
            "UPDATE storage_volumes SET name = ? WHERE id = ?",
            &[new_name.into(), id.into()],
        )
        .await;
    renamed.map_err(|error| error.taken(Noun::StorageVolume, new_name))?;
    let sql = "UPDATE storage_volumes_backups SET name = ? || substr(name, instr(name, '/')) WHERE storage_volume_id = ?";
    tx.execute(sql, &[new_name.into(), id.into()]).await.map(|_| ())
}

/// Moves a volume to another pool.
///
/// # Errors
/// [`Error::NotFound`] for the pool, [`Error::Taken`].
pub async fn set_pool(tx: &mut Tx, id: i64, pool: &str) -> Result<()> {
    let pool_id = storage_pools::id(tx, pool).await?;
    let sql = "UPDATE storage_volumes SET storage_pool_id = ? WHERE id = ?";
    let moved = tx.execute(sql, &[pool_id.into(), id.into()]).await;
    moved
        .map_err(|error| error.taken(Noun::StorageVolume, pool))
        .map(|_| ())
}

/// Moves a volume to another project.
///
/// # Errors
/// [`Error::NotFound`] for the project, [`Error::Taken`].
pub async fn set_project(tx: &mut Tx, id: i64, project: &str) -> Result<()> {
    let project_id = projects::id(tx, project).await?;
    let sql = "UPDATE storage_volumes SET project_id = ? WHERE id = ?";
    let moved = tx.execute(sql, &[project_id.into(), id.into()]).await;
    moved
        .map_err(|error| error.taken(Noun::StorageVolume, project))
        .map(|_| ())
}

/// Deletes a volume with its snapshots' and backups' rows.
///
/// # Errors
/// [`Error::Cluster`] when writing fails.
pub async fn delete(tx: &mut Tx, id: i64) -> Result<()> {
    tx.execute("DELETE FROM storage_volumes WHERE id = ?", &[id.into()])
        .await
        .map(|_| ())
}

fn select() -> String {
    let config = CONFIG.column("v.id");
    format!(
        "SELECT v.id, s.name, p.name, v.name, v.type, v.content_type, v.description, coalesce(n.name, ''), {config}
         FROM storage_volumes v JOIN storage_pools s ON s.id = v.storage_pool_id JOIN projects p ON p.id = v.project_id
         LEFT JOIN nodes n ON n.id = v.node_id",
    )
}

fn record(row: &Row<'_>) -> Result<StorageVolume> {
    Ok(StorageVolume {
        id: row.get(0)?,
        pool: row.get(1)?,
        project: row.get(2)?,
        name: row.get(3)?,
        kind: VolumeType::from_code(row.get(4)?)?,
        content_type: ContentType::from_code(row.get(5)?)?,
        description: row.get(6)?,
        node: row.get(7)?,
        config: entries::config(row, 8)?,
    })
}
