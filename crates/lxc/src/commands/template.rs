//! `lxc config metadata` and `lxc config template`: what an instance's image said of itself, and its templates.

use bytes::Bytes;
use http::Method;
use lxd_api::images::ImageMetadata;
use lxd_client::{Client, Etag, path};
use lxd_model::yaml;

use super::not_yet;
use crate::context::{Context, Resource, read_stdin, stdin_is_terminal};
use crate::edit::{edit, in_editor};
use crate::error::Result;
use crate::render::{List, list as print_list, print, print_yaml};

const METADATA_HELP: &str =
    "### The metadata of the instance as YAML. Lines that begin with # are left out.\n\n";

/// Runs a command about metadata or templates; `what` is its path below `config`.
pub(super) async fn run(cx: &Context, what: &str) -> Result<()> {
    match what {
        "metadata edit" => edit_metadata(cx).await,
        "metadata show" => {
            let instance = instance(cx)?;
            print_yaml(
                &instance
                    .client
                    .get::<ImageMetadata>(&metadata(&instance.name))
                    .await?,
            )
        }
        "template create" => {
            let instance = instance(cx)?;
            put(
                &instance.client,
                &template(&instance.name, cx.argument(1)),
                String::new(),
            )
            .await
        }
        "template delete" => {
            let instance = instance(cx)?;
            Ok(instance
                .client
                .remove(&template(&instance.name, cx.argument(1)))
                .await?)
        }
        "template edit" => edit_template(cx).await,
        "template list" => list(cx).await,
        "template show" => {
            let instance = instance(cx)?;
            print(&fetch(&instance.client, &template(&instance.name, cx.argument(1))).await?)
        }
        _ => not_yet(),
    }
}

fn instance(cx: &Context) -> Result<Resource> {
    cx.named(cx.argument(0), "instance")
}

fn metadata(instance: &str) -> String {
    path(&["instances", instance, "metadata"])
}

/// The path of a template; its name is escaped as a part of a path is.
fn template(instance: &str, name: &str) -> String {
    let escaped = path(&[name]);
    let escaped = escaped.trim_start_matches("/1.0/");
    format!("{}/templates?path={escaped}", metadata(instance))
}

async fn edit_metadata(cx: &Context) -> Result<()> {
    let instance = instance(cx)?;
    let at = metadata(&instance.name);
    if !stdin_is_terminal() {
        let new: ImageMetadata = yaml::from_str(&read_stdin()?)?;
        return Ok(instance.client.replace(&at, &new, &Etag::default()).await?);
    }
    let (shown, etag): (ImageMetadata, Etag) = instance.client.get_with_etag(&at).await?;
    edit(
        &format!("{METADATA_HELP}{}", yaml::to_string(&shown)?),
        async |text| {
            let new: ImageMetadata = yaml::from_str(text)?;
            Ok(instance.client.replace(&at, &new, &etag).await?)
        },
    )
    .await
}

async fn edit_template(cx: &Context) -> Result<()> {
    let instance = instance(cx)?;
    let at = template(&instance.name, cx.argument(1));
    let text = if stdin_is_terminal() {
        in_editor(&fetch(&instance.client, &at).await?)?
    } else {
        read_stdin()?
    };
    put(&instance.client, &at, text).await
}

async fn list(cx: &Context) -> Result<()> {
    let instance = instance(cx)?;
    let names: Vec<String> = instance
        .client
        .get(&format!("{}/templates", metadata(&instance.name)))
        .await?;
    let rows: Vec<Vec<String>> = names.iter().map(|name| vec![name.clone()]).collect();
    let shown = List {
        header: &["FILENAME"],
        rows: &rows,
        raw: &names,
    };
    print_list(cx.text("format"), &shown)
}

async fn fetch(client: &Client, at: &str) -> Result<String> {
    let bytes = client.download(at).await?.bytes().await?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

async fn put(client: &Client, at: &str, text: String) -> Result<()> {
    let reply = client.raw(Method::POST, at, Bytes::from(text)).await?;
    Ok(reply.check(at)?)
}
