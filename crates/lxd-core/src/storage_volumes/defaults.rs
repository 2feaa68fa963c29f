//! What a pool says of its new volumes: the keys `volume.*`.

use lxd_model::config::Config;
use lxd_storage::Pool;

/// Gives a custom volume what its pool has for new ones and nobody said otherwise.
pub(super) fn fill(pool: &Pool, config: &mut Config, is_block: bool) {
    for (key, value) in pool.config() {
        let Some(own) = key.strip_prefix("volume.").filter(|_| !value.is_empty()) else {
            continue;
        };
        if !(is_block && own.starts_with("security.")) {
            config.entry(own.to_owned()).or_insert(value);
        }
    }
}
