//! `lxc profile`: profiles, and which instances have them.

use lxd_api::profiles::{Profile, ProfilesPost};
use lxd_client::path;
use serde_json::json;

use super::config::change_instance;
use super::configured::Place;
use super::device::{self, Owner};
use crate::context::{Context, Resource};
use crate::error::{Error, Result};
use crate::render::{self, List, print_line};

/// The commands about profiles, by their path.
pub(crate) async fn run(cx: &Context, path: &str) -> Result<()> {
    match path.strip_prefix("profile ").unwrap_or_default() {
        "list" => list(cx).await,
        "create" => create(cx).await,
        "copy" => copy(cx).await,
        "delete" => delete(cx).await,
        "rename" => rename(cx).await,
        "show" => place(&profile(cx)?).show::<Profile>().await,
        "edit" => place(&profile(cx)?).edit::<Profile>().await,
        "get" => get(cx).await,
        "set" => {
            place(&profile(cx)?)
                .set_words::<Profile>(&cx.arguments()[1..])
                .await
        }
        "unset" => place(&profile(cx)?).unset::<Profile>(cx.argument(1)).await,
        "add" => add(cx).await,
        "remove" => remove(cx).await,
        "assign" => assign(cx).await,
        rest => match rest.strip_prefix("device ") {
            Some(what) => device::run(cx, Owner::Profile, what).await,
            None => super::not_yet(),
        },
    }
}

/// The profile that the first argument names.
fn profile(cx: &Context) -> Result<Resource> {
    cx.named(cx.argument(0), "profile")
}

fn place(profile: &Resource) -> Place<'_> {
    Place {
        client: &profile.client,
        path: path(&["profiles", &profile.name]),
    }
}

async fn list(cx: &Context) -> Result<()> {
    let remote = cx.resource_or_default(0)?;
    if !remote.name.is_empty() {
        return Err(Error::message("Filtering isn't supported yet"));
    }
    let profiles: Vec<Profile> = remote
        .client
        .get(&format!("{}?recursion=1", path(&["profiles"])))
        .await?;
    let row = |profile: &Profile| {
        vec![
            profile.name.clone(),
            profile.description.clone(),
            profile.used_by.len().to_string(),
        ]
    };
    let mut rows: Vec<Vec<String>> = profiles.iter().map(row).collect();
    render::sort_rows(&mut rows);
    let header = ["NAME", "DESCRIPTION", "USED BY"];
    render::list(
        cx.text("format"),
        &List {
            header: &header,
            rows: &rows,
            raw: &profiles,
        },
    )
}

async fn create(cx: &Context) -> Result<()> {
    let Resource { client, name, .. } = profile(cx)?;
    let post = ProfilesPost {
        name: name.clone(),
        ..ProfilesPost::default()
    };
    client.create(&path(&["profiles"]), &post).await?;
    cx.tell(&format!("Profile {name} created"))
}

async fn copy(cx: &Context) -> Result<()> {
    let source = profile(cx)?;
    let target = cx.resource(cx.argument(1))?;
    let found: Profile = source.client.get(&path(&["profiles", &source.name])).await?;
    let name = if target.name.is_empty() {
        found.name.clone()
    } else {
        target.name
    };
    let client = match cx.text("target-project") {
        "" => target.client,
        project => target.client.in_project(project),
    };
    let Profile {
        config,
        description,
        devices,
        ..
    } = found;
    Ok(client
        .create(
            &path(&["profiles"]),
            &ProfilesPost {
                config,
                description,
                devices,
                name,
            },
        )
        .await?)
}

async fn delete(cx: &Context) -> Result<()> {
    let Resource { client, name, .. } = profile(cx)?;
    client.remove(&path(&["profiles", &name])).await?;
    cx.tell(&format!("Profile {name} deleted"))
}

async fn rename(cx: &Context) -> Result<()> {
    let Resource { client, name, .. } = profile(cx)?;
    let new = cx.argument(1);
    client
        .create(&path(&["profiles", &name]), &json!({ "name": new }))
        .await?;
    cx.tell(&format!("Profile {name} renamed to {new}"))
}

async fn get(cx: &Context) -> Result<()> {
    let Resource { client, name, .. } = profile(cx)?;
    let found: Profile = client.get(&path(&["profiles", &name])).await?;
    print_line(found.config.get(cx.argument(1)).map_or("", String::as_str))
}

async fn add(cx: &Context) -> Result<()> {
    let instance = cx.named(cx.argument(0), "instance")?;
    let profile = cx.argument(1);
    change_instance(cx, &instance, async |put| {
        put.profiles.push(profile.into());
        Ok(())
    })
    .await?;
    cx.tell(&format!("Profile {profile} added to {}", instance.name))
}

async fn remove(cx: &Context) -> Result<()> {
    let instance = cx.named(cx.argument(0), "instance")?;
    let profile = cx.argument(1);
    change_instance(cx, &instance, async |put| {
        let at = put.profiles.iter().position(|applied| applied == profile);
        let Some(at) = at else {
            let name = &instance.name;
            return Err(Error::message(format!(
                "Profile {profile} isn't currently applied to {name}"
            )));
        };
        put.profiles.remove(at);
        Ok(())
    })
    .await?;
    cx.tell(&format!("Profile {profile} removed from {}", instance.name))
}

async fn assign(cx: &Context) -> Result<()> {
    let instance = cx.named(cx.argument(0), "instance")?;
    let profiles: Vec<String> = match cx.argument(1) {
        "" => Vec::new(),
        names => names.split(',').map(String::from).collect(),
    };
    let applied = if profiles.is_empty() {
        "(none)".to_string()
    } else {
        profiles.join(",")
    };
    change_instance(cx, &instance, async |put| {
        put.profiles = profiles;
        Ok(())
    })
    .await?;
    cx.tell(&format!("Profiles {applied} applied to {}", instance.name))
}
