//! Configuration keys: declared once in tables, from which validation, defaults and documentation follow.
//!
//! A [`Table`] is a list of [`Key`]s; a key's name may hold one `*` (`user.*`, `volatile.*.hwaddr`). What a value
//! must look like is its [`Check`]; how a refusal is worded depends on the noun and is its [`Wording`]. The tables of
//! servers, instances and projects are here, those of networks and storage pools with their drivers.

pub mod check;
pub mod instance;
pub mod project;
pub mod schedule;
pub mod server;
pub mod unprivileged;

use std::collections::BTreeMap;

use serde::Serialize;

use crate::Invalid;
pub use check::{Check, is_false, is_true};

/// The configuration of anything: keys and values as text.
pub type Config = BTreeMap<String, String>;

/// Where a server key's value lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    /// One value for all cluster members, in the cluster's database.
    Global,
    /// One value for each cluster member, in its own database.
    Local,
}

/// Which instances a key is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum For {
    /// Containers and virtual machines.
    Any,
    /// Containers only.
    Container,
    /// Virtual machines only.
    VirtualMachine,
}

/// One configuration key, or a family of keys.
#[derive(Debug, Clone, Copy)]
pub struct Key {
    /// The name; one `*` stands for any text that is not empty, in the three families of free names also for none.
    pub name: &'static str,
    /// What a value must look like; the empty value unsets the key and is always accepted.
    pub check: Check,
    /// The value when unset.
    pub default: Option<&'static str>,
    /// Whether a change takes effect without a restart.
    pub live: bool,
    /// Where the value lives, for server keys.
    pub scope: Scope,
    /// Which instances it is for.
    pub applies: For,
    /// Whether the value must not be shown: it is answered as `true`.
    pub secret: bool,
    /// Whether the value may not be empty.
    pub required: bool,
    /// When the key counts, in words: "managed networks".
    pub condition: &'static str,
}

impl Key {
    /// A global key for everything, optional, without default, that takes effect at the next start.
    pub const fn new(name: &'static str, check: Check) -> Self {
        Self {
            name,
            check,
            default: None,
            live: false,
            scope: Scope::Global,
            applies: For::Any,
            secret: false,
            required: false,
            condition: "",
        }
    }

    /// Has this value when unset.
    pub const fn default(self, value: &'static str) -> Self {
        Self {
            default: Some(value),
            ..self
        }
    }

    /// Takes effect without a restart.
    pub const fn live(self) -> Self {
        Self { live: true, ..self }
    }

    /// Is kept by each cluster member.
    pub const fn local(self) -> Self {
        Self {
            scope: Scope::Local,
            ..self
        }
    }

    /// Is for containers only.
    pub const fn container(self) -> Self {
        Self {
            applies: For::Container,
            ..self
        }
    }

    /// Is for virtual machines only.
    pub const fn vm(self) -> Self {
        Self {
            applies: For::VirtualMachine,
            ..self
        }
    }

    /// Is never shown.
    pub const fn secret(self) -> Self {
        Self { secret: true, ..self }
    }

    /// May not be empty.
    pub const fn required(self) -> Self {
        Self {
            required: true,
            ..self
        }
    }

    /// Counts only then.
    pub const fn when(self, condition: &'static str) -> Self {
        Self { condition, ..self }
    }

    /// Whether a key's name is this one or of this family.
    pub fn matches(&self, name: &str) -> bool {
        let Some((before, after)) = self.name.split_once('*') else {
            return self.name == name;
        };
        // Of these families the reference takes the bare prefix too.
        let is_free = ["user.", "environment.", "image."].contains(&before);
        let least = before.len() + after.len() + usize::from(!is_free);
        name.len() >= least && name.starts_with(before) && name.ends_with(after)
    }
}

/// The keys that one noun takes.
#[derive(Debug, Clone, Copy)]
pub struct Table {
    /// What the keys belong to, as the catalog names it: "server", "network bridge".
    pub noun: &'static str,
    /// The keys, in the order of the catalog.
    pub keys: &'static [Key],
}

impl Table {
    /// The key or family that a name belongs to.
    pub fn find(&self, name: &str) -> Option<&'static Key> {
        self.keys.iter().find(|key| key.matches(name))
    }

    /// The value of a key, else its default, else the empty text.
    pub fn value<'c>(&self, config: &'c Config, name: &str) -> &'c str {
        match config.get(name) {
            Some(value) if !value.is_empty() => value,
            _ => self.find(name).and_then(|key| key.default).unwrap_or_default(),
        }
    }

    /// Whether a boolean key, or its default, is true.
    pub fn is_true(&self, config: &Config, name: &str) -> bool {
        is_true(self.value(config, name))
    }

    /// Checks all keys and values, the first error by key order.
    pub fn validate(&self, config: &Config, wording: Wording<'_>) -> Result<(), Invalid> {
        self.validate_where(config, wording, |_| true)
    }

    /// Checks as [`validate`](Self::validate), taking keys that don't apply for unknown ones.
    pub fn validate_where(
        &self,
        config: &Config,
        wording: Wording<'_>,
        applies: impl Fn(&Key) -> bool,
    ) -> Result<(), Invalid> {
        for key in self.keys.iter().filter(|key| key.required && applies(key)) {
            if config.get(key.name).is_none_or(String::is_empty) {
                return Err(wording.invalid(
                    key,
                    key.name,
                    "",
                    &key.check.run("").err().unwrap_or_else(required),
                ));
            }
        }
        for (name, value) in config {
            let key = self.find(name).filter(|key| applies(key));
            let key = key.ok_or_else(|| wording.unknown(name, value))?;
            validate_value(key, name, value, wording)?;
        }
        Ok(())
    }
}

