//! Images. `project` is here always the project that holds them; see [`super::projects::effective`].

use dqlite::Row;
use jiff::Timestamp;

use super::codes::{ImageProtocol, InstanceType};
use super::entries::{self, json};
use super::{Tx, projects};
use crate::{Config, Error, Noun, Result, architecture, time};

pub mod aliases;

const SELECT: &str = "SELECT i.id, p.name, i.fingerprint, i.filename, i.size, i.public, i.architecture, i.creation_date,
     i.expiry_date, i.upload_date, i.cached, i.last_use_date, i.auto_update, i.type,
     (SELECT json_group_object(key, value) FROM images_properties WHERE image_id = i.id) AS properties,
     (SELECT json_group_array(name) FROM (SELECT f.name FROM images_profiles x JOIN profiles f ON f.id = x.profile_id
       WHERE x.image_id = i.id ORDER BY x.rowid)) AS profiles,
     (SELECT json_group_array(json_array(server, protocol, certificate, alias)) FROM images_source WHERE image_id = i.id) AS sources,
     (SELECT json_group_array(name) FROM (SELECT n.name FROM images_nodes x JOIN nodes n ON n.id = x.node_id
       WHERE x.image_id = i.id ORDER BY n.id)) AS nodes,
     (SELECT json_group_array(json_array(id, name, description)) FROM (SELECT a.id, a.name, a.description
       FROM images_aliases a WHERE a.image_id = i.id ORDER BY a.id)) AS aliases
     FROM images i JOIN projects p ON p.id = i.project_id";

/// An image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// Its row's id.
    pub id: i64,
    /// The project that holds it.
    pub project: String,
    /// What it is.
    pub content: NewImage,
    /// When it was uploaded.
    pub uploaded_at: Timestamp,
    /// When an instance was last made of it; [`time::ZERO`] if never.
    pub last_used_at: Timestamp,
    /// Its aliases, oldest first.
    pub aliases: Vec<aliases::Alias>,
    /// The names of the members that have it.
    pub nodes: Vec<String>,
}

/// What an image is: all that its maker decides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewImage {
    /// SHA-256 of its files, in hexadecimal.
    pub fingerprint: String,
    /// The name of the file it came from.
    pub filename: String,
    /// The size of its files in bytes.
    pub size: i64,
    /// What sort of machine it makes.
    pub kind: InstanceType,
    /// Its architecture, as the kernel writes it.
    pub architecture: String,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it expires; 1970 or [`time::ZERO`] if never.
    pub expires_at: Timestamp,
    /// Whether anyone may use it.
    pub public: bool,
    /// Whether it was fetched for an instance, and may be forgotten.
    pub cached: bool,
    /// Whether it follows its source.
    pub auto_update: bool,
    /// What it says of itself, such as `os`.
    pub properties: Config,
    /// The profiles of instances made of it.
    pub profiles: Vec<String>,
    /// Where it came from.
    pub source: Option<Source>,
}

/// Where an image came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// The server's URL.
    pub server: String,
    /// How it is spoken to.
    pub protocol: ImageProtocol,
    /// The server's certificate, in PEM, where it must be known.
    pub certificate: String,
    /// The alias that was followed.
    pub alias: String,
}

/// What can be changed of an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Content {
    /// Whether anyone may use it.
    pub public: bool,
    /// Whether it follows its source.
    pub auto_update: bool,
    /// When it expires.
    pub expires_at: Timestamp,
    /// What it says of itself.
    pub properties: Config,
    /// The profiles of instances made of it.
    pub profiles: Vec<String>,
}

/// One image by the beginning of its fingerprint.
///
/// # Errors
/// [`Error::NotFound`], [`Error::Ambiguous`].
pub async fn get(tx: &mut Tx, project: &str, fingerprint: &str) -> Result<Image> {
    // Compared as a range: LIKE would take `_` and `%` in what users type for more than they are.
    let sql = format!(
        "{SELECT} WHERE p.name = ?1 AND i.fingerprint >= ?2 AND i.fingerprint < ?2 || 'g' ORDER BY i.fingerprint LIMIT 2",
    );
    let rows = tx.query(&sql, &[project.into(), fingerprint.into()]).await?;
    let mut found = rows.iter().map(|row| record(&row)).collect::<Result<Vec<_>>>()?;
    match (found.pop(), found.pop()) {
        (Some(image), None) if !fingerprint.is_empty() => Ok(image),
        (Some(_), Some(exact)) if exact.content.fingerprint == fingerprint => Ok(exact),
        (Some(_), Some(_)) => Err(Error::Ambiguous {
            noun: Noun::Image,
            name: fingerprint.to_owned(),
        }),
        _ => Err(Error::not_found(Noun::Image, fingerprint)),
    }
}

/// All images of a project, or of all projects, by id; in one query.
///
/// # Errors
/// [`Error::Cluster`] when reading fails.
pub async fn list(tx: &mut Tx, project: Option<&str>) -> Result<Vec<Image>> {
    let sql = format!("{SELECT} WHERE ?1 IS NULL OR p.name = ?1 ORDER BY i.id");
    let rows = tx.query(&sql, &[project.into()]).await?;
    rows.iter().map(|row| record(&row)).collect()
}

