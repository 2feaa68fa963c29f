//! `lxc snapshot` and `lxc restore`: what an instance was like.

use lxd_api::Time;
use lxd_api::instance_snapshots::InstanceSnapshotsPost;
use lxd_client::{Etag, path};
use serde_json::json;

use crate::context::Context;
use crate::error::{Error, Result};

/// `lxc snapshot`.
pub(crate) async fn snapshot(cx: &Context) -> Result<()> {
    let instance = cx.named(cx.argument(0), "instance")?;
    let name = cx.argument(1);
    if instance.name.contains('/') {
        return Err(Error::message(format!(
            "Invalid instance name: {}",
            instance.name
        )));
    }
    let snapshots = path(&["instances", &instance.name, "snapshots"]);
    if cx.switch("reuse") && !name.is_empty() {
        match instance
            .client
            .delete(&path(&["instances", &instance.name, "snapshots", name]))
            .await
        {
            Ok(background) => drop(cx.wait(&background, "").await?),
            Err(error) if error.is_not_found() => {}
            Err(error) => return Err(error.into()),
        }
    }
    let post = InstanceSnapshotsPost {
        name: name.into(),
        stateful: cx.switch("stateful"),
        // Without a date the instance's own configuration decides; "never" overrides it.
        expires_at: cx.switch("no-expiry").then(Time::never),
    };
    let background = instance.client.start(&snapshots, &post).await?;
    cx.wait(&background, "").await.map(drop)
}

/// `lxc restore`.
pub(crate) async fn restore(cx: &Context) -> Result<()> {
    let instance = cx.named(cx.argument(0), "instance")?;
    let name = cx.argument(1);
    let name = name.strip_prefix(&format!("{}/", instance.name)).unwrap_or(name);
    if name.is_empty() {
        return Err(Error::message("Missing snapshot name"));
    }
    let body = json!({ "restore": name, "stateful": cx.switch("stateful") });
    let at = path(&["instances", &instance.name]);
    let background = instance.client.update(&at, &body, &Etag::default()).await?;
    cx.wait(&background, "").await.map(drop)
}
