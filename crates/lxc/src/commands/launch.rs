//! `lxc init` and `lxc launch`: new instances.

use std::collections::BTreeMap;

use lxd_api::instance_state::InstanceStatePut;
use lxd_api::instances::{InstancePut, InstanceSource, InstancesPost};
use lxd_api::networks::Network;
use lxd_api::profiles::Profile;
use lxd_api::storage_pools::StoragePool;
use lxd_client::{Client, path};
use lxd_model::yaml;
use serde_json::Value;

use super::state;
use crate::context::{Context, Resource, read_stdin, stdin_is_terminal};
use crate::error::{Error, Result};
use crate::image_server::ImageServer;
use crate::render::print_line;

/// What the progress of fetching and unpacking an image is called.
const RETRIEVING: &str = "Retrieving image: ";

/// `lxc init`.
pub(crate) async fn init(cx: &Context) -> Result<()> {
    create(cx).await.map(drop)
}

/// `lxc launch`.
pub(crate) async fn launch(cx: &Context) -> Result<()> {
    let console = cx.text("console");
    if cx.given("console") && !matches!(console, "console" | "vga") {
        return Err(Error::message(format!("Unknown console type {console:?}")));
    }
    let (instance, name) = create(cx).await?;
    cx.tell(&format!("Starting {name}"))?;
    let shown = format!("{}:{name}", instance.remote);
    let change = InstanceStatePut {
        action: "start".into(),
        timeout: -1,
        ..InstanceStatePut::default()
    };
    let started = instance.client.change_instance_state(&name, &change).await?;
    cx.wait(&started, "")
        .await
        .map_err(|error| state::with_hint(error, &shown))?;
    if cx.given("console") {
        super::console::attach(&instance.client, &name, console).await?;
    }
    Ok(())
}

/// Creates an instance; gives where it is, and its name.
async fn create(cx: &Context) -> Result<(Resource, String)> {
    let (image, mut instance) = what_and_where(cx)?;
    instance.client = instance.client.on_target(cx.text("target"));
    let client = &instance.client;
    let mut post = piped_configuration()?;
    match instance.name.as_str() {
        "" => cx.tell("Creating the instance")?,
        name => cx.tell(&format!("Creating {name}"))?,
    }
    post.name.clone_from(&instance.name);
    apply_flags(cx, &mut post)?;
    let own = apply_devices(cx, client, &mut post).await?;
    post.source = match image {
        None => InstanceSource {
            r#type: "none".into(),
            ..InstanceSource::default()
        },
        Some(word) => {
            let (source, kind) = source(cx, &word, &instance).await?;
            // An image says what it is for.
            post.r#type = kind.unwrap_or(post.r#type);
            source
        }
    };
    let mut body = serde_json::to_value(&post).unwrap_or_default();
    leave_out_empty(&mut body);
    let is_remote = !post.source.server.is_empty();
    let failed = |error: Error| match is_remote {
        true => Error::message(format!("Failed instance creation: {error}")),
        false => error,
    };
    let background = client.create_instance_value(&body).await;
    let background = background.map_err(|error| failed(error.into()))?;
    let ended = cx.wait(&background, RETRIEVING).await.map_err(failed)?;
    let resources = ended
        .or_else(|| background.operation().cloned())
        .unwrap_or_default()
        .resources;
    let created = resources.get("instances").or_else(|| resources.get("containers"));
    let url = created.and_then(|urls| urls.first()).map_or("", String::as_str);
    let name = url
        .split('?')
        .next()
        .and_then(|url| url.rsplit('/').next())
        .unwrap_or_default()
        .to_string();
    if instance.name.is_empty() {
        print_line(&format!("Instance name is: {name}"))?;
    }
    if !own {
        warn_without_network(&instance.client, &name).await?;
    }
    Ok((instance, name))
}

/// The image's word, if one is wanted, and the new instance.
fn what_and_where(cx: &Context) -> Result<(Option<String>, Resource)> {
    let (first, second) = (cx.argument(0), cx.argument(1));
    cx.config.split(first)?;
    if cx.switch("empty") {
        if cx.arguments().len() > 1 {
            return Err(Error::message("--empty cannot be combined with an image name"));
        }
        return Ok((None, cx.resource(first)?));
    }
    if cx.arguments().is_empty() {
        return Err(Error::Usage);
    }
    // Without a name the instance goes to the default remote, wherever the image is.
    Ok((Some(first.to_string()), cx.resource(second)?))
}

