//! `lxc publish`: images of instances and snapshots.

use lxd_api::Time;
use lxd_api::images::{ImagesPost, ImagesPostSource};
use lxd_api::instance_state::InstanceStatePut;
use lxd_api::instances::{Instance, InstancePut};
use lxd_client::path;

use super::image::give_aliases;
use crate::context::{Context, Resource};
use crate::error::{Error, Result};
use crate::render::print;

/// `lxc publish`.
pub(crate) async fn publish(cx: &Context) -> Result<()> {
    let source = cx.resource(cx.argument(0))?;
    if source.name.is_empty() {
        return Err(Error::message("Instance name is mandatory"));
    }
    let mut words = cx.arguments().get(1..).unwrap_or_default();
    if let [first, rest @ ..] = words
        && !first.contains('=')
    {
        let target = cx.resource(first)?;
        if !target.name.is_empty() {
            return Err(Error::message(
                "There is no \"image name\".  Did you want an alias?",
            ));
        }
        if target.remote != source.remote {
            return Err(Error::message(
                "Publishing to another server is not available yet",
            ));
        }
        words = rest;
    }
    let post = described(cx, &source, words)?;
    let stopped = match source.name.contains('/') {
        true => None,
        false => stop(cx, &source).await?,
    };
    let made = make(cx, &source, &post).await;
    if let Some(instance) = stopped {
        start_again(cx, &source, &instance).await?;
    }
    let fingerprint = made?;
    give_aliases(&source.client, &fingerprint, cx.list("alias")).await?;
    print(&format!("Instance published with fingerprint: {fingerprint}\n"))
}

fn described(cx: &Context, source: &Resource, words: &[String]) -> Result<ImagesPost> {
    let mut post = ImagesPost {
        public: cx.switch("public"),
        compression_algorithm: cx.text("compression").into(),
        ..ImagesPost::default()
    };
    for word in words {
        let (key, value) = word
            .split_once('=')
            .ok_or_else(|| Error::message(format!("Bad key=value pair: {word}")))?;
        post.properties.insert(key.into(), value.into());
    }
    let expires = cx.text("expire");
    if !expires.is_empty() {
        post.expires_at = expires.parse::<Time>().map_err(|_| {
            Error::message(format!(
                "Invalid expiration date: parsing time {expires:?} as \"2006-01-02T15:04:05Z07:00\": cannot parse {expires:?} \
                 as \"2006\""
            ))
        })?;
    }
    let kind = if source.name.contains('/') {
        "snapshot"
    } else {
        "instance"
    };
    post.source = Some(ImagesPostSource {
        r#type: kind.into(),
        name: source.name.clone(),
        ..ImagesPostSource::default()
    });
    Ok(post)
}

async fn make(cx: &Context, source: &Resource, post: &ImagesPost) -> Result<String> {
    let background = source.client.start(&path(&["images"]), post).await?;
    let ended = cx.wait(&background, "Publishing instance: ").await?;
    let fingerprint = ended.and_then(|operation| {
        let found = operation.metadata.get("fingerprint")?;
        Some(found.as_str()?.to_owned())
    });
    fingerprint.ok_or_else(|| Error::message("The server did not say which image it made"))
}

/// Stops an instance that runs, if that is wanted; gives it then. An ephemeral one is kept from going with that.
async fn stop(cx: &Context, source: &Resource) -> Result<Option<Instance>> {
    let (instance, etag) = source.client.instance(&source.name).await?;
    let is_running = instance.status_code != 0 && instance.status != "Stopped";
    if !is_running {
        return Ok(None);
    }
    if !cx.switch("force") {
        return Err(Error::message(
            "The instance is currently running. Use --force to have it stopped and restarted",
        ));
    }
    if instance.ephemeral {
        let put = InstancePut {
            ephemeral: false,
            ..InstancePut::from(&instance)
        };
        let changed = source.client.update_instance(&source.name, &put, &etag).await?;
        cx.wait(&changed, "").await?;
    }
    change(cx, source, "stop")
        .await
        .map_err(|_| Error::message("Stopping instance failed!"))?;
    Ok(Some(instance))
}

async fn start_again(cx: &Context, source: &Resource, instance: &Instance) -> Result<()> {
    if instance.ephemeral {
        let (now, etag) = source.client.instance(&source.name).await?;
        let put = InstancePut {
            ephemeral: true,
            ..InstancePut::from(&now)
        };
        let changed = source.client.update_instance(&source.name, &put, &etag).await?;
        cx.wait(&changed, "").await?;
    }
    change(cx, source, "start").await
}

async fn change(cx: &Context, source: &Resource, action: &str) -> Result<()> {
    let put = InstanceStatePut {
        action: action.into(),
        timeout: -1,
        force: true,
        ..InstanceStatePut::default()
    };
    let background = source.client.change_instance_state(&source.name, &put).await?;
    cx.wait(&background, "").await.map(drop)
}
