//! The keys of instances and profiles.

use super::check::{Check, EXPIRY, Reason, UUID, is_true};
use super::schedule::SCHEDULE;
use super::{Config, For, Key, Table, Wording};
use crate::instances::InstanceType;
use crate::{Invalid, units, yaml};

/// All keys of instances; profiles take them too, `volatile.*` and `image.*` excepted.
pub const TABLE: Table = Table {
    noun: "instance",
    keys: KEYS,
};

/// Checks the configuration of an instance of some type, its own part or the expanded whole.
///
/// A key for the other type of instance counts as unknown. Update requests name the text's place:
/// [`Invalid::within`]`("Invalid config: ")`.
pub fn validate(config: &Config, instance_type: InstanceType) -> Result<(), Invalid> {
    TABLE.validate_where(config, Wording::Instance, |key| applies(key, instance_type))?;
    compatible(config)
}

/// Checks the configuration of a profile.
pub fn validate_profile(config: &Config) -> Result<(), Invalid> {
    for name in config.keys() {
        if name.starts_with("volatile.") {
            return Err(Invalid::new("Volatile keys can only be set on instances"));
        }
        if name.starts_with("image.") {
            return Err(Invalid::new("Image keys can only be set on instances"));
        }
    }
    TABLE.validate(config, Wording::Instance)?;
    compatible(config)
}

/// Whether a key is for instances of this type.
pub fn applies(key: &Key, instance_type: InstanceType) -> bool {
    match key.applies {
        For::Any => true,
        For::Container => instance_type == InstanceType::Container,
        For::VirtualMachine => instance_type == InstanceType::VirtualMachine,
    }
}

/// The effective value of a key of an expanded configuration: `security.nesting` is `false` when unset.
pub fn value<'c>(config: &'c Config, name: &str) -> &'c str {
    TABLE.value(config, name)
}

/// Keys that exclude each other.
fn compatible(config: &Config) -> Result<(), Invalid> {
    let list = |name: &str| {
        let items = config.get(name).map_or("", String::as_str).split(',');
        items.map(|item| item.split('=').next().unwrap_or_default().trim())
    };
    let (allowed, fuse) = (
        "security.syscalls.intercept.mount.allowed",
        "security.syscalls.intercept.mount.fuse",
    );
    if let Some(twice) = list(allowed).find(|one| !one.is_empty() && list(fuse).any(|other| other == *one)) {
        return Err(Invalid::new(format!(
            "Filesystem {twice} cannot appear in {allowed} and {fuse}"
        )));
    }
    let set = |name: &str| config.get(name).is_some_and(|value| !value.is_empty());
    for suffix in ["default", "compat"] {
        let (new, old) = (
            format!("security.syscalls.deny_{suffix}"),
            format!("security.syscalls.blacklist_{suffix}"),
        );
        exclusive(&new, &old, set)?;
    }
    exclusive("security.syscalls.deny", "security.syscalls.blacklist", set)?;
    exclusive("security.syscalls.allow", "security.syscalls.whitelist", set)?;
    let allow = set("security.syscalls.allow") || set("security.syscalls.whitelist");
    let deny = [
        "deny",
        "deny_compat",
        "deny_default",
        "blacklist",
        "blacklist_compat",
        "blacklist_default",
    ];
    if allow && deny.iter().any(|name| set(&format!("security.syscalls.{name}"))) {
        return Err(Invalid::new(
            "security.syscalls.allow is mutually exclusive with security.syscalls.deny*",
        ));
    }
    let truth = |name: &str| config.get(name).is_some_and(|value| is_true(value));
    if truth("nvidia.runtime") && truth("security.privileged") {
        return Err(Invalid::new(
            "nvidia.runtime is incompatible with privileged containers",
        ));
    }
    Ok(())
}

fn exclusive(new: &str, old: &str, set: impl Fn(&str) -> bool) -> Result<(), Invalid> {
    match set(new) && set(old) {
        true => Err(Invalid::new(format!(
            "Mutually exclusive keys {new} and {old} are set"
        ))),
        false => Ok(()),
    }
}

