//! Files inside instances, running or not.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use futures::Stream;
use lxd_instance::Key;
use lxd_instance::files::{Place, Server};

pub use lxd_instance::files::{Attributes, Contents, Found, Kind, Sftp, Wanted};

use super::ports::root_volume;
use super::record::Record;
use super::shift::on_disk;
use crate::app::App;
use crate::ctx::Ctx;
use crate::error::Result;
use crate::events::{Action, Lifecycle};

/// A file of an instance, as a request names it.
#[derive(Debug, Clone, Copy)]
pub struct Target<'a> {
    /// The instance.
    pub instance: &'a str,
    /// The path inside.
    pub path: &'a str,
}

/// What is at a path; a link at its end is not followed.
///
/// # Errors
/// Not found; the caller may not.
pub async fn look(app: &Arc<App>, ctx: &Ctx, target: Target<'_>) -> Result<Found> {
    Ok(server(app, ctx, target.instance).await?.look(target.path).await?)
}

/// What is at a path, and in it.
///
/// # Errors
/// As [`look`].
pub async fn read(app: &Arc<App>, ctx: &Ctx, target: Target<'_>) -> Result<Found> {
    let mut found = server(app, ctx, target.instance).await?.read(target.path).await?;
    if let (Kind::Link, Contents::Data(link)) = (found.attributes.kind, &mut found.contents) {
        *link = absolute(target.path, link);
    }
    tell(app, ctx, target, Action::InstanceFileRetrieved);
    Ok(found)
}

/// Where a link leads, from the root: clients get it without the directory that it is seen from.
fn absolute(path: &str, link: &[u8]) -> Vec<u8> {
    if link.starts_with(b"/") {
        return link.to_vec();
    }
    let above = path.rsplit_once('/').map_or("", |(above, _)| above);
    let mut parts: Vec<&[u8]> = Vec::new();
    for part in above
        .as_bytes()
        .split(|byte| *byte == b'/')
        .chain(link.split(|byte| *byte == b'/'))
    {
        match part {
            b"" | b"." => {}
            b".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    [b"/", parts.join(&b'/').as_slice()].concat()
}

/// Writes a file: a new one, or over one that is there, or at the end of that.
///
/// # Errors
/// As [`look`]; the contents don't arrive.
pub async fn write<S>(
    app: &Arc<App>,
    ctx: &Ctx,
    target: Target<'_>,
    (append, wanted): (bool, Wanted),
    contents: S,
) -> Result<()>
where
    S: Stream<Item = io::Result<Bytes>> + Send + Unpin,
{
    let server = server(app, ctx, target.instance).await?;
    server.write(target.path, append, wanted, contents).await?;
    tell(app, ctx, target, Action::InstanceFilePushed);
    Ok(())
}

/// Makes a directory; one that is there is fine.
///
/// # Errors
/// As [`look`].
pub async fn make_directory(app: &Arc<App>, ctx: &Ctx, target: Target<'_>, wanted: Wanted) -> Result<()> {
    let server = server(app, ctx, target.instance).await?;
    server.make_directory(target.path, wanted).await?;
    tell(app, ctx, target, Action::InstanceFilePushed);
    Ok(())
}

/// Makes a symbolic link; one that says the same is fine.
///
/// # Errors
/// As [`look`]; something else is there.
pub async fn make_link(
    app: &Arc<App>,
    ctx: &Ctx,
    target: Target<'_>,
    to: &[u8],
    wanted: Wanted,
) -> Result<()> {
    let server = server(app, ctx, target.instance).await?;
    server.make_link(target.path, to, wanted).await?;
    tell(app, ctx, target, Action::InstanceFilePushed);
    Ok(())
}

/// Removes a file or an empty directory.
///
/// # Errors
/// As [`look`].
pub async fn remove(app: &Arc<App>, ctx: &Ctx, target: Target<'_>) -> Result<()> {
    server(app, ctx, target.instance)
        .await?
        .remove(target.path)
        .await?;
    tell(app, ctx, target, Action::InstanceFileDeleted);
    Ok(())
}

/// A server that speaks SFTP, version 3.
///
/// # Errors
/// As [`look`].
pub async fn sftp(app: &Arc<App>, ctx: &Ctx, instance: &str) -> Result<Sftp> {
    ctx.require_project()?;
    let key = Key::new(&ctx.project, instance);
    let registry = &app.instances.registry;
    if registry.phase(&key).is_running() {
        return Ok(registry.sftp(&key, None).await?);
    }
    let _held = app.instances.lock_for_files(&key).await;
    let place = stopped(app, &key).await?;
    Ok(registry.sftp(&key, Some(place)).await?)
}

async fn server(app: &Arc<App>, ctx: &Ctx, instance: &str) -> Result<Server> {
    ctx.require_project()?;
    let key = Key::new(&ctx.project, instance);
    let registry = &app.instances.registry;
    if let Some(server) = registry.files(&key).await? {
        return Ok(server);
    }
    // Whoever changes the instance at this moment is not to find its volume in use.
    let _held = app.instances.lock_for_files(&key).await;
    if let Some(server) = registry.files(&key).await? {
        return Ok(server);
    }
    let place = stopped(app, &key).await?;
    Ok(registry.stopped_files(&key, place).await?)
}

/// The root of a stopped instance.
async fn stopped(app: &Arc<App>, key: &Key) -> Result<Place> {
    let instance = {
        let mut tx = app.cluster.read().await?;
        Record::load(&mut tx, &key.project, &key.name)
            .await?
            .instance(app)?
    };
    let (pool, volume) = root_volume(app, &instance)?;
    let access = pool.access(&volume).await?;
    // The reference shifts files on disk where it can't map mounts.
    let ids = on_disk(&instance.config)?;
    let rootfs = access.rootfs().to_owned();
    Ok(Place::of_root(&rootfs, ids.as_ref(), access)?)
}

fn tell(app: &App, ctx: &Ctx, target: Target<'_>, action: Action) {
    let url = super::url(&ctx.project, target.instance);
    let path = format!("/{}", target.path.trim_start_matches('/'));
    let event = Lifecycle::new(action, url).with("path", path);
    app.events.lifecycle(&ctx.project, &event);
}

#[cfg(test)]
mod tests {
    use super::absolute;

    #[test]
    fn links_are_told_from_the_root() {
        for (path, link, wanted) in [
            ("/sbin/init", "../bin/busybox", "/bin/busybox"),
            ("/root/l", "f", "/root/f"),
            ("l", "./a//b", "/a/b"),
            ("/a/l", "../../..", "/"),
            ("/a/l", "/x/../y", "/x/../y"),
        ] {
            assert_eq!(absolute(path, link.as_bytes()), wanted.as_bytes());
        }
    }
}
