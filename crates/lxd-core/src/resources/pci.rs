//! Devices on the PCI bus, with their vital product data.

use std::collections::BTreeMap;
use std::path::Path;

use lxd_api::resources::{ResourcesPCI, ResourcesPCIDevice, ResourcesPCIVPD};

use super::names::Names;
use super::sysfs::{Host, entries, hex_id, link, node};

pub(super) fn read(host: &Host, names: &Names) -> ResourcesPCI {
    let devices = entries(&host.path("sys/bus/pci/devices"));
    let devices: Vec<ResourcesPCIDevice> = devices
        .into_iter()
        .map(|(pci_address, path)| {
            let driver = host.driver(&path);
            let (vendor_id, product_id) = (hex_id(&path.join("vendor")), hex_id(&path.join("device")));
            let (vendor, product) = names.of(&vendor_id, &product_id);
            ResourcesPCIDevice {
                driver: driver.name,
                driver_version: driver.version,
                iommu_group: link(&path.join("iommu_group")).parse().unwrap_or(0),
                numa_node: node(&path),
                pci_address,
                product,
                product_id,
                vendor,
                vendor_id,
                vpd: vpd(&path),
            }
        })
        .collect();
    ResourcesPCI {
        total: devices.len() as u64,
        devices,
    }
}

fn vpd(device: &Path) -> ResourcesPCIVPD {
    parse_vpd(&std::fs::read(device.join("vpd")).unwrap_or_default())
}

/// The product's name and the read-only fields, in the format of the PCI specification, appendix I. What is cut off is left out.
fn parse_vpd(mut data: &[u8]) -> ResourcesPCIVPD {
    const NAME: u8 = 0x82;
    const READ_ONLY: u8 = 0x90;
    const READ_WRITE: u8 = 0x91;
    let mut vpd = ResourcesPCIVPD::default();
    while let [tag, low, high, rest @ ..] = data {
        let length = usize::from(u16::from_le_bytes([*low, *high]));
        let Some((content, rest)) = rest.split_at_checked(length) else {
            break;
        };
        match *tag {
            NAME => vpd.product_name = printable(content),
            READ_ONLY | READ_WRITE => fields(content, &mut vpd.entries),
            _ => break,
        }
        data = rest;
    }
    vpd
}

fn fields(mut data: &[u8], entries: &mut BTreeMap<String, String>) {
    while let [first, second, length, rest @ ..] = data {
        let Some((value, rest)) = rest.split_at_checked(usize::from(*length)) else {
            return;
        };
        let key = printable(&[*first, *second]);
        // The check sum and the free space are no information.
        if !matches!(key.as_str(), "RV" | "RW") {
            entries.insert(key, printable(value));
        }
        data = rest;
    }
}

fn printable(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    text.trim_matches(['\0', ' ']).to_owned()
}

#[cfg(test)]
mod tests {
    use super::parse_vpd;

    #[test]
    fn vital_product_data() {
        let mut data = vec![0x82, 4, 0];
        data.extend(b"Card");
        data.extend([0x90, 13, 0]);
        data.extend(b"PN\x03abc");
        data.extend(b"RV\x01\0");
        data.extend(b"SN\0");
        data.push(0x78);
        let vpd = parse_vpd(&data);
        assert_eq!(vpd.product_name, "Card");
        let entries: Vec<(&str, &str)> = vpd
            .entries
            .iter()
            .map(|(k, v)| (k.as_str(), v.as_str()))
            .collect();
        assert_eq!(entries, [("PN", "abc"), ("SN", "")]);
        for end in 0..data.len() {
            parse_vpd(&data[..end]);
        }
    }
}
