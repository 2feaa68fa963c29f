//! What an instance's image said of itself, and its templates: shown and changed in the instance's volume.

use std::io::Write as _;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use lxd_api::images::ImageMetadata;
use lxd_model::{ErrorKind, yaml};
use lxd_storage::Volume;
use lxd_sys::path::{Links, Root};
use rustix::fs::{Mode, OFlags};
use serde_json::Value;

use super::record::Record;
use super::templates::{FOLDER, METADATA, check_name, read_metadata, read_text};
use crate::app::{App, blocking};
use crate::ctx::Ctx;
use crate::error::{Context as _, Error, Result};
use crate::etag::{self, Tagged};
use crate::events::{Action, Lifecycle};

/// The metadata; empty for an instance that has none.
///
/// # Errors
/// Not found; the caller may not see the project; the file makes no sense.
pub async fn get(app: &Arc<App>, ctx: &Ctx, name: &str) -> Result<Tagged<ImageMetadata>> {
    let directory = directory(app, ctx, name).await?;
    let found = blocking(move || read_metadata(&directory))
        .await?
        .unwrap_or_default();
    tell(app, ctx, name, Action::InstanceMetadataRetrieved, None);
    let writable = found.clone();
    Ok(Tagged::new(found, &writable))
}

/// Replaces the metadata.
///
/// # Errors
/// As [`get`]; the caller saw another state.
pub async fn update(
    app: &Arc<App>,
    ctx: &Ctx,
    name: &str,
    new: ImageMetadata,
    if_match: Option<&str>,
) -> Result<()> {
    change(app, ctx, name, if_match, |_| Ok(new)).await
}

/// Changes parts of the metadata.
///
/// # Errors
/// As [`update`]; a field has a wrong type.
pub async fn patch(
    app: &Arc<App>,
    ctx: &Ctx,
    name: &str,
    patch: Value,
    if_match: Option<&str>,
) -> Result<()> {
    change(app, ctx, name, if_match, |old| crate::patch::merge(&old, patch)).await
}

/// The names of the templates, sorted.
///
/// # Errors
/// Not found; the caller may not see the project.
pub async fn templates(app: &Arc<App>, ctx: &Ctx, name: &str) -> Result<Vec<String>> {
    let directory = directory(app, ctx, name).await?;
    blocking(move || {
        let Some(folder) = folder(&directory)? else {
            return Ok(Vec::new());
        };
        // By descriptor: the folder itself may not be a link.
        let listed = std::fs::read_dir(format!("/proc/self/fd/{}", folder.as_fd().as_raw_fd()));
        let listed = listed.map_err(|error| Error::internal("Failed listing templates").because(error))?;
        let files = listed
            .flatten()
            .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_file()));
        let mut names: Vec<String> = files
            .filter_map(|entry| entry.file_name().into_string().ok())
            .collect();
        names.sort();
        Ok(names)
    })
    .await
}

/// The text of a template.
///
/// # Errors
/// As [`templates`]; no such template.
pub async fn template(app: &Arc<App>, ctx: &Ctx, name: &str, template: &str) -> Result<String> {
    check_name(template)?;
    let directory = directory(app, ctx, name).await?;
    let wanted = template.to_owned();
    let text = blocking(move || {
        let missing = || Error::not_found(format!("Template {wanted:?} not found"));
        let folder = folder(&directory)?.ok_or_else(missing)?;
        match folder.open_regular(Path::new(&wanted)) {
            Err(error) if error.io_kind() == Some(std::io::ErrorKind::NotFound) => Err(missing()),
            opened => read_text(opened?, &wanted),
        }
    });
    let text = text.await?;
    tell(
        app,
        ctx,
        name,
        Action::InstanceMetadataTemplateRetrieved,
        Some(template),
    );
    Ok(text)
}

