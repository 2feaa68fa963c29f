//! What a bridge network's configuration gets that its creator left to us.

use std::collections::BTreeMap;

use crate::subnet::{Subnet, pick_ipv4, pick_ipv6};
use crate::{Error, Fill, Result};

/// Removes empty values, fills what a new network gets, and resolves `auto`. `used` is asked only when needed.
pub(super) fn fill(
    config: &mut BTreeMap<String, String>,
    why: Fill,
    has_ipv6: bool,
    used: &[Subnet],
    mut random: impl FnMut() -> [u8; 8],
) -> Result<()> {
    config.retain(|_, value| !value.is_empty());
    if why == Fill::Create {
        let mut default = |key: &str, value: &str| {
            config.entry(key.to_owned()).or_insert_with(|| value.to_owned());
        };
        default("ipv4.address", "auto");
        default("ipv6.address", if has_ipv6 { "auto" } else { "none" });
        for family in ["ipv4", "ipv6"] {
            if config[&format!("{family}.address")] == "auto" {
                config
                    .entry(format!("{family}.nat"))
                    .or_insert_with(|| "true".into());
            }
        }
    }
    if let Some(address) = config.get_mut("ipv4.address").filter(|text| *text == "auto") {
        let subnet = pick_ipv4(used, &mut random).ok_or(Error::Auto(
            "Failed to automatically find an unused IPv4 subnet, manual configuration required",
        ))?;
        *address = subnet.to_string();
    }
    if let Some(address) = config.get_mut("ipv6.address").filter(|text| *text == "auto") {
        let subnet = pick_ipv6(used, &mut random).ok_or(Error::Auto(
            "Failed to automatically find an unused IPv6 subnet, manual configuration required",
        ))?;
        *address = subnet.to_string();
    }
    Ok(())
}

/// Whether filling needs to know what the host uses.
pub(super) fn needs_subnets(config: &BTreeMap<String, String>, why: Fill) -> bool {
    ["ipv4.address", "ipv6.address"]
        .iter()
        .any(|key| match config.get(*key).map(String::as_str) {
            Some("auto") => true,
            None | Some("") => why == Fill::Create,
            Some(_) => false,
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(pairs: &[(&str, &str)], why: Fill) -> Vec<String> {
        let mut config = pairs
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
            .collect();
        fill(&mut config, why, true, &[], || [1, 2, 3, 4, 5, 6, 7, 8]).unwrap();
        config
            .into_iter()
            .map(|(key, value)| format!("{key}={value}"))
            .collect()
    }

    #[test]
    fn a_new_network_gets_what_the_reference_gives() {
        let (v4, v6) = ("ipv4.address=10.1.2.1/24", "ipv6.address=fd42:102:304:506::1/64");
        for (pairs, expected) in [
            (&[][..], &[v4, "ipv4.nat=true", v6, "ipv6.nat=true"][..]),
            (
                &[("ipv4.address", "")],
                &[v4, "ipv4.nat=true", v6, "ipv6.nat=true"],
            ),
            (
                &[("ipv4.address", "none")],
                &["ipv4.address=none", v6, "ipv6.nat=true"],
            ),
            (
                &[("ipv6.address", "fd42:1::1/64")],
                &[v4, "ipv4.nat=true", "ipv6.address=fd42:1::1/64"],
            ),
            (
                &[("ipv4.nat", "false"), ("user.x", "")],
                &[v4, "ipv4.nat=false", v6, "ipv6.nat=true"],
            ),
            (&[("ipv4.nat", "")], &[v4, "ipv4.nat=true", v6, "ipv6.nat=true"]),
        ] {
            assert_eq!(filled(pairs, Fill::Create), expected, "{pairs:?}");
        }
    }

    #[test]
    fn an_existing_network_gets_addresses_alone() {
        assert_eq!(filled(&[], Fill::Update), [""; 0]);
        assert_eq!(
            filled(&[("ipv4.address", "auto")], Fill::Update),
            ["ipv4.address=10.1.2.1/24"]
        );
    }

    #[test]
    fn what_is_used_is_asked_only_when_needed() {
        let both = [("ipv4.address", "none"), ("ipv6.address", "fd42:1::1/64")];
        let config = both
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
            .collect();
        assert!(!needs_subnets(&config, Fill::Create));
        assert!(
            needs_subnets(&BTreeMap::new(), Fill::Create) && !needs_subnets(&BTreeMap::new(), Fill::Update)
        );
    }

    #[test]
    fn a_host_that_uses_all_of_it_is_told_so() {
        let mut config = BTreeMap::new();
        let used = ["10.0.0.0/8".parse().unwrap()];
        let error = fill(&mut config, Fill::Create, true, &used, || [0; 8]).unwrap_err();
        assert_eq!(
            error.to_string(),
            "Failed generating auto config: Failed to automatically find an unused IPv4 subnet, manual configuration required"
        );
    }
}
