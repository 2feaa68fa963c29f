//! The keys of each type of device.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::DeviceKind;
use crate::config::check::{
    ADDRESS, DEVICE_ID, DEVICE_NUMBER, FILE_MODE, INTERFACE, IPV4_ADDRESS, IPV4_SUBNETS, IPV6_ADDRESS,
    IPV6_SUBNETS, MAC, MTU, PCI_ADDRESS, Reason, UUID, VLAN,
};
use crate::config::{Check, For, Key, Table};

/// All types of devices, network cards and GPUs once for each kind.
pub const TABLES: &[DeviceKind] = &[
    DeviceKind {
        device_type: "nic",
        variant: "bridged",
        applies: For::Any,
        table: Table {
            noun: "device nic bridged",
            keys: &[
                Key::new("boot.priority", Check::Uint32),
                Key::new("host_name", Check::Any),
                Key::new("hwaddr", MAC),
                Key::new("ipv4.address", IPV4_OR_NONE).live(),
                Key::new("ipv4.routes", IPV4_SUBNETS).live(),
                Key::new("ipv4.routes.external", IPV4_SUBNETS).live(),
                Key::new("ipv6.address", IPV6_OR_NONE).live(),
                Key::new("ipv6.routes", IPV6_SUBNETS).live(),
                Key::new("ipv6.routes.external", IPV6_SUBNETS).live(),
                Key::new("limits.egress", Check::Any).live(),
                Key::new("limits.ingress", Check::Any).live(),
                Key::new("limits.max", Check::Any).live(),
                Key::new("maas.subnet.ipv4", Check::Any),
                Key::new("maas.subnet.ipv6", Check::Any),
                Key::new("mtu", MTU),
                Key::new("name", INTERFACE),
                Key::new("network", Check::Any),
                Key::new("parent", Check::Any),
                Key::new("security.ipv4_filtering", Check::Any)
                    .default("false")
                    .live(),
                Key::new("security.ipv6_filtering", Check::Any)
                    .default("false")
                    .live(),
                Key::new("security.mac_filtering", Check::Any)
                    .default("false")
                    .live(),
                Key::new("security.port_isolation", Check::Bool).default("false"),
                Key::new("vlan", NIC_VLAN),
                Key::new("vlan.tagged", VLAN_TAGGED),
                Key::new("user.*", Check::Any),
            ],
        },
    },
    DeviceKind {
        device_type: "nic",
        variant: "macvlan",
        applies: For::Any,
        table: Table {
            noun: "device nic macvlan",
            keys: &[
                Key::new("boot.priority", Check::Uint32),
                Key::new("gvrp", Check::Bool).default("false"),
                Key::new("hwaddr", MAC),
                Key::new("maas.subnet.ipv4", Check::Any),
                Key::new("maas.subnet.ipv6", Check::Any),
                Key::new("mtu", MTU),
                Key::new("name", INTERFACE),
                Key::new("network", Check::Any),
                Key::new("parent", Check::Any),
                Key::new("vlan", VLAN),
                Key::new("user.*", Check::Any),
            ],
        },
    },
    DeviceKind {
        device_type: "nic",
        variant: "sriov",
        applies: For::Any,
        table: Table {
            noun: "device nic sriov",
            keys: &[
                Key::new("boot.priority", Check::Uint32),
                Key::new("hwaddr", MAC),
                Key::new("maas.subnet.ipv4", Check::Any),
                Key::new("maas.subnet.ipv6", Check::Any),
                Key::new("mtu", MTU),
                Key::new("name", INTERFACE),
                Key::new("network", Check::Any),
                Key::new("parent", Check::Any),
                Key::new("security.mac_filtering", Check::Any).default("false"),
                Key::new("vlan", VLAN),
                Key::new("user.*", Check::Any),
            ],
        },
    },
    DeviceKind {
        device_type: "nic",
        variant: "ovn",
        applies: For::Any,
        table: Table {
            noun: "device nic ovn",
            keys: &[
                Key::new("acceleration", Check::OneOf(&["none", "sriov"])).default("none"),
                Key::new("boot.priority", Check::Uint32),
                Key::new("host_name", Check::Any),
                Key::new("hwaddr", MAC),
                Key::new("ipv4.address", IPV4_OR_NONE),
                Key::new("ipv4.routes", IPV4_SUBNETS),
                Key::new("ipv4.routes.external", IPV4_SUBNETS),
                Key::new("ipv6.address", IPV6_OR_NONE),
                Key::new("ipv6.routes", IPV6_SUBNETS),
                Key::new("ipv6.routes.external", IPV6_SUBNETS),
                Key::new("mtu", MTU),
                Key::new("name", INTERFACE),
                Key::new("network", REQUIRED).required(),
                Key::new("security.acls", Check::Any).live(),
                Key::new(
                    "security.acls.default.egress.action",
                    Check::OneOf(&["allow", "drop", "reject"]),
                )
                .live(),
                Key::new("security.acls.default.egress.logged", Check::Bool)
                    .default("false")
                    .live(),
                Key::new(
                    "security.acls.default.ingress.action",
                    Check::OneOf(&["allow", "drop", "reject"]),
                )
                .live(),
                Key::new("security.acls.default.ingress.logged", Check::Bool)
                    .default("false")
                    .live(),
                Key::new("user.*", Check::Any),
            ],
        },
    },
    DeviceKind {
        device_type: "nic",
        variant: "physical",
        applies: For::Any,
        table: Table {
            noun: "device nic physical",
            keys: &[
                Key::new("boot.priority", Check::Uint32),
                Key::new("gvrp", Check::Bool).default("false"),
                Key::new("hwaddr", MAC),
                Key::new("maas.subnet.ipv4", Check::Any),
                Key::new("maas.subnet.ipv6", Check::Any),
                Key::new("mtu", MTU),
                Key::new("name", INTERFACE),
                Key::new("parent", REQUIRED).required(),
                Key::new("vlan", VLAN),
                Key::new("user.*", Check::Any),
            ],
        },
    },
    DeviceKind {
        device_type: "nic",
        variant: "ipvlan",
        applies: For::Container,
        table: Table {
            noun: "device nic ipvlan",
            keys: &[
                Key::new("gvrp", Check::Bool).default("false"),
                Key::new("hwaddr", MAC),
                Key::new("ipv4.address", Check::List(&IPV4_HOST)),
                Key::new("ipv4.gateway", Check::Any),
                Key::new("ipv4.host_table", Check::Uint32),
                Key::new("ipv6.address", Check::List(&IPV6_HOST)),
                Key::new("ipv6.gateway", Check::Any),
                Key::new("ipv6.host_table", Check::Uint32),
                Key::new("mode", IPVLAN_MODE).default("l3s"),
                Key::new("mtu", MTU),
                Key::new("name", INTERFACE),
                Key::new("parent", REQUIRED).required(),
                Key::new("vlan", VLAN),
                Key::new("user.*", Check::Any),
            ],
        },
    },
    DeviceKind {
        device_type: "nic",
        variant: "p2p",
        applies: For::Any,
        table: Table {
            noun: "device nic p2p",
            keys: &[
                Key::new("boot.priority", Check::Uint32),
                Key::new("host_name", Check::Any),
                Key::new("hwaddr", MAC),
                Key::new("ipv4.routes", IPV4_SUBNETS).live(),
                Key::new("ipv6.routes", IPV6_SUBNETS).live(),
                Key::new("limits.egress", Check::Any).live(),
                Key::new("limits.ingress", Check::Any).live(),
                Key::new("limits.max", Check::Any).live(),
                Key::new("mtu", MTU),
                Key::new("name", INTERFACE),
                Key::new("user.*", Check::Any),
            ],
        },
    },
    DeviceKind {
        device_type: "nic",
        variant: "routed",
        applies: For::Any,
        table: Table {
            noun: "device nic routed",
            keys: &[
                Key::new("gvrp", Check::Bool).default("false"),
                Key::new("host_name", Check::Any),
                Key::new("hwaddr", MAC),
                Key::new("ipv4.address", Check::List(&IPV4_ADDRESS)),
                Key::new("ipv4.gateway", GATEWAY),
                Key::new("ipv4.host_address", IPV4_ADDRESS),
                Key::new("ipv4.host_table", Check::Uint32),
                Key::new("ipv4.neighbor_probe", Check::Bool).default("true"),
                Key::new("ipv4.routes", IPV4_SUBNETS).live(),
                Key::new("ipv6.address", Check::List(&IPV6_ADDRESS)),
                Key::new("ipv6.gateway", GATEWAY),
                Key::new("ipv6.host_address", IPV6_ADDRESS),
                Key::new("ipv6.host_table", Check::Uint32),
                Key::new("ipv6.neighbor_probe", Check::Bool).default("true"),
                Key::new("ipv6.routes", IPV6_SUBNETS).live(),
                Key::new("limits.egress", Check::Any).live(),
                Key::new("limits.ingress", Check::Any).live(),
                Key::new("limits.max", Check::Any).live(),
                Key::new("mtu", MTU),
                Key::new("name", INTERFACE),
                Key::new("parent", Check::Any),
                Key::new("vlan", VLAN),
                Key::new("user.*", Check::Any),
            ],
        },
    },
    DeviceKind {
        device_type: "infiniband",
        variant: "",
        applies: For::Any,
        table: Table {
            noun: "device infiniband",
            keys: &[
                Key::new("hwaddr", INFINIBAND_ADDRESS),
                Key::new("mtu", MTU),
                Key::new("name", INTERFACE),
                Key::new("parent", REQUIRED).required(),
                Key::new("user.*", Check::Any),
            ],
        },
    },
    DeviceKind {
        device_type: "disk",
        variant: "",
        applies: For::Any,
        table: Table {
            noun: "device disk",
            keys: &[
                Key::new("boot.priority", Check::Uint32),
                Key::new("ceph.cluster_name", Check::Any),
                Key::new("ceph.user_name", Check::Any),
                Key::new("limits.max", Check::Any).live(),
                Key::new("limits.read", Check::Any).live(),
                Key::new("limits.write", Check::Any).live(),
                Key::new("optional", Check::Bool),
                Key::new("path", Check::Any),
                Key::new("pool", Check::Any),
                Key::new("propagation", Check::Any),
                Key::new("raw.mount.options", Check::Any),
                Key::new("readonly", Check::Bool).default("false"),
                Key::new("recursive", Check::Bool).default("false"),
                Key::new("required", Check::Bool).default("true"),
                Key::new("shift", Check::Bool).default("false"),
                Key::new("size", Check::Bytes).live(),
                Key::new("size.state", Check::Bytes).live(),
                Key::new("source", Check::Any),
                Key::new("user.*", Check::Any),
            ],
        },
    },
    DeviceKind {
        device_type: "gpu",
        variant: "physical",
        applies: For::Any,
        table: Table {
            noun: "device gpu physical",
            keys: &[
                Key::new("gid", UNIX_ID).default("0"),
                Key::new("id", Check::Any),
                Key::new("mode", FILE_MODE).default("0660"),
                Key::new("pci", PCI_ADDRESS),
                Key::new("productid", DEVICE_ID),
                Key::new("uid", UNIX_ID).default("0"),
                Key::new("vendorid", DEVICE_ID),
                Key::new("user.*", Check::Any),
            ],
        },
    },
    DeviceKind {
        device_type: "gpu",
        variant: "mdev",
        applies: For::VirtualMachine,
        table: Table {
            noun: "device gpu mdev",
            keys: &[
                Key::new("id", Check::Any),
                Key::new("mdev", REQUIRED).required(),
                Key::new("pci", PCI_ADDRESS),
                Key::new("productid", DEVICE_ID),
                Key::new("vendorid", DEVICE_ID),
                Key::new("user.*", Check::Any),
            ],
        },
    },
    DeviceKind {
        device_type: "gpu",
        variant: "mig",
        applies: For::Container,
        table: Table {
            noun: "device gpu mig",
            keys: &[
                Key::new("id", Check::Any),
                Key::new("mig.ci", MIG_NUMBER),
                Key::new("mig.gi", MIG_NUMBER),
                Key::new("mig.uuid", MIG_UUID),
                Key::new("pci", PCI_ADDRESS),
                Key::new("productid", DEVICE_ID),
                Key::new("vendorid", DEVICE_ID),
                Key::new("user.*", Check::Any),
            ],
        },
    },
    DeviceKind {
        device_type: "gpu",
        variant: "sriov",
        applies: For::VirtualMachine,
        table: Table {
            noun: "device gpu sriov",
            keys: &[
                Key::new("id", Check::Any),
                Key::new("pci", PCI_ADDRESS),
                Key::new("productid", DEVICE_ID),
                Key::new("vendorid", DEVICE_ID),
                Key::new("user.*", Check::Any),
            ],
        },
    },
    DeviceKind {
        device_type: "none",
        variant: "",
        applies: For::Any,
        table: Table {
            noun: "device none",
            keys: &[Key::new("user.*", Check::Any)],
        },
    },
    DeviceKind {
        device_type: "pci",
        variant: "",
        applies: For::VirtualMachine,
        table: Table {
            noun: "device pci",
            keys: &[
                Key::new("address", PCI_ADDRESS).required(),
                Key::new("user.*", Check::Any),
            ],
        },
    },
    DeviceKind {
        device_type: "proxy",
        variant: "",
        applies: For::Any,
        table: Table {
            noun: "device proxy",
            keys: &[
                Key::new("bind", BIND).default("host"),
                Key::new("connect", PROXY).required(),
                Key::new("gid", UNIX_ID).default("0"),
                Key::new("listen", PROXY).required(),
                Key::new("mode", FILE_MODE).default("0644"),
                Key::new("nat", Check::Bool).default("false"),
                Key::new("proxy_protocol", Check::Bool).default("false"),
                Key::new("security.gid", UNIX_ID).default("0"),
                Key::new("security.uid", UNIX_ID).default("0"),
                Key::new("uid", UNIX_ID).default("0"),
                Key::new("user.*", Check::Any),
            ],
        },
    },
    DeviceKind {
        device_type: "tpm",
        variant: "",
        applies: For::Any,
        table: Table {
            noun: "device tpm",
            keys: &[
                Key::new("path", Check::Any),
                Key::new("pathrm", Check::Any),
                Key::new("user.*", Check::Any),
            ],
        },
    },
    DeviceKind {
        device_type: "unix-char",
        variant: "",
        applies: For::Container,
        table: Table {
            noun: "device unix-char",
            keys: &[
                Key::new("gid", UNIX_ID).default("0"),
                Key::new("major", DEVICE_NUMBER),
                Key::new("minor", DEVICE_NUMBER),
                Key::new("mode", FILE_MODE).default("0660"),
                Key::new("path", Check::Any),
                Key::new("required", Check::Bool).default("true"),
                Key::new("source", Check::Any),
                Key::new("uid", UNIX_ID).default("0"),
                Key::new("user.*", Check::Any),
            ],
        },
    },
    DeviceKind {
        device_type: "unix-block",
        variant: "",
        applies: For::Container,
        table: Table {
            noun: "device unix-block",
            keys: &[
                Key::new("gid", UNIX_ID).default("0"),
                Key::new("major", DEVICE_NUMBER),
                Key::new("minor", DEVICE_NUMBER),
                Key::new("mode", FILE_MODE).default("0660"),
                Key::new("path", Check::Any),
                Key::new("required", Check::Bool).default("true"),
                Key::new("source", Check::Any),
                Key::new("uid", UNIX_ID).default("0"),
                Key::new("user.*", Check::Any),
            ],
        },
    },
    DeviceKind {
        device_type: "unix-hotplug",
        variant: "",
        applies: For::Container,
        table: Table {
            noun: "device unix-hotplug",
            keys: &[
                Key::new("gid", UNIX_ID).default("0"),
                Key::new("mode", FILE_MODE).default("0660"),
                Key::new("productid", DEVICE_ID),
                Key::new("required", Check::Bool).default("false"),
                Key::new("uid", UNIX_ID).default("0"),
                Key::new("vendorid", DEVICE_ID),
                Key::new("user.*", Check::Any),
            ],
        },
    },
    DeviceKind {
        device_type: "usb",
        variant: "",
        applies: For::Any,
        table: Table {
            noun: "device usb",
            keys: &[
                Key::new("gid", UNIX_ID).default("0"),
                Key::new("mode", FILE_MODE).default("0660"),
                Key::new("productid", DEVICE_ID),
                Key::new("required", Check::Bool).default("false"),
                Key::new("uid", UNIX_ID).default("0"),
                Key::new("vendorid", DEVICE_ID),
                Key::new("user.*", Check::Any),
            ],
        },
    },
];

