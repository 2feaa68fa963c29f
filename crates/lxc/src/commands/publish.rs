//! `lxc publish`: images of instances and snapshots.

use lxd_api::Time;
use lxd_api::images::{ImagesPost, ImagesPostSource};
use lxd_api::instance_state::InstanceStatePut;
use lxd_api::instances::{Instance, InstancePut};
use lxd_client::path;

use super::image::give_aliases;
use super::image_copy;
use crate::context::{Context, Resource};
use crate::error::{Error, Result};
use crate::render::print;

/// `lxc publish`.
pub(crate) async fn publish(cx: &Context) -> Result<()> {
    let source = cx.resource(cx.argument(0))?;
    if source.name.is_empty() {
        return Err(Error::message("Instance name is mandatory"));
    }
    let mut elsewhere = None;
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
        elsewhere = (target.remote != source.remote).then_some(target);
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
    if let Some(target) = &elsewhere {
        let copied = image_copy::fetch_made(cx, &source, target, &fingerprint).await;
        // It was only made to be fetched.
        let deleted = source.client.delete(&path(&["images", &fingerprint])).await;
        copied?;
        cx.wait(&deleted?, "").await?;
    }
    let home = elsewhere.as_ref().unwrap_or(&source);
    give_aliases(&home.client, &fingerprint, cx.list("alias")).await?;
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
                "Invalid expiration date: parsing time {expires:?} as \"2006-01-02T15:04:05Z07:00\": {}",
                why_not_a_time(expires)
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

/// What is wrong with a time: where it stops to look like one, as scripts know the words.
fn why_not_a_time(text: &str) -> String {
    let layout = [
        "2006", "-", "01", "-", "02", "T", "15", ":", "04", ":", "05", "Z07:00",
    ];
    let mut rest = text;
    for part in layout {
        let is_digits = part.starts_with(|first: char| first.is_ascii_digit());
        let fits = rest.get(..part.len()).is_some_and(|start| {
            if is_digits {
                start.bytes().all(|digit| digit.is_ascii_digit())
            } else {
                start == part
            }
        });
        if !fits {
            return format!("cannot parse {rest:?} as {part:?}");
        }
        rest = &rest[part.len()..];
    }
    format!("cannot parse {rest:?} as \"Z07:00\"")
}

async fn make(cx: &Context, source: &Resource, post: &ImagesPost) -> Result<String> {
    let mut body = serde_json::to_value(post).unwrap_or_default();
    if post.properties.is_empty() {
        // Not the same as an empty map: the image gets the properties of the one that the instance was made of.
        body["properties"] = serde_json::Value::Null;
    }
    let background = source.client.start(&path(&["images"]), &body).await?;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bad_time_is_wrong_at_its_first_bad_part() {
        for (text, why) in [
            ("bad", r#"cannot parse "bad" as "2006""#),
            ("2030-01-01", r#"cannot parse "" as "T""#),
            ("2030-1-01", r#"cannot parse "1-01" as "01""#),
        ] {
            assert_eq!(why_not_a_time(text), why);
        }
    }
}
