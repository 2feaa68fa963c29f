//! Commands about background operations.

use std::collections::BTreeMap;

use lxd_api::operations::Operation;
use lxd_client::path;

use super::not_yet;
use crate::context::Context;
use crate::error::Result;
use crate::render::{List, date_utc, list as print_list, print_yaml, sort_rows};

/// Runs a command about operations.
pub(super) async fn run(cx: &Context, path: &str) -> Result<()> {
    match path {
        "operation delete" => delete(cx).await,
        "operation list" => list(cx).await,
        "operation show" => show(cx).await,
        _ => not_yet(),
    }
}

async fn delete(cx: &Context) -> Result<()> {
    let operation = cx.named(cx.argument(0), "operation")?;
    operation
        .client
        .remove(&path(&["operations", &operation.name]))
        .await?;
    cx.tell(&format!("Operation {} deleted", operation.name))
}

async fn show(cx: &Context) -> Result<()> {
    let operation = cx.named(cx.argument(0), "operation")?;
    let shown: Operation = operation
        .client
        .get(&path(&["operations", &operation.name]))
        .await?;
    print_yaml(&shown)
}

async fn list(cx: &Context) -> Result<()> {
    let remote = cx.resource_or_default(0)?;
    let groups: BTreeMap<String, Vec<Operation>> = remote.client.get("/1.0/operations?recursion=1").await?;
    let operations: Vec<Operation> = groups.into_values().flatten().collect();
    let is_cluster = operations.iter().any(|operation| operation.location != "none");
    let row = |operation: &Operation| {
        let mut cells = vec![
            operation.id.clone(),
            operation.class.to_uppercase(),
            operation.description.clone(),
            operation.status.to_uppercase(),
            if operation.may_cancel { "YES" } else { "NO" }.into(),
            date_utc(&operation.created_at),
        ];
        if is_cluster {
            cells.push(operation.location.clone());
        }
        cells
    };
    let mut rows: Vec<_> = operations.iter().map(row).collect();
    sort_rows(&mut rows);
    let mut header = vec!["ID", "TYPE", "DESCRIPTION", "STATUS", "CANCELABLE", "CREATED"];
    if is_cluster {
        header.push("LOCATION");
    }
    print_list(
        cx.text("format"),
        &List {
            header: &header,
            rows: &rows,
            raw: &operations,
        },
    )
}
