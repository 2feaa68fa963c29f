//! `/1.0/storage-pools/{name}/volumes`.

use lxd_api::storage_volumes::StorageVolumesPost;
use lxd_core::storage_volumes;

use crate::http::answer::{self, Outcome};
use crate::http::request::Call;

/// Lists volumes, of one type if the path says so.
pub(super) async fn list(call: Call) -> Outcome {
    let [pool, kind] = call.params();
    let kind = Some(kind).filter(|kind| !kind.is_empty());
    let filter = call.filter()?;
    let all = storage_volumes::list(&call.app, &call.ctx, pool, kind, call.all_projects()).await?;
    let url = |volume: &lxd_api::storage_volumes::StorageVolume| storage_volumes::url(volume, pool);
    answer::list(&all, filter.as_ref(), call.recursion() > 0, url)
}

/// Makes a volume.
pub(super) async fn create(mut call: Call) -> Outcome {
    let mut post: StorageVolumesPost = call.json().await?;
    let [pool, kind] = call.params();
    if !kind.is_empty() {
        kind.clone_into(&mut post.r#type);
    }
    storage_volumes::create(&call.app, &call.ctx, pool, post).await?;
    answer::empty()
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
    answer::created(&storage_volumes::rename(&call.app, &call.ctx, call.params(), post).await?)
}

/// Deletes a volume.
pub(super) async fn delete(call: Call) -> Outcome {
    storage_volumes::delete(&call.app, &call.ctx, call.params()).await?;
    answer::empty()
}
