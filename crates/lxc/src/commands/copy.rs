//! `lxc copy` and `lxc move` of instances.

use std::collections::BTreeMap;

use lxd_api::instance_snapshots::InstanceSnapshot;
use lxd_api::instances::{Instance, InstancePut, InstanceSource, InstancesPost};
use lxd_api::server::Server;
use lxd_client::{Client, path};
use serde_json::{Value, json};

use super::instance_migration as migration;
use super::launch::device_overrides;
use crate::context::{Context, Resource};
use crate::error::{Error, Result};

type Devices = BTreeMap<String, BTreeMap<String, String>>;

/// What the progress of a copy is called.
pub(super) const TRANSFERRING: &str = "Transferring instance: ";

/// `lxc copy`.
pub(crate) async fn copy(cx: &Context) -> Result<()> {
    make(cx, false).await
}

/// Makes a copy, which takes the place of its source if that moves: then it is the same to all who know it.
async fn make(cx: &Context, is_move: bool) -> Result<()> {
    let settings = settings(cx)?;
    let (source, target) = ends(cx)?;
    if cx.switch("refresh") && cx.switch("no-profiles") {
        return Err(Error::message("--no-profiles cannot be used with --refresh"));
    }
    let client = target
        .client
        .in_project(target_project(cx, &source))
        .on_target(cx.text("target"));
    if !cx.text("target").is_empty() {
        let server: Server = target.client.get(&path(&[])).await?;
        if !server.environment.server_clustered {
            return Err(Error::message(
                "To use --target, the destination remote must be a cluster",
            ));
        }
    }
    let mut post = described(cx, &source, is_move && source.remote != target.remote).await?;
    overrides(cx, settings, &mut post)?;
    if is_move && source.remote == target.remote && root_of(&post.devices).is_none() {
        // What its profiles give it here they may not give it there.
        let (instance, _) = source.client.instance(&source.name).await?;
        let root = root_of(&instance.expanded_devices);
        post.devices
            .extend(root.map(|(name, root)| (name.clone(), root.clone())));
    }
    let own_name = source.name.split('/').next().unwrap_or_default();
    post.name = if target.name.is_empty() {
        own_name.to_string()
    } else {
        target.name
    };
    if !is_move {
        post.ephemeral = cx.switch("ephemeral");
    }
    let is_running = post.source.live;
    post.source = InstanceSource {
        r#type: "copy".into(),
        source: source.name.clone(),
        project: match source.client.project() {
            // Not that of the target, which may be another one.
            "" => "default".into(),
            project => project.into(),
        },
        instance_only: cx.switch("instance-only"),
        container_only: cx.switch("instance-only"),
        refresh: cx.switch("refresh"),
        live: post.stateful && !cx.switch("stateless"),
        allow_inconsistent: cx.switch("allow-inconsistent"),
        ..InstanceSource::default()
    };
    if cx.switch("refresh") && source.name.contains('/') {
        return Err(Error::message("--refresh can only be used with instances"));
    }
    if source.remote == target.remote {
        let background = client.create_instance(&post).await?;
        cx.wait(&background, TRANSFERRING).await?;
    } else {
        post.source.live = is_running && !cx.switch("stateless") && !cx.switch("refresh");
        migration::copy(cx, (&source, &client), post.clone()).await?;
    }
    if cx.switch("refresh") {
        follow(cx, &client, &post).await?;
    }
    Ok(())
}

/// Gives a refreshed copy the configuration of its source, too; what belongs to the copy alone stays.
async fn follow(cx: &Context, client: &Client, post: &InstancesPost) -> Result<()> {
    let (copy, etag) = client.instance(&post.name).await?;
    let mut put = InstancePut::from(&copy);
    put.config.retain(|key, _| key.starts_with("volatile."));
    let own = post
        .config
        .iter()
        .filter(|(key, _)| !key.starts_with("volatile."));
    put.config
        .extend(own.map(|(key, value)| (key.clone(), value.clone())));
    put.devices = post.devices.clone();
    if let Some((name, root)) = root_of(&copy.devices) {
        // The files are where they were.
        put.devices.insert(name.clone(), root.clone());
    }
    put.profiles = post.profiles.clone().unwrap_or_default();
    put.description = post.description.clone();
    if put == InstancePut::from(&copy) {
        return Ok(());
    }
    let background = client.update_instance(&post.name, &put, &etag).await?;
    cx.wait(&background, "Refreshing instance: ").await.map(drop)
}

