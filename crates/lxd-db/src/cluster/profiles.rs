//! Profiles. `project` is here always the project that holds them; see [`super::projects::effective`].

use super::entries::{self, ConfigTable, DeviceTable};
use super::{Tx, projects};
use crate::{Config, Devices, Error, Noun, Result};

const CONFIG: ConfigTable = ConfigTable {
    table: "profiles_config",
    owner: "profile_id",
};

const DEVICES: DeviceTable = DeviceTable {
    table: "profiles_devices",
    owner: "profile_id",
    config: "profiles_devices_config",
    device: "profile_device_id",
};

/// A profile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Profile {
    /// Its row's id.
    pub id: i64,
    /// The project that holds it.
    pub project: String,
    /// Its name.
    pub name: String,
    /// What users say of it.
    pub description: String,
    /// Its configuration.
    pub config: Config,
    /// Its devices.
    pub devices: Devices,
}

/// What can be changed of a profile.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Content {
    /// What users say of it.
    pub description: String,
    /// Its configuration.
    pub config: Config,
    /// Its devices.
    pub devices: Devices,
}

/// The id of a profile.
///
/// # Errors
/// [`Error::NotFound`].
pub async fn id(tx: &mut Tx, project: &str, name: &str) -> Result<i64> {
    let sql = "SELECT profiles.id FROM profiles JOIN projects ON projects.id = profiles.project_id
         WHERE projects.name = ? AND profiles.name = ?";
    let rows = tx.query(sql, &[project.into(), name.into()]).await?;
    Ok(rows
        .first()
        .ok_or_else(|| Error::not_found(Noun::Profile, name))?
        .get(0)?)
}

/// One profile.
///
/// # Errors
/// [`Error::NotFound`].
pub async fn get(tx: &mut Tx, project: &str, name: &str) -> Result<Profile> {
    let sql = format!("{} WHERE p.name = ? AND f.name = ?", select());
    let rows = tx.query(&sql, &[project.into(), name.into()]).await?;
    rows.first()
        .map_or_else(|| Err(Error::not_found(Noun::Profile, name)), |row| record(&row))
}

/// All profiles of a project, or of all projects, by project and name.
///
/// # Errors
/// [`Error::Cluster`] when reading fails.
pub async fn list(tx: &mut Tx, project: Option<&str>) -> Result<Vec<Profile>> {
    let sql = format!(
        "{} WHERE ?1 IS NULL OR p.name = ?1 ORDER BY p.name, f.name",
        select()
    );
    let rows = tx.query(&sql, &[project.into()]).await?;
    rows.iter().map(|row| record(&row)).collect()
}

/// The profiles that instances of a project may have, its own or the default project's, in one query.
///
/// # Errors
/// [`Error::NotFound`] for the project.
pub async fn of_project(tx: &mut Tx, project: &str) -> Result<Vec<Profile>> {
    let holder = projects::effective_id_sql("x.id", projects::Feature::Profiles);
    let sql = format!(
        "{} WHERE p.id = (SELECT {holder} FROM projects x WHERE x.name = ?) ORDER BY f.name",
        select()
    );
    let rows = tx.query(&sql, &[project.into()]).await?;
    if rows.is_empty() {
        // Every project has its default profile.
        projects::id(tx, project).await?;
    }
    rows.iter().map(|row| record(&row)).collect()
}

/// Makes a profile and gives its id.
///
/// # Errors
/// [`Error::NotFound`] for the project, [`Error::Taken`].
pub async fn create(tx: &mut Tx, project: &str, name: &str, content: &Content) -> Result<i64> {
    let project_id = projects::id(tx, project).await?;
    let sql = "INSERT INTO profiles (name, description, project_id) VALUES (?, ?, ?)";
    let made = tx
        .execute(
            sql,
            &[
                name.into(),
                content.description.as_str().into(),
                project_id.into(),
            ],
        )
        .await;
    let id = made
        .map_err(|error| error.taken(Noun::Profile, name))?
        .last_insert_id;
    CONFIG.insert(tx, id, &content.config).await?;
    DEVICES.insert(tx, id, &content.devices).await?;
    Ok(id)
}

/// Replaces description, configuration and devices.
///
/// # Errors
/// [`Error::Cluster`] when writing fails.
pub async fn update(tx: &mut Tx, id: i64, content: &Content) -> Result<()> {
    let sql = "UPDATE profiles SET description = ? WHERE id = ?";
    tx.execute(sql, &[content.description.as_str().into(), id.into()])
        .await?;
    CONFIG.replace(tx, id, &content.config).await?;
    DEVICES.replace(tx, id, &content.devices).await
}

/// Renames a profile.
///
/// # Errors
/// [`Error::Taken`].
pub async fn rename(tx: &mut Tx, id: i64, new_name: &str) -> Result<()> {
    let renamed = tx
        .execute(
            "UPDATE profiles SET name = ? WHERE id = ?",
            &[new_name.into(), id.into()],
        )
        .await;
    renamed
        .map_err(|error| error.taken(Noun::Profile, new_name))
        .map(|_| ())
}

/// Deletes a profile; check [`super::used_by::profile`] before.
///
/// # Errors
/// [`Error::Cluster`] when writing fails.
pub async fn delete(tx: &mut Tx, id: i64) -> Result<()> {
    tx.execute("DELETE FROM profiles WHERE id = ?", &[id.into()])
        .await
        .map(|_| ())
}

fn select() -> String {
    let (config, devices) = (CONFIG.column("f.id"), DEVICES.column("f.id"));
    format!(
        "SELECT f.id, p.name, f.name, f.description, {config}, {devices}
         FROM profiles f JOIN projects p ON p.id = f.project_id",
    )
}

fn record(row: &dqlite::Row<'_>) -> Result<Profile> {
    Ok(Profile {
        id: row.get(0)?,
        project: row.get(1)?,
        name: row.get(2)?,
        description: row.get(3)?,
        config: entries::config(row, 4)?,
        devices: entries::devices(row, 5)?,
    })
}
