//! Certificates of clients and members that are trusted.

use super::Tx;
use super::codes::CertificateType;
use super::entries::{self, json};
use crate::{Error, Noun, Result};

const SELECT: &str = "SELECT c.id, c.fingerprint, c.type, c.name, c.certificate, c.restricted,
     (SELECT json_group_array(name) FROM (SELECT p.name FROM certificates_projects x
       JOIN projects p ON p.id = x.project_id WHERE x.certificate_id = c.id ORDER BY p.name)) AS projects
     FROM certificates c";

/// A trusted certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certificate {
    /// Its row's id; ignored when one is made.
    pub id: i64,
    /// SHA-256 of its DER form, in hexadecimal.
    pub fingerprint: String,
    /// What it is trusted for.
    pub kind: CertificateType,
    /// Its name.
    pub name: String,
    /// Itself, in PEM.
    pub certificate: String,
    /// Whether only `projects` are open to it.
    pub restricted: bool,
    /// The projects that are open to it, sorted.
    pub projects: Vec<String>,
}

/// One certificate by the beginning of its fingerprint.
///
/// # Errors
/// [`Error::NotFound`], [`Error::Ambiguous`].
pub async fn get(tx: &mut Tx, fingerprint: &str) -> Result<Certificate> {
    let sql = format!(
        "{SELECT} WHERE c.fingerprint >= ?1 AND c.fingerprint < ?1 || 'g' ORDER BY c.fingerprint LIMIT 2"
    );
    let rows = tx.query(&sql, &[fingerprint.into()]).await?;
    let mut found = rows.iter().map(|row| record(&row)).collect::<Result<Vec<_>>>()?;
    match (found.pop(), found.pop()) {
        (Some(certificate), None) if !fingerprint.is_empty() => Ok(certificate),
        (Some(_), Some(_)) => Err(Error::Ambiguous {
            noun: Noun::Certificate,
            name: fingerprint.to_owned(),
        }),
        _ => Err(Error::not_found(Noun::Certificate, fingerprint)),
    }
}

/// All certificates, by id.
///
/// # Errors
/// [`Error::Cluster`] when reading fails.
pub async fn list(tx: &mut Tx) -> Result<Vec<Certificate>> {
    let rows = tx.query(&format!("{SELECT} ORDER BY c.id"), &[]).await?;
    rows.iter().map(|row| record(&row)).collect()
}

/// Trusts a certificate and gives its row's id.
///
/// # Errors
/// [`Error::Taken`], [`Error::NotFound`] for a project.
pub async fn create(tx: &mut Tx, new: &Certificate) -> Result<i64> {
    let sql =
        "INSERT INTO certificates (fingerprint, type, name, certificate, restricted) VALUES (?, ?, ?, ?, ?)";
    let values = [
        new.fingerprint.as_str().into(),
        new.kind.code().into(),
        new.name.as_str().into(),
        new.certificate.as_str().into(),
        i64::from(new.restricted).into(),
    ];
    let made = tx.execute(sql, &values).await;
    let id = made
        .map_err(|error| error.taken(Noun::Certificate, &new.fingerprint))?
        .last_insert_id;
    insert_projects(tx, id, &new.projects).await?;
    Ok(id)
}

/// Replaces all but the certificate's id.
///
/// # Errors
/// [`Error::Taken`], [`Error::NotFound`] for a project.
pub async fn update(tx: &mut Tx, id: i64, new: &Certificate) -> Result<()> {
    let sql = "UPDATE certificates SET fingerprint = ?, type = ?, name = ?, certificate = ?, restricted = ? WHERE id = ?";
    let values = [
        new.fingerprint.as_str().into(),
        new.kind.code().into(),
        new.name.as_str().into(),
        new.certificate.as_str().into(),
        i64::from(new.restricted).into(),
        id.into(),
    ];
    let changed = tx.execute(sql, &values).await;
    changed.map_err(|error| error.taken(Noun::Certificate, &new.fingerprint))?;
    tx.execute(
        "DELETE FROM certificates_projects WHERE certificate_id = ?",
        &[id.into()],
    )
    .await?;
    insert_projects(tx, id, &new.projects).await
}

/// Trusts a certificate no more.
///
/// # Errors
/// [`Error::Cluster`] when writing fails.
pub async fn delete(tx: &mut Tx, id: i64) -> Result<()> {
    tx.execute("DELETE FROM certificates WHERE id = ?", &[id.into()])
        .await
        .map(|_| ())
}

async fn insert_projects(tx: &mut Tx, id: i64, projects: &[String]) -> Result<()> {
    if projects.is_empty() {
        return Ok(());
    }
    let sql = "INSERT INTO certificates_projects (certificate_id, project_id)
         SELECT ?1, p.id FROM projects p WHERE p.name IN (SELECT value FROM json_each(?2))";
    tx.execute(sql, &[id.into(), json(projects)]).await?;
    let sql = "SELECT j.value FROM json_each(?) j WHERE j.value NOT IN (SELECT name FROM projects) LIMIT 1";
    match tx.query(sql, &[json(projects)]).await?.first() {
        Some(row) => Err(Error::not_found(Noun::Project, row.get::<String>(0)?)),
        None => Ok(()),
    }
}

fn record(row: &dqlite::Row<'_>) -> Result<Certificate> {
    Ok(Certificate {
        id: row.get(0)?,
        fingerprint: row.get(1)?,
        kind: CertificateType::from_code(row.get(2)?)?,
        name: row.get(3)?,
        certificate: row.get(4)?,
        restricted: row.get(5)?,
        projects: entries::parsed(row, 6)?,
    })
}