fn root_of(devices: &Devices) -> Option<(&String, &BTreeMap<String, String>)> {
    devices.iter().find(|(_, device)| {
        device.get("type").is_some_and(|kind| kind == "disk")
            && device.get("path").is_some_and(|path| path == "/")
    })
}

/// `lxc move`: to another server, or to a new name, another pool, project or cluster member.
pub(crate) async fn move_instance(cx: &Context) -> Result<()> {
    let places = ["storage", "target-project", "target"];
    if cx.arguments().len() < 2 && places.iter().all(|flag| cx.text(flag).is_empty()) {
        return Err(Error::HelpAndCount);
    }
    let (source, target) = ends(cx)?;
    let new = if target.name.is_empty() {
        &source.name
    } else {
        &target.name
    };
    if source.remote == target.remote && cx.given("target") {
        let server: Server = source.client.get(&path(&[])).await?;
        if !server.environment.server_clustered {
            return Err(Error::message("The source LXD server is not clustered"));
        }
    }
    let stays = places.iter().all(|flag| cx.text(flag).is_empty());
    if source.remote != target.remote {
        make(cx, true).await?;
        let deleted = source.client.delete_instance(&source.name).await;
        let deleted = deleted.map_err(|error| {
            Error::message(format!(
                "Failed to delete original instance after copying it: {error}"
            ))
        })?;
        return cx.wait(&deleted, "").await.map(drop);
    }
    let changes = ["config", "device", "profile", "no-profiles"];
    let is_changed = changes.iter().any(|flag| cx.given(flag));
    if stays && is_changed {
        return Err(Error::message(
            "Can't override configuration or profiles in local rename",
        ));
    }
    if let Some((instance, snapshot)) = source.name.split_once('/') {
        let new = new.split_once('/').filter(|(parent, _)| *parent == instance);
        let (_, new) = new
            .ok_or_else(|| Error::message("Invalid new snapshot name, parent must be the same as source"))?;
        let at = path(&["instances", instance, "snapshots", snapshot]);
        let background = source
            .client
            .start(&at, &json!({ "name": new, "migration": false }))
            .await?;
        return cx.wait(&background, "").await.map(drop);
    }
    if is_changed {
        make(cx, true).await?;
        let deleted = source.client.delete_instance(&source.name).await?;
        return cx.wait(&deleted, "").await.map(drop);
    }
    let mut body = json!({ "name": new });
    if !stays {
        body["migration"] = Value::Bool(true);
        body["live"] = Value::Bool(!cx.switch("stateless"));
        body["instance_only"] = Value::Bool(cx.switch("instance-only"));
        body["allow_inconsistent"] = Value::Bool(cx.switch("allow-inconsistent"));
        for (key, flag) in [("pool", "storage"), ("project", "target-project")] {
            if !cx.text(flag).is_empty() {
                body[key] = cx.text(flag).into();
            }
        }
    }
    let client = source.client.on_target(cx.text("target"));
    let background = client.start(&path(&["instances", &source.name]), &body).await;
    let background = background.map_err(|error| match stays {
        true => error.into(),
        false => Error::message(format!("Migration API failure: {error}")),
    })?;
    let moved = cx.wait(&background, TRANSFERRING).await;
    match moved {
        Err(error) if !stays => Err(Error::message(format!("Migration operation failure: {error}"))),
        moved => moved.map(drop),
    }
}

