//! Applies a preseed: each thing is made, or changed where it is there; what fails takes everything back.

use lxd_api::init::{InitNetworksProjectPost, InitPreseed};
use lxd_api::networks::Network;
use lxd_api::profiles::{Profile, ProfilesPost};
use lxd_api::projects::{Project, ProjectsPost};
use lxd_api::server::Server;
use lxd_api::storage_pools::{StoragePool, StoragePoolsPost};
use serde_json::{Value, json};

use super::super::client::{Client, ClientError};

/// Makes the server what the preseed says.
///
/// # Errors
/// What the daemon refused. What was done before is undone, and what could not be undone is said too.
pub(super) async fn apply(client: &Client, preseed: &InitPreseed) -> Result<(), String> {
    if preseed.cluster.as_ref().is_some_and(|cluster| cluster.enabled) {
        return Err("Clustering is not available in this version yet".into());
    }
    let mut applied = Applied {
        client,
        undo: Vec::new(),
    };
    let Err(mut text) = applied.all(preseed).await else {
        return Ok(());
    };
    for (method, path, body) in applied.undo.into_iter().rev() {
        if let Err(error) = client.send(method, &path, &body).await {
            text.push_str(&format!(" (and failed to undo {path:?}: {error})"));
        }
    }
    Err(text)
}

struct Applied<'a> {
    client: &'a Client,
    /// What takes each change back, oldest first.
    undo: Vec<(&'static str, String, Value)>,
}

