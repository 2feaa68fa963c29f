//! What an administrator forbids with `LXD_UNPRIVILEGED_ONLY`: containers whose root is the host's.

use super::{Config, is_true};
use crate::{Invalid, idmap};

/// Checks an instance's or a profile's configuration.
///
/// # Errors
/// A privileged container, one whose map has the host's root, or lines for liblxc that could make it so.
pub fn validate(config: &Config) -> Result<(), Invalid> {
    let refuse = |what: &str| {
        let text = format!("{what}LXD was configured to only allow unprivileged containers");
        Err(Invalid::new(text))
    };
    let value = |key: &str| config.get(key).map_or("", String::as_str);
    if is_true(value("security.privileged")) {
        return refuse("");
    }
    for line in value("raw.lxc").lines() {
        let key = line
            .split('=')
            .next()
            .unwrap_or_default()
            .trim()
            .to_ascii_lowercase();
        if matches!(key.as_str(), "lxc.idmap" | "lxc.id_map" | "lxc.include") {
            return refuse(&format!("{key} can't be set in raw.lxc as "));
        }
    }
    // Lines that are no entries are refused elsewhere.
    let entries = idmap::parse_raw(value("raw.idmap")).unwrap_or_default();
    if entries.iter().any(|entry| entry.host_id == 0) {
        return refuse("Cannot map root user into container as ");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hosts_root_is_kept_out() {
        let check = |key: &str, value: &str| {
            let config = Config::from([(key.to_owned(), value.to_owned())]);
            validate(&config).map_err(|invalid| invalid.to_string())
        };
        let refused = |what: &str| {
            Err(format!(
                "{what}LXD was configured to only allow unprivileged containers"
            ))
        };
        assert_eq!(check("security.privileged", "1"), refused(""));
        assert_eq!(check("security.privileged", "false"), Ok(()));
        let include = "lxc.cap.drop = x\n LXC.include=/x";
        assert_eq!(
            check("raw.lxc", include),
            refused("lxc.include can't be set in raw.lxc as ")
        );
        assert_eq!(
            check("raw.lxc", "lxc.idmap = u 0 0 1"),
            refused("lxc.idmap can't be set in raw.lxc as ")
        );
        assert_eq!(check("raw.lxc", "lxc.hook.pre-start = /bin/true"), Ok(()));
        for line in ["both 0 0", "gid 0 1000", "uid 5 5\nuid 0-5 100-105"] {
            assert_eq!(
                check("raw.idmap", line),
                refused("Cannot map root user into container as ")
            );
        }
        assert_eq!(check("raw.idmap", "uid 1000 0"), Ok(()));
    }
}
