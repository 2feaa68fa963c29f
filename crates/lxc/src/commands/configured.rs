//! What pools, networks, projects and volumes have in common: a description and a configuration that is shown, edited,
//! and changed key by key.

use std::collections::BTreeMap;

use lxd_api::networks::{Network, NetworkPut};
use lxd_api::profiles::{Profile, ProfilePut};
use lxd_api::projects::{Project, ProjectPut};
use lxd_api::storage_pools::{StoragePool, StoragePoolPut};
use lxd_api::storage_volumes::{StorageVolume, StorageVolumePut};
use lxd_client::{Client, Etag};
use lxd_model::yaml;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::context::{read_stdin, stdin_is_terminal};
use crate::edit::edit;
use crate::error::Result;
use crate::key_values::pairs;
use crate::render::{natural, print_line, print_yaml};

/// A thing with a configuration.
pub(super) trait Configured: DeserializeOwned + Serialize {
    /// The part that can be written.
    type Writable: DeserializeOwned + Serialize + for<'a> From<&'a Self>;

    /// Puts the users of the thing in the order in which they are shown.
    fn sort_users(&mut self);

    /// The configuration of the writable part.
    fn config(writable: &mut Self::Writable) -> &mut BTreeMap<String, String>;

    /// Text above what is edited.
    const EXPLANATION: &'static str;
}

macro_rules! configured {
    ($whole:ident, $part:ident, $sorted:literal, $explanation:literal) => {
        impl Configured for $whole {
            type Writable = $part;

            fn sort_users(&mut self) {
                if $sorted {
                    self.used_by.sort_by(|a, b| natural(a, b));
                }
            }

            fn config(writable: &mut $part) -> &mut BTreeMap<String, String> {
                &mut writable.config
            }

            const EXPLANATION: &'static str = $explanation;
        }
    };
}

configured!(
    StoragePool,
    StoragePoolPut,
    true,
    "### The storage pool as YAML. Lines that begin with # are left out, and so are changes of its name and its users.\n"
);
configured!(
    Network,
    NetworkPut,
    true,
    "### The network as YAML. Lines that begin with # are left out, and so are changes of its name and its users.\n"
);
configured!(
    Project,
    ProjectPut,
    false,
    "### The project as YAML. Lines that begin with # are left out, and so are changes of its name and its users.\n"
);
configured!(
    Profile,
    ProfilePut,
    false,
    "### The profile as YAML. Lines that begin with # are left out, and so are changes of its name and its users.\n"
);
configured!(
    StorageVolume,
    StorageVolumePut,
    true,
    "### The storage volume as YAML. Lines that begin with # are left out, and so are changes of its name and its users.\n"
);

/// A thing on a server.
pub(super) struct Place<'a> {
    /// The connection.
    pub(super) client: &'a Client,
    /// The thing's path.
    pub(super) path: String,
}

impl Place<'_> {
    /// Prints the thing as YAML.
    pub(super) async fn show<T: Configured>(&self) -> Result<()> {
        let mut thing: T = self.client.get(&self.path).await?;
        thing.sort_users();
        print_yaml(&thing)
    }

    /// The value of a key, if it is set.
    pub(super) async fn value<T: Configured>(&self, key: &str) -> Result<Option<String>> {
        let thing: T = self.client.get(&self.path).await?;
        let mut writable = T::Writable::from(&thing);
        Ok(T::config(&mut writable).remove(key))
    }

    /// Prints the value of a key; nothing where it is not set.
    pub(super) async fn print_value<T: Configured>(&self, key: &str) -> Result<()> {
        self.value::<T>(key)
            .await?
            .map_or(Ok(()), |value| print_line(&value))
    }

    /// Changes the configuration; the server refuses if somebody else changed the thing meanwhile.
    pub(super) async fn change<T: Configured>(
        &self,
        change: impl FnOnce(&mut BTreeMap<String, String>),
    ) -> Result<()> {
        let (thing, etag): (T, Etag) = self.client.get_with_etag(&self.path).await?;
        let mut writable = T::Writable::from(&thing);
        change(T::config(&mut writable));
        Ok(self.client.replace(&self.path, &writable, &etag).await?)
    }

    /// Sets what `key=value` words say. A thing that is not there is reported before a word that says nothing.
    pub(super) async fn set_words<T: Configured>(&self, words: &[String]) -> Result<()> {
        let (thing, etag): (T, Etag) = self.client.get_with_etag(&self.path).await?;
        let mut writable = T::Writable::from(&thing);
        T::config(&mut writable).extend(pairs(words)?);
        Ok(self.client.replace(&self.path, &writable, &etag).await?)
    }

    /// Sets keys; an empty value removes one.
    pub(super) async fn set<T: Configured>(&self, pairs: BTreeMap<String, String>) -> Result<()> {
        self.change::<T>(|config| config.extend(pairs)).await
    }

    /// Removes a key, by setting it to nothing: the server says so if it does not know the key.
    pub(super) async fn unset<T: Configured>(&self, key: &str) -> Result<()> {
        self.set::<T>(BTreeMap::from([(key.to_owned(), String::new())]))
            .await
    }

    /// Replaces the writable part by what is piped in, or by what the user makes of it in an editor.
    pub(super) async fn edit<T: Configured>(&self) -> Result<()> {
        if !stdin_is_terminal() {
            let writable: T::Writable = yaml::from_str(&read_stdin()?)?;
            return Ok(self
                .client
                .replace(&self.path, &writable, &Etag::default())
                .await?);
        }
        let (thing, etag): (T, Etag) = self.client.get_with_etag(&self.path).await?;
        let text = format!("{}\n{}", T::EXPLANATION, yaml::to_string(&thing)?);
        edit(&text, async |text| {
            let writable: T::Writable = yaml::from_str(text)?;
            Ok(self.client.replace(&self.path, &writable, &etag).await?)
        })
        .await
    }
}
