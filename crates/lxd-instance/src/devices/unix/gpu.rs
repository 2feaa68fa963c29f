//! `gpu`: the nodes of graphics cards, with those of NVIDIA's driver where it drives the card.

use std::path::{Path, PathBuf};

use super::{Node, hardware};
use crate::devices::Device;
use crate::error::Error;

/// The nodes of the cards that a device names; of all cards if it names none.
pub(super) fn find(device: &Device) -> Result<Vec<Node>, Error> {
    if let Some(address) = device.value("pci").map(full_address)
        && !Path::new("/sys/bus/pci/devices").join(&address).exists()
    {
        let text = format!("Invalid PCI address (no device found): {address}");
        return Err(Error::DeviceValue(text));
    }
    match device.value("gputype").unwrap_or("physical") {
        "physical" => Ok(find_in(Path::new("/"), device)),
        "mig" if !device.instance.is_set("nvidia.runtime") => Err(Error::DeviceValue(
            "nvidia.runtime must be set to true for MIG GPUs to work".into(),
        )),
        // What runs in parts of a card needs the vendor's own tools on the host.
        _ => Ok(Vec::new()),
    }
}

fn find_in(root: &Path, device: &Device) -> Vec<Node> {
    let mut nodes = Vec::new();
    let mut has_nvidia = false;
    for folder in hardware::folders(&root.join("sys/class/drm")) {
        let Some(name) = folder.file_name().and_then(|name| name.to_str()) else {
            continue;
        };
        // Connectors, such as `card0-HDMI-A-1`, have folders, too.
        let is_node = ["card", "renderD", "controlD"].iter().any(|prefix| {
            name.strip_prefix(prefix)
                .is_some_and(|number| number.parse::<u32>().is_ok())
        });
        if !is_node || !is_wanted(&folder, device) {
            continue;
        }
        if let Some((major, minor)) = hardware::numbers(&hardware::read(&folder, "dev")) {
            nodes.push(Node {
                path: format!("/dev/dri/{name}"),
                is_block: false,
                major,
                minor,
            });
            has_nvidia |= driver(&folder).is_some_and(|driver| driver == "nvidia");
        }
    }
    if has_nvidia {
        nodes.extend(nvidia(root));
    }
    nodes.sort();
    nodes
}

fn is_wanted(folder: &Path, device: &Device) -> bool {
    let hardware_folder = folder.join("device");
    let id = |name: &str| {
        hardware::read(&hardware_folder, name)
            .trim_start_matches("0x")
            .to_owned()
    };
    let address = hardware_folder.canonicalize().unwrap_or_default();
    let address = address
        .file_name()
        .map(|name| name.to_string_lossy().into_owned());
    let is_at = device
        .value("pci")
        .is_none_or(|wanted| address.as_deref() == Some(&*full_address(wanted)));
    let is_numbered = device.value("id").is_none_or(|wanted| {
        // All nodes of one card share its hardware; the card's own number is the id.
        let name = format!("card{wanted}");
        hardware_folder.join("drm").join(name).is_dir()
    });
    is_at && is_numbered && hardware::matches(device, &id("vendor"), &id("device"))
}

/// An address on the PCI bus with its domain, in small letters.
fn full_address(address: &str) -> String {
    let address = address.to_ascii_lowercase();
    match address.matches(':').count() {
        1 => format!("0000:{address}"),
        _ => address,
    }
}

fn driver(folder: &Path) -> Option<String> {
    let driver = folder.join("device/driver").canonicalize().ok()?;
    Some(driver.file_name()?.to_string_lossy().into_owned())
}

/// The nodes of NVIDIA's driver, which are no hardware to sysfs.
fn nvidia(root: &Path) -> Vec<Node> {
    let entries = std::fs::read_dir(root.join("dev"))
        .into_iter()
        .flatten()
        .flatten();
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
    files.sort();
    let node = |file: PathBuf| {
        let name = file.file_name()?.to_str()?.to_owned();
        if !name.starts_with("nvidia") {
            return None;
        }
        Node::at(&file, &format!("/dev/{name}")).ok()?
    };
    files.into_iter().filter_map(node).collect()
}

#[cfg(test)]
mod tests {
    use super::super::tests::device;
    use super::*;

    fn card(root: &Path, number: u32, address: &str, vendor: &str) {
        let hardware = root.join("sys/devices/pci0").join(address);
        std::fs::create_dir_all(root.join("sys/class/drm")).unwrap();
        for (name, dev) in [
            (format!("card{number}"), number),
            (format!("renderD{}", 128 + number), 128 + number),
        ] {
            let folder = hardware.join("drm").join(&name);
            std::fs::create_dir_all(&folder).unwrap();
            std::fs::write(folder.join("dev"), format!("226:{dev}\n")).unwrap();
            std::os::unix::fs::symlink(&hardware, folder.join("device")).unwrap();
            std::os::unix::fs::symlink(&folder, root.join("sys/class/drm").join(&name)).unwrap();
        }
        std::fs::write(hardware.join("vendor"), format!("0x{vendor}\n")).unwrap();
        std::fs::write(hardware.join("device"), "0x0001\n").unwrap();
    }

    #[test]
    fn cards_are_found_by_number_address_and_vendor() {
        let root = tempfile::tempdir().unwrap();
        card(root.path(), 0, "0000:00:02.0", "8086");
        card(root.path(), 1, "0000:01:00.0", "1002");
        let paths = |config: &[(&str, &str)]| -> Vec<String> {
            let device = device(Path::new("/x"), config);
            find_in(root.path(), &device)
                .into_iter()
                .map(|node| node.path)
                .collect()
        };
        assert_eq!(paths(&[]).len(), 4);
        let second = ["/dev/dri/card1", "/dev/dri/renderD129"];
        assert_eq!(paths(&[("id", "1")]), second);
        assert_eq!(paths(&[("pci", "01:00.0")]), second);
        assert_eq!(paths(&[("vendorid", "1002")]), second);
        assert!(paths(&[("id", "7")]).is_empty());
    }

    #[test]
    fn an_address_without_hardware_is_named() {
        let nowhere = device(Path::new("/x"), &[("pci", "ff:1f.7")]);
        let refused = find(&nowhere).unwrap_err().to_string();
        assert_eq!(refused, "Invalid PCI address (no device found): 0000:ff:1f.7");
    }

    #[test]
    fn parts_of_cards_need_their_runtime() {
        let mig = device(Path::new("/x"), &[("gputype", "mig")]);
        assert!(find(&mig).unwrap_err().to_string().contains("nvidia.runtime"));
    }
}
