//! The columns of `lxc list`: letters, and configuration keys.

use lxd_api::Time;
use lxd_api::instance_state::{InstanceState, InstanceStateNetworkAddress};
use lxd_api::instances::InstanceFull;
use lxd_model::units;

use crate::error::{Error, Result};
use crate::render::{bytes_binary, date_utc};

/// A column.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Column {
    /// What stands above it.
    pub(super) title: String,
    kind: Kind,
    /// How many letters are shown; none means all.
    width: Option<usize>,
}

#[derive(Debug, Clone, PartialEq)]
enum Kind {
    Letter(char),
    Config(String),
    Device { device: String, key: String },
}

/// Letters, titles, and whether the run-time state or the snapshots are needed.
const LETTERS: &[(char, &str, bool)] = &[
    ('4', "IPV4", true),
    ('6', "IPV6", true),
    ('a', "ARCHITECTURE", false),
    ('b', "STORAGE POOL", false),
    ('c', "CREATED AT", false),
    ('d', "DESCRIPTION", false),
    ('D', "DISK USAGE", true),
    ('e', "PROJECT", false),
    ('f', "BASE IMAGE", false),
    ('F', "BASE IMAGE", false),
    ('l', "LAST USED AT", false),
    ('L', "LOCATION", false),
    ('m', "MEMORY USAGE", true),
    ('M', "MEMORY USAGE%", true),
    ('n', "NAME", false),
    ('N', "PROCESSES", true),
    ('p', "PID", true),
    ('P', "PROFILES", false),
    ('s', "STATE", false),
    ('S', "SNAPSHOTS", true),
    ('t', "TYPE", false),
    ('u', "CPU USAGE", true),
];

/// How many letters of a fingerprint the short form has.
const SHORT: usize = 12;

/// Reads a list of columns: letters with or without commas between them, and `key[:name[:width]]` between commas.
pub(super) fn parse(text: &str) -> Result<Vec<Column>> {
    let mut columns = Vec::new();
    for entry in text.split(',') {
        if entry.is_empty() {
            return Err(Error::message(format!(
                "Empty column entry (redundant, leading or trailing command) in '{text}'"
            )));
        }
        if entry.contains('.') {
            columns.push(key_column(entry)?);
            continue;
        }
        for letter in entry.chars() {
            let known = LETTERS.iter().find(|(known, _, _)| *known == letter);
            let (_, title, _) = known.ok_or_else(|| {
                Error::message(format!("Unknown column shorthand char '{letter}' in '{entry}'"))
            })?;
            columns.push(Column {
                title: (*title).into(),
                kind: Kind::Letter(letter),
                width: None,
            });
        }
    }
    Ok(columns)
}

/// The words that configuration keys of instances begin with.
const SPACES: &[&str] = &[
    "boot",
    "cloud-init",
    "cluster",
    "environment",
    "image",
    "limits",
    "linux",
    "migration",
    "nvidia",
    "raw",
    "security",
    "snapshots",
    "user",
    "volatile",
];

fn key_column(entry: &str) -> Result<Column> {
    let (is_device, rest) = match (entry.strip_prefix("devices:"), entry.strip_prefix("config:")) {
        (Some(rest), _) => (true, rest),
        (None, Some(rest)) => (false, rest),
        (None, None) => (false, entry),
    };
    let parts: Vec<&str> = rest.split(':').collect();
    let key = parts[0];
    if parts.len() > 3 {
        return Err(Error::message(format!(
            "Invalid config key column format (too many fields): '{entry}'"
        )));
    }
    let kind = if is_device {
        let (device, key) = key.split_once('.').unwrap_or((key, ""));
        Kind::Device {
            device: device.into(),
            key: key.into(),
        }
    } else if SPACES.contains(&key.split('.').next().unwrap_or_default()) {
        Kind::Config(key.into())
    } else {
        return Err(Error::message(format!("Invalid config key '{key}' in '{entry}'")));
    };
    let mut title = key.to_string();
    if let Some(name) = parts.get(1) {
        if name.is_empty() && parts.len() < 3 {
            return Err(Error::message(format!(
                "Invalid name in '{entry}', empty string is only allowed when defining maxWidth"
            )));
        }
        title = (*name).to_string();
    }
    let width = match parts.get(2) {
        None | Some(&"-1") => None,
        Some(width) => Some(width.parse().map_err(|_| {
            let wanted = match width.parse::<i64>() {
                Ok(_) => "must -1, 0 or a positive integer",
                Err(_) => "must be an integer",
            };
            Error::message(format!("Invalid max width ({wanted}) '{width}' in '{entry}'"))
        })?),
    };
    let width = if width == Some(0) {
        Some(title.chars().count())
    } else {
        width
    };
    Ok(Column { title, kind, width })
}