/// Text that may not be empty.
const REQUIRED: Check = Check::Custom("string", not_empty);
/// A user or group id.
const UNIX_ID: Check = Check::Custom("integer", unix_id);
/// `PROTOCOL:ADDRESS:PORTS`, or `unix:PATH`.
const PROXY: Check = Check::Custom("string", proxy);
/// The side that listens.
const BIND: Check = Check::Custom("string", bind);
/// Which layer an ipvlan card works on.
const IPVLAN_MODE: Check = Check::Custom("string", ipvlan_mode);
/// Whether a default route goes through the interface.
const GATEWAY: Check = Check::Custom("string", gateway);
/// A number of an instance of an NVIDIA GPU.
const MIG_NUMBER: Check = Check::Custom("integer", mig_number);
/// The id of such an instance.
const MIG_UUID: Check = Check::Custom("string", mig_uuid);
/// The address of an InfiniBand card.
const INFINIBAND_ADDRESS: Check = Check::Custom("string", infiniband_address);
const IPV4_OR_NONE: Check = Check::Custom("string", ipv4_or_none);
const IPV6_OR_NONE: Check = Check::Custom("string", ipv6_or_none);
/// An address with or without the length of its prefix.
const IPV4_HOST: Check = Check::Custom("string", ipv4_host);
const IPV6_HOST: Check = Check::Custom("string", ipv6_host);
/// The untagged VLAN, or `none`.
const NIC_VLAN: Check = Check::Custom("string", nic_vlan);
/// Tagged VLANs and ranges of them.
const VLAN_TAGGED: Check = Check::Custom("string", vlan_ranges);

