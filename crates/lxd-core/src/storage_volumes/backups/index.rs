//! `backup/index.yaml`, which comes first in a backup's archive and says what is in it.

use std::path::PathBuf;

use lxd_api::storage_volumes::{StorageVolume, StorageVolumeSnapshot};
use lxd_model::yaml;
use lxd_storage::images::read_member;
use lxd_storage::{StreamHeader, StreamNames};
use serde::{Deserialize, Serialize};

use crate::app::blocking;
use crate::error::{Error, Result};
use crate::instances::backups::Header;

/// Its path in the archive.
pub(super) const PATH: &str = "backup/index.yaml";

/// The volume in the archive: a directory, or with an ending the file of a block volume.
pub(super) const VOLUME: &str = "backup/volume";

/// The directory of its snapshots.
pub(super) const SNAPSHOTS: &str = "backup/volume-snapshots";

/// The streams of an archive in the driver's own form.
pub(super) const STREAMS: StreamNames = StreamNames {
    volume: VOLUME,
    snapshots: SNAPSHOTS,
};

/// What the names of block volumes end in.
pub(super) const BLOCK_ENDING: &str = ".img";

/// What the index says of backups of custom volumes.
pub(super) const TYPE: &str = "custom";

/// The file, in the reference's words.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Index {
    /// The volume's name.
    pub(super) name: String,
    /// The driver of the pool that it comes from.
    pub(super) backend: String,
    /// The pool.
    pub(super) pool: String,
    /// The names of the snapshots in the archive.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) snapshots: Vec<String>,
    /// Whether volumes are in the driver's own form.
    pub(super) optimized: bool,
    pub(super) optimized_header: bool,
    pub(super) r#type: String,
    pub(super) config: Option<Config>,
    /// The streams of an archive in the driver's own form.
    #[serde(skip)]
    pub(super) streams: Vec<StreamHeader>,
}

/// What is said of the volume and its snapshots.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Config {
    pub(super) volume: Option<StorageVolume>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) volume_snapshots: Vec<StorageVolumeSnapshot>,
}

impl Index {
    pub(super) fn to_text(&self) -> Result<String> {
        yaml::to_string(self).map_err(|error| Error::internal("Failed writing the index").because(error))
    }

    /// Reads the index of an archive. What it says is not trusted yet.
    ///
    /// # Errors
    /// No archive that is understood; it has no index, or one that makes no sense; the backup can't be unpacked here.
    pub(super) async fn read(archive: PathBuf) -> Result<Self> {
        let index = blocking(move || {
            let text =
                read_member(&archive, PATH).map_err(|error| Error::refused(Error::from(error).text()))?;
            let text = text.ok_or_else(|| Error::bad_request("Backup is missing index.yaml"))?;
            let mut index = Self::parse(&text)?;
            if index.optimized {
                let header = Header::of(&archive, index.optimized_header, &index.snapshots)?;
                index.streams = header.subvolumes;
            }
            Ok(index)
        });
        let index = index.await?;
        if index.r#type != TYPE {
            return Err(Error::bad_request("Backup is not of a custom volume"));
        }
        index.volume()?;
        Ok(index)
    }

    /// Reads the text.
    ///
    /// # Errors
    /// It makes no sense.
    pub(super) fn parse(text: &[u8]) -> Result<Self> {
        let failed = |reason: String| Error::bad_request(format!("Backup index makes no sense: {reason}"));
        let text = std::str::from_utf8(text).map_err(|error| failed(error.to_string()))?;
        yaml::from_str(text).map_err(|error| failed(error.to_string()))
    }

    /// The volume that is in the archive.
    ///
    /// # Errors
    /// There is none.
    pub(super) fn volume(&self) -> Result<&StorageVolume> {
        let volume = self.config.as_ref().and_then(|config| config.volume.as_ref());
        volume.ok_or_else(|| Error::bad_request("Valid volume config not found in index"))
    }
}