const PRIORITY: Check = Check::Limit(0, 10);

const KEYS: &[Key] = &[
    Key::new("agent.nic_config", Check::Bool).default("false").vm(),
    Key::new("boot.autostart", Check::Bool),
    Key::new("boot.autostart.delay", Check::Integer).default("0"),
    Key::new("boot.autostart.priority", Check::Integer).default("0"),
    Key::new("boot.host_shutdown_timeout", Check::Integer)
        .default("30")
        .live(),
    Key::new("boot.stop.priority", Check::Integer).default("0"),
    Key::new("cloud-init.network-config", Check::Custom("string", yaml_map)).when("if supported by image"),
    Key::new("cloud-init.user-data", Check::Any).when("if supported by image"),
    Key::new("cloud-init.vendor-data", Check::Any).when("if supported by image"),
    Key::new(
        "cluster.evacuate",
        Check::OneOf(&["auto", "migrate", "live-migrate", "stop"]),
    )
    .default("auto"),
    Key::new("limits.cpu", Check::Custom("string", cpu)).live(),
    Key::new("limits.cpu.allowance", Check::Custom("string", cpu_allowance))
        .default("100%")
        .live()
        .container(),
    Key::new("limits.cpu.priority", PRIORITY)
        .default("10")
        .live()
        .container(),
    Key::new("limits.disk.priority", PRIORITY).default("5").live(),
    Key::new("limits.hugepages.1GB", Check::Bytes).live().container(),
    Key::new("limits.hugepages.1MB", Check::Bytes).live().container(),
    Key::new("limits.hugepages.2MB", Check::Bytes).live().container(),
    Key::new("limits.hugepages.64KB", Check::Bytes).live().container(),
    Key::new("limits.memory", Check::Custom("string", memory)).live(),
    Key::new("limits.memory.enforce", Check::OneOf(&["soft", "hard"]))
        .default("hard")
        .live()
        .container(),
    Key::new("limits.memory.hugepages", Check::Bool)
        .default("false")
        .vm(),
    Key::new("limits.memory.swap", Check::Bool)
        .default("true")
        .live()
        .container(),
    Key::new("limits.memory.swap.priority", PRIORITY)
        .default("10")
        .live()
        .container(),
    Key::new("limits.network.priority", PRIORITY).default("0").live(),
    Key::new("limits.processes", Check::Integer).live().container(),
    Key::new("linux.kernel_modules", Check::Any).live().container(),
    Key::new("migration.incremental.memory", Check::Bool)
        .default("false")
        .live()
        .container(),
    Key::new("migration.incremental.memory.goal", Check::Uint32)
        .default("70")
        .live()
        .container(),
    Key::new("migration.incremental.memory.iterations", Check::Uint32)
        .default("10")
        .live()
        .container(),
    Key::new("migration.stateful", Check::Bool).default("false").vm(),
    Key::new("nvidia.driver.capabilities", Check::Any)
        .default("compute,utility")
        .container(),
    Key::new("nvidia.require.cuda", Check::Any).container(),
    Key::new("nvidia.require.driver", Check::Any).container(),
    Key::new("nvidia.runtime", Check::Bool)
        .default("false")
        .container(),
    Key::new("raw.apparmor", Check::Blob).live(),
    Key::new("raw.idmap", Check::Blob).when("unprivileged container"),
    Key::new("raw.lxc", Check::Custom("blob", raw_lxc)).container(),
    Key::new("raw.qemu", Check::Blob).vm(),
    Key::new("raw.qemu.conf", Check::Blob).vm(),
    Key::new("raw.seccomp", Check::Blob).container(),
    Key::new("security.agent.metrics", Check::Bool)
        .default("true")
        .vm(),
    Key::new("security.devlxd", Check::Bool).default("true"),
    Key::new("security.devlxd.images", Check::Bool)
        .default("false")
        .container(),
    Key::new("security.idmap.base", Check::Uint32)
        .container()
        .when("unprivileged container"),
    Key::new("security.idmap.isolated", Check::Bool)
        .default("false")
        .container()
        .when("unprivileged container"),
    Key::new("security.idmap.size", Check::Uint32)
        .container()
        .when("unprivileged container"),
    Key::new("security.nesting", Check::Bool)
        .default("false")
        .live()
        .container(),
    Key::new("security.privileged", Check::Bool)
        .default("false")
        .container(),
    Key::new("security.protection.delete", Check::Bool)
        .default("false")
        .live(),
    Key::new("security.protection.shift", Check::Bool)
        .default("false")
        .live()
        .container(),
    Key::new("security.secureboot", Check::Bool).default("true").vm(),
    Key::new("security.syscalls.allow", Check::Any).container(),
    Key::new("security.syscalls.blacklist", Check::Any).container(),
    Key::new("security.syscalls.blacklist_compat", Check::Bool).container(),
    Key::new("security.syscalls.blacklist_default", Check::Bool).container(),
    Key::new("security.syscalls.deny", Check::Any).container(),
    Key::new("security.syscalls.deny_compat", Check::Bool)
        .default("false")
        .container(),
    Key::new("security.syscalls.deny_default", Check::Bool)
        .default("true")
        .container(),
    Key::new("security.syscalls.intercept.bpf", Check::Bool)
        .default("false")
        .container(),
    Key::new("security.syscalls.intercept.bpf.devices", Check::Bool)
        .default("false")
        .container(),
    Key::new("security.syscalls.intercept.mknod", Check::Bool)
        .default("false")
        .container(),
    Key::new("security.syscalls.intercept.mount", Check::Bool)
        .default("false")
        .container(),
    Key::new("security.syscalls.intercept.mount.allowed", Check::Any)
        .live()
        .container(),
    Key::new("security.syscalls.intercept.mount.fuse", Check::Any)
        .live()
        .container(),
    Key::new("security.syscalls.intercept.mount.shift", Check::Bool)
        .default("false")
        .live()
        .container(),
    Key::new("security.syscalls.intercept.sched_setscheduler", Check::Bool)
        .default("false")
        .container(),
    Key::new("security.syscalls.intercept.setxattr", Check::Bool)
        .default("false")
        .container(),
    Key::new("security.syscalls.whitelist", Check::Any).container(),
    Key::new("snapshots.expiry", EXPIRY),
    Key::new("snapshots.pattern", Check::Any).default("snap%d"),
    Key::new("snapshots.schedule", SCHEDULE),
    Key::new("snapshots.schedule.stopped", Check::Bool).default("false"),
    Key::new("volatile.apply_nvram", Check::Any).vm(),
    Key::new("volatile.apply_quota", Check::Any),
    Key::new("volatile.apply_template", Check::Any),
    Key::new("volatile.base_image", Check::Any),
    Key::new("volatile.cloud-init.instance-id", UUID),
    Key::new("volatile.evacuate.origin", Check::Any),
    Key::new("volatile.idmap.base", Check::Any),
    Key::new("volatile.idmap.current", Check::Any),
    Key::new("volatile.idmap.next", Check::Any),
    Key::new("volatile.last_state.idmap", Check::Any),
    Key::new("volatile.last_state.power", Check::Any),
    Key::new("volatile.uuid", UUID),
    Key::new("volatile.vsock_id", Check::Integer),
    Key::new("environment.*", Check::Custom("string", environment)).live(),
    Key::new("image.*", Check::Any),
    Key::new("limits.kernel.*", Check::Any).container(),
    Key::new("linux.sysctl.*", Check::Any).container(),
    Key::new("user.*", Check::Any).live(),
    Key::new("volatile.*.hwaddr", Check::Any),
    Key::new("volatile.*.name", Check::Any),
    Key::new("volatile.*.host_name", Check::Any),
    Key::new("volatile.*.mtu", Check::Any),
    Key::new("volatile.*.created", Check::Any),
    Key::new("volatile.*.id", Check::Any),
    Key::new("volatile.*.vlan", Check::Any),
    Key::new("volatile.*.spoofcheck", Check::Any),
    Key::new("volatile.*.last_state.vf.parent", Check::Any),
    Key::new("volatile.*.apply_quota", Check::Any),
    Key::new("volatile.*.ceph_rbd", Check::Any),
    Key::new("volatile.*.driver", Check::Any),
    Key::new("volatile.*.uuid", Check::Any),
];

