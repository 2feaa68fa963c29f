//! Images that are a single file on a web server, which says in headers which one.

use lxd_api::images::Image;
use lxd_model::images::direct_headers;

use super::{Files, Found, Wish};
use crate::app::App;
use crate::error::Result;

/// What this host can run.
const ARCHITECTURES: &str = "lxd-server-architectures";
/// The version of this server.
const VERSION: &str = "lxd-server-version";

/// Asks for the headers of a URL.
pub(super) async fn find(app: &App, wish: &Wish) -> Result<Found> {
    let web = super::web(app, &wish.certificate).await?;
    let headers = [
        (ARCHITECTURES, app.facts.architectures.join(", ")),
        (VERSION, env!("CARGO_PKG_VERSION").to_owned()),
    ];
    let page = web.head(&wish.server, &headers).await?;
    let header = |name| page.headers.get(name).and_then(|value| value.to_str().ok());
    let (fingerprint, url) = direct_headers(header("lxd-image-hash"), header("lxd-image-url"))?;
    let url = url.to_owned();
    let image = Image {
        fingerprint,
        ..Image::default()
    };
    Ok(Found {
        image,
        is_aliased: false,
        files: Files::Whole { web, url },
    })
}
