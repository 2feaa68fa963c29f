//! The names that things may have, with the reference's words for those that they may not.

use crate::{ErrorKind, Invalid};

/// Longest host name, and so longest instance name, in bytes.
const HOSTNAME_MAX: usize = 63;
/// Longest name of a network interface: the kernel's 16 bytes less the final zero.
const INTERFACE_MAX: usize = 15;
/// Longest name of a device of an instance or profile.
const DEVICE_MAX: usize = 64;

/// An instance's name: a host name of one label.
pub fn instance(name: &str) -> Result<(), Invalid> {
    if name.contains('/') {
        return Err(Invalid::new("The character \"/\" is reserved for snapshots"));
    }
    hostname(name).map_err(|reason| reason.within("Invalid instance name: "))
}

/// A host name of one label.
pub fn hostname(name: &str) -> Result<(), Invalid> {
    let problem = if name.is_empty() || name.len() > HOSTNAME_MAX {
        "Name must be 1-63 characters long"
    } else if name.starts_with('-') {
        "Name must not start with \"-\" character"
    } else if name.ends_with('-') {
        "Name must not end with \"-\" character"
    } else if name.starts_with(|c: char| c.is_ascii_digit()) {
        "Name must not start with a number"
    } else if !name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-') {
        "Name can only contain alphanumeric and hyphen characters"
    } else {
        return Ok(());
    };
    Err(Invalid::new(problem))
}

/// A snapshot's own name, without that of its instance or volume.
pub fn snapshot(name: &str) -> Result<(), Invalid> {
    if name.contains('/') {
        return Err(Invalid::new("Invalid snapshot name: Cannot contain \"/\""));
    }
    if name.contains(char::is_whitespace) {
        return Err(Invalid::new(
            "Invalid instance snapshot name: Cannot contain space or / characters",
        ));
    }
    required(name)?;
    not_dots(name, "snapshot")?;
    path_element(name, "Snapshot names")
}

/// A device's name, in the form that is used inside "Device validation failed for ...".
pub fn device(name: &str) -> Result<(), Invalid> {
    if name.len() > DEVICE_MAX {
        return Err(Invalid::new(format!(
            "The maximum device name length is {DEVICE_MAX} characters"
        )));
    }
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b"/-:_.".contains(&b);
    let problem = if name.is_empty() || name.len() > HOSTNAME_MAX {
        "Name must be 1-63 characters long"
    } else if name.starts_with('.') {
        "Name must not start with \".\" character"
    } else if !name.bytes().all(allowed) {
        "Name can only contain alphanumeric, forward slash, hyphen, colon, underscore and full stop characters"
    } else {
        return Ok(());
    };
    Err(Invalid::new(problem))
}

/// A profile's name.
pub fn profile(name: &str) -> Result<(), Invalid> {
    required(name)?;
    if name.contains('/') {
        return Err(Invalid::new("Profile names may not contain slashes"));
    }
    not_dots(name, "profile")?;
    path_element(name, "Profile names")
}

/// A project's name. It becomes part of paths, as `PROJECT_INSTANCE`, so no underscore.
pub fn project(name: &str) -> Result<(), Invalid> {
    required(name)?;
    let problem = match name {
        _ if name.contains('/') => "Project names may not contain slashes",
        _ if name.contains(' ') => "Project names may not contain spaces",
        _ if name.contains('_') => "Project names may not contain underscores",
        _ if name.contains(['\'', '"']) => "Project names may not contain quotes",
        "*" => "Reserved project name",
        _ => {
            not_dots(name, "project")?;
            return path_element(name, "Project names");
        }
    };
    Err(Invalid::new(problem))
}

/// A managed network's name, for networks that become an interface of that name.
pub fn network(name: &str) -> Result<(), Invalid> {
    required(name)?;
    interface(name)
}

/// The name of a network that is no interface of the host: a part of a URL.
pub fn preset(name: &str) -> Result<(), Invalid> {
    required(name)?;
    match name.chars().find(|letter| "/?&+".contains(*letter)) {
        Some(bad) => Err(Invalid::new(format!("Cannot contain \"{bad}\""))),
        None => Ok(()),
    }
}

/// A network interface's name.
pub fn interface(name: &str) -> Result<(), Invalid> {
    let problem = if name.len() < 2 {
        "Network interface is too short (minimum 2 characters)"
    } else if name.len() > INTERFACE_MAX {
        "Network interface is too long (maximum 15 characters)"
    } else if !name
        .bytes()
        .all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b))
        || is_dots(name)
    {
        "Network interface contains invalid characters"
    } else {
        return Ok(());
    };
    Err(Invalid::new(problem))
}

/// A storage pool's name.
pub fn storage_pool(name: &str) -> Result<(), Invalid> {
    required(name)?;
    if name.contains('/') {
        return Err(Invalid::new("Storage pool names may not contain slashes"));
    }
    if name.contains(char::is_whitespace) {
        return Err(Invalid::of_kind(
            ErrorKind::Internal,
            "Storage name cannot contain white space",
        ));
    }
    not_dots(name, "storage pool")?;
    path_element(name, "Storage pool names")
}

