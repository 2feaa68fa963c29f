//! `lxc list`: instances in a table.

mod columns;
mod filters;

use lxd_api::instances::InstanceFull;
use lxd_api::server::Server;
use lxd_client::{Client, path};
use serde_json::Value;

use self::columns::Column;
use self::filters::Filters;
pub(super) use self::filters::{is_short_for, pattern};
use crate::context::Context;
use crate::error::{Error, Result};
use crate::render::{self, List};

/// The columns of `--fast`.
const FAST: &str = "nsacPt";
/// The column that only clusters have, among those that are shown where none are chosen.
const CLUSTERED: &str = "L";

/// `lxc list`.
pub(crate) async fn list(cx: &Context) -> Result<()> {
    let (remote, words) = remote_and_filters(cx)?;
    let filters = Filters::parse(&words)?;
    let client = cx.client(remote)?;
    let chosen = match chosen_columns(cx) {
        Err(_) if asks_for_location(cx) && !is_clustered(&client).await? => return Err(not_clustered()),
        chosen => chosen?,
    };
    let (columns, server) = settle_location(&client, &chosen, cx.given("columns")).await?;
    let depth = if columns.iter().any(Column::needs_state) {
        2
    } else {
        1
    };
    let mut at = path(&["instances"]);
    at.push_str(if cx.switch("all-projects") {
        "?all-projects=true&"
    } else {
        "?"
    });
    let mut instances: Vec<InstanceFull> = client.get(&format!("{at}recursion={depth}")).await?;
    instances.retain(|instance| filters.fit(instance));
    let columns = match server {
        Location::Known => columns,
        Location::Unknown => without_location(&client, columns, &instances, cx.given("columns")).await?,
    };
    let mut rows: Vec<Vec<String>> = instances
        .iter()
        .map(|instance| columns.iter().map(|column| column.cell(instance)).collect())
        .collect();
    render::sort_rows(&mut rows);
    let header: Vec<&str> = columns.iter().map(|column| column.title.as_str()).collect();
    if cx.text("format") == "yaml" {
        for instance in &mut instances {
            // YAML has no word for the lists that were not asked for.
            instance.backups.get_or_insert_default();
            instance.snapshots.get_or_insert_default();
        }
    }
    match cx.text("format") {
        "json" => render::list(
            "json",
            &List {
                header: &header,
                rows: &rows,
                raw: &json_of(&instances),
            },
        ),
        format => render::list(
            format,
            &List {
                header: &header,
                rows: &rows,
                raw: &instances,
            },
        ),
    }
}

/// The instances as the server sent them: a stopped one has no network, which is not the same as an empty one.
fn json_of(instances: &[InstanceFull]) -> Value {
    let mut all = serde_json::to_value(instances).unwrap_or_default();
    for instance in all.as_array_mut().into_iter().flatten() {
        let network = instance.pointer_mut("/state/network");
        if let Some(network) =
            network.filter(|network| network.as_object().is_some_and(serde_json::Map::is_empty))
        {
            *network = Value::Null;
        }
    }
    all
}

/// Whether it is settled that the location is shown.
enum Location {
    Known,
    Unknown,
}

/// The remote and the filters: the first word is a remote where it has a colon and is no `key=value`.
fn remote_and_filters(cx: &Context) -> Result<(&str, Vec<&str>)> {
    let mut words: Vec<&str> = cx.arguments().iter().map(String::as_str).collect();
    let first = words
        .first()
        .copied()
        .filter(|word| word.contains(':') && !word.contains('='));
    let Some(first) = first else {
        return Ok((cx.config.default_remote(), words));
    };
    let (remote, name) = cx.config.split(first)?;
    if name.is_empty() {
        words.remove(0);
    } else {
        words[0] = name;
    }
    Ok((remote, words))
}

fn chosen_columns(cx: &Context) -> Result<Vec<Column>> {
    if cx.switch("fast") && cx.given("columns") {
        return Err(Error::message("Can't specify --fast with --columns"));
    }
    let mut letters = if cx.switch("fast") {
        FAST.to_string()
    } else {
        cx.text("columns").to_string()
    };
    if cx.switch("all-projects") && !cx.given("columns") {
        letters.insert(0, 'e');
    }
    columns::parse(&letters)
}

/// Whether the location is among the letters that were asked for, whatever else is wrong with them.
fn asks_for_location(cx: &Context) -> bool {
    cx.given("columns")
        && cx
            .text("columns")
            .split(',')
            .any(|entry| !entry.contains('.') && entry.contains(CLUSTERED))
}

/// Looks whether the server is a cluster where that decides something, and only the server itself can tell.
async fn settle_location(
    client: &Client,
    columns: &[Column],
    asked: bool,
) -> Result<(Vec<Column>, Location)> {
    let shown = columns.iter().any(Column::is_location);
    if shown && asked && !is_clustered(client).await? {
        return Err(not_clustered());
    }
    Ok((
        columns.to_vec(),
        if shown && !asked {
            Location::Unknown
        } else {
            Location::Known
        },
    ))
}

/// Leaves the location out where there is no cluster: instances tell, where there are any.
async fn without_location(
    client: &Client,
    mut columns: Vec<Column>,
    instances: &[InstanceFull],
    asked: bool,
) -> Result<Vec<Column>> {
    debug_assert!(!asked, "what is asked for is settled before");
    let clustered = match instances.first() {
        Some(instance) => !matches!(instance.location.as_str(), "" | "none"),
        None => is_clustered(client).await?,
    };
    if !clustered {
        columns.retain(|column| !column.is_location());
    }
    Ok(columns)
}

async fn is_clustered(client: &Client) -> Result<bool> {
    Ok(client
        .get::<Server>(&path(&[]))
        .await?
        .environment
        .server_clustered)
}

fn not_clustered() -> Error {
    Error::message(format!("Can't specify column {CLUSTERED} when not clustered"))
}
