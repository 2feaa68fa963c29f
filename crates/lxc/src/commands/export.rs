//! `lxc export`: an instance as a backup file.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Instant;

use jiff::{SignedDuration, Timestamp};
use lxd_api::Time;
use lxd_api::instance_backups::InstanceBackupsPost;
use lxd_client::{Background, Client, path};

use super::image::share;
use crate::context::Context;
use crate::error::{Error, Result};
use crate::progress::Progress;
use crate::render::READER_GONE;

/// How long the server keeps a backup that its client could not take away.
pub(super) const LIFE: SignedDuration = SignedDuration::from_hours(24);

/// `lxc export`.
pub(super) async fn export(cx: &Context) -> Result<()> {
    let instance = cx.named(cx.argument(0), "instance")?;
    let (client, name) = (&instance.client, instance.name.as_str());
    let only = cx.switch("instance-only");
    let post = InstanceBackupsPost {
        compression_algorithm: cx.text("compression").into(),
        container_only: only,
        expires_at: Time::from(Timestamp::now() + LIFE),
        instance_only: only,
        name: String::new(),
        optimized_storage: cx.switch("optimized-storage"),
    };
    let backups = path(&["instances", name, "backups"]);
    let started = client.start(&backups, &post).await;
    let started = started.map_err(|error| Error::message(format!("Create instance backup: {error}")))?;
    cx.wait(&started, "Backing up instance: ").await?;
    let backup = name_of(&started)?;
    let at = format!("{backups}/{}", path(&[&backup]).trim_start_matches("/1.0/"));
    let failed = "Fetch instance backup file";
    let saved = save(cx, client, &at, (cx.argument(1), failed)).await;
    // Whatever became of the file, the server need not keep its copy.
    let removed = match client.delete(&at).await {
        Ok(removal) => removal.wait().await.map(drop),
        Err(error) => Err(error),
    };
    saved?;
    removed.map_err(Error::from)
}

/// The name that the server gave the backup.
pub(super) fn name_of(started: &Background) -> Result<String> {
    let urls = started
        .operation()
        .and_then(|operation| operation.resources.get("backups"));
    let url = urls
        .and_then(|urls| urls.first())
        .map(String::as_str)
        .unwrap_or_default();
    match url.rsplit('/').next() {
        Some(name) if !name.is_empty() => Ok(name.split('?').next().unwrap_or_default().to_owned()),
        _ => Err(Error::message("Invalid backup name segment in path")),
    }
}

/// Saves a backup's file under the name that the user gives, or as `backup` with an ending; `text` is said of failures.
pub(super) async fn save(
    cx: &Context,
    client: &Client,
    at: &str,
    (target, text): (&str, &str),
) -> Result<()> {
    let failed = |error| Error::message(format!("{text}: {error}"));
    let is_stream = target == "-";
    let is_new = !is_stream && !target.is_empty() && !Path::new(target).exists();
    if !is_stream && !target.is_empty() {
        // What is there stays until there is something to replace it.
        let mut file = std::fs::File::options();
        let opened = file.write(true).create(true).truncate(false).open(target);
        opened.map_err(|error| cannot_open(target, &error))?;
    }
    let download = client.download(&format!("{at}/export")).await;
    let download = download.map_err(|error| {
        if is_new {
            let _ = std::fs::remove_file(target);
        }
        failed(error)
    })?;
    let (target, is_named) = match target {
        "" => (PathBuf::from("backup.part"), false),
        "-" => (PathBuf::from("/dev/stdout"), true),
        target => (PathBuf::from(target), true),
    };
    let mut progress = Progress::new(cx.is_quiet() || is_stream, "Exporting the backup: ");
    let (total, began) = (download.length().unwrap_or(0), Instant::now());
    let mut counted = |bytes: u64| progress.update(&share(bytes, total, began));
    let saved = download.save(&target, &mut counted).await;
    let file = |source| Error::File {
        path: target.clone(),
        source,
    };
    if let Err(error) = saved {
        if !is_stream {
            // What matters is why it is incomplete.
            let _ = std::fs::remove_file(&target);
        }
        return Err(match error {
            lxd_client::Error::File { source, .. } if is_stream && source.kind() == ErrorKind::BrokenPipe => {
                READER_GONE
            }
            error => failed(error),
        });
    }
    if !is_named {
        let named = PathBuf::from(format!("backup{}", extension(&target)?));
        std::fs::rename(&target, named).map_err(file)?;
    }
    progress.done(if is_stream || cx.is_quiet() {
        ""
    } else {
        "Backup exported successfully!"
    });
    Ok(())
}

fn cannot_open(target: &str, error: &std::io::Error) -> Error {
    let text = error.to_string().to_lowercase();
    let reason = text.split(" (os error").next().unwrap_or_default();
    Error::message(format!("open {target}: {reason}"))
}

/// What a backup file's name ends in, by the file's first bytes.
fn extension(file: &Path) -> Result<&'static str> {
    use std::io::Read as _;

    let failed = |source| Error::File {
        path: file.into(),
        source,
    };
    let mut head = Vec::new();
    let opened = std::fs::File::open(file).map_err(failed)?;
    opened.take(8).read_to_end(&mut head).map_err(failed)?;
    Ok(match head.as_slice() {
        [0x1f, 0x8b, ..] => ".tar.gz",
        [b'B', b'Z', b'h', ..] => ".tar.bz2",
        [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => ".tar.xz",
        [0x5d, 0, 0, ..] => ".tar.lzma",
        [0x28, 0xb5, 0x2f, 0xfd, ..] => ".tar.zst",
        [b'h', b's', b'q', b's', ..] => ".squashfs",
        _ => ".tar",
    })
}
