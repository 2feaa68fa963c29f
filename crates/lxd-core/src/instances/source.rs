//! Where a new instance comes from, as clients say it, and what is known of it.

use lxd_api::instances::{InstanceSource, InstancesPost};
use lxd_db::cluster::Tx;
use lxd_db::cluster::images;
use lxd_model::ErrorKind;
use lxd_model::instances::InstanceType;
use serde::{Deserialize, Serialize};

use super::record::Record;
use super::snapshots::{Root, Saved};
use crate::error::{Context as _, Error, Result};
use crate::images::{Fetch, Protocol, Wish};
use crate::migration::is_listening;

/// Where the files of a new instance come from.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) enum Files {
    /// Nowhere.
    Empty,
    /// An image of this server.
    Image {
        fingerprint: String,
        /// Bytes of its files.
        size: i64,
    },
    /// Another instance of this server, or one of its snapshots.
    Instance { root: Root, snapshot: Option<String> },
}

/// What was found.
pub(super) enum Source {
    /// No files.
    None,
    /// An image; none where the fingerprint leads nowhere, which the operation reports.
    Image(Option<Box<images::Image>>),
    /// An image of another server, which the operation fetches first.
    Remote(Box<Fetch>),
    /// An instance.
    Instance(Box<From>),
    /// Another server, which connects to this one or waits for it.
    Server { is_listening: bool },
}

/// Looks for the source of a request.
///
/// # Errors
/// The request names none, or one that is not here.
pub(super) async fn find(tx: &mut Tx, project: &str, post: &InstancesPost) -> Result<Source> {
    let source = &post.source;
    match source.r#type.as_str() {
        "none" => Ok(Source::None),
        "image" if source.server.is_empty() => image(tx, project, source).await,
        "image" => remote(post).map(|fetch| Source::Remote(Box::new(fetch))),
        "copy" => instance(tx, project, source).await,
        "migration" => {
            let is_listening = is_listening(&source.mode, &source.secrets, '"')?;
            Ok(Source::Server { is_listening })
        }
        other => Err(Error::bad_request(format!("Unknown source type {other}"))),
    }
}

async fn image(tx: &mut Tx, project: &str, source: &InstanceSource) -> Result<Source> {
    let (alias, fingerprint) = (&source.alias, &source.fingerprint);
    match crate::images::resolve(tx, project, alias, fingerprint, &source.properties).await {
        Ok(image) => Ok(Source::Image(Some(Box::new(image)))),
        Err(error) if error.kind() == ErrorKind::NotFound && alias.is_empty() => Ok(Source::Image(None)),
        Err(error) => Err(error),
    }
}

/// The image of another server that a request names.
fn remote(post: &InstancesPost) -> Result<Fetch> {
    let source = &post.source;
    let name = match (source.fingerprint.as_str(), source.alias.as_str()) {
        ("", "") if source.properties.is_empty() => {
            return Err(Error::refused(
                "Must specify one of alias, fingerprint or properties for init from image",
            ));
        }
        ("", "") => {
            return Err(Error::refused(
                "Property match is only supported for local images",
            ));
        }
        ("", alias) => alias,
        (fingerprint, _) => fingerprint,
    };
    let protocol = Protocol::parse(&source.protocol);
    let protocol = protocol.ok_or_else(|| {
        let text = format!("Unsupported protocol: {}", source.protocol);
        Error::bad_request(text)
    })?;
    Ok(Fetch {
        wish: Wish {
            server: source.server.clone(),
            protocol,
            certificate: source.certificate.clone(),
            secret: source.secret.clone(),
            project: source.project.clone(),
            name: name.to_owned(),
            kind: InstanceType::parse(&post.r#type)?.as_str().to_owned(),
        },
        cached: true,
        may_be_old: true,
        ..Fetch::default()
    })
}

/// An instance, or one of its snapshots, that is to be copied.
pub(super) struct From {
    /// What it is; of a snapshot what it was.
    pub(super) record: Record,
    /// Where the files of the instance are, the snapshots' among them.
    pub(super) root: Root,
    /// The snapshot that is meant and not the instance itself.
    pub(super) snapshot: Option<String>,
    /// The snapshots that come along, oldest first.
    pub(super) snapshots: Vec<Saved>,
}

async fn instance(tx: &mut Tx, project: &str, source: &InstanceSource) -> Result<Source> {
    if source.source.is_empty() {
        return Err(Error::bad_request("Must specify a source instance"));
    }
    let from = match source.project.as_str() {
        "" => project,
        other => other,
    };
    let (name, snapshot) = match source.source.split_once('/') {
        Some((name, snapshot)) => (name, Some(snapshot)),
        None => (source.source.as_str(), None),
    };
    let record = Record::load(tx, from, name).await;
    let mut record =
        record.with_context(|| format!("Failed to fetch instance {name:?} in project {from:?}"))?;
    let root = Root::of(&record);
    let mut snapshots = Vec::new();
    if let Some(snapshot) = snapshot {
        let row = lxd_db::cluster::instances::snapshots::get(tx, record.row.id, snapshot).await;
        let row = row.with_context(|| {
            format!("Failed to fetch snapshot {snapshot:?} of instance {name:?} in project {from:?}")
        })?;
        record.row.config = row.config;
        record.row.devices = row.devices;
        record = Record::expand(record.row, record.profiles);
    } else if !source.instance_only && !source.container_only {
        snapshots = Saved::all(tx, record.row.id).await?;
    }
    let snapshot = snapshot.map(str::to_owned);
    Ok(Source::Instance(Box::new(From {
        record,
        root,
        snapshot,
        snapshots,
    })))
}
