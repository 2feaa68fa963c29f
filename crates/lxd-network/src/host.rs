//! What all drivers share: where files are, who runs programs, what this server is called.

use std::path::PathBuf;
use std::sync::Arc;

use lxd_sys::command::{Runner, System};

use crate::dnsmasq::Services;

/// What the daemon decides about networks.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    /// The daemon's directory (`LXD_DIR`).
    pub root: PathBuf,
    /// What this server is called in a lease's location (`none` when standalone).
    pub location: String,
    /// Something that stays the same for this server and differs from others', such as its certificate's fingerprint: hardware
    /// addresses of bridges are made from it.
    pub seed: String,
    /// Whether dnsmasq logs every DHCP packet (the daemon's `--debug`).
    pub debug: bool,
}

/// The host that networks live on.
pub struct Host {
    pub(crate) settings: Settings,
    pub(crate) runner: Arc<dyn Runner>,
    pub(crate) services: Services,
    /// Whoever gives a card a free address holds this until that is written down.
    pub(crate) giving: tokio::sync::Mutex<()>,
}

impl Host {
    pub(crate) fn new(settings: Settings) -> Self {
        Self {
            settings,
            runner: Arc::new(System),
            services: Services::default(),
            giving: tokio::sync::Mutex::default(),
        }
    }

    /// The directory that has one directory for each network.
    pub fn networks(&self) -> PathBuf {
        self.settings.root.join("networks")
    }
}
