//! The life of instances: drivers, devices, exec, console, files.
//!
//! [`Instances`] is the door. It owns one task for each instance that runs; what is allowed in which phase is decided by
//! one pure function, [`lifecycle::decide`]. What runs an instance is a [`drivers::Driver`]. What instances need of
//! storage and networks stands in [`ports`]. This crate never sees the database: it gets an [`Instance`] and returns
//! what changed.

mod balance;
mod changes;
pub mod console;
pub mod devices;
pub mod drivers;
mod error;
mod events;
pub mod exec;
pub mod files;
mod hooks;
mod instance;
mod instances;
pub mod lifecycle;
pub mod limits;
mod lxd_helper;
mod owner;
pub mod ports;
pub mod saved;
mod state;

pub use changes::Change;
pub use error::{Error, TearDown};
pub use events::{Cause, Event};
pub use instance::{Instance, InstancePaths, InstanceType, Key};
pub use instances::{Features, Instances, Settings, Started};
pub use lifecycle::Stop;
pub use state::State;