/// A number of CPUs, or a set of them: `0-3,7`.
fn cpu(value: &str) -> Result<(), Reason> {
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let item = |text: &str| {
        text.split_once('-')
            .map_or_else(|| digits(text), |(a, b)| digits(a) && digits(b))
    };
    if !value.split(',').all(item) {
        return Err("Invalid CPU limit syntax".to_owned());
    }
    match value
        .split([',', '-'])
        .all(|number| number.parse::<i64>().is_ok())
    {
        true => Ok(()),
        false => Err(format!("Invalid cpuset value: {value}")),
    }
}

/// A share of CPU time (`50%`), or a slice of it (`25ms/100ms`).
fn cpu_allowance(value: &str) -> Result<(), Reason> {
    let number = |text: &str| match text.parse::<i64>() {
        Ok(_) => Ok(()),
        Err(_) => Err(format!("strconv.Atoi: parsing {text:?}: invalid syntax")),
    };
    if let Some(percent) = value.strip_suffix('%') {
        return number(percent);
    }
    let (slice, period) = value
        .split_once('/')
        .ok_or_else(|| format!("Invalid allowance: {value}"))?;
    number(slice.strip_suffix("ms").unwrap_or(slice))?;
    number(period.strip_suffix("ms").unwrap_or(period))
}

