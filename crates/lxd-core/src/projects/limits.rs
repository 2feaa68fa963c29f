//! Limits of projects: pure functions of a project's configuration and of the instances in it.

use lxd_model::config::Config;
use lxd_model::devices::{self, Devices, property};
use lxd_model::instances::InstanceType;
use lxd_model::units::{format_bytes_iec, parse_bytes};

use crate::error::{Error, Result};

/// The limits that are sums over instances.
pub const SUMS: [&str; 4] = ["limits.cpu", "limits.disk", "limits.memory", "limits.processes"];

/// An instance as limits see it: expanded.
#[derive(Debug, Clone, PartialEq)]
pub struct Member {
    /// The name.
    pub name: String,
    /// Container or virtual machine.
    pub kind: InstanceType,
    /// Its configuration with that of its profiles.
    pub config: Config,
    /// Its devices with those of its profiles.
    pub devices: Devices,
}

/// How many instances of a type there are; of any type with `None`.
pub fn count(members: &[Member], kind: Option<InstanceType>) -> i64 {
    let counted = members
        .iter()
        .filter(|member| kind.is_none_or(|kind| member.kind == kind))
        .count();
    i64::try_from(counted).unwrap_or(i64::MAX)
}

/// What all instances together are allowed of a resource. Each must have a limit of its own.
///
/// # Errors
/// An instance has none, or one that is no number.
pub fn total(members: &[Member], project: &str, key: &str) -> Result<i64> {
    members.iter().map(|member| share(member, project, key)).sum()
}

/// The same for showing: instances without a limit count nothing.
pub fn shown_total(members: &[Member], key: &str) -> i64 {
    members
        .iter()
        .map(|member| share(member, "", key).unwrap_or(0))
        .sum()
}

fn share(member: &Member, project: &str, key: &str) -> Result<i64> {
    let name = &member.name;
    if key == "limits.disk" {
        let size = devices::root_disk(&member.devices)
            .map(|(_, root)| property(root, "size"))
            .unwrap_or_default();
        if size.is_empty() {
            return Err(Error::refused(format!(
                "Instance {name:?} in project {project:?} has no \"size\" config set on the root device either directly or \
                 via a profile"
            )));
        }
        return Ok(parse_bytes(size)?);
    }
    let value = member.config.get(key).map(String::as_str).unwrap_or_default();
    if value.is_empty() {
        return Err(Error::refused(format!(
            "Instance {name:?} in project {project:?} has no {key:?} config, either directly or via a profile"
        )));
    }
    let unparsable = || {
        Error::refused(format!(
            "Failed parsing {key:?} for instance {name:?} in project {project:?}"
        ))
    };
    if key == "limits.memory" {
        return parse_bytes(value).map_err(|error| unparsable().because(error));
    }
    value.parse().map_err(|_| unparsable())
}

/// Refuses a change of a project's limits that what is in it already exceeds. `project` is its name.
///
/// # Errors
/// The first limit that is too low, or that needs limits which an instance does not have.
pub fn check_project(project: &str, old: &Config, new: &Config, members: &[Member]) -> Result<()> {
    for (key, value) in new.iter().filter(|(key, value)| old.get(*key) != Some(*value)) {
        match key.as_str() {
            "limits.instances" => {
                let present = count(members, None);
                if number(value) < present {
                    return Err(Error::refused(format!(
                        "Can't change limits.instances in project {project:?}: \"limits.instances\" is too low: there \
                         currently are {present} total instances in project {project:?}"
                    )));
                }
            }
            "limits.containers" => check_type(project, key, value, members, InstanceType::Container)?,
            "limits.virtual-machines" => {
                check_type(project, key, value, members, InstanceType::VirtualMachine)?
            }
            key if SUMS.contains(&key) => check_sum(project, key, value, members)?,
            _ => {}
        }
    }
    Ok(())
}

fn check_type(project: &str, key: &str, value: &str, members: &[Member], kind: InstanceType) -> Result<()> {
    let present = count(members, Some(kind));
    if number(value) >= present {
        return Ok(());
    }
    Err(Error::refused(format!(
        "Can't change {key:?} in project {project:?}: {key:?} is too low: there currently are {present} instances of type \
         {} in project {project:?}",
        kind.as_str()
    )))
}

fn check_sum(project: &str, key: &str, value: &str, members: &[Member]) -> Result<()> {
    let present = total(members, project, key)?;
    if limit(key, value)? >= present {
        return Ok(());
    }
    Err(Error::refused(format!(
        "{key:?} is too low: current total is {:?}",
        show(key, present)
    )))
}

/// Refuses an instance that would be one too many in its project; `members` holds it, too.
///
/// # Errors
/// The first limit that would be exceeded.
pub fn check_count(project: &str, config: &Config, members: &[Member]) -> Result<()> {
    let is_reached = |key: &str, present: i64| config.get(key).is_some_and(|value| number(value) < present);
    if is_reached("limits.instances", count(members, None)) {
        return Err(Error::refused(format!(
            "Reached maximum number of instances in project {project:?}"
        )));
    }
    for (key, kind) in [
        ("limits.containers", InstanceType::Container),
        ("limits.virtual-machines", InstanceType::VirtualMachine),
    ] {
        if is_reached(key, count(members, Some(kind))) {
            let kind = kind.as_str();
            return Err(Error::refused(format!(
                "Reached maximum number of instances of type {kind:?} in project {project:?}"
            )));
        }
    }
    Ok(())
}

