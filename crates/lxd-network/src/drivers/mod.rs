//! One folder for each network type.

pub mod bridge;
#[cfg(test)]
pub(crate) mod conformance;
pub mod mock;
pub mod uplink;
