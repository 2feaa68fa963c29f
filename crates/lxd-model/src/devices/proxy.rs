//! Proxy devices: their addresses, and which of their keys get along.

use std::net::IpAddr;

use super::{Device, property};
use crate::Invalid;
use crate::config::is_true;

/// Where a proxy listens or connects, of all its ports.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    /// Ports of an IP address.
    Ip {
        /// `tcp` or `udp`.
        protocol: &'static str,
        /// The address; unspecified for all.
        host: IpAddr,
        /// The ports, in their order.
        ports: Vec<u16>,
    },
    /// A socket with a path.
    Path(String),
    /// A socket with a name that is no path, without its `@`.
    Abstract(String),
}

impl Address {
    /// Reads `tcp:HOST:PORTS`, `udp:HOST:PORTS`, `unix:PATH` or `unix:@NAME`. Nothing for what a check would have refused.
    pub fn parse(text: &str) -> Option<Self> {
        let (protocol, rest) = text.split_once(':')?;
        let protocol = match protocol {
            "tcp" => "tcp",
            "udp" => "udp",
            "unix" => {
                return Some(match rest.strip_prefix('@') {
                    Some(name) => Self::Abstract(name.to_owned()),
                    None => Self::Path(rest.to_owned()),
                });
            }
            _ => return None,
        };
        let (host, list) = rest.rsplit_once(':')?;
        let host = host
            .strip_prefix('[')
            .and_then(|host| host.strip_suffix(']'))
            .unwrap_or(host);
        let host = if host.is_empty() { "::" } else { host };
        let mut ports = Vec::new();
        for range in list.split(',') {
            let (first, last) = range.split_once('-').unwrap_or((range, range));
            let (first, last): (u16, u16) = (first.parse().ok()?, last.parse().ok()?);
            ports.extend(first..=last);
        }
        let host = host.parse().ok()?;
        Some(Self::Ip {
            protocol,
            host,
            ports,
        })
    }

    /// How many ports it has; a socket counts as one.
    fn count(&self) -> usize {
        match self {
            Self::Ip { ports, .. } => ports.len(),
            Self::Path(_) | Self::Abstract(_) => 1,
        }
    }

    /// What it speaks, as users write it.
    pub fn protocol(&self) -> &'static str {
        match self {
            Self::Ip { protocol, .. } => protocol,
            Self::Path(_) | Self::Abstract(_) => "unix",
        }
    }
}

/// Checks that a proxy's keys get along. Each one by itself is fine already.
pub(super) fn validate(device: &Device) -> Result<(), Invalid> {
    let refuse = |text: &str| Err(Invalid::new(text));
    let read = |key: &str| Address::parse(property(device, key));
    let (Some(listen), Some(connect)) = (read("listen"), read("connect")) else {
        return Ok(());
    };
    if connect.count() > listen.count() {
        return refuse("Mismatch between listen port(s) and connect port(s) count");
    }
    let is_on = |key: &str| is_true(property(device, key));
    let owned = ["uid", "gid", "mode"].iter().any(|key| device.contains_key(*key));
    if owned && !matches!(listen, Address::Path(_)) {
        return refuse(
            "Only proxy devices for non-abstract unix sockets can carry uid, gid, or mode properties",
        );
    }
    let nat = is_on("nat");
    if nat && !matches!(property(device, "bind"), "" | "host") {
        return refuse("Only host-bound proxies can use NAT");
    }
    if is_on("proxy_protocol") && (nat || !connect.protocol().starts_with("tcp")) {
        return refuse("The PROXY header can only be sent to tcp servers in non-nat mode");
    }
    if !nat {
        return Ok(());
    }
    match (&listen, &connect) {
        (
            Address::Ip { protocol, host, .. },
            Address::Ip {
                protocol: other,
                host: to,
                ..
            },
        ) if protocol == other => {
            if host.is_unspecified() {
                let text = format!(
                    "Cannot listen on wildcard address {:?} when in nat mode",
                    host.to_string()
                );
                return refuse(&text);
            }
            if host.is_ipv4() != to.is_ipv4() {
                return refuse("Cannot mix IP versions between listen and connect in nat mode");
            }
            Ok(())
        }
        _ => {
            let (from, to) = (listen.protocol(), connect.protocol());
            refuse(&format!(
                "Proxying {from} <-> {to} is not supported when using NAT"
            ))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read() {
        let ports = |text: &str| match Address::parse(text) {
            Some(Address::Ip { host, ports, .. }) => format!("{host} {ports:?}"),
            other => format!("{other:?}"),
        };
        assert_eq!(ports("tcp:1.2.3.4:80-82,90"), "1.2.3.4 [80, 81, 82, 90]");
        assert_eq!(ports("udp:[::1]:53"), "::1 [53]");
        assert_eq!(Address::parse("unix:@x"), Some(Address::Abstract("x".into())));
        assert_eq!(Address::parse("unix:/a:b"), Some(Address::Path("/a:b".into())));
        assert_eq!(Address::parse("tcp:1.2.3.4:99999"), None);
    }

    #[test]
    fn keys_that_do_not_get_along() {
        let judge = |json: &str| {
            let device: Device = serde_json::from_str(json).unwrap();
            validate(&device).err().map(|e| e.to_string()).unwrap_or_default()
        };
        for (json, wanted) in [
            (r#"{"listen":"tcp:1.2.3.4:1","connect":"udp:1.2.3.4:1"}"#, ""),
            (r#"{"listen":"tcp:1.2.3.4:1-3","connect":"tcp:1.2.3.4:1"}"#, ""),
            (
                r#"{"listen":"tcp:1.2.3.4:1","connect":"tcp:1.2.3.4:1-2"}"#,
                "Mismatch between listen port(s) and connect port(s) count",
            ),
            (
                r#"{"listen":"tcp:1.2.3.4:1","connect":"tcp:1.2.3.4:1","uid":"1"}"#,
                "Only proxy devices for non-abstract unix sockets can carry uid, gid, or mode properties",
            ),
            (
                r#"{"listen":"unix:@a","connect":"unix:/b","mode":"0600"}"#,
                "Only proxy devices for non-abstract unix sockets can carry uid, gid, or mode properties",
            ),
            (r#"{"listen":"unix:/a","connect":"unix:/b","mode":"0600"}"#, ""),
            (
                r#"{"listen":"tcp:1.2.3.4:1","connect":"tcp:1.2.3.4:1","nat":"true","bind":"instance"}"#,
                "Only host-bound proxies can use NAT",
            ),
            (
                r#"{"listen":"tcp:1.2.3.4:1","connect":"tcp:1.2.3.4:1","nat":"true","proxy_protocol":"true"}"#,
                "The PROXY header can only be sent to tcp servers in non-nat mode",
            ),
            (
                r#"{"listen":"tcp:1.2.3.4:1","connect":"udp:1.2.3.4:1","nat":"true"}"#,
                "Proxying tcp <-> udp is not supported when using NAT",
            ),
            (
                r#"{"listen":"unix:/x","connect":"tcp:[::]:1","nat":"true"}"#,
                "Proxying unix <-> tcp is not supported when using NAT",
            ),
            (
                r#"{"listen":"tcp:0.0.0.0:1","connect":"tcp:0.0.0.0:1","nat":"true"}"#,
                "Cannot listen on wildcard address \"0.0.0.0\" when in nat mode",
            ),
            (
                r#"{"listen":"tcp:1.2.3.4:1","connect":"tcp:[::]:1","nat":"true"}"#,
                "Cannot mix IP versions between listen and connect in nat mode",
            ),
        ] {
            assert_eq!(judge(json), wanted, "{json}");
        }
    }
}
