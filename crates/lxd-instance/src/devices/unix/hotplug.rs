//! `unix-hotplug`: nodes of any hardware with a vendor's and a product's id, such as serial adapters.

use std::path::Path;

use super::{Node, hardware};
use crate::devices::Device;
use crate::error::Error;

/// The nodes of the hardware that is there now.
pub(super) fn find(device: &Device) -> Result<Vec<Node>, Error> {
    Ok(find_in(Path::new("/sys/dev"), device))
}

fn find_in(sysfs: &Path, device: &Device) -> Vec<Node> {
    let mut nodes = Vec::new();
    for (kind, is_block) in [("char", false), ("block", true)] {
        for folder in hardware::folders(&sysfs.join(kind)) {
            nodes.extend(node(&folder, is_block, device));
        }
    }
    nodes.sort();
    nodes
}

fn node(folder: &Path, is_block: bool, device: &Device) -> Option<Node> {
    let (major, minor) = hardware::numbers(folder.file_name()?.to_str()?)?;
    let text = hardware::read(folder, "uevent");
    let name = text.lines().find_map(|line| line.strip_prefix("DEVNAME="))?;
    let real = folder.canonicalize().ok()?;
    // USB devices themselves are the type `usb`.
    if name.starts_with("bus/usb/") {
        return None;
    }
    // The ids are those of the nearest hardware above the node.
    let above = real
        .ancestors()
        .find(|folder| folder.join("idVendor").is_file())?;
    let id = |name: &str| hardware::read(above, name);
    hardware::matches(device, &id("idVendor"), &id("idProduct")).then(|| Node {
        path: format!("/dev/{name}"),
        is_block,
        major,
        minor,
    })
}

#[cfg(test)]
mod tests {
    use super::super::tests::device;
    use super::*;

    #[test]
    fn ids_are_those_of_the_hardware_above() {
        let root = tempfile::tempdir().unwrap();
        let hardware = root.path().join("devices/usb1/1-1");
        let tty = hardware.join("1-1:1.0/tty/ttyACM0");
        std::fs::create_dir_all(&tty).unwrap();
        std::fs::write(hardware.join("idVendor"), "1234\n").unwrap();
        std::fs::write(hardware.join("idProduct"), "0001\n").unwrap();
        std::fs::write(hardware.join("uevent"), "DEVNAME=bus/usb/001/002\n").unwrap();
        std::fs::write(tty.join("uevent"), "MAJOR=166\nMINOR=0\nDEVNAME=ttyACM0\n").unwrap();
        let nodes = root.path().join("dev/char");
        std::fs::create_dir_all(&nodes).unwrap();
        std::os::unix::fs::symlink(&tty, nodes.join("166:0")).unwrap();
        std::os::unix::fs::symlink(&hardware, nodes.join("189:1")).unwrap();
        let find = |vendor: &str| {
            let device = device(Path::new("/x"), &[("vendorid", vendor)]);
            find_in(&root.path().join("dev"), &device)
        };
        let wanted = Node {
            path: "/dev/ttyACM0".into(),
            is_block: false,
            major: 166,
            minor: 0,
        };
        assert_eq!(find("1234"), [wanted]);
        assert!(find("4321").is_empty());
    }
}
