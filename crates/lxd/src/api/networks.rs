//! `/1.0/networks`.

use lxd_core::networks;

use crate::http::answer::{self, Outcome};
use crate::http::request::Call;

/// Lists networks and the host's other interfaces.
pub(super) async fn list(call: Call) -> Outcome {
    if call.recursion() > 0 {
        return answer::sync(&networks::list(&call.app, &call.ctx).await?);
    }
    answer::sync(&networks::urls(&call.app, &call.ctx).await?)
}

/// Makes a network.
pub(super) async fn create(mut call: Call) -> Outcome {
    let post = call.json().await?;
    answer::created(&networks::create(&call.app, &call.ctx, post).await?)
}

/// Shows a network.
pub(super) async fn get(call: Call) -> Outcome {
    let [name] = call.params();
    answer::tagged(&networks::get(&call.app, &call.ctx, name).await?)
}

/// Shows what a network's interface does.
pub(super) async fn state(call: Call) -> Outcome {
    let [name] = call.params();
    answer::sync(&networks::state(&call.app, &call.ctx, name).await?)
}

/// Lists the addresses in use.
pub(super) async fn leases(call: Call) -> Outcome {
    let [name] = call.params();
    answer::sync(&networks::leases(&call.app, &call.ctx, name).await?)
}

/// Replaces a network's configuration.
pub(super) async fn update(mut call: Call) -> Outcome {
    let put = call.json().await?;
    let [name] = call.params();
    networks::update(&call.app, &call.ctx, name, put, call.if_match()).await?;
    answer::empty()
}

/// Changes parts of a network.
pub(super) async fn patch(mut call: Call) -> Outcome {
    let patch = call.json().await?;
    let [name] = call.params();
    networks::patch(&call.app, &call.ctx, name, patch, call.if_match()).await?;
    answer::empty()
}

/// Renames a network.
pub(super) async fn rename(mut call: Call) -> Outcome {
    let post: lxd_api::networks::NetworkPost = call.json().await?;
    let [name] = call.params();
    answer::created(&networks::rename(&call.app, &call.ctx, name, &post.name).await?)
}

/// Deletes a network.
pub(super) async fn delete(call: Call) -> Outcome {
    let [name] = call.params();
    networks::delete(&call.app, &call.ctx, name).await?;
    answer::empty()
}
