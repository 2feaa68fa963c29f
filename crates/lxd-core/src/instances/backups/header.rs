//! `backup/optimized_header.yaml`, which says what streams an archive in a driver's own form has.

use std::path::Path;

use lxd_model::yaml;
use lxd_storage::StreamHeader;
use lxd_storage::images::read_member;
use serde::{Deserialize, Serialize};

use super::index::parse;
use crate::app::App;
use crate::error::{Error, Result};

/// Its path in the archive.
pub(crate) const HEADER: &str = "backup/optimized_header.yaml";

/// The file, in the reference's words.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Header {
    pub(crate) subvolumes: Vec<StreamHeader>,
}

impl Header {
    pub(crate) fn to_text(&self) -> Result<String> {
        yaml::to_string(self).map_err(|error| Error::internal("Failed writing the header").because(error))
    }

    /// What an archive has: its header says it, if it has one.
    ///
    /// # Errors
    /// The header is missing, makes no sense, or has no stream.
    pub(crate) fn of(archive: &Path, is_there: bool, snapshots: &[String]) -> Result<Self> {
        match is_there {
            true => Self::read(archive),
            false => Ok(Self::of_whole(snapshots)),
        }
    }

    fn read(archive: &Path) -> Result<Self> {
        let text = read_member(archive, HEADER)?;
        let text = text.ok_or_else(|| Error::bad_request("Backup is missing optimized_header.yaml"))?;
        let header: Self = parse(&text)?;
        match header.subvolumes.is_empty() {
            true => Err(Error::bad_request(
                "Backup has no streams in its optimized_header.yaml",
            )),
            false => Ok(header),
        }
    }

    /// What older archives mean that have no header: whole volumes only.
    fn of_whole(snapshots: &[String]) -> Self {
        let names = snapshots.iter().map(String::as_str);
        Self {
            subvolumes: names.chain([""]).map(StreamHeader::whole).collect(),
        }
    }
}

/// Refuses an archive in the own form of a driver that the pool does not have.
///
/// # Errors
/// So it is; there is no such pool.
pub(crate) fn check_form(app: &App, pool: &str, backend: &str) -> Result<()> {
    let driver = app.pools.get(pool)?.driver().name;
    if backend == driver {
        return Ok(());
    }
    Err(Error::internal(format!(
        "Optimized backup storage driver {backend:?} differs from the target storage pool driver {driver:?}"
    )))
}
