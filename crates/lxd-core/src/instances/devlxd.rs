//! What an instance may learn about itself through `/dev/lxd/sock`.

use std::sync::Arc;

use bytes::Bytes;
use futures::{Stream, StreamExt as _, stream};
use lxd_instance::{Change, Instance, Key};
use serde_json::{Value, json};
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;

use crate::app::App;
use crate::error::{Error, Result};

/// The keys that instances may read.
const READABLE: [&str; 2] = ["user.", "cloud-init."];

/// The instance that asks.
pub struct Guest {
    app: Arc<App>,
    instance: Arc<Instance>,
}

/// What a guest wants to hear of.
#[derive(Debug, Clone, Copy)]
pub struct Topics {
    /// Changes of `user.*` keys.
    pub config: bool,
    /// Devices that come, go or change.
    pub device: bool,
}

impl Guest {
    /// The instance that a process belongs to.
    ///
    /// # Errors
    /// It belongs to none.
    pub fn of_process(app: &Arc<App>, pid: i32) -> Result<Self> {
        let found = app.instances.registry.of_process(pid);
        let instance = found.ok_or_else(|| Error::internal("pid not in container?"))?;
        Ok(Self {
            app: Arc::clone(app),
            instance,
        })
    }

    /// Whether a user of the host is root inside.
    pub fn is_root(&self, uid: u32) -> bool {
        self.instance.host_uid(0) == uid
    }

    /// Refuses instances that may not ask.
    ///
    /// # Errors
    /// `security.devlxd` is off.
    pub fn may_ask(&self) -> Result<()> {
        match self.instance.is_unset("security.devlxd") {
            true => Err(Error::forbidden("not authorized")),
            false => Ok(()),
        }
    }

    /// What the server is, as far as it is the instance's business.
    pub fn about(&self) -> Value {
        json!({
            "state": "",
            "api_version": "1.0",
            "instance_type": "container",
            "location": "none",
        })
    }

    /// The keys that it may read, as paths.
    pub fn keys(&self) -> Vec<String> {
        let readable = self.instance.config.keys().filter(|key| is_readable(key));
        readable.map(|key| format!("/1.0/config/{key}")).collect()
    }

    /// A value of its configuration.
    ///
    /// # Errors
    /// It may not read that key; the key is not set.
    pub fn value(&self, key: &str) -> Result<String> {
        if !is_readable(key) {
            return Err(Error::forbidden("not authorized"));
        }
        let value = self.instance.config(key);
        value
            .map(str::to_owned)
            .ok_or_else(|| Error::not_found("not found"))
    }

    /// What cloud-init reads first.
    pub fn meta_data(&self) -> String {
        let get = |key: &str| self.instance.config(key).unwrap_or_default();
        format!(
            "#cloud-config\ninstance-id: {}\nlocal-hostname: {}\n{}",
            get("volatile.cloud-init.instance-id"),
            self.instance.key.name,
            get("user.meta-data"),
        )
    }

    /// Its devices; network cards with the hardware addresses that were chosen for them.
    pub fn devices(&self) -> Value {
        let mut devices = self.instance.devices.clone();
        for (name, device) in &mut devices {
            let is_card = device.get("type").is_some_and(|kind| kind == "nic");
            let chosen = self.instance.config(&format!("volatile.{name}.hwaddr"));
            if let Some(chosen) = chosen.filter(|_| is_card && !device.contains_key("hwaddr")) {
                device.insert("hwaddr".to_owned(), chosen.to_owned());
            }
        }
        json!(devices)
    }

    /// Whether it may have images.
    ///
    /// # Errors
    /// It may not.
    pub fn require_images(&self) -> Result<()> {
        match self.instance.is_set("security.devlxd.images") {
            true => Ok(()),
            false => Err(Error::forbidden("not authorized")),
        }
    }

    /// What changes from now on, as JSON with a line break each.
    pub fn events(&self, topics: Topics) -> impl Stream<Item = Bytes> + Send + Unpin + 'static {
        let key = self.instance.key.clone();
        let changes = follow(self.app.instances.registry.changes(), key);
        let clock = Arc::clone(&self.app);
        let events = changes.flat_map(move |change| {
            let time = clock.clock.time();
            let lines: Vec<Bytes> = told(&change, topics)
                .into_iter()
                .map(|(kind, metadata)| {
                    let event = json!({"type": kind, "timestamp": time, "metadata": metadata});
                    Bytes::from(format!("{event}\n"))
                })
                .collect();
            stream::iter(lines)
        });
        Box::pin(events)
    }
}

fn is_readable(key: &str) -> bool {
    READABLE.iter().any(|prefix| key.starts_with(prefix))
}

/// The changes of one instance; the end of the daemon is theirs.
fn follow(receiver: broadcast::Receiver<Change>, key: Key) -> impl Stream<Item = Change> + Send {
    stream::unfold((receiver, key), |(mut receiver, key)| async move {
        loop {
            match receiver.recv().await {
                Ok(change) if change.new.key == key => return Some((change, (receiver, key))),
                // Who lags behind has missed something, as with the reference.
                Ok(_) | Err(RecvError::Lagged(_)) => {}
                Err(RecvError::Closed) => return None,
            }
        }
    })
}

/// What an instance is told of a change.
fn told(change: &Change, topics: Topics) -> Vec<(&'static str, Value)> {
    let (old, new) = (&change.old, &change.new);
    let mut all = Vec::new();
    if topics.config {
        let keys: std::collections::BTreeSet<&String> = old.config.keys().chain(new.config.keys()).collect();
        for key in keys.into_iter().filter(|key| key.starts_with("user.")) {
            let value = |instance: &Instance| instance.config(key).unwrap_or_default().to_owned();
            let (before, after) = (value(old), value(new));
            if before != after {
                all.push(("config", json!({"key": key, "old_value": before, "value": after})));
            }
        }
    }
    if topics.device {
        let mut tell = |action: &str, name: &String, config: &Value| {
            all.push((
                "device",
                json!({"action": action, "config": config, "name": name}),
            ));
        };
        for (name, device) in &old.devices {
            match new.devices.get(name) {
                None => tell("removed", name, &json!(device)),
                Some(now) if now != device => tell("updated", name, &json!(now)),
                Some(_) => {}
            }
        }
        for (name, device) in &new.devices {
            if !old.devices.contains_key(name) {
                tell("added", name, &json!(device));
            }
        }
    }
    all
}