fn not_empty(value: &str) -> Result<(), Reason> {
    if value.is_empty() {
        Err("Required value".to_owned())
    } else {
        Ok(())
    }
}

fn unix_id(value: &str) -> Result<(), Reason> {
    let number = value.bytes().all(|b| b.is_ascii_digit()) && value.parse::<u32>().is_ok();
    if number {
        Ok(())
    } else {
        Err("Invalid value for a UNIX ID".to_owned())
    }
}

fn proxy(value: &str) -> Result<(), Reason> {
    let (protocol, address) = value.split_once(':').unwrap_or((value, ""));
    match protocol {
        "tcp" | "udp" | "unix" if address.is_empty() => Err("Missing address".to_owned()),
        "unix" => Ok(()),
        "tcp" | "udp" => {
            let missing = || format!("address {address}: missing port in address");
            let (host, ports) = address.rsplit_once(':').ok_or_else(missing)?;
            let bracketed = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
            if bracketed.is_none() && host.contains(':') {
                return Err(format!("address {address}: too many colons in address"));
            }
            let host = bracketed.unwrap_or(host);
            if !host.is_empty() {
                ADDRESS.run(host)?;
            }
            ports.split(',').try_for_each(port_range)
        }
        _ => Err(format!("Unknown protocol type {protocol:?}")),
    }
}

