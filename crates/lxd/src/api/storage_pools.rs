//! `/1.0/storage-pools`, without the volumes.

use lxd_core::storage_pools;

use crate::http::answer::{self, Outcome};
use crate::http::request::Call;

/// Lists pools.
pub(super) async fn list(call: Call) -> Outcome {
    if call.recursion() > 0 {
        return answer::sync(&storage_pools::list(&call.app, &call.ctx).await?);
    }
    answer::sync(&storage_pools::urls(&call.app, &call.ctx).await?)
}

/// Makes a pool.
pub(super) async fn create(mut call: Call) -> Outcome {
    let post = call.json().await?;
    answer::created(&storage_pools::create(&call.app, &call.ctx, post).await?)
}

/// Shows a pool.
pub(super) async fn get(call: Call) -> Outcome {
    let [name] = call.params();
    answer::tagged(&storage_pools::get(&call.app, &call.ctx, name).await?)
}

/// Shows the space and inodes of a pool.
pub(super) async fn resources(call: Call) -> Outcome {
    let [name] = call.params();
    answer::sync(&storage_pools::resources(&call.app, &call.ctx, name).await?)
}

/// Replaces a pool's configuration.
pub(super) async fn update(mut call: Call) -> Outcome {
    let put = call.json().await?;
    let [name] = call.params();
    storage_pools::update(&call.app, &call.ctx, name, put, call.if_match()).await?;
    answer::empty()
}

/// Changes parts of a pool's configuration.
pub(super) async fn patch(mut call: Call) -> Outcome {
    let patch = call.json().await?;
    let [name] = call.params();
    storage_pools::patch(&call.app, &call.ctx, name, patch, call.if_match()).await?;
    answer::empty()
}

/// Deletes a pool.
pub(super) async fn delete(call: Call) -> Outcome {
    let [name] = call.params();
    storage_pools::delete(&call.app, &call.ctx, name).await?;
    answer::empty()
}
