//! `/1.0/storage-pools/{name}/volumes`.

use lxd_api::storage_volumes::StorageVolumesPost;
use lxd_core::storage_volumes::{self, Moved, backups};

use crate::http::answer::{self, Outcome};
use crate::http::request::Call;

/// Lists volumes, of one type if the path says so.
pub(super) async fn list(call: Call) -> Outcome {
    let [pool, kind] = call.params();
    let kind = Some(kind).filter(|kind| !kind.is_empty());
    let filter = call.filter()?;
    let everywhere = call.all_projects_or_one()?;
    let all = storage_volumes::list(&call.app, &call.ctx, pool, kind, everywhere).await?;
    let url = |volume: &lxd_api::storage_volumes::StorageVolume| storage_volumes::url(volume, pool);
    answer::list(&all, filter.as_ref(), call.recursion() > 0, url)
}

/// Makes a volume.
pub(super) async fn create(mut call: Call) -> Outcome {
    if call.content_type() == "application/octet-stream" {
        return restore(call).await;
    }
    let mut post: StorageVolumesPost = call.json().await?;
    let [pool, kind] = call.params();
    if !kind.is_empty() {
        kind.clone_into(&mut post.r#type);
    }
    match storage_volumes::create(&call.app, &call.ctx, pool, post).await? {
        Some(operation) => answer::in_background(&operation),
        None => answer::empty(),
    }
}

/// Makes a volume of a backup's file.
async fn restore(mut call: Call) -> Outcome {
    let [pool, _] = call.params();
    let request = backups::Request {
        pool: pool.to_owned(),
        name: call.header("x-lxd-name").unwrap_or_default().to_owned(),
    };
    let stream = call.body_stream();
    let archive = backups::receive(&call.app, &call.ctx, stream).await?;
    answer::in_background(&backups::import(&call.app, &call.ctx, archive, request).await?)
}

/// Shows a volume.
pub(super) async fn get(call: Call) -> Outcome {
    answer::tagged(&storage_volumes::get(&call.app, &call.ctx, call.params()).await?)
}

/// Shows how much room a volume takes.
pub(super) async fn state(call: Call) -> Outcome {
    answer::sync(&storage_volumes::state(&call.app, &call.ctx, call.params()).await?)
}

/// Replaces a volume's configuration.
pub(super) async fn update(mut call: Call) -> Outcome {
    let put = call.json().await?;
    storage_volumes::update(&call.app, &call.ctx, call.params(), put, call.if_match()).await?;
    answer::empty()
}

/// Changes parts of a volume.
pub(super) async fn patch(mut call: Call) -> Outcome {
    let patch = call.json().await?;
    storage_volumes::patch(&call.app, &call.ctx, call.params(), patch, call.if_match()).await?;
    answer::empty()
}

/// Renames a volume.
pub(super) async fn rename(mut call: Call) -> Outcome {
    let post = call.json().await?;
    match storage_volumes::rename(&call.app, &call.ctx, call.params(), post).await? {
        Moved::Renamed(url) => answer::created(&url),
        Moved::Moving(operation) => answer::in_background(&operation),
    }
}

/// Deletes a volume.
pub(super) async fn delete(call: Call) -> Outcome {
    storage_volumes::delete(&call.app, &call.ctx, call.params()).await?;
    answer::empty()
}
