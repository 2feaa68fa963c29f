//! Names of users and ids of groups, from the files that name the host's own.

use std::path::Path;

const PASSWD: &str = "/etc/passwd";
const GROUP: &str = "/etc/group";

/// The name of a user; its number where it has none.
pub(crate) async fn name_of(uid: u32) -> String {
    if uid == 0 {
        return "root".into();
    }
    let users = tokio::fs::read_to_string(PASSWD).await.unwrap_or_default();
    find(&users, 2, &uid.to_string(), 0).map_or_else(|| uid.to_string(), ToOwned::to_owned)
}

/// The id of a group; `None` when there is no such group.
pub(crate) fn group_id(name: &str) -> Option<u32> {
    let groups = std::fs::read_to_string(Path::new(GROUP)).unwrap_or_default();
    find(&groups, 0, name, 2)?.parse().ok()
}

/// The field `wanted` of the line whose field `key` has a value.
fn find<'a>(lines: &'a str, key: usize, value: &str, wanted: usize) -> Option<&'a str> {
    lines.lines().map(|line| line.split(':')).find_map(|fields| {
        let mut copy = fields.clone();
        if copy.nth(key) == Some(value) {
            fields.clone().nth(wanted)
        } else {
            None
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_found_by_one_field_and_give_another() {
        let users = "root:x:0:0::/root:/bin/sh\nlxd:x:997:100::/:/bin/false\n";
        assert_eq!(find(users, 2, "997", 0), Some("lxd"));
        assert_eq!(find(users, 0, "root", 2), Some("0"));
        assert_eq!(find(users, 2, "5", 0), None);
    }

    #[test]
    fn the_host_has_root() {
        assert_eq!(group_id("root"), Some(0));
        assert_eq!(group_id("no such group"), None);
    }
}
