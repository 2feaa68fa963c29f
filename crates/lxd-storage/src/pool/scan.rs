//! Looking for the volumes that lie in a pool, whoever knows of them.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read as _};
use std::path::Path;

use lxd_sys::path::{Links, Root};

use super::{BLOCK_FILE, Inner, Pool};
use crate::error::StorageError;
use crate::images::METADATA_MAX;
use crate::volume::{Volume, VolumeType};

/// A volume on disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OnDisk {
    /// The volume, by its name on disk.
    pub volume: Volume,
    /// Whether it is a block volume.
    pub is_block: bool,
    /// The names of its snapshots.
    pub snapshots: Vec<String>,
    /// The text of its `backup.yaml`, for instances that have one. Not to be trusted.
    pub backup_file: Option<String>,
}

impl Pool {
    /// The containers and custom volumes that are in the pool.
    ///
    /// # Errors
    /// The pool can't be read.
    pub async fn scan(&self) -> Result<Vec<OnDisk>, StorageError> {
        self.blocking(|pool| {
            let mut found = Vec::new();
            for kind in [VolumeType::Custom, VolumeType::Container] {
                found.extend(pool.volumes(kind)?);
            }
            Ok(found)
        })
        .await
    }

    /// Makes the links beneath LXD_DIR of an instance that is in the pool, and of its snapshots.
    ///
    /// # Errors
    /// They can't be made.
    pub async fn link_volume(&self, volume: &Volume, has_snapshots: bool) -> Result<(), StorageError> {
        let volume = volume.clone();
        self.blocking(move |pool| {
            super::volumes::link(&pool.place, &volume)?;
            if has_snapshots {
                super::volumes::link(&pool.place, &of_snapshots(&volume))?;
            }
            Ok(())
        })
        .await
    }

    /// Removes these links again; the volume stays.
    ///
    /// # Errors
    /// They can't be removed.
    pub async fn unlink_volume(&self, volume: &Volume) -> Result<(), StorageError> {
        let volume = volume.clone();
        self.blocking(move |pool| {
            for volume in [of_snapshots(&volume), volume] {
                let Some((link, _)) = volume.link() else { continue };
                let link = pool.place.lxd_dir.join(link);
                match fs::remove_file(&link) {
                    Err(e) if e.kind() != io::ErrorKind::NotFound => {
                        return Err(StorageError::io("removing", &link, e));
                    }
                    _ => {}
                }
            }
            Ok(())
        })
        .await
    }
}

/// Any snapshot of a volume: the link is that of all.
fn of_snapshots(volume: &Volume) -> Volume {
    Volume {
        snapshot: Some(String::new()),
        ..volume.clone()
    }
}

impl Inner {
    fn volumes(&self, kind: VolumeType) -> Result<Vec<OnDisk>, StorageError> {
        let root = self.place.root();
        let mut snapshots = BTreeMap::new();
        if let Some((folder, _)) = kind.snapshots_directory() {
            for name in directories(&root.join(folder))? {
                let of = directories(&root.join(folder).join(&name))?;
                snapshots.insert(name, of);
            }
        }
        let folder = root.join(kind.directory().0);
        let names = directories(&folder)?;
        names
            .into_iter()
            .map(|name| {
                let backup_file = match kind {
                    VolumeType::Container => backup_file(&folder.join(&name))?,
                    _ => None,
                };
                Ok(OnDisk {
                    is_block: kind == VolumeType::Custom && has_block_file_alone(&folder.join(&name))?,
                    snapshots: snapshots.remove(&name).unwrap_or_default(),
                    volume: Volume {
                        kind,
                        name,
                        snapshot: None,
                    },
                    backup_file,
                })
            })
            .collect()
    }
}

/// The names of the directories in a directory, sorted; links are passed over.
fn directories(folder: &Path) -> Result<Vec<String>, StorageError> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(StorageError::io("listing", folder, e)),
    };
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry.map_err(|e| StorageError::io("listing", folder, e))?;
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            names.extend(entry.file_name().into_string().ok());
        }
    }
    names.sort();
    Ok(names)
}

/// Block volumes have one file in their directory. A file system with such a file among others is one all the same.
fn has_block_file_alone(directory: &Path) -> Result<bool, StorageError> {
    let failed = |e| StorageError::io("listing", directory, e);
    let mut entries = fs::read_dir(directory).map_err(failed)?;
    let Some(first) = entries.next().transpose().map_err(failed)? else {
        return Ok(false);
    };
    let is_it = first.file_name() == BLOCK_FILE && first.file_type().is_ok_and(|kind| kind.is_file());
    Ok(is_it && entries.next().is_none())
}

fn backup_file(directory: &Path) -> Result<Option<String>, StorageError> {
    let root = Root::open(directory, Links::Refused)?;
    let file = match root.open_regular(Path::new("backup.yaml")) {
        Ok(file) => file,
        Err(error) if error.io_kind() == Some(io::ErrorKind::NotFound) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let mut text = String::new();
    let read = file.take(METADATA_MAX).read_to_string(&mut text);
    read.map_err(|e| StorageError::io("reading backup.yaml in", directory, e))?;
    Ok(Some(text))
}
