//! The numbers that stand for words in the cluster database; they are part of its schema.

use crate::{Error, Result};

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident, $wanted:literal { $($(#[$variant_doc:meta])* $variant:ident = $code:literal, $word:literal;)* })*) => {
        $($(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum $name {
            $($(#[$variant_doc])* $variant,)*
        }

        impl $name {
            /// The number in the database.
            pub fn code(self) -> i64 {
                match self {
                    $(Self::$variant => $code,)*
                }
            }

            /// The word in the REST API.
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $word,)*
                }
            }

            /// What a number in the database stands for.
            pub(crate) fn from_code(code: i64) -> Result<Self> {
                match code {
                    $($code => Ok(Self::$variant),)*
                    other => Err(Error::Stored { value: other.to_string(), wanted: $wanted }),
                }
            }

            /// What a word of the REST API stands for.
            pub fn from_word(word: &str) -> Option<Self> {
                match word {
                    $($word => Some(Self::$variant),)*
                    _ => None,
                }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        })*
    };
}

codes! {
    /// What sort of machine an instance or an image is.
    InstanceType, "a type of instance" {
        /// A system container.
        Container = 0, "container";
        /// A virtual machine.
        VirtualMachine = 1, "virtual-machine";
    }

    /// Whether a pool or a network exists on the members, beyond its row.
    State, "a state of a pool or network" {
        /// Its row exists, its creation has not ended.
        Pending = 0, "Pending";
        /// It exists.
        Created = 1, "Created";
        /// Its creation failed.
        Errored = 2, "Errored";
    }

    /// Who makes and drives a network.
    NetworkType, "a type of network" {
        /// A bridge of our own.
        Bridge = 0, "bridge";
        /// A preset for macvlan cards.
        Macvlan = 1, "macvlan";
        /// A preset for SR-IOV cards.
        Sriov = 2, "sriov";
        /// A virtual network of OVN.
        Ovn = 3, "ovn";
        /// A card of the host as an uplink.
        Physical = 4, "physical";
    }

    /// What a storage volume is for.
    VolumeType, "a type of storage volume" {
        /// The root of a container.
        Container = 0, "container";
        /// An unpacked image.
        Image = 1, "image";
        /// A volume that users made.
        Custom = 2, "custom";
        /// The root disk of a virtual machine.
        VirtualMachine = 3, "virtual-machine";
    }

    /// What is in a storage volume.
    ContentType, "a type of content" {
        /// Files.
        Filesystem = 0, "filesystem";
        /// A block device.
        Block = 1, "block";
    }

    /// What a certificate is trusted for.
    CertificateType, "a type of certificate" {
        /// A client of the API.
        Client = 1, "client";
        /// Another member of the cluster.
        Server = 2, "server";
        /// Reading metrics, nothing else.
        Metrics = 3, "metrics";
    }

    /// How an image was fetched.
    ImageProtocol, "a protocol of images" {
        /// Another LXD.
        Lxd = 0, "lxd";
        /// A URL.
        Direct = 1, "direct";
        /// A simplestreams server.
        Simplestreams = 2, "simplestreams";
    }
}

/// The types of devices; their number is their place.
const DEVICES: [&str; 12] = [
    "none",
    "nic",
    "disk",
    "unix-char",
    "unix-block",
    "usb",
    "gpu",
    "infiniband",
    "proxy",
    "unix-hotplug",
    "tpm",
    "pci",
];

/// The number for a type of device.
pub(super) fn device_code(word: &str) -> Result<i64> {
    let found = DEVICES.iter().position(|known| *known == word);
    found
        .map(|index| index as i64)
        .ok_or_else(|| Error::Invalid(format!("Invalid device type {word:?}")))
}

/// The type of device that a number stands for.
pub(super) fn device_word(code: i64) -> Result<&'static str> {
    let found = usize::try_from(code).ok().and_then(|index| DEVICES.get(index));
    found.copied().ok_or_else(|| Error::Stored {
        value: code.to_string(),
        wanted: "a type of device",
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_have_the_reference_s_numbers() {
        assert_eq!(device_code("proxy").unwrap(), 8);
        assert_eq!(device_word(11).unwrap(), "pci");
        assert!(device_code("floppy").is_err() && device_word(12).is_err() && device_word(-1).is_err());
    }

    #[test]
    fn words_and_numbers_go_both_ways() {
        for kind in [
            VolumeType::Container,
            VolumeType::Image,
            VolumeType::Custom,
            VolumeType::VirtualMachine,
        ] {
            assert_eq!(VolumeType::from_code(kind.code()).unwrap(), kind);
            assert_eq!(VolumeType::from_word(kind.as_str()), Some(kind));
        }
        assert!(CertificateType::from_code(0).is_err());
    }
}
