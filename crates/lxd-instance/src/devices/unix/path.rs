//! `unix-char` and `unix-block`: a node by its path on the host, or by its numbers.

use std::path::Path;

use super::Node;
use crate::devices::{Device, Watches};
use crate::error::Error;

/// The node, if the host has it.
pub(super) fn find(device: &Device) -> Result<Vec<Node>, Error> {
    let kind = device.value("type").unwrap_or_default();
    let is_block = kind == "unix-block";
    let source = source(device);
    let inside = device.value("path").unwrap_or(source);
    let numbers = (number(device, "major")?, number(device, "minor")?);
    if let (Some(major), Some(minor)) = numbers {
        return Ok(vec![Node {
            path: inside.to_owned(),
            is_block,
            major,
            minor,
        }]);
    }
    if !Path::new(source).exists() {
        return Ok(Vec::new());
    }
    if numbers != (None, None) {
        return Err(Error::DeviceValue(format!(
            "Both major and minor must be supplied for device: {inside}"
        )));
    }
    match Node::at(Path::new(source), inside)? {
        Some(node) if node.is_block == is_block => Ok(vec![node]),
        _ => Err(Error::DeviceValue(format!(
            "Path specified is not a {kind} device"
        ))),
    }
}

/// The path on the host, where it matters whether it is there.
pub(super) fn watches(device: &Device) -> Watches {
    let has_numbers = device.value("major").is_some() && device.value("minor").is_some();
    if !device.is_unset("required") || has_numbers {
        return Watches::default();
    }
    Watches {
        paths: vec![source(device).into()],
        hardware: false,
    }
}

fn source(device: &Device) -> &str {
    device
        .value("source")
        .or_else(|| device.value("path"))
        .unwrap_or_default()
}

fn number(device: &Device, key: &str) -> Result<Option<u32>, Error> {
    let Some(text) = device.value(key) else {
        return Ok(None);
    };
    let bad = |_| Error::DeviceValue(format!("Invalid value for {key}: {text:?}"));
    text.parse().map(Some).map_err(bad)
}

#[cfg(test)]
mod tests {
    use super::super::tests::device;
    use super::*;

    fn found(config: &[(&str, &str)]) -> Result<Vec<Node>, String> {
        find(&device(Path::new("/x"), config)).map_err(|e| e.to_string())
    }

    #[test]
    fn by_path_and_by_numbers() {
        let zero = found(&[("type", "unix-char"), ("source", "/dev/zero"), ("path", "/dev/z")]).unwrap();
        assert_eq!(
            (zero[0].path.as_str(), zero[0].major, zero[0].minor),
            ("/dev/z", 1, 5)
        );
        let numbers = [
            ("type", "unix-block"),
            ("path", "/dev/n"),
            ("major", "8"),
            ("minor", "1"),
        ];
        assert!(found(&numbers).unwrap()[0].is_block);
        assert_eq!(
            found(&[
                ("type", "unix-char"),
                ("path", "/dev/nonexistent"),
                ("major", "1")
            ]),
            Ok(vec![])
        );
        assert_eq!(
            found(&[("type", "unix-char"), ("path", "/dev/zero"), ("minor", "5")]),
            Err("Both major and minor must be supplied for device: /dev/zero".into())
        );
        assert_eq!(
            found(&[("type", "unix-block"), ("path", "/dev/zero")]),
            Err("Path specified is not a unix-block device".into())
        );
    }
}