/// Bytes or a percentage of the host's memory, not zero.
fn memory(value: &str) -> Result<(), Reason> {
    if let Some(percent) = value.strip_suffix('%') {
        return match percent.parse::<i64>() {
            Ok(0) => Err("Memory limit can't be 0%".to_owned()),
            Ok(_) => Ok(()),
            Err(_) => Err(units::go_parse_int(percent)),
        };
    }
    match units::parse_bytes(value).map_err(|e| e.to_string())? {
        0 => Err("Memory limit can't be 0".to_owned()),
        _ => Ok(()),
    }
}

/// A YAML document that is a map.
fn yaml_map(value: &str) -> Result<(), Reason> {
    let document = yaml::from_str::<std::collections::BTreeMap<String, serde_json::Value>>(value);
    document
        .map(drop)
        .map_err(|e| e.to_string().replace("map[string]string", "struct {}"))
}

fn environment(value: &str) -> Result<(), Reason> {
    match value.contains('\n') {
        true => Err("Environment variables cannot contain line breaks".to_owned()),
        false => Ok(()),
    }
}

/// Lines of liblxc's configuration, apart from what the daemon itself must be sure of.
fn raw_lxc(value: &str) -> Result<(), Reason> {
    for line in value
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
    {
        let (key, _) = line
            .split_once('=')
            .ok_or_else(|| format!("Invalid raw.lxc line: {line}"))?;
        let key = key.trim().to_ascii_lowercase();
        match key.as_str() {
            "lxc.logfile" | "lxc.log.file" => return Err("Setting lxc.logfile is not allowed".to_owned()),
            "lxc.syslog" | "lxc.log.syslog" => return Err("Setting lxc.log.syslog is not allowed".to_owned()),
            "lxc.ephemeral" => return Err("Setting lxc.ephemeral is not allowed".to_owned()),
            _ => raw_lxc_network(&key)?,
        }
    }
    Ok(())
}

/// Of the network only the addresses of an interface may be set.
fn raw_lxc_network(key: &str) -> Result<(), Reason> {
    let Some(rest) = key.strip_prefix("lxc.net.") else {
        return Ok(());
    };
    let field = rest.split_once('.').map_or("", |(_, field)| field);
    match ["ipv4", "ipv6"].iter().any(|family| field.starts_with(family)) {
        true => Ok(()),
        false => Err("Only interface-specific ipv4/ipv6 lxc.net. keys are allowed".to_owned()),
    }
}
