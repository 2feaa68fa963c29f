//! Commands about the servers that the user works with.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use http::Method;
use lxd_api::certificates::{CertificateAddToken, CertificatesPost};
use lxd_api::projects::Project;
use lxd_api::server::Server;
use lxd_client::{Certificate, Client, KeyPair, Tls, Trust, path, server_certificate};
use serde::Serialize;

use super::not_yet;
use crate::config::Remote;
use crate::context::{Context, ask_line};
use crate::error::{Error, Result};
use crate::render::{List, list as print_list, print_line, sort_rows};

/// The port of a server that is named without one.
const PORT: u16 = 8443;

/// Runs a command about remotes.
pub(super) async fn run(cx: &mut Context, path: &str) -> Result<()> {
    match path {
        "remote add" => add(cx).await,
        "remote get-default" => print_line(cx.config.default_remote()),
        "remote list" => list(cx),
        "remote remove" => remove(cx),
        "remote rename" => rename(cx),
        "remote set-url" => set_url(cx),
        "remote switch" => switch(cx),
        _ => not_yet(),
    }
}

fn missing(name: &str) -> Error {
    Error::message(format!("Remote {name} doesn't exist"))
}

fn list(cx: &Context) -> Result<()> {
    let yes = |is: bool| if is { "YES" } else { "NO" }.to_owned();
    let row = |(name, remote): (&String, &Remote)| {
        let auth = match remote.auth_type.as_str() {
            _ if name == "local" => "file access",
            _ if remote.is_simplestreams() => "none",
            "" => "tls",
            auth => auth,
        };
        let protocol = if remote.protocol.is_empty() {
            "lxd"
        } else {
            &remote.protocol
        };
        let mut shown = name.clone();
        if name == cx.config.default_remote() {
            shown.push_str(" (current)");
        }
        let (addr, protocol, auth) = (remote.addr.clone(), protocol.to_owned(), auth.to_owned());
        vec![
            shown,
            addr,
            protocol,
            auth,
            yes(remote.public),
            yes(remote.fixed),
            yes(remote.global),
        ]
    };
    let mut rows: Vec<_> = cx.config.remotes().iter().map(row).collect();
    sort_rows(&mut rows);
    let header = [
        "NAME",
        "URL",
        "PROTOCOL",
        "AUTH TYPE",
        "PUBLIC",
        "STATIC",
        "GLOBAL",
    ];
    if cx.text("format") == "json" {
        let shown: BTreeMap<&String, Shown> = cx
            .config
            .remotes()
            .iter()
            .map(|(name, remote)| (name, Shown::from(remote)))
            .collect();
        return print_list(
            "json",
            &List {
                header: &header,
                rows: &rows,
                raw: &shown,
            },
        );
    }
    print_list(
        cx.text("format"),
        &List {
            header: &header,
            rows: &rows,
            raw: cx.config.remotes(),
        },
    )
}

/// A remote in JSON, which has the reference's names of fields.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Shown {
    addr: String,
    auth_type: String,
    domain: String,
    project: String,
    protocol: String,
    public: bool,
    global: bool,
    r#static: bool,
}

impl From<&Remote> for Shown {
    fn from(remote: &Remote) -> Self {
        let remote = remote.clone();
        Self {
            addr: remote.addr,
            auth_type: remote.auth_type,
            domain: remote.domain,
            project: remote.project,
            protocol: remote.protocol,
            public: remote.public,
            global: remote.global,
            r#static: remote.fixed,
        }
    }
}

fn changeable<'a>(cx: &'a Context, name: &str) -> Result<&'a Remote> {
    let remote = cx.config.remotes().get(name).ok_or_else(|| missing(name))?;
    if remote.fixed {
        return Err(Error::message(format!(
            "Remote {name} is static and cannot be modified"
        )));
    }
    Ok(remote)
}

fn remove(cx: &mut Context) -> Result<()> {
    let name = cx.argument(0).to_owned();
    if changeable(cx, &name)?.global {
        return Err(Error::message(format!(
            "Remote {name} is global and cannot be removed"
        )));
    }
    if cx.config.default_remote() == name {
        return Err(Error::message("Can't remove the default remote"));
    }
    cx.config.remotes_mut().remove(&name);
    let _ = std::fs::remove_file(cx.config.server_certificate_file(&name));
    cx.config.save()
}