/// Makes a template, or replaces it.
///
/// # Errors
/// As [`template`]; it can't be written.
pub async fn put_template(
    app: &Arc<App>,
    ctx: &Ctx,
    name: &str,
    template: &str,
    content: Vec<u8>,
) -> Result<()> {
    check_name(template)?;
    let directory = directory(app, ctx, name).await?;
    let wanted = template.to_owned();
    blocking(move || {
        let volume = Root::open(&directory, Links::Refused)?;
        volume.create_directories(Path::new(FOLDER), 0o711)?;
        write(&directory.join(FOLDER), &wanted, &content, 0o644)
    })
    .await?;
    tell(
        app,
        ctx,
        name,
        Action::InstanceMetadataTemplateCreated,
        Some(template),
    );
    Ok(())
}

/// Removes a template.
///
/// # Errors
/// As [`template`].
pub async fn delete_template(app: &Arc<App>, ctx: &Ctx, name: &str, template: &str) -> Result<()> {
    check_name(template)?;
    let directory = directory(app, ctx, name).await?;
    let wanted = template.to_owned();
    blocking(move || {
        let missing = || Error::not_found(format!("Template {wanted:?} not found"));
        let folder = folder(&directory)?.ok_or_else(missing)?;
        match folder.remove_file(Path::new(&wanted)) {
            Err(error) if error.io_kind() == Some(std::io::ErrorKind::NotFound) => Err(missing()),
            removed => Ok(removed?),
        }
    })
    .await?;
    tell(
        app,
        ctx,
        name,
        Action::InstanceMetadataTemplateDeleted,
        Some(template),
    );
    Ok(())
}

/// The directory of the instance's volume.
async fn directory(app: &App, ctx: &Ctx, name: &str) -> Result<PathBuf> {
    ctx.require_project()?;
    let mut tx = app.cluster.read().await?;
    let record = Record::load(&mut tx, &ctx.project, name).await?;
    let volume = Volume::container(&record.row.project, &record.row.name);
    Ok(app.pools.get(record.pool())?.volume_path(&volume))
}

async fn change(
    app: &Arc<App>,
    ctx: &Ctx,
    name: &str,
    if_match: Option<&str>,
    how: impl FnOnce(ImageMetadata) -> Result<ImageMetadata>,
) -> Result<()> {
    let _guard = app
        .instances
        .lock(&lxd_instance::Key::new(&ctx.project, name))
        .await;
    let directory = directory(app, ctx, name).await?;
    let read = directory.clone();
    let old = blocking(move || read_metadata(&read)).await?.unwrap_or_default();
    etag::check(if_match, &old)?;
    let new = how(old)?;
    let text = yaml::to_string(&new).map_err(|error| Error::from_source(ErrorKind::Internal, error))?;
    blocking(move || write(&directory, METADATA, text.as_bytes(), 0o644)).await?;
    tell(app, ctx, name, Action::InstanceMetadataUpdated, None);
    Ok(())
}

/// The folder of templates; none if there is no such folder.
fn folder(directory: &Path) -> Result<Option<Root>> {
    let volume = Root::open(directory, Links::Refused)?;
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW;
    match volume.open_file(Path::new(FOLDER), flags, Mode::empty()) {
        Ok(_) => Ok(Some(Root::open(&directory.join(FOLDER), Links::Refused)?)),
        Err(error) if error.io_kind() == Some(std::io::ErrorKind::NotFound) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Replaces a file in one step.
fn write(directory: &Path, name: &str, content: &[u8], mode: u32) -> Result<()> {
    let failed = |error: std::io::Error| Error::internal(format!("Failed writing {name:?}")).because(error);
    let mut file = tempfile::Builder::new()
        .prefix(".new-")
        .tempfile_in(directory)
        .map_err(failed)?;
    file.write_all(content).map_err(failed)?;
    file.as_file()
        .set_permissions(std::fs::Permissions::from_mode(mode))
        .map_err(failed)?;
    file.persist(directory.join(name))
        .map_err(|error| failed(error.error))
        .context("Failed writing into the volume")?;
    Ok(())
}

fn tell(app: &App, ctx: &Ctx, name: &str, action: Action, template: Option<&str>) {
    let mut parts = vec!["instances", name, "metadata"];
    parts.extend(template.is_some().then_some("templates"));
    let mut event = Lifecycle::new(action, crate::urls::object(&ctx.project, &parts)).by(ctx);
    if let Some(template) = template {
        event = event.with("path", template);
    }
    app.events.lifecycle(&ctx.project, &event);
}
