//! What instances need of images: which one is meant, and its files unpacked in a pool.

use std::collections::BTreeMap;
use std::sync::Arc;

use lxd_db::cluster::images as rows;
use lxd_db::cluster::images::Image as Row;
use lxd_db::cluster::{ContentType, Tx, VolumeType, projects, storage_volumes};
use lxd_storage::{Pool, Watch};

use super::{Reading, by_prefix, project_of, works};
use crate::app::{App, blocking};
use crate::error::{Error, Result};

/// The image that a new instance names: by alias, by fingerprint or the beginning of it, or the newest with all the
/// given properties. `project` is the instance's.
///
/// # Errors
/// Nothing is named; there is no such alias or image; several images begin so.
pub async fn resolve(
    tx: &mut Tx,
    project: &str,
    alias: &str,
    fingerprint: &str,
    properties: &BTreeMap<String, String>,
) -> Result<Row> {
    let home = project_of(tx, project).await?;
    if !alias.is_empty() {
        let target = rows::aliases::get(tx, &home, alias).await?.target;
        return by_prefix(tx, &home, &target).await;
    }
    if !fingerprint.is_empty() {
        return by_prefix(tx, &home, fingerprint).await;
    }
    if properties.is_empty() {
        return Err(Error::refused(
            "Must specify one of alias, fingerprint or properties for init from image",
        ));
    }
    let all = rows::list(tx, Some(&home)).await?;
    let is_it = |image: &Row| {
        let own = &image.content.properties;
        properties.iter().all(|(key, value)| own.get(key) == Some(value))
    };
    all.into_iter()
        .filter(is_it)
        .max_by_key(|image| image.content.created_at)
        .ok_or_else(|| Error::refused("No matching image could be found"))
}

/// Unpacks an image in a pool unless it is there, so that volumes can be made of it while the result lives. Gives the
/// members of the archive that were left out, if it was unpacked now.
///
/// # Errors
/// The image is broken or too large; it was deleted in the meantime; cancelled.
pub async fn prepare(
    app: &Arc<App>,
    pool: &Pool,
    fingerprint: &str,
    watch: Watch,
) -> Result<(Reading, Option<Vec<String>>)> {
    let reading = app.images.read(fingerprint).await;
    let (owner, name) = (Arc::clone(app), fingerprint.to_owned());
    let files = blocking(move || Ok(works::files(&owner, &name))).await?;
    let skipped = pool.ensure_image(fingerprint, files, watch).await?;
    if pool.driver().image_volumes_listed {
        record_volume(app, pool, fingerprint).await?;
    }
    Ok((reading, skipped))
}

/// Unpacked images are volumes of the default project where the driver shows them.
async fn record_volume(app: &App, pool: &Pool, fingerprint: &str) -> Result<()> {
    let key = storage_volumes::Key {
        pool: pool.name(),
        project: projects::DEFAULT,
        kind: VolumeType::Image,
        name: fingerprint,
    };
    let mut tx = app.cluster.read().await?;
    if storage_volumes::get(&mut tx, key).await.is_ok() {
        return Ok(());
    }
    drop(tx);
    let content = storage_volumes::Content {
        content_type: ContentType::Filesystem,
        description: String::new(),
        config: Default::default(),
    };
    let node = (!pool.driver().remote).then(|| app.cluster.node_id());
    let mut tx = app.cluster.begin().await?;
    match storage_volumes::create(&mut tx, key, node, &content).await {
        Ok(_) => Ok(tx.commit().await?),
        // Somebody was faster.
        Err(lxd_db::Error::Taken { .. }) => Ok(()),
        Err(error) => Err(error.into()),
    }
}