impl Column {
    /// Whether it shows where the instance is.
    pub(super) fn is_location(&self) -> bool {
        self.kind == Kind::Letter('L')
    }

    /// Whether it shows run-time state or snapshots, which the server finds out for each instance.
    pub(super) fn needs_state(&self) -> bool {
        matches!(self.kind, Kind::Letter(letter) if LETTERS.iter().any(|(known, _, state)| *known == letter && *state))
    }

    /// What it shows of an instance.
    pub(super) fn cell(&self, instance: &InstanceFull) -> String {
        let text = match &self.kind {
            Kind::Letter(letter) => letter_cell(*letter, instance),
            Kind::Config(key) => instance.expanded_config.get(key).cloned().unwrap_or_default(),
            Kind::Device { device, key } => instance
                .expanded_devices
                .get(device)
                .and_then(|device| device.get(key))
                .cloned()
                .unwrap_or_default(),
        };
        match self.width {
            Some(width) if width > 0 => text.chars().take(width).collect(),
            _ => text,
        }
    }
}

fn letter_cell(letter: char, instance: &InstanceFull) -> String {
    let base = || {
        instance
            .config
            .get("volatile.base_image")
            .cloned()
            .unwrap_or_default()
    };
    match letter {
        '4' => addresses(instance, "inet"),
        '6' => addresses(instance, "inet6"),
        'a' => instance.architecture.clone(),
        'b' => root_pool(instance),
        'c' => date(&instance.created_at),
        'd' => instance.description.clone(),
        'e' => instance.project.clone(),
        'f' => base().chars().take(SHORT).collect(),
        'F' => base(),
        'l' => date(&instance.last_used_at),
        'L' => instance.location.clone(),
        'n' => instance.name.clone(),
        'P' => instance.profiles.join("\n"),
        's' => instance.status.to_uppercase(),
        'S' => instance.snapshots.as_ref().map_or(0, Vec::len).to_string(),
        't' => kind(instance),
        _ => state_cell(letter, instance),
    }
}

/// What shows the run-time state, which stopped instances don't have.
fn state_cell(letter: char, instance: &InstanceFull) -> String {
    let Some(state) = &instance.state else {
        return String::new();
    };
    let disk = state.disk.get("root").map_or(0, |disk| disk.usage);
    match letter {
        'D' if disk > 0 => bytes_binary(disk, 2),
        'm' if is_active(instance) && state.memory.usage > 0 => bytes_binary(state.memory.usage, 2),
        'M' if is_active(instance) => memory_share(instance, state),
        'N' if is_active(instance) => state.processes.to_string(),
        'p' if is_active(instance) => state.pid.to_string(),
        'u' if is_active(instance) => format!("{}s", state.cpu.usage / 1_000_000_000),
        _ => String::new(),
    }
}

/// Whether there are processes.
fn is_active(instance: &InstanceFull) -> bool {
    !matches!(instance.status.as_str(), "Stopped" | "Error" | "")
}

fn memory_share(instance: &InstanceFull, state: &InstanceState) -> String {
    let limit = instance
        .expanded_config
        .get("limits.memory")
        .map_or("", String::as_str);
    let limit = if limit.ends_with('%') {
        0
    } else {
        units::parse_bytes(limit).unwrap_or(0)
    };
    if state.memory.usage <= 0 || limit <= 0 {
        return String::new();
    }
    #[expect(clippy::cast_precision_loss, reason = "one digit after the point is shown")]
    let share = 100.0 * state.memory.usage as f64 / limit as f64;
    format!("{share:.1}%")
}

