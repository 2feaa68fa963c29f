//! Commands about the servers that the user works with.

use std::collections::BTreeMap;

use lxd_api::certificates::CertificatesPost;
use lxd_api::projects::Project;
use lxd_api::server::Server;
use lxd_client::{Certificate, Client, Tls, Trust, path, server_certificate};
use serde::Serialize;

use super::not_yet;
use crate::config::Remote;
use crate::context::{Context, ask};
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
            _ if remote.is_local() => "file access",
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
            yes(false),
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
            global: false,
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
    changeable(cx, &name)?;
    if cx.config.default_remote() == name {
        return Err(Error::message("Can't remove the default remote"));
    }
    cx.config.remotes_mut().remove(&name);
    let _ = std::fs::remove_file(cx.config.server_certificate_file(&name));
    cx.config.save()
}

fn rename(cx: &mut Context) -> Result<()> {
    let (old, new) = (cx.argument(0).to_owned(), cx.argument(1).to_owned());
    let remote = changeable(cx, &old)?.clone();
    if cx.config.remotes().contains_key(&new) {
        return Err(Error::message(format!("Remote {new} already exists")));
    }
    let (from, to) = (
        cx.config.server_certificate_file(&old),
        cx.config.server_certificate_file(&new),
    );
    if from.exists() {
        std::fs::rename(&from, &to).map_err(|source| Error::File { path: to, source })?;
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
    let (name, address) = match cx.arguments() {
        [only] => (only.clone(), only.clone()),
        [name, address, ..] => (name.clone(), address.clone()),
        [] => return Err(Error::Count),
    };
    if name.contains([':', '/']) && cx.arguments().len() > 1 {
        return Err(Error::message("Remote names may not contain colons"));
    }
    if let Some(remote) = cx.config.remotes().get(&name) {
        return Err(Error::message(format!(
            "Remote {name} exists as <{}>",
            remote.addr
        )));
    }
    let mut remote = Remote {
        protocol: cx.text("protocol").into(),
        ..Remote::default()
    };
    if remote.is_simplestreams() {
        if !address.starts_with("https://") {
            return Err(Error::message("Only https URLs are supported for simplestreams"));
        }
        remote.addr = address.trim_end_matches('/').into();
        remote.public = true;
    } else if address.starts_with("unix:") || address.starts_with('/') {
        remote.addr = if address.starts_with('/') {
            format!("unix://{address}")
        } else {
            address
        };
        remote.protocol = "lxd".into();
        cx.config.remotes_mut().insert(name.clone(), remote.clone());
        cx.client(&name)?.get::<Server>(&path(&[])).await?;
    } else {
        remote.addr = https(&address)?;
        remote.protocol = "lxd".into();
        remote.auth_type = match cx.text("auth-type") {
            "" => "tls",
            auth => auth,
        }
        .into();
        remote.public = cx.switch("public");
        cx.text("project").clone_into(&mut remote.project);
        connect(cx, &name, &mut remote).await?;
    }
    cx.config.remotes_mut().insert(name, remote);
    cx.config.save()
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

/// Meets the server: its certificate is accepted, and it is made to trust us.
async fn connect(cx: &Context, name: &str, remote: &mut Remote) -> Result<()> {
    if !remote.public && !cx.config.has_identity() {
        eprintln!("Generating a client certificate. This may take a minute...");
        cx.config.make_identity(&identity_name())?;
    }
    let identity = if remote.public {
        None
    } else {
        cx.config.identity()?
    };
    let shown = server_certificate(&remote.addr).await?;
    accept(cx, &shown)?;
    let tls = Tls {
        trust: Trust::Pinned(shown.clone()),
        identity,
    };
    let client = Client::https(&remote.addr, &tls)?.in_project(&remote.project);
    let server: Server = client.get("/1.0").await?;
    if !remote.public && server.auth != "trusted" {
        become_trusted(cx, &client).await?;
    }
    if remote.project.is_empty() && !remote.public {
        remote.project = only_project(&client).await?;
    }
    cx.config.accept_server_certificate(name, &shown)
}

/// Lets the user look at a certificate that nobody vouches for.
fn accept(cx: &Context, shown: &Certificate) -> Result<()> {
    if cx.switch("accept-certificate") {
        return Ok(());
    }
    print_line(&format!("Certificate fingerprint: {}", shown.fingerprint()))?;
    loop {
        let answer = ask("ok (y/n/[fingerprint])? ")?;
        if answer == shown.fingerprint() || answer.to_lowercase().starts_with('y') {
            return Ok(());
        }
        if answer.is_empty() || answer.to_lowercase().starts_with('n') {
            return Err(Error::message("Server certificate NACKed by user"));
        }
    }
}

async fn become_trusted(cx: &Context, client: &Client) -> Result<()> {
    let password = match cx.text("password") {
        "" => {
            let host = client.base();
            ask_hidden(&format!(
                "Admin password (or token) for {}: ",
                host.trim_start_matches("https://")
            ))?
        }
        password => password.to_owned(),
    };
    let request = CertificatesPost {
        password,
        r#type: "client".into(),
        ..CertificatesPost::default()
    };
    client.create(&path(&["certificates"]), &request).await?;
    let server: Server = client.get("/1.0").await?;
    if server.auth != "trusted" {
        return Err(Error::message("Server doesn't trust us after authentication"));
    }
    print_line("Client certificate now trusted by server")
}

/// Asks without showing what is typed.
fn ask_hidden(question: &str) -> Result<String> {
    use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};

    let stdin = std::io::stdin();
    let Ok(before) = tcgetattr(&stdin) else {
        return ask(question);
    };
    let mut hidden = before.clone();
    hidden.local_modes.remove(LocalModes::ECHO);
    let failed = |source: rustix::io::Errno| Error::Terminal {
        doing: "Failed to hide the password",
        source: source.into(),
    };
    tcsetattr(&stdin, OptionalActions::Flush, &hidden).map_err(failed)?;
    let answer = ask(question);
    tcsetattr(&stdin, OptionalActions::Flush, &before).map_err(failed)?;
    print_line("")?;
    answer
}

/// The project that a client who may see one only works in; `default` for all others.
async fn only_project(client: &Client) -> Result<String> {
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
