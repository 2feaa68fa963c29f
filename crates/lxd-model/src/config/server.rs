//! The server's keys.

use super::check::{COMPRESSION, Check, EXPIRY, IPV4_ADDRESS, Reason};
use super::{Config, Key, Table, Wording};
use crate::Invalid;
use crate::instances::architecture;

/// All keys of the server, each cluster member's own ones included.
pub const TABLE: Table = Table {
    noun: "server",
    keys: KEYS,
};

/// Checks a server configuration, whole or partly.
pub fn validate(config: &Config) -> Result<(), Invalid> {
    TABLE.validate(config, Wording::Server)
}

const KEYS: &[Key] = &[
    Key::new("backups.compression_algorithm", COMPRESSION)
        .default("gzip")
        .live(),
    Key::new("candid.api.key", Check::Any).live(),
    Key::new("candid.api.url", Check::Any).live(),
    Key::new("candid.domains", Check::Any).live(),
    Key::new("candid.expiry", Check::Integer).default("3600").live(),
    Key::new("cluster.https_address", ADDRESS).local(),
    Key::new(
        "cluster.images_minimal_replica",
        Check::Custom("integer", replicas),
    )
    .default("3")
    .live(),
    Key::new("cluster.join_token_expiry", EXPIRY).default("3H").live(),
    Key::new("cluster.max_standby", Check::Custom("integer", standby))
        .default("2")
        .live(),
    Key::new("cluster.max_voters", Check::Custom("integer", voters))
        .default("3")
        .live(),
    Key::new(
        "cluster.offline_threshold",
        Check::Custom("integer", offline_threshold),
    )
    .default("20")
    .live(),
    Key::new("core.bgp_address", ADDRESS).local().live(),
    Key::new("core.bgp_asn", Check::Custom("string", asn)).live(),
    Key::new("core.bgp_routerid", IPV4_ADDRESS).local().live(),
    Key::new("core.debug_address", ADDRESS).local().live(),
    Key::new("core.dns_address", ADDRESS).local().live(),
    Key::new("core.https_address", ADDRESS).local().live(),
    Key::new("core.https_allowed_credentials", Check::Bool).live(),
    Key::new("core.https_allowed_headers", Check::Any).live(),
    Key::new("core.https_allowed_methods", Check::Any).live(),
    Key::new("core.https_allowed_origin", Check::Any).live(),
    Key::new("core.https_trusted_proxy", Check::Any).live(),
    Key::new("core.metrics_address", ADDRESS).local().live(),
    Key::new("core.metrics_authentication", Check::Bool)
        .default("true")
        .live(),
    Key::new("core.proxy_http", Check::Any).live(),
    Key::new("core.proxy_https", Check::Any).live(),
    Key::new("core.proxy_ignore_hosts", Check::Any).live(),
    Key::new("core.remote_token_expiry", EXPIRY).live(),
    Key::new("core.shutdown_timeout", Check::Integer)
        .default("5")
        .live(),
    Key::new("core.trust_ca_certificates", Check::Bool).live(),
    Key::new("core.trust_password", Check::Any).live().secret(),
    Key::new("images.auto_update_cached", Check::Bool)
        .default("true")
        .live(),
    Key::new("images.auto_update_interval", Check::Integer)
        .default("6")
        .live(),
    Key::new("images.compression_algorithm", COMPRESSION)
        .default("gzip")
        .live(),
    Key::new("images.default_architecture", Check::OneOf(architecture::NAMES)).live(),
    Key::new("images.remote_cache_expiry", Check::Integer)
        .default("10")
        .live(),
    Key::new("maas.api.key", Check::Any).live(),
    Key::new("maas.api.url", Check::Any).live(),
    Key::new("maas.machine", Check::Any).local().live(),
    Key::new("network.ovn.integration_bridge", Check::Any)
        .default("br-int")
        .live(),
    Key::new("network.ovn.northbound_connection", Check::Any)
        .default("unix:/var/run/ovn/ovnnb_db.sock")
        .live(),
    Key::new("rbac.agent.private_key", Check::Any).live(),
    Key::new("rbac.agent.public_key", Check::Any).live(),
    Key::new("rbac.agent.url", Check::Any).live(),
    Key::new("rbac.agent.username", Check::Any).live(),
    Key::new("rbac.api.expiry", Check::Integer).live(),
    Key::new("rbac.api.key", Check::Any).live(),
    Key::new("rbac.api.url", Check::Any).live(),
    Key::new("rbac.expiry", Check::Integer).live(),
    Key::new("storage.backups_volume", Check::Any).local().live(),
    Key::new("storage.images_volume", Check::Any).local().live(),
    Key::new("user.*", Check::Any).live(),
];

/// Where to listen: an address with an optional port, a host name, or only a port.
const ADDRESS: Check = Check::Custom("string", listen_address);

fn listen_address(value: &str) -> Result<(), Reason> {
    let unresolved = || format!("Couldn't resolve {value:?}");
    let colons = value.matches(':').count();
    let bare_v6 = value.parse::<std::net::Ipv6Addr>().is_ok();
    let bracketed = value.starts_with('[');
    if value.contains(char::is_whitespace) || (colons > 1 && !bare_v6 && !bracketed) {
        return Err(unresolved());
    }
    let port = match value.rsplit_once(':') {
        Some((host, port)) if !bare_v6 && !host.ends_with(':') => port,
        _ => return Ok(()),
    };
    if port.ends_with(']') || port.parse::<u16>().is_ok() {
        Ok(())
    } else {
        Err(unresolved())
    }
}

fn number(value: &str) -> Result<i64, Reason> {
    value.parse().map_err(|_| "invalid integer".to_owned())
}

fn demand(good: bool, reason: &str) -> Result<(), Reason> {
    if good { Ok(()) } else { Err(reason.to_owned()) }
}

fn offline_threshold(value: &str) -> Result<(), Reason> {
    demand(number(value)? > 10, "Value must be greater than '10'")
}

fn replicas(value: &str) -> Result<(), Reason> {
    let replicas = number(value)?;
    demand(
        replicas == -1 || replicas > 0,
        "Invalid value for image replica count",
    )
}

fn voters(value: &str) -> Result<(), Reason> {
    let voters = number(value)?;
    demand(
        voters >= 3 && voters % 2 == 1,
        "Value must be an odd number equal to or higher than 3",
    )
}

fn standby(value: &str) -> Result<(), Reason> {
    demand((0..=5).contains(&number(value)?), "Value must be between 0 and 5")
}

fn asn(value: &str) -> Result<(), Reason> {
    let within = (0..=4_294_967_294).contains(&number(value)?);
    demand(
        within,
        "Value isn't within valid range. Must be between 0 and 4294967294",
    )
}
