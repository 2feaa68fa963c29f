//! `lxd init` without flags: the questions of 5.0, in its order, so that scripts can answer them over a pipe.

use std::io::{BufRead, Write};

use lxd_api::init::InitPreseed;
use lxd_api::profiles::ProfilesPost;
use lxd_api::server::Server;
use lxd_api::storage_pools::StoragePoolsPost;

use super::super::client::Client;
use super::auto::{self, Present};
use super::{dump, source};
use crate::commands::answers::{Answers, not_empty};
use crate::commands::output;

/// Asks what the server shall be like.
///
/// # Errors
/// No daemon, or the answers end too early.
pub(super) async fn preseed(client: &Client, server: &Server) -> Result<InitPreseed, String> {
    let present = Present::ask(client).await?;
    let drivers: Vec<String> = server
        .environment
        .storage_supported_drivers
        .iter()
        .map(|driver| driver.name.clone())
        .collect();
    let questions = move || {
        let mut answers = Answers::new(std::io::stdin().lock(), std::io::stdout().lock());
        ask(&mut answers, &drivers, &present)
    };
    tokio::task::spawn_blocking(questions)
        .await
        .map_err(|error| error.to_string())?
}

fn ask<R: BufRead, W: Write>(
    answers: &mut Answers<R, W>,
    drivers: &[String],
    present: &Present,
) -> Result<InitPreseed, String> {
    let mut preseed = InitPreseed::default();
    let mut profile = ProfilesPost {
        name: "default".into(),
        ..ProfilesPost::default()
    };
    if answers.yes("Would you like to use LXD clustering?", false)? {
        return Err("Clustering is not available in this version yet".into());
    }
    ask_pool(answers, drivers, present, &mut preseed, &mut profile)?;
    if answers.yes("Would you like to connect to a MAAS server?", false)? {
        return Err("MAAS is not available in this version".into());
    }
    ask_network(answers, present, &mut preseed, &mut profile)?;
    ask_listener(answers, &mut preseed)?;
    if !answers.yes(
        "Would you like stale cached images to be updated automatically?",
        true,
    )? {
        preseed
            .config
            .insert("images.auto_update_interval".into(), "0".into());
    }
    if !profile.devices.is_empty() {
        preseed.profiles.push(profile);
    }
    if answers.yes("Would you like a YAML \"lxd init\" preseed to be printed?", false)? {
        output::print(&format!("{}\n", dump::yaml(&preseed)?));
    }
    Ok(preseed)
}

fn ask_pool<R: BufRead, W: Write>(
    answers: &mut Answers<R, W>,
    drivers: &[String],
    present: &Present,
    preseed: &mut InitPreseed,
    profile: &mut ProfilesPost,
) -> Result<(), String> {
    if !answers.yes("Do you want to configure a new storage pool?", true)? {
        return Ok(());
    }
    let name = answers.text("Name of the new storage pool", Some(auto::POOL), |name| {
        if present.pools.iter().any(|pool| pool == name) {
            return Err(format!(
                "The requested storage pool \"{name}\" already exists. Please choose another name."
            ));
        }
        not_empty(name)
    })?;
    let names: Vec<&str> = drivers.iter().map(String::as_str).collect();
    let best = auto::best_driver(&names);
    let driver = if names.len() > 1 {
        let question = format!("Name of the storage backend to use ({})", names.join(", "));
        answers.text(&question, Some(best), |answer| {
            if names.contains(&answer) {
                Ok(answer.to_owned())
            } else {
                Err(String::new())
            }
        })?
    } else {
        best.to_owned()
    };
    let root = auto::device(&[("path", "/"), ("pool", &name), ("type", "disk")]);
    profile.devices.insert("root".into(), root);
    let config = source::ask(answers, &driver)?;
    preseed.storage_pools.push(StoragePoolsPost {
        name,
        driver,
        config,
        ..StoragePoolsPost::default()
    });
    Ok(())
}

