//! Managed networks, their addresses, DHCP, DNS and firewall; drivers.
//!
//! All state comes in as plain [`Network`] values and goes out as changed ones: nothing here knows a database. What the
//! kernel has can always be asked again, so every start is also a repair, and an update does only what differs.

pub mod dnsmasq;
mod driver;
pub mod drivers;
mod error;
mod host;
pub mod interfaces;
pub mod nat;
mod network;
pub mod nic;
pub mod subnet;

pub use driver::{Capabilities, Driver, Fill};
pub use error::Error;
pub use host::{Host, Settings};
pub use network::{Network, Networks};

/// What the functions of this crate give.
pub type Result<T> = std::result::Result<T, Error>;
