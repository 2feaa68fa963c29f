//! The `volatile.*` keys that the server sets: when an instance is made, changed, started and stopped.

use lxd_db::cluster::Tx;
use lxd_db::cluster::instances::{self, Filter};
use lxd_model::config::Config;
use lxd_model::devices::{Device, Devices, property};
use lxd_model::idmap::{self, IdMap, Range};
use lxd_model::networks::hardware_address;
use lxd_model::{Invalid, config};

use crate::error::{Error, Result};
use crate::operations::fill_random;

/// Keys whose change gives a new id map at the next start.
const MAP_KEYS: [&str; 5] = [
    "raw.idmap",
    "security.idmap.base",
    "security.idmap.isolated",
    "security.idmap.size",
    "security.privileged",
];

/// Keys whose change makes cloud-init inside run again.
const CLOUD_INIT_KEYS: [&str; 6] = [
    "cloud-init.network-config",
    "cloud-init.user-data",
    "cloud-init.vendor-data",
    "user.network-config",
    "user.user-data",
    "user.vendor-data",
];

/// What a new instance gets; `template` is `create` or `copy`.
pub(super) fn of_new(config: &mut Config, devices: &Devices, template: &str) {
    let mut set = |key: &str, value: String| {
        config.entry(format!("volatile.{key}")).or_insert(value);
    };
    set("apply_template", template.to_owned());
    set("uuid", new_uuid());
    set("cloud-init.instance-id", new_uuid());
    config
        .entry("volatile.last_state.idmap".into())
        .or_insert_with(|| "[]".into());
    hardware_addresses(config, devices);
}

/// Gives each network card without an address or a name inside one that stays.
pub(super) fn hardware_addresses(config: &mut Config, devices: &Devices) {
    for (name, device) in devices {
        let is_made = property(device, "type") == "nic" && property(device, "hwaddr").is_empty();
        let is_ours =
            ["", "bridged", "p2p", "macvlan", "ovn", "routed"].contains(&property(device, "nictype"));
        if is_made && is_ours {
            config
                .entry(format!("volatile.{name}.hwaddr"))
                .or_insert_with(|| hardware_address(random()));
        }
    }
    let known = |name: &str| config.get(&format!("volatile.{name}.name")).cloned();
    for (name, inside) in lxd_model::devices::nic::names(devices, known) {
        let is_ours = devices
            .get(&name)
            .is_some_and(|device| property(device, "name").is_empty());
        if is_ours {
            config.entry(format!("volatile.{name}.name")).or_insert(inside);
        }
    }
}

/// Forgets the devices that are gone or are of another kind now, and names and addresses that were those of old settings.
pub(super) fn forget_devices(config: &mut Config, old: &Devices, new: &Devices) {
    // Instances are on managed bridges only.
    let kind = |device: &Device| match (property(device, "nictype"), property(device, "network")) {
        ("", network) if !network.is_empty() => "bridged".to_owned(),
        (nictype, _) => nictype.to_owned(),
    };
    for (name, was) in old {
        let Some(is) = new.get(name) else {
            lxd_model::instances::volatile::forget_device(config, name);
            continue;
        };
        if property(was, "type") != property(is, "type") || kind(was) != kind(is) {
            lxd_model::instances::volatile::forget_device(config, name);
        }
        for key in ["hwaddr", "name"] {
            if was.get(key) != is.get(key) {
                config.remove(&format!("volatile.{name}.{key}"));
            }
        }
    }
}

/// Whether an instance with the one configuration has another id map than with the other.
pub(super) fn changes_map(old: &Config, new: &Config) -> bool {
    MAP_KEYS.into_iter().any(|key| old.get(key) != new.get(key))
}

/// Whether cloud-init must be told that this is a new instance.
pub(super) fn changes_cloud_init(old: &Config, new: &Config) -> bool {
    CLOUD_INIT_KEYS
        .into_iter()
        .any(|key| old.get(key) != new.get(key))
}

/// A new id for cloud-init.
pub(super) fn new_cloud_init_id(config: &mut Config) {
    config.insert("volatile.cloud-init.instance-id".into(), new_uuid());
}

