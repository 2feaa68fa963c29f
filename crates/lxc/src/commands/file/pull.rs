//! `lxc file pull`.

use std::fs::Permissions;
use std::io;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use futures::StreamExt;
use lxd_client::{Download, InstanceFile};
use tokio::io::{AsyncWrite, AsyncWriteExt};

use super::{Place, clean, last, place};
use crate::context::{Context, Resource};
use crate::error::{Error, Result};
use crate::progress::Progress;
use crate::render::{READER_GONE, bytes_decimal};

/// How many links are followed one after the other.
const LINKS_MAX: usize = 20;

const NOT_RECURSIVE: &str = "Can't pull a directory without --recursive";

/// Fetches files, or whole directories, from instances.
pub(super) async fn pull(cx: &Context) -> Result<()> {
    let words = cx.arguments();
    let Some((target, sources)) = words.split_last() else {
        return Err(Error::Count);
    };
    let sources = sources.iter().map(|word| place(cx, word, "source"));
    let sources = sources.collect::<Result<Vec<_>>>()?;
    let folder = Path::new(target);
    let wants_folder =
        sources.len() > 1 || target.ends_with('/') || cx.switch("recursive") && folder.is_dir();
    let into = |name: &str| match folder.is_dir() || wants_folder {
        true => folder.join(name),
        false => folder.to_owned(),
    };
    if target != "-" {
        let needed = match wants_folder {
            true => Some(folder),
            false if cx.switch("create-dirs") => folder.parent(),
            false => None,
        };
        if let Some(needed) = needed.filter(|path| !path.as_os_str().is_empty()) {
            std::fs::create_dir_all(needed).map_err(failed("mkdir", needed))?;
        }
    }
    for Place { resource, path } in sources {
        let path = clean(&path);
        if target == "-" {
            to_stdout(&resource, path).await?;
        } else if cx.switch("recursive") {
            let to = into(last(&path));
            pull_tree(cx, &resource, path, (to, !folder.is_dir())).await?;
        } else {
            let to = into(last(&path));
            pull_file(cx, &resource, path, &to).await?;
        }
    }
    Ok(())
}

/// What is behind a path, through links.
async fn follow(resource: &Resource, path: String) -> Result<(u32, InstanceFile, String)> {
    let mut path = path;
    for _ in 0..LINKS_MAX {
        match resource.client.instance_file(&resource.name, &path).await? {
            (_, InstanceFile::Link(target)) => {
                let above = path.rsplit_once('/').map_or("", |(above, _)| above);
                path = match target.starts_with('/') {
                    true => clean(&target),
                    false => clean(&format!("{above}/{target}")),
                };
            }
            (mode, file) => return Ok((mode, file, path)),
        }
    }
    Err(Error::message(format!(
        "{path}: too many levels of symbolic links"
    )))
}

async fn to_stdout(resource: &Resource, path: String) -> Result<()> {
    let (_, file, _) = follow(resource, path).await?;
    let InstanceFile::File(download) = file else {
        return Err(Error::message(NOT_RECURSIVE));
    };
    match copy(download, tokio::io::stdout(), |_| {}).await? {
        Ok(()) => Ok(()),
        Err(source) if source.kind() == io::ErrorKind::BrokenPipe => Err(READER_GONE),
        Err(source) => Err(Error::Terminal {
            doing: "Failed to write standard output",
            source,
        }),
    }
}

async fn pull_file(cx: &Context, resource: &Resource, path: String, to: &Path) -> Result<()> {
    match resource.client.instance_file(&resource.name, &path).await? {
        (mode, InstanceFile::File(download)) => save(cx, (download, &path), mode, to).await,
        (_, InstanceFile::Link(target)) => make_link(&target, to),
        (_, InstanceFile::Directory(_)) => Err(Error::message(NOT_RECURSIVE)),
    }
}

fn make_link(target: &str, to: &Path) -> Result<()> {
    symlink(target, to).map_err(failed(&format!("symlink {target}"), to))
}

/// Fetches whatever is at a path, with all below it. A directory goes below a target that is `new`.
async fn pull_tree(
    cx: &Context,
    resource: &Resource,
    path: String,
    (to, mut new): (PathBuf, bool),
) -> Result<()> {
    let mut waiting = vec![(path, to)];
    while let Some((path, mut to)) = waiting.pop() {
        match resource.client.instance_file(&resource.name, &path).await? {
            (mode, InstanceFile::Directory(mut names)) => {
                if std::mem::take(&mut new) {
                    std::fs::create_dir_all(&to).map_err(failed("mkdir", &to))?;
                    to = to.join(last(&path));
                }
                make_directory(&to, mode)?;
                names.sort();
                for name in names.iter().rev() {
                    // The server's names are not to lead anywhere else.
                    if name.contains('/') || matches!(name.as_str(), "" | "." | "..") {
                        return Err(Error::message(format!("The server names a file {name:?}")));
                    }
                    waiting.push((clean(&format!("{path}/{name}")), to.join(name)));
                }
            }
            (_, InstanceFile::Link(target)) => make_link(&target, &to)?,
            (mode, InstanceFile::File(download)) => save(cx, (download, &path), mode, &to).await?,
        }
    }
    Ok(())
}

/// Makes a directory, in which nothing may be yet: a link there would lead to where nobody wanted to write.
fn make_directory(to: &Path, mode: u32) -> Result<()> {
    std::fs::create_dir(to).map_err(failed("mkdir", to))?;
    std::fs::set_permissions(to, Permissions::from_mode(mode | 0o700)).map_err(failed("chmod", to))
}

async fn save(cx: &Context, (download, path): (Download, &str), mode: u32, to: &Path) -> Result<()> {
    let file = tokio::fs::File::create(to).await.map_err(failed("open", to))?;
    file.set_permissions(Permissions::from_mode(mode))
        .await
        .map_err(failed("chmod", to))?;
    let title = format!("Pulling {} from {path}: ", to.display());
    let mut progress = Progress::new(cx.is_quiet(), &title);
    let length = download.length().unwrap_or(0);
    let shown = progress.is_shown();
    let file = tokio::io::BufWriter::with_capacity(1 << 20, file);
    let written = copy(download, file, |count| {
        if shown {
            let percent = (count * 100).checked_div(length);
            progress.update(&percent.map_or_else(
                || bytes_decimal(i64::try_from(count).unwrap_or(i64::MAX), 2),
                |percent| format!("{percent}%"),
            ));
        }
    })
    .await?;
    progress.done("");
    written.map_err(failed("write", to))
}

/// Writes what comes; the inner error is that of the writing.
async fn copy(
    mut from: Download,
    mut to: impl AsyncWrite + Unpin,
    mut progress: impl FnMut(u64),
) -> Result<io::Result<()>> {
    let mut count = 0;
    while let Some(chunk) = from.next().await {
        let chunk = chunk?;
        if let Err(error) = to.write_all(&chunk).await {
            return Ok(Err(error));
        }
        count += chunk.len() as u64;
        progress(count);
    }
    Ok(to.flush().await)
}

fn failed(doing: &str, path: &Path) -> impl Fn(io::Error) -> Error {
    let doing = doing.to_owned();
    let path = path.display().to_string();
    let path = path.strip_prefix("./").map(str::to_owned).unwrap_or(path);
    move |error| {
        let text = error.to_string().to_lowercase();
        let text = text.split(" (os error").next().unwrap_or_default();
        Error::message(format!("{doing} {path}: {text}"))
    }
}