fn port_range(value: &str) -> Result<(), Reason> {
    let number = |text: &str| text.parse::<i64>().map_err(|_| crate::units::go_parse_int(text));
    let (first, last) = match value.split_once('-') {
        Some((first, last)) => (number(first)?, number(last)?),
        None => return number(value).map(drop),
    };
    match first < last {
        true => Ok(()),
        false => Err("End port should be higher than start port".to_owned()),
    }
}

fn mig_number(value: &str) -> Result<(), Reason> {
    let fits = value.bytes().all(|b| b.is_ascii_digit()) && value.parse::<u8>().is_ok();
    if fits {
        Ok(())
    } else {
        Err(format!(
            "Invalid value for an integer {value:?}. Must be between 0 and 255"
        ))
    }
}

fn mig_uuid(value: &str) -> Result<(), Reason> {
    UUID.run(value.strip_prefix("MIG-").unwrap_or(value))
}

fn infiniband_address(value: &str) -> Result<(), Reason> {
    let hex = |part: &str| part.len() == 2 && part.bytes().all(|b| b.is_ascii_hexdigit());
    let bytes: Vec<&str> = value.split(':').collect();
    match matches!(bytes.len(), 8 | 20) && bytes.into_iter().all(hex) {
        true => Ok(()),
        false => Err("Invalid value, must be either 8 or 20 bytes of hex separated by colons".to_owned()),
    }
}

