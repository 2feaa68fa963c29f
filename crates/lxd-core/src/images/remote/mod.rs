//! Images of other servers: looked for, and fetched. Each sort of server is one file.

mod deltas;
mod direct;
mod files;
mod lxd;
mod streams;

use std::sync::Arc;

use lxd_api::images::Image;
use lxd_client::{Certificate, Client, Proxies, SimpleStreams, Tls, Trust, Web};
use lxd_db::cluster::ImageProtocol;
use lxd_model::simplestreams::Listed;
use serde::{Deserialize, Serialize};

use super::fetch::cancelled;
use super::receive::Upload;
use crate::app::{App, blocking};
use crate::error::{Error, Result};
use crate::operations::Operation;

/// An image of another server, as somebody asks for it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Wish {
    /// The server's URL; for a single file that file's.
    pub server: String,
    /// How the server is spoken to.
    pub protocol: Protocol,
    /// The server's certificate, in PEM; empty if well-known authorities vouch for it.
    pub certificate: String,
    /// What shows that an image that is not public may be had; empty for none.
    pub secret: String,
    /// The project there; empty for the default one.
    pub project: String,
    /// An alias, a fingerprint, or the beginning of one.
    pub name: String,
    /// The sort of machine that it must be for; empty for any.
    pub kind: String,
}

/// How a server of images is spoken to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// As another LXD.
    #[default]
    Lxd,
    /// As a web server with a single file.
    Direct,
    /// As a web server with lists of images.
    Simplestreams,
}

/// An image that was found.
#[derive(Debug)]
pub(super) struct Found {
    /// What the server says of it; of a single file nothing but the fingerprint is known.
    pub(super) image: Image,
    /// Whether its name was an alias, which may mean another image tomorrow.
    pub(super) is_aliased: bool,
    files: Files,
}

/// How the files are had.
#[derive(Debug)]
enum Files {
    /// In one request, alone or as a form.
    Whole { web: Arc<Web>, url: String },
    /// One by one from lists.
    Listed {
        server: SimpleStreams,
        listed: Box<Listed>,
    },
}

impl Protocol {
    /// The protocol of a name that the API knows; none for others.
    pub(crate) fn parse(name: &str) -> Option<Self> {
        match name {
            "" | "lxd" => Some(Self::Lxd),
            "direct" => Some(Self::Direct),
            "simplestreams" => Some(Self::Simplestreams),
            _ => None,
        }
    }
}

impl From<Protocol> for ImageProtocol {
    fn from(protocol: Protocol) -> Self {
        match protocol {
            Protocol::Lxd => Self::Lxd,
            Protocol::Direct => Self::Direct,
            Protocol::Simplestreams => Self::Simplestreams,
        }
    }
}

impl From<ImageProtocol> for Protocol {
    fn from(protocol: ImageProtocol) -> Self {
        match protocol {
            ImageProtocol::Lxd => Self::Lxd,
            ImageProtocol::Direct => Self::Direct,
            ImageProtocol::Simplestreams => Self::Simplestreams,
        }
    }
}

impl Wish {
    /// Asks the server which image it is.
    ///
    /// # Errors
    /// The server can't be reached; there is no such image, or not for whom asks.
    pub(super) async fn find(&self, app: &App) -> Result<Found> {
        match self.protocol {
            Protocol::Lxd => lxd::find(app, self).await,
            Protocol::Direct => direct::find(app, self).await,
            Protocol::Simplestreams => streams::find(app, self).await,
        }
    }
}

impl Found {
    /// Fetches the files.
    ///
    /// # Errors
    /// The connection breaks for good; the files are not what the server promised; the disk is full; cancelled.
    pub(super) async fn fetch(&self, app: &App, operation: &Operation) -> Result<Upload> {
        let fetching = async {
            match &self.files {
                Files::Whole { web, url } => files::whole(app, operation, (web, url)).await,
                Files::Listed { server, listed } => {
                    let wanted = (server, &**listed);
                    streams::fetch(app, operation, wanted).await
                }
            }
        };
        let upload = tokio::select! {
            upload = fetching => upload?,
            () = operation.cancel_token().cancelled() => return Err(cancelled()),
        };
        let promised = &self.image.fingerprint;
        match &self.files {
            _ if upload.fingerprint == *promised => {}
            Files::Whole { url, .. } if self.image.r#type.is_empty() => {
                files::compare(&format!("{url:?}"), &upload.fingerprint, promised)?;
            }
            _ => {
                return Err(Error::bad_request(format!(
                    "Image fingerprint doesn't match. Got {} expected {promised}",
                    upload.fingerprint
                )));
            }
        }
        Ok(upload)
    }
}

/// How other servers are reached, as configured.
fn proxies(app: &App) -> Proxies {
    let key = |name| app.config.get(name);
    Proxies::new(
        &key("core.proxy_http"),
        &key("core.proxy_https"),
        &key("core.proxy_ignore_hosts"),
    )
}

fn trust(certificate: &str) -> Result<Tls> {
    let trust = match certificate {
        "" => Trust::Authorities,
        pem => Trust::Pinned(
            Certificate::from_pem(pem).map_err(|_| Error::bad_request("Invalid remote certificate"))?,
        ),
    };
    Ok(Tls {
        trust,
        identity: None,
    })
}

/// A client of web servers. The well-known authorities are read from disk for each.
async fn web(app: &App, certificate: &str) -> Result<Arc<Web>> {
    let (proxies, certificate) = (proxies(app), certificate.to_owned());
    let agent = agent(app);
    let made = blocking(move || Ok(Arc::new(Web::new(&trust(&certificate)?, &proxies, &agent)?)));
    made.await
}

/// A client of another LXD that shows no certificate.
async fn client(app: &App, wish: &Wish) -> Result<Client> {
    let proxies = proxies(app);
    let (server, certificate) = (wish.server.clone(), wish.certificate.clone());
    let project = wish.project.clone();
    let made = blocking(move || Ok(Client::https_through(&server, &trust(&certificate)?, &proxies)?));
    Ok(made.await?.in_project(&project))
}

/// A client of another LXD that is known by its certificate, or by authorities.
///
/// # Errors
/// Its URL or its certificate can't be used.
pub(crate) async fn target(app: &App, server: &str, certificate: &str) -> Result<Client> {
    let wish = Wish {
        server: server.to_owned(),
        certificate: certificate.to_owned(),
        ..Wish::default()
    };
    client(app, &wish).await
}

/// What this daemon calls itself.
fn agent(app: &App) -> String {
    let facts = &app.facts;
    format!(
        "LXD {} (Linux; {}; {}; {}; {})",
        env!("CARGO_PKG_VERSION"),
        facts.kernel_architecture,
        facts.kernel_version,
        facts.os_name,
        facts.os_version
    )
}
