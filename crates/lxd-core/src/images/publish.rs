//! Images of instances: their files packed into an archive, which then comes in like any other.

use std::sync::Arc;

use lxd_api::images::{ImageMetadata, ImagesPost};
use lxd_model::images::parse_metadata;
use lxd_model::yaml;
use lxd_storage::images::pack::{Compressor, Packer};
use lxd_storage::images::{Fingerprint, Upload as File};
use lxd_storage::{View, Watch};
use lxd_sys::path::disk_usage;
use lxd_sys::userns::IdMap;

use super::receive::Upload;
use super::works::{Import, ImportRequest, Stated};
use super::{fetch, holder};
use crate::app::{App, blocking};
use crate::ctx::Ctx;
use crate::error::{Error, Result};
use crate::instances::publish as source;
use crate::operations::{self, Kind, Operation, Options};

/// What the progress of packing is called.
const STAGE: &str = "create_image_from_container_pack";

/// The file that says what an image is.
const METADATA: &str = "metadata.yaml";

/// Makes an image of an instance or snapshot, as an operation.
///
/// # Errors
/// Not found; a compressor that this server has not; the caller may not.
pub(super) async fn publish(app: &Arc<App>, ctx: &Ctx, post: ImagesPost) -> Result<Operation> {
    let project = holder(app, ctx).await?;
    let from = post.source.clone().unwrap_or_default();
    source::find(app, ctx, &from.name).await?;
    let algorithm = match post.compression_algorithm.as_str() {
        "" => {
            let mut tx = app.cluster.read().await?;
            fetch::setting(app, &mut tx, &ctx.project, "images.compression_algorithm").await?
        }
        given => given.to_owned(),
    };
    let compressor = Compressor::parse(if algorithm.is_empty() { "gzip" } else { &algorithm })?;
    let (app, owned) = (Arc::clone(app), ctx.clone());
    let operations = Arc::clone(&app.operations);
    operations.spawn(
        ctx,
        Options::task(Kind::ImageDownload),
        move |operation| async move {
            let is_snapshot = from.r#type == "snapshot";
            let published = source::open(&app, &owned, &from.name, is_snapshot).await?;
            let upload = pack(&app, &operation, &published, (&post, compressor)).await?;
            drop(published);
            operation.remove_metadata("progress");
            operation.remove_metadata(&format!("{STAGE}_progress"));
            let work = Import::new(project, upload, request(&app, &post));
            operations::run_in(&app, &owned, &operation, work).await?.named()
        },
    )
}

fn request(app: &App, post: &ImagesPost) -> ImportRequest {
    ImportRequest {
        filename: post.filename.clone(),
        public: post.public,
        properties: post.properties.clone(),
        aliases: post.aliases.clone(),
        stated: Some(Stated {
            created_at: app.clock.time(),
            expires_at: post.expires_at,
            profiles: post.profiles.clone(),
        }),
        ..ImportRequest::default()
    }
}

/// Packs the files into an archive that becomes the image's.
async fn pack(
    app: &Arc<App>,
    operation: &Operation,
    published: &source::Published,
    (post, compressor): (&ImagesPost, Compressor),
) -> Result<Upload> {
    let still = app.images.still().await;
    let (directory, view) = (app.paths.images(), Arc::clone(&published.view));
    let (architecture, ids) = (published.architecture.clone(), published.ids.clone());
    let (properties, expires_at) = (post.properties.clone(), post.expires_at);
    let (operation, now) = (operation.clone(), app.clock.now());
    let packed = blocking(move || {
        let mut metadata = metadata(&view, &architecture, now.as_second())?;
        let is_changed = !properties.is_empty() || !expires_at.is_never();
        if !properties.is_empty() {
            metadata.properties = properties;
        }
        if !expires_at.is_never() {
            metadata.expiry_date = expires_at.timestamp().as_second();
        }
        let text = yaml::to_string(&metadata)
            .map_err(|error| Error::internal("Failed writing the image's metadata").because(error))?;
        let total = disk_usage(view.rootfs()).ok();
        let progress = operation.progress(STAGE, "Image pack", total);
        let progress = crate::instances::steps_of(progress);
        let watch = Watch::new(operation.cancel_token().clone(), Some(progress));
        let file = File::begin(&directory, Fingerprint::new())?;
        let text = Some(text).filter(|_| is_changed || !view.directory().join(METADATA).is_file());
        write(&file, (&view, ids.as_ref()), (text, compressor), watch)?;
        Ok(file.seal()?)
    });
    let (metadata, fingerprint) = packed.await?;
    Ok(Upload {
        metadata,
        rootfs: None,
        is_disk: false,
        fingerprint: fingerprint.hex(),
        filename: String::new(),
        still,
    })
}

/// Packs the files, with metadata that is not the volume's own if there is some. Without, the same files give the same image.
fn write(
    file: &File,
    (view, ids): (&View, Option<&IdMap>),
    (text, compressor): (Option<String>, Compressor),
    watch: Watch,
) -> Result<()> {
    let failed = |error| Error::internal("Failed packing the image").because(error);
    let packing = compressor.into_file(file.writer()?).map_err(failed)?;
    let mut packer = Packer::new(packing, watch);
    match text {
        Some(text) => packer.file(METADATA, text.as_bytes())?,
        None => packer.small_file(&view.directory().join(METADATA), METADATA)?,
    }
    packer.tree(view.rootfs(), "rootfs", ids)?;
    let templates = view.directory().join("templates");
    if templates.symlink_metadata().is_ok_and(|found| found.is_dir()) {
        packer.tree(&templates, "templates", None)?;
    }
    packer.finish()?.finish().map_err(failed)?;
    Ok(())
}

/// The metadata that the volume has, or the least that an image needs.
fn metadata(view: &View, architecture: &str, now: i64) -> Result<ImageMetadata> {
    match std::fs::read(view.directory().join(METADATA)) {
        Ok(text) => Ok(parse_metadata(&text)?),
        Err(_) => Ok(ImageMetadata {
            architecture: architecture.to_owned(),
            creation_date: now,
            ..ImageMetadata::default()
        }),
    }
}
