//! `lxc storage volume list`.

use std::cmp::Ordering;

use lxd_api::storage_volumes::{StorageVolume, StorageVolumeState};
use lxd_client::path;

use crate::context::{Context, Resource};
use crate::error::{Error, Result};
use crate::render::{List, bytes_binary, list as print_list, natural};

/// A column of `storage volume list`.
type Column = (char, &'static str, fn(&Shown) -> String);

/// A volume, with what it takes if that is asked for.
struct Shown<'a> {
    volume: &'a StorageVolume,
    usage: String,
}

const COLUMNS: &[Column] = &[
    ('t', "TYPE", |row| match row.volume.name.contains('/') {
        true => format!("{} (snapshot)", row.volume.r#type),
        false => row.volume.r#type.clone(),
    }),
    ('n', "NAME", |row| row.volume.name.clone()),
    ('d', "DESCRIPTION", |row| row.volume.description.clone()),
    ('c', "CONTENT-TYPE", |row| {
        match row.volume.content_type.as_str() {
            "" => "filesystem".into(),
            content => content.into(),
        }
    }),
    ('u', "USED BY", |row| row.volume.used_by.len().to_string()),
    ('U', "USAGE", |row| row.usage.clone()),
    ('L', "LOCATION", |row| row.volume.location.clone()),
    ('e', "PROJECT", |row| row.volume.project.clone()),
];

/// Lists the volumes of a pool.
pub(super) async fn list(cx: &Context) -> Result<()> {
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
            Some((key, value)) => field(volume, key).is_some_and(|set| set == value),
            // As with the reference, whose filters are of this form only.
            None => true,
        })
    };
    let volumes: Vec<StorageVolume> = volumes.iter().filter(is_wanted).cloned().collect();
    let columns = columns(cx, volumes.iter().any(|volume| volume.location != "none"))?;
    let wants_usage = columns.iter().any(|(letter, _, _)| *letter == 'U');
    let mut rows = Vec::with_capacity(volumes.len());
    for volume in &volumes {
        let usage = match wants_usage {
            true => usage(&pool, volume).await?,
            false => String::new(),
        };
        let row = Shown { volume, usage };
        rows.push(columns.iter().map(|(_, _, cell)| cell(&row)).collect::<Vec<_>>());
    }
    rows.sort_by(|a, b| together(a, b));
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

/// The order of rows: by the first word of the first column, so that snapshots stand with their volumes, then by the second.
fn together(a: &[String], b: &[String]) -> Ordering {
    let column = |row: &[String], at: usize| row.get(at).cloned().unwrap_or_default();
    let (first, other) = (column(a, 0), column(b, 0));
    let word = |text: &str| text.split(' ').next().unwrap_or_default().to_owned();
    if word(&first) != word(&other) {
        return natural(&first, &other);
    }
    natural(&column(a, 1), &column(b, 1))
}

/// What filters name: a field, or a key of the configuration as `config.user.x`.
fn field<'a>(volume: &'a StorageVolume, name: &str) -> Option<&'a str> {
    match name {
        "name" => Some(&volume.name),
        "type" => Some(&volume.r#type),
        "description" => Some(&volume.description),
        "content_type" => Some(&volume.content_type),
        "location" => Some(&volume.location),
        "project" => Some(&volume.project),
        _ => {
            let key = name.strip_prefix("config.")?;
            volume.config.get(key).map(String::as_str)
        }
    }
}

/// What a volume takes; snapshots have no number of their own.
async fn usage(pool: &Resource, volume: &StorageVolume) -> Result<String> {
    if volume.name.contains('/') {
        return Ok(String::new());
    }
    let parts = [
        "storage-pools",
        &pool.name,
        "volumes",
        &volume.r#type,
        &volume.name,
        "state",
    ];
    let client = pool.client.in_project(&volume.project);
    let state: StorageVolumeState = client.get(&path(&parts)).await?;
    Ok(state.usage.map_or_else(String::new, |usage| {
        bytes_binary(i64::try_from(usage.used).unwrap_or(i64::MAX), 2)
    }))
}

/// The columns asked for; by default those that tell something here.
fn columns(cx: &Context, is_cluster: bool) -> Result<Vec<Column>> {
    let letters = cx.text("columns");
    let is_default = !cx.given("columns");
    if !is_default && !is_cluster && letters.contains('L') {
        return Err(Error::message("Can't specify column L when not clustered"));
    }
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
