//! `lxc config`: the configuration of instances and of the server.

use lxd_api::instance_snapshots::{InstanceSnapshot, InstanceSnapshotPut};
use lxd_api::instances::InstancePut;
use lxd_api::server::{Server, ServerPut};
use lxd_client::{Client, Etag, path};
use lxd_model::yaml;
use serde_json::Value;

use super::device::{self, Owner};
use super::template;
use crate::context::{Context, Resource, read_stdin, stdin_is_terminal};
use crate::edit::edit;
use crate::error::{Error, Result};
use crate::key_values::pairs;
use crate::render::{print_line, print_yaml};

const INSTANCE_HELP: &str =
    "### The configuration of the instance as YAML. Lines that begin with # are left out.\n";
const SNAPSHOT_HELP: &str =
    "### The snapshot as YAML; only its expiry can be changed. Lines that begin with # are left out.\n";
const SERVER_HELP: &str =
    "### The configuration of the server as YAML. Lines that begin with # are left out.\n";

/// The commands about configuration, by their path.
pub(crate) async fn run(cx: &Context, path: &str) -> Result<()> {
    match path.strip_prefix("config ").unwrap_or_default() {
        "show" => show(cx).await,
        "edit" => edit_configuration(cx).await,
        "get" => get(cx).await,
        "set" => set(cx).await,
        "unset" => unset(cx).await,
        rest if rest.starts_with("metadata ") || rest.starts_with("template ") => {
            template::run(cx, rest).await
        }
        rest => match rest.strip_prefix("device ") {
            Some(what) => device::run(cx, Owner::Instance, what).await,
            None => super::not_yet(),
        },
    }
}

/// Where a configuration is: an instance or the server, with the words that follow.
struct Subject<'a> {
    place: Resource,
    words: &'a [String],
}

async fn show(cx: &Context) -> Result<()> {
    let place = cx.resource_or_default(0)?;
    let client = targeted(cx, &place).await?;
    if place.name.is_empty() {
        return print_yaml(&ServerPut::from(&client.get::<Server>(&path(&[])).await?));
    }
    if let Some(at) = snapshot_path(&place.name) {
        let mut snapshot = client.get::<InstanceSnapshot>(&at).await?;
        if cx.switch("expanded") {
            snapshot.config = snapshot.expanded_config.clone();
            snapshot.devices = snapshot.expanded_devices.clone();
        }
        return print_yaml(&snapshot);
    }
    let (mut instance, _) = client.instance(&place.name).await?;
    if cx.switch("expanded") {
        instance.config = std::mem::take(&mut instance.expanded_config);
        instance.devices = std::mem::take(&mut instance.expanded_devices);
    }
    print_yaml(&InstancePut::from(&instance))
}

async fn get(cx: &Context) -> Result<()> {
    let (place, key) = match cx.arguments() {
        [key] => (cx.resource("")?, key),
        [place, key, ..] => (cx.resource(place)?, key),
        [] => return Err(Error::Help),
    };
    let client = targeted(cx, &place).await?;
    if place.name.is_empty() {
        if cx.switch("expanded") {
            return Err(Error::message("--expanded cannot be used with a server"));
        }
        let server: Server = client.get(&path(&[])).await?;
        return print_line(&server.config.get(key).map(text_of).unwrap_or_default());
    }
    let (instance, _) = client.instance(&place.name).await?;
    let config = if cx.switch("expanded") {
        &instance.expanded_config
    } else {
        &instance.config
    };
    print_line(config.get(key).map_or("", String::as_str))
}

async fn set(cx: &Context) -> Result<()> {
    let subject = subject(cx)?;
    let client = targeted(cx, &subject.place).await?;
    let changes = pairs(subject.words)?;
    if subject.place.name.is_empty() {
        let (server, etag): (Server, Etag) = client.get_with_etag(&path(&[])).await?;
        let mut put = ServerPut::from(&server);
        put.config.extend(
            changes
                .into_iter()
                .map(|(key, value)| (key, Value::String(value))),
        );
        return Ok(client.replace(&path(&[]), &put, &etag).await?);
    }
    change_instance(cx, &subject.place, async |put| {
        put.config.extend(changes);
        Ok(())
    })
    .await
}

async fn unset(cx: &Context) -> Result<()> {
    let (place, key) = match cx.arguments() {
        [key] => (cx.resource("")?, key.clone()),
        [place, key, ..] => (cx.resource(place)?, key.clone()),
        [] => return Err(Error::Help),
    };
    let client = targeted(cx, &place).await?;
    if place.name.is_empty() {
        let (server, etag): (Server, Etag) = client.get_with_etag(&path(&[])).await?;
        let mut put = ServerPut::from(&server);
        put.config.insert(key, Value::String(String::new()));
        return Ok(client.replace(&path(&[]), &put, &etag).await?);
    }
    change_instance(cx, &place, async |put| match put.config.remove(&key) {
        Some(_) => Ok(()),
        None => Err(Error::message(format!(
            "Can't unset key '{key}', it's not currently set"
        ))),
    })
    .await
}

