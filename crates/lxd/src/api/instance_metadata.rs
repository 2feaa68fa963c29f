//! `/1.0/instances/NAME/metadata` and its templates.

use http::header::CONTENT_DISPOSITION;
use lxd_core::instances::metadata;

use crate::http::answer::{self, Outcome};
use crate::http::error::Failure;
use crate::http::request::Call;

/// Shows the metadata.
pub(super) async fn get(call: Call) -> Outcome {
    let [name] = call.params();
    answer::tagged(&metadata::get(&call.app, &call.ctx, name).await?)
}

/// Replaces the metadata.
pub(super) async fn update(mut call: Call) -> Outcome {
    let put = call.json().await?;
    let [name] = call.params();
    metadata::update(&call.app, &call.ctx, name, put, call.if_match()).await?;
    answer::empty()
}

/// Changes parts of the metadata.
pub(super) async fn patch(mut call: Call) -> Outcome {
    let patch = call.patch::<lxd_api::images::ImageMetadata>().await?;
    let [name] = call.params();
    metadata::patch(&call.app, &call.ctx, name, patch, call.if_match()).await?;
    answer::empty()
}

/// Lists templates, or sends one.
pub(super) async fn templates(call: Call) -> Outcome {
    let [name] = call.params();
    let Some(path) = call.query("path").filter(|path| !path.is_empty()) else {
        let names = metadata::templates(&call.app, &call.ctx, name).await?;
        return answer::sync(&names);
    };
    let text = metadata::template(&call.app, &call.ctx, name, &path).await?;
    let mut answer = answer::bytes("application/octet-stream", text);
    answer::set_header(
        &mut answer,
        CONTENT_DISPOSITION,
        &format!("inline;filename={path}"),
    );
    Ok(answer)
}

/// Makes a template, or replaces it.
pub(super) async fn put_template(mut call: Call) -> Outcome {
    let content = call.body_bytes().await?;
    let path = path(&call)?;
    let [name] = call.params();
    metadata::put_template(&call.app, &call.ctx, name, &path, content.to_vec()).await?;
    answer::empty()
}

/// Removes a template.
pub(super) async fn delete_template(call: Call) -> Outcome {
    let path = path(&call)?;
    let [name] = call.params();
    metadata::delete_template(&call.app, &call.ctx, name, &path).await?;
    answer::empty()
}

fn path(call: &Call) -> Result<String, Failure> {
    let path = call.query("path").filter(|path| !path.is_empty());
    path.ok_or_else(|| Failure::bad_request("missing path argument"))
}
