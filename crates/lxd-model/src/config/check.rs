//! What values must look like, with the reference's words for those that don't.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::{names, units};

/// The reason why a value is refused, without the key or the noun.
pub type Reason = String;

/// A rule for values. It sees empty values only where a key is required.
#[derive(Debug, Clone, Copy)]
pub enum Check {
    /// Any text.
    Any,
    /// Any text, usually of several lines, for another program.
    Blob,
    /// `true`, `1`, `yes`, `on` and their opposites, in any case.
    Bool,
    /// A whole number of 64 bits.
    Integer,
    /// A whole number of 32 bits, not negative.
    Uint32,
    /// A whole number within bounds, the bounds included.
    Limit(i64, i64),
    /// One of these words.
    OneOf(&'static [&'static str]),
    /// A number of bytes (`10GB`, `512MiB`).
    Bytes,
    /// Items between commas, each of which must pass.
    List(&'static Check),
    /// A rule of its own, and the name of the type for the catalog.
    Custom(&'static str, fn(&str) -> Result<(), Reason>),
}

impl Check {
    /// Judges a value.
    pub fn run(&self, value: &str) -> Result<(), Reason> {
        match self {
            Self::Any | Self::Blob => Ok(()),
            Self::Bool => boolean(value),
            Self::Integer => integer(value).map(drop),
            Self::Uint32 => uint32(value),
            Self::Limit(low, high) => match integer(value)? {
                number if (*low..=*high).contains(&number) => Ok(()),
                _ => Err(format!(
                    "Invalid value for a limit {value:?}. Must be between {low} and {high}"
                )),
            },
            Self::OneOf(words) if words.contains(&value) => Ok(()),
            Self::OneOf(words) => Err(format!(
                "Invalid value {value:?} (not one of [{}])",
                words.join(" ")
            )),
            Self::Bytes => units::parse_bytes(value).map(drop).map_err(|e| e.to_string()),
            Self::List(item) => value.split(',').map(str::trim).try_for_each(|part| {
                item.run(part)
                    .map_err(|reason| format!("Item {part:?}: {reason}"))
            }),
            Self::Custom(_, rule) => rule(value),
        }
    }

    /// The type's name in the catalog.
    pub fn type_name(&self) -> &'static str {
        match self {
            Self::Any | Self::OneOf(_) | Self::List(_) => "string",
            Self::Blob => "blob",
            Self::Bool => "bool",
            Self::Integer | Self::Uint32 | Self::Limit(..) => "integer",
            Self::Bytes => "size",
            Self::Custom(name, _) => name,
        }
    }
}

/// Whether a value means yes.
pub fn is_true(value: &str) -> bool {
    ["true", "1", "yes", "on"]
        .iter()
        .any(|word| value.eq_ignore_ascii_case(word))
}

/// Whether a value means no; the empty one means neither.
pub fn is_false(value: &str) -> bool {
    ["false", "0", "no", "off"]
        .iter()
        .any(|word| value.eq_ignore_ascii_case(word))
}

/// A whole number as Go reads it: decimal, with a sign.
pub fn integer(value: &str) -> Result<i64, Reason> {
    value
        .parse()
        .map_err(|_| format!("Invalid value for an integer {value:?}"))
}

/// A file mode such as `0660`.
pub const FILE_MODE: Check = Check::Custom("string", file_mode);
/// A device's major or minor number.
pub const DEVICE_NUMBER: Check = Check::Custom("integer", device_number);
/// A vendor or product id of four hexadecimal digits.
pub const DEVICE_ID: Check = Check::Custom("string", device_id);
/// `0000:00:00.0` or `00:00.0`.
pub const PCI_ADDRESS: Check = Check::Custom("string", pci_address);
/// An absolute path.
pub const ABSOLUTE_PATH: Check = Check::Custom("string", absolute_path);
/// Six bytes in hexadecimal with colons.
pub const MAC: Check = Check::Custom("string", mac);
/// An interface name of 2 to 15 characters.
pub const INTERFACE: Check = Check::Custom("string", interface);
/// A size of packets.
pub const MTU: Check = Check::Custom("integer", mtu);
/// A VLAN of 802.1Q: 0 to 4094.
pub const VLAN: Check = Check::Custom("integer", vlan);
/// An address of either family.
pub const ADDRESS: Check = Check::Custom("string", address);
/// An IPv4 address.
pub const IPV4_ADDRESS: Check = Check::Custom("string", ipv4_address);
/// An IPv6 address.
pub const IPV6_ADDRESS: Check = Check::Custom("string", ipv6_address);
/// An IPv4 address with a prefix length (`10.0.0.1/24`).
pub const IPV4_CIDR: Check = Check::Custom("string", ipv4_cidr);
/// An IPv6 address with a prefix length.
pub const IPV6_CIDR: Check = Check::Custom("string", ipv6_cidr);
/// An IPv4 subnet: the bits after the prefix are zero.
pub const IPV4_SUBNET: Check = Check::Custom("string", ipv4_subnet);
/// An IPv6 subnet: the bits after the prefix are zero.
pub const IPV6_SUBNET: Check = Check::Custom("string", ipv6_subnet);
/// `FIRST-LAST`, both IPv4 addresses, first not above last.
pub const IPV4_RANGE: Check = Check::Custom("string", ipv4_range);
/// `FIRST-LAST`, both IPv6 addresses, first not above last.
pub const IPV6_RANGE: Check = Check::Custom("string", ipv6_range);
/// A life time such as `1d 12H`.
pub const EXPIRY: Check = Check::Custom("string", expiry);
/// A compressor's name, with options.
pub const COMPRESSION: Check = Check::Custom("string", compression);
/// A TCP or UDP port.
pub const PORT: Check = Check::Custom("integer", port);
/// An id of 32 hexadecimal digits in five groups.
pub const UUID: Check = Check::Custom("string", uuid);
/// Subnets of IPv4.
pub const IPV4_SUBNETS: Check = Check::List(&IPV4_SUBNET);
/// Subnets of IPv6.
pub const IPV6_SUBNETS: Check = Check::List(&IPV6_SUBNET);

