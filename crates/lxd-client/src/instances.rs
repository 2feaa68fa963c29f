//! Instances: reading them, changing their state, running commands in them.

use lxd_api::instance_exec::InstanceExecPost;
use lxd_api::instance_state::{InstanceState, InstanceStatePut};
use lxd_api::instances::{Instance, InstanceFull, InstancePut, InstancesPost};
use serde_json::Value;

use crate::client::{Client, Etag, path};
use crate::operations::Background;
use crate::websocket::WebSocket;
use crate::{Error, Result};

/// A command that runs in an instance, with the streams to it.
#[derive(Debug)]
pub struct ExecStreams {
    /// The operation; its metadata `return` is the exit code once it has ended.
    pub background: Background,
    /// Standard input, output and error; only the first with a terminal.
    pub streams: Vec<WebSocket>,
    /// Window sizes and signals go here, as JSON.
    pub control: WebSocket,
}

impl Client {
    /// An instance.
    pub async fn instance(&self, name: &str) -> Result<(Instance, Etag)> {
        self.get_with_etag(&path(&["instances", name])).await
    }

    /// An instance with its state, snapshots and backups.
    pub async fn instance_full(&self, name: &str) -> Result<InstanceFull> {
        self.get(&format!("{}?recursion=1", path(&["instances", name])))
            .await
    }

    /// The run-time state of an instance.
    pub async fn instance_state(&self, name: &str) -> Result<InstanceState> {
        self.get(&path(&["instances", name, "state"])).await
    }

    /// Creates an instance.
    pub async fn create_instance(&self, instance: &InstancesPost) -> Result<Background> {
        self.start(&path(&["instances"]), instance).await
    }

    /// Creates an instance from a request that is JSON already, for what must be left out rather than empty.
    pub async fn create_instance_value(&self, instance: &Value) -> Result<Background> {
        self.start(&path(&["instances"]), instance).await
    }

    /// Replaces the configuration of an instance.
    pub async fn update_instance(
        &self,
        name: &str,
        instance: &InstancePut,
        etag: &Etag,
    ) -> Result<Background> {
        self.update(&path(&["instances", name]), instance, etag).await
    }

    /// Starts, stops, restarts, freezes or unfreezes an instance.
    pub async fn change_instance_state(&self, name: &str, change: &InstanceStatePut) -> Result<Background> {
        self.update(&path(&["instances", name, "state"]), change, &Etag::default())
            .await
    }

    /// Deletes an instance.
    pub async fn delete_instance(&self, name: &str) -> Result<Background> {
        self.delete(&path(&["instances", name])).await
    }

    /// Runs a command in an instance and opens the streams to it.
    pub async fn exec(&self, name: &str, command: &InstanceExecPost) -> Result<ExecStreams> {
        let background = self.start(&path(&["instances", name, "exec"]), command).await?;
        let numbered = if command.interactive { 1 } else { 3 };
        // The command starts when all numbered streams are there, and may be over at once: the control stream, which
        // the server does not wait for, has to come before the last of them.
        let first = async {
            let control = self.operation_stream(&background, "control").await?;
            let first = self.operation_stream(&background, "0").await?;
            Ok::<_, Error>((control, first))
        };
        let others = ["1", "2"][..numbered - 1]
            .iter()
            .map(|stream| self.operation_stream(&background, stream));
        let ((control, first), others) = futures::try_join!(first, futures::future::try_join_all(others))?;
        let mut streams = vec![first];
        streams.extend(others);
        Ok(ExecStreams {
            background,
            streams,
            control,
        })
    }

    /// Opens one of the websockets that an operation offers.
    pub async fn operation_stream(&self, background: &Background, stream: &str) -> Result<WebSocket> {
        let operation = background.operation().ok_or_else(|| no_stream(background))?;
        let Value::String(secret) = &background.metadata("fds")[stream] else {
            return Err(no_stream(background));
        };
        let at = path(&["operations", &operation.id, "websocket"]);
        self.websocket(&format!("{at}?secret={secret}")).await
    }
}

fn no_stream(background: &Background) -> Error {
    let url = background
        .operation()
        .map_or_else(String::new, |operation| operation.id.clone());
    Error::Answer {
        url,
        reason: "the operation offers no such stream".into(),
    }
}
