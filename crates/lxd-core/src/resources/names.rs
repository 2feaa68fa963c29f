//! Names of vendors and products, from the list that Debian's `pci.ids` installs.

use std::collections::HashMap;

use super::sysfs::Host;

/// The places of the list, by what distributions do.
const PLACES: [&str; 3] = [
    "usr/share/misc/pci.ids",
    "usr/share/hwdata/pci.ids",
    "usr/share/pci.ids",
];

/// What vendors and their products are called; empty where there is no list.
#[derive(Default)]
pub(super) struct Names {
    vendors: HashMap<String, String>,
    products: HashMap<(String, String), String>,
}

impl Names {
    pub(super) fn of_pci(host: &Host) -> Self {
        let read = PLACES
            .iter()
            .find_map(|place| std::fs::read(host.path(place)).ok());
        read.map(|list| Self::parse(&String::from_utf8_lossy(&list)))
            .unwrap_or_default()
    }

    fn parse(list: &str) -> Self {
        let mut names = Self::default();
        let mut vendor = String::new();
        for line in list.lines().filter(|line| !line.starts_with('#')) {
            // What follows are classes, whose lines look the same.
            if line.starts_with("C ") {
                break;
            }
            let is_product = line.starts_with('\t');
            if line.starts_with("\t\t") {
                continue;
            }
            let Some((id, name)) = line.trim_start().split_once("  ") else {
                continue;
            };
            if is_product {
                names
                    .products
                    .insert((vendor.clone(), id.to_owned()), name.to_owned());
            } else {
                id.clone_into(&mut vendor);
                names.vendors.insert(vendor.clone(), name.to_owned());
            }
        }
        names
    }

    /// The vendor's name and the product's.
    pub(super) fn of(&self, vendor: &str, product: &str) -> (String, String) {
        let key = (vendor.to_owned(), product.to_owned());
        (
            self.vendors.get(vendor).cloned().unwrap_or_default(),
            self.products.get(&key).cloned().unwrap_or_default(),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::Names;

    #[test]
    fn the_list_is_read() {
        let list = "# comment\n8086  Intel Corporation\n\t0d57  Bridge\n\t\t8086 0001  Sub\n1af4  Red Hat, Inc.\n\t1041  Virtio network device\nC 00  Unclassified\n\t00  Other\n";
        let names = Names::parse(list);
        assert_eq!(
            names.of("8086", "0d57"),
            ("Intel Corporation".into(), "Bridge".into())
        );
        assert_eq!(names.of("1af4", "1041").1, "Virtio network device");
        assert_eq!(names.of("1af4", "0d57"), ("Red Hat, Inc.".into(), String::new()));
        assert_eq!(names.of("00", "00").0, "");
    }
}
