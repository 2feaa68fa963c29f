//! What volumes that users made have of their own: views of all their files, and the file of block volumes.

use std::fs;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use lxd_sys::mount;
use lxd_sys::path::{Links, Root};

use super::{Inner, Pool};
use crate::drivers::{View, VolumeSource};
use crate::error::StorageError;
use crate::images::{Layout, Limits, Part, unpack_parts};
use crate::volume::{Volume, VolumeType};
use crate::watch::Watch;

/// The file in a block volume's directory.
pub const BLOCK_FILE: &str = "root.img";

/// Sizes of block volumes are whole multiples of this.
const BLOCK_UNIT: u64 = 8192;

/// A custom volume in a backup's archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CustomPart {
    /// Its path in the archive: a directory, or the file of a block volume.
    pub name: String,
    /// What is made of it.
    pub volume: Volume,
}

impl Pool {
    /// Makes the file of a block volume, or gives it another size; bytes are rounded up.
    ///
    /// # Errors
    /// The file has more bytes than that; the disk.
    pub async fn resize_block(&self, volume: &Volume, bytes: u64) -> Result<(), StorageError> {
        let volume = volume.clone();
        self.blocking(move |pool| {
            pool.require(&volume)?;
            resize(&pool.place.volume(&volume).join(BLOCK_FILE), bytes)
        })
        .await
    }

    /// Refuses a block volume, made of something foreign, whose file is none: a link would lead elsewhere.
    ///
    /// # Errors
    /// It is not a file.
    pub async fn require_block(&self, volume: &Volume) -> Result<(), StorageError> {
        let volume = volume.clone();
        self.blocking(move |pool| {
            let path = pool.place.volume(&volume).join(BLOCK_FILE);
            match path.symlink_metadata() {
                Ok(found) if found.is_file() => Ok(()),
                _ => Err(StorageError::refused(format!(
                    "Backup has no file for the block volume {:?}",
                    volume.name
                ))),
            }
        })
        .await
    }

    /// Opens the file of a block volume to write all of it anew; it is empty then.
    ///
    /// # Errors
    /// There is no such volume; the disk.
    pub async fn rewrite_block(&self, volume: &Volume) -> Result<fs::File, StorageError> {
        let volume = volume.clone();
        self.blocking(move |pool| {
            pool.require(&volume)?;
            let path = pool.place.volume(&volume).join(BLOCK_FILE);
            let failed = |e| StorageError::io("opening", &path, e);
            let file = open_block(&path).map_err(failed)?;
            file.set_len(0).map_err(failed)?;
            Ok(file)
        })
        .await
    }

    /// Makes custom volumes of parts of a tar archive. Returns the members left out. Where it fails some volumes may be there:
    /// delete them.
    ///
    /// # Errors
    /// A volume exists; the archive is broken, too large, or wants out; the disk.
    pub async fn unpack_custom(
        &self,
        archive: PathBuf,
        parts: Vec<CustomPart>,
        is_block: bool,
        watch: Watch,
    ) -> Result<Vec<String>, StorageError> {
        self.blocking(move |pool| {
            for part in &parts {
                pool.create_volume(&part.volume, &VolumeSource::Empty, &watch)?;
                pool.driver.unseal(&pool.place.volume(&part.volume))?;
            }
            let left_out = match is_block {
                false => pool.unpack_directories(&archive, &parts, &watch),
                true => pool.unpack_blocks(&archive, &parts, &watch),
            }?;
            for part in &parts {
                pool.driver.seal_volume(&pool.place, &part.volume)?;
            }
            Ok(left_out)
        })
        .await
    }
}

impl Inner {
    /// All files of a volume, whoever has mounts on it.
    pub(super) fn view(&self, volume: &Volume) -> Result<View, StorageError> {
        self.require(volume)?;
        if volume.kind != VolumeType::Custom {
            return self.driver.view_volume(&self.place, volume);
        }
        let directory = self.place.volume(volume);
        let tree = mount::open_tree(&directory, false)?;
        Ok(View::mounted(directory, tree, "."))
    }

    /// Fills the directory of a volume in the making.
    pub(super) fn fill_kind(
        &self,
        volume: &Volume,
        staged: &Path,
        source: &VolumeSource,
        watch: &Watch,
    ) -> Result<(), StorageError> {
        match volume.kind {
            VolumeType::Custom => self.driver.fill_custom(&self.place, staged, source, watch),
            _ => self.driver.fill_volume(&self.place, staged, source, watch),
        }
    }

    fn unpack_directories(
        &self,
        archive: &Path,
        parts: &[CustomPart],
        watch: &Watch,
    ) -> Result<Vec<String>, StorageError> {
        let targets: Vec<Part> = parts
            .iter()
            .map(|part| Part {
                name: part.name.clone(),
                target: self.place.volume(&part.volume),
                layout: Layout::Rootfs,
                ids: None,
            })
            .collect();
        Ok(unpack_parts(archive, &targets, self.limits()?, watch)?.skipped)
    }

    /// The files of block volumes come out somewhere else first, because they have other names in archives.
    fn unpack_blocks(
        &self,
        archive: &Path,
        parts: &[CustomPart],
        watch: &Watch,
    ) -> Result<Vec<String>, StorageError> {
        let staged = self.stage()?;
        let whole = [Part {
            name: String::new(),
            target: staged.path().to_path_buf(),
            layout: Layout::Image,
            ids: None,
        }];
        let skipped = unpack_parts(archive, &whole, self.limits()?, watch)?.skipped;
        for part in parts {
            // Links in the archive lead nowhere.
            let found = Root::open(staged.path(), Links::Refused)?.open_regular(Path::new(&part.name));
            if found.is_err() {
                let text = format!("Backup is missing {:?}", part.name);
                return Err(StorageError::refused(text));
            }
            let from = staged.path().join(&part.name);
            let to = self.place.volume(&part.volume).join(BLOCK_FILE);
            crate::drivers::projects::adopt(&from, &self.place.volume(&part.volume))?;
            rename_or_copy(&from, &to)?;
            fs::set_permissions(&to, fs::Permissions::from_mode(0o600))
                .map_err(|e| StorageError::io("changing the mode of", &to, e))?;
        }
        Ok(skipped)
    }

    fn limits(&self) -> Result<Limits, StorageError> {
        Ok(Limits::for_free_space(
            self.driver.resources(&self.place)?.space_free,
        ))
    }
}

/// Volumes may be file systems of their own within a pool.
fn rename_or_copy(from: &Path, to: &Path) -> Result<(), StorageError> {
    match fs::rename(from, to) {
        Err(e) if e.kind() == std::io::ErrorKind::CrossesDevices => fs::copy(from, to).map(drop),
        renamed => renamed,
    }
    .map_err(|e| StorageError::io("moving to", to, e))
}

fn resize(path: &Path, bytes: u64) -> Result<(), StorageError> {
    let failed = |e| StorageError::io("resizing", path, e);
    let file = open_block(path).map_err(failed)?;
    let wanted = bytes.div_ceil(BLOCK_UNIT) * BLOCK_UNIT;
    let present = file.metadata().map_err(failed)?.len();
    if present > wanted {
        return Err(StorageError::refused(
            "Block volumes cannot be shrunk: Cannot be shrunk",
        ));
    }
    if present < wanted {
        file.set_len(wanted).map_err(failed)?;
    }
    Ok(())
}

fn open_block(path: &Path) -> std::io::Result<fs::File> {
    fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .custom_flags(rustix::fs::OFlags::NOFOLLOW.bits().cast_signed())
        .open(path)
}
