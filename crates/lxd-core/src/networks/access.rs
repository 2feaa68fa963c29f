//! Which networks a project may use.

use lxd_model::config::Config;

/// Whether a project's restrictions let it see a network, or an interface of the host that is none of ours.
pub(super) fn is_allowed(project: &Config, network: &str, is_managed: bool) -> bool {
    let value = |key: &str| project.get(key).map_or("", String::as_str);
    if !is_true(value("restricted")) {
        return true;
    }
    match value("restricted.devices.nic") {
        "block" => return false,
        "allow" => {}
        _ if !is_managed => return false,
        _ => {}
    }
    match value("restricted.networks.access") {
        "" => true,
        list => list.split(',').any(|allowed| allowed.trim() == network),
    }
}

fn is_true(value: &str) -> bool {
    ["true", "1", "yes", "on"]
        .iter()
        .any(|word| value.eq_ignore_ascii_case(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn restrictions_decide_what_is_seen() {
        let project = |pairs: &[(&str, &str)]| -> Config {
            pairs
                .iter()
                .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
                .collect()
        };
        let restricted = ("restricted", "true");
        for (pairs, managed, other) in [
            (&[][..], true, true),
            (&[restricted][..], true, false),
            (
                &[restricted, ("restricted.devices.nic", "block")][..],
                false,
                false,
            ),
            (&[restricted, ("restricted.devices.nic", "allow")][..], true, true),
            (
                &[restricted, ("restricted.networks.access", "a, n")][..],
                true,
                false,
            ),
            (
                &[restricted, ("restricted.networks.access", "a,b")][..],
                false,
                false,
            ),
        ] {
            let config = project(pairs);
            assert_eq!(
                (is_allowed(&config, "n", true), is_allowed(&config, "n", false)),
                (managed, other),
                "{pairs:?}"
            );
        }
    }
}