/// An address and prefix length; the reason for refusal is Go's.
pub fn parse_cidr(value: &str) -> Result<(IpAddr, u8), Reason> {
    let bad = || format!("invalid CIDR address: {value}");
    let (address, length) = value.split_once('/').ok_or_else(bad)?;
    let address: IpAddr = address.parse().map_err(|_| bad())?;
    let most = if address.is_ipv4() { 32 } else { 128 };
    let digits = !length.is_empty() && length.bytes().all(|b| b.is_ascii_digit());
    let length = length
        .parse::<u8>()
        .ok()
        .filter(|length| digits && *length <= most)
        .ok_or_else(bad)?;
    Ok((address, length))
}

/// Whether all bits behind the prefix are zero.
pub fn is_subnet(address: IpAddr, length: u8) -> bool {
    let (bits, width) = match address {
        IpAddr::V4(address) => (u128::from(u32::from(address)), 32),
        IpAddr::V6(address) => (u128::from(address), 128),
    };
    let host_bits = u32::from(width - length);
    bits & 1_u128.checked_shl(host_bits).map_or(u128::MAX, |bit| bit - 1) == 0
}

fn boolean(value: &str) -> Result<(), Reason> {
    match is_true(value) || is_false(value) {
        true => Ok(()),
        false => Err(format!("Invalid value for a boolean {value:?}")),
    }
}

fn uint32(value: &str) -> Result<(), Reason> {
    let digits = !value.is_empty() && value.bytes().all(|b| b.is_ascii_digit());
    let problem = match value.parse::<u32>() {
        Ok(_) if digits => return Ok(()),
        _ if digits => "value out of range",
        _ => "invalid syntax",
    };
    Err(format!(
        "Invalid value for uint32 {value:?}: strconv.ParseUint: parsing {value:?}: {problem}"
    ))
}

fn file_mode(value: &str) -> Result<(), Reason> {
    let octal = value.bytes().all(|b| (b'0'..=b'7').contains(&b)) && u32::from_str_radix(value, 8).is_ok();
    if octal {
        Ok(())
    } else {
        Err("Invalid value for an octal file mode".to_owned())
    }
}

fn device_number(value: &str) -> Result<(), Reason> {
    let number = value.parse::<u32>().is_ok() && !value.starts_with('+');
    if number {
        Ok(())
    } else {
        Err("Invalid value for a UNIX device number".to_owned())
    }
}

fn device_id(value: &str) -> Result<(), Reason> {
    let fits = value.len() == 4 && value.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    if fits {
        Ok(())
    } else {
        Err("Invalid value, must be four lower case hex characters".to_owned())
    }
}

fn pci_address(value: &str) -> Result<(), Reason> {
    let short = value.strip_prefix("0000:").unwrap_or(value);
    let long = match value.split(':').count() {
        3 => value,
        _ => short,
    };
    let parts: Vec<&str> = long.split([':', '.']).collect();
    let hex = |part: &str, len: usize| part.len() == len && part.bytes().all(|b| b.is_ascii_hexdigit());
    let fits = match parts[..] {
        [domain, bus, slot, function] => {
            hex(domain, 4) && hex(bus, 2) && hex(slot, 2) && hex(function, 1) && value.contains('.')
        }
        [bus, slot, function] => hex(bus, 2) && hex(slot, 2) && hex(function, 1) && value.contains('.'),
        _ => false,
    };
    if fits {
        Ok(())
    } else {
        Err("Invalid PCI address".to_owned())
    }
}

fn absolute_path(value: &str) -> Result<(), Reason> {
    if value.starts_with('/') {
        Ok(())
    } else {
        Err("Must be absolute file path".to_owned())
    }
}

fn mac(value: &str) -> Result<(), Reason> {
    let hex = |part: &str| part.len() == 2 && part.bytes().all(|b| b.is_ascii_hexdigit());
    match value.split(':').count() == 6 && value.split(':').all(hex) {
        true => Ok(()),
        false => Err("Invalid MAC address, must be 6 bytes of hex separated by colons".to_owned()),
    }
}

