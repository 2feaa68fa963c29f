//! Logs of instances: what liblxc wrote, and what programs without a client wrote.

use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use lxd_db::cluster::instances as rows;
use lxd_instance::Key;
use lxd_instance::lifecycle::Phase;

use crate::app::{App, blocking};
use crate::ctx::Ctx;
use crate::error::{Context as _, Error, Result};
use crate::events::{Action, Lifecycle};

/// The names of an instance's log files, sorted.
///
/// # Errors
/// Not found; the caller may not see the project.
pub async fn list(app: &Arc<App>, ctx: &Ctx, name: &str) -> Result<Vec<String>> {
    let folder = folder(app, ctx, name).await?;
    blocking(move || {
        begin(&folder.join("lxc.log"));
        let Ok(entries) = std::fs::read_dir(&folder) else {
            return Ok(Vec::new());
        };
        let names = entries
            .flatten()
            .filter_map(|entry| entry.file_name().into_string().ok());
        let mut names: Vec<String> = names.filter(|name| is_log(name)).collect();
        names.sort_unstable();
        Ok(names)
    })
    .await
}

/// Where a log file is.
///
/// # Errors
/// Not found; the name is not one of a log file.
pub async fn path(app: &Arc<App>, ctx: &Ctx, name: &str, file: &str) -> Result<PathBuf> {
    let folder = fetched(app, ctx, name).await?;
    let path = folder.join(checked(file)?);
    let seen = path.clone();
    let is_first = file == "lxc.log";
    let is_there = blocking(move || Ok(seen.is_file() || is_first && begin(&seen))).await?;
    if !is_there {
        return Err(Error::not_found("Log file not found"));
    }
    tell(app, ctx, name, (file, Action::InstanceLogRetrieved));
    Ok(path)
}

/// Makes liblxc's log of an instance that has not been started yet: clients expect one, however empty.
fn begin(file: &Path) -> bool {
    let folder = file
        .parent()
        .is_some_and(|folder| std::fs::create_dir_all(folder).is_ok());
    folder
        && std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .mode(0o640)
            .open(file)
            .is_ok()
}

/// Removes a log file.
///
/// # Errors
/// As [`path`]; it is one that liblxc needs.
pub async fn delete(app: &Arc<App>, ctx: &Ctx, name: &str, file: &str) -> Result<()> {
    let folder = fetched(app, ctx, name).await?;
    let path = folder.join(checked(file)?);
    if matches!(file, "lxc.log" | "lxc.conf") {
        return Err(Error::bad_request("lxc.log and lxc.conf may not be deleted"));
    }
    blocking(move || match std::fs::remove_file(&path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            Err(Error::not_found("Log file not found"))
        }
        removed => removed
            .map_err(|error| Error::internal(format!("Failed removing {}", path.display())).because(error)),
    })
    .await?;
    tell(app, ctx, name, (file, Action::InstanceLogDeleted));
    Ok(())
}

/// What the console showed lately, or, of a stopped instance, at its end.
///
/// # Errors
/// Not found; the caller may not.
pub async fn console(app: &Arc<App>, ctx: &Ctx, name: &str) -> Result<Vec<u8>> {
    let path = folder(app, ctx, name).await?.join("console.log");
    let key = Key::new(&ctx.project, name);
    if app.instances.registry.phase(&key) != Phase::Stopped {
        let text = app.instances.registry.console_log(&key, false).await?;
        tell_instance(app, &key, Action::InstanceConsoleRetrieved);
        return Ok(text);
    }
    blocking(move || {
        // The reference's words, which say what is missing.
        std::fs::read(&path).map_err(|error| Error::internal(missing("open", &path, &error)))
    })
    .await
}

/// Forgets what the console showed.
///
/// # Errors
/// As [`console`].
pub async fn clear_console(app: &Arc<App>, ctx: &Ctx, name: &str) -> Result<()> {
    let path = fetched(app, ctx, name).await?.join("console.log");
    let key = Key::new(&ctx.project, name);
    if app.instances.registry.phase(&key) != Phase::Stopped {
        app.instances.registry.console_log(&key, true).await?;
        tell_instance(app, &key, Action::InstanceConsoleReset);
    }
    let is_running = app.instances.registry.phase(&key) != Phase::Stopped;
    blocking(move || match std::fs::metadata(&path) {
        Ok(_) => std::fs::write(&path, "")
            .map_err(|error| Error::internal(format!("Failed emptying {}", path.display())).because(error)),
        Err(_) if is_running => Ok(()),
        Err(error) => Err(Error::not_found(missing("stat", &path, &error))),
    })
    .await
}

fn missing(doing: &str, path: &Path, error: &io::Error) -> String {
    let text = error.to_string().to_lowercase();
    let text = text.split(" (os error").next().unwrap_or_default();
    format!("{doing} {}: {text}", path.display())
}

/// The same, for what the reference fetches the instance for.
async fn fetched(app: &Arc<App>, ctx: &Ctx, name: &str) -> Result<PathBuf> {
    let found = folder(app, ctx, name).await;
    found.with_context(|| format!("Failed to fetch instance {name:?} in project {:?}", ctx.project))
}

async fn folder(app: &Arc<App>, ctx: &Ctx, name: &str) -> Result<PathBuf> {
    ctx.require_project()?;
    let mut tx = app.cluster.read().await?;
    rows::id(&mut tx, &ctx.project, name).await?;
    Ok(app.paths.instance_logs(&ctx.project, name))
}

fn tell(app: &App, ctx: &Ctx, name: &str, (file, action): (&str, Action)) {
    let url = crate::urls::object(&ctx.project, &["instances", name, "logs", file]);
    let event = Lifecycle::new(action, url).by(ctx);
    app.events.lifecycle(&ctx.project, &event);
}

fn tell_instance(app: &App, key: &Key, action: Action) {
    let event = Lifecycle::new(action, super::url(&key.project, &key.name));
    app.events.lifecycle(&key.project, &event);
}

fn checked(file: &str) -> Result<&str> {
    match is_log(file) {
        true => Ok(file),
        false => Err(Error::bad_request(format!("log file name {file} not valid"))),
    }
}

/// Whether a file is one that clients may see. Never one outside the folder.
fn is_log(name: &str) -> bool {
    let is_known = matches!(name, "lxc.log" | "lxc.conf" | "qemu.log" | "qemu.conf");
    let is_of_run = ["migration_", "snapshot_", "exec_"]
        .iter()
        .any(|prefix| name.starts_with(prefix));
    is_known || (is_of_run && !name.contains('/') && !name.contains('\0'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_logs() {
        for good in ["lxc.log", "lxc.conf", "exec_1.stdout"] {
            assert!(is_log(good), "{good}");
        }
        for bad in [
            "",
            ".",
            "..",
            "console.log",
            "exec_/../../x",
            "lxc.log.old",
            "../lxc.log",
        ] {
            assert!(!is_log(bad), "{bad}");
        }
    }
}
