//! `/1.0/storage-pools/{name}/volumes/{type}/{volume}/snapshots`.

use lxd_core::storage_volumes::{self, snapshots};

use crate::http::answer::{self, Outcome};
use crate::http::request::Call;

/// Lists snapshots.
pub(super) async fn list(call: Call) -> Outcome {
    let path: [&str; 3] = call.params();
    let all = snapshots::list(&call.app, &call.ctx, path).await?;
    if call.recursion() > 0 {
        return answer::sync(&all);
    }
    let own = |name: &str| name.rsplit('/').next().unwrap_or_default().to_owned();
    let url = |name: &str| storage_volumes::url_of(path, "snapshots", &own(name));
    answer::sync(&all.iter().map(|one| url(&one.name)).collect::<Vec<_>>())
}

/// Takes a snapshot.
pub(super) async fn create(mut call: Call) -> Outcome {
    let post = call.json().await?;
    answer::in_background(&snapshots::create(&call.app, &call.ctx, call.params(), post).await?)
}

/// Shows a snapshot.
pub(super) async fn get(call: Call) -> Outcome {
    let [pool, kind, volume, name] = call.params();
    answer::tagged(&snapshots::get(&call.app, &call.ctx, [pool, kind, volume], name).await?)
}

/// Replaces what can be written of a snapshot.
pub(super) async fn update(mut call: Call) -> Outcome {
    let put = call.json().await?;
    let [pool, kind, volume, name] = call.params();
    let path = [pool, kind, volume];
    snapshots::update(&call.app, &call.ctx, path, name, put, call.if_match()).await?;
    answer::empty()
}

/// Changes parts of a snapshot.
pub(super) async fn patch(mut call: Call) -> Outcome {
    let patch = call.json().await?;
    let [pool, kind, volume, name] = call.params();
    let path = [pool, kind, volume];
    snapshots::patch(&call.app, &call.ctx, path, name, patch, call.if_match()).await?;
    answer::empty()
}

/// Renames a snapshot.
pub(super) async fn rename(mut call: Call) -> Outcome {
    let post = call.json().await?;
    let [pool, kind, volume, name] = call.params();
    answer::in_background(&snapshots::rename(&call.app, &call.ctx, [pool, kind, volume], name, post).await?)
}

/// Deletes a snapshot.
pub(super) async fn delete(call: Call) -> Outcome {
    let [pool, kind, volume, name] = call.params();
    answer::in_background(&snapshots::delete(&call.app, &call.ctx, [pool, kind, volume], name).await?)
}
