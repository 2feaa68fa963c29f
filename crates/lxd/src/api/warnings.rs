//! `/1.0/warnings`.

use lxd_core::warnings;

use crate::http::answer::{self, Outcome};
use crate::http::request::Call;

/// Lists warnings, of all projects unless one is named.
pub(super) async fn list(call: Call) -> Outcome {
    let project = call.query("project").filter(|project| !project.is_empty());
    let all = warnings::list(&call.app, &call.ctx, project.as_deref()).await?;
    let filter = call.filter()?;
    answer::list(&all, filter.as_ref(), call.recursion() > 0, |warning| {
        warnings::url(&warning.uuid)
    })
}

/// Shows a warning.
pub(super) async fn get(call: Call) -> Outcome {
    let [uuid] = call.params();
    answer::tagged(&warnings::get(&call.app, &call.ctx, uuid).await?)
}

/// Sets the status of a warning.
pub(super) async fn update(mut call: Call) -> Outcome {
    let put = call.json().await?;
    let [uuid] = call.params();
    warnings::update(&call.app, &call.ctx, uuid, put, call.if_match()).await?;
    answer::empty()
}

/// Changes parts of a warning.
pub(super) async fn patch(mut call: Call) -> Outcome {
    let patch = call.json().await?;
    let [uuid] = call.params();
    warnings::patch(&call.app, &call.ctx, uuid, patch, call.if_match()).await?;
    answer::empty()
}

/// Deletes a warning.
pub(super) async fn delete(call: Call) -> Outcome {
    let [uuid] = call.params();
    warnings::delete(&call.app, &call.ctx, uuid).await?;
    answer::empty()
}
