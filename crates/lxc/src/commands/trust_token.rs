//! Tokens that let clients add their own certificates.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use lxd_api::certificates::{CertificateAddToken, CertificatesPost};
use lxd_api::operations::Operation;
use lxd_client::path;
use serde::Serialize;

use crate::context::{Context, Resource, ask_line};
use crate::error::{Error, Result};
use crate::render::{List, list as print_list, print_line, sort_rows};

/// Lets the server make a token, and prints it.
pub(super) async fn add(cx: &Context, remote: &Resource, mut request: CertificatesPost) -> Result<()> {
    if request.name.is_empty() {
        let name = ask_line("Please provide client name: ")?;
        request.name = name.ok_or_else(|| Error::message("EOF"))?;
    }
    request.token = true;
    let made = remote.client.start(&path(&["certificates"]), &request).await?;
    let operation = made.operation().cloned().unwrap_or_default();
    let token = token(&operation).ok_or_else(|| Error::message("The server did not make a token"))?;
    cx.tell(&format!("Client {} certificate add token:", request.name))?;
    print_line(&encode(&token))
}

/// A token as lists show it.
#[derive(Serialize)]
struct Shown {
    #[serde(rename = "ClientName")]
    client_name: String,
    #[serde(rename = "Token")]
    token: String,
    #[serde(rename = "ExpiresAt")]
    expires_at: String,
}

/// The same in YAML, which knows no capitals.
#[derive(Serialize)]
struct ShownInYaml<'a> {
    clientname: &'a str,
    token: &'a str,
    expiresat: &'a str,
}

/// Lists the tokens that nobody has used yet.
pub(super) async fn list(cx: &Context) -> Result<()> {
    let remote = cx.resource_or_default(0)?;
    let tokens: Vec<Shown> = open(&remote)
        .await?
        .into_iter()
        .map(|(_, token)| Shown {
            token: encode(&token),
            expires_at: match token.expires_at == lxd_api::Time::default() {
                true => String::new(),
                false => token
                    .expires_at
                    .timestamp()
                    .strftime("%Y/%m/%d %H:%M UTC")
                    .to_string(),
            },
            client_name: token.client_name,
        })
        .collect();
    let row = |shown: &Shown| {
        vec![
            shown.client_name.clone(),
            shown.token.clone(),
            shown.expires_at.clone(),
        ]
    };
    let mut rows: Vec<_> = tokens.iter().map(row).collect();
    sort_rows(&mut rows);
    let header = ["NAME", "TOKEN", "EXPIRES AT"];
    if cx.text("format") == "yaml" {
        let raw: Vec<_> = tokens
            .iter()
            .map(|shown| ShownInYaml {
                clientname: &shown.client_name,
                token: &shown.token,
                expiresat: &shown.expires_at,
            })
            .collect();
        return print_list(
            "yaml",
            &List {
                header: &header,
                rows: &rows,
                raw: &raw,
            },
        );
    }
    print_list(
        cx.text("format"),
        &List {
            header: &header,
            rows: &rows,
            raw: &tokens,
        },
    )
}

/// Takes a token back.
pub(super) async fn revoke(cx: &Context) -> Result<()> {
    let remote = cx.resource(cx.argument(0))?;
    let name = &remote.name;
    let found = open(&remote)
        .await?
        .into_iter()
        .find(|(_, token)| token.client_name == *name);
    let Some((id, _)) = found else {
        return Err(Error::message(format!(
            "No certificate add token for member {name} on remote: {}",
            remote.remote
        )));
    };
    remote.client.remove(&path(&["operations", &id])).await?;
    if cx.is_quiet() {
        return Ok(());
    }
    print_line(&format!("Certificate add token for {name} deleted"))
}

/// A token as users hand it on.
fn encode(token: &CertificateAddToken) -> String {
    STANDARD.encode(serde_json::to_string(token).unwrap_or_default())
}

/// The operations that hold tokens, by their ids.
async fn open(remote: &Resource) -> Result<Vec<(String, CertificateAddToken)>> {
    let client = remote.client.in_project("default");
    let by_status: std::collections::BTreeMap<String, Vec<Operation>> =
        client.get("/1.0/operations?recursion=1").await?;
    let running = by_status.into_iter().filter(|(status, _)| status == "running");
    let open = running.flat_map(|(_, operations)| operations);
    Ok(open
        .filter_map(|operation| Some((operation.id.clone(), token(&operation)?)))
        .collect())
}

/// The token that an operation holds, if it is one of these.
fn token(operation: &Operation) -> Option<CertificateAddToken> {
    let metadata = &operation.metadata;
    let text = |name: &str| metadata.get(name)?.as_str().map(str::to_owned);
    let addresses = metadata.get("addresses")?.as_array()?;
    if operation.class != "token" {
        return None;
    }
    Some(CertificateAddToken {
        client_name: metadata.get("request")?.get("name")?.as_str()?.to_owned(),
        fingerprint: text("fingerprint")?,
        addresses: addresses
            .iter()
            .filter_map(|address| address.as_str().map(str::to_owned))
            .collect(),
        secret: text("secret")?,
        expires_at: text("expiresAt")
            .and_then(|time| time.parse().ok())
            .unwrap_or_default(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_read_from_operations() {
        let mut operation: Operation = serde_json::from_value(serde_json::json!({
            "id": "x", "class": "token", "metadata": {
                "addresses": ["10.0.0.1:8443"], "fingerprint": "f", "secret": "s", "request": {"name": "foo"}
            }
        }))
        .unwrap();
        let found = token(&operation).unwrap();
        assert_eq!(
            serde_json::to_string(&found).unwrap(),
            r#"{"client_name":"foo","fingerprint":"f","addresses":["10.0.0.1:8443"],"secret":"s","expires_at":"0001-01-01T00:00:00Z"}"#
        );
        operation.class = "task".into();
        assert!(token(&operation).is_none());
    }
}
