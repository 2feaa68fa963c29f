//! `backup/index.yaml`, which comes first in a backup's archive and says what is in it.

use std::path::PathBuf;

use lxd_api::instances::Instance;
use lxd_model::yaml;
use lxd_storage::images::read_member;
use lxd_storage::{StreamHeader, StreamNames};
use serde::{Deserialize, Serialize};

use super::super::backup_file::BackupFile;
use super::header::Header;
use crate::app::blocking;
use crate::error::{Error, Result};

/// Its path in the archive.
pub(super) const PATH: &str = "backup/index.yaml";

/// The directory of the instance's volume in the archive.
pub(super) const INSTANCE: &str = "backup/container";

/// The directory of its snapshots' volumes.
pub(super) const SNAPSHOTS: &str = "backup/snapshots";

/// The streams of an archive in the driver's own form.
pub(super) const STREAMS: StreamNames = StreamNames {
    volume: INSTANCE,
    snapshots: SNAPSHOTS,
};

/// The file, in the reference's words.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Index {
    /// The instance's name.
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
    /// What `backup.yaml` says.
    pub(super) config: Option<BackupFile>,
    /// The streams of an archive in the driver's own form.
    #[serde(skip)]
    pub(super) streams: Vec<StreamHeader>,
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
            let mut index: Self = parse(&text)?;
            if index.name.is_empty() {
                return Err(Error::bad_request("Backup index makes no sense: it has no name"));
            }
            if index.config.is_none() {
                // Old archives have it beside the root only.
                let text = read_member(&archive, &format!("{INSTANCE}/backup.yaml"))?;
                let text = text.ok_or_else(|| Error::bad_request("Backup is missing backup.yaml"))?;
                index.config = Some(parse(&text)?);
            }
            if index.optimized {
                let header = Header::of(&archive, index.optimized_header, &index.snapshots)?;
                index.streams = header.subvolumes;
            }
            Ok(index)
        });
        let index = index.await?;
        if !matches!(index.r#type.as_str(), "" | "container") {
            let text = format!(
                "Backups of type {:?} can't be restored by this server",
                index.r#type
            );
            return Err(Error::bad_request(text));
        }
        index.instance()?;
        Ok(index)
    }

    /// The instance that is in the archive.
    ///
    /// # Errors
    /// There is none.
    pub(super) fn instance(&self) -> Result<&Instance> {
        let instance = self.config.as_ref().and_then(|config| config.container.as_ref());
        instance.ok_or_else(|| Error::bad_request("Backup has no instance in its index"))
    }
}

pub(super) fn parse<T: serde::de::DeserializeOwned>(text: &[u8]) -> Result<T> {
    let failed = |reason: String| Error::bad_request(format!("Backup index makes no sense: {reason}"));
    let text = std::str::from_utf8(text).map_err(|error| failed(error.to_string()))?;
    yaml::from_str(text).map_err(|error| failed(error.to_string()))
}
