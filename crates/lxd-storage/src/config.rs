//! Configuration keys of pools and volumes whose pool is a directory.

use lxd_model::Invalid;
use lxd_model::config::check::EXPIRY;
use lxd_model::config::schedule::VOLUME_SCHEDULE;
use lxd_model::config::{Check, Config, Key, Table, Wording};

use crate::drivers::DriverInfo;
use crate::volume::{Volume, VolumeType};

/// Pool keys of `dir`.
pub static DIR_POOL: Table = Table {
    noun: "storage pool dir",
    keys: POOL_KEYS,
};
/// Volume keys of `dir`.
pub static DIR_VOLUME: Table = Table {
    noun: "storage volume dir",
    keys: VOLUME_KEYS,
};
/// Pool keys of `overlay`.
pub static OVERLAY_POOL: Table = Table {
    noun: "storage pool overlay",
    keys: POOL_KEYS,
};
/// Volume keys of `overlay`.
pub static OVERLAY_VOLUME: Table = Table {
    noun: "storage volume overlay",
    keys: VOLUME_KEYS,
};

/// Pool keys of `btrfs`.
pub static BTRFS_POOL: Table = Table {
    noun: "storage pool btrfs",
    keys: &BTRFS_POOL_KEYS,
};
/// Volume keys of `btrfs`.
pub static BTRFS_VOLUME: Table = Table {
    noun: "storage volume btrfs",
    keys: VOLUME_KEYS,
};

/// The keys of all pools, and the driver's own.
const BTRFS_POOL_KEYS: [Key; POOL_KEYS.len() + 2] = {
    let mut keys = [Key::new("size", Check::Bytes); POOL_KEYS.len() + 2];
    keys[1] = Key::new("btrfs.mount_options", Check::Any).default("user_subvol_rm_allowed");
    let mut index = 0;
    while index < POOL_KEYS.len() {
        keys[index + 2] = POOL_KEYS[index];
        index += 1;
    }
    keys
};

const POOL_KEYS: &[Key] = &[
    Key::new("source", Check::Any),
    Key::new("volatile.initial_source", Check::Any),
    Key::new("rsync.bwlimit", Check::Bytes).default("0").live(),
    Key::new("rsync.compression", Check::Bool).default("true").live(),
    Key::new("volume.size", Check::Bytes).live(),
    Key::new("volume.snapshots.expiry", EXPIRY).live(),
    Key::new("volume.snapshots.schedule", VOLUME_SCHEDULE).live(),
    Key::new("volume.snapshots.pattern", Check::Any).live(),
    Key::new("volume.security.shifted", Check::Bool).live(),
    Key::new("volume.security.unmapped", Check::Bool).live(),
    Key::new("user.*", Check::Any).live(),
];

const VOLUME_KEYS: &[Key] = &[
    Key::new("size", Check::Bytes).live(),
    Key::new("snapshots.expiry", EXPIRY).when("custom volume").live(),
    Key::new("snapshots.schedule", VOLUME_SCHEDULE)
        .when("custom volume")
        .live(),
    Key::new("snapshots.pattern", Check::Any)
        .default("snap%d")
        .when("custom volume")
        .live(),
    Key::new("security.shifted", Check::Bool)
        .default("false")
        .when("custom volume"),
    Key::new("security.unmapped", Check::Bool)
        .default("false")
        .when("custom volume"),
    Key::new("volatile.idmap.last", Check::Any),
    Key::new("volatile.idmap.next", Check::Any),
    Key::new("volatile.rootfs.size", Check::Any),
    Key::new("volatile.uuid", Check::Any),
    Key::new("user.*", Check::Any).live(),
];

/// Checks a pool's configuration.
pub(crate) fn validate_pool(driver: &DriverInfo, config: &Config) -> Result<(), Invalid> {
    driver.pool_keys.validate(config, Wording::StoragePool)
}

/// Checks a volume's configuration. Its name on disk is in the message.
pub(crate) fn validate_volume(
    driver: &DriverInfo,
    volume: &Volume,
    is_block: bool,
    config: &Config,
) -> Result<(), Invalid> {
    let is_custom = volume.kind == VolumeType::Custom;
    let applies = |key: &Key| match key.name {
        "volatile.rootfs.size" | "volatile.uuid" => volume.kind == VolumeType::VirtualMachine,
        // Ids are those of files.
        "security.shifted" | "security.unmapped" => is_custom && !is_block,
        "volatile.idmap.last" | "volatile.idmap.next" => !is_block,
        _ => true,
    };
    driver
        .volume_keys
        .validate_where(config, Wording::StorageVolume(&volume.name), applies)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::drivers;

    fn config(key: &str, value: &str) -> Config {
        Config::from([(key.to_owned(), value.to_owned())])
    }

    #[test]
    fn refusals_have_the_reference_words() {
        let info = drivers::load("overlay").unwrap().info();
        let pool = |key, value| validate_pool(info, &config(key, value)).unwrap_err().to_string();
        assert_eq!(pool("foo", "bar"), r#"Invalid option "foo""#);
        assert_eq!(pool("size", "1GB"), r#"Invalid option "size""#);
        assert_eq!(
            pool("volume.size", "xx"),
            r#"Invalid value for option "volume.size": Invalid value: xx"#
        );
        assert_eq!(
            pool("rsync.compression", "xx"),
            r#"Invalid value for option "rsync.compression": Invalid value for a boolean "xx""#
        );
        let custom = Volume::custom("default", "v");
        let check = |is_block, key, value| validate_volume(info, &custom, is_block, &config(key, value));
        let volume = check(false, "foo", "bar").unwrap_err().to_string();
        assert_eq!(volume, r#"Invalid option for volume "default_v" option "foo""#);
        validate_pool(info, &config("user.x", "y")).unwrap();
        check(false, "size", "1GB").unwrap();
        check(false, "security.shifted", "true").unwrap();
        for (is_block, key, value) in [
            (true, "security.shifted", "true"),
            (false, "volatile.uuid", "x"),
            (false, "snapshots.schedule", "@startup"),
        ] {
            assert!(check(is_block, key, value).is_err(), "{key}");
        }
    }
}
