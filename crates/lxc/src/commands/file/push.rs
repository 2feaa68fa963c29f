//! `lxc file push`.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use lxd_client::{Client, FileWish, Upload};

use super::{Place, clean, last, place};
use crate::context::{Context, Resource};
use crate::error::{Error, Result};
use crate::progress::Progress;
use crate::render::bytes_decimal;

/// Puts files, or whole directories, into an instance.
pub(super) async fn push(cx: &Context) -> Result<()> {
    let words = cx.arguments();
    let Some((target, sources)) = words.split_last() else {
        return Err(Error::Count);
    };
    let Place { resource, path } = place(cx, target, "target")?;
    let is_folder = path.is_empty() || path.ends_with('/');
    let path = clean(&path);
    let wish = wish(cx)?;
    if cx.switch("recursive") {
        if wish != FileWish::default() {
            return Err(Error::message("Can't supply uid/gid/mode in recursive mode"));
        }
        if cx.switch("create-dirs") {
            make_directories(&resource, &path, FileWish::default()).await?;
        }
        for source in sources {
            let source = Path::new(source.trim_end_matches('/'));
            push_tree(cx, &resource, source, &path).await?;
        }
        return Ok(());
    }
    if sources.len() > 1 && !is_folder {
        return Err(Error::message("Missing target directory"));
    }
    for source in sources {
        let at = match is_folder {
            true => {
                // What is piped in has the name that the system gives it.
                let name = if source == "-" { "stdin" } else { last(source) };
                format!("{}/{name}", path.trim_end_matches('/'))
            }
            false => path.clone(),
        };
        push_file(cx, &resource, source, &at, wish).await?;
    }
    Ok(())
}

/// What the flags want.
fn wish(cx: &Context) -> Result<FileWish> {
    let id = |flag| u32::try_from(cx.number(flag)).ok();
    let mode = match cx.text("mode") {
        "" => None,
        text => Some(mode(text)?),
    };
    Ok(FileWish {
        uid: id("uid"),
        gid: id("gid"),
        mode,
    })
}

/// Permissions: octal, or hexadecimal or binary where their marks stand before them.
fn mode(text: &str) -> Result<u32> {
    let text = match text.len() {
        3 => format!("0{text}"),
        _ => text.to_owned(),
    };
    let read = match text.as_bytes() {
        [b'0', b'x' | b'X', ..] => u32::from_str_radix(&text[2..], 16),
        [b'0', b'b' | b'B', ..] => u32::from_str_radix(&text[2..], 2),
        [b'0', b'o' | b'O', ..] => u32::from_str_radix(&text[2..], 8),
        _ => u32::from_str_radix(&text, 8),
    };
    read.map_err(|_| Error::message(format!("strconv.ParseInt: parsing {text:?}: invalid syntax")))
}

/// What a file of the user's has, where the flags want nothing else.
fn as_is(found: &Metadata, wish: FileWish) -> FileWish {
    FileWish {
        uid: wish.uid.or(Some(found.uid())),
        gid: wish.gid.or(Some(found.gid())),
        mode: wish.mode.or(Some(found.mode() & 0o777)),
    }
}

async fn push_file(cx: &Context, resource: &Resource, source: &str, at: &str, wish: FileWish) -> Result<()> {
    let is_stdin = source == "-";
    let opened = if is_stdin { "/dev/stdin" } else { source };
    let found = std::fs::metadata(opened).map_err(|error| unopened(source, &error))?;
    let wish = as_is(&found, wish);
    if found.is_dir() {
        return Err(Error::message(format!(
            "Post {:?}: read {source}: is a directory",
            format!(
                "{}/1.0/instances/{}/files?path={}",
                resource.client.base(),
                resource.name,
                at.replace('/', "%2F")
            )
        )));
    }
    if cx.switch("create-dirs") {
        let above = at.rsplit_once('/').map_or("", |(above, _)| above);
        let folder = FileWish {
            mode: Some(0o750),
            ..wish
        };
        make_directories(resource, above, folder).await?;
    }
    let upload = match is_stdin {
        true => Upload::stdin(),
        false => Upload::file(Path::new(source))
            .await
            .map_err(|_| Error::message(format!("open {source}: permission denied")))?,
    };
    let title = format!("Pushing {source} to {at}: ");
    let upload = send(cx, &resource.client, (&resource.name, at), wish, (upload, title));
    upload.await
}

