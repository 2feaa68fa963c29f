//! `lxd recover`: asks for pools, shows what they hold that the database does not know, and brings it back.

use std::io::{self, BufRead, Write};

use lxd_api::recover::{RecoverFound, RecoverPost};
use lxd_api::server::Server;
use lxd_api::storage_pools::{StoragePool, StoragePoolsPost};

use super::answers::{Answers, not_empty};
use super::client::{Client, block_on};
use crate::command_line::Invocation;

/// Asks, looks and brings back.
///
/// # Errors
/// No daemon answers, or it refuses; the input is at its end.
pub(crate) fn run(invocation: &Invocation) -> Result<(), String> {
    let client = Client::new(&invocation.dir);
    let mut answers = Answers::new(io::stdin().lock(), io::stdout().lock());
    block_on(async move {
        let server: Server = client.get("/1.0").await?;
        let drivers = server.environment.storage_supported_drivers;
        let drivers: Vec<&str> = drivers.iter().map(|driver| driver.name.as_str()).collect();
        let known: Vec<StoragePool> = client.get("/1.0/storage-pools?recursion=1").await?;
        answers.say("This LXD server currently has the following storage pools:")?;
        for pool in &known {
            answers.say(&format!(
                " - {} ({})",
                pool.name,
                origin(&pool.driver, pool.config.get("source"))
            ))?;
        }
        let mut new = Vec::new();
        while answers.yes("Would you like to recover another storage pool?", false)? {
            new.push(ask_pool(&mut answers, &drivers)?);
        }
        answers.say("The recovery process will be scanning the following storage pools:")?;
        for pool in &known {
            let origin = origin(&pool.driver, pool.config.get("source"));
            answers.say(&format!(" - EXISTING: {:?} ({origin})", pool.name))?;
        }
        for pool in &new {
            let origin = origin(&pool.driver, pool.config.get("source"));
            answers.say(&format!(" - NEW: {:?} ({origin})", pool.name))?;
        }
        if !answers.yes("Would you like to continue with scanning for lost volumes?", true)? {
            return Ok(());
        }
        let post = RecoverPost { pools: new };
        if !found_what_is_wanted(&client, &mut answers, &post).await? {
            return Ok(());
        }
        answers.say("Starting recovery...")?;
        let imported = client.send("POST", "/internal/recover/import", &post).await;
        imported
            .map(drop)
            .map_err(|error| format!("Failed import request: {error}"))
    })
}

/// Where a pool is, as it is shown.
fn origin(driver: &str, source: Option<&String>) -> String {
    format!(
        "backend={driver:?}, source={:?}",
        source.map_or("", String::as_str)
    )
}

fn ask_pool<R: BufRead, W: Write>(
    answers: &mut Answers<R, W>,
    drivers: &[&str],
) -> Result<StoragePoolsPost, String> {
    let mut pool = StoragePoolsPost {
        name: answers.text("Name of the storage pool", None, not_empty)?,
        ..StoragePoolsPost::default()
    };
    let question = format!("Name of the storage backend ({})", drivers.join(", "));
    pool.driver = answers.text(&question, None, |answer| {
        if drivers.contains(&answer) {
            Ok(answer.to_owned())
        } else {
            Err(String::new())
        }
    })?;
    let question =
        "Source of the storage pool (block device, volume group, dataset, path, ... as applicable)";
    let source = answers.text(question, None, not_empty)?;
    pool.config.insert("source".into(), source);
    loop {
        let question = "Additional storage pool configuration property (KEY=VALUE, empty when done)";
        let pair = answers.text(question, Some(""), |answer| match answer.split_once('=') {
            _ if answer.is_empty() => Ok(None),
            Some((key, value)) => Ok(Some((key.to_owned(), value.to_owned()))),
            None => Err("Config option should be in the format KEY=VALUE".to_owned()),
        })?;
        match pair {
            Some((key, value)) => drop(pool.config.insert(key, value)),
            None => return Ok(pool),
        }
    }
}

/// Shows what was found until nothing is missing; whether it is to be brought back.
async fn found_what_is_wanted<R: BufRead, W: Write>(
    client: &Client,
    answers: &mut Answers<R, W>,
    post: &RecoverPost,
) -> Result<bool, String> {
    answers.say("Scanning for unknown volumes...")?;
    loop {
        let found = client.send("POST", "/internal/recover/validate", post).await;
        let found = found.map_err(|error| format!("Failed validation request: {error}"))?;
        let found: RecoverFound = serde_json::from_value(found).map_err(|error| error.to_string())?;
        let Some(volumes) = found.unknown_volumes.filter(|volumes| !volumes.is_empty()) else {
            answers.say("No unknown volumes found. Nothing to do.")?;
            return Ok(false);
        };
        answers.say("The following unknown volumes have been found:")?;
        for volume in volumes {
            let mut kind = volume.r#type.clone();
            if let Some(first) = kind.get_mut(..1) {
                first.make_ascii_uppercase();
            }
            answers.say(&format!(
                " - {kind} {:?} on pool {:?} in project {:?} (includes {} snapshots)",
                volume.name, volume.pool, volume.project, volume.snapshot_count
            ))?;
        }
        let Some(missing) = found.dependency_errors.filter(|missing| !missing.is_empty()) else {
            return answers.yes("Would you like those to be recovered?", false);
        };
        answers.say("You are currently missing the following:")?;
        for one in missing {
            answers.say(&format!(" - {one}"))?;
        }
        answers.text(
            "Please create those missing entries and then hit ENTER",
            Some(""),
            |_| Ok(()),
        )?;
    }
}
