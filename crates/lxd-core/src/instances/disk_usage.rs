//! What the disks of instances use, those that are volumes of pools.

use std::collections::{BTreeMap, HashMap};

use lxd_api::instance_state::InstanceStateDisk;
use lxd_db::cluster::Tx;
use lxd_db::cluster::projects::{self, Feature};
use lxd_model::devices::{Device, property};
use lxd_storage::Volume;

use super::record::Record;
use crate::app::App;
use crate::error::Result;

/// Disks by their devices.
pub(super) type Disks = BTreeMap<String, InstanceStateDisk>;

/// A disk: the instance's place in a list, its device, the volume.
type Found = (usize, String, Volume);

/// The volumes of instances, by their pools.
pub(super) struct Volumes(BTreeMap<String, Vec<Found>>);

impl Volumes {
    /// Finds them all.
    ///
    /// # Errors
    /// The database can't be read.
    pub(super) async fn of(tx: &mut Tx, records: &[Record]) -> Result<Self> {
        let mut homes: HashMap<&str, String> = HashMap::new();
        let mut found: BTreeMap<String, Vec<Found>> = BTreeMap::new();
        for (index, record) in records.iter().enumerate() {
            let project = record.row.project.as_str();
            if !homes.contains_key(project) {
                let home = projects::effective(tx, project, Feature::StorageVolumes).await?;
                homes.insert(project, home);
            }
            let home = homes.get(project).map_or(project, String::as_str);
            for (name, device) in &record.devices {
                if let Some((pool, volume)) = volume(record, home, device) {
                    found.entry(pool).or_default().push((index, name.clone(), volume));
                }
            }
        }
        Ok(Self(found))
    }

    /// What they use, where that is known. `walks` says of an instance whether walking over its files is worth it.
    pub(super) async fn usages(self, app: &App, walks: impl Fn(usize) -> bool) -> HashMap<usize, Disks> {
        let mut all: HashMap<usize, Disks> = HashMap::new();
        for (pool, mut found) in self.0 {
            let Ok(pool) = app.pools.get(&pool) else {
                continue;
            };
            if !pool.driver().knows_usage {
                found.retain(|(index, ..)| walks(*index));
            }
            let volumes = found.iter().map(|(_, _, volume)| volume.clone()).collect();
            let usages = pool.usages(volumes).await.unwrap_or_default();
            for ((index, device, _), bytes) in found.into_iter().zip(usages) {
                if let Some(bytes) = bytes {
                    let usage = i64::try_from(bytes).unwrap_or(i64::MAX);
                    all.entry(index)
                        .or_default()
                        .insert(device, InstanceStateDisk { usage });
                }
            }
        }
        all
    }
}

/// The pool and the volume of a disk, if it is one.
fn volume(record: &Record, home: &str, device: &Device) -> Option<(String, Volume)> {
    let (pool, source) = (property(device, "pool"), property(device, "source"));
    if property(device, "type") != "disk" || pool.is_empty() {
        return None;
    }
    let volume = match (property(device, "path"), source) {
        ("/", _) => Volume::container(&record.row.project, &record.row.name),
        (_, "") => return None,
        _ => Volume::custom(home, source),
    };
    Some((pool.to_owned(), volume))
}