/// What is piped into standard input is an instance as YAML, of which configuration and devices are taken.
fn piped_configuration() -> Result<InstancesPost> {
    if stdin_is_terminal() {
        return Ok(InstancesPost::default());
    }
    let text = read_stdin()?;
    if text.trim().is_empty() {
        return Ok(InstancesPost::default());
    }
    let piped: InstancePut = yaml::from_str(&text)?;
    Ok(InstancesPost {
        config: piped.config,
        devices: piped.devices,
        ..InstancesPost::default()
    })
}

fn apply_flags(cx: &Context, post: &mut InstancesPost) -> Result<()> {
    for word in cx.list("config") {
        let (key, value) = word
            .split_once('=')
            .ok_or_else(|| Error::message(format!("Bad key=value pair: {word}")))?;
        post.config.insert(key.into(), value.into());
    }
    if cx.given("profile") {
        // An empty name stands for no profile at all.
        post.profiles = Some(
            cx.list("profile")
                .iter()
                .filter(|name| !name.is_empty())
                .cloned()
                .collect(),
        );
    } else if cx.switch("no-profiles") {
        post.profiles = Some(Vec::new());
    }
    post.ephemeral |= cx.switch("ephemeral");
    post.instance_type = cx.text("type").to_string();
    post.r#type = if cx.switch("vm") {
        "virtual-machine".into()
    } else {
        "container".into()
    };
    Ok(())
}

/// Adds the devices that flags ask for; says whether a network is among them.
async fn apply_devices(cx: &Context, client: &Client, post: &mut InstancesPost) -> Result<bool> {
    let network = cx.text("network");
    if !network.is_empty() {
        let found: lxd_client::Result<Network> = client.get(&path(&["networks", network])).await;
        let found =
            found.map_err(|error| Error::message(format!("Failed loading network {network:?}: {error}")))?;
        post.devices.insert("eth0".into(), card(&found));
    }
    let pool = cx.text("storage");
    if !pool.is_empty() {
        let found: lxd_client::Result<StoragePool> = client.get(&path(&["storage-pools", pool])).await;
        found.map_err(|error| Error::message(format!("Failed loading storage pool {pool:?}: {error}")))?;
        let root = [("type", "disk"), ("path", "/"), ("pool", pool)];
        post.devices.insert(
            "root".into(),
            root.map(|(key, value)| (key.into(), value.into())).into(),
        );
    }
    let overrides = device_overrides(cx.list("device"))?;
    if overrides
        .iter()
        .any(|(device, ..)| !post.devices.contains_key(device))
    {
        inherit_devices(client, post, &overrides).await?;
    }
    for (device, key, value) in overrides {
        post.devices.entry(device).or_default().insert(key, value);
    }
    Ok(!network.is_empty())
}

/// Gives the instance its own copies of profiles' devices that are to be changed.
async fn inherit_devices(
    client: &Client,
    post: &mut InstancesPost,
    overrides: &[(String, String, String)],
) -> Result<()> {
    let names = post.profiles.clone().unwrap_or_else(|| vec!["default".into()]);
    for name in names.iter().rev() {
        let profile: lxd_client::Result<Profile> = client.get(&path(&["profiles", name])).await;
        let profile = profile.map_err(|error| {
            Error::message(format!(
                "Failed loading profile {name:?} for device override: {error}"
            ))
        })?;
        for (device, ..) in overrides {
            if let Some(inherited) = profile.devices.get(device) {
                post.devices
                    .entry(device.clone())
                    .or_insert_with(|| inherited.clone());
            }
        }
    }
    match overrides
        .iter()
        .find(|(device, ..)| !post.devices.contains_key(device))
    {
        Some((device, ..)) => Err(Error::message(format!(
            "Cannot override config for device {device:?}: Device not found in profile devices"
        ))),
        None => Ok(()),
    }
}

/// Takes `device,key=value` words apart.
pub(crate) fn device_overrides(words: &[String]) -> Result<Vec<(String, String, String)>> {
    let parse = |word: &String| {
        let (device, setting) = word.split_once(',')?;
        let (key, value) = setting.split_once('=')?;
        Some((device.to_string(), key.to_string(), value.to_string()))
    };
    let wrong = |word: &String| {
        Error::message(format!(
            "Bad device override syntax, expecting <device>,<key>=<value>: {word}"
        ))
    };
    words
        .iter()
        .map(|word| parse(word).ok_or_else(|| wrong(word)))
        .collect()
}