fn rename(cx: &mut Context) -> Result<()> {
    let (old, new) = (cx.argument(0).to_owned(), cx.argument(1).to_owned());
    let remote = Remote {
        global: false,
        ..changeable(cx, &old)?.clone()
    };
    if cx.config.remotes().contains_key(&new) {
        return Err(Error::message(format!("Remote {new} already exists")));
    }
    // What is everybody's stays where it is.
    if let Some(certificate) = cx.config.server_certificate(&old)? {
        cx.config.accept_server_certificate(&new, &certificate)?;
        cx.config.forget_server_certificate(&old)?;
    }
    cx.config.remotes_mut().remove(&old);
    cx.config.remotes_mut().insert(new.clone(), remote);
    if cx.config.default_remote() == old {
        cx.config.set_default_remote(&new);
    }
    cx.config.save()
}

fn set_url(cx: &mut Context) -> Result<()> {
    let (name, url) = (cx.argument(0).to_owned(), cx.argument(1).to_owned());
    changeable(cx, &name)?;
    if let Some(remote) = cx.config.remotes_mut().get_mut(&name) {
        remote.addr = url;
        remote.global = false;
    }
    cx.config.save()
}

fn switch(cx: &mut Context) -> Result<()> {
    let name = cx.argument(0).to_owned();
    if !cx.config.remotes().contains_key(&name) {
        return Err(missing(&name));
    }
    cx.config.set_default_remote(&name);
    cx.config.save()
}

async fn add(cx: &mut Context) -> Result<()> {
    let address = cx.arguments().last().cloned().ok_or(Error::Count)?;
    let token = decode_token(&address);
    let name = match (cx.arguments(), &token) {
        // A token says for whom it was made.
        ([_], Some(token)) => token.client_name.clone(),
        _ => cx.argument(0).to_owned(),
    };
    if name.contains(':') {
        return Err(Error::message("Remote names may not contain colons"));
    }
    if let Some(remote) = cx.config.remotes().get(&name) {
        return Err(Error::message(format!(
            "Remote {name} exists as <{}>",
            remote.addr
        )));
    }
    let remote = match cx.text("protocol") {
        _ if token.is_some() => by_token(cx, &name, &address, &token.unwrap_or_default()).await?,
        "simplestreams" => {
            if !address.starts_with("https://") {
                return Err(Error::message("Only https URLs are supported for simplestreams"));
            }
            Remote {
                addr: address,
                protocol: "simplestreams".into(),
                public: true,
                ..Remote::default()
            }
        }
        "" | "lxd" if address.starts_with("unix:") || address.starts_with('/') => {
            by_socket(cx, &name, &address).await?
        }
        "" | "lxd" if cx.switch("public") => {
            let addr = https(&address)?;
            let client = meet(cx, &name, &addr, None).await?;
            client.get::<Server>("/1.0").await?;
            Remote {
                addr,
                public: true,
                ..Remote::default()
            }
        }
        "" | "lxd" => by_password(cx, &name, https(&address)?).await?,
        other => return Err(Error::message(format!("Invalid protocol: {other}"))),
    };
    cx.config.remotes_mut().insert(name, remote);
    cx.config.save()
}

/// What a server hands out so that a client may make itself known.
fn decode_token(text: &str) -> Option<CertificateAddToken> {
    let bytes = BASE64_STANDARD.decode(text).ok()?;
    let token: CertificateAddToken = serde_json::from_slice(&bytes).ok()?;
    let is_whole = !token.addresses.is_empty() && !token.secret.is_empty() && !token.fingerprint.is_empty();
    is_whole.then_some(token)
}

/// An LXD at an address that knows this client, or will.
fn known(cx: &Context, addr: String) -> Remote {
    let auth_type = match cx.text("auth-type") {
        "" => "tls",
        auth => auth,
    };
    Remote {
        addr,
        auth_type: auth_type.into(),
        domain: cx.text("domain").into(),
        project: cx.text("project").into(),
        protocol: "lxd".into(),
        ..Remote::default()
    }
}

