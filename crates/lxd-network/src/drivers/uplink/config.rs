//! The configuration keys of networks that are an interface of the host, and what their values may be.
//!
//! The keys and the texts are those of LXD 5.0.2, as its daemon answers.

use lxd_model::config::Check;
use lxd_model::config::check::{
    ADDRESS, IPV4_CIDR, IPV4_RANGE, IPV4_SUBNETS, IPV6_CIDR, IPV6_RANGE, IPV6_SUBNETS, MTU, VLAN,
};

use super::Type;
use crate::{Error, Network, Result};

/// A key and its rule.
type Key = (&'static str, Check);

/// The interface of the host.
pub(super) const PARENT: &str = "parent";
/// Whether the VLAN of an uplink was made for it.
pub(super) const CREATED: &str = "volatile.last_state.created";

/// Keys of all types.
const COMMON: &[Key] = &[
    ("maas.subnet.ipv4", Check::Any),
    ("maas.subnet.ipv6", Check::Any),
    ("mtu", MTU),
    (PARENT, Check::Any),
    ("vlan", VLAN),
];

/// What VLANs of the host can be told.
pub(super) const MACVLAN: &[Key] = &[("gvrp", Check::Bool)];

/// What routers behind an uplink are told.
pub(super) const UPLINK: &[Key] = &[
    ("dns.nameservers", Check::List(&ADDRESS)),
    ("gvrp", Check::Bool),
    ("ipv4.gateway", IPV4_CIDR),
    ("ipv4.ovn.ranges", Check::List(&IPV4_RANGE)),
    ("ipv4.routes", IPV4_SUBNETS),
    ("ipv4.routes.anycast", Check::Bool),
    ("ipv6.gateway", IPV6_CIDR),
    ("ipv6.ovn.ranges", Check::List(&IPV6_RANGE)),
    ("ipv6.routes", IPV6_SUBNETS),
    ("ipv6.routes.anycast", Check::Bool),
    ("ovn.ingress_mode", Check::OneOf(&["l2proxy", "routed"])),
    (CREATED, Check::Bool),
];

/// Whether a network of a type may be configured like this. Empty values count as not set.
///
/// # Errors
/// The first broken rule, in the order of the keys; then the first key that is none.
pub(super) fn validate(kind: &Type, network: &Network) -> Result<()> {
    let refused = |key: &str, reason: String| Error::Value {
        network: network.name.clone(),
        key: key.to_owned(),
        reason,
    };
    let rules = || COMMON.iter().chain(kind.keys);
    for (key, check) in rules() {
        let value = network.get(key);
        if !value.is_empty() {
            check.run(value).map_err(|reason| refused(key, reason))?;
        }
    }
    if network.get(PARENT).is_empty() {
        return Err(refused(PARENT, "Required value".into()));
    }
    let is_known = |key: &str| key.starts_with("user.") || rules().any(|(name, _)| *name == key);
    match network.config.keys().find(|key| !is_known(key)) {
        Some(key) => Err(Error::UnknownKey {
            network: network.name.clone(),
            key: key.clone(),
        }),
        None => Ok(()),
    }
}
