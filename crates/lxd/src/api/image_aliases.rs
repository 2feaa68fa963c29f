//! `/1.0/images/aliases`.

use lxd_core::images::aliases;

use crate::http::answer::{self, Outcome};
use crate::http::request::Call;

/// Lists aliases.
pub(super) async fn list(call: Call) -> Outcome {
    let all = aliases::list(&call.app, &call.ctx).await?;
    let url = |alias: &lxd_api::images::ImageAliasesEntry| {
        lxd_core::urls::plain(&["images", "aliases", &alias.name])
    };
    answer::list(&all, None, call.recursion() > 0, url)
}

/// Makes an alias.
pub(super) async fn create(mut call: Call) -> Outcome {
    let post = call.json().await?;
    answer::created(&aliases::create(&call.app, &call.ctx, post).await?)
}

/// Shows an alias.
pub(super) async fn get(call: Call) -> Outcome {
    let [name] = call.params();
    answer::tagged(&aliases::get(&call.app, &call.ctx, name).await?)
}

/// Makes an alias stand for another image.
pub(super) async fn update(mut call: Call) -> Outcome {
    let put = call.json().await?;
    let [name] = call.params();
    aliases::update(&call.app, &call.ctx, name, put, call.if_match()).await?;
    answer::empty()
}

/// Changes parts of an alias.
pub(super) async fn patch(mut call: Call) -> Outcome {
    let patch = call.json().await?;
    let [name] = call.params();
    aliases::patch(&call.app, &call.ctx, name, patch, call.if_match()).await?;
    answer::empty()
}

/// Renames an alias.
pub(super) async fn rename(mut call: Call) -> Outcome {
    let post: lxd_api::images::ImageAliasesEntryPost = call.json().await?;
    let [name] = call.params();
    answer::created(&aliases::rename(&call.app, &call.ctx, name, &post.name).await?)
}

/// Deletes an alias.
pub(super) async fn delete(call: Call) -> Outcome {
    let [name] = call.params();
    aliases::delete(&call.app, &call.ctx, name).await?;
    answer::empty()
}
