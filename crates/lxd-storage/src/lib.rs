//! Storage pools, their volumes and image files on disk, behind drivers.

pub mod config;
pub mod drivers;
pub mod images;

mod error;
mod pool;
mod rsync;
mod tools;
mod volume;
mod watch;

pub use drivers::{DriverInfo, Mounted, Place, Resources, View, VolumeSource};
pub use error::StorageError;
pub use pool::{
    Access, BLOCK_FILE, Cleaned, CustomPart, Held, OnDisk, Pool, Pools, StreamHeader, StreamNames,
};
pub use rsync::{Rsync, RsyncFeatures};
pub use volume::{Volume, VolumeType};
pub use watch::{Progress, Watch};
