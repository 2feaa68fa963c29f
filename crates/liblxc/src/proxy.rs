//! What the daemon tells `lxd-helper proxy`: where to listen, where to connect, in whose name.

use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;

use crate::protocol::{Malformed, Reader, Writer};

/// One place to listen at or to connect to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Endpoint {
    /// A TCP port.
    Tcp(SocketAddr),
    /// A UDP port.
    Udp(SocketAddr),
    /// A stream socket with a path.
    Unix(String),
    /// A stream socket with a name that belongs to a network namespace.
    Abstract(String),
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => write!(f, "tcp:{address}"),
            Self::Udp(address) => write!(f, "udp:{address}"),
            Self::Unix(path) => write!(f, "unix:{path}"),
            Self::Abstract(name) => write!(f, "unix:@{name}"),
        }
    }
}

impl FromStr for Endpoint {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        let port = |text: &str| text.parse().map_err(|_| Malformed("IP address and port wanted"));
        match text.split_once(':') {
            Some(("tcp", rest)) => Ok(Self::Tcp(port(rest)?)),
            Some(("udp", rest)) => Ok(Self::Udp(port(rest)?)),
            Some(("unix", rest)) => Ok(match rest.strip_prefix('@') {
                Some(name) => Self::Abstract(name.to_owned()),
                None => Self::Unix(rest.to_owned()),
            }),
            _ => Err(Malformed("unknown kind of endpoint")),
        }
    }
}

/// Ids of the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Ids {
    /// The user.
    pub uid: u32,
    /// The group.
    pub gid: u32,
}

/// A proxy device to be served. With it come the container's network and mount namespaces, as descriptors.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proxy {
    /// The container's PID 1, seen from the host: the proxy ends with it.
    pub init: i32,
    /// Whether to listen inside and to connect on the host; the other way round else.
    pub listen_inside: bool,
    /// Where to listen.
    pub listen: Vec<Endpoint>,
    /// Where to connect: one for each place to listen at, or one for all.
    pub connect: Vec<Endpoint>,
    /// Who makes a listening socket that has a path: root, or root inside.
    pub creator: Ids,
    /// Who owns that socket.
    pub owner: Ids,
    /// Its permissions.
    pub mode: u32,
    /// Who connects.
    pub user: Ids,
    /// Whether each connection begins with a header of the PROXY protocol.
    pub header: bool,
}

impl Proxy {
    /// The body of the frame that asks for this.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Writer::default();
        out.number(self.init.unsigned_abs());
        for flag in [self.listen_inside, self.header] {
            out.number(u32::from(flag));
        }
        out.number(self.mode);
        for ids in [self.creator, self.owner, self.user] {
            out.number(ids.uid);
            out.number(ids.gid);
        }
        for list in [&self.listen, &self.connect] {
            out.number(u32::try_from(list.len()).unwrap_or(u32::MAX));
            for endpoint in list {
                out.field(endpoint.to_string().as_bytes());
            }
        }
        out.0
    }

    /// Reads the body of a frame.
    ///
    /// # Errors
    /// [`Malformed`], also for lists that do not fit each other.
    pub fn decode(body: &[u8]) -> Result<Self, Malformed> {
        let mut fields = Reader(body);
        let init = i32::try_from(fields.number()?).map_err(|_| Malformed("process id wanted"))?;
        let (listen_inside, header) = (fields.number()? != 0, fields.number()? != 0);
        let mode = fields.number()?;
        let mut ids = [Ids::default(); 3];
        for ids in &mut ids {
            *ids = Ids {
                uid: fields.number()?,
                gid: fields.number()?,
            };
        }
        let mut lists = [Vec::new(), Vec::new()];
        for list in &mut lists {
            for _ in 0..fields.number()? {
                list.push(fields.text()?.parse()?);
            }
        }
        let [listen, connect] = lists;
        if listen.is_empty() || !(connect.len() == 1 || connect.len() == listen.len()) {
            return Err(Malformed("nowhere to listen, or to connect"));
        }
        let [creator, owner, user] = ids;
        Ok(Self {
            init,
            listen_inside,
            listen,
            connect,
            creator,
            owner,
            mode,
            user,
            header,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proxy() -> Proxy {
        Proxy {
            init: 7,
            listen_inside: true,
            listen: ["tcp:0.0.0.0:80", "udp:[::1]:53", "unix:/a b", "unix:@x:y"]
                .map(|text| text.parse().unwrap())
                .into(),
            connect: vec![Endpoint::Unix("/run/x".into())],
            creator: Ids { uid: 1, gid: 2 },
            owner: Ids { uid: 3, gid: 4 },
            mode: 0o660,
            user: Ids { uid: 5, gid: 6 },
            header: true,
        }
    }

    #[test]
    fn what_is_encoded_is_decoded_and_prefixes_are_refused() {
        let body = proxy().encode();
        assert_eq!(Proxy::decode(&body), Ok(proxy()));
        for end in 0..body.len() {
            assert!(Proxy::decode(&body[..end]).is_err(), "prefix of {end} bytes");
        }
        let mut uneven = proxy();
        uneven.connect.push(Endpoint::Abstract("z".into()));
        assert!(Proxy::decode(&uneven.encode()).is_err());
        for bad in ["", "tcp:80", "tcp:1.2.3.4", "sctp:1.2.3.4:5", "udp:x:1"] {
            assert!(bad.parse::<Endpoint>().is_err(), "{bad}");
        }
    }
}