/// The images of a project that came from a source by its alias, newest first.
///
/// # Errors
/// [`Error::Cluster`] when reading fails.
pub async fn of_source(tx: &mut Tx, project: &str, source: &Source) -> Result<Vec<Image>> {
    let sql = format!(
        "{SELECT} JOIN images_source s ON s.image_id = i.id
         WHERE p.name = ? AND s.server = ? AND s.protocol = ? AND s.alias = ? ORDER BY i.creation_date DESC"
    );
    let values = [
        project.into(),
        source.server.as_str().into(),
        source.protocol.code().into(),
        source.alias.as_str().into(),
    ];
    let rows = tx.query(&sql, &values).await?;
    rows.iter().map(|row| record(&row)).collect()
}

/// The fingerprints of a project's images, sorted.
///
/// # Errors
/// [`Error::Cluster`] when reading fails.
pub async fn fingerprints(tx: &mut Tx, project: &str, public_only: bool) -> Result<Vec<String>> {
    let sql = "SELECT i.fingerprint FROM images i JOIN projects p ON p.id = i.project_id
         WHERE p.name = ?1 AND (?2 = 0 OR i.public = 1) ORDER BY i.fingerprint";
    let rows = tx
        .query(sql, &[project.into(), i64::from(public_only).into()])
        .await?;
    rows.iter().map(|row| Ok(row.get(0)?)).collect()
}

/// The projects that have the image with exactly this fingerprint: its files are theirs together.
///
/// # Errors
/// [`Error::Cluster`] when reading fails.
pub async fn projects_of(tx: &mut Tx, fingerprint: &str) -> Result<Vec<String>> {
    let sql = "SELECT p.name FROM images i JOIN projects p ON p.id = i.project_id WHERE i.fingerprint = ?
         ORDER BY p.name";
    let rows = tx.query(sql, &[fingerprint.into()]).await?;
    rows.iter().map(|row| Ok(row.get(0)?)).collect()
}

/// Makes an image that the member `node_id` has, and gives its id.
///
/// # Errors
/// [`Error::NotFound`] for the project, [`Error::Taken`], [`Error::NoProfile`].
pub async fn create(tx: &mut Tx, project: &str, node_id: i64, new: &NewImage) -> Result<i64> {
    let project_id = projects::id(tx, project).await?;
    let sql = "INSERT INTO images (fingerprint, filename, size, public, architecture, creation_date, expiry_date,
         upload_date, cached, last_use_date, auto_update, project_id, type) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)";
    let values = [
        new.fingerprint.as_str().into(),
        new.filename.as_str().into(),
        new.size.into(),
        i64::from(new.public).into(),
        architecture::id(&new.architecture)?.into(),
        time::value(new.created_at),
        time::value(new.expires_at),
        time::value(Timestamp::now()),
        i64::from(new.cached).into(),
        time::value(time::ZERO),
        i64::from(new.auto_update).into(),
        project_id.into(),
        new.kind.code().into(),
    ];
    let made = tx.execute(sql, &values).await;
    let id = made
        .map_err(|error| error.taken(Noun::Image, &new.fingerprint))?
        .last_insert_id;
    tx.execute(
        "INSERT INTO images_nodes (image_id, node_id) VALUES (?, ?)",
        &[id.into(), node_id.into()],
    )
    .await?;
    insert_properties(tx, id, &new.properties).await?;
    insert_profiles(tx, id, &new.profiles).await?;
    if let Some(source) = &new.source {
        set_source(tx, id, source).await?;
    }
    Ok(id)
}

/// Replaces what can be changed.
///
/// # Errors
/// [`Error::NoProfile`], [`Error::Cluster`] when writing fails.
pub async fn update(tx: &mut Tx, id: i64, content: &Content) -> Result<()> {
    let sql = "UPDATE images SET public = ?, auto_update = ?, expiry_date = ? WHERE id = ?";
    let values = [
        i64::from(content.public).into(),
        i64::from(content.auto_update).into(),
        time::value(content.expires_at),
        id.into(),
    ];
    tx.execute(sql, &values).await?;
    tx.execute("DELETE FROM images_properties WHERE image_id = ?", &[id.into()])
        .await?;
    insert_properties(tx, id, &content.properties).await?;
    tx.execute("DELETE FROM images_profiles WHERE image_id = ?", &[id.into()])
        .await?;
    insert_profiles(tx, id, &content.profiles).await
}

/// Records that an instance was made of an image, in every project that has it.
///
/// # Errors
/// [`Error::Cluster`] when writing fails.
pub async fn set_last_used(tx: &mut Tx, fingerprint: &str, at: Timestamp) -> Result<()> {
    let sql = "UPDATE images SET last_use_date = ? WHERE fingerprint = ?";
    tx.execute(sql, &[time::value(at), fingerprint.into()])
        .await
        .map(|_| ())
}