/// Chooses an id map and notes it in the instance's own configuration, inside the transaction that stores it: nobody else
/// chooses meanwhile. `id` is the instance's row if it has one.
///
/// # Errors
/// No ids are left; a key makes no sense.
pub(super) async fn choose_map(
    tx: &mut Tx,
    id: Option<i64>,
    expanded: &Config,
    own: &mut Config,
    host: Option<Range>,
) -> Result<()> {
    let is_on = |key: &str| expanded.get(key).is_some_and(|value| config::is_true(value));
    let is_isolated = is_on("security.idmap.isolated") && !is_on("security.privileged");
    let taken = if is_isolated {
        isolated_ranges(tx, id).await?
    } else {
        Vec::new()
    };
    let (base, map) = map(expanded, host, &taken)?;
    own.insert("volatile.idmap.base".into(), base.to_string());
    own.insert("volatile.idmap.next".into(), map.to_json());
    Ok(())
}

/// The base to note and the map of an instance.
fn map(expanded: &Config, host: Option<Range>, taken: &[Range]) -> Result<(i64, IdMap)> {
    let is_on = |key: &str| expanded.get(key).is_some_and(|value| config::is_true(value));
    let Some(host) = host else {
        if is_on("security.privileged") {
            return Ok((0, IdMap::default()));
        }
        return Err(Error::internal(
            "LXD doesn't have a uid/gid allocation. In this mode, only privileged containers are supported",
        ));
    };
    let Some(range) = idmap::allocate(expanded, host, taken)? else {
        return Ok((0, IdMap::default()));
    };
    let base = if is_on("security.idmap.isolated") {
        range.base
    } else {
        0
    };
    let raw = expanded.get("raw.idmap").map_or("", String::as_str);
    let map = IdMap::of_range(range).with_raw(&idmap::parse_raw(raw)?)?;
    Ok((base, map))
}

/// The ids of all isolated instances but one: those whose base is noted.
async fn isolated_ranges(tx: &mut Tx, except: Option<i64>) -> Result<Vec<Range>> {
    let all = instances::list(tx, Filter::default()).await?;
    let others = all.iter().filter(|instance| Some(instance.id) != except);
    Ok(others
        .filter_map(|instance| isolated_range(&instance.config))
        .collect())
}

fn isolated_range(own: &Config) -> Option<Range> {
    let base: i64 = own.get("volatile.idmap.base")?.parse().ok()?;
    let map = IdMap::from_json(own.get("volatile.idmap.next")?).ok()?;
    let size = map.0.iter().map(|entry| entry.ns_id + entry.range).max()?;
    (base > 0).then_some(Range { base, size })
}

/// What a start changes of the instance's own configuration; an empty value takes a key away.
pub(super) fn of_start(own: &Config, started: Vec<(String, String)>) -> Config {
    let mut changes: Config = started.into_iter().collect();
    if let Some(next) = own.get("volatile.idmap.next") {
        changes.insert("volatile.idmap.current".into(), next.clone());
    }
    changes.insert("volatile.last_state.power".into(), "RUNNING".into());
    if own.contains_key("volatile.apply_template") {
        changes.insert("volatile.apply_template".into(), String::new());
    }
    changes.retain(|key, value| own.get(key) != Some(value));
    changes
}

/// What a stop changes.
pub(super) fn of_stop(own: &Config) -> Config {
    let mut changes = Config::from([("volatile.last_state.power".to_owned(), "STOPPED".to_owned())]);
    changes.extend(
        own.keys()
            .filter(|key| is_of_run(key))
            .map(|key| (key.clone(), String::new())),
    );
    changes
}

/// Whether a key tells of the present run alone: `volatile.eth0.host_name`, `volatile.eth0.last_state.created`.
pub(super) fn is_of_run(key: &str) -> bool {
    let Some((_, rest)) = key
        .strip_prefix("volatile.")
        .and_then(|rest| rest.split_once('.'))
    else {
        return false;
    };
    let is_server = key.starts_with("volatile.last_state.") || key.starts_with("volatile.idmap.");
    !is_server && (rest == "host_name" || rest.starts_with("last_state."))
}

