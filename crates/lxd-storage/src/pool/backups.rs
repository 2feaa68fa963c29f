//! Volumes of instances in and out of backup archives.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use lxd_sys::userns::IdMap;

use super::Inner;
use super::access::Access;
use crate::drivers::VolumeSource;
use crate::error::StorageError;
use crate::images::pack::Packer;
use crate::images::{ImageError, Layout, Limits, Part, unpack_parts};
use crate::volume::Volume;
use crate::watch::Watch;

/// What a volume has besides its root, in the order of the reference's archives.
const FILES: [&str; 2] = ["backup.yaml", "metadata.yaml"];

/// The directory of templates.
const TEMPLATES: &str = "templates";

impl Access {
    /// Adds the volume to an archive, under a name. `ids` are those that its files show, if they are not those of the inside.
    ///
    /// # Errors
    /// The volume can't be read, the archive not be written; the caller has cancelled.
    pub fn pack<W: Write>(
        &self,
        packer: &mut Packer<W>,
        name: &str,
        ids: Option<&IdMap>,
    ) -> Result<(), ImageError> {
        let directory = self.directory();
        packer.directory(&directory, name)?;
        for file in FILES {
            packer.small_file(&directory.join(file), &format!("{name}/{file}"))?;
        }
        packer.tree(self.rootfs(), &format!("{name}/rootfs"), ids)?;
        let templates = directory.join(TEMPLATES);
        if templates.symlink_metadata().is_ok_and(|found| found.is_dir()) {
            packer.tree(&templates, &format!("{name}/{TEMPLATES}"), None)?;
        }
        Ok(())
    }
}

impl Inner {
    /// Makes volumes of directories of an archive; the caller removes them if this fails.
    pub(super) fn unpack_volumes(
        self: &Arc<Self>,
        archive: &Path,
        parts: Vec<(String, Volume, Option<IdMap>)>,
        watch: &Watch,
    ) -> Result<Vec<String>, StorageError> {
        let limits = Limits::for_free_space(self.driver.resources(&self.place)?.space_free);
        for (_, volume, _) in &parts {
            self.create_volume(volume, &VolumeSource::Empty, watch)?;
            self.driver.unseal(&self.place.volume(volume))?;
        }
        let mut open = Vec::new();
        let mut targets = Vec::new();
        let mut volumes = Vec::new();
        for (name, volume, ids) in parts {
            let directory = self.place.volume(&volume);
            match self.driver.bare_root(&directory) {
                Some(target) => targets.push(Part {
                    name: format!("{name}/rootfs"),
                    target,
                    layout: Layout::Rootfs,
                    ids: ids.clone(),
                }),
                None => open.push(Access::begin(self, &volume)?),
            }
            targets.push(Part {
                name,
                target: directory,
                layout: Layout::Image,
                ids,
            });
            volumes.push(volume);
        }
        let unpacked = unpack_parts(archive, &targets, limits, watch)?;
        drop(open);
        for volume in &volumes {
            super::volumes::require_root(&self.place.volume(volume))?;
            self.driver.seal_volume(&self.place, volume)?;
        }
        Ok(unpacked.skipped)
    }
}

impl super::Pool {
    /// Makes volumes of directories of a tar archive: the name in the archive, the volume, and the map whose ids outside become
    /// those inside. Returns the members left out. Where it fails some volumes may be there: delete them.
    ///
    /// # Errors
    /// A volume exists; the archive is broken, too large, or wants out; the disk.
    pub async fn unpack_volumes(
        &self,
        archive: PathBuf,
        parts: Vec<(String, Volume, Option<IdMap>)>,
        watch: Watch,
    ) -> Result<Vec<String>, StorageError> {
        self.blocking(move |pool| pool.unpack_volumes(&archive, parts, &watch))
            .await
    }
}