/// A network card on a network.
fn card(network: &Network) -> BTreeMap<String, String> {
    let mut card = BTreeMap::from([
        ("type".to_string(), "nic".to_string()),
        ("name".into(), "eth0".into()),
    ]);
    if network.managed {
        card.insert("network".into(), network.name.clone());
    } else {
        let nictype = if network.r#type == "bridge" {
            "bridged"
        } else {
            "macvlan"
        };
        card.insert("nictype".into(), nictype.into());
        card.insert("parent".into(), network.name.clone());
    }
    card
}

/// Where the image of a new instance comes from, and the sort of machine that it is for where a server tells.
async fn source(cx: &Context, word: &str, instance: &Resource) -> Result<(InstanceSource, Option<String>)> {
    let (remote, name) = cx.config.split(word)?;
    let image = InstanceSource {
        r#type: "image".into(),
        ..InstanceSource::default()
    };
    // Image servers say what they mean by no name.
    let name = if name.is_empty() { "default" } else { name };
    let server = &cx.config.remotes()[remote];
    if server.is_simplestreams() {
        let listed = InstanceSource {
            mode: "pull".into(),
            server: server.addr.clone(),
            protocol: server.protocol.clone(),
            alias: name.into(),
            ..image
        };
        return Ok((listed, None));
    }
    let client = if remote == instance.remote {
        instance.client.clone()
    } else {
        match cx.image_server(word)?.0 {
            ImageServer::Lxd(client) => client,
            ImageServer::Lists(_) => cx.client(remote)?,
        }
    };
    let server = ImageServer::Lxd(client.clone());
    let found = server.fingerprint(name, false).await?;
    let described = server.image(&found).await?;
    if cx.switch("vm") && described.r#type != "virtual-machine" {
        return Err(Error::message("Asked for a VM but image is of type container"));
    }
    let kind = Some(described.r#type).filter(|kind| !kind.is_empty());
    let fingerprint = described.fingerprint;
    if remote == instance.remote {
        return Ok((InstanceSource { fingerprint, ..image }, kind));
    }
    if client.is_local() {
        return Err(Error::message(
            "The source remote must be reachable over the network",
        ));
    }
    let certificate = cx
        .config
        .server_certificate(remote)?
        .map(|certificate| certificate.pem().to_string());
    let mut from = InstanceSource {
        mode: "pull".into(),
        server: client.base(),
        protocol: "lxd".into(),
        certificate: certificate.unwrap_or_default(),
        project: client.project().into(),
        ..image
    };
    if !described.public {
        from.secret = image_secret(&client, &fingerprint).await?;
    }
    if described.public && described.aliases.iter().any(|alias| alias.name == name) {
        // So the server knows what to follow.
        from.alias = name.into();
    } else {
        from.fingerprint = fingerprint;
    }
    Ok((from, kind))
}

/// What lets another server fetch a private image.
async fn image_secret(client: &Client, fingerprint: &str) -> Result<String> {
    let token = client
        .start(&path(&["images", fingerprint, "secret"]), &serde_json::json!({}))
        .await?;
    Ok(token.metadata("secret").as_str().unwrap_or_default().to_string())
}

/// The reference leaves most empty fields out, and servers take some of them for a wish.
fn leave_out_empty(body: &mut Value) {
    let empty = |value: &Value| match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Bool(on) => !on,
        Value::Object(fields) => fields.is_empty(),
        _ => false,
    };
    if let Some(Value::Object(source)) = body.get_mut("source") {
        source.retain(|_, value| !empty(value));
    }
}

/// Tells about an instance that has no network card.
async fn warn_without_network(client: &Client, name: &str) -> Result<()> {
    let (instance, _) = client.instance(name).await?;
    if instance
        .expanded_devices
        .values()
        .all(|device| device.get("type").is_none_or(|kind| kind != "nic"))
    {
        eprintln!("\nThe instance you are starting doesn't have any network attached to it.");
        eprintln!("  To create a new network, use: lxc network create");
        eprintln!("  To attach a network to an instance, use: lxc network attach\n");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn device_words_are_taken_apart() {
        let words = ["root,size=1GiB,x".to_string()];
        assert_eq!(
            device_overrides(&words).unwrap(),
            [("root".into(), "size".into(), "1GiB,x".into())]
        );
        for word in ["foo", "root,foo"] {
            let error = device_overrides(&[word.to_string()]).unwrap_err().to_string();
            assert_eq!(
                error,
                format!("Bad device override syntax, expecting <device>,<key>=<value>: {word}")
            );
        }
    }
}
