//! Commands about the client itself.

use lxd_api::server::Server;
use lxd_client::path;

use crate::context::Context;
use crate::error::{Error, Result};
use crate::render::print_line;

/// `lxc version`: the versions of both sides; a server that can't be reached is said to be so.
pub(crate) async fn version(cx: &Context) -> Result<()> {
    print_line(&format!("Client version: {}", env!("CARGO_PKG_VERSION")))?;
    let server = match cx.resource_or_default(0) {
        Ok(remote) => remote.client.get::<Server>(&path(&[])).await.ok(),
        Err(_) => None,
    };
    let version = server.map_or_else(
        || "unreachable".into(),
        |server| server.environment.server_version,
    );
    print_line(&format!("Server version: {version}"))
}

/// Commands about clusters, of which no server is a part yet.
pub(crate) async fn cluster(cx: &Context, path: &str) -> Result<()> {
    let remote = cx.resource_or_default(0)?;
    let server: Server = remote.client.get(&lxd_client::path(&[])).await?;
    if server.environment.server_clustered {
        return super::not_yet();
    }
    Err(Error::message(match path.trim_start_matches("cluster ") {
        "list" | "list-tokens" | "revoke-token" | "update-certificate" | "group list" => {
            "LXD server isn't part of a cluster"
        }
        "add" | "group create" | "group edit" | "group rename" | "group show" => {
            "This server is not clustered"
        }
        _ => "Server is not clustered",
    }))
}