/// A custom volume's name.
pub fn storage_volume(name: &str) -> Result<(), Invalid> {
    required(name)?;
    if name.contains('/') {
        return Err(Invalid::new("Storage volume names may not contain slashes"));
    }
    not_dots(name, "storage volume")?;
    path_element(name, "Storage volume names")
}

/// An image alias: any printable text; it may hold slashes (`debian/12`).
pub fn image_alias(name: &str) -> Result<(), Invalid> {
    if name.is_empty() {
        return Err(Invalid::new("name and target are required"));
    }
    printable(name, "Alias names")
}

/// A certificate's name: free text.
pub fn certificate(name: &str) -> Result<(), Invalid> {
    required(name)?;
    printable(name, "Certificate names")
}

/// Splits `instance/snapshot` or `volume/snapshot`.
pub fn split_snapshot(name: &str) -> (&str, Option<&str>) {
    match name.split_once('/') {
        Some((parent, snapshot)) => (parent, Some(snapshot)),
        None => (name, None),
    }
}

fn required(name: &str) -> Result<(), Invalid> {
    if name.is_empty() {
        Err(Invalid::new("No name provided"))
    } else {
        Ok(())
    }
}

fn is_dots(name: &str) -> bool {
    matches!(name, "." | "..")
}

fn not_dots(name: &str, noun: &str) -> Result<(), Invalid> {
    if is_dots(name) {
        Err(Invalid::new(format!("Invalid {noun} name {name:?}")))
    } else {
        Ok(())
    }
}

/// What the reference forgets to refuse: names that break paths, terminals or the database's text columns.
fn path_element(name: &str, what: &str) -> Result<(), Invalid> {
    /// Longest file name that Linux file systems take, less room for a project's prefix.
    const PATH_ELEMENT_MAX: usize = 255;
    if name.len() > PATH_ELEMENT_MAX {
        return Err(Invalid::new(format!(
            "{what} may not be longer than {PATH_ELEMENT_MAX} bytes"
        )));
    }
    printable(name, what)
}

fn printable(name: &str, what: &str) -> Result<(), Invalid> {
    match name.contains(char::is_control) {
        true => Err(Invalid::new(format!("{what} may not contain control characters"))),
        false => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Rule = fn(&str) -> Result<(), Invalid>;

    /// What the reference answered; "" is acceptance.
    #[test]
    fn names_are_judged_as_by_the_reference() {
        let long = "x".repeat(64);
        let longer = "x".repeat(65);
        let cases: &[(Rule, &str, &str)] = &[
            (instance, "a", ""),
            (instance, "A1-b", ""),
            (
                instance,
                "-a",
                "Invalid instance name: Name must not start with \"-\" character",
            ),
            (
                instance,
                "a-",
                "Invalid instance name: Name must not end with \"-\" character",
            ),
            (
                instance,
                "1a",
                "Invalid instance name: Name must not start with a number",
            ),
            (
                instance,
                "a_b",
                "Invalid instance name: Name can only contain alphanumeric and hyphen characters",
            ),
            (
                instance,
                "..",
                "Invalid instance name: Name can only contain alphanumeric and hyphen characters",
            ),
            (
                instance,
                &long,
                "Invalid instance name: Name must be 1-63 characters long",
            ),
            (instance, "a/b", "The character \"/\" is reserved for snapshots"),
            (profile, "", "No name provided"),
            (profile, "a b", ""),
            (profile, "a/b", "Profile names may not contain slashes"),
            (profile, "..", "Invalid profile name \"..\""),
            (project, "a b", "Project names may not contain spaces"),
            (project, "a_b", "Project names may not contain underscores"),
            (project, "a'b", "Project names may not contain quotes"),
            (project, "*", "Reserved project name"),
            (project, ".", "Invalid project name \".\""),
            (project, "a*b", ""),
            (
                network,
                "a",
                "Network interface is too short (minimum 2 characters)",
            ),
            (
                network,
                "abcdefghijklmnop",
                "Network interface is too long (maximum 15 characters)",
            ),
            (network, "a b", "Network interface contains invalid characters"),
            (network, "0a.1_-", ""),
            (storage_pool, "a/b", "Storage pool names may not contain slashes"),
            (storage_pool, "a b", "Storage name cannot contain white space"),
            (
                storage_volume,
                "a/b",
                "Storage volume names may not contain slashes",
            ),
            (storage_volume, "a b", ""),
            (device, "", "Name must be 1-63 characters long"),
            (device, &longer, "The maximum device name length is 64 characters"),
            (device, "..", "Name must not start with \".\" character"),
            (device, "/a:b_c-", ""),
        ];
        for (rule, name, wanted) in cases {
            let got = rule(name).map_err(|e| e.to_string()).err().unwrap_or_default();
            assert_eq!(got, *wanted, "{name:?}");
        }
    }

    #[test]
    fn names_that_would_leave_their_folder_are_refused() {
        for rule in [storage_pool, storage_volume, profile, project, snapshot] as [Rule; 5] {
            for name in [".", "..", "a/b", "../x", "a\0b", "a\nb"] {
                assert!(rule(name).is_err(), "{name:?}");
            }
        }
    }
}
