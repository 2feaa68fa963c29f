//! Images of simplestreams servers.

use lxd_client::SimpleStreams;
use lxd_model::simplestreams::Listed;

use super::deltas::{self, Made};
use super::files::{self, Hashed};
use super::{Files, Found, Wish};
use crate::app::App;
use crate::error::{Context as _, Result};
use crate::images::receive::Upload;
use crate::operations::Operation;

/// What the reference says before whatever keeps an image from being found.
const LOOKING: &str = "Failed getting remote image info: Failed getting image";

/// Looks for an alias, then for a fingerprint.
pub(super) async fn find(app: &App, wish: &Wish) -> Result<Found> {
    let web = super::web(app, &wish.certificate).await;
    let web = web.with_context(|| format!("Failed to connect to simple streams server {:?}", wish.server))?;
    let server = SimpleStreams::new(web, &wish.server, Some(app.paths.cache()));
    let own = app.facts.architectures.first().map_or("", String::as_str);
    let catalogue = server.catalogue(own).await.context(LOOKING)?;
    let alias = catalogue.alias(&wish.kind, &wish.name);
    let fingerprint = alias.map_or(wish.name.as_str(), |alias| alias.target.as_str());
    let listed = catalogue.image(fingerprint).context(LOOKING)?;
    Ok(Found {
        image: listed.image.clone(),
        is_aliased: alias.is_some(),
        files: Files::Listed {
            server,
            listed: Box::new(listed.clone()),
        },
    })
}

/// Fetches the files of an image one after another.
pub(super) async fn fetch(
    app: &App,
    operation: &Operation,
    (server, listed): (&SimpleStreams, &Listed),
) -> Result<Upload> {
    let metadata = server.file(&listed.metadata.path).await?;
    let Some(rootfs) = &listed.rootfs else {
        let chunks = files::watched(metadata, operation, "metadata");
        let upload = Upload::unified(app, chunks).await?;
        files::compare(
            &server.url(&listed.metadata.path),
            &upload.fingerprint,
            &listed.metadata.sha256,
        )?;
        return Ok(upload);
    };
    let chunks = files::watched(metadata, operation, "metadata");
    let first = Upload::first_part(app, chunks).await?;
    files::compare(
        &server.url(&listed.metadata.path),
        &first.hex(),
        &listed.metadata.sha256,
    )?;
    let first = match deltas::make(app, operation, (server, listed), first).await {
        Made::Whole(upload) => return Ok(upload),
        Made::First(first) => first,
    };
    let file = server.file(&rootfs.path).await?;
    let (chunks, hash) = Hashed::new(files::watched(file, operation, "rootfs"));
    let part = match listed.image.r#type.as_str() {
        "virtual-machine" => "rootfs.img",
        _ => "rootfs",
    };
    let upload = first.second_part(app, part, "", chunks).await?;
    files::compare(&server.url(&rootfs.path), &hash.hex(), &rootfs.sha256)?;
    Ok(upload)
}
