//! Commands about the clients that a server trusts.

use std::path::Path;

use jiff::Timestamp;
use lxd_api::Time;
use lxd_api::certificates::{Certificate, CertificatePut, CertificatesPost};
use lxd_client::{Etag, path};
use lxd_model::yaml;

use super::warning::long_date;
use super::{not_yet, trust_token};
use crate::context::{Context, read_stdin, stdin_is_terminal};
use crate::edit::edit;
use crate::error::{Error, Result};
use crate::render::{List, list as print_list, print_yaml, sort_rows};

/// Digits of a fingerprint that lists show.
const SHORT: usize = 12;

/// Runs a command about trusted clients.
pub(super) async fn run(cx: &Context, path: &str) -> Result<()> {
    match path {
        "config trust add" => add(cx).await,
        "config trust edit" => edit_certificate(cx).await,
        "config trust list" => list(cx).await,
        "config trust list-tokens" => trust_token::list(cx).await,
        "config trust revoke-token" => trust_token::revoke(cx).await,
        "config trust remove" => remove(cx).await,
        "config trust show" => show(cx).await,
        _ => not_yet(),
    }
}

async fn add(cx: &Context) -> Result<()> {
    let words = cx.arguments();
    let (remote, file) = match words {
        [file] if !file.ends_with(':') => (cx.resource("")?, file),
        [remote, file] => (cx.resource(remote)?, file),
        // Without a certificate it is a token for one.
        _ => {
            let remote = cx.resource_or_default(0)?;
            return trust_token::add(cx, &remote, request(cx, cx.text("name").to_owned())).await;
        }
    };
    let file = Path::new(file);
    let failed = |source: std::io::Error| {
        let reason = source
            .to_string()
            .split(" (os error")
            .next()
            .unwrap_or_default()
            .to_lowercase();
        Error::message(format!("open {}: {reason}", file.display()))
    };
    let pem = std::fs::read_to_string(file).map_err(failed)?;
    let certificate = lxd_client::Certificate::from_pem(&pem)?;
    let name = match cx.text("name") {
        "" => file
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned(),
        name => name.to_owned(),
    };
    let request = CertificatesPost {
        certificate: certificate.base64(),
        ..request(cx, name)
    };
    Ok(remote.client.create(&path(&["certificates"]), &request).await?)
}

/// What the flags say about a new client.
fn request(cx: &Context, name: String) -> CertificatesPost {
    CertificatesPost {
        name,
        r#type: cx.text("type").into(),
        restricted: cx.switch("restricted"),
        projects: split(cx.text("projects")),
        ..CertificatesPost::default()
    }
}

fn split(projects: &str) -> Vec<String> {
    projects
        .split(',')
        .map(str::trim)
        .filter(|project| !project.is_empty())
        .map(str::to_owned)
        .collect()
}

async fn remove(cx: &Context) -> Result<()> {
    let (remote, fingerprint) = match cx.arguments() {
        [remote, fingerprint] => (cx.resource(remote)?, fingerprint.clone()),
        _ => {
            let named = cx.named(cx.argument(0), "certificate fingerprint")?;
            let name = named.name.clone();
            (named, name)
        }
    };
    Ok(remote
        .client
        .remove(&path(&["certificates", &fingerprint]))
        .await?)
}

async fn show(cx: &Context) -> Result<()> {
    let named = cx.named(cx.argument(0), "certificate fingerprint")?;
    let certificate: Certificate = named.client.get(&path(&["certificates", &named.name])).await?;
    print_yaml(&certificate)
}

async fn edit_certificate(cx: &Context) -> Result<()> {
    let named = cx.named(cx.argument(0), "certificate fingerprint")?;
    let at = path(&["certificates", &named.name]);
    if !stdin_is_terminal() {
        let change: CertificatePut = yaml::from_str(&read_stdin()?)?;
        return Ok(named.client.replace(&at, &change, &Etag::default()).await?);
    }
    let (certificate, etag): (Certificate, Etag) = named.client.get_with_etag(&at).await?;
    let text = format!(
        "### The trusted client as YAML. Lines that begin with # are left out, and so are changes of its fingerprint.\n\n{}",
        yaml::to_string(&certificate)?
    );
    edit(&text, async |text| {
        let change: CertificatePut = yaml::from_str(text)?;
        Ok(named.client.replace(&at, &change, &etag).await?)
    })
    .await
}

async fn list(cx: &Context) -> Result<()> {
    let remote = cx.resource_or_default(0)?;
    let certificates: Vec<Certificate> = remote.client.get("/1.0/certificates?recursion=1").await?;
    let mut rows = Vec::new();
    for certificate in &certificates {
        rows.push(row(certificate)?);
    }
    sort_rows(&mut rows);
    let header = [
        "TYPE",
        "NAME",
        "COMMON NAME",
        "FINGERPRINT",
        "ISSUE DATE",
        "EXPIRY DATE",
    ];
    print_list(
        cx.text("format"),
        &List {
            header: &header,
            rows: &rows,
            raw: &certificates,
        },
    )
}

fn row(certificate: &Certificate) -> Result<Vec<String>> {
    let parsed = lxd_client::Certificate::from_pem(&certificate.certificate)?;
    let unreadable = || Error::message(format!("Can't read the certificate {}", certificate.fingerprint));
    let (_, x509) = x509_parser::parse_x509_certificate(parsed.der()).map_err(|_| unreadable())?;
    let common = x509
        .subject()
        .iter_common_name()
        .next()
        .and_then(|name| name.as_str().ok());
    let date = |seconds: i64| {
        let at = Timestamp::from_second(seconds).unwrap_or(Timestamp::UNIX_EPOCH);
        long_date(&Time::from(at))
    };
    Ok(vec![
        certificate.r#type.clone(),
        certificate.name.clone(),
        common.unwrap_or_default().to_owned(),
        certificate.fingerprint.chars().take(SHORT).collect(),
        date(x509.validity().not_before.timestamp()),
        date(x509.validity().not_after.timestamp()),
    ])
}
