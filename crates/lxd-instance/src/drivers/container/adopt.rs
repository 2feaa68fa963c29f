//! Finds containers that run already, by the titles that liblxc gives its monitors.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use liblxc::protocol::Started;
use lxd_sys::process::{self, Process};

use super::guest::Container;
use super::{Shared, blocking};
use crate::drivers::Adopted;
use crate::error::Error;
use crate::instance::Key;

/// The title of a monitor is this, then the folder above the container's, then the container's name.
const TITLE: &str = "[lxc monitor] ";

/// How long a monitor may take to put away what a failed start has left.
const PATIENCE: Duration = Duration::from_secs(10);

/// Finds monitors and inits of the wanted containers (folder and name) in one pass over all processes.
pub(super) fn find(shared: &Arc<Shared>, wanted: &HashMap<(PathBuf, String), Key>) -> Adopted {
    let mut found = Adopted::new();
    if wanted.is_empty() {
        return found;
    }
    for pid in process::list().unwrap_or_default() {
        let Some(key) = process::command_line(pid)
            .ok()
            .and_then(|line| wanted.get(&parse(&line)?))
        else {
            continue;
        };
        let Some(init) = init_of(pid) else {
            tracing::warn!(instance = %key, monitor = pid, "Found a monitor without a container");
            continue;
        };
        match Container::open(shared.clone(), key.clone(), Started { init, monitor: pid }) {
            Ok(container) => found.push((key.clone(), Arc::new(container))),
            Err(error) => tracing::warn!(instance = %key, %error, "Failed to take over a running container"),
        }
    }
    found
}

/// Waits until the monitor of a container that failed to start has put it away; kills one that is stuck.
pub(super) async fn outlast(folder: PathBuf, name: String) -> Result<(), Error> {
    let monitors = blocking(move || {
        let all = process::list().unwrap_or_default().into_iter();
        let own =
            all.filter(|pid| title_of(*pid).is_some_and(|title| title == (folder.clone(), name.clone())));
        Ok(own.filter_map(|pid| Process::adopt(pid).ok()).collect::<Vec<_>>())
    });
    for monitor in monitors.await? {
        if tokio::time::timeout(PATIENCE, monitor.ended()).await.is_err() {
            tracing::warn!(
                pid = monitor.pid(),
                "Killed the monitor of a failed start that was stuck"
            );
            // It may end at this moment.
            let _ = monitor.kill();
            let _ = monitor.ended().await;
        }
    }
    Ok(())
}

/// The container's init: the child that is process 1 in a namespace below the monitor's.
pub(super) fn init_of(monitor: i32) -> Option<i32> {
    let children = process::children(monitor).ok()?;
    children.into_iter().find(|child| {
        process::status(*child)
            .is_ok_and(|s| s.namespace_pids.len() > 1 && s.namespace_pids.last() == Some(&1))
    })
}

/// The folder above a container's and its name, which its monitor shows.
pub(super) fn title_of(monitor: i32) -> Option<(PathBuf, String)> {
    parse(&process::command_line(monitor).ok()?)
}

fn parse(command_line: &[u8]) -> Option<(PathBuf, String)> {
    let line = String::from_utf8_lossy(command_line);
    let (folder, name) = line
        .trim_end_matches(['\0', ' '])
        .strip_prefix(TITLE)?
        .rsplit_once(' ')?;
    Some((folder.into(), name.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn titles_with_spaces_and_padding() {
        let parsed = parse(b"[lxc monitor] /var/lib/my lxd/containers p_c1\0\0\0");
        assert_eq!(parsed, Some(("/var/lib/my lxd/containers".into(), "p_c1".into())));
        assert_eq!(parse(b"/bin/sh\0-c\0[lxc monitor] /a b"), None);
        assert_eq!(parse(b""), None);
    }
}