fn ask_network<R: BufRead, W: Write>(
    answers: &mut Answers<R, W>,
    present: &Present,
    preseed: &mut InitPreseed,
    profile: &mut ProfilesPost,
) -> Result<(), String> {
    let is_taken = |name: &str| present.interfaces.iter().any(|interface| interface == name);
    if answers.yes("Would you like to create a new local network bridge?", true)? {
        let name = answers.text(
            "What should the new bridge be called?",
            Some(auto::BRIDGE),
            |name| {
                if is_taken(name) {
                    return Err(format!(
                        "The requested network bridge \"{name}\" already exists. Please choose another name."
                    ));
                }
                not_empty(name)
            },
        )?;
        let mut address = |family: &str| {
            let question =
                format!("What {family} address should be used? (CIDR subnet notation, “auto” or “none”)");
            answers.text(&question, Some("auto"), |answer| match answer {
                "auto" | "none" => Ok(answer.to_owned()),
                cidr if cidr.contains('/') => Ok(cidr.to_owned()),
                _ => Err(String::new()),
            })
        };
        let (ipv4, ipv6) = (address("IPv4")?, address("IPv6")?);
        profile.devices.insert("eth0".into(), auto::nic(&name));
        preseed.networks.push(auto::bridge(&name, &ipv4, &ipv6));
        return Ok(());
    }
    if answers.yes(
        "Would you like to configure LXD to use an existing bridge or host interface?",
        false,
    )? {
        let name = answers.text("Name of the existing bridge or host interface", None, |name| {
            if is_taken(name) {
                Ok(name.to_owned())
            } else {
                Err("The requested interface doesn't exist. Please choose another one.".to_owned())
            }
        })?;
        let nictype = if std::path::Path::new("/sys/class/net")
            .join(&name)
            .join("bridge")
            .exists()
        {
            "bridged"
        } else {
            "macvlan"
        };
        let pairs = [
            ("type", "nic"),
            ("name", "eth0"),
            ("nictype", nictype),
            ("parent", &name),
        ];
        profile.devices.insert("eth0".into(), auto::device(&pairs));
    }
    Ok(())
}

fn ask_listener<R: BufRead, W: Write>(
    answers: &mut Answers<R, W>,
    preseed: &mut InitPreseed,
) -> Result<(), String> {
    if !answers.yes(
        "Would you like the LXD server to be available over the network?",
        false,
    )? {
        return Ok(());
    }
    let address = answers.text(
        "Address to bind LXD to (not including port)",
        Some("all"),
        |answer| {
            if answer == "all" || answer.parse::<std::net::IpAddr>().is_ok() {
                Ok(answer.to_owned())
            } else {
                Err(format!("{answer:?} is not an IP address"))
            }
        },
    )?;
    let port = answers.text("Port to bind LXD to", Some("8443"), |answer| {
        answer.parse::<u16>().map(i64::from).map_err(|_| String::new())
    })?;
    preseed.config.insert(
        "core.https_address".into(),
        auto::listen_address(&address, port).into(),
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn converse(input: &str) -> (Result<InitPreseed, String>, Vec<String>) {
        let mut output = Vec::new();
        let drivers = ["dir".to_owned(), "overlay".to_owned()];
        let present = Present {
            interfaces: vec!["lo".into()],
            ..Present::default()
        };
        let result = ask(
            &mut Answers::new(input.as_bytes(), &mut output),
            &drivers,
            &present,
        );
        let asked = String::from_utf8(output).unwrap();
        (
            result,
            asked.split_terminator(": ").map(ToOwned::to_owned).collect(),
        )
    }

    #[test]
    fn the_questions_come_in_the_references_order() {
        let (preseed, asked) = converse(&"\n".repeat(20));
        let preseed = preseed.unwrap();
        assert_eq!(
            asked,
            [
                "Would you like to use LXD clustering? (yes/no) [default=no]",
                "Do you want to configure a new storage pool? (yes/no) [default=yes]",
                "Name of the new storage pool [default=default]",
                "Name of the storage backend to use (dir, overlay) [default=overlay]",
                "Would you like to connect to a MAAS server? (yes/no) [default=no]",
                "Would you like to create a new local network bridge? (yes/no) [default=yes]",
                "What should the new bridge be called? [default=lxdbr0]",
                "What IPv4 address should be used? (CIDR subnet notation, “auto” or “none”) [default=auto]",
                "What IPv6 address should be used? (CIDR subnet notation, “auto” or “none”) [default=auto]",
                "Would you like the LXD server to be available over the network? (yes/no) [default=no]",
                "Would you like stale cached images to be updated automatically? (yes/no) [default=yes]",
                "Would you like a YAML \"lxd init\" preseed to be printed? (yes/no) [default=no]",
            ]
        );
        assert_eq!(preseed.profiles[0].devices["eth0"]["network"], "lxdbr0");
    }

    #[test]
    fn answers_are_followed() {
        let (preseed, _) = converse("no\nno\nno\nno\nyes\nlo\nyes\n127.0.0.1\n9000\nno\nno\n");
        let preseed = preseed.unwrap();
        assert!(preseed.storage_pools.is_empty() && preseed.networks.is_empty());
        assert_eq!(preseed.profiles[0].devices["eth0"]["parent"], "lo");
        assert_eq!(preseed.config["core.https_address"], "127.0.0.1:9000");
        assert_eq!(preseed.config["images.auto_update_interval"], "0");
        assert_eq!(converse("no\nyes\n").0.unwrap_err(), "EOF");
    }
}
