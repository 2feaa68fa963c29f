//! What an instance must be before anything is done with it: configuration, devices, its project's rules.

use lxd_db::cluster::instances::{self, Filter};
use lxd_db::cluster::projects::Feature;
use lxd_db::cluster::{
    ContentType, Tx, VolumeType, projects as project_rows, storage_pools, storage_volumes,
};
use lxd_model::config::{self, Config};
use lxd_model::devices::{self, Devices, property};
use lxd_model::instances::InstanceType;
use lxd_model::{ErrorKind, Invalid};

use super::cards;
use super::record::Record;
use crate::app::App;
use crate::error::{Context as _, Error, Result};
use crate::profiles::ManagedNetworks;
use crate::projects::limits::{self, Member};
use crate::projects::restrictions::{self, Subject, Whose};

/// The variable by which an administrator lets no container share the host's root, as with the reference.
const UNPRIVILEGED_ONLY: &str = "LXD_UNPRIVILEGED_ONLY";

/// Checks the configuration of an instance.
///
/// # Errors
/// The first key or value that is wrong, or forbidden on this host.
pub(super) fn config(config: &Config, kind: InstanceType) -> Result<(), Invalid> {
    config::instance::validate(config, kind)?;
    allowed_here(config)
}

/// Checks what configuration of instances and profiles this host's administrator forbids.
///
/// # Errors
/// A privileged container, or one that maps the host's root.
pub(crate) fn allowed_here(config: &Config) -> Result<(), Invalid> {
    match std::env::var(UNPRIVILEGED_ONLY).is_ok_and(|value| config::is_true(&value)) {
        true => config::unprivileged::validate(config),
        false => Ok(()),
    }
}

/// An instance as it will be, with its profiles.
#[derive(Debug, Clone, Copy)]
pub(super) struct Candidate<'a> {
    pub(super) project: &'a str,
    pub(super) name: &'a str,
    pub(super) kind: InstanceType,
    pub(super) config: &'a Config,
    pub(super) devices: &'a Devices,
}

/// Checks what somebody gives for an instance itself.
///
/// # Errors
/// The first key, value or type of device that is wrong.
pub(super) fn own(config: &Config, devices: &Devices, kind: InstanceType) -> Result<(), Invalid> {
    self::config(config, kind)?;
    for device in devices.values() {
        let wanted = property(device, "type");
        let is_known = wanted == "none" || devices::TABLES.iter().any(|table| table.device_type == wanted);
        if !is_known {
            return Err(Invalid::new(format!("Invalid device type {wanted}")));
        }
    }
    Ok(())
}

/// Checks an instance with all that its profiles give it.
///
/// # Errors
/// A key or a device; no root disk; no such pool; the driver refuses something.
pub(super) async fn expanded(app: &App, tx: &mut Tx, candidate: Candidate<'_>) -> Result<()> {
    self::config(candidate.config, candidate.kind).map_err(|invalid| invalid.within("Invalid config: "))?;
    let networks = managed_networks(tx, candidate.devices).await?;
    let context = devices::Context::Instance(candidate.kind);
    devices::validate(candidate.devices, context, &networks)
        .map_err(|invalid| invalid.within("Invalid devices: "))?;
    addresses(app, tx, candidate).await?;
    let (_, root) =
        devices::root_disk(candidate.devices).map_err(|e| e.within("Failed getting root disk: "))?;
    app.pools
        .get(property(root, "pool"))
        .context("Failed loading storage pool")?;
    Ok(())
}

/// Checks the fixed addresses of cards against the networks that they are on.
async fn addresses(app: &App, tx: &mut Tx, candidate: Candidate<'_>) -> Result<()> {
    let fixed = |device: &&devices::Device| {
        let keys = [
            "ipv4.address",
            "ipv6.address",
            "security.ipv4_filtering",
            "security.ipv6_filtering",
        ];
        keys.iter().any(|key| !property(device, key).is_empty())
    };
    for (name, device) in candidate.devices {
        let Some(_) = Some(device)
            .filter(fixed)
            .filter(|device| property(device, "type") == "nic")
        else {
            continue;
        };
        let judged = match cards::network_in(app, tx, candidate.project, device).await? {
            Some(network) => lxd_network::nic::validate_addresses(&network, device),
            None if property(device, "nictype") == "bridged" => devices::nic::validate_unmanaged(device),
            None => Ok(()),
        };
        judged.map_err(|invalid| {
            invalid.within(&format!(
                "Invalid devices: Device validation failed for {name:?}: "
            ))
        })?;
    }
    Ok(())
}

