//! A client of the LXD REST API: transports, typed requests, operations, websockets, files.
//!
//! A [`Client`] is a server's address together with a project and a cluster member; it is cheap to clone, and clones
//! share connections. Paths are made with [`path`], which escapes names:
//!
//! ```no_run
//! # async fn example() -> lxd_client::Result<()> {
//! use lxd_api::instances::Instance;
//! let client = lxd_client::Client::unix("/var/lib/lxd/unix.socket").in_project("web");
//! let (instance, etag): (Instance, _) = client.get_with_etag(&lxd_client::path(&["instances", "c1"])).await?;
//! client.update(&lxd_client::path(&["instances", "c1"]), &instance, &etag).await?.wait().await?;
//! # Ok(())
//! # }
//! ```

mod certificates;
mod client;
mod connection;
mod download;
mod error;
mod files;
mod images;
mod instances;
mod operations;
mod proxies;
mod simplestreams;
mod tls;
mod transport;
mod upload;
mod web;
mod websocket;

pub use certificates::{Certificate, KeyPair};
pub use client::{Client, Etag, Reply, escape, path};
pub use download::{Download, Progress, Received};
pub use error::{Error, Result};
pub use files::{FileWish, InstanceFile, SftpStream};
pub use images::{ExportedImage, ImagePart, NameOf};
pub use instances::ExecStreams;
pub use operations::{Background, BackgroundEnd};
pub use proxies::Proxies;
pub use simplestreams::SimpleStreams;
pub use tls::{Tls, Trust, server_certificate};
pub use transport::Stream;
pub use upload::{Upload, UploadPart};
pub use web::{Page, Web, WebFile, WebForm, WebPart};
pub use websocket::{Events, Message, WebSocket, WebSocketError, broken as broken_websocket};
