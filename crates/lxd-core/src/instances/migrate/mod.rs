//! Instances that go from a server to another, with their snapshots.

mod receive;
mod renew;
mod send;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use lxd_api::Time;
use lxd_db::cluster::instances::Instance as Row;
use lxd_model::idmap::{Entry as IdEntry, IdMap};
use lxd_model::instances::architecture;

use super::snapshots::Saved;
use crate::error::{Error, Result};
use crate::migration::{Device, Entry, Ids, Snapshot};
use crate::operations::Works;

pub(super) use receive::{note_base, place_root, receive};
pub(super) use send::{Wish, send};

/// The kinds of works of this noun.
pub(super) fn works(works: &mut Works) {
    works.add::<receive::Receive>();
    works.add::<renew::Renew>();
    works.add::<send::Again>();
}

/// Whether running processes may go along, which nothing here can do.
///
/// # Errors
/// They are to.
fn refuse_live(is_live: bool, side: &str) -> Result<()> {
    if !is_live {
        return Ok(());
    }
    if super::saving::has_criu() {
        let text = "Live migration of containers is not supported by this server: move it stopped, with what runs saved \
                    (`lxc stop --stateful`), or with `--stateless`";
        return Err(Error::not_implemented(text));
    }
    Err(Error::internal(format!(
        "Unable to perform container live migration. CRIU isn't installed on the {side} server"
    )))
}

/// What a message says of a snapshot that the instance has.
#[derive(Clone, Copy)]
struct Parent<'p> {
    architecture: &'p str,
    profiles: &'p [String],
    is_ephemeral: bool,
}

impl<'p> Parent<'p> {
    fn of(row: &'p Row) -> Self {
        Self {
            architecture: &row.architecture,
            profiles: &row.profiles,
            is_ephemeral: row.ephemeral,
        }
    }
}

/// A snapshot as the header has it.
fn to_message(parent: Parent<'_>, snapshot: &Saved) -> Snapshot {
    let seconds = |time: &Time| time.timestamp().as_second();
    let number = architecture::id(parent.architecture).unwrap_or_default();
    let devices = snapshot.devices.iter().map(|(name, config)| Device {
        name: name.clone(),
        config: Entry::all(config),
    });
    Snapshot {
        name: snapshot.name.clone(),
        config: Entry::all(&snapshot.config),
        profiles: parent.profiles.to_vec(),
        ephemeral: parent.is_ephemeral,
        devices: devices.collect(),
        architecture: i32::try_from(number).unwrap_or_default(),
        stateful: snapshot.stateful,
        created_at: Some(seconds(&snapshot.created_at)),
        used_at: Some(seconds(&Time::never())),
        expires_at: Some(seconds(&snapshot.expires_at)),
    }
}

/// The snapshot that a message describes.
fn from_message(message: &Snapshot) -> Saved {
    let time = |seconds: Option<i64>| match seconds {
        Some(seconds) if seconds > 0 => Time::from_unix(seconds),
        _ => Time::never(),
    };
    let devices = message.devices.iter();
    let devices: BTreeMap<_, _> = devices
        .map(|device| (device.name.clone(), Entry::config(&device.config)))
        .collect();
    Saved {
        name: message.name.clone(),
        created_at: time(message.created_at),
        expires_at: time(message.expires_at),
        stateful: message.stateful,
        description: String::new(),
        config: Entry::config(&message.config),
        devices,
        volume_config: None,
    }
}

/// Ids as the header has them.
fn ids_to_message(map: &IdMap) -> Vec<Ids> {
    let narrow = |number: i64| i32::try_from(number).unwrap_or(i32::MAX);
    let ids = |entry: &IdEntry| Ids {
        are_users: entry.is_uid,
        are_groups: entry.is_gid,
        on_disk: narrow(entry.host_id),
        inside: narrow(entry.ns_id),
        count: narrow(entry.range),
    };
    map.0.iter().map(ids).collect()
}

/// The ids that a message describes.
///
/// # Errors
/// They are no map.
fn ids_from_message(ids: &[Ids]) -> Result<IdMap> {
    let entry = |ids: &Ids| IdEntry {
        is_uid: ids.are_users,
        is_gid: ids.are_groups,
        host_id: ids.on_disk.into(),
        ns_id: ids.inside.into(),
        range: ids.count.into(),
    };
    let is_bad = |ids: &Ids| ids.on_disk < 0 || ids.inside < 0 || ids.count < 1;
    if ids.iter().any(is_bad) {
        return Err(Error::bad_request("The other server's ids are no map"));
    }
    // As read from the database, where it goes next.
    Ok(IdMap::from_json(
        &IdMap(ids.iter().map(entry).collect()).to_json(),
    )?)
}
