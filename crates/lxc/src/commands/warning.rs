//! Commands about the server's warnings.

use jiff::tz::TimeZone;
use lxd_api::Time;
use lxd_api::warnings::{Warning, WarningPut};
use lxd_client::{Etag, path};

use super::not_yet;
use crate::context::Context;
use crate::error::{Error, Result};
use crate::render::{List, list as print_list, print_yaml, sort_rows};

/// Runs a command about warnings.
pub(super) async fn run(cx: &Context, path: &str) -> Result<()> {
    match path {
        "warning acknowledge" => acknowledge(cx).await,
        "warning delete" => delete(cx).await,
        "warning list" => list(cx).await,
        "warning show" => show(cx).await,
        _ => not_yet(),
    }
}

/// A date as the reference writes it in lists, in the host's zone: `Nov 24, 2026 at 3:34am (UTC)`.
pub(super) fn long_date(time: &Time) -> String {
    let zoned = time.timestamp().to_zoned_datetime(TimeZone::system());
    zoned.strftime("%b %-d, %Y at %-I:%M%P (%Z)").to_string()
}

async fn acknowledge(cx: &Context) -> Result<()> {
    let warning = cx.resource(cx.argument(0))?;
    let request = WarningPut {
        status: "acknowledged".into(),
    };
    Ok(warning
        .client
        .replace(&path(&["warnings", &warning.name]), &request, &Etag::default())
        .await?)
}

async fn delete(cx: &Context) -> Result<()> {
    let warning = cx.resource(cx.argument(0))?;
    if !cx.switch("all") {
        return Ok(warning.client.remove(&path(&["warnings", &warning.name])).await?);
    }
    let warnings: Vec<Warning> = warning.client.get("/1.0/warnings?recursion=1").await?;
    for each in warnings {
        warning.client.remove(&path(&["warnings", &each.uuid])).await?;
    }
    Ok(())
}

async fn show(cx: &Context) -> Result<()> {
    let warning = cx.resource(cx.argument(0))?;
    let shown: Warning = warning.client.get(&path(&["warnings", &warning.name])).await?;
    print_yaml(&shown)
}

/// A column of `warning list`.
type Column = (char, &'static str, fn(&Warning) -> String);

const COLUMNS: &[Column] = &[
    ('c', "COUNT", |warning| warning.count.to_string()),
    ('f', "FIRST SEEN", |warning| long_date(&warning.first_seen_at)),
    ('l', "LAST SEEN", |warning| long_date(&warning.last_seen_at)),
    ('L', "LOCATION", |warning| warning.location.clone()),
    ('p', "PROJECT", |warning| warning.project.clone()),
    ('s', "SEVERITY", |warning| warning.severity.to_uppercase()),
    ('S', "STATUS", |warning| warning.status.to_uppercase()),
    ('t', "TYPE", |warning| warning.r#type.clone()),
    ('u', "UUID", |warning| warning.uuid.clone()),
];

async fn list(cx: &Context) -> Result<()> {
    let remote = cx.resource_or_default(0)?;
    let mut warnings: Vec<Warning> = remote.client.get("/1.0/warnings?recursion=1").await?;
    if !cx.switch("all") {
        warnings.retain(|warning| warning.status == "new");
    }
    // The default shows a location only where there is more than one.
    let is_cluster = warnings.iter().any(|warning| warning.location != "none");
    let letters = if cx.given("columns") {
        cx.text("columns")
    } else if is_cluster {
        "utSscpLl"
    } else {
        "utSscpl"
    };
    if letters.contains('L') && !is_cluster {
        return Err(Error::message("Can't specify column L when not clustered"));
    }
    let mut columns = Vec::new();
    for letter in letters.chars().filter(|letter| *letter != ',') {
        let unknown = || Error::message(format!("Unknown column shorthand char '{letter}' in '{letters}'"));
        columns.push(
            COLUMNS
                .iter()
                .find(|(known, _, _)| *known == letter)
                .ok_or_else(unknown)?,
        );
    }
    let cells = |warning: &Warning| columns.iter().map(|(_, _, cell)| cell(warning)).collect();
    let mut rows: Vec<Vec<String>> = warnings.iter().map(cells).collect();
    sort_rows(&mut rows);
    let header: Vec<&str> = columns.iter().map(|(_, title, _)| *title).collect();
    print_list(
        cx.text("format"),
        &List {
            header: &header,
            rows: &rows,
            raw: &warnings,
        },
    )
}
