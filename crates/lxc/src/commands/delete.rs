//! `lxc delete`: instances and snapshots.

use lxd_api::instance_snapshots::InstanceSnapshot;
use lxd_api::instance_state::InstanceStatePut;
use lxd_api::instances::Instance;
use lxd_client::path;

use crate::context::{Context, Resource, ask};
use crate::error::{Error, Result};

/// `lxc delete`: looks whether everything is there before it deletes anything.
pub(crate) async fn delete(cx: &Context) -> Result<()> {
    let mut found = Vec::new();
    for word in cx.arguments() {
        let resource = cx.resource(word)?;
        let instance = check(&resource).await?;
        found.push((resource, instance));
    }
    for (resource, instance) in found {
        delete_one(cx, &resource, instance).await?;
    }
    Ok(())
}

/// The instance, unless the word names one of its snapshots.
async fn check(resource: &Resource) -> Result<Option<Instance>> {
    let Resource { remote, client, name } = resource;
    match name.split_once('/') {
        Some((instance, snapshot)) => {
            let at = path(&["instances", instance, "snapshots", snapshot]);
            let found = client.get::<InstanceSnapshot>(&at).await;
            found
                .map(|_| None)
                .map_err(|error| missing("instance snapshot", remote, name, &error))
        }
        None => {
            let found = client.instance(name).await;
            found
                .map(|(instance, _)| Some(instance))
                .map_err(|error| missing("instance", remote, name, &error))
        }
    }
}

fn missing(what: &str, remote: &str, name: &str, error: &lxd_client::Error) -> Error {
    Error::message(format!(
        "Failed checking {what} exists \"{remote}:{name}\": {error}"
    ))
}

async fn delete_one(cx: &Context, resource: &Resource, instance: Option<Instance>) -> Result<()> {
    let Resource { client, name, .. } = resource;
    if cx.switch("interactive") && !matches!(ask(&format!("Remove {name} (yes/no): "))?.as_str(), "yes") {
        return Err(Error::message("User aborted delete operation"));
    }
    let Some(instance) = instance else {
        let (instance, snapshot) = name.split_once('/').unwrap_or_default();
        let background = client
            .delete(&path(&["instances", instance, "snapshots", snapshot]))
            .await?;
        return cx.wait(&background, "").await.map(drop);
    };
    if instance.status_code != 0 && !matches!(instance.status.as_str(), "Stopped" | "Error") {
        if !cx.switch("force") {
            return Err(Error::message(
                "The instance is currently running, stop it first or pass --force",
            ));
        }
        let stop = InstanceStatePut {
            action: "stop".into(),
            timeout: -1,
            force: true,
            ..InstanceStatePut::default()
        };
        let background = client.change_instance_state(name, &stop).await?;
        let stopped = cx.wait(&background, "").await;
        stopped.map_err(|error| Error::message(format!("Stopping the instance failed: {error}")))?;
        if instance.ephemeral {
            return Ok(());
        }
    }
    if cx.switch("force")
        && instance
            .config
            .get("security.protection.delete")
            .is_some_and(|on| on == "true")
    {
        unprotect(cx, resource).await?;
    }
    let background = client.delete_instance(name).await?;
    cx.wait(&background, "").await.map(drop)
}

/// Takes the protection against deletion away.
async fn unprotect(cx: &Context, resource: &Resource) -> Result<()> {
    let (instance, etag) = resource.client.instance(&resource.name).await?;
    let mut put = lxd_api::instances::InstancePut::from(&instance);
    put.config
        .insert("security.protection.delete".into(), "false".into());
    let background = resource
        .client
        .update_instance(&resource.name, &put, &etag)
        .await?;
    cx.wait(&background, "").await.map(drop)
}
