//! Aliases of images: names that users give them.

use super::super::{Tx, projects};
use crate::{Error, Noun, Result};

/// An alias.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Alias {
    /// Its row's id.
    pub id: i64,
    /// Its name.
    pub name: String,
    /// What users say of it.
    pub description: String,
    /// The fingerprint of its image.
    pub target: String,
    /// Its image's sort of machine.
    pub kind: super::InstanceType,
    /// Whether its image is for anyone.
    pub public: bool,
}

const SELECT: &str = "SELECT a.id, a.name, a.description, i.fingerprint, i.type, i.public
    FROM images_aliases a JOIN images i ON i.id = a.image_id JOIN projects p ON p.id = a.project_id";

/// One alias.
///
/// # Errors
/// [`Error::NotFound`].
pub async fn get(tx: &mut Tx, project: &str, name: &str) -> Result<Alias> {
    let rows = tx
        .query(
            &format!("{SELECT} WHERE p.name = ? AND a.name = ?"),
            &[project.into(), name.into()],
        )
        .await?;
    let row = rows
        .first()
        .ok_or_else(|| Error::not_found(Noun::ImageAlias, name))?;
    record(&row)
}

/// All aliases of a project, by name.
///
/// # Errors
/// [`Error::Cluster`] when reading fails.
pub async fn list(tx: &mut Tx, project: &str) -> Result<Vec<Alias>> {
    let rows = tx
        .query(
            &format!("{SELECT} WHERE p.name = ? ORDER BY a.name"),
            &[project.into()],
        )
        .await?;
    rows.iter().map(|row| record(&row)).collect()
}

/// Makes aliases, each with what users say of it, for an image.
///
/// # Errors
/// [`Error::NotFound`] for the project, [`Error::Taken`].
pub async fn create_all(tx: &mut Tx, project: &str, image_id: i64, new: &[(&str, &str)]) -> Result<()> {
    let project_id = projects::id(tx, project).await?;
    let sql = "INSERT INTO images_aliases (name, image_id, description, project_id) VALUES (?, ?, ?, ?)";
    for (name, description) in new {
        let values = [
            (*name).into(),
            image_id.into(),
            (*description).into(),
            project_id.into(),
        ];
        let made = tx.execute(sql, &values).await;
        made.map_err(|error| error.taken(Noun::ImageAlias, name))?;
    }
    Ok(())
}

/// Makes an alias stand for another image, and changes its description.
///
/// # Errors
/// [`Error::Cluster`] when writing fails.
pub async fn update(tx: &mut Tx, id: i64, image_id: i64, description: &str) -> Result<()> {
    let sql = "UPDATE images_aliases SET image_id = ?, description = ? WHERE id = ?";
    tx.execute(sql, &[image_id.into(), description.into(), id.into()])
        .await
        .map(|_| ())
}

/// Renames an alias.
///
/// # Errors
/// [`Error::Taken`].
pub async fn rename(tx: &mut Tx, id: i64, new_name: &str) -> Result<()> {
    let renamed = tx
        .execute(
            "UPDATE images_aliases SET name = ? WHERE id = ?",
            &[new_name.into(), id.into()],
        )
        .await;
    renamed
        .map_err(|error| error.taken(Noun::ImageAlias, new_name))
        .map(|_| ())
}

/// Deletes an alias.
///
/// # Errors
/// [`Error::NotFound`].
pub async fn delete(tx: &mut Tx, project: &str, name: &str) -> Result<()> {
    let id = get(tx, project, name).await?.id;
    tx.execute("DELETE FROM images_aliases WHERE id = ?", &[id.into()])
        .await
        .map(|_| ())
}

/// Makes every alias of one image stand for another, as when an image was replaced by a newer one.
///
/// # Errors
/// [`Error::Cluster`] when writing fails.
pub async fn move_all(tx: &mut Tx, from_image: i64, to_image: i64) -> Result<()> {
    let sql = "UPDATE images_aliases SET image_id = ? WHERE image_id = ?";
    tx.execute(sql, &[to_image.into(), from_image.into()])
        .await
        .map(|_| ())
}

fn record(row: &dqlite::Row<'_>) -> Result<Alias> {
    Ok(Alias {
        id: row.get(0)?,
        name: row.get(1)?,
        description: row.get(2)?,
        target: row.get(3)?,
        kind: super::InstanceType::from_code(row.get(4)?)?,
        public: row.get(5)?,
    })
}
