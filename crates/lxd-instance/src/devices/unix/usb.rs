//! `usb`: the nodes of USB devices by vendor and product.

use std::path::Path;

use super::{Node, hardware};
use crate::devices::Device;
use crate::error::Error;

/// The nodes of the USB devices that are plugged in now.
pub(super) fn find(device: &Device) -> Result<Vec<Node>, Error> {
    Ok(find_in(Path::new("/sys/bus/usb/devices"), device))
}

fn find_in(sysfs: &Path, device: &Device) -> Vec<Node> {
    let node = |folder: std::path::PathBuf| {
        let text = |name: &str| hardware::read(&folder, name);
        // Interfaces of a device have folders, too, but no ids.
        let vendor = Some(text("idVendor")).filter(|id| !id.is_empty())?;
        if !hardware::matches(device, &vendor, &text("idProduct")) {
            return None;
        }
        let (major, minor) = hardware::numbers(&text("dev"))?;
        let (bus, number): (u32, u32) = (text("busnum").parse().ok()?, text("devnum").parse().ok()?);
        Some(Node {
            path: format!("/dev/bus/usb/{bus:03}/{number:03}"),
            is_block: false,
            major,
            minor,
        })
    };
    let mut nodes: Vec<Node> = hardware::folders(sysfs).into_iter().filter_map(node).collect();
    nodes.sort();
    nodes
}

#[cfg(test)]
mod tests {
    use super::super::tests::device;
    use super::*;

    #[test]
    fn devices_are_found_by_their_ids() {
        let sysfs = tempfile::tempdir().unwrap();
        for (name, product, number) in [("1-1", "0001", "2"), ("1-2", "0002", "3")] {
            let folder = sysfs.path().join(name);
            std::fs::create_dir(&folder).unwrap();
            let files = [
                ("idVendor", "1234"),
                ("idProduct", product),
                ("busnum", "1"),
                ("devnum", number),
                ("dev", &format!("189:{number}")),
            ];
            for (file, text) in files {
                std::fs::write(folder.join(file), format!("{text}\n")).unwrap();
            }
        }
        std::fs::create_dir(sysfs.path().join("1-1:1.0")).unwrap();
        let paths = |config: &[(&str, &str)]| -> Vec<String> {
            let device = device(Path::new("/x"), config);
            find_in(sysfs.path(), &device)
                .into_iter()
                .map(|node| node.path)
                .collect()
        };
        assert_eq!(paths(&[]), ["/dev/bus/usb/001/002", "/dev/bus/usb/001/003"]);
        assert_eq!(
            paths(&[("vendorid", "1234"), ("productid", "0002")]),
            ["/dev/bus/usb/001/003"]
        );
        assert!(paths(&[("vendorid", "4321")]).is_empty());
    }
}
