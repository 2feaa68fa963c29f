//! Expansion: what an instance gets from its profiles and from itself.

use crate::Invalid;
use crate::config::Config;
use crate::devices::Devices;

/// The configuration that counts: profiles in order, later ones over earlier ones, the instance's own over all.
///
/// Images' and the instance's own volatile keys come only from the instance.
pub fn expand_config<'a>(profiles: impl IntoIterator<Item = &'a Config>, own: &Config) -> Config {
    let mut expanded = Config::new();
    for config in profiles {
        expanded.extend(config.iter().map(|(k, v)| (k.clone(), v.clone())));
    }
    expanded.extend(own.iter().map(|(k, v)| (k.clone(), v.clone())));
    expanded
}

/// The devices that count. A device replaces another of its name as a whole; type `none` stays and hides it.
pub fn expand_devices<'a>(profiles: impl IntoIterator<Item = &'a Devices>, own: &Devices) -> Devices {
    let mut expanded = Devices::new();
    for devices in profiles {
        expanded.extend(devices.iter().map(|(k, v)| (k.clone(), v.clone())));
    }
    expanded.extend(own.iter().map(|(k, v)| (k.clone(), v.clone())));
    expanded
}

/// Checks the list of an instance's profiles: each once, each there.
pub fn validate_list(names: &[String], exists: impl Fn(&str) -> bool) -> Result<(), Invalid> {
    for (place, name) in names.iter().enumerate() {
        if !exists(name) {
            return Err(Invalid::new(format!("Requested profile {name:?} doesn't exist")));
        }
        if names[..place].contains(name) {
            return Err(Invalid::new("Duplicate profile found in request"));
        }
    }
    Ok(())
}

/// Whether a change of a profile would take the root disk, or its pool, from instances that need it there.
///
/// `before` and `after` are such an instance's devices expanded with the old and the new profile.
pub fn check_root_disk(before: &Devices, after: &Devices) -> Result<(), Invalid> {
    let Ok((_, old)) = crate::devices::root_disk(before) else {
        return Ok(());
    };
    let (_, new) = crate::devices::root_disk(after)
        .map_err(|_| Invalid::new("At least one instance relies on this profile's root disk device"))?;
    match old.get("pool") == new.get("pool") {
        true => Ok(()),
        false => Err(Invalid::new(
            "At least one instance relies on this profile's root disk device",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(entries: &[(&str, &str)]) -> Config {
        entries
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
            .collect()
    }

    #[test]
    fn later_profiles_win_and_the_instance_wins_over_all() {
        let first = config(&[("limits.cpu", "1"), ("limits.memory", "1GiB"), ("user.a", "1")]);
        let second = config(&[("limits.cpu", "2"), ("user.b", "2")]);
        let own = config(&[("user.a", ""), ("volatile.uuid", "x")]);
        let wanted = config(&[
            ("limits.cpu", "2"),
            ("limits.memory", "1GiB"),
            ("user.a", ""),
            ("user.b", "2"),
            ("volatile.uuid", "x"),
        ]);
        assert_eq!(expand_config([&first, &second], &own), wanted);
    }

    #[test]
    fn devices_are_replaced_as_a_whole() {
        let devices = |json: &str| serde_json::from_str::<Devices>(json).unwrap();
        let profile =
            devices(r#"{"eth0":{"type":"nic","mtu":"1400"},"root":{"type":"disk","path":"/","pool":"p"}}"#);
        let own = devices(r#"{"eth0":{"type":"none"}}"#);
        let expanded = expand_devices([&profile], &own);
        assert_eq!(
            expanded,
            devices(r#"{"eth0":{"type":"none"},"root":{"type":"disk","path":"/","pool":"p"}}"#)
        );
        assert!(check_root_disk(&expanded, &own).is_err());
        assert!(check_root_disk(&own, &own).is_ok());
    }

    #[test]
    fn profile_lists() {
        let names = |list: &[&str]| list.iter().map(|n| (*n).to_owned()).collect::<Vec<_>>();
        let judge = |list: &[&str]| {
            validate_list(&names(list), |n| n != "nope")
                .err()
                .map(|e| e.to_string())
        };
        assert_eq!(judge(&["default", "a"]), None);
        assert_eq!(
            judge(&["nope"]).unwrap(),
            "Requested profile \"nope\" doesn't exist"
        );
        assert_eq!(judge(&["a", "a"]).unwrap(), "Duplicate profile found in request");
    }
}
