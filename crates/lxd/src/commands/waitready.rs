//! `lxd waitready`.

use std::time::Duration;

use serde_json::Value;
use tokio::time::{Instant, sleep, timeout_at};

use super::client::{Client, ClientError, block_on};
use crate::command_line::Invocation;

/// How long to wait between two questions.
const PAUSE: Duration = Duration::from_millis(50);

/// Waits until the daemon says that it is ready.
///
/// # Errors
/// It was not within the given time.
pub(crate) fn run(invocation: &Invocation) -> Result<(), String> {
    let seconds = invocation.number("timeout").unwrap_or(0);
    let client = Client::new(&invocation.dir);
    block_on(async move {
        let Some(limit) = u64::try_from(seconds).ok().filter(|seconds| *seconds > 0) else {
            while ask(&client).await.is_err() {
                sleep(PAUSE).await;
            }
            return Ok(());
        };
        let deadline = Instant::now() + Duration::from_secs(limit);
        let mut last = "no answer".to_owned();
        loop {
            match timeout_at(deadline, ask(&client)).await {
                Ok(Ok(())) => return Ok(()),
                Ok(Err(error)) => last = error.to_string(),
                Err(_) => {}
            }
            if Instant::now() + PAUSE >= deadline {
                return Err(format!("LXD still not running after {limit}s timeout ({last})"));
            }
            sleep(PAUSE).await;
        }
    })
}

async fn ask(client: &Client) -> Result<(), ClientError> {
    client.get::<Value>("/internal/ready").await.map(drop)
}
