//! Commands about storage pools.

use std::collections::BTreeMap;

use lxd_api::resources::ResourcesStoragePool;
use lxd_api::storage_pools::{StoragePool, StoragePoolsPost};
use lxd_client::path;
use serde::Serialize;

use super::configured::Place;
use super::{not_yet, storage_volume};
use crate::context::{Context, Resource};
use crate::error::Result;
use crate::render::{List, bytes_binary, list as print_list, print_yaml, sort_rows};

/// Runs a command about storage.
pub(super) async fn run(cx: &Context, path: &str) -> Result<()> {
    match path {
        "storage create" => create(cx).await,
        "storage delete" => delete(cx).await,
        "storage edit" => place(&pool(cx)?).edit::<StoragePool>().await,
        "storage get" => place(&pool(cx)?).print_value::<StoragePool>(cx.argument(1)).await,
        "storage info" => info(cx).await,
        "storage list" => list(cx).await,
        "storage set" => {
            place(&pool(cx)?)
                .set_words::<StoragePool>(&cx.arguments()[1..])
                .await
        }
        "storage show" => show(cx).await,
        "storage unset" => place(&pool(cx)?).unset::<StoragePool>(cx.argument(1)).await,
        _ if path.starts_with("storage volume ") => storage_volume::run(cx, path).await,
        _ => not_yet(),
    }
}

/// The pool that the first argument names.
pub(super) fn pool(cx: &Context) -> Result<Resource> {
    let mut pool = cx.named(cx.argument(0), "pool")?;
    pool.client = pool.client.on_target(cx.text("target"));
    Ok(pool)
}

fn place(pool: &Resource) -> Place<'_> {
    Place {
        client: &pool.client,
        path: path(&["storage-pools", &pool.name]),
    }
}

async fn create(cx: &Context) -> Result<()> {
    let pool = pool(cx)?;
    let mut request = StoragePoolsPost {
        name: pool.name.clone(),
        driver: cx.argument(1).into(),
        config: storage_volume::settings(&cx.arguments()[2..])?,
        ..StoragePoolsPost::default()
    };
    request.config.retain(|_, value| !value.is_empty());
    pool.client.create(&path(&["storage-pools"]), &request).await?;
    match cx.text("target") {
        "" => cx.tell(&format!("Storage pool {} created", pool.name)),
        member => cx.tell(&format!("Storage pool {} pending on member {member}", pool.name)),
    }
}

async fn delete(cx: &Context) -> Result<()> {
    let pool = cx.named(cx.argument(0), "pool")?;
    pool.client.remove(&path(&["storage-pools", &pool.name])).await?;
    cx.tell(&format!("Storage pool {} deleted", pool.name))
}

async fn list(cx: &Context) -> Result<()> {
    let remote = cx.resource_or_default(0)?;
    let pools: Vec<StoragePool> = remote.client.get("/1.0/storage-pools?recursion=1").await?;
    let row = |pool: &StoragePool| {
        let source = pool.config.get("source").cloned().unwrap_or_default();
        let users = pool.used_by.len().to_string();
        let (name, driver, status) = (pool.name.clone(), pool.driver.clone(), pool.status.to_uppercase());
        vec![name, driver, source, pool.description.clone(), users, status]
    };
    let mut rows: Vec<_> = pools.iter().map(row).collect();
    sort_rows(&mut rows);
    let header = ["NAME", "DRIVER", "SOURCE", "DESCRIPTION", "USED BY", "STATE"];
    print_list(
        cx.text("format"),
        &List {
            header: &header,
            rows: &rows,
            raw: &pools,
        },
    )
}

async fn show(cx: &Context) -> Result<()> {
    let pool = pool(cx)?;
    if cx.switch("resources") {
        let resources: ResourcesStoragePool = pool
            .client
            .get(&path(&["storage-pools", &pool.name, "resources"]))
            .await?;
        return print_yaml(&resources);
    }
    place(&pool).show::<StoragePool>().await
}

/// What `storage info` prints.
#[derive(Serialize)]
struct Info {
    info: BTreeMap<&'static str, String>,
    #[serde(rename = "used by")]
    used_by: BTreeMap<String, Vec<String>>,
}

async fn info(cx: &Context) -> Result<()> {
    let pool = pool(cx)?;
    let at = path(&["storage-pools", &pool.name]);
    let shown: StoragePool = pool.client.get(&at).await?;
    let resources: ResourcesStoragePool = pool.client.get(&format!("{at}/resources")).await?;
    let size = |bytes: u64| {
        let bytes = i64::try_from(bytes).unwrap_or(i64::MAX);
        if cx.switch("bytes") {
            bytes.to_string()
        } else {
            bytes_binary(bytes, 2)
        }
    };
    let info = BTreeMap::from([
        ("name", shown.name),
        ("driver", shown.driver),
        ("description", shown.description),
        ("total space", size(resources.space.total)),
        ("space used", size(resources.space.used)),
    ]);
    let mut used_by: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for url in &shown.used_by {
        let (path, project) = url.split_once("?project=").unwrap_or((url, ""));
        let mut parts = path.trim_start_matches("/1.0/").split('/');
        let noun = match parts.next().unwrap_or_default() {
            "storage-pools" => "volumes",
            noun => noun,
        };
        let parts: Vec<&str> = parts.collect();
        // Snapshots count as what they are of.
        let name = match (noun, parts.as_slice()) {
            ("volumes", [_, _, _, name, ..]) | (_, [name, ..]) => *name,
            _ => "",
        };
        let shown = match project {
            "" => name.to_owned(),
            project => format!("{name} (project {project:?})"),
        };
        used_by.entry(noun.to_owned()).or_default().push(shown);
    }
    used_by.values_mut().for_each(|names| names.sort());
    print_yaml(&Info { info, used_by })
}