/// Source and target.
fn ends(cx: &Context) -> Result<(Resource, Resource)> {
    let source = cx.resource(cx.argument(0))?;
    if source.name.is_empty() {
        return Err(Error::message("You must specify a source instance name"));
    }
    let target = match cx.arguments().get(1) {
        Some(word) => cx.resource(word)?,
        None => Resource {
            name: String::new(),
            ..cx.resource("")?
        },
    };
    Ok((source, target))
}

fn target_project<'a>(cx: &'a Context, source: &'a Resource) -> &'a str {
    let wanted = cx.text("target-project");
    if wanted.is_empty() {
        source.client.project()
    } else {
        wanted
    }
}

/// The source's description, without what belongs to it alone.
async fn described(cx: &Context, source: &Resource, keeps_all: bool) -> Result<InstancesPost> {
    let (mut ephemeral, mut is_running) = (false, false);
    let (config, devices, profiles, stateful, description, architecture, kind) =
        match source.name.split_once('/') {
            Some((instance, snapshot)) => {
                let at = path(&["instances", instance, "snapshots", snapshot]);
                let found: InstanceSnapshot = source.client.get(&at).await?;
                let kind = source.client.instance(instance).await?.0.r#type;
                (
                    found.config,
                    found.devices,
                    found.profiles,
                    found.stateful,
                    String::new(),
                    found.architecture,
                    kind,
                )
            }
            None => {
                let found: Instance = source.client.instance(&source.name).await?.0;
                ephemeral = found.ephemeral;
                is_running = found.status == "Running";
                let Instance {
                    config,
                    devices,
                    profiles,
                    stateful,
                    description,
                    architecture,
                    r#type,
                    ..
                } = found;
                (
                    config,
                    devices,
                    profiles,
                    stateful,
                    description,
                    architecture,
                    r#type,
                )
            }
        };
    let own = |key: &str| {
        key.starts_with("volatile.") && key != "volatile.base_image" && key != "volatile.last_state.idmap"
    };
    let config = if cx.switch("refresh") || keeps_all {
        config
    } else {
        config.into_iter().filter(|(key, _)| !own(key)).collect()
    };
    Ok(InstancesPost {
        config,
        devices,
        ephemeral,
        profiles: Some(profiles),
        stateful,
        description,
        architecture,
        r#type: kind,
        source: InstanceSource {
            live: is_running,
            ..InstanceSource::default()
        },
        ..InstancesPost::default()
    })
}

/// Configuration of the copy alone.
type Settings = Vec<(String, String)>;

fn settings(cx: &Context) -> Result<Settings> {
    let pair = |word: &String| {
        let pair = word.split_once('=');
        let (key, value) = pair.ok_or_else(|| Error::message(format!("Bad key=value pair: {word}")))?;
        Ok((key.to_owned(), value.to_owned()))
    };
    cx.list("config").iter().map(pair).collect()
}

/// What the flags change of the copy.
fn overrides(cx: &Context, settings: Settings, post: &mut InstancesPost) -> Result<()> {
    if cx.switch("no-profiles") {
        post.profiles = Some(Vec::new());
    } else if cx.given("profile") {
        post.profiles = Some(cx.list("profile").to_vec());
    }
    post.config.extend(settings);
    for (device, key, value) in device_overrides(cx.list("device"))? {
        post.devices.entry(device).or_default().insert(key, value);
    }
    if !cx.text("storage").is_empty() {
        let root = post.devices.values_mut().find(|device| {
            device.get("type").is_some_and(|kind| kind == "disk")
                && device.get("path").is_some_and(|path| path == "/")
        });
        let pool = cx.text("storage").to_string();
        match root {
            Some(root) => drop(root.insert("pool".into(), pool)),
            None => {
                let root = [("type", "disk".to_string()), ("path", "/".into()), ("pool", pool)];
                post.devices
                    .insert("root".into(), root.map(|(key, value)| (key.into(), value)).into());
            }
        }
    }
    Ok(())
}
