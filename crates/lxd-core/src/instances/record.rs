//! An instance as the database has it: its row and its profiles, expanded, and what is made of that.

use std::collections::{BTreeMap, HashMap};

use lxd_api::Time;
use lxd_api::instances::{Instance as Wire, InstancePut};
use lxd_db::cluster::instances::{self as rows, Filter, Instance as Row};
use lxd_db::cluster::profiles::{self, Profile};
use lxd_db::cluster::projects;
use lxd_db::cluster::{InstanceType, Tx};
use lxd_instance::lifecycle::Phase;
use lxd_instance::{Instance, InstancePaths, Key};
use lxd_model::config::Config;
use lxd_model::devices::{Devices, property, root_disk};
use lxd_model::idmap::IdMap;
use lxd_model::profiles::{expand_config, expand_devices};
use lxd_model::projects::instance_path;
use lxd_sys::userns;

use crate::app::App;
use crate::error::Result;
use crate::paths::Paths;

/// An instance with its profiles.
#[derive(Debug, Clone)]
pub(super) struct Record {
    /// Its row.
    pub(super) row: Row,
    /// Its profiles, in their order.
    pub(super) profiles: Vec<Profile>,
    /// Its configuration with that of its profiles.
    pub(super) config: Config,
    /// Its devices with those of its profiles.
    pub(super) devices: Devices,
}

impl Record {
    /// Joins a row with those of the given profiles that it names.
    pub(super) fn new(row: Row, profiles: &HashMap<String, Profile>) -> Self {
        let own = row
            .profiles
            .iter()
            .filter_map(|name| profiles.get(name).cloned())
            .collect();
        Self::expand(row, own)
    }

    /// Joins a row with its profiles.
    pub(super) fn expand(row: Row, profiles: Vec<Profile>) -> Self {
        let config = expand_config(profiles.iter().map(|profile| &profile.config), &row.config);
        let devices = expand_devices(profiles.iter().map(|profile| &profile.devices), &row.devices);
        Self {
            row,
            profiles,
            config,
            devices,
        }
    }

    /// One instance.
    ///
    /// # Errors
    /// Not found.
    pub(super) async fn load(tx: &mut Tx, project: &str, name: &str) -> Result<Self> {
        Ok(Self::load_known(tx, project, name).await?.0)
    }

    /// One instance, and the profiles that it may have.
    ///
    /// # Errors
    /// Not found.
    pub(super) async fn load_known(
        tx: &mut Tx,
        project: &str,
        name: &str,
    ) -> Result<(Self, HashMap<String, Profile>)> {
        let row = rows::get(tx, project, name).await?;
        let known = profiles_of(tx, project).await?;
        Ok((Self::new(row, &known), known))
    }

    /// Instances in a constant number of queries.
    ///
    /// # Errors
    /// The database can't be read.
    pub(super) async fn list(tx: &mut Tx, filter: Filter<'_>) -> Result<Vec<Self>> {
        let all = rows::list(tx, filter).await?;
        if all.is_empty() {
            return Ok(Vec::new());
        }
        let homes = projects::effective_of_all(tx).await?;
        let mut profiles: BTreeMap<String, HashMap<String, Profile>> = BTreeMap::new();
        for profile in profiles::list(tx, None).await? {
            let of_project = profiles.entry(profile.project.clone()).or_default();
            of_project.insert(profile.name.clone(), profile);
        }
        let none = HashMap::new();
        let join = |row: Row| {
            let home = homes.get(&row.project).map(|home| home.profiles.as_str());
            let known = home.and_then(|home| profiles.get(home)).unwrap_or(&none);
            Self::new(row, known)
        };
        Ok(all.into_iter().map(join).collect())
    }

    pub(super) fn key(&self) -> Key {
        Key::new(&self.row.project, &self.row.name)
    }

    /// The pool of its root; empty if it has none.
    pub(super) fn pool(&self) -> &str {
        root_disk(&self.devices).map_or("", |(_, root)| property(root, "pool"))
    }

    /// What clients may write of it.
    pub(super) fn writable(&self) -> InstancePut {
        let row = &self.row;
        InstancePut {
            architecture: row.architecture.clone(),
            config: row.config.clone(),
            devices: row.devices.clone(),
            ephemeral: row.ephemeral,
            profiles: row.profiles.clone(),
            restore: String::new(),
            stateful: row.stateful,
            description: row.description.clone(),
        }
    }

