//! `lxd init`: sets a server up for first use, by questions, flags or a preseed.

mod apply;
mod auto;
mod dump;
mod interactive;
mod source;

use super::output;
use std::io::Read as _;

use lxd_api::init::InitPreseed;
use lxd_api::server::Server;
use lxd_model::yaml;

use super::client::{Client, block_on};
use crate::command_line::Invocation;

/// What `--auto` takes besides the defaults.
const AUTO_FLAGS: [&str; 6] = [
    "network-address",
    "network-port",
    "storage-backend",
    "storage-create-device",
    "storage-create-loop",
    "storage-pool",
];

/// What the flags say.
#[derive(Debug, Default)]
struct Wishes {
    address: Option<String>,
    port: Option<i64>,
    backend: Option<String>,
    device: Option<String>,
    loop_size: Option<i64>,
    pool: Option<String>,
    password: Option<String>,
}

/// Sets the server up.
///
/// # Errors
/// Flags that make no sense together, no daemon, an invalid preseed, or what the daemon refused; everything that was
/// made until then is taken back.
pub(crate) fn run(invocation: &Invocation) -> Result<(), String> {
    let mode = Mode::choose(invocation)?;
    let client = Client::new(&invocation.dir);
    block_on(async move {
        let server: Server = client
            .get("/1.0")
            .await
            .map_err(|error| format!("Failed to connect to local LXD: {error}"))?;
        let preseed = match mode {
            Mode::Dump => {
                output::print(&dump::text(&client, &server).await?);
                return Ok(());
            }
            Mode::Preseed => read_preseed()?,
            Mode::Auto => auto::preseed(&client, &server, &wishes(invocation)).await?,
            Mode::Interactive => interactive::preseed(&client, &server).await?,
        };
        apply::apply(&client, &preseed).await
    })
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    Interactive,
    Auto,
    Preseed,
    Dump,
}

impl Mode {
    fn choose(invocation: &Invocation) -> Result<Self, String> {
        let is_set = |name| invocation.flag(name);
        let (auto, preseed, minimal, dump) = (
            is_set("auto"),
            is_set("preseed"),
            is_set("minimal"),
            is_set("dump"),
        );
        let has_wishes = AUTO_FLAGS
            .iter()
            .chain(&["trust-password"])
            .any(|name| invocation.text(name).is_some() || invocation.number(name).is_some_and(|n| n != -1));
        match () {
            () if auto && preseed => Err("Can't use --auto and --preseed together".into()),
            () if minimal && preseed => Err("Can't use --minimal and --preseed together".into()),
            () if minimal && auto => Err("Can't use --minimal and --auto together".into()),
            () if dump && (auto || minimal || preseed || has_wishes) => {
                Err("Can't use --dump with other flags".into())
            }
            () if !auto && has_wishes => Err("Configuration flags require --auto".into()),
            () if dump => Ok(Self::Dump),
            () if preseed => Ok(Self::Preseed),
            () if auto || minimal => Ok(Self::Auto),
            () => Ok(Self::Interactive),
        }
    }
}

fn wishes(invocation: &Invocation) -> Wishes {
    let text = |name| {
        invocation
            .text(name)
            .filter(|text| !text.is_empty())
            .map(ToOwned::to_owned)
    };
    let number = |name| invocation.number(name).filter(|number| *number != -1);
    Wishes {
        address: text("network-address"),
        port: number("network-port"),
        backend: text("storage-backend"),
        device: text("storage-create-device"),
        loop_size: number("storage-create-loop"),
        pool: text("storage-pool"),
        password: text("trust-password"),
    }
}

fn read_preseed() -> Result<InitPreseed, String> {
    let mut text = String::new();
    std::io::stdin()
        .read_to_string(&mut text)
        .map_err(|error| format!("Failed to read from stdin: {error}"))?;
    parse(&text)
}

/// Reads a preseed; unknown keys are refused, as a misspelled one would be left undone without a word.
fn parse(text: &str) -> Result<InitPreseed, String> {
    let failed = |error: yaml::Error| format!("Failed to parse the preseed: {error}");
    if text.trim().is_empty() {
        return Ok(InitPreseed::default());
    }
    let fields: serde_json::Map<String, serde_json::Value> = yaml::from_str(text).map_err(failed)?;
    let known = [
        "config",
        "networks",
        "storage_pools",
        "profiles",
        "projects",
        "cluster",
    ];
    if let Some(key) = fields.keys().find(|key| !known.contains(&key.as_str())) {
        let line = text
            .lines()
            .position(|line| line.starts_with(key.as_str()))
            .map_or(1, |line| line + 1);
        return Err(format!(
            "Failed to parse the preseed: yaml: unmarshal errors:\n  line {line}: field {key} not found in type api.InitPreseed"
        ));
    }
    yaml::from_str(text).map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_preseed_is_read_and_a_misspelled_one_refused() {
        let text = "config:\n  core.https_address: 127.0.0.1:8443\n  images.auto_update_interval: 15\n\
                    storage_pools:\n- name: data\n  driver: dir\nprofiles:\n- name: default\n  devices:\n\
                    \x20   root:\n      path: /\n      pool: data\n      type: disk\n";
        let preseed = parse(text).unwrap();
        assert_eq!(preseed.storage_pools[0].driver, "dir");
        assert_eq!(preseed.profiles[0].devices["root"]["pool"], "data");
        assert_eq!(preseed.config["images.auto_update_interval"], 15);
        assert!(parse("foo: 1").unwrap_err().contains("foo"));
        assert!(parse(": [").is_err());
        assert_eq!(parse("").unwrap(), InitPreseed::default());
    }
}