fn interface(value: &str) -> Result<(), Reason> {
    names::interface(value).map_err(|e| e.to_string())
}

fn mtu(value: &str) -> Result<(), Reason> {
    match value.parse::<u32>() {
        Err(_) => Err(format!("Invalid MTU {value:?}")),
        // IPv6 needs 1280; the largest jumbo frame has 16384.
        Ok(mtu) if !(1280..=16384).contains(&mtu) => Err(format!("Out of MTU range (1280-16384) {value:?}")),
        Ok(_) => Ok(()),
    }
}

fn vlan(value: &str) -> Result<(), Reason> {
    match value.parse::<i32>() {
        Err(_) => Err(format!("Invalid VLAN ID {value:?}")),
        Ok(id) if !(0..=4094).contains(&id) => Err(format!("Out of VLAN ID range (0-4094) {value:?}")),
        Ok(_) => Ok(()),
    }
}

fn port(value: &str) -> Result<(), Reason> {
    match value.parse::<u32>() {
        Ok(1..=65535) => Ok(()),
        Ok(_) => Err(format!("Out of port range (0-65535) {value:?}")),
        Err(_) => Err(format!("Invalid port number {value:?}")),
    }
}

fn address(value: &str) -> Result<(), Reason> {
    value
        .parse::<IpAddr>()
        .map(drop)
        .map_err(|_| format!("Not an IP address {value:?}"))
}

fn ipv4_address(value: &str) -> Result<(), Reason> {
    value
        .parse::<Ipv4Addr>()
        .map(drop)
        .map_err(|_| format!("Not an IPv4 address {value:?}"))
}

fn ipv6_address(value: &str) -> Result<(), Reason> {
    value
        .parse::<Ipv6Addr>()
        .map(drop)
        .map_err(|_| format!("Not an IPv6 address {value:?}"))
}

fn ipv4_cidr(value: &str) -> Result<(), Reason> {
    match parse_cidr(value)? {
        (IpAddr::V4(_), _) => Ok(()),
        _ => Err(format!("Not an IPv4 address {value:?}")),
    }
}

fn ipv6_cidr(value: &str) -> Result<(), Reason> {
    match parse_cidr(value)? {
        (IpAddr::V6(_), _) => Ok(()),
        _ => Err(format!("Not an IPv6 address {value:?}")),
    }
}

fn ipv4_subnet(value: &str) -> Result<(), Reason> {
    subnet(value, "IPv4", IpAddr::is_ipv4)
}

fn ipv6_subnet(value: &str) -> Result<(), Reason> {
    subnet(value, "IPv6", IpAddr::is_ipv6)
}

fn subnet(value: &str, family: &str, is_of_family: fn(&IpAddr) -> bool) -> Result<(), Reason> {
    match parse_cidr(value)? {
        (address, _) if !is_of_family(&address) => Err(format!("Not an {family} network {value:?}")),
        (address, length) if !is_subnet(address, length) => {
            Err(format!("Not an {family} network address {value:?}"))
        }
        _ => Ok(()),
    }
}

fn ipv4_range(value: &str) -> Result<(), Reason> {
    range::<Ipv4Addr>(value, "IPv4")
}

fn ipv6_range(value: &str) -> Result<(), Reason> {
    range::<Ipv6Addr>(value, "IPv6")
}

fn range<A: std::str::FromStr + PartialOrd>(value: &str, family: &str) -> Result<(), Reason> {
    let (first, last) = value
        .split_once('-')
        .ok_or_else(|| "IP range must contain start and end IP addresses".to_owned())?;
    let parse = |end: &str, which: &str| {
        end.parse::<A>()
            .map_err(|_| format!("{which} not an {family} address {end:?}"))
    };
    match parse(first, "Start IP")? <= parse(last, "End IP")? {
        true => Ok(()),
        false => Err(format!("Start IP {first:?} must be less than End IP {last:?}")),
    }
}

fn expiry(value: &str) -> Result<(), Reason> {
    units::expiry(jiff::Timestamp::UNIX_EPOCH, value)
        .map(drop)
        .map_err(|e| e.to_string())
}

fn uuid(value: &str) -> Result<(), Reason> {
    let hex = |part: &str, length: usize| part.len() == length && part.bytes().all(|b| b.is_ascii_hexdigit());
    let parts: Vec<&str> = value.split('-').collect();
    let fits = parts.len() == 5
        && parts
            .iter()
            .zip([8, 4, 4, 4, 12])
            .all(|(part, length)| hex(part, length));
    if fits {
        Ok(())
    } else {
        Err("Invalid UUID".to_owned())
    }
}

fn compression(value: &str) -> Result<(), Reason> {
    let program = value.split_whitespace().next().unwrap_or_default();
    match COMPRESSORS.contains(&program) {
        true => Ok(()),
        false => Err(format!("Invalid compression algorithm {program:?}")),
    }
}

/// Programs that images and backups may be packed with.
const COMPRESSORS: &[&str] = &[
    "bzip2", "gzip", "lz4", "lzma", "none", "pbzip2", "pigz", "pxz", "squashfs", "xz", "zstd",
];