/// Checks one value; the empty one is accepted unless required.
pub fn validate_value(key: &Key, name: &str, value: &str, wording: Wording<'_>) -> Result<(), Invalid> {
    if value.is_empty() && !key.required {
        return Ok(());
    }
    key.check
        .run(value)
        .map_err(|reason| wording.invalid(key, name, value, &reason))
}

fn required() -> String {
    "Required value".to_owned()
}

/// How the reference words the refusal of a key or value of some noun.
#[derive(Debug, Clone, Copy)]
pub enum Wording<'a> {
    /// `PUT /1.0`
    Server,
    /// Instances and profiles: the bare reason.
    Instance,
    /// Projects.
    Project,
    /// Devices of instances and profiles, inside "Device validation failed for ...".
    Device,
    /// The network of this name.
    Network(&'a str),
    /// Storage pools.
    StoragePool,
    /// The volume of this name, as it is on disk (`default_vol1`).
    StorageVolume(&'a str),
    /// Any other noun, named: "cluster member".
    Other(&'a str),
}

impl Wording<'_> {
    /// The refusal of a key that the noun does not have.
    pub fn unknown(self, name: &str, value: &str) -> Invalid {
        Invalid::new(match self {
            Self::Server => format!("cannot set '{name}' to '{value}': unknown key"),
            Self::Instance => format!("Unknown configuration key: {name}"),
            Self::Project => format!("Invalid project configuration key {name:?}"),
            Self::Device => format!("Invalid device option {name:?}"),
            Self::Network(network) => format!("Invalid option for network {network:?} option {name:?}"),
            Self::StoragePool => format!("Invalid option {name:?}"),
            Self::StorageVolume(volume) => format!("Invalid option for volume {volume:?} option {name:?}"),
            Self::Other(noun) => format!("Invalid {noun} configuration key {name:?}"),
        })
    }

    /// The refusal of a value.
    pub fn invalid(self, key: &Key, name: &str, value: &str, reason: &str) -> Invalid {
        Invalid::new(match self {
            Self::Server => {
                let reason = match key.check {
                    Check::Bool => "invalid boolean",
                    Check::Integer => "invalid integer",
                    _ => reason,
                };
                let value = if key.secret { "..." } else { value };
                format!("cannot set '{name}' to '{value}': {reason}")
            }
            Self::Instance => reason.to_owned(),
            Self::Project => format!("Invalid project configuration key {name:?} value: {reason}"),
            Self::Device => format!("Invalid value for device option {name:?}: {reason}"),
            Self::Network(network) => {
                format!("Invalid value for network {network:?} option {name:?}: {reason}")
            }
            Self::StoragePool => format!("Invalid value for option {name:?}: {reason}"),
            Self::StorageVolume(volume) => {
                format!("Invalid value for volume {volume:?} option {name:?}: {reason}")
            }
            Self::Other(noun) => format!("Invalid {noun} configuration key {name:?} value: {reason}"),
        })
    }
}

/// A key as the catalog shows it.
#[derive(Debug, Serialize)]
pub struct CatalogKey {
    key: &'static str,
    #[serde(rename = "type")]
    kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    default: Option<&'static str>,
    #[serde(skip_serializing_if = "str::is_empty")]
    condition: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    scope: Option<Scope>,
    #[serde(rename = "for", skip_serializing_if = "Option::is_none")]
    applies: Option<For>,
    live: bool,
    required: bool,
    secret: bool,
}

/// Tables for people and tools, by noun, for `api/config-keys.json`: those of this crate, and more from others.
pub fn catalog<'a>(more: impl IntoIterator<Item = &'a Table>) -> BTreeMap<&'static str, Vec<CatalogKey>> {
    let own = [&server::TABLE, &instance::TABLE, &project::TABLE];
    let devices = crate::devices::TABLES.iter().map(|device| &device.table);
    own.into_iter()
        .chain(devices)
        .chain(more)
        .map(|table| (table.noun, entries(table)))
        .collect()
}

fn entries(table: &Table) -> Vec<CatalogKey> {
    let server = table.noun == server::TABLE.noun;
    let instance = table.noun == instance::TABLE.noun;
    let entry = |key: &Key| CatalogKey {
        key: key.name,
        kind: key.check.type_name(),
        default: key.default,
        condition: key.condition,
        scope: server.then_some(key.scope),
        applies: instance.then_some(key.applies),
        live: key.live,
        required: key.required,
        secret: key.secret,
    };
    table.keys.iter().map(entry).collect()
}

#[cfg(test)]
mod tests;
