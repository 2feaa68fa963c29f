//! Servers that images come from: an LXD, perhaps one that only hands images out, or a web server with lists.

use lxd_api::images::{Image, ImageAliasesEntry};
use lxd_client::{Client, SimpleStreams};
use lxd_model::simplestreams::{Catalogue, Listed};
use tokio::sync::OnceCell;

use crate::error::{Error, Result};

/// The type of images for virtual machines.
const VIRTUAL_MACHINE: &str = "virtual-machine";

/// A server that images come from.
#[derive(Debug, Clone)]
pub(crate) enum ImageServer {
    /// An LXD.
    Lxd(Client),
    /// A web server with lists.
    Lists(Box<Lists>),
}

/// A web server with lists, which are fetched once.
#[derive(Debug, Clone)]
pub(crate) struct Lists {
    server: SimpleStreams,
    catalogue: OnceCell<Catalogue>,
}

impl ImageServer {
    /// A web server with lists.
    pub(crate) fn lists(server: SimpleStreams) -> Self {
        Self::Lists(Box::new(Lists {
            server,
            catalogue: OnceCell::new(),
        }))
    }

    /// The images whose fields are as wanted; a web server gives all.
    pub(crate) async fn images(&self, fields: &[(&str, &str)]) -> Result<Vec<Image>> {
        match self {
            Self::Lxd(client) => {
                let clauses: Vec<String> = fields
                    .iter()
                    .map(|(field, value)| format!("{field} eq {value}"))
                    .collect();
                let query = match clauses.join(" and ") {
                    all if all.is_empty() => String::new(),
                    clauses => format!("&filter={}", lxd_client::escape(&clauses)),
                };
                Ok(client.get(&format!("/1.0/images?recursion=1{query}")).await?)
            }
            Self::Lists(lists) => {
                let listed = &lists.catalogue().await?.images;
                Ok(listed.iter().map(|listed| listed.image.clone()).collect())
            }
        }
    }

    /// All aliases.
    pub(crate) async fn aliases(&self) -> Result<Vec<ImageAliasesEntry>> {
        match self {
            Self::Lxd(client) => Ok(client.get("/1.0/images/aliases?recursion=1").await?),
            Self::Lists(lists) => Ok(lists.catalogue().await?.aliases.clone()),
        }
    }

    /// What a word means: the fingerprint of the image with this alias, else the word itself. A web server has several
    /// images with an alias, one for each sort of machine; on an LXD an alias of the other sort is none.
    pub(crate) async fn fingerprint(&self, word: &str, is_vm: bool) -> Result<String> {
        // Image servers say what they mean by no name.
        let word = if word.is_empty() { "default" } else { word };
        let found = match self {
            Self::Lxd(client) => match client.image_alias(word).await {
                Ok(alias) if is_vm && alias.r#type != VIRTUAL_MACHINE => None,
                Ok(alias) => Some(alias.target),
                Err(error) if error.is_not_found() => None,
                Err(error) => return Err(error.into()),
            },
            Self::Lists(lists) => {
                let kind = if is_vm { VIRTUAL_MACHINE } else { "container" };
                // Why there is no list is told by who asks for the image.
                let catalogue = lists.catalogue().await.ok();
                let alias = catalogue.and_then(|catalogue| catalogue.alias(kind, word));
                alias.map(|alias| alias.target.clone())
            }
        };
        Ok(found.unwrap_or_else(|| word.to_owned()))
    }

    /// The image whose fingerprint begins so.
    pub(crate) async fn image(&self, fingerprint: &str) -> Result<Image> {
        match self {
            Self::Lxd(client) => Ok(client.image(fingerprint, "").await?),
            Self::Lists(lists) => match lists.listed(fingerprint).await {
                Ok(listed) => Ok(listed.image.clone()),
                Err(error) => Err(Error::message(format!("Failed getting image: {error}"))),
            },
        }
    }
}

impl Lists {
    /// The server.
    pub(crate) fn server(&self) -> &SimpleStreams {
        &self.server
    }

    /// The image on the lists whose fingerprint begins so.
    pub(crate) async fn listed(&self, fingerprint: &str) -> Result<&Listed> {
        let catalogue = self.catalogue().await?;
        catalogue
            .image(fingerprint)
            .map_err(|error| Error::message(error.to_string()))
    }

    async fn catalogue(&self) -> Result<&Catalogue> {
        let architecture = rustix::system::uname();
        let architecture = architecture.machine().to_string_lossy().into_owned();
        let fetched = self
            .catalogue
            .get_or_try_init(|| self.server.catalogue(&architecture));
        Ok(fetched.await?)
    }
}