fn unopened(source: &str, error: &std::io::Error) -> Error {
    let text = error.to_string().to_lowercase();
    let text = text.split(" (os error").next().unwrap_or_default();
    Error::message(format!("open {source}: {text}"))
}

/// Sends a file, and shows how far it has come.
async fn send(
    cx: &Context,
    client: &Client,
    (instance, at): (&str, &str),
    wish: FileWish,
    (upload, title): (Upload, String),
) -> Result<()> {
    let mut progress = Progress::new(cx.is_quiet(), &title);
    let (length, counter) = (upload.length(), upload.counter());
    let sent = client.put_instance_file(instance, at, wish, upload);
    if !progress.is_shown() {
        return Ok(sent.await?);
    }
    let mut sent = std::pin::pin!(sent);
    let mut tick = tokio::time::interval(std::time::Duration::from_millis(200));
    let done = loop {
        tokio::select! {
            done = &mut sent => break done,
            _ = tick.tick() => {
                let count = counter.load(std::sync::atomic::Ordering::Relaxed);
                let percent = (count * 100).checked_div(length);
                progress.update(&percent.map_or_else(
                    || bytes_decimal(i64::try_from(count).unwrap_or(i64::MAX), 2),
                    |percent| format!("{percent}%"),
                ));
            }
        }
    };
    progress.done("");
    Ok(done?)
}

/// Makes a directory and those above it; those that are there stay as they are.
async fn make_directories(resource: &Resource, path: &str, wish: FileWish) -> Result<()> {
    let wish = FileWish {
        mode: wish.mode.or(Some(0o755)),
        ..wish
    };
    let mut made = String::new();
    for part in path.split('/').filter(|part| !part.is_empty()) {
        made = format!("{made}/{part}");
        resource
            .client
            .make_instance_directory(&resource.name, &made, wish)
            .await?;
    }
    Ok(())
}

/// Puts a directory with all in it below another one.
async fn push_tree(cx: &Context, resource: &Resource, source: &Path, below: &str) -> Result<()> {
    let shown = |path: &Path, error: &std::io::Error| unopened(&path.display().to_string(), error);
    let mut waiting = vec![(source.to_path_buf(), join(below, source))];
    while let Some((path, at)) = waiting.pop() {
        let found = std::fs::symlink_metadata(&path).map_err(|error| shown(&path, &error))?;
        let wish = as_is(&found, FileWish::default());
        let (client, name) = (&resource.client, resource.name.as_str());
        if found.is_dir() {
            client.make_instance_directory(name, &at, wish).await?;
            let entries = std::fs::read_dir(&path).map_err(|error| shown(&path, &error))?;
            let mut names: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
            names.sort();
            waiting.extend(names.into_iter().rev().map(|path| {
                let at = join(&at, &path);
                (path, at)
            }));
        } else if found.is_symlink() {
            let target = std::fs::read_link(&path).map_err(|error| shown(&path, &error))?;
            client
                .make_instance_link(name, &at, &target.to_string_lossy(), wish)
                .await?;
        } else if found.is_file() {
            let upload = Upload::file(&path).await?;
            let title = format!("Pushing {} to {at}: ", path.display());
            send(cx, client, (name, &at), wish, (upload, title)).await?;
        } else {
            return Err(Error::message(format!(
                "{}: unsupported file type",
                path.display()
            )));
        }
    }
    Ok(())
}

/// The place of something with its own name below a directory inside.
fn join(below: &str, path: &Path) -> String {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    clean(&format!("{below}/{name}"))
}