async fn by_socket(cx: &mut Context, name: &str, address: &str) -> Result<Remote> {
    let path = address.trim_start_matches("unix:").trim_start_matches("//");
    let mut remote = known(cx, format!("unix://{path}"));
    cx.config.remotes_mut().insert(name.to_owned(), remote.clone());
    let client = cx.client(name)?;
    client.get::<Server>("/1.0").await?;
    remote.project = chosen_project(&client, &remote.project).await?;
    Ok(remote)
}

async fn by_password(cx: &Context, name: &str, addr: String) -> Result<Remote> {
    let mut remote = known(cx, addr);
    let identity = identity(cx)?;
    let client = meet(cx, name, &remote.addr, Some(identity)).await?;
    let server: Server = client.get("/1.0").await?;
    if !server.auth_methods.contains(&remote.auth_type) {
        return Err(Error::message(format!(
            "Authentication type '{}' not supported by server",
            remote.auth_type
        )));
    }
    if server.auth != "trusted" {
        become_trusted(cx, &client, name).await?;
    }
    remote.project = chosen_project(&client, &remote.project).await?;
    Ok(remote)
}

/// Meets the server that a token is for, and uses the token up.
async fn by_token(cx: &Context, name: &str, text: &str, token: &CertificateAddToken) -> Result<Remote> {
    let identity = identity(cx)?;
    let mut failure = Error::message("The token names no address");
    for address in &token.addresses {
        let mut remote = known(cx, https(address)?);
        let shown = match server_certificate(&remote.addr).await {
            Ok(shown) => shown,
            Err(error) => {
                failure = error.into();
                continue;
            }
        };
        if shown.fingerprint() != token.fingerprint {
            failure = Error::message(format!(
                "Certificate fingerprint mismatch between certificate token and server {address:?}"
            ));
            continue;
        }
        let tls = Tls {
            trust: Trust::Pinned(shown.clone()),
            identity: Some(identity.clone()),
        };
        let client = Client::https(&remote.addr, &tls)?;
        introduce(&client, text)
            .await
            .map_err(|error| Error::message(format!("Failed to create certificate: {error}")))?;
        cx.config.accept_server_certificate(name, &shown)?;
        remote.project = chosen_project(&client, &remote.project).await?;
        return Ok(remote);
    }
    Err(failure)
}

/// The URL of a server that was given as address, host name or URL.
fn https(address: &str) -> Result<String> {
    if let Some((scheme, _)) = address.split_once("://")
        && scheme != "https"
    {
        return Err(Error::message(format!(
            "Invalid URL scheme \"{scheme}\" in \"{address}\""
        )));
    }
    let host = address.trim_start_matches("https://").trim_end_matches('/');
    let bare_v6 = host.parse::<std::net::Ipv6Addr>().is_ok();
    let has_port = !bare_v6
        && host.rsplit_once(':').is_some_and(|(before, port)| {
            port.parse::<u16>().is_ok() && (!before.contains(':') || before.ends_with(']'))
        });
    let host = if bare_v6 {
        format!("[{host}]")
    } else {
        host.to_owned()
    };
    Ok(if has_port {
        format!("https://{host}")
    } else {
        format!("https://{host}:{PORT}")
    })
}

/// The client's certificate, which is made where there is none.
fn identity(cx: &Context) -> Result<KeyPair> {
    if !cx.config.has_identity() {
        eprintln!("Generating a client certificate. This may take a minute...");
    }
    cx.config.make_identity(&identity_name())
}

/// Meets a server. Its certificate is kept, unless an authority vouches for it or the user does not accept it.
async fn meet(cx: &Context, name: &str, addr: &str, identity: Option<KeyPair>) -> Result<Client> {
    let shown = server_certificate(addr).await?;
    let known = cx.config.server_certificate(name)?;
    if known.as_ref() != Some(&shown) {
        let trust = Trust::Authorities;
        let identity = identity.clone();
        let client = Client::https(addr, &Tls { trust, identity })?;
        if client.raw(Method::GET, "/1.0", Bytes::new()).await.is_ok() {
            // One that was accepted earlier would be believed in its place.
            cx.config.forget_server_certificate(name)?;
            return Ok(client);
        }
        accept(cx, &shown)?;
        cx.config.accept_server_certificate(name, &shown)?;
    }
    let trust = Trust::Pinned(shown);
    Ok(Client::https(addr, &Tls { trust, identity })?)
}

