//! Projects, and in which project a thing lives: a project without a feature shares the default project's things.

use std::collections::BTreeMap;

use super::Tx;
use super::entries::{self, ConfigTable};
use crate::{Config, Error, Noun, Result};

/// The project that always exists.
pub const DEFAULT: &str = "default";

const CONFIG: ConfigTable = ConfigTable {
    table: "projects_config",
    owner: "project_id",
};

/// The values that count as true, in SQL.
const TRUE: &str = "('true', '1', 'yes', 'on')";

/// A project.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Project {
    /// Its row's id.
    pub id: i64,
    /// Its name.
    pub name: String,
    /// What users say of it.
    pub description: String,
    /// Its configuration.
    pub config: Config,
}

/// What a project can have of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Feature {
    /// `features.images`
    Images,
    /// `features.networks`
    Networks,
    /// `features.profiles`
    Profiles,
    /// `features.storage.volumes`
    StorageVolumes,
}

impl Feature {
    /// The key that turns it on.
    pub fn key(self) -> &'static str {
        match self {
            Self::Images => "features.images",
            Self::Networks => "features.networks",
            Self::Profiles => "features.profiles",
            Self::StorageVolumes => "features.storage.volumes",
        }
    }
}

/// For one project: in which project its things of each sort live.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Effective {
    /// Of images and their aliases.
    pub images: String,
    /// Of networks.
    pub networks: String,
    /// Of profiles.
    pub profiles: String,
    /// Of custom storage volumes.
    pub storage_volumes: String,
}

/// The id of a project.
///
/// # Errors
/// [`Error::NotFound`].
pub async fn id(tx: &mut Tx, name: &str) -> Result<i64> {
    let rows = tx
        .query("SELECT id FROM projects WHERE name = ?", &[name.into()])
        .await?;
    Ok(rows
        .first()
        .ok_or_else(|| Error::not_found(Noun::Project, name))?
        .get(0)?)
}

/// One project.
///
/// # Errors
/// [`Error::NotFound`].
pub async fn get(tx: &mut Tx, name: &str) -> Result<Project> {
    let rows = tx
        .query(&format!("{} WHERE name = ?", select()), &[name.into()])
        .await?;
    rows.first()
        .map_or_else(|| Err(Error::not_found(Noun::Project, name)), |row| record(&row))
}

/// All projects, by name.
///
/// # Errors
/// [`Error::Cluster`] when reading fails.
pub async fn list(tx: &mut Tx) -> Result<Vec<Project>> {
    let rows = tx.query(&format!("{} ORDER BY name", select()), &[]).await?;
    rows.iter().map(|row| record(&row)).collect()
}

/// The names of all projects, sorted.
///
/// # Errors
/// [`Error::Cluster`] when reading fails.
pub async fn names(tx: &mut Tx) -> Result<Vec<String>> {
    let rows = tx.query("SELECT name FROM projects ORDER BY name", &[]).await?;
    rows.iter().map(|row| Ok(row.get(0)?)).collect()
}

/// Makes a project and gives its id. Where it has profiles of its own, make its default profile as well.
///
/// # Errors
/// [`Error::Taken`].
pub async fn create(tx: &mut Tx, name: &str, description: &str, config: &Config) -> Result<i64> {
    let sql = "INSERT INTO projects (name, description) VALUES (?, ?)";
    let made = tx.execute(sql, &[name.into(), description.into()]).await;
    let id = made
        .map_err(|error| error.taken(Noun::Project, name))?
        .last_insert_id;
    CONFIG.insert(tx, id, config).await?;
    Ok(id)
}

/// Replaces description and configuration.
///
/// # Errors
/// [`Error::NotFound`].
pub async fn update(tx: &mut Tx, name: &str, description: &str, config: &Config) -> Result<()> {
    let id = id(tx, name).await?;
    tx.execute(
        "UPDATE projects SET description = ? WHERE id = ?",
        &[description.into(), id.into()],
    )
    .await?;
    CONFIG.replace(tx, id, config).await
}

/// Renames a project.
///
/// # Errors
/// [`Error::NotFound`], [`Error::Taken`].
pub async fn rename(tx: &mut Tx, name: &str, new_name: &str) -> Result<()> {
    let id = id(tx, name).await?;
    let renamed = tx
        .execute(
            "UPDATE projects SET name = ? WHERE id = ?",
            &[new_name.into(), id.into()],
        )
        .await;
    renamed
        .map_err(|error| error.taken(Noun::Project, new_name))
        .map(|_| ())
}