fn bind(value: &str) -> Result<(), Reason> {
    match value {
        "host" | "instance" | "guest" | "container" => Ok(()),
        _ => Err("Invalid binding side given. Must be \"host\" or \"instance\"".to_owned()),
    }
}

fn ipvlan_mode(value: &str) -> Result<(), Reason> {
    match value {
        "l3s" | "l2" => Ok(()),
        _ => Err("Must be one of: l3s, l2".to_owned()),
    }
}

fn gateway(value: &str) -> Result<(), Reason> {
    match value {
        "auto" | "none" => Ok(()),
        _ => Err(format!("Invalid gateway: {value}")),
    }
}

fn ipv4_or_none(value: &str) -> Result<(), Reason> {
    if value == "none" {
        Ok(())
    } else {
        IPV4_ADDRESS.run(value)
    }
}

fn ipv6_or_none(value: &str) -> Result<(), Reason> {
    if value == "none" {
        Ok(())
    } else {
        IPV6_ADDRESS.run(value)
    }
}

fn ipv4_host(value: &str) -> Result<(), Reason> {
    let (address, length) = value.split_once('/').unwrap_or((value, "32"));
    let good = address.parse::<Ipv4Addr>().is_ok() && length.parse::<u8>().is_ok_and(|length| length <= 32);
    if good {
        Ok(())
    } else {
        Err(format!("Not an IPv4 address {value:?}"))
    }
}