/// Refuses cards that have a fixed address which another card on their network has.
///
/// # Errors
/// Conflict; `doing` is as with [`names_on_networks`].
pub(super) async fn addresses_on_networks(
    tx: &mut Tx,
    candidate: Candidate<'_>,
    cards: &Devices,
    doing: &str,
) -> Result<()> {
    const KEYS: [(&str, &str); 3] = [("hwaddr", "MAC"), ("ipv4.address", "IP"), ("ipv6.address", "IP")];
    let has = |device: &devices::Device, key: &str| !matches!(property(device, key), "" | "none");
    let managed = managed_networks(tx, cards).await?;
    let wanted: Vec<_> = cards
        .iter()
        .filter(|(_, device)| {
            network_of(device, &managed).is_some() && KEYS.iter().any(|(key, _)| has(device, key))
        })
        .collect();
    if wanted.is_empty() {
        return Ok(());
    }
    let all = Record::list(tx, Filter::default()).await?;
    for (card, device) in wanted {
        for other in all.iter().flat_map(|record| twins(record, candidate, card)) {
            if network_of(other.1, &managed) != network_of(device, &managed) {
                continue;
            }
            for (key, shown) in KEYS.iter().filter(|(key, _)| has(device, key)) {
                let value = property(device, key);
                let volatile = (*key == "hwaddr").then_some(other.2);
                if property(other.1, key) == value || volatile == Some(value) {
                    return Err(Error::conflict(format!(
                        "Failed {doing} validation for device {card:?}: {shown} address {value:?} already defined on another NIC"
                    )));
                }
            }
        }
    }
    Ok(())
}

/// The devices of an instance but the one that is looked at, each with the hardware address that it was given.
fn twins<'r>(
    record: &'r Record,
    candidate: Candidate<'_>,
    card: &str,
) -> Vec<(&'r String, &'r devices::Device, &'r str)> {
    let is_own = record.row.project == candidate.project && record.row.name == candidate.name;
    let others = record
        .devices
        .iter()
        .filter(|(name, _)| !is_own || name.as_str() != card);
    let given = |name: &str| {
        let key = format!("volatile.{name}.hwaddr");
        record
            .row
            .config
            .get(&key)
            .map(String::as_str)
            .unwrap_or_default()
    };
    others.map(|(name, device)| (name, device, given(name))).collect()
}

/// Refuses addresses that somebody has given the cards of a new instance by its volatile keys, if they are none.
///
/// # Errors
/// The first one.
pub(super) fn hardware_addresses(config: &Config, devices: &Devices) -> Result<(), Invalid> {
    let cards = devices
        .iter()
        .filter(|(_, device)| property(device, "type") == "nic");
    for (name, _) in cards {
        let Some(address) = config.get(&format!("volatile.{name}.hwaddr")) else {
            continue;
        };
        config::check::MAC.run(address).map_err(|reason| {
            let text = format!("Invalid value for device option \"hwaddr\": {reason}");
            Invalid::new(text).within(&format!("Failed add validation for device {name:?}: "))
        })?;
    }
    Ok(())
}

/// Checks an instance as it will be after a change: its own devices first, then all.
///
/// # Errors
/// As [`expanded`], in the words for changes.
pub(super) async fn changed(app: &App, tx: &mut Tx, candidate: Candidate<'_>, own: &Devices) -> Result<()> {
    self::config(candidate.config, candidate.kind)
        .map_err(|invalid| invalid.within("Invalid expanded config: "))?;
    let networks = managed_networks(tx, candidate.devices).await?;
    let context = devices::Context::Instance(candidate.kind);
    devices::validate(own, context, &networks).map_err(|invalid| invalid.within("Invalid devices: "))?;
    let all = |invalid: Invalid| invalid.within("Invalid expanded devices: ");
    let (_, root) = devices::root_disk(candidate.devices)
        .map_err(|invalid| all(invalid.within("Failed detecting root disk device: ")))?;
    devices::validate(candidate.devices, context, &networks).map_err(all)?;
    app.pools
        .get(property(root, "pool"))
        .context("Failed loading storage pool")?;
    Ok(())
}