/// Records that an image is one of the user's own, not one that was fetched for an instance.
///
/// # Errors
/// [`Error::Cluster`] when writing fails.
pub async fn set_not_cached(tx: &mut Tx, id: i64) -> Result<()> {
    tx.execute("UPDATE images SET cached = 0 WHERE id = ?", &[id.into()])
        .await
        .map(|_| ())
}

/// Changes the name of the file that an image came from.
///
/// # Errors
/// [`Error::Cluster`] when writing fails.
pub async fn set_filename(tx: &mut Tx, id: i64, filename: &str) -> Result<()> {
    let sql = "UPDATE images SET filename = ? WHERE id = ?";
    tx.execute(sql, &[filename.into(), id.into()]).await.map(|_| ())
}

/// Records where an image came from.
///
/// # Errors
/// [`Error::Cluster`] when writing fails.
pub async fn set_source(tx: &mut Tx, id: i64, source: &Source) -> Result<()> {
    tx.execute("DELETE FROM images_source WHERE image_id = ?", &[id.into()])
        .await?;
    let sql =
        "INSERT INTO images_source (image_id, server, protocol, certificate, alias) VALUES (?, ?, ?, ?, ?)";
    let values = [
        id.into(),
        source.server.as_str().into(),
        source.protocol.code().into(),
        source.certificate.as_str().into(),
        source.alias.as_str().into(),
    ];
    tx.execute(sql, &values).await.map(|_| ())
}

/// Deletes an image with its aliases.
///
/// # Errors
/// [`Error::Cluster`] when writing fails.
pub async fn delete(tx: &mut Tx, id: i64) -> Result<()> {
    tx.execute("DELETE FROM images WHERE id = ?", &[id.into()])
        .await
        .map(|_| ())
}

async fn insert_properties(tx: &mut Tx, id: i64, properties: &Config) -> Result<()> {
    if properties.is_empty() {
        return Ok(());
    }
    // An empty property is a property.
    let sql = "INSERT INTO images_properties (image_id, type, key, value) SELECT ?1, 0, key, value FROM json_each(?2)";
    tx.execute(sql, &[id.into(), json(properties)]).await.map(|_| ())
}

async fn insert_profiles(tx: &mut Tx, id: i64, profiles: &[String]) -> Result<()> {
    if profiles.is_empty() {
        return Ok(());
    }
    let holder = projects::effective_id_sql("i.project_id", projects::Feature::Profiles);
    let sql = format!(
        "INSERT INTO images_profiles (image_id, profile_id) SELECT ?1, f.id FROM json_each(?2) j
         JOIN images i ON i.id = ?1 JOIN profiles f ON f.name = j.value AND f.project_id = {holder} ORDER BY j.key",
    );
    let made = tx.execute(&sql, &[id.into(), json(profiles)]).await?;
    if made.rows_affected == profiles.len() as u64 {
        return Ok(());
    }
    let rows = tx
        .query(
            "SELECT j.value FROM json_each(?2) j WHERE j.value NOT IN (SELECT f.name FROM images_profiles ip
             JOIN profiles f ON f.id = ip.profile_id WHERE ip.image_id = ?1) ORDER BY j.key LIMIT 1",
            &[id.into(), json(profiles)],
        )
        .await?;
    let name = rows
        .first()
        .map(|row| row.get::<String>(0))
        .transpose()?
        .unwrap_or_default();
    Err(Error::NoProfile { name })
}

fn record(row: &Row<'_>) -> Result<Image> {
    let sources: Vec<(String, i64, String, String)> = entries::parsed(row, 16)?;
    let source = sources
        .into_iter()
        .next()
        .map(|(server, protocol, certificate, alias)| {
            Ok::<_, Error>(Source {
                server,
                protocol: ImageProtocol::from_code(protocol)?,
                certificate,
                alias,
            })
        });
    let content = NewImage {
        fingerprint: row.get(2)?,
        filename: row.get(3)?,
        size: row.get(4)?,
        public: row.get(5)?,
        architecture: architecture::name(row.get(6)?)?.to_owned(),
        created_at: time::get(row, 7)?,
        expires_at: time::get(row, 8)?,
        cached: row.get(10)?,
        auto_update: row.get(12)?,
        kind: InstanceType::from_code(row.get(13)?)?,
        properties: entries::config(row, 14)?,
        profiles: entries::parsed(row, 15)?,
        source: source.transpose()?,
    };
    let aliases: Vec<(i64, String, String)> = entries::parsed(row, 18)?;
    let alias = |(id, name, description)| aliases::Alias {
        id,
        name,
        description,
        target: content.fingerprint.clone(),
        kind: content.kind,
        public: content.public,
    };
    Ok(Image {
        id: row.get(0)?,
        project: row.get(1)?,
        uploaded_at: time::get(row, 9)?,
        last_used_at: time::get(row, 11)?,
        nodes: entries::parsed(row, 17)?,
        aliases: aliases.into_iter().map(alias).collect(),
        content,
    })
}