/// What undoes changes: the old values, empty where there were none.
pub(super) fn inverse(own: &Config, changes: &Config) -> Config {
    let old = |key: &String| own.get(key).cloned().unwrap_or_default();
    changes.keys().map(|key| (key.clone(), old(key))).collect()
}

/// Refuses what only the server may write, and what nobody may take away.
pub(super) fn check_edit(old: &Config, new: &Config) -> Result<(), Invalid> {
    lxd_model::instances::volatile::check_edit(old, new)
}

pub(super) fn new_uuid() -> String {
    uuid::Uuid::new_v4().to_string()
}

/// Random bits for names and addresses.
pub(super) fn random() -> u32 {
    let mut bytes = [0; 4];
    fill_random(&mut bytes);
    u32::from_ne_bytes(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(pairs: &[(&str, &str)]) -> Config {
        pairs
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
            .collect()
    }

    #[test]
    fn a_start_and_a_stop_leave_the_references_keys() {
        let mut own = config(&[
            ("volatile.apply_template", "create"),
            ("volatile.idmap.next", "[]"),
            ("volatile.eth0.hwaddr", "00:16:3e:00:00:01"),
        ]);
        let before = own.clone();
        let start = of_start(&own, vec![("volatile.eth0.host_name".into(), "veth1".into())]);
        let undo = inverse(&own, &start);
        let apply = |own: &mut Config, changes: &Config| {
            own.extend(changes.clone());
            own.retain(|_, value| !value.is_empty());
        };
        apply(&mut own, &start);
        assert_eq!(own["volatile.last_state.power"], "RUNNING");
        assert_eq!(own["volatile.idmap.current"], "[]");
        assert!(!own.contains_key("volatile.apply_template"));
        let mut undone = own.clone();
        apply(&mut undone, &undo);
        assert_eq!(undone, before);
        let stop = of_stop(&own);
        apply(&mut own, &stop);
        let left: Vec<&str> = own.keys().map(String::as_str).collect();
        assert_eq!(
            left,
            [
                "volatile.eth0.hwaddr",
                "volatile.idmap.current",
                "volatile.idmap.next",
                "volatile.last_state.power"
            ]
        );
        assert_eq!(own["volatile.last_state.power"], "STOPPED");
    }

    #[test]
    fn id_maps() {
        let host = Some(Range {
            base: 100_000,
            size: 1_000_000,
        });
        let (base, shared) = map(&Config::new(), host, &[]).unwrap();
        assert_eq!(
            (base, shared.0[0].host_id, shared.0[0].range),
            (0, 100_000, 1_000_000)
        );
        let isolated = config(&[("security.idmap.isolated", "true")]);
        let (first, one) = map(&isolated, host, &[]).unwrap();
        assert_eq!((first, one.0[0].range), (165_536, 65_536));
        let own = config(&[
            ("volatile.idmap.base", "165536"),
            ("volatile.idmap.next", &one.to_json()),
        ]);
        let (second, _) = map(&isolated, host, &[isolated_range(&own).unwrap()]).unwrap();
        assert_eq!(second, 231_072);
        let privileged = config(&[("security.privileged", "true")]);
        assert_eq!(map(&privileged, None, &[]).unwrap(), (0, IdMap::default()));
        assert!(map(&Config::new(), None, &[]).is_err());
    }

    #[test]
    fn cards_keep_their_addresses() {
        let devices: Devices = serde_json::from_str(
            r#"{"eth0":{"type":"nic","network":"n"},"eth1":{"type":"nic","nictype":"p2p","hwaddr":"02:00:00:00:00:01"},"p":{"type":"nic","nictype":"physical"},"r":{"type":"disk"}}"#,
        )
        .unwrap();
        let mut own = Config::new();
        of_new(&mut own, &devices, "create");
        let address = own["volatile.eth0.hwaddr"].clone();
        assert!(address.starts_with("00:16:3e:"));
        assert!(!own.contains_key("volatile.eth1.hwaddr") && !own.contains_key("volatile.p.hwaddr"));
        hardware_addresses(&mut own, &devices);
        assert_eq!(own["volatile.eth0.hwaddr"], address);
        forget_devices(&mut own, &devices, &Devices::new());
        assert!(!own.contains_key("volatile.eth0.hwaddr"));
    }
}
