//! What sysfs says about hardware: ids, numbers, names of nodes.

use std::path::{Path, PathBuf};

use super::Node;
use crate::devices::{Device, Watches};

/// Hardware that may come and go.
pub(super) fn watches(_device: &Device) -> Watches {
    Watches {
        paths: Vec::new(),
        hardware: true,
    }
}

/// The text of a file of sysfs, without the line's end; empty if there is none.
pub(super) fn read(folder: &Path, name: &str) -> String {
    let text = std::fs::read_to_string(folder.join(name)).unwrap_or_default();
    text.trim_end().to_owned()
}

/// The numbers in a `dev` file, such as `189:1`.
pub(super) fn numbers(text: &str) -> Option<(u32, u32)> {
    let (major, minor) = text.split_once(':')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

/// Whether hardware is what a device's `vendorid` and `productid` name, where they name any.
pub(super) fn matches(device: &Device, vendor: &str, product: &str) -> bool {
    let is = |key: &str, found: &str| {
        device
            .value(key)
            .is_none_or(|wanted| wanted.eq_ignore_ascii_case(found))
    };
    is("vendorid", vendor) && is("productid", product)
}

/// The folders in a folder, links followed, in the order of their names.
pub(super) fn folders(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut found: Vec<PathBuf> = entries
        .map(|entry| entry.path())
        .filter(|path| path.is_dir())
        .collect();
    found.sort();
    found
}

/// What the kernel tells of nodes that come (`add`) or go (`remove`), for processes inside.
pub(super) fn events(nodes: &[Node], action: &str) -> Vec<Vec<String>> {
    nodes.iter().map(|node| event(node, action)).collect()
}

fn event(node: &Node, action: &str) -> Vec<String> {
    let kind = if node.is_block { "block" } else { "char" };
    let link = format!("/sys/dev/{kind}/{}:{}", node.major, node.minor);
    let folder = Path::new(&link).canonicalize().unwrap_or_default();
    let path = folder
        .strip_prefix("/sys")
        .map_or(String::new(), |path| format!("/{}", path.display()));
    let mut lines = vec![
        format!("{action}@{path}"),
        format!("ACTION={action}"),
        format!("DEVPATH={path}"),
        format!("MAJOR={}", node.major),
        format!("MINOR={}", node.minor),
        format!("DEVNAME={}", node.path),
    ];
    let subsystem = folder.join("subsystem").canonicalize().unwrap_or_default();
    if let Some(name) = subsystem.file_name() {
        lines.push(format!("SUBSYSTEM={}", name.to_string_lossy()));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::super::tests::device;
    use super::*;

    #[test]
    fn ids_match_where_they_are_given() {
        let any = device(Path::new("/x"), &[]);
        let one = device(Path::new("/x"), &[("vendorid", "1D6B"), ("productid", "0002")]);
        assert!(matches(&any, "1d6b", "0003"));
        assert!(matches(&one, "1d6b", "0002") && !matches(&one, "1d6b", "0003"));
        assert_eq!(numbers("189:1"), Some((189, 1)));
        assert_eq!(numbers("x"), None);
    }

    #[test]
    fn events_name_the_node() {
        let node = Node {
            path: "/dev/null".into(),
            is_block: false,
            major: 1,
            minor: 3,
        };
        let lines = events(&[node], "add").remove(0);
        assert_eq!(lines[0], "add@/devices/virtual/mem/null");
        assert!(lines.contains(&"SUBSYSTEM=mem".to_owned()), "{lines:?}");
    }
}
