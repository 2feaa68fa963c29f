//! What becomes of volatile keys when an instance is copied, renamed or edited.

use crate::Invalid;
use crate::config::Config;

/// The configuration of a copy: everything but the volatile keys that belong to the original alone.
///
/// `same_server` keeps the id map of the files, which a copy over the network does not have.
pub fn for_copy(config: &Config, same_server: bool) -> Config {
    let keep = |key: &str| match key {
        "volatile.base_image" => true,
        "volatile.last_state.idmap" => same_server,
        _ => !key.starts_with("volatile."),
    };
    config
        .iter()
        .filter(|(key, _)| keep(key))
        .map(|(k, v)| (k.clone(), v.clone()))
        .collect()
}

/// Checks what a client makes of the configuration: without the id maps the files' owners would be lost.
///
/// Changing them is allowed, as with the reference: setting `volatile.last_state.idmap` to `[]` is a known repair.
pub fn check_edit(old: &Config, new: &Config) -> Result<(), Invalid> {
    let lost = |key: &str| old.contains_key(key) && !new.contains_key(key);
    let keys = [
        "volatile.idmap.base",
        "volatile.idmap.current",
        "volatile.idmap.next",
        "volatile.last_state.idmap",
    ];
    match keys.into_iter().any(lost) {
        true => Err(Invalid::new("Volatile idmap keys can't be deleted by the user")),
        false => Ok(()),
    }
}

/// Keys of a device that go with it: `volatile.eth0.` before the suffix.
pub fn device_prefix(device: &str) -> String {
    format!("volatile.{device}.")
}

/// Takes away what is remembered of devices that are gone.
pub fn forget_device(config: &mut Config, device: &str) {
    let prefix = device_prefix(device);
    config.retain(|key, _| !key.starts_with(&prefix));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(keys: &[&str]) -> Config {
        keys.iter()
            .map(|key| ((*key).to_owned(), "x".to_owned()))
            .collect()
    }

    #[test]
    fn copies_start_afresh() {
        let original = config(&[
            "limits.cpu",
            "image.os",
            "volatile.base_image",
            "volatile.eth0.hwaddr",
            "volatile.last_state.idmap",
            "volatile.last_state.power",
            "volatile.uuid",
        ]);
        let local = config(&[
            "image.os",
            "limits.cpu",
            "volatile.base_image",
            "volatile.last_state.idmap",
        ]);
        assert_eq!(for_copy(&original, true), local);
        assert_eq!(
            for_copy(&original, false),
            config(&["image.os", "limits.cpu", "volatile.base_image"])
        );
    }

    #[test]
    fn id_maps_are_not_the_users() {
        let with = config(&["volatile.idmap.next"]);
        let without = config(&[]);
        let text = check_edit(&with, &without).unwrap_err().to_string();
        assert_eq!(text, "Volatile idmap keys can't be deleted by the user");
        assert!(check_edit(&with, &with).is_ok());
        assert!(check_edit(&without, &with).is_ok());
    }

    #[test]
    fn devices_are_forgotten() {
        let mut all = config(&[
            "volatile.eth0.hwaddr",
            "volatile.eth01.hwaddr",
            "volatile.eth0.last_state.created",
        ]);
        forget_device(&mut all, "eth0");
        assert_eq!(all, config(&["volatile.eth01.hwaddr"]));
    }
}