fn ipv6_host(value: &str) -> Result<(), Reason> {
    let (address, length) = value.split_once('/').unwrap_or((value, "128"));
    let good = address.parse::<Ipv6Addr>().is_ok() && length.parse::<u8>().is_ok_and(|length| length <= 128);
    if good {
        Ok(())
    } else {
        Err(format!("Not an IPv6 address {value:?}"))
    }
}

fn nic_vlan(value: &str) -> Result<(), Reason> {
    if value == "none" { Ok(()) } else { VLAN.run(value) }
}

fn vlan_ranges(value: &str) -> Result<(), Reason> {
    let parts = value.split(',').map(str::trim);
    parts.into_iter().try_for_each(|part| vlan_range(part).map(drop))
}

/// First and last of a range of VLANs, or of a single one.
pub(super) fn vlan_range(value: &str) -> Result<(u16, u16), Reason> {
    let (first, last) = value.split_once('-').unwrap_or((value, value));
    let number = |text: &str| {
        let number = text.parse::<u16>().ok().filter(|id| *id < 4095);
        number.ok_or_else(|| format!("Invalid VLAN range input: {value}"))
    };
    let (first, last) = (number(first)?, number(last)?);
    match first <= last {
        true => Ok((first, last)),
        false => Err(format!(
            "Invalid VLAN range boundary. start:{first} is higher than end:{last}"
        )),
    }
}
