//! Commands about the aliases of images.

use lxd_api::images::{Image, ImageAliasesEntry, ImageAliasesEntryPost, ImageAliasesPost};
use lxd_client::path;

use super::{image_list, not_yet};
use crate::context::Context;
use crate::error::{Error, Result};
use crate::render::{List, list as print_list, sort_rows};

/// Digits of a fingerprint that lists show.
const SHORT: usize = 12;

/// Runs a command about image aliases.
pub(super) async fn run(cx: &Context, path: &str) -> Result<()> {
    match path {
        "image alias create" => create(cx).await,
        "image alias delete" => delete(cx).await,
        "image alias list" => list(cx).await,
        "image alias rename" => rename(cx).await,
        _ => not_yet(),
    }
}

fn named(cx: &Context) -> Result<crate::context::Resource> {
    let alias = cx.resource(cx.argument(0))?;
    if alias.name.is_empty() {
        return Err(Error::message("Alias name missing"));
    }
    Ok(alias)
}

async fn create(cx: &Context) -> Result<()> {
    let alias = named(cx)?;
    let request = ImageAliasesPost {
        name: alias.name.clone(),
        target: cx.argument(1).into(),
        ..ImageAliasesPost::default()
    };
    // The target may be a part of a fingerprint; an alias holds the whole.
    let found = alias
        .client
        .get::<Image>(&path(&["images", &request.target]))
        .await;
    let target = found.map_or(request.target.clone(), |image| image.fingerprint);
    let request = ImageAliasesPost { target, ..request };
    Ok(alias
        .client
        .create(&path(&["images", "aliases"]), &request)
        .await?)
}

async fn delete(cx: &Context) -> Result<()> {
    let alias = named(cx)?;
    Ok(alias
        .client
        .remove(&path(&["images", "aliases", &alias.name]))
        .await?)
}

async fn rename(cx: &Context) -> Result<()> {
    let alias = named(cx)?;
    let request = ImageAliasesEntryPost {
        name: cx.argument(1).into(),
    };
    Ok(alias
        .client
        .create(&path(&["images", "aliases", &alias.name]), &request)
        .await?)
}

async fn list(cx: &Context) -> Result<()> {
    let (server, filters) = image_list::server_and_filters(cx)?;
    let mut aliases = server.aliases().await?;
    aliases.retain(|alias| {
        let fits = |filter: &&str| alias.name.contains(filter) || alias.target.contains(filter);
        filters.is_empty() || filters.iter().any(fits)
    });
    let row = |alias: &ImageAliasesEntry| {
        let kind = if alias.r#type.is_empty() {
            "container"
        } else {
            &alias.r#type
        };
        vec![
            alias.name.clone(),
            alias.target.chars().take(SHORT).collect(),
            kind.to_uppercase(),
            alias.description.clone(),
        ]
    };
    let mut rows: Vec<_> = aliases.iter().map(row).collect();
    sort_rows(&mut rows);
    let header = ["ALIAS", "FINGERPRINT", "TYPE", "DESCRIPTION"];
    print_list(
        cx.text("format"),
        &List {
            header: &header,
            rows: &rows,
            raw: &aliases,
        },
    )
}