/// Refuses an instance that would ask for too much of its project; `members` holds it as it will be.
///
/// # Errors
/// The first limit that would be exceeded.
pub fn check_sums(project: &str, config: &Config, members: &[Member]) -> Result<()> {
    for key in SUMS {
        let Some(value) = config.get(key) else { continue };
        let failed = |error| Error::refused("Failed getting usage of project entities").because(error);
        let present = total(members, project, key).map_err(failed)?;
        if limit(key, value)? < present {
            return Err(Error::refused(format!(
                "Reached maximum aggregate value {value:?} for {key:?} in project {project:?}"
            )));
        }
    }
    Ok(())
}

/// A limit as a number; -1 when there is none.
pub fn shown_limit(config: &Config, key: &str) -> i64 {
    config
        .get(key)
        .and_then(|value| limit(key, value).ok())
        .unwrap_or(-1)
}

fn limit(key: &str, value: &str) -> Result<i64> {
    if matches!(key, "limits.memory" | "limits.disk") {
        Ok(parse_bytes(value)?)
    } else {
        Ok(number(value))
    }
}

/// A count, which has been validated; what is none limits nothing.
fn number(value: &str) -> i64 {
    value.parse().unwrap_or(i64::MAX)
}

fn show(key: &str, value: i64) -> String {
    if matches!(key, "limits.memory" | "limits.disk") {
        format_bytes_iec(value, 1)
    } else {
        value.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(pairs: &[(&str, &str)]) -> Config {
        pairs
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
            .collect()
    }

    fn member(name: &str, pairs: &[(&str, &str)]) -> Member {
        Member {
            name: name.into(),
            kind: InstanceType::Container,
            config: config(pairs),
            devices: Devices::new(),
        }
    }

    #[test]
    fn refusals_read_as_the_references() {
        let limited = [
            ("limits.cpu", "4"),
            ("limits.memory", "2GB"),
            ("limits.processes", "5"),
        ];
        for (members, key, value, text) in [
            (
                vec![member("x1", &[])],
                "limits.instances",
                "0",
                "Can't change limits.instances in project \"p2\": \"limits.instances\" is too low: there currently are 1 total instances in project \"p2\"",
            ),
            (
                vec![member("x1", &[])],
                "limits.containers",
                "0",
                "Can't change \"limits.containers\" in project \"p2\": \"limits.containers\" is too low: there currently are 1 instances of type container in project \"p2\"",
            ),
            (vec![member("x1", &[])], "limits.virtual-machines", "0", ""),
            (
                vec![member("x1", &[])],
                "limits.cpu",
                "2",
                "Instance \"x1\" in project \"p2\" has no \"limits.cpu\" config, either directly or via a profile",
            ),
            (
                vec![member("x1", &[])],
                "limits.disk",
                "1GB",
                "Instance \"x1\" in project \"p2\" has no \"size\" config set on the root device either directly or via a profile",
            ),
            (
                vec![member("x1", &limited)],
                "limits.cpu",
                "2",
                "\"limits.cpu\" is too low: current total is \"4\"",
            ),
            (
                vec![member("x1", &limited)],
                "limits.memory",
                "1GB",
                "\"limits.memory\" is too low: current total is \"1.9GiB\"",
            ),
            (
                vec![member("x1", &limited)],
                "limits.processes",
                "4",
                "\"limits.processes\" is too low: current total is \"5\"",
            ),
            (vec![member("x1", &limited)], "limits.cpu", "5", ""),
        ] {
            let result = check_project("p2", &Config::new(), &config(&[(key, value)]), &members);
            assert_eq!(result.map_err(|e| e.text()).err().unwrap_or_default(), text);
        }
    }

    #[test]
    fn limits_that_do_not_change_are_not_checked_again() {
        let same = config(&[("limits.instances", "0")]);
        assert!(check_project("p", &same, &same, &[member("a", &[])]).is_ok());
    }

    #[test]
    fn new_members_are_counted() {
        let project = config(&[("limits.instances", "1"), ("limits.cpu", "4")]);
        let one = member("a", &[("limits.cpu", "3")]);
        assert!(check_count("p", &project, std::slice::from_ref(&one)).is_ok());
        let error = check_count("p", &project, &[one.clone(), one.clone()]).unwrap_err();
        assert_eq!(
            error.text(),
            "Reached maximum number of instances in project \"p\""
        );
        let project = config(&[("limits.cpu", "4")]);
        let error = check_sums("p", &project, &[one.clone(), one.clone()]).unwrap_err();
        assert_eq!(
            error.text(),
            "Reached maximum aggregate value \"4\" for \"limits.cpu\" in project \"p\""
        );
        let error = check_sums("p", &project, &[one.clone(), member("b", &[])]).unwrap_err();
        assert!(
            error
                .text()
                .starts_with("Failed getting usage of project entities: Instance \"b\""),
            "{}",
            error.text()
        );
        assert_eq!(shown_total(&[one, member("b", &[])], "limits.cpu"), 3);
    }
}
