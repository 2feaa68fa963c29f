//! URLs of objects, as answers and `used_by` lists name them.

use std::fmt::Write as _;

use lxd_db::cluster::used_by::User;

use crate::ctx::DEFAULT_PROJECT;

/// The URL of an object: `/1.0/` and the escaped parts, with `?project=` unless it is the default one.
///
/// ```
/// assert_eq!(lxd_core::urls::object("default", &["profiles", "a b"]), "/1.0/profiles/a%20b");
/// assert_eq!(lxd_core::urls::object("p", &["profiles", "x"]), "/1.0/profiles/x?project=p");
/// ```
pub fn object(project: &str, parts: &[&str]) -> String {
    let mut url = plain(parts);
    if !project.is_empty() && project != DEFAULT_PROJECT {
        url.push_str("?project=");
        url.push_str(&escape_query(project));
    }
    url
}

/// The URL of an object that no project owns, or whose project is not shown.
pub fn plain(parts: &[&str]) -> String {
    let mut url = String::from("/1.0");
    for part in parts {
        url.push('/');
        escape(part, b"$&+:=@", "%20", &mut url);
    }
    url
}

/// The project of what uses something.
pub fn project_of(user: &User) -> &str {
    match user {
        User::Instance { project, .. }
        | User::InstanceSnapshot { project, .. }
        | User::Profile { project, .. }
        | User::Image { project, .. }
        | User::Network { project, .. }
        | User::StorageVolume { project, .. }
        | User::StorageVolumeSnapshot { project, .. } => project,
    }
}

/// The URL of what uses something, for `used_by` lists.
pub fn user(user: &User) -> String {
    match user {
        User::Instance { project, name } => object(project, &["instances", name]),
        User::InstanceSnapshot {
            project,
            instance,
            name,
        } => object(project, &["instances", instance, "snapshots", name]),
        User::Profile { project, name } => object(project, &["profiles", name]),
        User::Image { project, fingerprint } => object(project, &["images", fingerprint]),
        User::Network { project, name } => object(project, &["networks", name]),
        User::StorageVolume { project, pool, name } => {
            object(project, &["storage-pools", pool, "volumes", "custom", name])
        }
        User::StorageVolumeSnapshot {
            project,
            pool,
            volume,
            name,
        } => object(
            project,
            &[
                "storage-pools",
                pool,
                "volumes",
                "custom",
                volume,
                "snapshots",
                name,
            ],
        ),
    }
}

/// Text as a value of a query string.
pub fn escape_query(text: &str) -> String {
    let mut escaped = String::new();
    escape(text, b"", "+", &mut escaped);
    escaped
}

fn escape(text: &str, also_plain: &[u8], space: &str, out: &mut String) {
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => out.push(byte as char),
            b' ' => out.push_str(space),
            _ if also_plain.contains(&byte) => out.push(byte as char),
            _ => {
                let _ = write!(out, "%{byte:02X}");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_in_a_name_can_leave_its_place() {
        assert_eq!(
            plain(&["storage-pools", "a/../b?c#d%"]),
            "/1.0/storage-pools/a%2F..%2Fb%3Fc%23d%25"
        );
        assert_eq!(
            object("a&b c", &["profiles", "ü"]),
            "/1.0/profiles/%C3%BC?project=a%26b+c"
        );
    }
}