/// What `config set` is about: no instance where the first word is a setting, or the only two are key and value. A place
/// alone is one that nothing changes of.
fn subject(cx: &Context) -> Result<Subject<'_>> {
    let words = cx.arguments();
    let server = match words {
        [first, ..] if first.contains(['=', '.']) => true,
        [_, second] => !second.contains('='),
        _ => false,
    };
    if server {
        return Ok(Subject {
            place: cx.resource("")?,
            words,
        });
    }
    Ok(Subject {
        place: cx.resource(cx.argument(0))?,
        words: words.get(1..).unwrap_or_default(),
    })
}

/// Changes an instance, unless somebody else does at the same time.
pub(crate) async fn change_instance(
    cx: &Context,
    instance: &Resource,
    change: impl AsyncFnOnce(&mut InstancePut) -> Result<()>,
) -> Result<()> {
    let (current, etag) = instance.client.instance(&instance.name).await?;
    let mut put = InstancePut::from(&current);
    change(&mut put).await?;
    let background = instance
        .client
        .update_instance(&instance.name, &put, &etag)
        .await?;
    cx.wait(&background, "").await.map(drop)
}

async fn edit_configuration(cx: &Context) -> Result<()> {
    let place = cx.resource_or_default(0)?;
    let client = targeted(cx, &place).await?;
    if place.name.is_empty() {
        return edit_server(&client).await;
    }
    match snapshot_path(&place.name) {
        Some(at) => edit_snapshot(cx, &client, &at).await,
        None => edit_instance(cx, &place).await,
    }
}

async fn edit_server(client: &Client) -> Result<()> {
    let at = path(&[]);
    if !stdin_is_terminal() {
        let put: ServerPut = yaml::from_str(&read_stdin()?)?;
        return Ok(client.replace(&at, &put, &Etag::default()).await?);
    }
    let (server, etag): (Server, Etag) = client.get_with_etag(&at).await?;
    edit(
        &format!("{SERVER_HELP}\n{}", yaml::to_string(&ServerPut::from(&server))?),
        async |text| {
            Ok(client
                .replace(&at, &yaml::from_str::<ServerPut>(text)?, &etag)
                .await?)
        },
    )
    .await
}

async fn edit_instance(cx: &Context, place: &Resource) -> Result<()> {
    let Resource { client, name, .. } = place;
    if !stdin_is_terminal() {
        let put: InstancePut = yaml::from_str(&read_stdin()?)?;
        let background = client.update_instance(name, &put, &Etag::default()).await?;
        return cx.wait(&background, "").await.map(drop);
    }
    let (instance, etag) = client.instance(name).await?;
    edit(
        &format!(
            "{INSTANCE_HELP}\n{}",
            yaml::to_string(&InstancePut::from(&instance))?
        ),
        async |text| {
            let background = client
                .update_instance(name, &yaml::from_str(text)?, &etag)
                .await?;
            cx.wait(&background, "").await.map(drop)
        },
    )
    .await
}

async fn edit_snapshot(cx: &Context, client: &Client, at: &str) -> Result<()> {
    let send = async |text: &str, etag: &Etag| {
        let background = client
            .update(at, &yaml::from_str::<InstanceSnapshotPut>(text)?, etag)
            .await?;
        cx.wait(&background, "").await.map(drop)
    };
    if !stdin_is_terminal() {
        return send(&read_stdin()?, &Etag::default()).await;
    }
    let (snapshot, etag): (InstanceSnapshot, Etag) = client.get_with_etag(at).await?;
    let text = format!("{SNAPSHOT_HELP}\n{}", yaml::to_string(&snapshot)?);
    edit(&text, async |text| send(text, &etag).await).await
}

/// The connection, to the cluster member that `--target` names.
pub(super) async fn targeted(cx: &Context, place: &Resource) -> Result<Client> {
    if !cx.given("target") {
        return Ok(place.client.clone());
    }
    if !place.name.is_empty() {
        return Err(Error::message("--target cannot be used with instances"));
    }
    let server: Server = place.client.get(&path(&[])).await?;
    if !server.environment.server_clustered {
        return Err(Error::message(
            "To use --target, the destination remote must be a cluster",
        ));
    }
    Ok(place.client.on_target(cx.text("target")))
}

fn snapshot_path(name: &str) -> Option<String> {
    let (instance, snapshot) = name.split_once('/')?;
    Some(path(&["instances", instance, "snapshots", snapshot]))
}

/// A value of the server's configuration as it is typed.
fn text_of(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        other => other.to_string(),
    }
}
