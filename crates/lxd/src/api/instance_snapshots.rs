//! `/1.0/instances/NAME/snapshots`.

use lxd_api::instance_snapshots::InstanceSnapshot;
use lxd_core::instances::snapshots;

use crate::http::answer::{self, Outcome};
use crate::http::request::Call;

/// Lists snapshots.
pub(super) async fn list(call: Call) -> Outcome {
    let [instance] = call.params();
    let all = snapshots::list(&call.app, &call.ctx, instance).await?;
    let url = |one: &InstanceSnapshot| snapshots::url(&call.ctx.project, instance, &one.name);
    answer::list(&all, None, call.recursion() > 0, url)
}

/// Takes a snapshot.
pub(super) async fn create(mut call: Call) -> Outcome {
    let post = call.json().await?;
    let [instance] = call.params();
    answer::in_background(&snapshots::create(&call.app, &call.ctx, instance, post).await?)
}

/// Shows a snapshot.
pub(super) async fn get(call: Call) -> Outcome {
    let [instance, name] = call.params();
    answer::tagged(&snapshots::get(&call.app, &call.ctx, instance, name).await?)
}

/// Replaces what can be written of a snapshot.
pub(super) async fn update(mut call: Call) -> Outcome {
    let put = call.json().await?;
    let [instance, name] = call.params();
    let path = (instance, name);
    answer::in_background(&snapshots::update(&call.app, &call.ctx, path, put, call.if_match()).await?)
}

/// Changes parts of a snapshot.
pub(super) async fn patch(mut call: Call) -> Outcome {
    let patch = call.json().await?;
    let [instance, name] = call.params();
    let path = (instance, name);
    answer::in_background(&snapshots::patch(&call.app, &call.ctx, path, patch, call.if_match()).await?)
}

/// Renames a snapshot.
pub(super) async fn rename(mut call: Call) -> Outcome {
    let post = call.json().await?;
    let [instance, name] = call.params();
    answer::in_background(&snapshots::rename(&call.app, &call.ctx, (instance, name), post).await?)
}

/// Deletes a snapshot.
pub(super) async fn delete(call: Call) -> Outcome {
    let [instance, name] = call.params();
    answer::in_background(&snapshots::delete(&call.app, &call.ctx, instance, name).await?)
}