async fn managed_networks(tx: &mut Tx, devices: &Devices) -> Result<ManagedNetworks> {
    match devices.values().any(|device| property(device, "type") == "nic") {
        true => ManagedNetworks::load(tx).await,
        false => Ok(ManagedNetworks::default()),
    }
}

/// The managed network of a card; names on it must be unique.
fn network_of<'d>(device: &'d devices::Device, managed: &ManagedNetworks) -> Option<&'d str> {
    // A card in a VLAN of its own is not served by the network.
    if property(device, "type") != "nic" || !property(device, "vlan").is_empty() {
        return None;
    }
    let by_bridge = property(device, "nictype") == "bridged";
    let network = match property(device, "network") {
        "" if by_bridge => property(device, "parent"),
        network => network,
    };
    Some(network).filter(|network| managed.has_ports(network))
}

/// Checks the devices of a new instance against what is there: sources of disks.
///
/// Names and addresses on networks are a matter for its start: a copy may have its source's until then.
///
/// # Errors
/// The first device that can't be.
pub(super) async fn devices_of_new(tx: &mut Tx, candidate: Candidate<'_>) -> Result<()> {
    sources(tx, candidate.project, candidate.devices).await
}

/// Refuses disks that an instance gets whose source is not there.
///
/// # Errors
/// The first such disk.
pub(super) async fn sources(tx: &mut Tx, project: &str, added: &Devices) -> Result<()> {
    let disks = added
        .iter()
        .filter(|(_, device)| property(device, "type") == "disk");
    for (name, device) in disks {
        let found = source(tx, project, (name, device)).await;
        found.with_context(|| format!("Failed add validation for device {name:?}"))?;
    }
    Ok(())
}

async fn source(tx: &mut Tx, project: &str, (name, device): (&str, &devices::Device)) -> Result<()> {
    let (pool, source) = (property(device, "pool"), property(device, "source"));
    if source.is_empty() {
        return Ok(());
    }
    if pool.is_empty() {
        let may_be_missing =
            config::is_false(property(device, "required")) || config::is_true(property(device, "optional"));
        let is_path = source.starts_with('/');
        if !is_path || may_be_missing || tokio::fs::try_exists(source).await.unwrap_or(false) {
            return Ok(());
        }
        return Err(Error::bad_request(format!(
            "Missing source path {source:?} for disk {name:?}"
        )));
    }
    let known = storage_pools::id(tx, pool).await;
    known.with_context(|| format!("Failed to get storage pool {pool:?}"))?;
    let home = project_rows::effective(tx, project, Feature::StorageVolumes).await?;
    let (name, snapshot) = match source.split_once('/') {
        Some((name, snapshot)) => (name, Some(snapshot)),
        None => (source, None),
    };
    let key = storage_volumes::Key {
        pool,
        project: &home,
        kind: VolumeType::Custom,
        name,
    };
    let missing = |error: Error| match error.kind() {
        ErrorKind::NotFound => Error::not_found("Failed loading custom volume: Storage volume not found"),
        _ => error,
    };
    let volume = storage_volumes::get(tx, key).await;
    let volume = volume.map_err(|error| missing(error.into()))?;
    if let Some(snapshot) = snapshot {
        // It may be described, as in the reference, but no instance starts with it.
        let found = storage_volumes::snapshots::get(tx, volume.id, snapshot).await;
        found.map_err(|error| missing(error.into()))?;
    }
    fits(&volume, device)
}