    /// What clients see of it.
    pub(super) fn wire(&self, phase: Phase) -> Wire {
        let row = &self.row;
        let (status, status_code) = phase.status();
        Wire {
            architecture: row.architecture.clone(),
            config: row.config.clone(),
            devices: row.devices.clone(),
            ephemeral: row.ephemeral,
            profiles: row.profiles.clone(),
            restore: String::new(),
            stateful: row.stateful,
            description: row.description.clone(),
            created_at: Time::from(row.created_at),
            expanded_config: self.config.clone(),
            expanded_devices: self.devices.clone(),
            name: row.name.clone(),
            status: status.to_owned(),
            status_code,
            last_used_at: Time::from(row.last_used_at),
            location: row.node.clone(),
            r#type: row.kind.as_str().to_owned(),
            project: row.project.clone(),
        }
    }

    /// What runs it is told: how it starts next.
    ///
    /// # Errors
    /// Its id map can't be read.
    pub(super) fn instance(&self, app: &App) -> Result<Instance> {
        self.instance_with(app, "volatile.idmap.next")
    }

    /// As it runs already, with the ids that it started with.
    ///
    /// # Errors
    /// Its id map can't be read.
    pub(super) fn running_instance(&self, app: &App) -> Result<Instance> {
        let current = "volatile.idmap.current";
        match self.config.contains_key(current) {
            true => self.instance_with(app, current),
            false => self.instance(app),
        }
    }

    fn instance_with(&self, app: &App, map: &str) -> Result<Instance> {
        let row = &self.row;
        let map = self.config.get(map).map_or("", String::as_str);
        let map = IdMap::from_json(map)?;
        Ok(Instance {
            key: self.key(),
            id: row.id,
            kind: match row.kind {
                InstanceType::Container => lxd_instance::InstanceType::Container,
                InstanceType::VirtualMachine => lxd_instance::InstanceType::VirtualMachine,
            },
            architecture: row.architecture.clone(),
            ephemeral: row.ephemeral,
            config: self.config.clone(),
            devices: app.presets.applied(&self.devices),
            paths: instance_paths(&app.paths, &row.project, &row.name),
            idmap: kernel_map(&map),
        })
    }
}

/// The profiles that a project's instances may have, by name.
///
/// # Errors
/// The project is not there.
pub(super) async fn profiles_of(tx: &mut Tx, project: &str) -> Result<HashMap<String, Profile>> {
    let all = profiles::of_project(tx, project).await?;
    Ok(all
        .into_iter()
        .map(|profile| (profile.name.clone(), profile))
        .collect())
}

/// Where an instance's files are.
pub(super) fn instance_paths(paths: &Paths, project: &str, name: &str) -> InstancePaths {
    InstancePaths {
        logs: paths.instance_logs(project, name),
        devices: paths.instance_devices(project, name),
        shmounts: paths.instance_shmounts(project, name),
        seccomp: paths
            .security()
            .join("seccomp")
            .join(instance_path(project, name)),
        containers: paths.containers(),
        devlxd: paths.devlxd(),
    }
}

/// A map as the kernel wants it; none for the empty one, that of privileged containers.
pub(super) fn kernel_map(map: &IdMap) -> Option<userns::IdMap> {
    if map.0.is_empty() {
        return None;
    }
    let range = |entry: &lxd_model::idmap::Entry| userns::IdRange {
        inside: u32::try_from(entry.ns_id).unwrap_or(u32::MAX),
        outside: u32::try_from(entry.host_id).unwrap_or(u32::MAX),
        count: u32::try_from(entry.range).unwrap_or(0),
    };
    // An entry for users and groups may stand there twice.
    let mut ranges = userns::IdMap::default();
    for entry in &map.0 {
        for (is_wanted, list) in [(entry.is_uid, &mut ranges.uids), (entry.is_gid, &mut ranges.gids)] {
            if is_wanted && !list.contains(&range(entry)) {
                list.push(range(entry));
            }
        }
    }
    Some(ranges)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn maps_of_volatile_keys_become_the_kernels() {
        let range = lxd_model::idmap::Range {
            base: 100_000,
            size: 65_536,
        };
        let map = kernel_map(&IdMap::of_range(range)).unwrap();
        assert_eq!(map, userns::IdMap::shifted(100_000, 65_536));
        assert_eq!(kernel_map(&IdMap::default()), None);
    }
}
