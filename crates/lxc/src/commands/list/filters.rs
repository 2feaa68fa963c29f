//! The filters of `lxc list`: names, configuration, and what else instances are known by.

use std::net::IpAddr;

use lxd_api::instances::InstanceFull;
use regex_lite::Regex;

use crate::error::{Error, Result};

/// Filters, all of which must fit.
#[derive(Debug)]
pub(super) struct Filters(Vec<Filter>);

#[derive(Debug)]
enum Filter {
    /// The start of the name, or a pattern for it.
    Name(String, Option<Regex>),
    /// A word that stands for a field of the instance, and the values that fit.
    Field(Field, Vec<String>),
    /// A configuration key, perhaps shortened, its value, or a pattern for the value.
    Config(String, String, Option<Regex>),
}

#[derive(Debug, Clone, Copy)]
enum Field {
    Type,
    Status,
    Architecture,
    Location,
    Name,
    Description,
    Project,
    Ipv4,
    Ipv6,
}

const FIELDS: &[(&str, Field)] = &[
    ("type", Field::Type),
    ("status", Field::Status),
    ("architecture", Field::Architecture),
    ("location", Field::Location),
    ("name", Field::Name),
    ("ipv4", Field::Ipv4),
    ("ipv6", Field::Ipv6),
];

/// Fields that must have a value in a filter, spelt as in the API.
const VALUED: &[&str] = &[
    "architecture",
    "config",
    "created_at",
    "description",
    "devices",
    "ephemeral",
    "last_used_at",
    "location",
    "name",
    "profiles",
    "project",
    "stateful",
    "status",
    "status_code",
    "type",
];

/// Fields that have no other spelling.
const EXACT: &[(&str, Field)] = &[("description", Field::Description), ("project", Field::Project)];

impl Filters {
    /// Reads the words of the command line.
    pub(super) fn parse(words: &[&str]) -> Result<Self> {
        words
            .iter()
            .map(|word| Filter::parse(word))
            .collect::<Result<_>>()
            .map(Self)
    }

    /// Whether an instance fits all of them.
    pub(super) fn fit(&self, instance: &InstanceFull) -> bool {
        self.0.iter().all(|filter| filter.fits(instance))
    }
}

impl Filter {
    fn parse(word: &str) -> Result<Self> {
        let Some((key, value)) = word.split_once('=') else {
            return Ok(Self::Name(word.into(), pattern(word)));
        };
        if value.is_empty() && VALUED.contains(&key) {
            return Err(Error::message("Invalid filter: clause has no value"));
        }
        let field = FIELDS.iter().find(|(name, _)| name.eq_ignore_ascii_case(key));
        let field = field.or_else(|| EXACT.iter().find(|(name, _)| *name == key));
        if let Some((_, field)) = field.filter(|_| !value.is_empty()) {
            return Ok(Self::Field(*field, value.split(',').map(String::from).collect()));
        }
        Ok(Self::Config(key.into(), value.into(), pattern(value)))
    }

    fn fits(&self, instance: &InstanceFull) -> bool {
        match self {
            Self::Name(start, pattern) => {
                instance.name.starts_with(start)
                    || pattern
                        .as_ref()
                        .is_some_and(|pattern| pattern.is_match(&instance.name))
            }
            Self::Field(field, values) => values.iter().any(|value| field.is(instance, value)),
            Self::Config(key, value, pattern) => {
                let Some(found) = instance
                    .expanded_config
                    .iter()
                    .find(|(full, _)| is_short_for(key, full))
                else {
                    // A key that is not set is the same as an empty one.
                    return value.is_empty();
                };
                found.1 == value || pattern.as_ref().is_some_and(|pattern| pattern.is_match(found.1))
            }
        }
    }
}

impl Field {
    fn is(self, instance: &InstanceFull, value: &str) -> bool {
        match self {
            Self::Type => instance.r#type.eq_ignore_ascii_case(value),
            Self::Status => instance.status.eq_ignore_ascii_case(value),
            Self::Architecture => instance.architecture.eq_ignore_ascii_case(value),
            Self::Location => instance.location.eq_ignore_ascii_case(value),
            Self::Name => instance.name.eq_ignore_ascii_case(value),
            Self::Description => instance.description.to_lowercase() == value.to_lowercase(),
            Self::Project => instance.project.eq_ignore_ascii_case(value),
            Self::Ipv4 => has_address(instance, "inet", value),
            Self::Ipv6 => has_address(instance, "inet6", value),
        }
    }
}

