//! Images of other LXD servers: public ones, and those whose secret is known.

use lxd_client::Client;

use super::{Files, Found, Wish};
use crate::app::App;
use crate::error::{Context as _, Error, Result};

/// Looks for an alias, then for a fingerprint.
pub(super) async fn find(app: &App, wish: &Wish) -> Result<Found> {
    let client = connect(app, wish).await;
    let client = client.with_context(|| format!("Failed to connect to LXD server {:?}", wish.server))?;
    let mut fingerprint = wish.name.clone();
    if wish.secret.is_empty()
        && let Ok(alias) = client.image_alias(&wish.name).await
        && (wish.kind.is_empty() || alias.r#type.is_empty() || alias.r#type == wish.kind)
    {
        fingerprint = alias.target;
    }
    let image = client.image(&fingerprint, &wish.secret).await;
    // Who knows a secret knows what it is of: the reference says no more then.
    let image = match wish.secret.as_str() {
        "" => image.context("Failed getting remote image info")?,
        _ => image?,
    };
    let url = client.image_url(&image.fingerprint, &wish.secret);
    Ok(Found {
        is_aliased: !image.fingerprint.starts_with(&wish.name),
        files: Files::Whole {
            web: super::web(app, &wish.certificate).await?,
            url,
        },
        image,
    })
}

/// A client of the server, which has answered.
async fn connect(app: &App, wish: &Wish) -> Result<Client> {
    if !wish.server.starts_with("https://") {
        let text = format!(
            "Get \"{}/1.0\": unsupported protocol scheme \"{}\"",
            wish.server,
            scheme(&wish.server)
        );
        return Err(Error::bad_request(text));
    }
    let client = super::client(app, wish).await?;
    client.get::<serde::de::IgnoredAny>("/1.0").await?;
    Ok(client)
}

fn scheme(url: &str) -> &str {
    url.split_once("://").map_or("", |(scheme, _)| scheme)
}
