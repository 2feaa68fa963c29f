//! `/1.0/images`.

mod export;
mod upload;

use lxd_core::images;

use crate::http::answer::{self, Outcome};
use crate::http::request::Call;

pub(super) use export::export;
pub(crate) use export::export_image;
pub(super) use upload::create;

/// Lists images; the public ones for strangers.
pub(super) async fn list(call: Call) -> Outcome {
    let filter = call.filter()?;
    if call.recursion() == 0 && filter.is_none() {
        return answer::sync(&images::urls(&call.app, &call.ctx).await?);
    }
    let all = images::list(&call.app, &call.ctx).await?;
    let url = |image: &lxd_api::images::Image| lxd_core::urls::plain(&["images", &image.fingerprint]);
    answer::list(&all, filter.as_ref(), call.recursion() > 0, url)
}

/// Shows an image.
pub(super) async fn get(call: Call) -> Outcome {
    let [fingerprint] = call.params();
    let secret = call.query("secret");
    answer::tagged(&images::get(&call.app, &call.ctx, fingerprint, secret.as_deref()).await?)
}

/// Replaces what can be changed of an image.
pub(super) async fn update(mut call: Call) -> Outcome {
    let change = call.json().await?;
    let [fingerprint] = call.params();
    images::update(&call.app, &call.ctx, fingerprint, change, call.if_match()).await?;
    answer::empty()
}

/// Changes parts of an image.
pub(super) async fn patch(mut call: Call) -> Outcome {
    let change = call.json().await?;
    let [fingerprint] = call.params();
    images::patch(&call.app, &call.ctx, fingerprint, change, call.if_match()).await?;
    answer::empty()
}

/// Deletes an image.
pub(super) async fn delete(call: Call) -> Outcome {
    let [fingerprint] = call.params();
    answer::in_background(&images::delete(&call.app, &call.ctx, fingerprint).await?)
}

/// Makes a secret for an image.
pub(super) async fn secret(call: Call) -> Outcome {
    let [fingerprint] = call.params();
    answer::in_background(&images::secret(&call.app, &call.ctx, fingerprint).await?)
}

/// Looks for a newer version of an image.
pub(super) async fn refresh(call: Call) -> Outcome {
    let [fingerprint] = call.params();
    answer::in_background(&images::refresh(&call.app, &call.ctx, fingerprint).await?)
}

/// Sends an image to another server.
pub(super) async fn send(mut call: Call) -> Outcome {
    let post = call.json().await?;
    let [fingerprint] = call.params();
    answer::in_background(&images::send(&call.app, &call.ctx, fingerprint, post).await?)
}

/// Looks for newer versions of all images that follow a source, for tests.
pub(super) async fn refresh_all(call: Call) -> Outcome {
    images::refresh_all(&call.app, &call.ctx).await?;
    answer::empty()
}