/// The addresses of a family that others can reach, the last one in the alphabet first.
fn addresses(instance: &InstanceFull, family: &str) -> String {
    let Some(state) = instance.state.as_ref().filter(|_| is_active(instance)) else {
        return String::new();
    };
    let wanted = |address: &&InstanceStateNetworkAddress| {
        address.family == family && !matches!(address.scope.as_str(), "link" | "local")
    };
    let mut found: Vec<String> = Vec::new();
    for (name, card) in state.network.iter().filter(|(_, card)| card.r#type != "loopback") {
        let addresses = card.addresses.iter().filter(wanted);
        found.extend(addresses.map(|address| format!("{} ({name})", address.address)));
    }
    found.sort_by(|a, b| b.cmp(a));
    found.join("\n")
}

fn root_pool(instance: &InstanceFull) -> String {
    let root = instance.expanded_devices.values().find(|device| {
        device.get("type").is_some_and(|kind| kind == "disk")
            && device.get("path").is_some_and(|path| path == "/")
            && device.contains_key("pool")
    });
    root.and_then(|device| device.get("pool"))
        .cloned()
        .unwrap_or_default()
}

fn kind(instance: &InstanceFull) -> String {
    let kind = if instance.r#type.is_empty() {
        "CONTAINER".to_string()
    } else {
        instance.r#type.to_uppercase()
    };
    if instance.ephemeral {
        format!("{kind} (EPHEMERAL)")
    } else {
        kind
    }
}

/// A date; nothing for the times that stand for none.
fn date(time: &Time) -> String {
    if time.timestamp().as_second() <= 0 {
        String::new()
    } else {
        date_utc(time)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(text: &str) -> String {
        parse(text).unwrap_err().to_string()
    }

    #[test]
    fn letters_and_keys_are_mixed() {
        let columns = parse("n4,s,user.comment:COMMENT:4,devices:eth0.parent,image.os::0").unwrap();
        let titles: Vec<&str> = columns.iter().map(|column| column.title.as_str()).collect();
        assert_eq!(titles, ["NAME", "IPV4", "STATE", "COMMENT", "eth0.parent", ""]);
        assert_eq!(columns[3].width, Some(4));
        assert!(columns[1].needs_state() && !columns[0].needs_state());
    }

    #[test]
    fn mistakes_read_like_the_references() {
        assert_eq!(error("nz"), "Unknown column shorthand char 'z' in 'nz'");
        assert_eq!(
            error("n,"),
            "Empty column entry (redundant, leading or trailing command) in 'n,'"
        );
        assert_eq!(error("a.b:c:x"), "Invalid config key 'a.b' in 'a.b:c:x'");
        assert_eq!(
            error("user.x:Y:-2"),
            "Invalid max width (must -1, 0 or a positive integer) '-2' in 'user.x:Y:-2'"
        );
        assert_eq!(
            error("user.comment:"),
            "Invalid name in 'user.comment:', empty string is only allowed when defining maxWidth"
        );
    }

    #[test]
    fn cells_show_what_the_state_says() {
        let mut instance = InstanceFull {
            status: "Running".into(),
            ephemeral: true,
            ..InstanceFull::default()
        };
        instance
            .expanded_config
            .insert("limits.memory".into(), "64MiB".into());
        let mut state = InstanceState::default();
        state.memory.usage = 409_600;
        let card = state.network.entry("eth0".into()).or_default();
        for (address, scope) in [
            ("10.0.0.1", "global"),
            ("10.0.0.2", "global"),
            ("169.254.0.1", "link"),
        ] {
            let (family, address, scope) = ("inet".into(), address.into(), scope.into());
            card.addresses.push(InstanceStateNetworkAddress {
                family,
                address,
                scope,
                ..Default::default()
            });
        }
        instance.state = Some(state);
        let cells: Vec<String> = parse("4mMtlu")
            .unwrap()
            .iter()
            .map(|column| column.cell(&instance))
            .collect();
        let addresses = "10.0.0.2 (eth0)\n10.0.0.1 (eth0)";
        assert_eq!(
            cells,
            [addresses, "400.00KiB", "0.6%", "CONTAINER (EPHEMERAL)", "", "0s"]
        );
    }
}
