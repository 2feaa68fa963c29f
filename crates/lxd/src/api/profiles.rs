//! `/1.0/profiles`.

use lxd_core::profiles;

use crate::http::answer::{self, Outcome};
use crate::http::request::Call;

/// Lists profiles.
pub(super) async fn list(call: Call) -> Outcome {
    if call.recursion() > 0 {
        return answer::sync(&profiles::list(&call.app, &call.ctx).await?);
    }
    answer::sync(&profiles::urls(&call.app, &call.ctx).await?)
}

/// Makes a profile.
pub(super) async fn create(mut call: Call) -> Outcome {
    let post = call.json().await?;
    answer::created(&profiles::create(&call.app, &call.ctx, post).await?)
}

/// Shows a profile.
pub(super) async fn get(call: Call) -> Outcome {
    let [name] = call.params();
    answer::tagged(&profiles::get(&call.app, &call.ctx, name).await?)
}

/// Replaces a profile.
pub(super) async fn update(mut call: Call) -> Outcome {
    let put = call.json().await?;
    let [name] = call.params();
    profiles::update(&call.app, &call.ctx, name, put, call.if_match()).await?;
    answer::empty()
}

/// Changes parts of a profile.
pub(super) async fn patch(mut call: Call) -> Outcome {
    let patch = call.patch::<lxd_api::profiles::ProfilePut>().await?;
    let [name] = call.params();
    profiles::patch(&call.app, &call.ctx, name, patch, call.if_match()).await?;
    answer::empty()
}

/// Renames a profile.
pub(super) async fn rename(mut call: Call) -> Outcome {
    let post = call.json().await;
    let [name] = call.params();
    // The name of the default profile stays, whatever else is asked.
    let post: lxd_api::profiles::ProfilePost = match post {
        Err(_) if name == "default" => lxd_api::profiles::ProfilePost::default(),
        post => post?,
    };
    answer::created(&profiles::rename(&call.app, &call.ctx, name, &post.name).await?)
}

/// Deletes a profile.
pub(super) async fn delete(call: Call) -> Outcome {
    let [name] = call.params();
    profiles::delete(&call.app, &call.ctx, name).await?;
    answer::empty()
}
