//! Commands about storage volumes.

use lxd_api::storage_volumes::{StorageVolume, StorageVolumePost, StorageVolumesPost};
use lxd_client::path;

use super::configured::Place;
use super::not_yet;
use super::storage::pool;
use crate::context::{Context, Resource};
use crate::error::{Error, Result};
use crate::key_values::{pairs, strict_pairs};
use crate::render::{List, list as print_list, print_line, sort_rows};

/// Runs a command about storage volumes.
pub(super) async fn run(cx: &Context, path: &str) -> Result<()> {
    match path {
        "storage volume create" => create(cx).await,
        "storage volume delete" => delete(cx).await,
        "storage volume edit" => place(&pool(cx)?, cx.argument(1)).edit::<StorageVolume>().await,
        "storage volume get" => {
            place(&pool(cx)?, cx.argument(1))
                .print_value::<StorageVolume>(cx.argument(2))
                .await
        }
        "storage volume list" => list(cx).await,
        "storage volume rename" => rename(cx).await,
        "storage volume set" => {
            let pairs = pairs(&cx.arguments()[2..])?;
            place(&pool(cx)?, cx.argument(1))
                .set::<StorageVolume>(pairs)
                .await
        }
        "storage volume show" => place(&pool(cx)?, cx.argument(1)).show::<StorageVolume>().await,
        "storage volume unset" => {
            place(&pool(cx)?, cx.argument(1))
                .unset::<StorageVolume>(cx.argument(2))
                .await
        }
        _ => not_yet(),
    }
}

/// Kind and name of a volume: `container/c1`; custom volumes may stand alone.
fn kind_and_name(word: &str) -> (&str, &str) {
    const KINDS: [&str; 4] = ["container", "virtual-machine", "image", "custom"];
    match word.split_once('/') {
        Some((kind, name)) if KINDS.contains(&kind) => (kind, name),
        _ => ("custom", word),
    }
}

fn place<'a>(pool: &'a Resource, word: &str) -> Place<'a> {
    let (kind, name) = kind_and_name(word);
    Place {
        client: &pool.client,
        path: path(&["storage-pools", &pool.name, "volumes", kind, name]),
    }
}

async fn create(cx: &Context) -> Result<()> {
    let pool = pool(cx)?;
    let (kind, name) = kind_and_name(cx.argument(1));
    let request = StorageVolumesPost {
        name: name.into(),
        r#type: kind.into(),
        content_type: cx.text("type").into(),
        config: strict_pairs(&cx.arguments()[2..])?,
        ..StorageVolumesPost::default()
    };
    let at = path(&["storage-pools", &pool.name, "volumes", kind]);
    let created = pool.client.start(&at, &request).await?;
    cx.wait(&created, "").await?;
    if cx.is_quiet() {
        Ok(())
    } else {
        print_line(&format!("Storage volume {} created", cx.argument(1)))
    }
}

async fn delete(cx: &Context) -> Result<()> {
    let pool = pool(cx)?;
    let deleted = pool.client.delete(&place(&pool, cx.argument(1)).path).await?;
    cx.wait(&deleted, "").await?;
    if cx.is_quiet() {
        Ok(())
    } else {
        print_line(&format!("Storage volume {} deleted", cx.argument(1)))
    }
}

async fn rename(cx: &Context) -> Result<()> {
    let pool = pool(cx)?;
    let (old, new) = (cx.argument(1), cx.argument(2));
    let request = StorageVolumePost {
        name: new.into(),
        ..StorageVolumePost::default()
    };
    let renamed = pool.client.start(&place(&pool, old).path, &request).await?;
    cx.wait(&renamed, "").await?;
    if cx.is_quiet() {
        Ok(())
    } else {
        print_line(&format!("Renamed storage volume from \"{old}\" to \"{new}\""))
    }
}

/// A column of `storage volume list`.
type Column = (char, &'static str, fn(&StorageVolume) -> String);

const COLUMNS: &[Column] = &[
    ('t', "TYPE", |volume| match volume.name.contains('/') {
        true => format!("{} (snapshot)", volume.r#type),
        false => volume.r#type.clone(),
    }),
    ('n', "NAME", |volume| volume.name.clone()),
    ('d', "DESCRIPTION", |volume| volume.description.clone()),
    ('c', "CONTENT-TYPE", |volume| match volume.content_type.as_str() {
        "" => "filesystem".into(),
        content => content.into(),
    }),
    ('u', "USED BY", |volume| volume.used_by.len().to_string()),
    ('L', "LOCATION", |volume| volume.location.clone()),
    ('e', "PROJECT", |volume| volume.project.clone()),
];

async fn list(cx: &Context) -> Result<()> {
    let pool = cx.named(cx.argument(0), "pool")?;
    let at = path(&["storage-pools", &pool.name, "volumes"]);
    let everywhere = if cx.switch("all-projects") {
        "&all-projects=true"
    } else {
        ""
    };
    let volumes: Vec<StorageVolume> = pool.client.get(&format!("{at}?recursion=1{everywhere}")).await?;
    let filters = &cx.arguments()[1..];
    let is_wanted = |volume: &&StorageVolume| {
        filters.iter().all(|filter| match filter.split_once('=') {
            Some(("type", kind)) => volume.r#type == kind,
            Some(("name", name)) => volume.name == name,
            Some((key, value)) => volume.config.get(key).is_some_and(|set| set == value),
            None => volume.name.contains(filter.as_str()),
        })
    };
    let volumes: Vec<StorageVolume> = volumes.iter().filter(is_wanted).cloned().collect();
    let columns = columns(cx, volumes.iter().any(|volume| volume.location != "none"))?;
    let cells = |volume: &StorageVolume| columns.iter().map(|(_, _, cell)| cell(volume)).collect();
    let mut rows: Vec<Vec<String>> = volumes.iter().map(cells).collect();
    sort_rows(&mut rows);
    let header: Vec<&str> = columns.iter().map(|(_, title, _)| *title).collect();
    print_list(
        cx.text("format"),
        &List {
            header: &header,
            rows: &rows,
            raw: &volumes,
        },
    )
}

/// The columns asked for; by default those that tell something here.
fn columns(cx: &Context, is_cluster: bool) -> Result<Vec<Column>> {
    let letters = cx.text("columns");
    let is_default = !cx.given("columns");
    let mut chosen = Vec::new();
    for letter in letters.chars().filter(|letter| *letter != ',') {
        let column = COLUMNS.iter().find(|(known, _, _)| *known == letter);
        let column = column.ok_or_else(|| {
            Error::message(format!("Unknown column shorthand char '{letter}' in '{letters}'"))
        })?;
        let hidden = match letter {
            'L' => !is_cluster,
            'e' => !cx.switch("all-projects"),
            _ => false,
        };
        if !(is_default && hidden) {
            chosen.push(*column);
        }
    }
    Ok(chosen)
}