/// Refuses a custom volume that is no disk of containers as it is described.
fn fits(volume: &storage_volumes::StorageVolume, device: &devices::Device) -> Result<()> {
    if volume.content_type == ContentType::Block {
        return Err(Error::bad_request(
            "Custom block volumes cannot be used on containers",
        ));
    }
    if property(device, "path").is_empty() {
        return Err(Error::bad_request(
            "Custom filesystem volumes require a path to be defined",
        ));
    }
    Ok(())
}

/// Refuses cards on a managed network that knows the instance's name already: by another card of its own, or by an
/// instance of that name in another project.
///
/// # Errors
/// Conflict; `doing` (`start` or `add`) is what the text says was not possible.
pub(super) async fn names_on_networks(
    tx: &mut Tx,
    candidate: Candidate<'_>,
    cards: &Devices,
    doing: &str,
) -> Result<()> {
    let managed = managed_networks(tx, cards).await?;
    let cards: Vec<(&String, &str)> = cards
        .iter()
        .filter_map(|(name, device)| Some((name, network_of(device, &managed)?)))
        .collect();
    if cards.is_empty() {
        return Ok(());
    }
    let namesakes = namesakes(tx, candidate).await?;
    for (card, network) in cards {
        let own = candidate.devices.iter().filter(|(name, _)| *name != card);
        let others = namesakes.iter().flat_map(|record| &record.devices);
        if own
            .chain(others)
            .any(|(_, device)| network_of(device, &managed) == Some(network))
        {
            let name = candidate.name;
            return Err(Error::conflict(format!(
                "Failed {doing} validation for device {card:?}: Instance DNS name {name:?} already used on network"
            )));
        }
    }
    Ok(())
}

/// Instances of the same name in other projects.
async fn namesakes(tx: &mut Tx, candidate: Candidate<'_>) -> Result<Vec<Record>> {
    if project_rows::names(tx).await?.len() < 2 {
        return Ok(Vec::new());
    }
    let all = instances::names(tx, Filter::default()).await?;
    let mut found = Vec::new();
    for (project, name) in all {
        if name == candidate.name && project != candidate.project {
            found.push(Record::load(tx, &project, &name).await?);
        }
    }
    Ok(found)
}

/// How the refusal of a new instance begins.
pub(super) const CREATION: &str = "Failed checking if instance creation allowed";

/// Refuses an instance that its project forbids, or has no room for. `replaces` is its present name if it exists already;
/// `doing` is how the refusal begins, except where there are too many instances.
///
/// # Errors
/// The first limit that would be exceeded, or restriction that would be broken.
pub(super) async fn project_limits(
    tx: &mut Tx,
    project: &Config,
    candidate: Candidate<'_>,
    replaces: Option<&str>,
    doing: &'static str,
) -> Result<()> {
    let subject = Subject {
        whose: Whose::Container,
        name: candidate.name,
        config: candidate.config,
        devices: candidate.devices,
    };
    if project.keys().any(|key| key.starts_with("limits.")) {
        let mut members = crate::projects::members(tx, candidate.project).await?;
        members.retain(|member| Some(member.name.as_str()) != replaces);
        members.push(Member {
            name: candidate.name.to_owned(),
            kind: candidate.kind,
            config: candidate.config.clone(),
            devices: candidate.devices.clone(),
        });
        limits::check_count(candidate.project, project, &members)?;
        limits::check_sums(candidate.project, project, &members).context(doing)?;
    }
    restrictions::check(candidate.project, project, subject).context(doing)
}

/// A broken rule where the reference answers with its status for internal errors.
pub(super) fn refused(error: Error) -> Error {
    match error.kind() {
        ErrorKind::BadRequest => error.with_kind(ErrorKind::Internal),
        _ => error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_of_devices() {
        let devices = |json: &str| serde_json::from_str::<Devices>(json).unwrap();
        let judge = |json: &str| {
            own(&Config::new(), &devices(json), InstanceType::Container).map_err(|e| e.to_string())
        };
        assert_eq!(judge(r#"{"a":{"type":"none"},"b":{"type":"disk"}}"#), Ok(()));
        assert_eq!(
            judge(r#"{"a":{"type":"bogus"}}"#),
            Err("Invalid device type bogus".into())
        );
    }
}
