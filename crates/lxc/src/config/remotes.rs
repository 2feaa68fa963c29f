//! Remotes: the servers that the client knows by name.

use serde::{Deserialize, Serialize};

/// A server that the client knows.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Remote {
    /// Its URL; `unix://` is the local server.
    pub(crate) addr: String,
    /// How it authenticates clients; "" is `tls`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) auth_type: String,
    /// The Candid domain.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) domain: String,
    /// The project that commands work in; "" is `default`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) project: String,
    /// `lxd` or `simplestreams`; "" is `lxd`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) protocol: String,
    /// Whether it only hands out images.
    pub(crate) public: bool,
    /// Whether it is built in.
    #[serde(skip)]
    pub(crate) fixed: bool,
    /// Whether it is in the configuration of all users.
    #[serde(skip)]
    pub(crate) global: bool,
}

/// The remotes that are always there.
pub(crate) fn fixed() -> [(&'static str, Remote); 3] {
    [
        (
            "local",
            Remote {
                addr: "unix://".into(),
                fixed: true,
                ..Remote::default()
            },
        ),
        (
            "ubuntu",
            simplestreams("https://cloud-images.ubuntu.com/releases", true),
        ),
        (
            "ubuntu-daily",
            simplestreams("https://cloud-images.ubuntu.com/daily", true),
        ),
    ]
}

/// The image server that a new configuration knows, until the user removes it.
pub(crate) fn images() -> Remote {
    simplestreams("https://images.linuxcontainers.org", false)
}

impl Remote {
    /// Whether it is a server on this host.
    pub(crate) fn is_local(&self) -> bool {
        self.addr.starts_with("unix:")
    }

    /// Whether it speaks the simplestreams protocol.
    pub(crate) fn is_simplestreams(&self) -> bool {
        self.protocol == "simplestreams"
    }
}

fn simplestreams(addr: &str, fixed: bool) -> Remote {
    Remote {
        addr: addr.into(),
        protocol: "simplestreams".into(),
        public: true,
        fixed,
        ..Remote::default()
    }
}
