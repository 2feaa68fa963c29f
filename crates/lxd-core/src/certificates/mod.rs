//! The trust list: which clients may use the API, and what for. And the server's own certificate.

mod add;
pub mod server_certificate;
#[cfg(test)]
mod tests;
mod trust;
pub mod x509;

use std::sync::Arc;

use lxd_api::certificates::{Certificate, CertificatePut};
use lxd_db::cluster::certificates as rows;
use lxd_db::cluster::certificates::Certificate as Row;
use serde_json::Value;

pub use add::{Added, add};
pub use server_certificate::ServerCertificate;
pub use trust::TrustList;

use crate::app::App;
use crate::ctx::{Caller, Ctx, DEFAULT_PROJECT};
use crate::error::{Error, Result};
use crate::etag::{self, Tagged};
use crate::events::{Action, Lifecycle};

/// The URL of a certificate.
pub fn url(fingerprint: &str) -> String {
    crate::urls::plain(&["certificates", fingerprint])
}

/// The whole trust list, by fingerprint.
///
/// # Errors
/// The caller is not trusted; the database can't be read.
pub async fn list(app: &Arc<App>, ctx: &Ctx) -> Result<Vec<Certificate>> {
    ctx.require_trusted()?;
    let mut tx = app.cluster.read().await?;
    let mut all: Vec<Certificate> = rows::list(&mut tx).await?.into_iter().map(wire).collect();
    all.sort_by(|a, b| a.fingerprint.cmp(&b.fingerprint));
    Ok(all)
}

/// One certificate, by its fingerprint or the beginning of it.
///
/// # Errors
/// Not found; more than one begins so.
pub async fn get(app: &Arc<App>, ctx: &Ctx, fingerprint: &str) -> Result<Tagged<Certificate>> {
    ctx.require_trusted()?;
    let certificate = wire(find(app, fingerprint).await?);
    let writable = CertificatePut::from(&certificate);
    Ok(Tagged::new(certificate, &writable))
}

/// Replaces what may change of a certificate. Clients that are restricted may renew their own and nothing else.
///
/// # Errors
/// Not found; forbidden; `If-Match` does not match; an unknown project; the type would change.
pub async fn update(
    app: &Arc<App>,
    ctx: &Ctx,
    fingerprint: &str,
    put: CertificatePut,
    if_match: Option<&str>,
) -> Result<()> {
    let old = find_for_change(app, ctx, fingerprint, if_match).await?;
    store(app, ctx, old, put).await
}

/// Changes some fields of a certificate.
///
/// # Errors
/// As [`update`].
pub async fn patch(
    app: &Arc<App>,
    ctx: &Ctx,
    fingerprint: &str,
    patch: Value,
    if_match: Option<&str>,
) -> Result<()> {
    let old = find_for_change(app, ctx, fingerprint, if_match).await?;
    let put = crate::patch::merge(&CertificatePut::from(&wire(old.clone())), patch)?;
    store(app, ctx, old, put).await
}

/// Takes a certificate off the list. Clients that are restricted may take off their own.
///
/// # Errors
/// Not found; forbidden.
pub async fn delete(app: &Arc<App>, ctx: &Ctx, fingerprint: &str) -> Result<()> {
    ctx.require_trusted()?;
    let row = find(app, fingerprint).await?;
    if !ctx.is_admin() && !is_own(ctx, &row) {
        return Err(Error::forbidden("Certificate cannot be deleted by this user"));
    }
    let mut tx = app.cluster.begin().await?;
    rows::delete(&mut tx, row.id).await?;
    tx.commit().await?;
    app.trust.reload(&app.cluster).await?;
    tell(app, ctx, Action::CertificateDeleted, &row.fingerprint);
    Ok(())
}

async fn find(app: &App, fingerprint: &str) -> Result<Row> {
    let mut tx = app.cluster.read().await?;
    Ok(rows::get(&mut tx, fingerprint).await?)
}

async fn find_for_change(app: &App, ctx: &Ctx, fingerprint: &str, if_match: Option<&str>) -> Result<Row> {
    ctx.require_trusted()?;
    let row = find(app, fingerprint).await?;
    if !ctx.is_admin() && !is_own(ctx, &row) {
        return Err(Error::forbidden("Certificate cannot be updated by this user"));
    }
    etag::check(if_match, &CertificatePut::from(&wire(row.clone())))?;
    Ok(row)
}

async fn store(app: &App, ctx: &Ctx, old: Row, put: CertificatePut) -> Result<()> {
    let before = wire(old.clone());
    if put.r#type != before.r#type {
        return Err(Error::forbidden("The certificate type cannot be changed"));
    }
    let only_renewed =
        put.name == before.name && put.restricted == before.restricted && put.projects == before.projects;
    if !ctx.is_admin() && !only_renewed {
        return Err(Error::forbidden(
            "Only the certificate itself can be changed by this user",
        ));
    }
    let mut new = Row {
        name: put.name,
        restricted: put.restricted,
        projects: put.projects,
        ..old.clone()
    };
    if !put.certificate.is_empty() && put.certificate != before.certificate {
        let der = x509::from_pem(&put.certificate)?;
        x509::check_dates(&der, app.clock.now().as_second())?;
        new.fingerprint = x509::fingerprint(&der);
        new.certificate = x509::to_pem(&der);
    }
    let mut tx = app.cluster.begin().await?;
    check_projects(&mut tx, &new.projects).await?;
    rows::update(&mut tx, old.id, &new).await?;
    tx.commit().await?;
    app.trust.reload(&app.cluster).await?;
    tell(app, ctx, Action::CertificateUpdated, &new.fingerprint);
    Ok(())
}

/// Refuses projects that are not there.
async fn check_projects(tx: &mut lxd_db::cluster::Tx, projects: &[String]) -> Result<()> {
    for project in projects {
        lxd_db::cluster::projects::get(tx, project).await?;
    }
    Ok(())
}

fn is_own(ctx: &Ctx, row: &Row) -> bool {
    matches!(&ctx.caller, Caller::Tls { fingerprint, .. } if *fingerprint == row.fingerprint)
}

fn tell(app: &App, ctx: &Ctx, action: Action, fingerprint: &str) {
    app.events
        .lifecycle(DEFAULT_PROJECT, &Lifecycle::new(action, url(fingerprint)).by(ctx));
}

fn wire(row: Row) -> Certificate {
    Certificate {
        r#type: row.kind.as_str().into(),
        name: row.name,
        restricted: row.restricted,
        projects: row.projects,
        certificate: row.certificate,
        fingerprint: row.fingerprint,
    }
}