impl Applied<'_> {
    async fn all(&mut self, preseed: &InitPreseed) -> Result<(), String> {
        self.config(preseed).await?;
        for pool in &preseed.storage_pools {
            self.pool(pool).await?;
        }
        for project in &preseed.projects {
            self.project(project).await?;
        }
        for network in &preseed.networks {
            self.network(network).await?;
        }
        for profile in &preseed.profiles {
            self.profile(profile).await?;
        }
        Ok(())
    }

    async fn config(&mut self, preseed: &InitPreseed) -> Result<(), String> {
        if preseed.config.is_empty() {
            return Ok(());
        }
        let server: Server = self.client.get("/1.0").await?;
        // Scalars of YAML may be numbers and booleans; configuration is text.
        let config: serde_json::Map<String, Value> = preseed
            .config
            .iter()
            .map(|(key, value)| (key.clone(), as_text(value)))
            .collect();
        let change = json!({ "config": config });
        self.client
            .send("PATCH", "/1.0", &change)
            .await
            .map_err(|error| format!("Failed to update server configuration: {error}"))?;
        self.undo
            .push(("PUT", "/1.0".into(), json!({ "config": server.config })));
        Ok(())
    }

    async fn pool(&mut self, pool: &StoragePoolsPost) -> Result<(), String> {
        let name = &pool.name;
        let path = format!("/1.0/storage-pools/{}", escape(name));
        let Some(current) = self.find::<StoragePool>(&path).await? else {
            let failed = |error| format!("Failed to create storage pool {name:?}: {error}");
            return self.make("/1.0/storage-pools", pool, path).await.map_err(failed);
        };
        if !pool.driver.is_empty() && current.driver != pool.driver {
            let (is, wanted) = (&current.driver, &pool.driver);
            return Err(format!(
                "Storage pool {name:?} is of type {is:?} instead of {wanted:?}"
            ));
        }
        let mut new = current.clone();
        new.config.extend(pool.config.clone());
        if !pool.description.is_empty() {
            new.description.clone_from(&pool.description);
        }
        let failed = |error| format!("Failed to update storage pool {name:?}: {error}");
        self.change(path, &current, &new).await.map_err(failed)
    }

    async fn project(&mut self, project: &ProjectsPost) -> Result<(), String> {
        let name = &project.name;
        let path = format!("/1.0/projects/{}", escape(name));
        let Some(current) = self.find::<Project>(&path).await? else {
            let failed = |error| format!("Failed to create project {name:?}: {error}");
            return self.make("/1.0/projects", project, path).await.map_err(failed);
        };
        let mut new = current.clone();
        new.config.extend(project.config.clone());
        if !project.description.is_empty() {
            new.description.clone_from(&project.description);
        }
        let failed = |error| format!("Failed to update project {name:?}: {error}");
        self.change(path, &current, &new).await.map_err(failed)
    }

    async fn network(&mut self, network: &InitNetworksProjectPost) -> Result<(), String> {
        let name = &network.name;
        let project = if network.project.is_empty() {
            "default"
        } else {
            network.project.as_str()
        };
        let query = format!("?project={}", escape(project));
        let path = format!("/1.0/networks/{}{query}", escape(name));
        let current = self
            .find::<Network>(&path)
            .await?
            .filter(|network| network.managed);
        let Some(current) = current else {
            let kind = if network.r#type.is_empty() {
                "bridge"
            } else {
                network.r#type.as_str()
            };
            let post = json!({"name": name, "type": kind, "description": network.description, "config": network.config});
            let failed = |error| {
                format!("Failed to create local member network {name:?} in project {project:?}: {error}")
            };
            return self
                .make(&format!("/1.0/networks{query}"), &post, path)
                .await
                .map_err(failed);
        };
        let mut new = current.clone();
        new.config.extend(network.config.clone());
        if !network.description.is_empty() {
            new.description.clone_from(&network.description);
        }
        let failed =
            |error| format!("Failed to update local member network {name:?} in project {project:?}: {error}");
        self.change(path, &current, &new).await.map_err(failed)
    }

    async fn profile(&mut self, profile: &ProfilesPost) -> Result<(), String> {
        let name = &profile.name;
        let path = format!("/1.0/profiles/{}", escape(name));
        let Some(current) = self.find::<Profile>(&path).await? else {
            let failed = |error| format!("Failed to create profile {name:?}: {error}");
            return self.make("/1.0/profiles", profile, path).await.map_err(failed);
        };
        let mut new = current.clone();
        new.config.extend(profile.config.clone());
        for (device, keys) in &profile.devices {
            new.devices
                .entry(device.clone())
                .or_default()
                .extend(keys.clone());
        }
        if !profile.description.is_empty() {
            new.description.clone_from(&profile.description);
        }
        let failed = |error| format!("Failed to update profile {name:?}: {error}");
        self.change(path, &current, &new).await.map_err(failed)
    }

    async fn find<T: serde::de::DeserializeOwned>(&self, path: &str) -> Result<Option<T>, String> {
        match self.client.get(path).await {
            Ok(found) => Ok(Some(found)),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error.to_string()),
        }
    }

    async fn make(
        &mut self,
        list: &str,
        post: &impl serde::Serialize,
        path: String,
    ) -> Result<(), ClientError> {
        self.client.send("POST", list, post).await?;
        self.undo.push(("DELETE", path, json!({})));
        Ok(())
    }

    async fn change<T: serde::Serialize + PartialEq>(
        &mut self,
        path: String,
        old: &T,
        new: &T,
    ) -> Result<(), ClientError> {
        if old == new {
            return Ok(());
        }
        self.client.send("PUT", &path, new).await?;
        self.undo
            .push(("PUT", path, serde_json::to_value(old).unwrap_or_default()));
        Ok(())
    }
}

fn as_text(value: &Value) -> Value {
    match value {
        Value::Number(number) => Value::String(number.to_string()),
        Value::Bool(flag) => Value::String(flag.to_string()),
        other => other.clone(),
    }
}

/// A name as a part of a path.
fn escape(name: &str) -> String {
    name.bytes().fold(String::new(), |mut text, byte| {
        if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
            text.push(char::from(byte));
        } else {
            text.push_str(&format!("%{byte:02X}"));
        }
        text
    })
}