/// Deletes a project with all that is in it; check [`super::used_by::project`] before.
///
/// # Errors
/// [`Error::NotFound`].
pub async fn delete(tx: &mut Tx, name: &str) -> Result<()> {
    let deleted = tx
        .execute("DELETE FROM projects WHERE name = ?", &[name.into()])
        .await?;
    if deleted.rows_affected == 0 {
        Err(Error::not_found(Noun::Project, name))
    } else {
        Ok(())
    }
}

/// The project in which `project`'s things of one sort live: itself, or the default project.
///
/// # Errors
/// [`Error::NotFound`].
pub async fn effective(tx: &mut Tx, project: &str, feature: Feature) -> Result<String> {
    let all = effective_all(tx, project).await?;
    Ok(match feature {
        Feature::Images => all.images,
        Feature::Networks => all.networks,
        Feature::Profiles => all.profiles,
        Feature::StorageVolumes => all.storage_volumes,
    })
}

/// The projects in which `project`'s things of every sort live, in one query.
///
/// # Errors
/// [`Error::NotFound`].
pub async fn effective_all(tx: &mut Tx, project: &str) -> Result<Effective> {
    let sql = format!(
        "SELECT c.key FROM projects p
         LEFT JOIN projects_config c ON c.project_id = p.id AND c.key LIKE 'features.%' AND lower(c.value) IN {TRUE}
         WHERE p.name = ?",
    );
    let rows = tx.query(&sql, &[project.into()]).await?;
    if rows.is_empty() {
        return Err(Error::not_found(Noun::Project, project));
    }
    let mut on = std::collections::BTreeSet::new();
    for row in rows.iter() {
        on.extend(row.get::<Option<String>>(0)?);
    }
    let of = |feature: Feature| {
        if on.contains(feature.key()) {
            project
        } else {
            DEFAULT
        }
        .to_owned()
    };
    Ok(Effective {
        images: of(Feature::Images),
        networks: of(Feature::Networks),
        profiles: of(Feature::Profiles),
        storage_volumes: of(Feature::StorageVolumes),
    })
}

/// As [`effective_all`], for every project, in one query.
///
/// # Errors
/// [`Error::Cluster`] when reading fails.
pub async fn effective_of_all(tx: &mut Tx) -> Result<BTreeMap<String, Effective>> {
    let projects = list(tx).await?;
    let of = |project: &Project, feature: Feature| {
        let on = project
            .config
            .get(feature.key())
            .is_some_and(|value| is_true(value));
        if on {
            project.name.clone()
        } else {
            DEFAULT.to_owned()
        }
    };
    Ok(projects
        .iter()
        .map(|project| {
            let effective = Effective {
                images: of(project, Feature::Images),
                networks: of(project, Feature::Networks),
                profiles: of(project, Feature::Profiles),
                storage_volumes: of(project, Feature::StorageVolumes),
            };
            (project.name.clone(), effective)
        })
        .collect())
}

/// SQL for the id of the project that holds things of a feature for the project whose id is `id` (an SQL expression).
pub(super) fn effective_id_sql(id: &str, feature: Feature) -> String {
    let key = feature.key();
    format!(
        "(CASE WHEN EXISTS (SELECT 1 FROM projects_config f WHERE f.project_id = {id} AND f.key = '{key}'
          AND lower(f.value) IN {TRUE}) THEN {id} ELSE (SELECT id FROM projects WHERE name = '{DEFAULT}') END)",
    )
}

fn is_true(value: &str) -> bool {
    ["true", "1", "yes", "on"]
        .iter()
        .any(|word| value.eq_ignore_ascii_case(word))
}

fn select() -> String {
    format!(
        "SELECT id, name, description, {} FROM projects",
        CONFIG.column("projects.id")
    )
}

fn record(row: &dqlite::Row<'_>) -> Result<Project> {
    let config = entries::config(row, 3)?;
    Ok(Project {
        id: row.get(0)?,
        name: row.get(1)?,
        description: row.get(2)?,
        config,
    })
}
