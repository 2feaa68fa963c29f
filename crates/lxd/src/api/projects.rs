//! `/1.0/projects`.

use lxd_core::projects;

use crate::http::answer::{self, Outcome};
use crate::http::request::Call;

/// Lists projects.
pub(super) async fn list(call: Call) -> Outcome {
    if call.recursion() > 0 {
        return answer::sync(&projects::list(&call.app, &call.ctx).await?);
    }
    answer::sync(&projects::urls(&call.app, &call.ctx).await?)
}

/// Makes a project.
pub(super) async fn create(mut call: Call) -> Outcome {
    let post = call.json().await?;
    answer::created(&projects::create(&call.app, &call.ctx, post).await?)
}

/// Shows a project.
pub(super) async fn get(call: Call) -> Outcome {
    let [name] = call.params();
    answer::tagged(&projects::get(&call.app, &call.ctx, name).await?)
}

/// Shows what a project uses of its limits.
pub(super) async fn state(call: Call) -> Outcome {
    let [name] = call.params();
    answer::sync(&projects::state(&call.app, &call.ctx, name).await?)
}

/// Replaces a project's configuration.
pub(super) async fn update(mut call: Call) -> Outcome {
    let put = call.json().await?;
    let [name] = call.params();
    projects::update(&call.app, &call.ctx, name, put, call.if_match()).await?;
    answer::empty()
}

/// Changes parts of a project.
pub(super) async fn patch(mut call: Call) -> Outcome {
    let patch = call.json().await?;
    let [name] = call.params();
    projects::patch(&call.app, &call.ctx, name, patch, call.if_match()).await?;
    answer::empty()
}

/// Renames a project.
pub(super) async fn rename(mut call: Call) -> Outcome {
    let post: lxd_api::projects::ProjectPost = call.json().await?;
    let [name] = call.params();
    answer::in_background(&projects::rename(&call.app, &call.ctx, name, &post.name)?)
}

/// Deletes a project.
pub(super) async fn delete(call: Call) -> Outcome {
    let [name] = call.params();
    projects::delete(&call.app, &call.ctx, name).await?;
    answer::empty()
}