/// Lets the user look at a certificate that nobody vouches for.
fn accept(cx: &Context, shown: &Certificate) -> Result<()> {
    if cx.switch("accept-certificate") {
        return Ok(());
    }
    print_line(&format!("Certificate fingerprint: {}", shown.fingerprint()))?;
    loop {
        let answer = answer("ok (y/n/[fingerprint])? ")?;
        if answer == shown.fingerprint() || answer.to_lowercase().starts_with('y') {
            return Ok(());
        }
        if answer.is_empty() || answer.to_lowercase().starts_with('n') {
            return Err(Error::message("Server certificate NACKed by user"));
        }
    }
}

async fn become_trusted(cx: &Context, client: &Client, name: &str) -> Result<()> {
    let password = match cx.text("password") {
        "" => ask_hidden(&format!("Admin password (or token) for {name}: "))?,
        password => password.to_owned(),
    };
    introduce(client, &password).await?;
    let server: Server = client.get("/1.0").await?;
    if server.auth != "trusted" {
        return Err(Error::message("Server doesn't trust us after authentication"));
    }
    print_line(&format!("Client certificate now trusted by server: {name}"))
}

/// Makes the server know this client.
async fn introduce(client: &Client, password: &str) -> Result<()> {
    let request = CertificatesPost {
        password: password.to_owned(),
        r#type: "client".into(),
        ..CertificatesPost::default()
    };
    Ok(client.create(&path(&["certificates"]), &request).await?)
}

/// Asks a question that must be answered.
fn answer(question: &str) -> Result<String> {
    ask_line(question)?.ok_or_else(|| Error::message("EOF"))
}

/// Asks without showing what is typed.
fn ask_hidden(question: &str) -> Result<String> {
    use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};

    let stdin = std::io::stdin();
    let Ok(before) = tcgetattr(&stdin) else {
        let answer = answer(question)?;
        print_line("")?;
        return Ok(answer);
    };
    let mut hidden = before.clone();
    hidden.local_modes.remove(LocalModes::ECHO);
    let failed = |source: rustix::io::Errno| Error::Terminal {
        doing: "Failed to hide the password",
        source: source.into(),
    };
    tcsetattr(&stdin, OptionalActions::Flush, &hidden).map_err(failed)?;
    let answer = answer(question);
    tcsetattr(&stdin, OptionalActions::Flush, &before).map_err(failed)?;
    print_line("")?;
    answer
}

/// The project that commands work in: the wanted one if there is such, or the only one that the client may see.
async fn chosen_project(client: &Client, wanted: &str) -> Result<String> {
    if !wanted.is_empty() {
        let project: Project = client.get(&path(&["projects", wanted])).await?;
        return Ok(project.name);
    }
    let projects: Vec<Project> = client.get("/1.0/projects?recursion=1").await?;
    Ok(match projects.as_slice() {
        [only] => only.name.clone(),
        _ => String::new(),
    })
}

/// The name in the client's certificate: user and host.
fn identity_name() -> String {
    let user = std::env::var("USER")
        .ok()
        .filter(|user| !user.is_empty())
        .unwrap_or_else(|| "root".into());
    let host = rustix::system::uname();
    format!("{user}@{}", host.nodename().to_string_lossy())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_become_urls() {
        for (address, url) in [
            ("10.0.0.1", "https://10.0.0.1:8443"),
            ("10.0.0.1:9443", "https://10.0.0.1:9443"),
            ("https://host/", "https://host:8443"),
            ("https://host:443", "https://host:443"),
            ("fd42::1", "https://[fd42::1]:8443"),
            ("[fd42::1]:9443", "https://[fd42::1]:9443"),
            ("[fd42::1]", "https://[fd42::1]:8443"),
        ] {
            assert_eq!(https(address).unwrap(), url);
        }
        assert!(https("ftp://host").is_err());
    }
}
