//! Storage pools, their volumes and image files on disk, behind drivers.

pub mod images;

mod error;
mod watch;

pub use error::StorageError;
pub use watch::{Progress, Watch};
