//! `lxc rename`: instances and snapshots.

use lxd_client::path;
use serde_json::json;

use crate::context::Context;
use crate::error::{Error, Result};

/// `lxc rename`.
pub(crate) async fn rename(cx: &Context) -> Result<()> {
    let source = cx.resource(cx.argument(0))?;
    let (target_remote, target) = match cx.argument(1).contains(':') {
        true => cx.config.split(cx.argument(1))?,
        false => (source.remote.as_str(), cx.argument(1)),
    };
    if target_remote != source.remote {
        return Err(Error::message("Can't specify a different remote for rename"));
    }
    let background = match source.name.split_once('/') {
        Some((instance, snapshot)) => {
            let new = target.split_once('/').filter(|(parent, _)| *parent == instance);
            let Some((_, new)) = new else {
                return Err(Error::message(
                    "Invalid new snapshot name, parent must be the same as source",
                ));
            };
            let at = path(&["instances", instance, "snapshots", snapshot]);
            source.client.start(&at, &json!({ "name": new })).await?
        }
        None => {
            source
                .client
                .start(&path(&["instances", &source.name]), &json!({ "name": target }))
                .await?
        }
    };
    cx.wait(&background, "").await.map(drop)
}
