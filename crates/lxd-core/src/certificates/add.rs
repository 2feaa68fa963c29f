//! Adding a client to the trust list: by somebody trusted, by the trust password, or by a token.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use lxd_api::Time;
use lxd_api::certificates::{CertificateAddToken, CertificatesPost};
use lxd_db::cluster::certificates as rows;
use lxd_db::cluster::certificates::Certificate as Row;
use serde_json::json;
use subtle::ConstantTimeEq as _;

use lxd_db::cluster::CertificateType;

use super::{check_projects, tell, x509};
use crate::app::App;
use crate::ctx::{Caller, Ctx};
use crate::error::{Error, Result};
use crate::events::Action;
use crate::operations::{Class, Kind, Operation, Options, Status, secret};
use crate::server;

/// What came of a request.
pub enum Added {
    /// The certificate is trusted now; its fingerprint.
    Certificate(String),
    /// A token was made; the operation holds it.
    Token(Operation),
}

/// Adds a certificate, or makes a token that lets a client add its own.
///
/// # Errors
/// Forbidden to those who are neither trusted nor know the password or a token; a wrong type; no or a bad certificate;
/// an unknown project; the certificate is on the list already.
pub async fn add(app: &Arc<App>, ctx: &Ctx, post: CertificatesPost) -> Result<Added> {
    let mut post = post;
    if ctx.is_admin() {
        if post.token {
            return token(app, ctx, post).await.map(Added::Token);
        }
    } else {
        post = admit(app, ctx, post).await?;
    }
    if post.r#type.is_empty() && post.certificate.is_empty() && ctx.is_trusted() {
        return Err(Error::bad_request("Client is already trusted"));
    }
    let kind = match CertificateType::from_word(&post.r#type) {
        Some(kind) if kind != CertificateType::Server || ctx.is_admin() => kind,
        _ => return Err(Error::bad_request("Invalid certificate type")),
    };
    let der = presented(ctx, &post)?;
    x509::check_dates(&der, app.clock.now().as_second())?;
    let name = if post.name.is_empty() {
        name_of(ctx, &der)?
    } else {
        post.name
    };
    let row = Row {
        id: 0,
        fingerprint: x509::fingerprint(&der),
        kind,
        name,
        certificate: x509::to_pem(&der),
        restricted: post.restricted,
        projects: post.projects,
    };
    let mut tx = app.cluster.begin().await?;
    check_projects(&mut tx, &row.projects).await?;
    let known = rows::list(&mut tx).await?;
    if known
        .iter()
        .any(|certificate| certificate.fingerprint == row.fingerprint)
    {
        return Err(Error::conflict("Certificate already in trust store"));
    }
    rows::create(&mut tx, &row).await?;
    tx.commit().await?;
    app.trust.reload(&app.cluster).await?;
    tell(app, ctx, Action::CertificateCreated, &row.fingerprint);
    Ok(Added::Certificate(row.fingerprint))
}

/// Lets in who is not an admin: with the trust password, or with a token, whose wishes then replace the request's.
async fn admit(app: &Arc<App>, ctx: &Ctx, post: CertificatesPost) -> Result<CertificatesPost> {
    let refused = || Error::forbidden("not authorized");
    if ctx.is_trusted() {
        return Err(Error::bad_request("Client is already trusted"));
    }
    if post.password.is_empty() || post.token {
        return Err(refused());
    }
    if let Some(granted) = redeem(app, &post) {
        return Ok(granted);
    }
    let stored = app.config.get("core.trust_password");
    if stored.is_empty() || !server::password::verify(&stored, post.password.clone()).await? {
        tracing::warn!(address = ctx.address, "Bad trust password");
        return Err(refused());
    }
    // What a stranger asks for beyond being a client is not granted by the password.
    Ok(CertificatesPost {
        restricted: false,
        projects: Vec::new(),
        r#type: "client".into(),
        ..post
    })
}

/// Uses a token up; gives the request as whoever made the token wished it.
fn redeem(app: &Arc<App>, post: &CertificatesPost) -> Option<CertificatesPost> {
    let token = decode_token(&post.password)?;
    let running = app.operations.running();
    let found = running.into_iter().find(|operation| {
        let metadata = operation.metadata();
        let own = metadata
            .get("secret")
            .and_then(serde_json::Value::as_str)
            .unwrap_or_default();
        operation.class() == Class::Token
            && operation.kind() == Some(Kind::CertificateAddToken)
            && operation.status() == Status::Running
            && own.as_bytes().ct_eq(token.secret.as_bytes()).into()
    })?;
    let metadata = found.metadata();
    let is_over = metadata.get("expiresAt").is_some_and(|at| {
        serde_json::from_value::<Time>(at.clone())
            .is_ok_and(|at| !at.is_never() && at.timestamp() < app.clock.now())
    });
    app.operations.finish_token(&found);
    if is_over {
        return None;
    }
    let wished: CertificatesPost = serde_json::from_value(metadata.get("request")?.clone()).ok()?;
    Some(CertificatesPost {
        certificate: post.certificate.clone(),
        token: false,
        ..wished
    })
}

/// A token is JSON in base64.
fn decode_token(text: &str) -> Option<CertificateAddToken> {
    let bytes = STANDARD.decode(text.trim()).ok()?;
    let token: CertificateAddToken = serde_json::from_slice(&bytes).ok()?;
    (!token.secret.is_empty()).then_some(token)
}

async fn token(app: &Arc<App>, ctx: &Ctx, post: CertificatesPost) -> Result<Operation> {
    if CertificateType::from_word(&post.r#type).is_none() {
        return Err(Error::bad_request("Invalid certificate type"));
    }
    let mut tx = app.cluster.read().await?;
    check_projects(&mut tx, &post.projects).await?;
    drop(tx);
    let addresses = server::addresses(&app.config.get("core.https_address")).await?;
    if addresses.is_empty() {
        return Err(Error::bad_request(
            "Can't issue token when server isn't listening on network",
        ));
    }
    let mut options = Options::token(Kind::CertificateAddToken)
        .metadata("addresses", json!(addresses))
        .metadata("fingerprint", app.server_certificate().fingerprint.clone())
        .metadata("request", serde_json::to_value(&post).unwrap_or_default())
        .metadata("secret", secret());
    let lifetime = app.config.get("core.remote_token_expiry");
    if let Some(end) = lxd_model::units::expiry(app.clock.now(), &lifetime)? {
        options = options.metadata("expiresAt", json!(Time::from(end)));
    }
    app.operations.token(ctx, options)
}

/// The certificate of a request: the body's, else the one that the client showed.
fn presented(ctx: &Ctx, post: &CertificatesPost) -> Result<Vec<u8>> {
    if !post.certificate.is_empty() {
        return x509::from_base64(&post.certificate);
    }
    match &ctx.caller {
        Caller::Untrusted {
            certificate: Some(der),
        } => Ok(der.clone()),
        Caller::Untrusted { certificate: None } => Err(Error::bad_request("No client certificate provided")),
        _ => Err(Error::bad_request("Client is already trusted")),
    }
}

/// The name of a certificate that was given none: its own, else where it came from.
fn name_of(ctx: &Ctx, der: &[u8]) -> Result<String> {
    let own = x509::common_name(der)?;
    if !own.is_empty() {
        return Ok(own);
    }
    Ok(ctx
        .address
        .rsplit_once(':')
        .map_or(ctx.address.as_str(), |(host, _)| host)
        .to_owned())
}