/// Whether the instance has an address, or one in a subnet.
fn has_address(instance: &InstanceFull, family: &str, wanted: &str) -> bool {
    let Some(state) = &instance.state else {
        return false;
    };
    let (network, bits) = wanted.split_once('/').unwrap_or((wanted, ""));
    let Ok(network) = network.parse::<IpAddr>() else {
        return false;
    };
    let full = if network.is_ipv4() { 32 } else { 128 };
    let bits: u32 = if bits.is_empty() {
        full
    } else {
        bits.parse().unwrap_or(full)
    };
    let cards = state.network.values().filter(|card| card.r#type != "loopback");
    let mut addresses = cards
        .flat_map(|card| &card.addresses)
        .filter(|address| address.family == family);
    addresses.any(|address| {
        address
            .address
            .parse()
            .is_ok_and(|address| is_within(address, network, bits))
    })
}

fn is_within(address: IpAddr, network: IpAddr, bits: u32) -> bool {
    let number = |address| match address {
        IpAddr::V4(v4) => (u128::from(u32::from(v4)), 32),
        IpAddr::V6(v6) => (u128::from(v6), 128),
    };
    let ((address, width), (network, other)) = (number(address), number(network));
    let cut = |number: u128| number.checked_shr(width - bits.min(width)).unwrap_or(0);
    width == other && cut(address) == cut(network)
}

/// Whether each part of a key is the start of the same part of the full key.
pub(in crate::commands) fn is_short_for(short: &str, full: &str) -> bool {
    let (short, full): (Vec<&str>, Vec<&str>) = (short.split('.').collect(), full.split('.').collect());
    short.len() == full.len()
        && short
            .iter()
            .zip(&full)
            .all(|(short, full)| full.starts_with(short))
}

/// A pattern for the whole text, unless it says itself where it begins or ends.
pub(in crate::commands) fn pattern(text: &str) -> Option<Regex> {
    let anchored = text.contains('^') || text.contains('$');
    let pattern = if anchored {
        text.to_string()
    } else {
        format!("^{text}$")
    };
    Regex::new(&pattern).ok()
}

#[cfg(test)]
mod tests {
    use lxd_api::instance_state::{InstanceState, InstanceStateNetworkAddress};

    use super::*;

    fn instance() -> InstanceFull {
        let mut instance = InstanceFull {
            name: "c10".into(),
            r#type: "container".into(),
            status: "Running".into(),
            architecture: "x86_64".into(),
            location: "none".into(),
            description: "Our web".into(),
            project: "default".into(),
            ..InstanceFull::default()
        };
        instance
            .expanded_config
            .insert("user.comment".into(), "hello, world".into());
        instance
            .expanded_config
            .insert("volatile.eth0.hwaddr".into(), "00:16:3e:70:0f:92".into());
        let mut state = InstanceState::default();
        let card = state.network.entry("eth0".into()).or_default();
        for (family, address) in [("inet", "10.211.77.50"), ("inet6", "fd42:77::50")] {
            let (family, address) = (family.into(), address.into());
            card.addresses.push(InstanceStateNetworkAddress {
                family,
                address,
                ..Default::default()
            });
        }
        instance.state = Some(state);
        instance
    }

    #[test]
    fn words_choose_as_with_the_reference() {
        for (words, fits) in [
            ("c1", true),
            ("^c", true),
            (".*1", false),
            (".*10", true),
            ("0$", true),
            ("[", false),
            ("c1 c2", false),
            ("status=RUNNING,stopped type=container", true),
            ("type=virtual-machine", false),
            ("architecture=foo,x86_64", true),
            ("location=none", true),
            ("u.comment=hello.*", true),
            ("user.comment=hello", false),
            ("user.x=", true),
            ("foo=bar", false),
            ("foo=", true),
            ("STATUS= ipv4=", true),
            ("description=our", false),
            ("DESCRIPTION=x", false),
            ("project=Default", true),
            ("stateful=false", false),
            ("v.eth0.hwaddr=00:16:3e:.*", true),
            ("ipv4=10.211.77.50", true),
            ("ipv4=10.211.0.0/16", true),
            ("ipv4=10.0.0.0/16", false),
            ("ipv4=foo", false),
            ("ipv6=fd42:77::/64", true),
        ] {
            let filters = Filters::parse(&words.split(' ').collect::<Vec<_>>()).unwrap();
            assert_eq!(filters.fit(&instance()), fits, "{words}");
        }
        for word in ["status=", "profiles="] {
            assert_eq!(
                Filters::parse(&[word]).unwrap_err().to_string(),
                "Invalid filter: clause has no value"
            );
        }
        let described = Filters::parse(&["description=OUR Web"]).unwrap();
        assert!(described.fit(&instance()));
    }
}
