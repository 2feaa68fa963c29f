//! `lxd shutdown`.

use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use serde_json::{Value, json};

use super::client::{Client, block_on};
use crate::command_line::Invocation;

/// How long to wait between two looks at the daemon's process.
const PAUSE: Duration = Duration::from_millis(5);

/// Tells the daemon to stop with all instances, and waits until its process is gone.
///
/// # Errors
/// No daemon answers, or it did not stop within the given time.
pub(crate) fn run(invocation: &Invocation) -> Result<(), String> {
    let client = Client::new(&invocation.dir);
    let path = format!("/internal/shutdown?force={}", invocation.flag("force"));
    let limit = invocation
        .number("timeout")
        .and_then(|seconds| u64::try_from(seconds).ok())
        .filter(|s| *s > 0);
    block_on(async move {
        // Asked before the end, as nobody answers afterwards.
        let process = match client.get::<Value>("/1.0").await {
            Ok(server) => process(&server["environment"]["server_pid"]),
            Err(_) => None,
        };
        let stopped = async {
            client.send("PUT", &path, &json!({})).await?;
            while process.as_ref().is_some_and(|process| !is_over(process)) {
                tokio::time::sleep(PAUSE).await;
            }
            Ok(())
        };
        match limit {
            Some(seconds) => tokio::time::timeout(Duration::from_secs(seconds), stopped)
                .await
                .unwrap_or_else(|_| Err(format!("LXD still running after {seconds}s timeout"))),
            None => stopped.await,
        }
    })
}

/// The daemon's process; `None` when it is gone or not on this host.
fn process(pid: &Value) -> Option<OwnedFd> {
    let pid = Pid::from_raw(i32::try_from(pid.as_i64()?).ok()?)?;
    pidfd_open(pid, PidfdFlags::empty()).ok()
}

/// Whether a process has ended: then there is something to read.
fn is_over(process: &OwnedFd) -> bool {
    let mut waiting = [PollFd::new(process, PollFlags::IN)];
    poll(&mut waiting, Some(&Timespec::default())).is_ok_and(|count| count > 0)
}
